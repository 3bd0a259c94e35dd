"""The service that announces bursts, without a node: its commits are kept here."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from msgspec.structs import replace
from nodes import wait_for
from triggers import made_trigger

from darc.model.arrival import utc_of
from darc.model.event import AlertType, Event, RoadName, RoadState, Tense, event_id
from darc.model.finding import AlertOrder, BurstFinding
from darc.model.notice import arrival_at_top
from darc.model.trigger import Trigger
from darc.node.losses import LossKind
from darc.node.node_config import load_config
from darc.queues.messages import Commit, ContentKind, QueueEntry
from darc.queues.plain_connection import pack, unpack
from darc.runtime.clock import Since
from darc.services.base.alerts import ArrivedTrigger, ChosenTrigger
from darc.services.voevent_generator import followers
from darc.services.voevent_generator.composer import Composer
from darc.services.voevent_generator.service import VOEventGenerator


class Kept(VOEventGenerator):
    """Its memory is kept here, as the journal would."""

    def prepare(self) -> None:
        super().prepare()
        self._warm.set()
        self._warming = None
        self.memory: dict[str, Any] = {}
        self.completed: list[int] = []
        self.said: list[tuple[str, str, str]] = []
        self.number = 0

    @property
    def _is_ready(self) -> bool:
        return True

    def commit(self, commit: Commit) -> None:
        commit = Commit.from_plain(commit.to_plain())
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


@pytest.fixture
def service(tmp_path: Path) -> Callable[..., Kept]:
    def make(memory: dict[str, Any] | None = None, **rules: Any) -> Kept:
        path = tmp_path / "config.yaml"
        usual = {
            "send_events": True,
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
            made.departures.recover(memory)
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
