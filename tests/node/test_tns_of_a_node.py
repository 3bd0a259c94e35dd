"""A burst reported to the Transient Name Server from a node, by the command, over a death."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import alerts
import pytest
from alerts import put, told, trigger
from nodes import Node, node, only, wait_for

from darc.node.command_client import exchange_messages
from darc.services.voevent_generator.notice_schema import check_notice
from simulator import name_server
from simulator.name_server import NameServer

SERVICE = "voevent_generator"
KEY = "a-key-of-the-bot-0123456789abcdef"
WAIT = 30.0


SETTINGS = {
    "bot_id": 7,
    "bot_name": "DARC bot",
    "reporter": "A. Person",
    "reporting_group": 86,
    "discovery_group": 86,
    "instrument": 222,
    "filter": 1,
    "timeout": 1,
}


def test_a_burst_gets_a_name_over_a_death(test_run: str, tmp_path: Path) -> None:
    secret = tmp_path / "tns"
    secret.write_text(f"api_key = {KEY}\n")
    secret.chmod(0o600)
    with NameServer(KEY) as sandbox, NameServer(KEY) as live:
        where = {"sandbox_url": sandbox.url, "live_url": live.url, "credentials": str(secret)}
        ours = {
            "send_events": True,
            "test": False,
            "interval": 0.3,
            "roads": ["file"],
            "tns": {**SETTINGS, **where},
        }
        with node(test_run, darc_master=only(SERVICE), voevent_generator=ours) as made:
            made.environment["DARC_FAULT_POINTS"] = str(tmp_path)
            made.start()
            one, tests = trigger(dm=910.0), trigger(dm=920.0, test=True)
            put(made, SERVICE, one)
            put(made, SERVICE, tests)

            def events() -> dict[str, dict[str, Any]]:
                return {each["trigger"]: each for each in told(made, SERVICE, "events") or []}

            wait_for(lambda: {one.identity, tests.identity} <= set(events()), WAIT)
            event = events()[one.identity]["id"]
            done = made.darc("alerts", "report", events()[tests.identity]["id"])
            assert (done.returncode, "it is no burst: test" in done.stderr) == (1, True)
            assert made.darc("alerts", "report", "nothing").returncode == 1
            unsigned = {"command": f"alerts_report {event} live"}
            with pytest.raises(ValueError, match="no secret to sign"):
                exchange_messages("127.0.0.1", made.port, unsigned, WAIT, None)
            assert not live.received

            assert made.darc("alerts", "disable", "tns").returncode == 0
            off = made.darc("alerts", "report", event, "--live")
            assert (off.returncode, "reports are disabled" in off.stderr) == (1, True)
            assert made.darc("alerts", "enable", "tns").returncode == 0

            # It dies once the report is at the TNS, before that is noted.
            pid = made.pid(SERVICE)
            (tmp_path / f"{SERVICE}.after reporting").touch()
            done = made.darc("alerts", "report", event, "--live")
            assert (done.returncode, done.stderr) == (0, "")
            assert f"The report of {event} to the TNS (live server) is on its way" in done.stdout
            alerts.wait_for_successor(made, SERVICE, pid)
            wait_for(lambda: events()[one.identity]["reports"][0]["name"], WAIT)
            name = events()[one.identity]["name"]
            assert list(live.names.values()) == [name.removeprefix("FRB ")]
            assert not sandbox.received
            who = events()[one.identity]["reports"][0]["by"]
            assert f"event {event}: to be reported to the TNS (live), by {who}" in made.log(SERVICE)
            assert name in made.darc("alerts", "show", event).stdout
            again = made.darc("alerts", "report", event, "--live")
            assert (again.returncode, f"is named {name}" in again.stderr) == (1, True)

            # Later notices have the name, the service's next process, too.
            alerts.kill(made, SERVICE)
            assert made.darc("alerts", "confirm", event).returncode == 0
            path = made.home / "notices" / f"{event}.2.json"
            wait_for(path.exists, WAIT)
            check_notice(path.read_bytes())
            assert json.loads(path.read_bytes())["event_name"] == name

            refuse(made, live)
            assert not [text for text in texts_of(made) if KEY.encode() in text]


def texts_of(made: Node) -> list[bytes]:
    """All that a node tells or keeps, and what others see of the service."""
    process = Path(f"/proc/{made.pid(SERVICE)}")
    found = [(process / name).read_bytes() for name in ("environ", "cmdline")]
    found += [path.read_bytes() for path in (made.home / "log").glob("*")]
    found += [path.read_bytes() for path in made.run_dir.glob("journal*")]
    found += [str(told(made, SERVICE, name)).encode() for name in ("events", "losses")]
    assert len(found) > 5
    return found


def refuse(made: Node, live: NameServer) -> None:
    """What is refused is a problem on the page."""
    other = trigger(dm=930.0)
    put(made, SERVICE, other)

    def event() -> Any:
        events = told(made, SERVICE, "events") or []
        return next((one["id"] for one in events if one["trigger"] == other.identity), None)

    id = wait_for(event, WAIT)
    live.troubles = [name_server.says(403)]
    assert made.darc("alerts", "report", id, "--live").returncode == 0
    losses = wait_for(lambda: (told(made, SERVICE, "losses") or {}).get("report_refused"), WAIT)
    assert losses["last"][0]["what"] == f"{id} (live)"
