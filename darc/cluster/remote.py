"""Orders from another node, carried out by ``python -m darc.cluster.remote`` over ssh.

An order is a line of JSON on standard input, where other users cannot see it; the last line of the
output is the result.
"""

from __future__ import annotations

import io
import json
import sys
import time
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Annotated, Any

from darc import __version__
from darc.config import typed
from darc.config.config import Config, ConfigError
from darc.config.records import Struct
from darc.config.typed import OneOf
from darc.node.node_config import load_config, load_node_config
from darc.node.node_identity import NodeError
from darc.node.node_owner import refuse_elsewhere
from darc.node.node_probe import with_running_run_dir
from darc.node.secret import SecretError, make_secret, read_secret, replace_secret
from darc.node.supervisor import SupervisorError
from darc.node.whole_node import start_node, stop_node

#: Start of the result's line; output of a login shell precedes it.
MARK = "darc-result: "
MAX_ORDER_BYTES = 65536
SHORTEST_SECRET = 32
_TOLD = (ConfigError, NodeError, SecretError, SupervisorError, OSError)


class RemoteOrder(Struct, frozen=True):
    """Order to a node, with the cluster's secret if the node is to get it."""

    action: Annotated[str, OneOf("start", "stop", "place secret", "tell secret")]
    secret: str | None = None

    def __repr__(self) -> str:
        return f"RemoteOrder({self.action!r})"  # without the secret


class RemoteResult(Struct, frozen=True):
    """Result of an order.

    :param error: empty on success
    :param lines: output
    :param notes: further information for the operator
    :param version: version of DARC on the node
    :param hostname: the node's own name; likewise its role and master
    :param began: start time by the node's clock, Unix s
    :param time: end time by the node's clock, Unix s
    :param secret: only if requested
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
    secret: str | None = None

    def __repr__(self) -> str:
        return f"RemoteResult({self.hostname!r}, {self.error!r})"  # without the secret

    def to_line(self) -> str:
        return MARK + json.dumps(typed.to_plain(self))

    @classmethod
    def from_output(cls, output: str) -> RemoteResult | None:
        """Return the result at the end of the output; None if there is none.

        :raises ValueError: it is invalid
        """
        lines = [line for line in output.splitlines() if line.startswith(MARK)]
        if not lines:
            return None
        plain = _parsed(lines[-1][len(MARK) :])
        if not isinstance(plain, dict):
            raise ValueError("result: not a mapping")
        # Another version may have further fields.
        known = {name: value for name, value in plain.items() if name in cls.__struct_fields__}
        return typed.from_plain(cls, known, "result")


def _parsed(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def carry_out(order: RemoteOrder) -> RemoteResult:
    """Carry out an order on this host, and return its result."""
    began = time.time()
    said = io.StringIO()
    error, secret = "", None
    notes: list[str] = []
    config: Config | None = None
    try:
        with redirect_stdout(said), redirect_stderr(said):
            # All actions but a start can use the last good configuration.
            load = load_config if order.action == "start" else load_node_config
            config = with_running_run_dir(load())
            notes += config_warnings(config)
            match order.action:
                case "start":
                    _start(config, order, notes)
                case "stop":
                    stop_node(config)
                case "place secret":
                    _place(config, order)
                case "tell secret":
                    secret = own_secret(config)
    except _TOLD as failure:
        error = str(failure)
    here: dict[str, Any] = {}
    if config:
        master = config.cluster.master
        here = {"hostname": config.hostname, "role": config.role.value, "master": master}
    lines = tuple(said.getvalue().splitlines())
    here |= {"began": began, "time": time.time(), "secret": secret}
    return RemoteResult(error, lines, tuple(notes), **here)


def config_warnings(config: Config) -> list[str]:
    """Return the warnings about a valid configuration."""
    return [f"warning: {warning}" for warning in config.warnings]


def _start(config: Config, order: RemoteOrder, notes: list[str]) -> None:
    path = secret_file(config)
    if order.secret is not None and path.exists() and not _has(path, order.secret):
        notes.append("its own secret was replaced by the cluster's")
    _place(config, order)
    outcomes = Counter(start_node(config).values())
    counts = ", ".join(f"{number} {outcome}" for outcome, number in outcomes.items())
    n = outcomes.total()
    print(f"{n} service{'s' * (n != 1)}: {counts}")


def _place(config: Config, order: RemoteOrder) -> None:
    """Install the cluster's secret, unless it is installed already."""
    path = secret_file(config)
    if order.secret is None or _has(path, order.secret):
        return
    refuse_elsewhere(path.parent)
    if len(order.secret.strip()) < SHORTEST_SECRET:
        raise SecretError(f"not installed: not a secret of at least {SHORTEST_SECRET} characters")
    replace_secret(path, order.secret)
    print("the secret is installed")


def _has(path: Path, secret: str) -> bool:
    try:
        return read_secret(path) == secret.encode()
    except SecretError:
        return False


def own_secret(config: Config) -> str:
    """Return this node's secret, which is created if missing.

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


def main() -> int:
    """Read an order, carry it out, and print its result."""
    began = time.time()
    line = sys.stdin.buffer.readline(MAX_ORDER_BYTES)
    try:
        order = typed.from_plain(RemoteOrder, _parsed(line), "order")
    except ValueError as error:
        # Without the line itself, which may contain the secret.
        why = f"not an order: {type(error).__name__}"
        result = RemoteResult(why, began=began, time=time.time())
    else:
        result = carry_out(order)
    # On a new line, as a login shell may have printed half a line.
    print(f"\n{result.to_line()}")
    return 1 if result.error else 0


if __name__ == "__main__":
    sys.exit(main())
