"""The service that announces bursts, without a node: its commits are kept here."""

from __future__ import annotations

import importlib
import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import shares
import yaml
from lxml import etree
from msgspec.structs import replace
from nodes import free_port, patience, wait_for
from triggers import made_trigger
from voevents import kept_copy, read_event

from darc.cli import alerts_word
from darc.cli.alerts_word import _show
from darc.cli.terminal_text import utc
from darc.config.config import Role
from darc.config.settings import AmberClusteringSettings
from darc.delivery.outbox import DeliveryError
from darc.master.alert_commands import AlertCommands
from darc.model import voevent_xml
from darc.model.arrival import utc_of
from darc.model.event import OWED, AlertType, Event, RoadName, RoadState, Tense, event_id
from darc.model.finding import AlertOrder, BurstFinding, about_event
from darc.model.message import Request
from darc.model.notice import arrival_at_top
from darc.model.trigger import Trigger
from darc.node.losses import LossKind
from darc.node.node_config import load_config
from darc.queues.messages import Commit, ContentKind, FullError, QueueEntry
from darc.queues.plain_connection import pack, unpack
from darc.runtime.clock import Since
from darc.services.base.alerts import ArrivedTrigger, ChosenTrigger
from darc.services.voevent_generator import (
    announcer,
    composer,
    event_life,
    followers,
    trials,
    voevent_copies,
)
from darc.services.voevent_generator.composer import Composer
from darc.services.voevent_generator.pending_event import PendingEvent
from darc.services.voevent_generator.road_senders import RoadSenders
from darc.services.voevent_generator.service import VOEventGenerator
from darc.services.voevent_generator.trial_trigger import trial_trigger


class Remembering(VOEventGenerator):
    """Its memory is kept here, as the journal would."""

    def prepare(self) -> None:
        super().prepare()
        self.memory: dict[str, Any] = {}
        self.completed: list[int] = []
        self.said: list[tuple[str, str, str]] = []
        self.number = 0
        self.largest = 0  # values of memory in a commit

    def commit(self, commit: Commit) -> None:
        commit = Commit.from_plain(commit.to_plain())
        values = [value for value in commit.memory.values() if value is not None]
        self.largest = max(self.largest, len(values))
        for key, value in commit.memory.items():
            if value is None:
                self.memory.pop(key, None)
            else:
                self.memory[key] = unpack(pack(value))
        self.completed += commit.completed

    def lost(self, kind: LossKind, what: str, why: str, number: int = 1) -> None:
        self.said.append((kind.id, what, why))

    def losses_of(self, kind: str) -> list[str]:
        return [why for name, _, why in self.said if name == kind]

    def put(self, *values: Any) -> None:
        """Take an entry, and act upon it."""
        self.number += 1
        plain = [one if isinstance(one, dict) else one.to_plain() for one in values]
        entry = QueueEntry(self.number, ContentKind.TRIGGERS, pack(plain), "", 0.0, 0.0)
        assert self._followers.take(entry)
        self.idle()

    def announced(self, trigger: Trigger, *, test: bool = False) -> Event:
        """Announce a trigger; return its event."""
        now = ArrivedTrigger(Since.now(), 0.0)
        one = ChosenTrigger(trigger, test, now, time.time())
        self.announce([one], lambda memory: self.commit(Commit(memory=memory)))
        found = self.book.find(event_id(trigger, Tense.TEST if test else Tense.CURRENT))
        assert found
        return found

    def event(self, id: str) -> Event:
        found = self.book.find(id)
        assert found
        return found

    def wait_for_state(self, id: str, number: int, state: RoadState, road: str = "file") -> None:
        def reached() -> bool:
            self.idle()
            notices = self.event(id).notices
            return len(notices) >= number and notices[number - 1].roads.get(RoadName(road)) is state

        wait_for(reached, 20.0)

    def finding(self, trigger: Trigger, **changes: Any) -> BurstFinding:
        """What a processor has measured of a trigger's burst."""
        setup = Composer(self.config, self.settings).setup(trigger)
        found = BurstFinding(
            observation="o 1",
            cb=trigger.cb,
            sb=trigger.sb,
            arrival=arrival_at_top(trigger, setup)[0],
            dm=trigger.dm_cluster,
            snr=trigger.snr,
            width=trigger.width,
            probability=0.9,
            host="arts001",
        )
        return replace(found, **changes)


class Kept(Remembering):
    """It loads libraries when it needs them."""

    def prepare(self) -> None:
        super().prepare()
        self._warm.set()
        self._warming = None

    @property
    def _is_ready(self) -> bool:
        return True


@pytest.fixture
def service(tmp_path: Path) -> Callable[..., Kept]:
    def make(memory: dict[str, Any] | None = None, **rules: Any) -> Kept:
        path = tmp_path / "config.yaml"
        usual = {
            "send_events": True,
            "server_port": free_port(),
            "test": False,
            "roads": ["file"],
            "send_updates": True,
            "retract_below": 0.1,
            "voevent_dir": str(tmp_path / "voevents"),
            "file": {"directory": str(tmp_path / "notices")},
        }
        path.write_text(yaml.safe_dump({"voevent_generator": usual | rules}))
        made = Kept(load_config(path))
        if memory is not None:
            made.memory = dict(memory)
            made.recover(memory)
        return made

    return make


def recent(**changes: Any) -> Trigger:
    return made_trigger(**{"utc": utc_of(time.time() - 5), **changes})


def retract(event: Event | str, reason: str = "a satellite") -> AlertOrder:
    name = event if isinstance(event, str) else event.id
    return AlertOrder("retract", name, reason, "me@here", time.time())


def notices(tmp_path: Path, event: Event) -> list[dict[str, Any]]:
    paths = sorted((tmp_path / "notices").glob(f"{event.id}.*.json"))
    return [json.loads(path.read_bytes()) for path in paths]


# -- nothing ends it -----------------------------------------------------------------------------


def nested(depth: int) -> Any:
    value: Any = 1.0
    for _ in range(depth):
        value = [value]
    return value


def test_what_cannot_be_read_is_a_loss_and_the_entry_is_done(service: Callable[..., Kept]) -> None:
    one = service()
    deep = {"finding": {**one.finding(recent()).to_plain()["finding"], "dm": nested(900)}}
    one.put(deep)
    assert one.completed == [1]
    assert one.losses_of("triggers_unusable") == ["finding: nested too deeply"]


def test_an_event_that_cannot_be_keeps_findings_from_no_other(service: Callable[..., Kept]) -> None:
    one = service()
    good = recent()
    event = one.announced(good)
    # A version before has let these in.
    wrong = recent(nu_GHz=0.0, window=3)
    known = Event("wrong", wrong, Tense.CURRENT, time.time())
    known = known.with_notice(known.next_notice(AlertType.INITIAL, time.time(), "the search"))
    one.book.put(known)
    one.put(one.finding(good, snr=60.0))
    assert one.completed == [1]
    assert one.event(event.id).latest.kind is AlertType.UPDATE
    one.put(retract("wrong"))
    assert one.completed == [1, 2]


@pytest.mark.parametrize(
    "changes",
    [
        {"nu_GHz": 0.0},
        {"nu_GHz": 1e-300},
        {"dm_err": 0.0, "nchan": 1, "nu_GHz": 1e-163, "delta_nu_MHz": 1e-165},
    ],
)
def test_a_trigger_that_cannot_be_told_is_a_loss(
    service: Callable[..., Kept], changes: dict[str, Any]
) -> None:
    one = service()
    wrong = recent(**changes)
    now = ArrivedTrigger(Since.now(), 0.0)
    chosen = [ChosenTrigger(each, False, now, time.time()) for each in (wrong, recent(window=77))]
    done: list[dict[str, Any]] = []
    one.announce(chosen, done.append)
    assert len(done) == 1
    assert {what for _, what, _ in one.said} == {wrong.identity}
    assert [event.trigger for event in one.book if event.is_waiting] == [chosen[1].trigger]


def test_a_defect_is_a_loss_of_its_item(
    service: Callable[..., Kept], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = service()
    trigger = recent()
    one.announced(trigger)

    def broken(*_: Any, **__: Any) -> Any:
        raise KeyError("a defect")

    monkeypatch.setattr(followers, "event_of", broken)
    one.put(one.finding(trigger))
    assert one.completed == [1]
    assert one.losses_of("triggers_unusable") == ["KeyError: 'a defect'"]


def test_a_defect_in_what_is_decided_later_ends_nothing(
    service: Callable[..., Kept], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = service()
    trigger = recent()
    event = one.announced(trigger)
    monkeypatch.setattr(followers, "HOLD", 0.0)

    def broken(*_: Any, **__: Any) -> Any:
        raise KeyError("a defect")

    monkeypatch.setattr(one.announcer, "follow", broken)
    one.put(one.finding(trigger, probability=0.02))
    assert one.completed == [1]
    assert one.event(event.id).doubt is None  # it is not tried again


def test_the_list_fits_a_terminal_of_80_columns(
    service: Callable[..., Kept],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    one = service()
    event = one.announced(recent(), test=True)
    one.wait_for_state(event.id, 1, RoadState.ACKNOWLEDGED)

    def ask_attribute(timeout: float, service: str, attribute: str, *_: Any) -> tuple[Any, str]:
        return getattr(one, attribute), ""

    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(alerts_word, "ask_attribute", ask_attribute)
    assert alerts_word.main([]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    words = shown.split()
    (told,) = one.events
    assert {event.id, "initial", "(test)", "file:", "acknowledged"} < set(words), shown
    assert utc(told["arrival"]).split()[0] in words, shown


# -- retractions ---------------------------------------------------------------------------------


def test_a_retraction_leaves_by_a_road_that_comes_back(
    service: Callable[..., Kept], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = service()
    event = one.announced(recent())
    one.wait_for_state(event.id, 1, RoadState.ACKNOWLEDGED)
    one.send_file = False
    one.put(retract(event))
    assert one.event(event.id).state == OWED
    assert len(notices(tmp_path, event)) == 1
    (told,) = one.events
    assert told["owed"] == ["file"]
    _show(told)
    assert "the retraction, by file" in capsys.readouterr().out
    # The burst is believed there: a problem, once.
    one.put(retract(event, "once more"))  # not yet
    assert one.losses_of("retraction_owed") == ["not by file"]
    one.send_file = True
    one.wait_for_state(event.id, 2, RoadState.ACKNOWLEDGED)
    (_, sent) = notices(tmp_path, event)
    assert (sent["alert_type"], sent["record_number"]) == ("retraction", 2)
    assert sent["update_message"] == "a satellite"
    assert one.event(event.id).state == "retraction"
    one.put(retract(event, "once more"))
    assert one.losses_of("order_not_sent") == []  # what was wanted is done
    assert len(one.event(event.id).notices) == 2


def test_a_retraction_that_was_withdrawn_leaves_with_the_same_bytes(
    service: Callable[..., Kept], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = service()
    event = one.announced(recent())
    one.wait_for_state(event.id, 1, RoadState.ACKNOWLEDGED)
    tried: list[bytes] = []

    def refuse(item: PendingEvent, may_leave: Any) -> None:
        tried.append(item.content)
        raise DeliveryError("away")

    with monkeypatch.context() as patch:
        patch.setattr(one.departures.senders, "send", refuse)
        one.put(retract(event))
        wait_for(lambda: tried, 20.0)
        one.send_events = False
        one.idle()
    one.wait_for_state(event.id, 2, RoadState.GIVEN_UP)
    # Likewise in the next process, which a retraction of a person reaches from the journal.
    other = service(one.memory, send_events=False)
    other.idle()
    assert other.event(event.id).state == OWED
    other.send_events = True
    other.wait_for_state(event.id, 2, RoadState.ACKNOWLEDGED)
    assert (tmp_path / "notices" / f"{event.id}.2.json").read_bytes() == tried[0]


def test_a_person_can_ask_again_for_one_that_was_given_up(service: Callable[..., Kept]) -> None:
    one = service()
    event = one.announced(recent())
    one.wait_for_state(event.id, 1, RoadState.ACKNOWLEDGED)
    one.put(retract(event))
    one.wait_for_state(event.id, 2, RoadState.ACKNOWLEDGED)
    one.book.put(one.event(event.id).with_state(2, RoadName.FILE, RoadState.GIVEN_UP))
    one.idle()
    assert one.event(event.id).state == OWED  # not by itself: the road was in use all the time
    one.put(retract(event))
    one.wait_for_state(event.id, 2, RoadState.ACKNOWLEDGED)
    assert len(one.event(event.id).notices) == 2


def test_the_classifier_retracts_after_a_while_unless_a_beam_says_otherwise(
    service: Callable[..., Kept], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = service()
    bad, good = recent(dm=300.0, dm_cluster=300.0), recent(window=5)
    events = one.announced(bad), one.announced(good)
    monkeypatch.setattr(followers, "HOLD", 1e6)
    one.put(one.finding(bad, probability=0.02))
    one.put(one.finding(good, probability=0.02), one.finding(good, cb=9, probability=0.7))
    assert [one.event(event.id).latest.number for event in events] == [1, 1]
    # It is held over a death.
    other = service(one.memory)
    monkeypatch.setattr(followers, "HOLD", 0.0)
    other.idle()
    assert [other.event(event.id).latest.number for event in events] == [2, 1]
    latest = other.event(events[0].id).latest
    assert (latest.kind, latest.by) == (AlertType.RETRACTION, "processor of arts001")


def test_a_clock_that_is_set_cuts_no_time_short_in_which_another_beam_may_speak(
    service: Callable[..., Kept], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = service()
    trigger = recent()
    event = one.announced(trigger)
    one.put(one.finding(trigger, probability=0.02))
    # It is an hour later at once.
    doubted = one.event(event.id)
    assert doubted.doubt
    doubt = replace(doubted.doubt, since=doubted.doubt.since - 3600.0)
    one.book.put(replace(doubted, doubt=doubt))
    one.idle()
    assert one.event(event.id).doubt == doubt
    one.put(one.finding(trigger, cb=9, snr=60.0, probability=0.7))
    monkeypatch.setattr(followers, "HOLD", 0.0)
    one.idle()
    assert (one.event(event.id).doubt, one.event(event.id).is_retracted) == (None, False)


class FakeServices:
    """Services of a node as commands see them."""

    names = ("voevent_generator",)

    def __init__(self, states: dict[str, str]) -> None:
        self._told = {"send_events": True, "event_states": states, "test_roads": ["file"]}
        self.orders: list[dict[str, Any]] = []
        self.running = True
        self.full = False
        self.switched: list[tuple[str, bool]] = []

    def runs(self, name: str) -> bool:
        return self.running

    def is_starting(self, name: str) -> bool:
        return False

    def attribute(self, name: str, attribute: str) -> Any:
        return SimpleNamespace(error=None, value=self._told[attribute])

    def put(self, service: str, values: list[dict[str, Any]]) -> None:
        if self.full:
            raise FullError("the journal is full")
        self.orders += values

    def tell(self, attribute: str, value: Any) -> None:
        self._told[attribute] = value

    def remember_switch(self, name: str, switch: str, value: bool, origin: str) -> bool:
        self.switched.append((switch, value))
        return True

    def switch(self, name: str, switch: str, value: bool, origin: str) -> bool:
        assert self.running
        return self.remember_switch(name, switch, value, origin)


class Commands:
    """Commands about events, and what they answer."""

    def __init__(self, states: dict[str, str]) -> None:
        self.services = FakeServices(states)
        roads = SimpleNamespace(road_names=(RoadName.FILE,))
        config = SimpleNamespace(role=Role.MASTER, section=lambda name: roads)
        master: Any = SimpleNamespace(config=config, services=self.services)
        self._commands = AlertCommands(master).commands

    def say(self, command: str, words: str = "") -> tuple[str, str]:
        request = Request(f"alerts_{command}", attribute=words, origin="me")
        reply = self._commands[request.command](request)
        return str(reply.status), str(reply.message)

    @property
    def orders(self) -> list[AlertOrder]:
        found = [about_event(order) for order in self.services.orders]
        return [order for order in found if isinstance(order, AlertOrder)]


@pytest.mark.parametrize("reason", ["a\x00b", "\x1b[31mred", "\udc80", "\ufffe", "x" * 2001])
def test_a_reason_that_cannot_be_published_is_refused(reason: str) -> None:
    one = Commands({"a": "initial"})
    status, text = one.say("retract", f"a {reason}")
    assert "a reason has" in text
    assert (status, one.orders) == ("Error", [])


def test_a_reason_is_one_line() -> None:
    one = Commands({"a": "initial"})
    one.say("retract", "a  two\nlines\u00a0\t of it ")
    assert one.orders[0].reason == "two lines of it"


@pytest.mark.parametrize("action", ["retract", "confirm"])
def test_what_a_person_says_while_the_service_is_away_is_kept(action: str) -> None:
    one = Commands({})
    one.services.running = False
    status, text = one.say(action, "a why")
    assert "is kept for its start" in text
    assert (status, one.orders[0].event_id) == ("Success", "a")


def test_a_road_is_disabled_while_the_service_is_away_and_not_enabled() -> None:
    one = Commands({})
    one.services.running = False
    assert "from the next start of voevent_generator on" in one.say("disable", "kafka")[1]
    assert one.services.switched == [("send_kafka", False)]
    assert "is not running" in one.say("enable", "kafka")[1]
    assert len(one.services.switched) == 1


def test_a_road_that_is_not_configured_is_named_when_it_is_enabled() -> None:
    one = Commands({})
    assert "not one of voevent_generator.roads" in one.say("enable", "kafka")[1]
    assert one.say("enable", "file")[1] == one.say("enable", "tns")[1].replace("tns", "file")


def test_a_retraction_is_noted_while_sending_is_disabled_and_a_confirmation_is_not() -> None:
    one = Commands({"a": "initial"})
    one.services.tell("send_events", False)
    assert "is noted, and waits: sending is disabled" in one.say("retract", "a why")[1]
    assert one.say("confirm", "a why")[0] != "Success"
    assert one.say("test")[0] != "Success"
    assert [order.action for order in one.orders] == ["retract"]


def test_without_a_road_for_tests_none_is_on_its_way() -> None:
    one = Commands({})
    one.services.tell("test_roads", [])
    status, text = one.say("test")
    assert "no road that is enabled has an address for tests" in text
    assert status != "Success"
    assert one.orders == []


def test_where_the_disk_is_full_nothing_is_said_to_be_on_its_way() -> None:
    one = Commands({"a": "initial"})
    one.services.full = True
    for command, words in (("retract", "a why"), ("confirm", "a"), ("test", "")):
        status, text = one.say(command, words)
        assert "not done, give the command again when this is mended: the journal is full" in text
        assert status != "Success"


def test_the_command_takes_a_retraction_again_where_it_is_owed() -> None:
    services = FakeServices({"a": OWED, "b": "retraction", "c": "initial"})
    master: Any = SimpleNamespace(config=SimpleNamespace(role=Role.MASTER), services=services)
    commands = AlertCommands(master).commands

    def say(command: str, words: str) -> str:
        return str(commands[command](Request(command, attribute=words, origin="x" * 500)).message)

    assert "on its way" in say("alerts_retract", "a why")
    assert "has been retracted" in say("alerts_retract", "b why")
    assert "has been retracted" in say("alerts_confirm", "a why")
    assert "on its way" in say("alerts_retract", "c why")
    orders = [about_event(order) for order in services.orders]  # a long origin is cut
    assert [order.event_id for order in orders if isinstance(order, AlertOrder)] == ["a", "c"]


def test_what_follows_goes_to_the_topic_by_which_the_first_has_left(
    service: Callable[..., Kept], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when another is configured, and in another process."""
    sent: list[tuple[str, int]] = []
    broken = {"typo"}

    class Sender:
        def send(self, topic: str, key: str, content: bytes, may_leave: Any) -> None:
            if topic in broken:
                raise DeliveryError("no such topic")
            sent.append((topic, json.loads(content)["record_number"]))

    monkeypatch.setattr(RoadSenders, "_kafka_sender", lambda _, is_burst: Sender())
    rules: dict[str, Any] = {"roads": ["kafka"], "kafka": {"topic": "typo"}}
    one = service(**rules)
    event = one.announced(recent())
    wait_for(lambda: "no such topic" in str(one.events_waiting))
    # What has not left yet leaves by the one that is configured.
    right = replace(one.settings, kafka=replace(one.settings.kafka, topic="bursts"))
    one.settings = right
    one.wait_for_state(event.id, 1, RoadState.ACKNOWLEDGED, "kafka")
    other = service(one.memory, roads=["kafka"], kafka={"topic": "others"})
    other.put(retract(event))
    other.wait_for_state(event.id, 2, RoadState.ACKNOWLEDGED, "kafka")
    another = other.announced(recent(window=77))
    other.wait_for_state(another.id, 1, RoadState.ACKNOWLEDGED, "kafka")
    assert sent == [("bursts", 1), ("bursts", 2), ("others", 1)]


def test_said_twice_at_once_it_is_one_retraction_and_no_loss(service: Callable[..., Kept]) -> None:
    one = service()
    event = one.announced(recent())
    one.wait_for_state(event.id, 1, RoadState.ACKNOWLEDGED)
    one.put(retract(event), retract(event, "a bird"))
    one.put(retract(event, "a plane"))
    kinds = [notice.kind for notice in one.event(event.id).notices]
    assert kinds == [AlertType.INITIAL, AlertType.RETRACTION]
    assert one.said == []


def test_a_reason_of_a_version_before_leaves_by_every_road(service: Callable[..., Kept]) -> None:
    one = service(roads=["file", "vtp"], broker_port=1)
    event = one.announced(recent())
    one.wait_for_state(event.id, 1, RoadState.ACKNOWLEDGED)
    one.put(retract(event, "a\x00satellite"))
    latest = one.event(event.id).latest
    assert set(latest.roads) == {RoadName.FILE, RoadName.VTP}
    assert latest.reason == "a?satellite"
    assert one.losses_of("voevent_invalid") == []


def test_a_test_that_leaves_by_no_road_is_a_loss(service: Callable[..., Kept]) -> None:
    one = service(roads=["kafka"], kafka={"topic": "bursts"}, test_at=f"{datetime.now(UTC):%H:%M}")
    for _ in range(3):
        one.idle()
    (why,) = one.losses_of("test_not_acknowledged")
    assert "by no road" in why
    assert one.test_roads == []


# -- what comes before its event ------------------------------------------------------------------


def test_what_was_measured_before_its_trigger_came_updates_its_event(
    service: Callable[..., Kept],
) -> None:
    one = service()
    trigger, other = recent(), recent(window=5, dm=300.0, dm_cluster=300.0)
    one.put(one.finding(trigger, snr=60.0), one.finding(other, snr=70.0))
    assert one.completed == [1]
    first = one.announced(recent(window=9, dm=2000.0, dm_cluster=2000.0))
    one.idle()
    assert one.event(first.id).measured is None
    # Over a death, too.
    again = service(one.memory)
    event = again.announced(trigger)
    again.wait_for_state(event.id, 2, RoadState.ACKNOWLEDGED)
    measured = again.event(event.id).measured
    assert measured is not None
    assert measured.snr == 60.0
    assert sum(key.startswith(followers.LATE) for key in again.memory) == 1  # the other's


def test_what_is_of_no_event_goes_after_a_while_and_beyond_a_number(
    service: Callable[..., Kept], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followers, "MOST_LATE", 3)
    one = service()
    trigger = recent()
    findings = [one.finding(trigger, dm=float(dm)) for dm in range(5)]
    one.put(*findings)
    assert sum(key.startswith(followers.LATE) for key in one.memory) == 3
    monkeypatch.setattr(followers, "LATE_SECONDS", 0.0)
    one.idle()
    assert not any(key.startswith(followers.LATE) for key in one.memory)


def test_a_clock_that_jumps_ahead_forgets_no_event(
    service: Callable[..., Kept], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = service(remember_for=3600.0)
    event = one.announced(recent())
    one.wait_for_state(event.id, 1, RoadState.ACKNOWLEDGED)
    unix = time.time
    monkeypatch.setattr(time, "time", lambda: unix() + 86400.0)
    one.idle()
    one.put(retract(event))
    one.wait_for_state(event.id, 2, RoadState.ACKNOWLEDGED)


# -- what is known stays -------------------------------------------------------------------------


def test_what_was_said_while_nothing_could_leave_is_kept(
    service: Callable[..., Kept], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followers, "HOLD", 0.0)
    one = service()
    seen, confirmed = recent(dm=300.0, dm_cluster=300.0), recent(window=5)
    first, second = one.announced(seen), one.announced(confirmed)
    for event in (first, second):
        one.wait_for_state(event.id, 1, RoadState.ACKNOWLEDGED)
    one.send_file = False
    one.put(one.finding(seen, probability=0.9))
    one.put(AlertOrder("confirm", second.id, "a real one", "me@here", 1.0))
    assert len(one.losses_of("order_not_sent")) == 1
    assert one.event(first.id).best_probability == 0.9
    assert one.event(second.id).verdict == "a real one"
    one.send_file = True
    one.put(one.finding(seen, probability=0.02), one.finding(confirmed, probability=0.02))
    one.idle()
    assert not any(one.event(event.id).is_retracted for event in (first, second))


def test_a_test_order_among_others_drops_none(service: Callable[..., Kept]) -> None:
    one = service()
    event = one.announced(recent())
    one.put(retract(event), AlertOrder("test", "", "", "me@here", 1.0))
    assert one.event(event.id).is_retracted
    assert len(one.book) == 2
    assert one.completed == [1]


# -- roads and tests -----------------------------------------------------------------------------


def test_what_waits_on_a_road_that_is_gone_is_not_sent_at_a_start(
    service: Callable[..., Kept], tmp_path: Path
) -> None:
    one = service(send_events=True)
    event = one.announced(recent())
    memory = dict(one.memory)
    one.wait_for_state(event.id, 1, RoadState.ACKNOWLEDGED)
    (tmp_path / "notices" / f"{event.id}.1.json").unlink()
    other = service({**memory, "leaving other": ["?"]}, roads=["vtp"])
    other.idle()
    assert other.departures.described() == []
    assert other.event(event.id).first.roads == {RoadName.FILE: RoadState.GIVEN_UP}
    assert [key for key in other.memory if key.startswith("leaving")] == ["leaving other"]
    assert notices(tmp_path, event) == []


def test_a_road_that_is_not_configured_sends_nothing_though_it_waits(
    service: Callable[..., Kept], tmp_path: Path
) -> None:
    one = service()
    directory = tmp_path / "notices"
    directory.touch()  # in its way
    event = one.announced(recent())
    wait_for(lambda: "notices" in str(one.events_waiting))
    one.settings = replace(one.settings, roads=("vtp",))
    directory.unlink()
    one.wait_for_state(event.id, 1, RoadState.GIVEN_UP)
    assert notices(tmp_path, event) == []


def test_a_road_is_off_until_what_waits_there_is_withdrawn(
    service: Callable[..., Kept], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = service()
    one.send_file = False
    one.send_file = True
    seen: list[bool] = []

    def withdraw(roads: Any = None) -> None:
        seen.append(one.ways.may_leave_by(RoadName.FILE))
        one.send_kafka = False  # by the listener's thread, meanwhile

    monkeypatch.setattr(one.departures, "withdraw", withdraw)
    one.idle()
    assert seen == [False]
    assert one.ways.to_withdraw() == {RoadName.KAFKA}


def test_a_test_that_cannot_be_composed_is_tried_once_a_day(
    service: Callable[..., Kept], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = service(test_at=f"{datetime.now(UTC):%H:%M}")

    def broken(*_: Any, **__: Any) -> Any:
        raise ValueError("not to be composed")

    monkeypatch.setattr(Composer, "compose", broken)
    for _ in range(3):
        one.idle()
    assert one.losses_of("cannot_be_told") == ["not to be composed"]


def test_a_clock_that_is_set_makes_no_test_overdue(
    service: Callable[..., Kept], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notices").write_text("")  # no directory: it waits
    one = service()
    one.put(AlertOrder("test", "", "", "me@here", time.time()))
    assert len(one.events_waiting) == 1
    later = time.time() + 3600.0
    monkeypatch.setattr(trials, "time", SimpleNamespace(time=lambda: later))
    one.idle()
    assert not one.losses_of("test_not_acknowledged")


def test_a_clock_that_was_ahead_keeps_no_test_from_leaving(service: Callable[..., Kept]) -> None:
    one = service(test_at=f"{datetime.now(UTC):%H:%M}")
    trigger = trial_trigger(one.config.instrument)
    one.book.put(Event("ahead", trigger, Tense.TEST, time.time() + 1e6))
    for _ in range(3):
        one.idle()
    assert len({event.id for event in one.book} - {"ahead"}) == 1


def test_a_clock_that_is_set_back_a_little_sends_no_test_twice(
    service: Callable[..., Kept], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = service(test_at="06:30")
    due = 1_795_824_000.0 + 6.5 * 3600.0
    for now in (due + 1.0, due - 1.0, due + 0.5, due + 1.5):
        monkeypatch.setattr(trials, "time", SimpleNamespace(time=lambda now=now: now))
        one.idle()
    assert len(list(one.book)) == 1


# -- numbers -------------------------------------------------------------------------------------


def test_an_update_by_another_beam_keeps_the_numbers_of_the_position(
    service: Callable[..., Kept], tmp_path: Path
) -> None:
    one = service()
    trigger = recent(cb=5)
    event = one.announced(trigger)
    one.put(one.finding(trigger, cb=17, snr=90.0, dm=1057.0, width=2.0))
    one.wait_for_state(event.id, 2, RoadState.ACKNOWLEDGED)
    sent = notices(tmp_path, event)[1]
    assert (sent["dm"], sent["event_duration"], sent["beam"]) == (1057.0, 2.0, 5)
    assert sent["snr"] == round(trigger.snr, 3)
    assert "peak_flux_density" not in sent
    assert "compound beam 17" in sent["update_message"]
    assert "S/N 90.0" in sent["update_message"]
    (told,) = one.events
    assert (told["beam"], told["snr"]) == (5, trigger.snr)


def test_an_update_by_its_own_beam_scales_the_flux(
    service: Callable[..., Kept], tmp_path: Path
) -> None:
    one = service()
    trigger = recent(snr=30.0, flux=1.5, width=1.0)
    event = one.announced(trigger)
    one.put(one.finding(trigger, snr=120.0, width=4.0))
    one.wait_for_state(event.id, 2, RoadState.ACKNOWLEDGED)
    sent = notices(tmp_path, event)[1]
    assert (sent["snr"], sent["peak_flux_density"]) == (120.0, 3.0)  # 4 / sqrt(4) times as much


def test_a_voevent_has_the_time_of_a_measurement_by_its_own_dm(
    service: Callable[..., Kept], tmp_path: Path
) -> None:
    one = service()
    trigger = recent(name="frb", src_name="R1", dm=1050.0)
    event = one.announced(trigger)
    found = one.finding(trigger, snr=60.0, dm=1058.0)
    one.put(found)
    xml = read_event(kept_copy(tmp_path / "voevents", f"{trigger.utc}.2.xml"))
    stated = str(
        xml.WhereWhen.ObsDataLocation.ObservationLocation.AstroCoords.Time.TimeInstant.ISOTime
    )
    centre = trigger.nu_GHz * 1e3
    top = centre + one.config.instrument.bandwidth / 2 * (1 - 1 / one.config.instrument.nchan)
    expected = found.arrival + 4148.808 * 1058.0 * (centre**-2 - top**-2)
    assert datetime.fromisoformat(stated).replace(tzinfo=UTC).timestamp() == pytest.approx(
        expected, abs=2e-6
    )
    assert event.trigger == trigger


def test_a_schema_that_is_broken_is_made_again(
    service: Callable[..., Kept], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As libxml2 had it once: it then had an error of its own with each event."""

    class Broken:
        def validate(self, event: Any) -> bool:
            raise etree.XMLSchemaValidateError("Internal error in XML Schema validation.")

    good = etree.XMLSchema
    made: list[Any] = []

    def schema(tree: Any) -> Any:
        made.append(good(tree) if made else Broken())
        return made[-1]

    importlib.reload(voevent_xml)  # as in a new process, which has made none
    monkeypatch.setattr(voevent_xml.etree, "XMLSchema", schema)
    one = service()
    event = one.announced(recent())
    one.wait_for_state(event.id, 1, RoadState.ACKNOWLEDGED)
    assert one.said == []
    assert len(notices(tmp_path, event)) == 1
    assert len(made) == 2


def test_while_libraries_are_loaded_by_another_thread_nothing_is_composed(
    service: Callable[..., Kept],
) -> None:
    one = service()
    composed = threading.Event()

    def compose() -> None:
        one.announced(recent())
        composed.set()

    with composer.LIBRARIES:
        thread = threading.Thread(target=compose)
        thread.start()
        assert not composed.wait(0.3)
    assert composed.wait(30.0)
    thread.join()


def test_without_a_voevent_the_notice_leaves_all_the_same(
    service: Callable[..., Kept], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = service(roads=["file", "vtp"])

    def broken(event: Any) -> None:
        raise KeyError("a defect")

    with monkeypatch.context() as patch:
        patch.setattr(voevent_xml, "check", broken)
        event = one.announced(recent())
    one.wait_for_state(event.id, 1, RoadState.ACKNOWLEDGED)
    assert list(event.first.roads) == [RoadName.FILE]
    assert one.losses_of("voevent_invalid") == ["KeyError: 'a defect'"]
    assert not list((tmp_path / "voevents").glob("*"))
    # What follows takes the road that the first took, and has nothing to cite.
    one.put(retract(event))
    one.wait_for_state(event.id, 2, RoadState.ACKNOWLEDGED)
    assert [notice["alert_type"] for notice in notices(tmp_path, event)][1:] == ["retraction"]
    kept = kept_copy(tmp_path / "voevents", f"{event.trigger.utc}.2.xml")
    assert len([*(tmp_path / "voevents").iterdir()]) == 1
    assert read_event(kept).find("Citations/EventIVORN") is None


# -- known sources -------------------------------------------------------------------------------


def test_a_broken_list_of_sources_leaves_the_others_and_is_a_loss(
    service: Callable[..., Kept], tmp_path: Path
) -> None:
    config = service().config
    listed, gone = tmp_path / "ours.yaml", tmp_path / "gone.yaml"
    trigger = recent()
    listed.write_text(
        f"frbs: {{R9: {trigger.dm_cluster}}}\npositions: {{R9: [{trigger.ra}, {trigger.dec}]}}\n"
    )
    lists = replace(config.of(AmberClusteringSettings), match_files=(str(gone), str(listed)))
    of_services = {**config.of_services, "amber_clustering": lists}
    one = Remembering(replace(config, of_services=of_services))
    wait_for(lambda: one.idle() or one.losses_of("sources_unknown"), 20.0)
    (why,) = one.losses_of("sources_unknown")
    assert str(gone) in why
    association = one.announced(trigger).association
    assert association is not None
    assert association.source == "R9"


# -- many at once, and a directory that hangs ----------------------------------------------------


def test_events_of_a_moment_have_identifiers_of_their_own(
    service: Callable[..., Kept], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = service(roads=["vtp"])
    now = time.time()
    # A machine that is fast enough to compose all of them within a tick of the identifiers.
    monkeypatch.setattr(announcer, "time", SimpleNamespace(time=lambda: now))
    chosen = [
        ChosenTrigger(
            made_trigger(window=number, dm=300.0 + 20 * number, utc=utc_of(now)),
            False,
            ArrivedTrigger(Since.now(), 0.0),
            now,
        )
        for number in range(100)
    ]
    one.announce(chosen, lambda memory: one.commit(Commit(memory=memory)))
    made = [event.first for event in one.book]
    assert len(made) == len({notice.ivorn for notice in made}) == 100
    assert all(now <= notice.at < now + 0.2 for notice in made)
    # Set back, it is what the clock says.
    monkeypatch.setattr(announcer, "time", SimpleNamespace(time=lambda: now - 3600.0))
    later = one.announced(made_trigger(window=200, dm=5000.0, dm_cluster=5000.0, utc=utc_of(now)))
    assert later.first.at == now - 3600.0
    one.departures.withdraw()


@pytest.mark.skipif(bool(shares.missing()), reason=shares.missing())
def test_a_directory_of_copies_that_hangs_keeps_no_burst_from_leaving(
    service: Callable[..., Kept], tmp_path: Path
) -> None:
    made = shares.Share(tmp_path / "served", tmp_path / "there")
    try:
        one = service(voevent_dir=str(tmp_path / "there"))
        first = one.announced(recent())
        copy = kept_copy(tmp_path / "there", f"{first.trigger.utc}.xml")
        made.hang()
        # So that a failure is one, and no test that never ends.
        ends = threading.Timer(patience(10.0), made.answer)
        ends.start()
        began = time.monotonic()
        second = one.announced(recent(dm=900.0, dm_cluster=900.0, window=3))
        one.wait_for_state(second.id, 1, RoadState.ACKNOWLEDGED)
        assert time.monotonic() - began < patience(5.0)
        ends.cancel()
        made.answer()
        assert kept_copy(tmp_path / "there", f"{second.trigger.utc}.xml") != copy
        assert not one.losses_of("voevent_not_kept")
    finally:
        made.answer()
        made.stop()


def copies(memory: dict[str, Any]) -> list[str]:
    return [key for key in memory if key.startswith("copy ")]


def test_copies_that_wait_for_their_directory_are_written_by_the_next_process(
    service: Callable[..., Kept], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = threading.Event()

    def hang(*words: Any, **named: Any) -> None:
        assert hangs.wait(patience(60.0))
        raise OSError("it is dead")

    with monkeypatch.context() as patch:
        patch.setattr(voevent_copies, "write_whole", hang)
        first = service()
        events = [
            first.announced(recent(window=number, dm=300.0 + 90 * number, dm_cluster=300.0))
            for number in range(3)
        ]
        first.put(retract(events[0]))
        wait_for(lambda: first.idle() or len(copies(first.memory)) == 4, 20.0)
        memory = dict(first.memory)
        names = {f"{event.trigger.utc}.xml" for event in events}
        names.add(f"{events[0].trigger.utc}.2.xml")
        assert not list((tmp_path / "voevents").glob("*.xml"))
        second = service(memory)  # the first one is killed now
        assert len(copies(second.memory)) == 4
        hangs.set()
    third = service(memory | {"copy of a later version": [7]})
    for name in names:
        etree.fromstring(kept_copy(tmp_path / "voevents", name))
    wait_for(lambda: third.idle() or copies(third.memory) == ["copy of a later version"], 20.0)
    assert not third.losses_of("voevent_not_kept")


def test_copies_that_are_written_are_remembered_no_more(
    service: Callable[..., Kept], tmp_path: Path
) -> None:
    one = service()
    event = one.announced(recent())
    kept_copy(tmp_path / "voevents", f"{event.trigger.utc}.xml")
    wait_for(lambda: one.idle() or not copies(one.memory), 20.0)


def test_a_copy_that_cannot_be_written_is_a_loss(
    service: Callable[..., Kept], tmp_path: Path
) -> None:
    (tmp_path / "a_file").write_text("")
    one = service(voevent_dir=str(tmp_path / "a_file" / "voevents"))
    event = one.announced(recent())
    one.wait_for_state(event.id, 1, RoadState.ACKNOWLEDGED)

    def said() -> list[str]:
        one.idle()
        return one.losses_of("voevent_not_kept")

    (why,) = wait_for(said, 20.0)
    assert "Not a directory" in why
    wait_for(lambda: one.idle() or not copies(one.memory), 20.0)


def test_a_burst_that_a_road_does_not_acknowledge_is_a_problem_while_it_is_tried(
    service: Callable[..., Kept], tmp_path: Path
) -> None:
    (tmp_path / "a_file").write_text("")
    directory = {"directory": str(tmp_path / "a_file" / "notices")}
    one = service(file=directory, test_limit=1.0)
    test = one.announced(recent(window=7), test=True)  # looked after by itself: see trials
    wait_for(lambda: all(item.made.age() > 1.2 for item, _ in one.departures.waiting()))

    def said() -> list[str]:
        one.idle()
        return one.losses_of("notice_late")

    assert not said()
    event = one.announced(recent())
    assert not said()
    (why,) = wait_for(said, 20.0)
    assert why.startswith("not acknowledged within 1 s by file: ")
    assert "Not a directory" in why
    # It is tried on, and it is said once; what is late after that is said, too.
    assert one.event(event.id).first.roads == {RoadName.FILE: RoadState.WAITING}
    assert one.event(test.id).first.roads == {RoadName.FILE: RoadState.WAITING}
    other = one.announced(recent(window=11, dm=900.0, dm_cluster=900.0))
    wait_for(lambda: len(said()) == 2, 20.0)
    # Nor is it said again by its successor, which says what is late since then.
    one = service(one.memory, file=directory, test_limit=1.0)
    assert not said()
    third = one.announced(recent(window=15, dm=1400.0, dm_cluster=1400.0))
    wait_for(said, 20.0)
    (tmp_path / "a_file").unlink()
    for id in (event.id, other.id, third.id):
        one.wait_for_state(id, 1, RoadState.ACKNOWLEDGED)
    assert len(said()) == 1
    assert not [key for key in one.memory if key.startswith("late ")]


def test_many_measurements_keep_no_burst_waiting(
    service: Callable[..., Kept], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = service()
    trigger = recent()
    event = one.announced(trigger)

    def slow(*arguments: Any) -> Any:
        time.sleep(0.05)
        return event_life.event_of(*arguments)

    monkeypatch.setattr(followers, "event_of", slow)
    plain = [one.finding(trigger, snr=60.0).to_plain()]
    for number in range(1, 31):
        entry = QueueEntry(number, ContentKind.TRIGGERS, pack(plain), "", 0.0, 0.0)
        one.work(entry, None)
    one.idle()
    assert 0 < len(one.completed) < 30
    assert one.patience() == 0.0

    def done() -> bool:
        one.idle()
        return len(one.completed) == 30

    wait_for(done, 20.0)
    assert one.patience() > 0.0
    assert one.event(event.id).latest.kind is AlertType.UPDATE


def test_an_operator_sees_a_burst_however_many_injections_there_are(
    service: Callable[..., Kept],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    one = service()
    event = one.announced(recent())
    for number in range(300):
        other = replace(event, id=f"injection-{number}", tense=Tense.INJECTION)
        one.book.put(other)
    told = one.events
    assert [told[0]["id"], told[-1]["id"]] == ["injection-299", event.id]
    assert len(told) == 51
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(
        alerts_word, "ask_attribute", lambda _, service, name, *rest: (getattr(one, name), "")
    )
    assert alerts_word.main(["list"]) == 0
    listed = capsys.readouterr().out
    assert event.id in listed
    assert listed.count("injection-") == 5
    assert alerts_word.main(["show", event.id]) == 0
    assert event.trigger.identity in capsys.readouterr().out


def test_a_road_that_is_switched_off_with_thousands_waiting_is_no_commit_beyond_the_limit(
    service: Callable[..., Kept],
) -> None:
    one = service(roads=["webhook"], webhook={"url": "http://127.0.0.1:9/", "timeout": 0.1})
    event = one.announced(recent())
    (item, _), *_ = one.departures.waiting()
    many = [replace(event, id=f"event {number}") for number in range(2000)]
    items = [replace(item, event_id=each.id) for each in many]
    for start in range(0, len(items), 100):
        part = slice(start, start + 100)
        one.announcer.publish((), many[part], items[part])
    one.largest = 0
    one.send_webhook = False
    one.idle()

    def gone() -> bool:
        one.idle()
        return not one.events_waiting

    wait_for(gone, 20.0)
    assert one.largest <= 101  # an event each, and the outcomes
    assert not [key for key in one.memory if key.startswith("leaving ")]
    states = {each.first.roads[RoadName.WEBHOOK] for each in one.book}
    assert states <= {RoadState.WITHDRAWN, RoadState.GIVEN_UP}


def test_of_many_retractions_that_are_owed_each_leaves_once(service: Callable[..., Kept]) -> None:
    one = service()
    events = []
    for number in range(45):
        dm = 300.0 + 20 * number
        event = one.announced(recent(window=number, dm=dm, dm_cluster=dm))
        one.wait_for_state(event.id, 1, RoadState.ACKNOWLEDGED)
        events.append(event)
    one.send_file = False
    one.idle()
    for event in events:
        one.put(retract(event))
    assert all(one.event(event.id).state == OWED for event in events)
    one.send_file = True
    one.idle()
    assert 0 < sum(one.event(event.id).state == OWED for event in events) < 45
    for event in events:
        one.wait_for_state(event.id, 2, RoadState.ACKNOWLEDGED)
    assert one.departures.counts["file acknowledged"] == 90


def test_a_retraction_is_of_no_importance_whatever_was_thought_before(
    service: Callable[..., Kept], tmp_path: Path
) -> None:
    one = service()
    trigger = recent()
    event = one.announced(trigger)
    one.put(AlertOrder("confirm", event.id, "a burst", "me@here", time.time()))
    one.put(retract(event))
    why = [
        read_event(kept_copy(tmp_path / "voevents", f"{trigger.utc}{number}.xml")).Why
        for number in (".2", ".3")
    ]
    assert [float(each.get("importance")) for each in why] == [1.0, 0.0]
    assert "by a person: a burst" in str(why[0].Description)
    assert str(why[1].Description).endswith("(astrophysical): it was retracted")
