"""``darc observations``: present and past observations."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from darc.cli.interactive import guarded, load, word_parser
from darc.cli.past_observations import ObservationRow, past, present
from darc.cli.remote_commands import chosen_hosts, gather, is_here, to_line
from darc.cli.terminal_text import count, shown, span, utc
from darc.config import typed
from darc.config.config import Config
from darc.config.records import asdict

LATEST = 20
READ_SECONDS = 60.0
EXAMPLES = """\
examples:
  darc observations
  darc observations --all --json
  darc observations --host all
"""
_SIGNS = {
    "running": ("▶", "green"),
    "pending": ("·", "cyan"),
    "in processing": ("…", "yellow"),
    "aborted": ("✗", "yellow"),
    "over": ("✓", ""),
}


def make_parser() -> argparse.ArgumentParser:
    parser = word_parser(
        "observations",
        f"Show the observations of a node: unfinished ones, and the latest {LATEST} past ones.",
        EXAMPLES,
    )
    parser.add_argument("--host", default="localhost", metavar="H", help="a node, or all")
    parser.add_argument("--all", action="store_true", help="all that are kept")
    parser.add_argument("--json", action="store_true", help="print them as JSON")
    parser.add_argument("--for-another", action="store_true", help=argparse.SUPPRESS)
    return parser


def main(arguments: Sequence[str]) -> int:
    """Show observations; return the exit status."""
    options = make_parser().parse_args(arguments)
    config = load()
    if options.for_another:
        print(to_line({"rows": _plain(_own(config, options.all))}))
        return 0
    hosts = chosen_hosts(config, options.host)
    words = ["--for-another", *(["--all"] if options.all else [])]
    answers, reasons = gather(config, hosts, "observations", words, READ_SECONDS, _rows)
    rows = {
        host: _own(config, options.all) if is_here(config, host) else answers[host]
        for host in hosts
        if host not in reasons
    }
    if options.json:
        plain = {host: {"error": reason} for host, reason in reasons.items()}
        print(json.dumps(plain | {host: _plain(some) for host, some in rows.items()}))
    else:
        _print(rows, len(hosts) > 1)
        for host, reason in reasons.items():
            print(f"{host}: {shown(reason)}", file=sys.stderr)
    return 1 if reasons else 0


def _own(config: Config, everything: bool) -> list[ObservationRow]:
    now = sorted(present(config), key=lambda row: -row.start)
    return [*now, *past(config, {row.id for row in now}, None if everything else LATEST)]


def _plain(rows: Sequence[ObservationRow]) -> list[dict[str, Any]]:
    return [asdict(row) for row in rows]


def _rows(plain: dict[str, Any]) -> list[ObservationRow]:
    return [typed.from_plain(ObservationRow, one, "observation") for one in plain["rows"]]


def _print(rows: dict[str, list[ObservationRow]], with_host: bool) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    names = ["task", "source", "start (UTC)", "lasts", "state", "cands", "clust", "trig"]
    right = {"lasts", "cands", "clust", "trig"}
    for name in [*(["node"] if with_host else []), *names]:
        # Long names are wrapped.
        table.add_column(
            name,
            justify="right" if name in right else "left",
            no_wrap=name not in ("task", "source", "node"),
            overflow="fold",
        )
    problems = []
    for host, some in rows.items():
        for row in some:
            sign, style = _SIGNS.get(row.state, ("?", "yellow"))
            counts = (row.candidates, row.clusters, row.triggers)
            cells: list[str | Text] = [
                *([host] if with_host else []),
                shown(row.id or "-"),
                shown(row.source),
                utc(row.start) if row.start else "-",
                "-" if row.duration is None else span(row.duration),
                Text(f"{sign} {row.state}", style),
                *("-" if number is None else count(number) for number in counts),
            ]
            table.add_row(*cells)
            if row.problem:
                problems.append(shown(f"{host}: {row.problem}"))
    if table.row_count:
        Console(width=None if sys.stdout.isatty() else 120, highlight=False).print(table)
    else:
        print("no observations")
    for problem in problems:
        print(problem, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(guarded(main, sys.argv[1:]))
