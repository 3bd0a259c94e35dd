"""``darc alerts``: announced bursts, the roads by which they leave, and what people say of them."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from darc.cli.interactive import TerminalError, word_parser
from darc.cli.terminal_text import shown, utc
from darc.model.event import AlertType, Tense
from darc.model.name_report import LIVE, ReportState
from darc.node.command_client import ask, ask_attribute
from darc.runtime.program import port, seconds
from darc.runtime.service_traits import known_traits

#: Events of a tense in the list: injections may come each minute.
LATEST = {Tense.CURRENT: 20, Tense.TEST: 20, Tense.INJECTION: 5}
EXAMPLES = """\
examples:
  darc alerts                       the latest events, and the roads
  darc alerts show 20261122T193908-4f1a2b
  darc alerts retract 20261122T193908-4f1a2b --reason 'a satellite'
  darc alerts confirm 20261122T193908-4f1a2b --reason 'a burst of FRB 20121102A'
  darc alerts report 20261122T193908-4f1a2b
                                    to the Transient Name Server: its sandbox, or with --live
  darc alerts disable kafka         what waits on that road is withdrawn
  darc alerts test                  a test notice by all roads of tests
"""


def make_parser() -> argparse.ArgumentParser:
    parser = word_parser(
        "alerts",
        "Announced bursts, and the roads by which they leave. What changes something is"
        " signed, and logged with who sent it.",
        EXAMPLES,
    )
    parser.add_argument("--host", default="localhost", metavar="H", help="the master node")
    parser.add_argument("--port", type=port, metavar="P", help="default: as configured")
    parser.add_argument("--timeout", type=seconds, default=10.0, metavar="S", help="default: 10")
    parser.add_argument("--json", action="store_true", help="print values as JSON")
    actions = parser.add_subparsers(dest="action", metavar="action")
    actions.add_parser("list", help="the latest events, and the roads (default)")
    one = actions.add_parser("show", help="an event, with all its notices")
    one.add_argument("id")
    no = actions.add_parser("retract", help="say that it was no burst")
    no.add_argument("id")
    no.add_argument("--reason", required=True, help="as it is published")
    yes = actions.add_parser("confirm", help="say that it is one")
    yes.add_argument("id")
    yes.add_argument("--reason", default="", help="what it is, as it is published")
    tns = actions.add_parser("report", help="report it to the Transient Name Server")
    tns.add_argument("id")
    tns.add_argument(
        "--live", action="store_true", help="to the server that gives names; default: its sandbox"
    )
    for action, text in (("enable", "use a road again"), ("disable", "use it no more")):
        switch = actions.add_parser(action, help=text)
        switch.add_argument("name", help="vtp, kafka, webhook, file, chat; updates; or tns")
    actions.add_parser("test", help="send a test notice")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Show events, or send an order; return the exit status."""
    options = make_parser().parse_args(arguments)
    id = getattr(options, "id", None)
    if id is not None and id.split() != [id]:
        # The master would take what follows for something else.
        raise TerminalError(f"{id!r} is no id of an event; darc alerts lists the latest ones")
    match options.action:
        case "retract" | "confirm":
            words = f"alerts_{options.action} {options.id} {' '.join(options.reason.split())}"
            return _order(words.strip(), options)
        case "report":
            live = f" {LIVE}" if options.live else ""
            return _order(f"alerts_report {options.id}{live}", options)
        case "enable" | "disable":
            return _order(f"alerts_{options.action} {options.name}", options)
        case "test":
            return _order("alerts_test", options)
        case "show":
            found = [one for one in _asked("events", options) if one["id"] == options.id]
            if not found:
                if state := _asked("event_states", options).get(options.id):
                    what = f"{options.id}: {state}; the details are told of the latest events alone"
                    raise TerminalError(what)
                raise TerminalError(f"no event {options.id!r}; darc alerts lists the latest ones")
            print(json.dumps(found[0])) if options.json else _show(found[0])
            return 0
        case _:
            events, roads = _asked("events", options), _asked("roads", options)
            if options.json:
                print(json.dumps({"events": events, "roads": roads}))
            else:
                _list(_latest(events), roads)
            return 0


def _order(words: str, options: argparse.Namespace) -> int:
    where = options.timeout, None, words, None, options.host, options.port
    reply, reason = ask(*where)
    if reply is None:
        raise TerminalError(reason)
    if options.json:
        print(json.dumps(reply))
    else:
        message = reply["message"]
        text = message.get("error", message) if isinstance(message, dict) else message
        print(text, file=sys.stdout if reply["status"] == "Success" else sys.stderr)
    return 0 if reply["status"] == "Success" else 1


def _asked(attribute: str, options: argparse.Namespace) -> Any:
    """Return an attribute of the service that announces bursts."""
    service = next(name for name, traits in known_traits().items() if traits.announces)
    where = options.timeout, service, attribute, options.host, options.port
    value, reason = ask_attribute(*where)
    if value is None:
        raise TerminalError(f"{service}: {reason}")
    return value


# -- tables ------------------------------------------------------------------------------------


def _latest(events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the events of the list, in their order."""
    left = {str(tense): most for tense, most in LATEST.items()}
    listed = []
    for one in events:
        if left[one["tense"]] > 0:
            left[one["tense"]] -= 1
            listed.append(one)
    return listed


def _list(events: Sequence[dict[str, Any]], roads: dict[str, dict[str, Any]]) -> None:
    console = Console()
    table = Table("road", "enabled", "waiting", "acknowledged", "given up", "withdrawn", "why")
    for name, road in roads.items():
        enabled = "yes" if road["enabled"] else "no"
        counts = (str(road[key]) for key in ("waiting", "acknowledged", "given up", "withdrawn"))
        table.add_row(name, enabled, *counts, _cell(road["error"]))
    console.print(table)
    if not events:
        console.print("No events are remembered.")
        return
    # In 80 columns words break at blanks only: an id, a date, a state and a road stay whole.
    table = Table(
        Column("event", no_wrap=True),
        Column("arrival (UTC)", min_width=10),
        Column("DM", no_wrap=True),
        Column("S/N", no_wrap=True),
        Column("state", min_width=10),
        "source",
        Column("roads", min_width=12),
        box=None,
        padding=(0, 1, 0, 0),
    )
    for one in events:
        tense = "" if one["tense"] == "current" else f" ({one['tense']})"
        table.add_row(
            one["id"],
            utc(one["arrival"]),
            f"{one['dm']:.1f}",
            f"{one['snr']:.1f}",
            f"{one['state']}{tense}",
            _cell(one["source"] or ""),
            _states(one["notices"][-1]["roads"]),
        )
    console.print(table)


def _show(event: dict[str, Any]) -> None:
    console = Console()
    facts = Table(show_header=False)
    for name in ("id", "name", "tense", "state", "trigger", "source", "verdict"):
        facts.add_row(name, _cell(str(event[name] or "")))
    facts.add_row("arrival", f"{utc(event['arrival'])} UTC, at the centre of the band")
    facts.add_row("DM", f"{event['dm']:.2f} pc/cm^3")
    facts.add_row("S/N", f"{event['snr']:.1f}")
    facts.add_row("width", f"{event['width']:.4g} ms")
    if event["probability"] is not None:
        facts.add_row("probability", f"{event['probability']:.3g}")
    if event["owed"]:
        facts.add_row("owed", f"the retraction, by {', '.join(event['owed'])}")
    for one in event.get("reports", ()):  # versions before have none
        facts.add_row(f"TNS ({one['server']})", _cell(_reported(one)))
        left = one["name"] or one["number"] or one["state"] == ReportState.UNANSWERED
        if left and one["server"] == LIVE and event["state"] == AlertType.RETRACTION:
            facts.add_row("", "the TNS is not told of the retraction: write to it")
    console.print(facts)
    table = Table("notice", "kind", "made (UTC)", "by", "roads", "reason")
    for one in event["notices"]:
        who, why = _cell(one["by"]), _cell(one["reason"])
        about = utc(one["at"]), who, _states(one["roads"]), why
        table.add_row(str(one["number"]), one["kind"], *about)
    console.print(table)


def _reported(report: dict[str, Any]) -> str:
    """Return what became of a report to the Transient Name Server."""
    number = f", report {report['number']}" if report["number"] else ""
    why = f": {report['why']}" if report["why"] else ""
    name = f" {report['name']}" if report["name"] else ""
    asked = f"as {report['internal_name']}, {utc(report['at'])} UTC by {report['by']}"
    return f"{report['state']}{name}{why} ({asked}{number})"


def _cell(text: str) -> Text:
    """Return text of others for a table, which would take brackets for a style."""
    return Text(shown(text))


def _states(roads: dict[str, str]) -> str:
    return "\n".join(f"{road}: {state}" for road, state in roads.items()) or "none"
