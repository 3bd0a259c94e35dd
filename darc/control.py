"""The ``darc`` command and :func:`send_command`: parse, send, print.

Nothing here reads YAML or imports more than it must: an operator types it many times a night.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

from darc import __version__
from darc.node.endpoint import DEFAULT_PORT, CopiedError, Endpoint, endpoint_file, read_endpoint
from darc.program import as_program, port, seconds

#: Of an answer, bytes: whoever listens there, the overview of a node is far smaller.
MAX_REPLY = 16 * 2**20
LOCAL = ("localhost", "127.0.0.1", "::1")
#: A host that stands for every node of the cluster.
EVERYWHERE = "all"
COMMANDS = {
    "status": "state of a service, or of all",
    "start": "start a service, or all",
    "stop": "stop a service, or all",
    "restart": "stop and start",
    "get_attr": "an attribute of a service, or of the master: get_attr NAME",
    "start_observation": "needs --parset or --config",
    "stop_observation": "needs --parset or --config",
    "abort_observation": "needs --parset or --config",
    "lofar_status": "whether LOFAR triggering is enabled (master node)",
    "lofar_enable": "switch LOFAR triggering on",
    "lofar_disable": "switch LOFAR triggering off",
    "voevent_status": "whether VOEvents are sent (master node)",
    "voevent_enable": "switch VOEvents on",
    "voevent_disable": "switch VOEvents off",
    "reload": "read the configuration again",
    "edit": "open the configuration in $EDITOR",
    "stop_master": "stop the master and every service",
}
#: Those that are about the whole node, and the one service that they may be given with.
OF_THE_NODE = {
    "reload": "",
    "edit": "",
    "stop_master": "",
    "abort_all": "",
    **dict.fromkeys(("lofar_status", "lofar_enable", "lofar_disable"), "lofar_trigger"),
    **dict.fromkeys(("voevent_status", "voevent_enable", "voevent_disable"), "voevent_generator"),
}
#: Words with options of their own, each a module of darc.terminal that only its word imports.
TERMINAL = {
    "watch": "this node or the cluster, live: problems, services, observations",
    "logs": "log files of services, of this node or of others, merged and followed",
    "observations": "observations: running, pending, in processing and past",
    "doctor": "checks what a node needs, and says what to do",
    "completion": "a script by which the shell completes what you type",
    "samples": "a sample filterbank, trigger file and parset, to try things on",
}
#: Options that are followed by a value.
_WITH_VALUE = ("--service", "--timeout", "--host", "--port", "--parset", "--config")


def exchange_messages(
    host: str, port: int, request: dict[str, str], timeout: float, secret: Path | None
) -> dict[str, Any]:
    """Send a request and return the reply.

    :param timeout: s for the whole exchange
    :param secret: file of the secret, for when the master wants the request signed
    :raises OSError: no connection, or no answer in time
    :raises ValueError: the answer is not one of a DARC master, or there is no secret to sign with
    """
    deadline = time.monotonic() + timeout
    # The first key tells the dialect, wherever the line is cut on its way.
    line = json.dumps({"protocol": 1, **request}).encode() + b"\n"
    with socket.create_connection((host, port), timeout=timeout) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(line)  # one that is refused half-way is told why
        answer = _read_line(connection, deadline)
        challenge = answer.get("challenge")
        if challenge is not None:
            if secret is None:
                raise ValueError("no secret to sign the command with")
            connection.sendall(_signature(secret, challenge, line))
            answer = _read_line(connection, deadline)
    return answer


def _signature(secret: Path, challenge: str, line: bytes) -> bytes:
    # Only changes are signed; questions need not wait for this import.
    from darc.node.secret import SecretError, read_secret, sign  # noqa: PLC0415

    try:
        signature = sign(read_secret(secret), challenge, line)
    except SecretError as error:
        raise ValueError(f"the command has to be signed, and cannot be: {error}") from error
    return json.dumps({"signature": signature}).encode() + b"\n"


def _read_line(connection: socket.socket, deadline: float) -> dict[str, Any]:
    data = b""
    while not data.endswith(b"\n"):
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        part = connection.recv(65536)
        if not part:
            break
        data += part
        if len(data) > MAX_REPLY:
            raise ValueError(f"an answer of more than {MAX_REPLY} bytes")
    if not data:
        raise ConnectionError("it closed the connection without an answer")
    try:
        answer = _of_old_master(data) if data.startswith(b"{'") else json.loads(data)
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"not the answer of a DARC master: {data[:80]!r}") from error
    if not isinstance(answer, dict):
        raise ValueError(f"not the answer of a DARC master: {data[:80]!r}")
    return answer


def _of_old_master(data: bytes) -> object:
    """A master of before this protocol answers in Python's words, whatever it was asked in."""
    import ast  # noqa: PLC0415 - for those alone

    return ast.literal_eval(data.decode())


def send_command(
    timeout: float,
    service: str | None,
    command: str,
    payload: str | None = None,
    host: str = "localhost",
    port: int | None = None,
) -> dict[str, Any] | None:
    """Send a command to a DARC master and print its reply, or the reason why there is none.

    :param timeout: s
    :param payload: path of an observation's configuration
    :param port: by default the one that this host's node uses
    :return: ``{'status': …, 'message': …}``, or None if anything failed
    """
    reply, reason = ask(timeout, service, command, payload, host, port)
    if reply is None:
        print(reason)
        return None
    print(f"status: {reply['status']}")
    print(f"message: {reply['message']}")
    return reply


def ask(
    timeout: float,
    service: str | None,
    command: str,
    payload: str | None = None,
    host: str = "localhost",
    port: int | None = None,
    content: str | None = None,
) -> tuple[dict[str, Any] | None, str]:
    """Send a command without printing: the reply, or None and the reason.

    :param content: the text of an observation's configuration; payload is its file name then
    """
    request = {"command": command, "from": f"{os.environ.get('USER', '?')}@{socket.gethostname()}"}
    if service:
        request["service"] = service
    if payload:
        request["payload"] = payload
    if content:
        request["content"] = content
    try:
        endpoint = _endpoint(elsewhere=host not in LOCAL or port is not None)
        # Where a stopped node with the default run_dir keeps it.
        secret = Path(endpoint.secret) if endpoint else endpoint_file().with_name("secret")
        if endpoint and host in LOCAL and port is None:
            host = endpoint.host
        port = port or (endpoint.port if endpoint else DEFAULT_PORT)
        reply = exchange_messages(host, port, request, timeout, secret)
    except TimeoutError:
        return None, f"Failed to connect to DARC master: no answer within {timeout:g} s"
    except OSError as error:
        return None, f"Failed to connect to DARC master: {error}"
    except ValueError as error:
        return None, f"Failed to talk to DARC master: {error}"
    if set(reply) != {"status", "message"}:
        return None, f"Failed to talk to DARC master: not a reply: {reply!r}"[:300]
    return reply, ""


def _endpoint(elsewhere: bool) -> Endpoint | None:
    """This host's node, which is not that of another home of which this one is a copy."""
    try:
        return read_endpoint()
    except CopiedError:
        if elsewhere:
            return None
        raise


def make_parser() -> argparse.ArgumentParser:
    """What the plain commands take."""
    width = max(len(name) for name in (*COMMANDS, *TERMINAL))
    listing = "\n".join(f"  {name:<{width}}  {text}" for name, text in COMMANDS.items())
    further = "\n".join(f"  {name:<{width}}  {text}" for name, text in TERMINAL.items())
    parser = argparse.ArgumentParser(
        prog="darc",
        description="Watch and steer the DARC node of this host, or of another.",
        epilog=f"commands:\n{listing}\n\nwith options of their own (darc WORD --help):\n{further}"
        "\n\nexamples:\n  darc --service all status\n  darc --host all get_attr uptime\n"
        "  darc logs amber_clustering -f",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", metavar="command", type=_command, help="see below")
    parser.add_argument("attribute", nargs="?", help="name of an attribute, after get_attr")
    parser.add_argument("--service", metavar="NAME", help="a service, or all")
    parser.add_argument("--timeout", type=seconds, default=10.0, metavar="S", help="default: 10")
    parser.add_argument(
        "--host", default="localhost", metavar="H", help="default: localhost; all: every node"
    )
    parser.add_argument("--port", type=port, metavar="P", help="default: as configured")
    files = parser.add_mutually_exclusive_group()
    files.add_argument("--parset", metavar="FILE", help="an observation's parset")
    files.add_argument("--config", metavar="FILE", help="an observation's configuration in YAML")
    parser.add_argument("--json", action="store_true", help="print the reply as JSON")
    parser.add_argument("--version", action="version", version=f"darc {__version__}")
    return parser


def _command(word: str) -> str:
    """A command as it is typed; one that there is not is given what is near."""
    if word in COMMANDS:
        return word
    import difflib  # noqa: PLC0415 - for who has mistyped it

    near = difflib.get_close_matches(word.lower(), (*COMMANDS, *TERMINAL), n=2, cutoff=0.6)
    what = f"did you mean {' or '.join(near)}?" if near else "darc --help lists them"
    raise argparse.ArgumentTypeError(f"no command {word!r}: {what}")


def not_of_a_service(command: str, service: str | None) -> str:
    """Why a command cannot be given with a service: who wants one stopped keeps the others."""
    if not service or service == "all" or OF_THE_NODE.get(command, service) == service:
        return ""
    return f"{command} concerns the whole node, not {service} alone: leave out --service"


def _terminal_word(arguments: list[str]) -> int | None:
    """Where the command is, if it is one of those with options of their own."""
    place = 0
    while place < len(arguments):
        if not arguments[place].startswith("-"):
            return place if arguments[place] in TERMINAL else None
        place += 2 if arguments[place] in _WITH_VALUE else 1
    return None


def _wrong_usage(options: argparse.Namespace) -> str:
    """What does not go together; empty where all does."""
    command, service = options.command, options.service
    payload = options.parset or options.config
    if (command == "get_attr") != (options.attribute is not None):
        return "get_attr, and only get_attr, takes the name of an attribute"
    if command in {"status", "start", "stop", "restart"} and not service:
        return f"{command} needs --service NAME or --service all"
    if command == "stop_master" and service == "all":
        return f"{command} concerns the whole node: leave out --service"
    if payload and not command.endswith("_observation"):
        return f"{command} takes neither --parset nor --config"
    if command.endswith("_observation") and not payload:
        return f"{command} needs --parset FILE or --config FILE"
    return not_of_a_service(command, service)


@as_program
def main(arguments: list[str] | None = None) -> int:
    """Run the ``darc`` command; returns its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    place = _terminal_word(arguments)
    if place is not None:
        # They draw tables, read files, ask other nodes: not for the other commands to carry.
        from darc.terminal.run import run_word  # noqa: PLC0415

        return run_word(arguments[place], [*arguments[:place], *arguments[place + 1 :]])
    parser = make_parser()
    options = parser.parse_args(arguments)
    if reason := _wrong_usage(options):
        parser.error(reason)
    payload = options.parset or options.config
    if options.command == "edit":
        # Starts a program and reads the configuration: not for the other commands to carry.
        from darc.scripts.edit import edit_config  # noqa: PLC0415

        return edit_config()
    if options.host == EVERYWHERE:
        # Reads the configuration for the names of the nodes, and draws a table.
        from darc.cluster.everywhere import run  # noqa: PLC0415

        command = f"{options.command} {options.attribute or ''}".strip()
        where = (options.timeout, options.service, command, payload, options.port, options.json)
        return _with_hints(run(*where), options)
    if payload and options.host in LOCAL:
        payload = str(Path(payload).absolute())
    command = f"{options.command} {options.attribute or ''}".strip()
    where = (options.timeout, options.service, command, payload, options.host, options.port)
    if options.json:
        reply, reason = ask(*where)
        print(json.dumps(reply) if reply else json.dumps({"error": reason}))
    else:
        reply = send_command(*where)
    if reply is None:
        return 1
    return _with_hints(0 if reply["status"] != "Error" else 1, options)


def _with_hints(status: int, options: argparse.Namespace) -> int:
    """Say what may have been meant where a command has failed, and return its exit status."""
    if status and (options.service or options.attribute):
        # Knows all services and their attributes: not for commands that succeed to carry.
        from darc.terminal.near import hints  # noqa: PLC0415

        for hint in hints(options.service, options.attribute):
            print(f"darc: {hint}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
