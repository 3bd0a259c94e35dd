"""``darc logs``: log files of services, of this node or of others, merged and followed."""

from __future__ import annotations

import argparse
import os
import select
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from darc.cli.interactive import guarded, load, word_parser
from darc.cli.log_following import FollowedNodes
from darc.cli.log_lines import (
    LOOK_SECONDS,
    NO_SERVICE,
    READ_SECONDS,
    Line,
    NoSuchServiceError,
    arguments_for,
    chosen_logs,
    from_plain,
    make_poll,
    print_lines,
    wait_for_change,
    width_of,
)
from darc.cli.log_records import LogRecord, parse_since
from darc.cli.log_sources import LogFilter, NodeLogs
from darc.cli.remote_commands import chosen_hosts, gather, is_here, to_line
from darc.cli.terminal_text import shown
from darc.config.config import Config
from darc.config.records import asdict

LAST = 50
EXAMPLES = """\
SERVICE is one or several of this node's, darc_master or supervisord, or all.

examples:
  darc logs amber_clustering            the last 50 entries
  darc logs all -f                      what all services log from now on, too
  darc logs all --since 10m             of the last ten minutes
  darc logs all --since 2026-11-22T01:10 --grep 190518009/41/7
  darc logs dada_trigger --host all -n 5
"""


def make_parser() -> argparse.ArgumentParser:
    parser = word_parser(
        "logs", "Show entries of log files, rotated ones too, in the order of time (UTC).", EXAMPLES
    )
    parser.add_argument("services", nargs="+", metavar="SERVICE", help="see below")
    parser.add_argument("-f", "--follow", action="store_true", help="continue with new entries")
    parser.add_argument("--since", metavar="TIME", help="30s, 10m, 2h, 1d ago, or a time in UTC")
    parser.add_argument("--grep", default="", metavar="TEXT", help="entries with this text only")
    parser.add_argument(
        "-n",
        "--lines",
        type=_number,
        metavar="N",
        help=f"the last N entries, or all; default: {LAST}, with --since all",
    )
    parser.add_argument("--host", default="localhost", metavar="H", help="a node, or all")
    parser.add_argument("--for-another", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--some", action="store_true", help=argparse.SUPPRESS)
    return parser


def _number(text: str) -> int:
    if text == "all":
        return -1
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor all")
    return int(text)


def main(arguments: Sequence[str]) -> int:
    """Show logs; return the exit status."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    try:
        since = parse_since(options.since, time.time()) if options.since else None
    except ValueError as error:
        parser.error(f"--since: {error}")
    last = options.lines
    if last is None and since is None:
        last = LAST
    selection = LogFilter(None if last in (None, -1) else last, since, options.grep)
    config = load()
    if options.for_another:
        try:
            found = chosen_logs(config, options.services, some=options.some)
        except NoSuchServiceError as error:
            if not options.some:
                raise
            print(to_line({"records": [], NO_SERVICE: str(error)}), flush=True)
            return 0
        with closing(found) as logs:
            return _for_another(logs, selection, options.follow)
    hosts = chosen_hosts(config, options.host)
    if len(hosts) == 1 and is_here(config, hosts[0]):
        return _here(config, options.services, selection, options.follow)
    if options.follow:
        return FollowedNodes(config, hosts, options.services, selection).run()
    return _once(config, hosts, options.services, selection)


# -- this node -------------------------------------------------------------------------------------


def _here(config: Config, services: Sequence[str], selection: LogFilter, follow: bool) -> int:
    with closing(chosen_logs(config, services)) as logs:
        for name, path in logs.paths.items():
            if not path.exists() and len(logs.paths) == 1:
                print(f"darc: {name} has no log yet: {path}", file=sys.stderr)
        print_lines((("", record) for record in logs.history(selection, follow)), 0)
        if not follow:
            return 0
        sys.stdout.flush()
        poll = make_poll(logs, None)
        while wait_for_change(poll, LOOK_SECONDS):
            print_lines((("", record) for record in logs.new_records(selection)), 0)
    return 0


# -- for another node ------------------------------------------------------------------------------


def _for_another(logs: NodeLogs, selection: LogFilter, follow: bool) -> int:
    history = [asdict(record) for record in logs.history(selection, follow)]
    print(to_line({"records": history}), flush=True)
    if not follow:
        return 0
    poll = make_poll(logs, None)
    poll.register(0, select.POLLIN)  # closed when the requesting node disconnects
    while True:
        for descriptor, _ in poll.poll(LOOK_SECONDS * 1e3):
            if descriptor == sys.stdout.fileno() or (descriptor == 0 and not os.read(0, 65536)):
                return 0
        new_records = [asdict(record) for record in logs.new_records(selection)]
        if new_records:
            print(to_line({"records": new_records}), flush=True)


# -- many nodes ------------------------------------------------------------------------------------


def _once(
    config: Config, hosts: Sequence[str], services: Sequence[str], selection: LogFilter
) -> int:
    lines: list[Line] = []
    without: dict[str, str] = {}
    for host in hosts:
        if not is_here(config, host):
            continue
        try:
            with closing(chosen_logs(config, services, some=True)) as logs:
                lines += [(host, record) for record in logs.history(selection, False)]
        except NoSuchServiceError as error:
            without[host] = str(error)
    words = arguments_for(services, selection, False, len(hosts) > 1)
    answers, failed = gather(config, hosts, "logs", words, READ_SECONDS, _answer)
    for host, (found, why_not) in answers.items():
        lines += [(host, record) for record in found]
        if why_not:
            without[host] = why_not
    lines.sort(key=lambda line: line[1].key)
    if selection.last is not None:
        lines = lines[max(0, len(lines) - selection.last) :]
    print_lines(lines, width_of(hosts))
    return _print_result(hosts, without, failed)


def _answer(plain: dict[str, Any]) -> tuple[list[LogRecord], str]:
    """Return the entries of another node, and why it has none of the services."""
    return [from_plain(one) for one in plain["records"]], str(plain.get(NO_SERVICE, ""))


def _print_result(
    hosts: Sequence[str], without: Mapping[str, str], failed: Mapping[str, str]
) -> int:
    """Say which nodes gave nothing. That a service is on some of them only is as it should be."""
    is_nowhere = len(without) == len(hosts)
    for host, reason in {**(without if is_nowhere else {}), **failed}.items():
        print(f"{host}: {shown(reason.removeprefix('darc: '))}", file=sys.stderr)
    return 1 if is_nowhere or failed else 0


if __name__ == "__main__":
    sys.exit(guarded(main, sys.argv[1:]))
