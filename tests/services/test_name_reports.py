"""Reports to the Transient Name Server by the service, whoever dies and however it answers."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from msgspec.structs import replace
from nodes import free_port, patience, wait_for
from test_alerts_of_a_service import FakeServices, Kept, recent

from darc.cli import alerts_word
from darc.cli.alerts_word import _show
from darc.cli.interactive import TerminalError
from darc.config.config import ConfigError, Role
from darc.delivery.outbox import Outbox
from darc.delivery.tns_client import TNSClient
from darc.master.alert_commands import AlertCommands
from darc.model.event import AlertType, Event, Tense
from darc.model.finding import AlertOrder
from darc.model.message import Request
from darc.model.name_report import NameReport, ReportState
from darc.node.node_config import load_config
from darc.runtime.clock import Since
from darc.services.voevent_generator import name_reports
from darc.services.voevent_generator.pending_report import REPORTING
from simulator import name_server
from simulator.name_server import NameServer, says, throttles

KEY = "a-key-of-the-bot-0123456789abcdef"
OTHER_KEY = "of-the-live-server-0123456789abcdef"
WAIT = 20.0


class Site:
    """A service, both servers, and a file of credentials."""

    def __init__(self, path: Path, sandbox: NameServer, live: NameServer) -> None:
        self.path = path
        self.sandbox = sandbox
        self.live = live
        self.secret = path / "tns"
        self.secret.write_text(f"api_key = {KEY}\n")
        self.secret.chmod(0o600)
        self.made: list[Kept] = []
        self.outboxes: list[Outbox[Any]] = []  # of the one that lives

    def settings(self, **changes: Any) -> dict[str, Any]:
        usual = {
            "sandbox_url": self.sandbox.url,
            "live_url": self.live.url,
            "credentials": str(self.secret),
            "bot_id": 7,
            "bot_name": "DARC bot",
            "reporter": "A. Person",
            "reporting_group": 86,
            "discovery_group": 86,
            "instrument": 222,
            "filter": 1,
            "timeout": 5,
        }
        return usual | changes

    def service(self, memory: dict[str, Any] | None = None, **tns: Any) -> Kept:
        path = self.path / "config.yaml"
        section = {
            "send_events": True,
            "server_port": free_port(),
            "test": False,
            "roads": ["file"],
            "voevent_dir": str(self.path / "voevents"),
            "file": {"directory": str(self.path / "notices")},
            "tns": self.settings(**tns),
        }
        path.write_text(yaml.safe_dump({"voevent_generator": section}))
        made = Kept(load_config(path))
        self.made.append(made)
        if memory is not None:
            made.memory = dict(memory)
            made.recover(memory)
        return made

    def end(self, service: Kept) -> dict[str, Any]:
        """As a death does: nothing of it goes on; return what is on the disk."""
        memory = dict(service.memory)
        while self.outboxes:
            self.outboxes.pop().close(WAIT)
        return memory


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(name_reports, "FIRST_DELAY", 0.02)
    monkeypatch.setattr(name_reports, "LONGEST_DELAY", 0.1)
    with NameServer(KEY) as sandbox, NameServer(KEY) as live:
        made = Site(tmp_path, sandbox, live)

        def outbox(*arguments: Any, **options: Any) -> Outbox[Any]:
            made.outboxes.append(Outbox(*arguments, **options))
            return made.outboxes[-1]

        monkeypatch.setattr(name_reports, "Outbox", outbox)
        yield made
        for one in made.made:
            made.end(one)


def report(event: Event, *, live: bool = False) -> AlertOrder:
    return AlertOrder("report", event.id, "", "me@here", time.time(), live)


def of(one: Kept, event: Event, *, live: bool = False) -> NameReport:
    found = one.event(event.id).report_to(live=live)
    assert found
    return found


def wait_for_state(
    one: Kept, event: Event, state: ReportState, *, live: bool = False
) -> NameReport:
    def reached() -> bool:
        one.idle()
        return of(one, event, live=live).state is state

    wait_for(reached, WAIT, f"the report {state}, not {of(one, event, live=live)}")
    return of(one, event, live=live)


def under_way(one: Kept) -> list[str]:
    return [key for key in one.memory if key.startswith(REPORTING)]


# -- as it should be ---------------------------------------------------------------------------


def test_a_burst_gets_a_name_by_a_persons_word_alone(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    one = site.service()
    event = one.announced(recent())
    one.idle()
    assert not site.live.received
    assert not site.sandbox.received
    site.live.not_yet = 2
    one.put(report(event, live=True))
    (key,) = under_way(one)  # on the disk
    got = wait_for_state(one, event, ReportState.NAMED, live=True)
    day = json.loads(site.live.asked("set/bulk-report")[0].fields["data"])["frb_report"]["0"]
    assert got.name == f"FRB {day['discovery_datetime'][:10].replace('-', '')}A"
    assert got.number == "1001"
    assert key not in one.memory
    assert len(site.live.reports) == 1
    assert not site.sandbox.received
    # It is asked with a back-off.
    assert len(site.live.asked("get/bulk-report-reply")) == 3
    assert not one.said
    # The name is kept, told, and in what follows.
    assert Event.from_plain(one.memory[f"announced {event.id}"]).name == got.name
    again = site.service(one.memory)
    assert again.event(event.id).name == got.name
    (shown,) = again.events
    _show(shown)
    told = capsys.readouterr().out
    assert got.name in told
    assert "1001" in told
    again.put(AlertOrder("confirm", event.id, "", "me@here", 1.0))
    file = site.path / "notices" / f"{event.id}.2.json"
    wait_for(lambda: again.idle() or file.exists(), WAIT)
    sent = json.loads(file.read_bytes())
    assert (sent["event_name"], sent["id"]) == (got.name, event.id)


def test_a_name_of_the_sandbox_is_shown_and_used_nowhere(site: Site) -> None:
    one = site.service()
    event = one.announced(recent())
    one.put(report(event))
    assert wait_for_state(one, event, ReportState.NAMED).name.startswith("FRB ")
    assert one.event(event.id).name == event.name
    assert not site.live.received
    # It can be reported to the live server afterwards.
    one.put(report(event, live=True))
    wait_for_state(one, event, ReportState.NAMED, live=True)
    assert {entry["server"] for entry in one.events[0]["reports"]} == {"sandbox", "live"}


# -- what is refused ---------------------------------------------------------------------------


def refused(one: Kept, event: Event, *, live: bool = False) -> str:
    """Why a report is refused: by the command, and, should it come all the same, by the service."""
    told = one.not_reportable["live" if live else "sandbox"]
    why = told.get("") or told.get(event.id, "")
    one.put(report(event, live=live))
    (said,) = one.losses_of("order_not_sent")
    assert said.endswith(why)
    return why


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"ra": None, "dec": None}, "it has no position"),
        ({"semiMaj": 0.0, "semiMin": 0.0}, "its position has no error"),
        ({"name": "pulsar", "src_name": "B0531+21"}, "it is of the pulsar B0531+21"),
    ],
)
def test_what_the_tns_cannot_take_is_not_sent(
    site: Site, changes: dict[str, Any], why: str
) -> None:
    one = site.service()
    event = one.announced(recent(**changes))
    assert refused(one, event).startswith(why)
    assert not site.sandbox.received


@pytest.mark.parametrize("tense", [Tense.TEST, Tense.INJECTION])
def test_neither_a_test_nor_an_injection_is_reported(site: Site, tense: Tense) -> None:
    one = site.service()
    event = one.announced(recent(), test=True)
    one.book.put(replace(event, tense=tense))
    assert refused(one, event) == f"it is no burst: {tense}"


def test_neither_what_was_retracted_nor_what_was_reported(site: Site) -> None:
    one = site.service()
    event = one.announced(recent())
    one.put(report(event))
    got = wait_for_state(one, event, ReportState.NAMED)
    assert refused(one, event).endswith(f"by me@here, and is named {got.name}")
    one.said.clear()
    site.live.holds = True
    one.put(report(event, live=True))
    assert one.not_reportable["live"][event.id].endswith("and that is under way")
    other = one.announced(recent(window=5))
    one.put(AlertOrder("retract", other.id, "a satellite", "me@here", 1.0))
    assert refused(one, other) == "it was retracted"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"credentials": None}, "voevent_generator.tns is not complete: credentials"),
        ({"bot_id": None, "reporter": None}, "is not complete: bot_id, reporter (docs/tns.md)"),
        ({"credentials": "/nowhere/tns"}, "/nowhere/tns: No such file or directory"),
    ],
)
def test_without_all_that_is_needed_nothing_is_reported(
    site: Site, changes: dict[str, Any], why: str
) -> None:
    one = site.service(**changes)
    assert why in refused(one, one.announced(recent()))
    assert not site.sandbox.received


def test_a_key_that_others_can_read_or_that_is_not_there_is_not_used(site: Site) -> None:
    one = site.service()
    event = one.announced(recent())
    site.secret.chmod(0o640)
    assert "others can read it (mode 0640)" in refused(one, event)
    one.said.clear()
    site.secret.chmod(0o600)
    site.secret.write_text("key = x\n")
    assert refused(one, event) == f"{site.secret}: no line `api_key = …`"


def test_the_live_server_has_to_be_named(site: Site) -> None:
    one = site.service(live_url=None)
    event = one.announced(recent())
    assert "tns.live_url is null" in refused(one, event, live=True)
    assert one.not_reportable["sandbox"] == {}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"live_url": "http://www.wis-tns.org/api"}, "anybody on the way could read the key"),
        ({"sandbox_url": "ftp://x"}, "sandbox_url: it is not an address"),
        (
            {"sandbox_url": "https://TNS.example/api", "live_url": "https://tns.example/api/"},
            "it is that of the sandbox",
        ),
        ({"bot_id": -1}, "bot_id"),
    ],
)
def test_settings_that_cannot_be_are_named(site: Site, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        site.service(**changes)


def test_by_default_nothing_can_be_reported(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("{}")
    settings = load_config(path).section("voevent_generator").tns
    assert (settings.sandbox_url, settings.live_url) == ("https://sandbox.wis-tns.org/api", None)
    assert settings.missing[0] == "credentials"


class TnsServices(FakeServices):
    def __init__(self, refusals: dict[str, dict[str, str]]) -> None:
        super().__init__({"a": "initial", "b": "initial"})
        self._told["not_reportable"] = refusals


def test_the_command_says_why_not() -> None:
    services = TnsServices({"live": {"": "no live"}, "sandbox": {"b": "it was retracted"}})
    master: Any = SimpleNamespace(config=SimpleNamespace(role=Role.MASTER), services=services)
    commands = AlertCommands(master).commands

    def say(words: str) -> str:
        return str(commands["alerts_report"](Request("x", attribute=words, origin="me")).message)

    assert "The report of a to the TNS (sandbox) is on its way" in say("a")
    assert say("a live").endswith("Event a is not reported: no live'}")
    assert say("b").endswith("Event b is not reported: it was retracted'}")
    assert "No such event: c" in say("c")
    assert "needs the id of an event" in say("")
    assert "needs the id of an event" in say("a real")
    (order,) = services.orders
    assert order["order"]["live"] is False


# -- a server that behaves badly ---------------------------------------------------------------

LOST = [name_server.loses_answer, name_server.loses_half, name_server.drips, name_server.floods]


@pytest.mark.parametrize("lost", LOST)
def test_a_report_whose_answer_was_lost_is_asked_for_and_not_sent_again(
    site: Site, lost: name_server.Trouble
) -> None:
    one = site.service(timeout=0.5)
    event = one.announced(recent())
    site.sandbox.troubles = [lost]
    site.sandbox.at_once = True
    one.put(report(event))
    got = wait_for_state(one, event, ReportState.NAMED)
    assert len(site.sandbox.asked("set/bulk-report")) == 1
    assert site.sandbox.asked("get/search")
    assert list(site.sandbox.names.values()) == [got.name.removeprefix("FRB ")]
    assert not one.said


def test_what_the_tns_has_already_counts_as_taken(site: Site) -> None:
    """The first was not processed yet when it was asked for, so the same bytes are sent again."""
    one = site.service()
    event = one.announced(recent())
    site.sandbox.troubles = [name_server.loses_answer]
    one.put(report(event))
    got = wait_for_state(one, event, ReportState.NAMED)
    first, second = site.sandbox.asked("set/bulk-report")
    assert first.fields == second.fields
    assert len(site.sandbox.names) == 1  # it has refused the second
    assert got.name.removeprefix("FRB ") in site.sandbox.names.values()
    assert not one.said


def test_what_the_tns_has_already_is_asked_for_and_not_sent_each_time(site: Site) -> None:
    one = site.service()
    event = one.announced(recent())
    known = {"id_code": 400, "data": {"message": name_server.IDENTICAL}}
    nothing = says(200, b'{"id_code":200,"data":{"reply":[]}}')
    refuses = says(400, json.dumps(known).encode())
    site.sandbox.troubles = [name_server.loses_answer, nothing, refuses, *[nothing] * 4]
    one.put(report(event))
    wait_for(lambda: not site.sandbox.troubles, WAIT)
    site.sandbox.process()
    wait_for_state(one, event, ReportState.NAMED)
    assert len(site.sandbox.asked("set/bulk-report")) == 2


@pytest.mark.parametrize(
    "trouble",
    [
        name_server.closes,
        name_server.hangs,
        says(500, b"<html>"),
        says(503),
        says(504, b"<html>Gateway"),
        says(200, b"{"),
        throttles(0),
    ],
)
def test_it_goes_on_until_the_server_is_well(site: Site, trouble: name_server.Trouble) -> None:
    one = site.service(timeout=0.5)
    event = one.announced(recent())
    site.sandbox.troubles = [trouble] * 4
    one.put(report(event))
    wait_for(lambda: not site.sandbox.troubles, WAIT)
    got = wait_for_state(one, event, ReportState.NAMED)
    assert len(site.sandbox.names) == 1
    assert got.why == ""
    assert not one.said


def test_a_server_that_is_asked_too_often_is_left_alone(site: Site) -> None:
    one = site.service()
    event = one.announced(recent())
    seconds = math.ceil(patience(1.0))  # or it is over before anybody looks
    site.sandbox.troubles = [throttles(seconds)]
    began = time.monotonic()
    one.put(report(event))
    said = f"asked too often (HTTP 429): again in {seconds} s"
    wait_for(lambda: said in str(one.reports_waiting), WAIT)
    wait_for_state(one, event, ReportState.NAMED)
    assert time.monotonic() - began >= seconds
    assert len(site.sandbox.asked("set/bulk-report")) == 2
    assert not site.sandbox.asked("get/search")  # nothing was taken


def test_no_other_report_bothers_a_server_that_wants_to_be_left_alone(site: Site) -> None:
    one = site.service()
    first, second = (one.announced(recent(window=number)) for number in (20, 21))
    seconds = math.ceil(patience(2.0))
    site.sandbox.troubles = [throttles(seconds)]
    began = time.monotonic()
    one.put(report(first), report(second))
    wait_for(lambda: str(one.reports_waiting).count("(HTTP 429)") == 2, WAIT)
    one.put(report(first, live=True))  # another server
    wait_for_state(one, first, ReportState.NAMED, live=True)
    received = len(site.sandbox.received)
    if time.monotonic() - began < seconds:
        assert received == 1
    for event in (first, second):
        wait_for_state(one, event, ReportState.NAMED)
    assert time.monotonic() - began >= seconds


def test_a_refusal_is_a_loss_with_its_reason_and_can_be_said_again(site: Site) -> None:
    one = site.service()
    event = one.announced(recent())
    refusal = {"id_code": 400, "id_message": "Bad request", "data": {
        "feedback": {"frb_report": [{"reporting_groupid": {"value": [
            {"message": "The bot is not of this group.", "message_id": 77}]}}]}}}  # fmt: skip
    site.sandbox.troubles = [says(400, json.dumps(refusal).encode())]
    one.put(report(event))
    got = wait_for_state(one, event, ReportState.REFUSED)
    assert "reporting_groupid: The bot is not of this group." in got.why
    assert one.losses_of("report_refused") == [got.why]
    assert not under_way(one)
    one.put(report(event))
    assert wait_for_state(one, event, ReportState.NAMED).why == ""


def test_what_was_refused_after_a_lost_answer_is_asked_for_when_it_is_said_again(
    site: Site,
) -> None:
    """The TNS may have the first, whatever it has said of the second."""
    one = site.service()
    event = one.announced(recent())
    nothing = says(200, b'{"id_code":200,"data":{"reply":[]}}')
    site.sandbox.troubles = [name_server.loses_answer, nothing, says(403)]
    one.put(report(event))
    wait_for_state(one, event, ReportState.REFUSED)
    site.sandbox.process()
    one.put(report(event))
    wait_for_state(one, event, ReportState.NAMED)
    assert len(site.sandbox.reports) == 1


def test_a_wrong_key_is_a_refusal(site: Site) -> None:
    one = site.service()
    event = one.announced(recent())
    site.secret.write_text(f"api_key = {OTHER_KEY}\n")
    one.put(report(event))
    assert "does not know the bot or its key" in wait_for_state(one, event, ReportState.REFUSED).why
    assert OTHER_KEY not in str((one.events, one.said, one.reports_waiting))


def test_a_name_of_another_day_goes_into_no_notice(site: Site) -> None:
    one = site.service()
    event = one.announced(recent())
    told = {"data": {"feedback": {"frb_report": [{"101": {"objname": "20121102A"}}]}}}
    site.live.troubles = [
        says(200, b'{"id_code":200,"data":{"report_id":5}}'),
        says(200, json.dumps(told).encode()),
    ]
    one.put(report(event, live=True))
    got = wait_for_state(one, event, ReportState.REFUSED, live=True)
    assert "FRB 20121102A, which is of another day" in got.why
    assert one.event(event.id).name == event.name


def test_no_answer_has_an_end_which_is_a_loss(site: Site) -> None:
    one = site.service(answer_within=1.0)
    event = one.announced(recent())
    site.sandbox.holds = True
    one.put(report(event))
    got = wait_for_state(one, event, ReportState.UNANSWERED)
    assert "report 1001 is not processed yet" in got.why
    assert one.losses_of("report_not_answered") == [got.why]
    assert got.number == "1001"
    asked = len(site.sandbox.asked("get/bulk-report-reply"))
    assert asked < 20  # with a back-off
    assert not under_way(one)
    # Said again, it is asked for before it is sent.
    site.sandbox.holds = False
    site.sandbox.process()
    one.put(report(event))
    wait_for_state(one, event, ReportState.NAMED)
    assert len(site.sandbox.reports) == 1


def test_a_server_that_is_away_for_too_long_is_a_loss(site: Site) -> None:
    one = site.service(give_up_after=patience(1.0))
    event = one.announced(recent())
    site.sandbox.close()
    one.put(report(event))
    got = wait_for_state(one, event, ReportState.WITHDRAWN)  # it never left
    assert "Connection refused" in got.why
    assert one.losses_of("report_not_answered") == [got.why]


# -- deaths ------------------------------------------------------------------------------------


def test_killed_before_it_was_sent_it_is_sent_once(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = site.service()
    event = one.announced(recent())
    with monkeypatch.context() as dying:
        dying.setattr(name_reports.Reporter, "attempt", lambda *_: time.sleep(0.01))
        one.put(report(event))
        memory = site.end(one)
    other = site.service(memory)
    wait_for_state(other, event, ReportState.NAMED)
    assert len(site.sandbox.reports) == 1
    assert site.sandbox.received[0].path == "get/search"  # it might have left


@pytest.mark.parametrize("processed", [True, False])
def test_killed_between_the_report_and_its_note_it_has_one_name(
    site: Site, processed: bool
) -> None:
    one = site.service()
    event = one.announced(recent())
    one.put(report(event))  # the loop does not come to note it
    wait_for(lambda: len(site.sandbox.reports) == 1, WAIT)
    memory = site.end(one)
    if processed:
        site.sandbox.process()
    other = site.service(memory)
    assert of(other, event).state is ReportState.WAITING
    wait_for_state(other, event, ReportState.NAMED)
    assert len(site.sandbox.names) == 1
    assert len(site.sandbox.reports) == (1 if processed else 2)


def test_killed_while_it_waits_for_the_answer_it_goes_on_asking(site: Site) -> None:
    one = site.service()
    event = one.announced(recent())
    site.sandbox.holds = True
    one.put(report(event))
    wait_for_state(one, event, ReportState.SUBMITTED)
    other = site.service(site.end(one))
    assert of(other, event).number == "1001"
    site.sandbox.holds = False
    wait_for_state(other, event, ReportState.NAMED)
    assert len(site.sandbox.reports) == 1
    assert not under_way(other)


def test_stopped_for_longer_than_an_answer_takes_it_is_asked_all_the_same(site: Site) -> None:
    """As over a weekend: the TNS has named it long ago."""
    one = site.service()
    event = one.announced(recent())
    site.sandbox.holds = True
    one.put(report(event))
    wait_for_state(one, event, ReportState.SUBMITTED)
    memory = site.end(one)
    (key,) = under_way(one)
    memory[key] = [*memory[key][:7], Since.now(3e5).to_plain(), *memory[key][8:]]
    site.sandbox.holds = False
    other = site.service(memory)
    wait_for_state(other, event, ReportState.NAMED)
    assert not other.said


AS_WRITTEN = ["x", "", True, "https://tns.example/api", "arts_x", b"{}", 1.0, [1.0, "b", 1.0], ""]


@pytest.mark.parametrize(
    "changes",
    [
        {5: 3},  # which would be three bytes
        {5: [1, 2]},
        {5: "{}"},
        {6: math.nan},
        {7: math.inf},
        {7: [-math.inf, "b", 0.0]},
        {8: None},
        {2: "yes"},
    ],
)
def test_what_cannot_be_read_stays_and_harms_nothing(site: Site, changes: dict[int, Any]) -> None:
    plain = [changes.get(index, value) for index, value in enumerate(AS_WRITTEN)]
    one = site.service({f"{REPORTING}live x": plain})
    assert one.reports_waiting == []
    event = one.announced(recent())
    one.put(report(event))
    wait_for_state(one, event, ReportState.NAMED)
    assert under_way(one) == [f"{REPORTING}live x"]


def test_a_report_that_cannot_be_read_is_not_under_way_for_ever(site: Site) -> None:
    one = site.service()
    event = one.announced(recent())
    site.sandbox.holds = True
    one.put(report(event))
    wait_for_state(one, event, ReportState.SUBMITTED)
    memory = site.end(one)
    (key,) = under_way(one)
    other = site.service({**memory, key: ["?"]})
    got = of(other, event)
    assert (got.state, got.number) == (ReportState.UNANSWERED, "1001")
    assert other.losses_of("report_not_answered") == [got.why]
    assert Event.from_plain(other.memory[f"announced {event.id}"]).reports == (got,)
    # It can be said again, and is asked for first.
    site.sandbox.holds = False
    site.sandbox.process()
    other.put(report(event))
    wait_for_state(other, event, ReportState.NAMED)
    assert len(site.sandbox.reports) == 1


def test_a_name_is_kept_with_an_event_that_knows_of_no_report(site: Site) -> None:
    """As a version before has written it."""
    one = site.service()
    event = one.announced(recent())
    site.live.holds = True
    one.put(report(event, live=True))
    wait_for_state(one, event, ReportState.SUBMITTED, live=True)
    memory = site.end(one)
    del memory[f"announced {event.id}"]["reports"]
    other = site.service(memory)
    assert other.not_reportable["live"][event.id].endswith("and that is under way")
    site.live.holds = False
    got = wait_for_state(other, event, ReportState.NAMED, live=True)
    assert got.number == "1001"
    assert other.event(event.id).name == got.name


def test_an_event_is_remembered_while_its_report_is_under_way(site: Site) -> None:
    one = site.service()
    event = one.announced(recent())
    wait_for(lambda: one.idle() or not one.event(event.id).is_waiting, WAIT)
    site.sandbox.holds = True
    one.put(report(event))
    assert one.book.expired(-1.0) == {}
    site.sandbox.holds = False
    wait_for_state(one, event, ReportState.NAMED)
    assert one.book.expired(-1.0) == {f"announced {event.id}": None}


# -- switches ----------------------------------------------------------------------------------


def gone(one: Kept, event: Event) -> None:
    """Report it where that cannot leave yet."""
    one.put(report(event))
    wait_for(lambda: "Connection refused" in str(one.reports_waiting), WAIT)


@pytest.mark.parametrize("tried", [False, True], ids=["at once", "after a try"])
@pytest.mark.parametrize("switch", ["send_tns", "send_events"])
def test_disabled_while_it_waits_it_never_leaves(site: Site, switch: str, tried: bool) -> None:
    """Nor is that a loss, if it is on again before anybody looks."""
    one = site.service(sandbox_url="http://127.0.0.1:9/api")
    event = one.announced(recent())
    gone(one, event)
    setattr(one, switch, False)
    if tried:
        wait_for(lambda: "under way" in str(one.reports_waiting), WAIT, "no more tries")
    setattr(one, switch, True)
    got = wait_for_state(one, event, ReportState.WITHDRAWN)
    assert "disabled" in got.why
    assert one.reports_waiting == []
    assert not under_way(one)
    assert not one.losses_of("report_not_answered")
    setattr(one, switch, False)
    if switch == "send_tns":
        assert "darc alerts enable tns" in refused(one, event)


def test_disabled_and_enabled_it_does_not_leave_before_it_is_withdrawn(site: Site) -> None:
    """The service may be at something else meanwhile."""
    one = site.service()
    event = one.announced(recent())
    site.sandbox.troubles = [throttles(1)]
    one.put(report(event))
    wait_for(lambda: "asked too often" in str(one.reports_waiting), WAIT)
    one.send_tns = False
    one.send_tns = True
    wait_for(lambda: "under way" in str(one.reports_waiting), WAIT, "no more tries")
    assert not site.sandbox.reports
    assert wait_for_state(one, event, ReportState.WITHDRAWN).why
    one.put(report(event))
    wait_for_state(one, event, ReportState.NAMED)


def test_retracted_while_it_waits_it_never_leaves(site: Site) -> None:
    one = site.service(sandbox_url="http://127.0.0.1:9/api")
    event = one.announced(recent())
    gone(one, event)
    one.put(AlertOrder("retract", event.id, "a satellite", "me@here", 1.0))
    assert wait_for_state(one, event, ReportState.WITHDRAWN).why == "the event was retracted"
    assert one.event(event.id).latest.kind is AlertType.RETRACTION


def test_a_server_that_is_not_named_any_more_gets_nothing(site: Site) -> None:
    one = site.service(live_url="http://127.0.0.1:9/api")
    event = one.announced(recent())
    one.put(report(event, live=True))
    wait_for(lambda: "Connection refused" in str(one.reports_waiting), WAIT)
    other = site.service(site.end(one), live_url=None)
    # It may have left in the earlier process.
    got = wait_for_state(other, event, ReportState.UNANSWERED, live=True)
    assert "names another server now" in got.why


def test_a_retraction_of_what_has_a_name_says_whom_to_write_to(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    one = site.service()
    event = one.announced(recent())
    one.put(report(event, live=True))
    wait_for_state(one, event, ReportState.NAMED, live=True)
    one.put(AlertOrder("retract", event.id, "a satellite", "me@here", 1.0))
    _show(one.events[0])
    assert "the TNS is not told of the retraction: write to it" in capsys.readouterr().out


def test_a_retraction_of_what_may_have_left_says_so_too(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    one = site.service(give_up_after=patience(0.5))
    event = one.announced(recent())
    site.live.troubles = [name_server.loses_answer, *[says(503)] * 100]
    one.put(report(event, live=True))
    wait_for(lambda: site.live.reports, WAIT)
    one.put(AlertOrder("retract", event.id, "a satellite", "me@here", 1.0))
    wait_for_state(one, event, ReportState.UNANSWERED, live=True)
    _show(one.events[0])
    assert "the TNS is not told of the retraction: write to it" in capsys.readouterr().out


def test_the_key_is_in_no_text(
    site: Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = site.service()
    event = one.announced(recent())
    echo = json.dumps({"id_code": 400, "id_message": f"not a key: {KEY}"}).encode()
    site.sandbox.troubles = [says(500, echo), says(400, echo), says(200, echo)]
    one.put(report(event))
    wait_for(lambda: one.idle() or not under_way(one), WAIT)

    def broken(self: TNSClient, name: str) -> str:
        raise KeyError("a defect")

    # A defect, with its traceback.
    monkeypatch.setattr(TNSClient, "submit", broken)
    other = one.announced(recent(window=8))
    one.put(report(other))
    wait_for(lambda: "KeyError" in str(one.reports_waiting), WAIT)
    texts = caplog.text, str(one.events), str(one.said), str(one.reports_waiting), str(one.memory)
    assert "Traceback" in caplog.text
    assert not [text for text in texts if KEY in text]


@pytest.mark.parametrize("id", ["20261122T193908-4f1a2b live", "", " ", "x\nlive"])
def test_only_the_option_means_the_live_server(id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quoted variable with more than an id in it must not."""

    def asked(*_: Any) -> None:
        raise AssertionError("it was sent")

    monkeypatch.setattr(alerts_word, "ask", asked)
    for words in (["report", id], ["retract", id, "--reason", "x"], ["confirm", id]):
        with pytest.raises(TerminalError, match="is no id of an event"):
            alerts_word.main(words)


def test_said_twice_at_once_it_is_one_report_and_no_loss(site: Site) -> None:
    """Both commands may have looked before the service has acted upon one."""
    one = site.service()
    event = one.announced(recent())
    site.sandbox.holds = True
    one.put(report(event), report(event))
    one.put(report(event))
    wait_for_state(one, event, ReportState.SUBMITTED)
    one.put(report(event))
    assert len(under_way(one)) == 1
    assert len(site.sandbox.reports) == 1
    assert of(one, event).number == "1001"
    assert not one.said


def test_several_reports_go_side_by_side(site: Site) -> None:
    one = site.service()
    events = [one.announced(recent(window=number)) for number in range(20, 24)]
    one.put(*(report(event) for event in events))
    names = {wait_for_state(one, event, ReportState.NAMED).name for event in events}
    assert len(names) == 4
