"""The ``darc`` command and :func:`send_command`: parse, send, print.

Nothing here reads YAML or imports more than it must: an operator types it many times a night.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

from darc.cli.darc_parser import interactive_word, make_parser, parset_text, wrong_usage
from darc.node.command_client import LOCAL, ask
from darc.runtime.program import as_program

# Not typing's, which would cost every command a tenth of its time.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: A host that stands for every node of the cluster.
EVERYWHERE = "all"
#: For the master to say whether its darc_monitor runs (s).
MONITOR_SECONDS = 2.0


def send_command(
    timeout: float,
    service: str | None,
    command: str,
    payload: str | None = None,
    host: str = "localhost",
    port: int | None = None,
    content: str | None = None,
) -> dict[str, Any] | None:
    """Send a command to a DARC master and print its reply, or the reason why there is none.

    :param timeout: s
    :param payload: path of an observation's configuration
    :param port: by default the one that this host's node uses
    :param content: its text; payload is its file name then
    :return: ``{'status': …, 'message': …}``, or None if anything failed
    """
    reply, reason = ask(timeout, service, command, payload, host, port, content)
    if reply is None:
        print(reason)
        return None
    print(f"status: {reply['status']}")
    print(f"message: {reply['message']}")
    return reply


@as_program
def main(arguments: list[str] | None = None) -> int:
    """Run the ``darc`` command; returns its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    place = interactive_word(arguments)
    if place is not None:
        # They draw tables, read files, ask other nodes: not for the other commands to carry.
        from darc.cli.interactive import run_word  # noqa: PLC0415

        return run_word(arguments[place], [*arguments[:place], *arguments[place + 1 :]])
    parser = make_parser()
    options = parser.parse_args(arguments)
    if reason := wrong_usage(options):
        parser.error(reason)
    payload = options.parset or options.config
    command = f"{options.command} {options.attribute or ''}".strip()
    if options.command == "edit":
        # Starts a program and reads the configuration: not for the other commands to carry.
        from darc.cli.edit import edit_config  # noqa: PLC0415

        return edit_config()
    if options.host == EVERYWHERE:
        # Reads the configuration for the names of the nodes, and draws a table.
        from darc.cluster.all_nodes import run  # noqa: PLC0415

        where = (options.timeout, options.service, command, payload, options.port, options.json)
        return _with_hints(run(*where), options)
    content = None
    if options.key:
        payload, content = parset_text(options.key, time.time())
    elif payload and options.host in LOCAL:
        payload = str(Path(payload).absolute())
    to = options.host, options.port, content
    if options.json:
        reply, reason = ask(options.timeout, options.service, command, payload, *to)
        print(json.dumps(reply) if reply else json.dumps({"error": reason}))
    else:
        reply = send_command(options.timeout, options.service, command, payload, *to)
    if reply is None:
        return 1
    if options.command == "status" and not options.json:
        _say_if_unwatched(options)
    return _with_hints(0 if reply["status"] != "Error" else 1, options)


def _say_if_unwatched(options: argparse.Namespace) -> None:
    """Say that nobody watches the node, beside its answer, which says nothing of that."""
    timeout = min(options.timeout, MONITOR_SECONDS)
    where = {"host": options.host, "port": options.port}
    reply, _ = ask(timeout, None, "get_attr monitor", **where, values=True)
    message = reply["message"] if reply else None
    state = message.get("value") if isinstance(message, dict) else None
    if not isinstance(state, dict) or not state["trouble"]:
        return  # it reports, or the node is of a version without it
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(state["since"]))
    if state["trouble"] == "ended":
        what, remedy = "does not run", "darc_start_master there starts it"
    else:
        what, remedy = "does not answer", "restart it there once its disks answer (supervisorctl)"
    print(
        f"darc: darc_monitor {what} since {since}: the node's logs and disks are not watched;"
        f" {remedy}, darc logs darc_monitor says why",
        file=sys.stderr,
    )


def _with_hints(status: int, options: argparse.Namespace) -> int:
    """Say what may have been meant where a command has failed, and return its exit status."""
    if status and (options.service or options.attribute):
        # Knows all services and their attributes: not for commands that succeed to carry.
        from darc.cli.suggestions import hints  # noqa: PLC0415

        for hint in hints(options.service, options.attribute):
            print(f"darc: {hint}", file=sys.stderr)
    return status


def command() -> None:
    """Run the ``darc`` command as a program, and end the process."""
    status = main()
    if "threading" not in sys.modules:
        # Nothing is left to wait for. What was printed is flushed; the interpreter's own end would
        # take a tenth of the command's time.
        os._exit(status)
    sys.exit(status)


if __name__ == "__main__":
    command()
