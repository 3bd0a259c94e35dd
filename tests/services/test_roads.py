"""Roads: each event's notices in order, each road for itself, and what is withdrawn."""

from __future__ import annotations

import threading

import pytest
from msgspec.structs import replace
from nodes import patience, wait_for

from darc.delivery.outbox import DeliveryError
from darc.model.event import RoadName, RoadState, Tense
from darc.model.trigger import Stages
from darc.runtime.clock import Since
from darc.services.voevent_generator.pending_event import PendingEvent
from darc.services.voevent_generator.roads import DISABLED, NO_FIRST, RoadOutcome, Roads


def notice(
    event: str,
    number: int,
    road: RoadName = RoadName.KAFKA,
    give_up_after: float = 600.0,
    tense: Tense = Tense.CURRENT,
) -> PendingEvent:
    times = 1.0, 2.0, Since.now(), give_up_after
    about = "190518009/1/7", "190518009", f"{event} {number}".encode(), Stages()
    return PendingEvent(*about, *times, road, event, number, tense)


class Receiver:
    """What the other sides do: refuse, hold, or take."""

    def __init__(self) -> None:
        self.came: list[tuple[RoadName, bytes]] = []
        self.refuse: set[RoadName] = set()
        self.disabled = False
        self.held = threading.Event()
        self.held.set()
        self.tests_held = threading.Event()
        self.tests_held.set()
        self.trying = threading.Event()  # at least once

    def send(self, key: str, item: PendingEvent) -> None:
        assert key == item.key
        self.trying.set()
        (self.held if item.tense is Tense.CURRENT else self.tests_held).wait(20.0)
        if self.disabled:
            raise DeliveryError(DISABLED, permanent=True)
        if item.road in self.refuse:
            raise DeliveryError("refused")
        self.came.append((item.road, item.content))


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def roads(receiver: Receiver) -> Roads:
    return Roads(receiver.send)


def gathered(roads: Roads, count: int) -> list[RoadOutcome]:
    found: list[RoadOutcome] = []

    def enough() -> bool:
        found.extend(roads.outcomes())
        return len(found) >= count

    wait_for(enough, 20.0)
    return found


def submit(roads: Roads, *items: PendingEvent) -> None:
    for item in items:
        roads.submit(item.key, item)


def test_notices_of_an_event_come_in_their_order(roads: Roads, receiver: Receiver) -> None:
    receiver.held.clear()
    submit(roads, notice("a", 1), notice("a", 2), notice("b", 1), notice("a", 3))
    receiver.held.set()
    found = gathered(roads, 4)
    assert {one.state for one in found} == {RoadState.ACKNOWLEDGED}
    assert [content for _, content in receiver.came if content.startswith(b"a")] == [
        b"a 1",
        b"a 2",
        b"a 3",
    ]


def test_a_retraction_waits_until_its_first_notice_is_acknowledged(
    roads: Roads, receiver: Receiver
) -> None:
    receiver.refuse = {RoadName.KAFKA}
    submit(roads, notice("a", 1), notice("a", 2), notice("b", 1, RoadName.FILE))
    assert [one.item.event_id for one in gathered(roads, 1)] == ["b"]  # another road goes on
    wait_for(lambda: any(error for _, error in roads.waiting()), 20.0)
    assert receiver.came == [(RoadName.FILE, b"b 1")]
    receiver.refuse = set()
    gathered(roads, 2)
    assert [content for _, content in receiver.came] == [b"b 1", b"a 1", b"a 2"]


def test_after_one_that_was_given_up_the_next_is_tried(roads: Roads, receiver: Receiver) -> None:
    """It may have come, and nobody has said so."""
    receiver.refuse = {RoadName.KAFKA}
    submit(roads, notice("a", 1, give_up_after=patience(0.5)), notice("a", 2))
    (first,) = gathered(roads, 1)
    assert (first.state, first.error) == (RoadState.GIVEN_UP, "refused")
    receiver.refuse = set()
    (second,) = gathered(roads, 1)
    assert second.state is RoadState.ACKNOWLEDGED


def test_what_never_left_has_no_followers(roads: Roads, receiver: Receiver) -> None:
    receiver.disabled = True
    receiver.held.clear()
    submit(roads, notice("a", 1), notice("a", 2))
    receiver.held.set()
    found = gathered(roads, 2)
    assert [one.state for one in found] == [RoadState.WITHDRAWN, RoadState.WITHDRAWN]
    assert [one.error for one in found] == [DISABLED, NO_FIRST]
    assert all(one.withdrawn for one in found)
    assert not list(roads.waiting())


def test_what_an_earlier_process_tried_has_followers(roads: Roads, receiver: Receiver) -> None:
    """It was killed between sending and noting that: the first may have come."""
    receiver.disabled = True
    first = notice("a", 1)
    roads.submit(first.key, first, has_left=True)
    (outcome,) = gathered(roads, 1)
    assert (outcome.state, outcome.withdrawn) == (RoadState.GIVEN_UP, True)


@pytest.mark.parametrize("tried", [False, True])
def test_withdrawn_are_those_of_a_road_and_what_is_behind_them(
    roads: Roads, receiver: Receiver, tried: bool
) -> None:
    receiver.refuse = {RoadName.KAFKA, RoadName.FILE}
    if not tried:
        receiver.held.clear()
        # That one is being tried: it has an outcome of its own.
        submit(roads, notice("under way", 1), notice("under way", 2))
        assert receiver.trying.wait(20.0)
    submit(roads, notice("a", 1), notice("a", 2), notice("a", 1, RoadName.FILE))
    if tried:
        wait_for(lambda: any(error for one, error in roads.waiting() if one.road == "kafka"))
    gone = roads.withdraw([RoadName.KAFKA])
    states = {(one.item.event_id, one.item.number): one.state for one in gone}
    expected = RoadState.GIVEN_UP if tried else RoadState.WITHDRAWN
    assert states.pop(("a", 1)) is expected
    assert states.pop(("a", 2)) is RoadState.WITHDRAWN
    assert states == ({} if tried else {("under way", 2): RoadState.WITHDRAWN})
    assert all(one.withdrawn for one in gone)
    receiver.refuse = set()
    receiver.held.set()
    found = gathered(roads, 1 if tried else 2)
    assert (RoadName.FILE, b"a 1") in receiver.came
    assert {one.item.event_id for one in found} <= {"a", "under way"}
    submit(roads, notice("a", 1))  # that name can be used again
    gathered(roads, 1)


def test_an_item_is_given_up_as_long_after_it_was_made_as_said(
    roads: Roads, receiver: Receiver
) -> None:
    old = replace(notice("a", 1), made=Since.now(ago=700.0))
    submit(roads, old)
    (outcome,) = gathered(roads, 1)
    assert outcome.state is RoadState.GIVEN_UP
    assert receiver.came == []


@pytest.mark.parametrize("tense", [Tense.TEST, Tense.INJECTION])
@pytest.mark.parametrize("road", RoadName)
def test_a_burst_waits_for_no_test_that_hangs(
    roads: Roads, receiver: Receiver, road: RoadName, tense: Tense
) -> None:
    receiver.tests_held.clear()
    submit(roads, notice("test", 1, road, tense=tense), notice("test", 2, road, tense=tense))
    wait_for(receiver.trying.is_set)
    submit(roads, notice("burst", 1, road))
    (found,) = gathered(roads, 1)
    assert (found.item.event_id, found.state) == ("burst", RoadState.ACKNOWLEDGED)
    assert {item.event_id for item, _ in roads.waiting()} == {"test"}
    # Both are withdrawn with their road.
    submit(roads, notice("burst", 2, road))
    receiver.disabled = True
    gone = roads.withdraw([road])
    receiver.tests_held.set()
    wanted = 3 - len(gone)
    rest = gathered(roads, wanted) if wanted else []
    states = {one.key: one.state for one in [*gone, *rest]}
    assert len(states) == 3
    assert not [*roads.waiting()]
