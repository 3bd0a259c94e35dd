"""``darc_observation``: survey control as a command."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from darc.cluster.survey import ACTIONS, TIMEOUT, SurveyPlan, SurveyResult, plan_observation, tell
from darc.config.config import ConfigError
from darc.config.records import to_builtins
from darc.model.observation import ObservationError
from darc.node.node_config import load_node_config
from darc.runtime.program import as_program, number


@as_program
def main() -> int:
    """Start, stop or abort an observation on all participating nodes."""
    options = _parser().parse_args()
    try:
        config = load_node_config()
        plan = plan_observation(options.parset, config, nodes=options.nodes, home=options.home)
        if options.dry_run:
            _show(options.json, to_builtins(plan), _plan_rows(plan))
            _say_missing(plan.without_node)
            return 0
        account = tell(options.action, plan, config, options.timeout)
    except (ConfigError, ObservationError) as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else error
        print(what, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: some nodes may have received the command; repeat it", file=sys.stderr)
        return 130
    _show(options.json, account.to_plain(), _account_rows(account))
    _say_missing(account.without_node)
    if not options.json:
        print(_summary(account))
    return 0 if account.complete else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="darc_observation",
        description="Start, stop or abort an observation on the master node and all participating"
        " workers.",
        epilog="Exit status: 0 when every node is in.",
    )
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("parset", type=Path, metavar="PARSET", help="the telescope's parset")
    parser.add_argument(
        "--nodes", nargs="+", default=[], metavar="NODE", help="only these: names or arts[001-040]"
    )
    parser.add_argument(
        "--home", metavar="DIR", help="value of {home} in PARSET; default: your home"
    )
    parser.add_argument(
        "--timeout",
        type=number(0.001, 3600),
        default=TIMEOUT,
        metavar="S",
        help=f"default: {TIMEOUT:g}",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="send nothing; with --json, print all nodes' parsets"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser


def _show(as_json: bool, plain: dict[str, Any], rows: list[tuple[str, ...]]) -> None:
    """Print a table on a terminal, else lines."""
    if as_json:
        print(json.dumps(plain))
    elif not sys.stdout.isatty():
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
        for row in rows:
            cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)]
            print("  ".join([*cells, row[-1]]).rstrip())
    else:
        table = Table(box=None, pad_edge=False)
        for name in ("node", "beam", "", ""):
            table.add_column(name)
        for row in rows:
            table.add_row(*(Text(cell, "bold red" if cell == "NOT IN" else "") for cell in row))
        Console().print(table)


def _plan_rows(plan: SurveyPlan) -> list[tuple[str, ...]]:
    where = f"<parset_dir>/{plan.datetimesource}"
    return [
        (share.node, _beam(share.beam), "would get", f"{where}/{share.name}")
        for share in plan.shares
    ]


def _account_rows(account: SurveyResult) -> list[tuple[str, ...]]:
    return [
        (
            one.node,
            _beam(one.beam),
            "in" if one.is_in else "NOT IN",
            f"Warning: {one.message}" if one.status == "Warning" else one.message,
        )
        for one in account.nodes
    ]


def _beam(beam: int | None) -> str:
    return "master" if beam is None else f"CB{beam:02d}"


def _say_missing(beams: tuple[int, ...]) -> None:
    if beams:
        count = "beam is" if len(beams) == 1 else "beams are"
        names = ", ".join(map(_beam, beams))
        print(f"warning: {len(beams)} {count} observed without a node: {names}", file=sys.stderr)


def _summary(account: SurveyResult) -> str:
    count = sum(one.is_in for one in account.nodes)
    what = f"{account.action} of {account.datetimesource} ({account.task_id})"
    return f"{what}: {count} of {len(account.nodes)} nodes in"
