"""Argument parser of ``darc``. Every command imports it, so it imports little itself."""

from __future__ import annotations

import argparse
import os
from functools import partial

from darc import __version__
from darc.model.vocabulary import COMMANDS, not_of_a_service
from darc.runtime.program import port, seconds

#: Commands with options of their own, each in a module of darc.cli that only it imports.
TERMINAL = {
    "watch": "this node or the cluster, live: problems, services, observations",
    "logs": "log files of services, of this node or of others, merged and followed",
    "alerts": "announced bursts and the roads they leave by; retract, confirm, report, test",
    "observations": "observations: running, pending, in processing and past",
    "doctor": "checks what a node needs, and says what to do",
    "completion": "a script by which the shell completes what you type",
    "samples": "a sample filterbank, trigger file and parset, to try things on",
}
#: Options with a value.
_WITH_VALUE = ("--service", "--timeout", "--host", "--port", "--parset", "--config", "--key")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the plain commands."""
    width = max(len(name) for name in (*COMMANDS, *TERMINAL))
    listing = "\n".join(f"  {name:<{width}}  {text}" for name, text in COMMANDS.items())
    further = "\n".join(f"  {name:<{width}}  {text}" for name, text in TERMINAL.items())
    parser = argparse.ArgumentParser(
        prog="darc",
        description="Watch and steer the DARC node of this host, or of another.",
        epilog=f"commands:\n{listing}\n\nwith options of their own (darc WORD --help):\n{further}"
        "\n\nexamples:\n  darc --service all status\n  darc --host all get_attr uptime\n"
        "  darc logs amber_clustering -f",
        formatter_class=partial(argparse.RawDescriptionHelpFormatter, width=_columns() - 2),
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
    files.add_argument(
        "--key",
        action="append",
        type=_assignment,
        metavar="K=V",
        help="instead of a file: a key of an observation's parset; again for each",
    )
    parser.add_argument("--json", action="store_true", help="print the reply as JSON")
    parser.add_argument("--version", action="version", version=f"darc {__version__}")
    return parser


def _assignment(word: str) -> tuple[str, str]:
    """Return key and value.

    :raises argparse.ArgumentTypeError: it is no line of a parset
    """
    key, equals, value = (part.strip() for part in word.partition("="))
    if not equals or not key or not (key + value).isprintable() or "#" in key + value:
        raise argparse.ArgumentTypeError(f"{word!r} is not KEY=VALUE, on one line and without #")
    return key, value


def parset_text(assignments: list[tuple[str, str]], now: float) -> tuple[str, str]:
    """Return name and text of the parset that assignments are.

    :param now: Unix s; the start where that is ``now``
    """
    values = dict(assignments)
    if values.get("start") == "now":
        values["start"] = f"{now:.3f}"
    text = "".join(f"{key} = {value}\n" for key, value in values.items())
    return f"{values.get('taskid', 'observation')}.parset", text


def _columns() -> int:
    """Return the width of the terminal, as argparse would, which imports shutil for it."""
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given):
        return int(given)
    try:
        return os.get_terminal_size(1).columns or 80
    except OSError:  # no terminal
        return 80


def _command(word: str) -> str:
    """Check a command; the error for an unknown one suggests similar ones."""
    if word in COMMANDS:
        return word
    import difflib  # noqa: PLC0415 - for who has mistyped it

    near = difflib.get_close_matches(word.lower(), (*COMMANDS, *TERMINAL), n=2, cutoff=0.6)
    what = f"did you mean {' or '.join(near)}?" if near else "darc --help lists them"
    raise argparse.ArgumentTypeError(f"no command {word!r}: {what}")


def interactive_word(arguments: list[str]) -> int | None:
    """Return the index of the command, if it has options of its own."""
    place = 0
    while place < len(arguments):
        if not arguments[place].startswith("-"):
            return place if arguments[place] in TERMINAL else None
        place += 2 if arguments[place] in _WITH_VALUE else 1
    return None


def wrong_usage(options: argparse.Namespace) -> str:
    """Return which options contradict each other; empty if none do."""
    command, service = options.command, options.service
    payload = options.parset or options.config or options.key
    if (command == "get_attr") != (options.attribute is not None):
        return "get_attr, and only get_attr, takes the name of an attribute"
    if command in {"status", "start", "stop", "restart"} and not service:
        return f"{command} needs --service NAME or --service all"
    if command == "stop_master" and service == "all":
        return f"{command} concerns the whole node: leave out --service"
    if payload and not command.endswith("_observation"):
        return f"{command} takes neither --parset nor --config nor --key"
    if command.endswith("_observation") and not payload:
        return f"{command} needs --parset FILE or --config FILE, or --key K=V"
    everywhere = options.key and options.host == "all"
    one_node = "--key is for one node: --host all needs a file" if everywhere else ""
    return one_node or not_of_a_service(command, service)
