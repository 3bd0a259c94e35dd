"""``darc --host all``: a command to every node at once, and one table."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from darc.config.config import Config, ConfigError
from darc.model.service_state import ServiceOutcome, ServiceState
from darc.node.command_client import ask
from darc.node.node_config import load_node_config
from darc.node.node_probe import endpoint_of_node
from darc.runtime.fan_out import fan_out
from darc.runtime.program import INTERRUPTED

_STYLES = {"Success": "green", "Warning": "yellow", "Error": "bold red"}
NO_REPLY = "no reply"
# A name that is looked up keeps a node's thread for longer than its timeout; not the others.
GRACE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class NodeReply:
    """What a node said.

    :param reply: None where it did not, for the reason given
    """

    host: str
    reply: Mapping[str, Any] | None
    reason: str = ""

    @property
    def status(self) -> str:
        return str(self.reply["status"]) if self.reply else NO_REPLY

    @property
    def is_good(self) -> bool:
        return self.status in ("Success", "Warning")

    @property
    def text(self) -> str:
        """The message in as few words as possible."""
        if self.reply is None:
            return self.reason
        message = self.reply["message"]
        if not isinstance(message, dict):
            return str(message)
        if all(isinstance(value, str) for value in message.values()) and self.is_good:
            return _outcomes(message)
        return "; ".join(f"{name}: {_plain(value)}" for name, value in message.items())


def _outcomes(message: Mapping[str, str]) -> str:
    """What most services have in common is counted, what differs from it is named."""
    (common, number), *_ = Counter(message.values()).most_common() or [("nothing", 0)]
    if number == 1 or common not in {*ServiceState, *ServiceOutcome} - {ServiceOutcome.NO_PROGRAM}:
        return "; ".join(f"{name}: {value}" for name, value in message.items())
    others = [f"{name}: {value}" for name, value in message.items() if value != common]
    return "; ".join([f"{number} {common}", *others])


def _plain(value: object) -> str:
    return "/".join(map(str, value.values())) if isinstance(value, dict) else str(value)


def ask_all(
    config: Config,
    port: int | None,
    timeout: float,
    service: str | None,
    command: str,
    payload: str | None,
) -> list[NodeReply]:
    """Ask all nodes side by side; who does not answer costs the timeout once.

    :param port: by default the configured one
    :param timeout: s
    """
    hosts = config.nodes()

    def ask_one(node: str) -> NodeReply:
        place = _own_place(config, port) if config.is_here(node) else None
        host, its_port = place or (node, port or config.master.port)
        return NodeReply(node, *ask(timeout, service, command, payload, host, its_port))

    answers = fan_out(ask_one, hosts, timeout=timeout + GRACE_SECONDS)
    late = f"no answer within {timeout:g} s"
    return [answers.get(host) or NodeReply(host, None, late) for host in hosts]


def _own_place(config: Config, port: int | None) -> tuple[str, int]:
    """Where this host's node is reached: it need not listen on the address of the host's name."""
    endpoint = endpoint_of_node()
    if endpoint:
        return endpoint.host, port or endpoint.port
    return "localhost", port or config.master.port


def run(
    timeout: float,
    service: str | None,
    command: str,
    payload: str | None,
    port: int | None,
    as_json: bool,
) -> int:
    """Do a command on every node of the cluster, print the answers, return the exit status."""
    try:
        config: Config = load_node_config()
        # On other nodes nobody knows what it would be relative to.
        payload = str(Path(payload).absolute()) if payload else None
        answers = ask_all(config, port, timeout, service, command, payload)
    except (ConfigError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; what nodes were told already is done there", file=sys.stderr)
        return INTERRUPTED
    if as_json:
        plain = {one.host: one.reply or {"error": one.reason} for one in answers}
        print(json.dumps(plain))
    else:
        _print(answers)
    return 0 if all(answer.is_good for answer in answers) else 1


def _print(answers: Sequence[NodeReply]) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("node", "status", "message"):
        table.add_column(name, no_wrap=name != "message")
    for answer in answers:
        style = _STYLES.get(answer.status, "bold red")
        table.add_row(answer.host, Text(answer.status, style), Text(answer.text))
    # Wide enough that a program may read it, where it is no terminal.
    Console(width=None if sys.stdout.isatty() else 1000, soft_wrap=True).print(table)
    bad = [answer.host for answer in answers if not answer.is_good]
    good = len(answers) - len(bad)
    print(f"{good} of {len(answers)} nodes{': not ' + ', '.join(bad) if bad else ''}")
