"""What is done on a node for somebody on another one: ``python -m darc.cluster.remote``, by ssh.

An order comes as a line of JSON on standard input, where nobody else sees it; the last line of the
output is the result.
"""

from __future__ import annotations

import io
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

from darc import __version__
from darc.config import typed
from darc.config.config import Config, ConfigError
from darc.config.typed import OneOf
from darc.node.node_config import load_config, load_node_config
from darc.node.node_identity import NodeError
from darc.node.node_owner import refuse_elsewhere
from darc.node.node_probe import of_running_node
from darc.node.secret import SecretError, make_secret, read_secret, replace_secret
from darc.node.supervisor import SupervisorError
from darc.node.whole_node import start_node, stop_node

#: What the result's line begins with; whatever a login shell says comes before it.
MARK = "darc-result: "
MAX_ORDER_BYTES = 65536
SHORTEST_SECRET = 32
_TOLD = (ConfigError, NodeError, SecretError, SupervisorError, OSError)


@dataclass(frozen=True, slots=True)
class RemoteOrder:
    """What to do; the secret is the cluster's, where the node is to have it."""

    action: Annotated[str, OneOf("start", "stop", "place secret", "tell secret")]
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class RemoteResult:
    """What came of it.

    :param error: empty where it was done
    :param lines: what was said on the way
    :param notes: what an operator should know beside that
    :param version: of DARC there; likewise what it takes for its own name, role and master
    :param began: there, Unix s; `time` is that of the end
    :param secret: only where it was asked for
    """

    error: str
    lines: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    version: str = __version__
    hostname: str = ""
    role: str = ""
    master: str | None = None
    began: float = 0.0
    time: float = 0.0
    secret: str | None = field(default=None, repr=False)

    def to_line(self) -> str:
        return MARK + json.dumps(typed.to_plain(self))

    @classmethod
    def from_output(cls, output: str) -> RemoteResult | None:
        """Find it behind whatever else was printed; None where it is not there.

        :raises ValueError: it cannot be read
        """
        lines = [line for line in output.splitlines() if line.startswith(MARK)]
        if not lines:
            return None
        plain = _parsed(lines[-1][len(MARK) :])
        if not isinstance(plain, dict):
            raise ValueError("result: not a mapping")
        # Another version may say more.
        names = {one.name for one in fields(cls)}
        known = {name: value for name, value in plain.items() if name in names}
        return typed.from_plain(cls, known, "result")


def _parsed(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def carry_out(order: RemoteOrder) -> RemoteResult:
    """Do it here, and say what came of it."""
    began = time.time()
    said = io.StringIO()
    error, secret = "", None
    notes: list[str] = []
    config: Config | None = None
    try:
        with redirect_stdout(said), redirect_stderr(said):
            config = _load(order)
            notes += warnings_of(config)
            secret = _ACTIONS[order.action](config, order, notes)
    except _TOLD as failure:
        error = str(failure)
    here: dict[str, Any] = {}
    if config:
        master = config.cluster.master
        here = {"hostname": config.hostname, "role": config.role.value, "master": master}
    lines = tuple(said.getvalue().splitlines())
    here |= {"began": began, "time": time.time(), "secret": secret}
    return RemoteResult(error, lines, tuple(notes), **here)


def warnings_of(config: Config) -> list[str]:
    """What is said of a configuration that can be used."""
    return [f"warning: {warning}" for warning in config.warnings]


def _load(order: RemoteOrder) -> Config:
    # All but a start can be done with the last good configuration, too.
    return of_running_node(load_config() if order.action == "start" else load_node_config())


def _start(config: Config, order: RemoteOrder, notes: list[str]) -> None:
    if order.secret is not None and _has_other(config, order.secret):
        notes.append("its secret was another one, and is replaced by the cluster's")
    _place(config, order, notes)
    outcomes = Counter(start_node(config).values())
    counts = ", ".join(f"{number} {outcome}" for outcome, number in outcomes.items())
    n = outcomes.total()
    print(f"{n} service{'s' * (n != 1)}: {counts}")


def _stop(config: Config, order: RemoteOrder, notes: list[str]) -> None:
    stop_node(config)


def _place(config: Config, order: RemoteOrder, notes: list[str]) -> None:
    """Have the cluster's secret; one that is the same is left alone."""
    path = secret_file(config)
    if order.secret is None or _has(path, order.secret):
        return
    refuse_elsewhere(path.parent)
    if len(order.secret.strip()) < SHORTEST_SECRET:
        raise SecretError(f"not placed: not a secret of at least {SHORTEST_SECRET} characters")
    replace_secret(path, order.secret)
    print("the secret is placed")


def _has_other(config: Config, secret: str) -> bool:
    path = secret_file(config)
    return path.exists() and not _has(path, secret)


def _has(path: Path, secret: str) -> bool:
    try:
        return read_secret(path) == secret.encode()
    except SecretError:
        return False


def _tell(config: Config, order: RemoteOrder, notes: list[str]) -> str:
    return tell_secret(config)


def tell_secret(config: Config) -> str:
    """This node's secret, made where there is none.

    :raises SecretError: it cannot be used
    """
    path = secret_file(config)
    make_secret(path)
    try:
        return read_secret(path).decode()
    except UnicodeDecodeError:
        raise SecretError(f"{path}: not a text in UTF-8") from None


def secret_file(config: Config) -> Path:
    return Path(config.master.run_dir) / "secret"


_ACTIONS: dict[str, Callable[[Config, RemoteOrder, list[str]], str | None]] = {
    "start": _start,
    "stop": _stop,
    "place secret": _place,
    "tell secret": _tell,
}


def main() -> int:
    """Read an order, do it, and print its result."""
    began = time.time()
    line = sys.stdin.buffer.readline(MAX_ORDER_BYTES)
    try:
        order = typed.from_plain(RemoteOrder, _parsed(line), "order")
    except ValueError as error:
        # Not the line itself: it may hold the secret.
        why = f"not an order: {type(error).__name__}"
        result = RemoteResult(why, began=began, time=time.time())
    else:
        result = carry_out(order)
    # A login shell may have left half a line.
    print(f"\n{result.to_line()}")
    return 1 if result.error else 0


if __name__ == "__main__":
    sys.exit(main())
