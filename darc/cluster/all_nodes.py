"""``darc --host all``: a command to all nodes at once, and a table of the replies."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from darc.config.config import Config, ConfigError
from darc.config.records import Struct
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


class NodeReply(Struct, frozen=True):
    """Reply of a node.

    :param reply: None if there is none
    :param reason: why there is no reply
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
        """The message, shortened."""
        if self.reply is None:
            return self.reason
        message = self.reply["message"]
        if not isinstance(message, dict):
            return str(message)
        if all(isinstance(value, str) for value in message.values()) and self.is_good:
            return _outcomes(message)
        return "; ".join(f"{name}: {_plain(value)}" for name, value in message.items())


def _outcomes(message: Mapping[str, str]) -> str:
    """Return the most common outcome with its count, and services with other outcomes by name."""
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
    """Send a command to all nodes in parallel, and return their replies.

    :param port: command port; default: the configured one
    :param timeout: s for a node to reply
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
    """Return the address of this host's node, which may not listen on the host's own address."""
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
    """Run a command on every node of the cluster, print the replies, return the exit status."""
    try:
        config: Config = load_node_config()
        # A relative path has no meaning on other nodes.
        payload = str(Path(payload).absolute()) if payload else None
        answers = ask_all(config, port, timeout, service, command, payload)
    except (ConfigError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; nodes that have received the command still run it", file=sys.stderr)
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
    # Without a terminal wide enough for programs to parse.
    Console(width=None if sys.stdout.isatty() else 1000, soft_wrap=True).print(table)
    bad = [answer.host for answer in answers if not answer.is_good]
    good = len(answers) - len(bad)
    print(f"{good} of {len(answers)} nodes{': not ' + ', '.join(bad) if bad else ''}")
