"""What is an alarm, and which messages come of it: no clock, no network."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

sys.path.insert(0, str(Path(__file__).parents[1] / "monitor"))

import made_up
from made_up import MASTER, NOW, ON_MASTER, node, service, silent

from darc.config.settings import AlarmSettings, EmailSettings
from darc.model.overview import Disk, Handover, LossRecord, LossSummary
from darc.monitor.alarms import alarm_messages as text
from darc.monitor.alarms.alarm_rules import (
    FIRST_SECONDS,
    ProblemSnapshot,
    select_alarms,
    stopped_on_purpose,
)
from darc.monitor.alarms.alarm_states import (
    ALARM,
    OVER,
    UPDATE,
    AlarmMessage,
    AlarmStates,
)
from darc.monitor.cluster_watch import ClusterStatus, NodeStatus
from darc.monitor.problems import find

SETTINGS = AlarmSettings(
    enabled=True,
    hold=30.0,
    hold_minor=300.0,
    clear=60.0,
    gather=5.0,
    repeat=60.0,
    give_up_after=3600.0,
    timeout=10.0,
    ignore=(),
    page_url=None,
    email_settings=EmailSettings(to=()),
    webhooks=(),
    chat=(),
    alertmanagers=(),
)
ORIGIN = text.MessageOrigin("arts041", "http://127.0.0.1:51080/")


class Night:
    """A cluster whose nodes change, looked at every `step` seconds."""

    def __init__(self, ignored: Iterable[str] = (), workers: int = 9, step: float = 1.0) -> None:
        self.now = NOW
        self.step = step
        self.book = AlarmStates(SETTINGS)
        self.ignored = frozenset(ignored)
        self.stopped: set[str] = set()
        self.nodes: dict[str, NodeStatus] = {}
        self.said: list[AlarmMessage] = []
        for host in (MASTER, *made_up.workers()[:workers]):
            self.well(host)

    def well(self, *hosts: str) -> None:
        for host in hosts:
            self.nodes[host] = node(host, *(ON_MASTER if host == MASTER else ()))

    def ill(self, name: str, state: str, *hosts: str) -> None:
        for host in hosts:
            names = ON_MASTER if host == MASTER else made_up.ON_WORKERS
            others = [one for one in names if one != name]
            self.nodes[host] = node(host, *others, service(name, state, since=self.now))

    def gone(self, *hosts: str) -> None:
        for host in hosts:
            self.nodes[host] = replace(
                silent(host, "no answer within 10 s", self.now),
                overview=self.nodes[host].overview,
                heard=self.now,
            )

    def sight(self) -> ProblemSnapshot:
        nodes = self.nodes.values()
        for one in nodes:
            purpose = stopped_on_purpose(one)
            if purpose is not None:
                (self.stopped.add if purpose else self.stopped.discard)(one.name)
        cluster = ClusterStatus(self.now, tuple(nodes))
        found = find(cluster, made_up.CONTEXT)
        return select_alarms(cluster, found, SETTINGS, self.ignored, self.stopped)

    def passes(self, seconds: float) -> list[AlarmMessage]:
        """What is said in that time."""
        said = []
        for _ in range(round(seconds / self.step)):
            self.now += self.step
            said += self.book.update(self.sight())
        self.said += said
        return said

    def restart(self) -> None:
        """Another process goes on from what was remembered."""
        plain = json.loads(json.dumps(self.book.to_plain()))
        self.book = AlarmStates(SETTINGS)
        self.book.recall(plain, self.now)


def kinds(messages: Iterable[AlarmMessage]) -> list[str]:
    return [message.kind for message in messages]


def test_a_quiet_night() -> None:
    assert Night().passes(600) == []


def test_a_service_that_gave_up_is_told_at_once_and_its_end_once() -> None:
    night = Night()
    night.ill("amber_clustering", "failed", "arts003")
    (alarm,) = night.passes(7)
    assert (alarm.kind, alarm.title) == (ALARM, "amber_clustering on arts003 failed")
    assert alarm.items[0].command == "darc --host arts003 --service amber_clustering start"
    assert night.passes(1200) == []
    night.well("arts003")
    assert night.passes(59) == []
    (over,) = night.passes(3)
    assert (over.kind, over.title, over.alarm) == (OVER, alarm.title, alarm.alarm)
    assert night.passes(1200) == []


@pytest.mark.parametrize("between", ["starting", "unresponsive"])
def test_its_end_is_told_under_the_title_that_people_know(between: str) -> None:
    """It takes its time to come up again."""
    night = Night()
    night.ill("amber_clustering", "failed", "arts003")
    (alarm,) = night.passes(7)
    night.ill("amber_clustering", between, "arts003")
    assert night.passes(100) == []
    night.restart()
    night.well("arts003")
    (over,) = night.passes(70)
    assert (over.kind, over.title, over.grave) == (OVER, alarm.title, alarm.grave)


@pytest.mark.parametrize("state", ["unresponsive"])
def test_what_has_to_last(state: str) -> None:
    night = Night()
    night.ill("dada_trigger", state, "arts003")
    assert night.passes(29) == []
    night.well("arts003")
    assert night.passes(20) == []
    night.ill("dada_trigger", state, "arts003")
    assert night.passes(30) == []
    assert kinds(night.passes(10)) == [ALARM]


@pytest.mark.parametrize("state", ["stopped", "stopping"])
def test_what_somebody_stopped_is_no_alarm(state: str) -> None:
    night = Night()
    night.ill("lofar_trigger", state, MASTER)
    night.nodes["arts007"] = node("arts007", *(service(name, state) for name in made_up.ON_WORKERS))
    assert night.passes(1200) == []


def test_a_node_that_was_stopped_on_purpose_may_go() -> None:
    night = Night()
    night.nodes["arts007"] = node("arts007", stopping=True)
    night.passes(2)
    night.gone("arts007", "arts008")
    (alarm,) = night.passes(600)
    assert alarm.hosts == ("arts008",)
    night.well("arts007")
    night.passes(2)
    night.gone("arts007")
    assert [one.hosts for one in night.passes(600)] == [("arts008", "arts007")]


def test_an_alarm_ends_when_somebody_stops_the_service() -> None:
    night = Night()
    night.ill("lofar_trigger", "failed", MASTER)
    night.passes(10)
    night.ill("lofar_trigger", "stopped", MASTER)
    (over,) = night.passes(100)
    assert over.kind == OVER
    assert over.over[0].text == "lofar_trigger on arts041 is stopped"


def test_while_it_flaps_one_alarm_stays_open() -> None:
    night = Night(workers=3, step=5.0)
    for _ in range(60):
        night.ill("amber_clustering", "failed", "arts003")
        night.passes(10)
        night.ill("amber_clustering", "unresponsive", "arts003")
        night.passes(10)
        night.well("arts003")
        night.passes(50)
    assert kinds(night.said) == [ALARM]


def test_what_comes_again_and_again_is_told_ever_less() -> None:
    night = Night(workers=3, step=5.0)
    for _ in range(60):  # two hours
        night.ill("amber_clustering", "failed", "arts003")
        night.passes(20)
        night.well("arts003")
        night.passes(100)
    assert kinds(night.said) == [ALARM, OVER, ALARM]


def test_a_switch_dies() -> None:
    night = Night(workers=40)
    hosts = made_up.workers()[:20]
    for number, host in enumerate(hosts):  # not all are missed at once
        night.gone(host)
        night.passes(number % 2)
    (alarm,) = night.passes(600)
    assert alarm.hosts == tuple(hosts)
    assert alarm.title == "arts[001-020]: no answer"
    night.well(*hosts)
    (over,) = night.passes(600)
    assert (over.kind, over.hosts) == (OVER, tuple(hosts))


def test_hosts_that_join_and_leave_later_are_gathered() -> None:
    night = Night(workers=30, step=5.0)
    night.gone("arts001")
    night.passes(40)
    for host in made_up.workers()[1:30]:
        night.gone(host)
        night.passes(20)
    night.well(*made_up.workers()[:29])
    night.passes(3700)
    night.well("arts030")
    night.passes(100)
    assert kinds(night.said) == [ALARM, *[UPDATE] * 4, OVER]
    told = {host for one in night.said[:-2] for host in one.hosts} - {"arts030"}
    assert set(night.said[-2].over[0].hosts) == told
    assert night.said[-1].hosts == ("arts030",)


def test_what_cannot_be_known_is_not_over() -> None:
    night = Night()
    night.ill("amber_clustering", "failed", "arts003")
    night.passes(10)
    night.gone("arts003")
    assert kinds(night.passes(600)) == [ALARM]  # of the node
    night.ill("amber_clustering", "failed", "arts003")
    assert kinds(night.passes(600)) == [OVER]
    night.nodes["arts003"] = node(
        "arts003", *(service(name, "failed") for name in made_up.ON_WORKERS)
    )
    assert [one.title for one in night.passes(600)] == ["arts003: all services are failed"]


def test_nodes_that_are_just_being_started_have_time() -> None:
    night = Night()
    night.nodes["arts003"] = silent("arts003", "Connection refused", NOW)
    assert night.passes(FIRST_SECONDS - 5) == []
    assert kinds(night.passes(20)) == [ALARM]


def test_what_follows_from_another_alarm_is_none() -> None:
    night = Night()
    night.ill("lofar_trigger", "failed", MASTER)
    for host in made_up.workers()[:9]:
        handover = Handover("lofar_trigger", False, NOW, 3, "Connection refused")
        night.nodes[host] = node(host, handovers=(handover,))
    assert [one.title for one in night.passes(600)] == ["lofar_trigger on arts041 failed"]
    night.well(MASTER)
    assert night.passes(50)[0].title.startswith("arts[001-009] cannot hand in triggers")


def test_what_is_not_grave_has_to_last_longer() -> None:
    night = Night()
    night.nodes["arts008"] = node("arts008", disks=(Disk("run_dir", "/data", 4 * 10**12, 10**10),))
    assert night.passes(299) == []
    (alarm,) = night.passes(10)
    assert (alarm.title, alarm.grave) == ("arts008: the disk of run_dir is nearly full", False)


def test_what_is_only_shown() -> None:
    night = Night()
    night.nodes["arts005"] = node("arts005", version="0.0.9")
    night.nodes["arts006"] = replace(node("arts006"), clock=0.0)
    night.nodes["arts009"] = node("arts009", service("dada_trigger", died=NOW + 1, deaths=1))
    assert night.passes(900) == []


def test_a_full_journal_and_two_masters() -> None:
    night = Night()
    night.nodes["arts005"] = node("arts005", journal_full=True)
    night.nodes["arts006"] = node("arts006", master="arts001")
    assert [one.service for one in night.passes(60)] == ["", ""]
    assert {one.hosts for one in night.said} == {("arts005",), ("arts006",)}


def test_ignored_hosts() -> None:
    night = Night(ignored=["arts003"])
    night.ill("amber_clustering", "failed", "arts003", "arts004")
    (alarm,) = night.passes(600)
    assert alarm.hosts == ("arts004",)


@settings(deadline=None, max_examples=15)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 90), st.booleans()), max_size=15))
def test_a_process_that_is_started_anew_says_no_more(steps: list[tuple[int, int, bool]]) -> None:
    """For what has become an alarm; what was not one yet has to last anew."""
    nights = Night(workers=4, step=3.0), Night(workers=4, step=3.0)
    for host, seconds, restart in steps:
        for night in nights:
            name = f"arts00{host + 1}"
            if night.nodes[name].overview == made_up.overview(name):
                night.ill("amber_clustering", "failed", name)
            else:
                night.well(name)
            night.passes(seconds)
        if restart:
            nights[1].restart()
    for night in nights:
        night.well(*made_up.workers()[:4])
        night.step = 30.0
        night.passes(3700)
    for night in nights:
        assert len({one.id for one in night.said}) == len(night.said)
        assert kinds(night.said).count(ALARM) == kinds(night.said).count(OVER)
        assert night.book.to_plain()["episodes"] == {}
    # What is not looked at for a moment lasts a little longer.
    first, second = (kinds(night.said).count(ALARM) for night in nights)
    assert bool(first) == bool(second)
    assert second <= first


# -- texts ----------------------------------------------------------------------------------------


def test_texts() -> None:
    night = Night()
    night.ill("amber_clustering", "failed", "arts003", "arts004")
    (alarm,) = night.passes(10)
    assert text.subject(alarm, ORIGIN) == (
        "[DARC arts041] ALARM: amber_clustering on arts[003-004] failed"
    )
    body = text.text(alarm, ORIGIN)
    assert "On:    arts003, arts004\n" in body
    assert "Since: 2026-11-22 01:13:22 UTC\n" in body
    assert "Type:  for host in arts{003..004}; do darc --host $host" in body
    assert "http://127.0.0.1:51080/" in body
    night.well("arts003", "arts004")
    (over,) = night.passes(100)
    assert text.subject(over, ORIGIN).startswith("[DARC arts041] OVER: amber")
    assert "From:  2026-11-22 01:13:22 UTC\n  Over:  seen at 2026-11-22 01:14:3" in (
        text.text(over, ORIGIN)
    )


def test_what_a_log_says_does_no_harm_in_a_chat() -> None:
    night = Night()
    night.nodes["arts003"] = node("arts003", supervisord="```<!channel> @all\n" + "x" * 5000)
    (alarm,) = night.passes(60)
    told = text.payload(alarm, ORIGIN)["text"]
    assert told.count("```") == 2
    assert "<" not in told
    assert len(told) < 1600
    assert "@all x" in told
    assert json.loads(json.dumps(text.payload(alarm, ORIGIN)))["hosts"] == ["arts003"]


def test_a_time_that_is_none() -> None:
    night = Night()
    night.ill("amber_clustering", "failed", "arts003")
    (alarm,) = night.passes(10)
    assert "s (Unix time)" in text.text(replace(alarm, time=1e300), ORIGIN)


def test_a_service_that_was_ill_and_gives_up_is_told_of_again() -> None:
    night = Night()
    night.ill("dada_trigger", "unresponsive", "arts003")
    night.passes(60)
    for state in ("failed", "starting", "failed"):
        night.ill("dada_trigger", state, "arts003")
        night.passes(100)
    assert kinds(night.said) == [ALARM, UPDATE]
    assert night.said[1].title == "dada_trigger on arts003 failed"
    assert text.subject(night.said[1], ORIGIN).startswith("[DARC arts041] ALARM, now: dada")


def test_each_further_loss_is_told_but_not_at_any_pace() -> None:
    """And over a restart of who tells: the same one is not told again."""
    night = Night()

    def loses(number: int, *, recent: bool = True) -> None:
        lost = LossRecord(night.now, "190518009", f"190518009/{number}/7", "refused")
        losses = LossSummary("dump_too_late", "raw data lost", "Start it.", number, recent, (lost,))
        others = [one for one in made_up.ON_WORKERS if one != "dada_trigger"]
        last = service("dada_trigger", losses=(losses,))
        night.nodes["arts003"] = node("arts003", *others, last)

    loses(1)
    (alarm,) = night.passes(7)
    assert (alarm.kind, alarm.title, alarm.grave) == (ALARM, "arts003: raw data lost", True)
    assert "190518009/1/7: refused. Start it." in alarm.items[0].text
    night.restart()
    assert night.passes(1200) == []
    loses(2)
    (update,) = night.passes(3)
    assert update.kind == UPDATE
    assert "2 times, the last: 190518009: 190518009/2/7" in update.items[0].text
    loses(3)
    assert night.passes(60) == []
    assert kinds(night.passes(70)) == [UPDATE]
    for number in range(4, 3604):  # one a second for an hour
        loses(number)
        night.passes(1)
    assert len(night.said) < 12
    loses(3603, recent=False)
    assert kinds(night.passes(120)) == [OVER]


@pytest.mark.parametrize("by", [-7200.0, 7200.0])
def test_a_clock_that_is_set_brings_no_alarm_forward_and_puts_none_off(by: float) -> None:
    night = Night()

    def set_clock() -> None:
        night.now += by
        night.book.clock_was_set(by)

    night.ill("dada_trigger", "unresponsive", "arts003")
    assert night.passes(20) == []
    set_clock()
    assert night.passes(9) == []
    assert kinds(night.passes(9)) == [ALARM]
    set_clock()
    night.ill("dada_trigger", "unresponsive", "arts004")
    assert kinds(night.passes(100)) == [UPDATE]
    night.well("arts003", "arts004")
    assert night.passes(30) == []
    set_clock()
    assert night.passes(25) == []
    assert kinds(night.passes(10)) == [OVER]
