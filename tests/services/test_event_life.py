"""Which event a finding is about, what follows from it, and which source a burst is of."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace
from triggers import made_trigger

from darc.model.event import (
    OWED,
    AlertType,
    Association,
    Event,
    MeasuredBurst,
    RoadName,
    RoadState,
    Tense,
    event_id,
)
from darc.model.finding import AlertOrder, BurstFinding, about_event, is_about_event
from darc.model.sources import Source
from darc.model.trigger import Trigger
from darc.queues.messages import ContentKind, QueueEntry
from darc.queues.plain_connection import pack
from darc.science.association import association_probability, separation
from darc.services.base.forwarding import MOST_TOGETHER, together
from darc.services.voevent_generator.event_book import BOOK, KEPT_EVENTS, EventBook
from darc.services.voevent_generator.event_life import (
    association_of,
    decided,
    event_of,
    next_step,
)
from darc.services.voevent_generator.trials import is_due, overdue

#: Of ARTS, s per pc cm-3.
DELAY = 9.92e-4


def event(trigger: Trigger | None = None, made: float = 1000.0, **changes: Any) -> Event:
    trigger = trigger or made_trigger()
    one = Event(event_id(trigger, Tense.CURRENT), trigger, Tense.CURRENT, made)
    notice = one.next_notice(AlertType.INITIAL, made, "the search")
    return replace(one.with_notice(notice), **changes)


def finding(**changes: Any) -> BurstFinding:
    one = made_trigger()
    numbers = {"dm": one.dm, "snr": 30.0, "width": one.width, "probability": 0.9}
    about: dict[str, Any] = {"observation": "o", "cb": 0, "sb": 35, "host": "arts001"}
    return BurstFinding(**{**about, "arrival": one.arrival, **numbers, **changes})


def at_top(trigger: Trigger) -> float:
    return trigger.arrival


# -- which event -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "belongs"),
    [
        ({}, True),
        ({"arrival": made_trigger().arrival + 0.02}, True),
        ({"arrival": made_trigger().arrival + 0.03}, False),
        ({"dm": made_trigger().dm + 10}, True),  # smeared by 10 ms
        ({"dm": made_trigger().dm + 15}, False),
        ({"dm": made_trigger().dm + 10, "arrival": made_trigger().arrival + 0.03}, True),
        ({"dm": made_trigger().dm + 100, "width": 100.0}, False),  # broad, and beside it
        ({"arrival": made_trigger().arrival + 0.08, "width": 100.0}, False),
        ({"cb": 12}, True),  # another beam sees it, too
    ],
)
def test_a_finding_belongs_by_time_and_dm(changes: dict[str, Any], belongs: bool) -> None:
    known = event()
    found = event_of(finding(**changes), [known], at_top, DELAY)
    assert found == ((known, "time and DM") if belongs else None)


def test_a_broad_burst_is_found_by_what_is_narrow_in_it() -> None:
    known = event(made_trigger(width=100.0))
    late = finding(arrival=known.trigger.arrival + 0.11)
    assert event_of(late, [known], at_top, DELAY) == (known, "time and DM")


def test_the_nearest_in_time_is_meant_and_an_identity_before_all() -> None:
    near, far = event(), event(made_trigger(window=10, utc="2019-05-18T23:51:23.324159"))
    late = finding(arrival=near.trigger.arrival + 0.004)
    assert event_of(late, [far, near], at_top, DELAY) == (near, "time and DM")
    named = replace(late, identity=far.trigger.identity)
    assert event_of(named, [near, far], at_top, DELAY) == (far, "identity")


# -- what follows ------------------------------------------------------------------------------


def step(known: Event, updates: bool = True, below: float | None = 0.1, **changes: Any) -> Any:
    options: dict[str, Any] = {"updates": updates, "retract_below": below}
    return next_step(known, finding(**changes), "time and DM", **options)


def test_the_first_measurement_is_an_update_and_clearly_better_ones() -> None:
    first = step(event())
    assert (first.kind, first.event.measured.snr) == (AlertType.UPDATE, 30.0)
    assert first.event.best_probability == 0.9
    assert step(first.event, snr=32.0).kind is None
    assert step(first.event, snr=40.0).kind is AlertType.UPDATE
    silent = step(event(), updates=False)
    assert (silent.kind, silent.event.measured.snr) == (None, 30.0)


def test_another_beam_counts_where_it_sees_more() -> None:
    assert step(event(), cb=9, snr=28.0).event.measured is None
    other = step(event(), cb=9, snr=29.0)
    assert other.kind is AlertType.UPDATE
    assert (other.event.measured.cb, other.event.measured.sb) == (9, 35)
    # Its own is better, as its position is known; another's is not, once there is that.
    own = step(other.event, snr=21.0)
    assert (own.kind, own.event.measured.cb) == (AlertType.UPDATE, 0)
    assert step(own.event, cb=9, snr=90.0).kind is None


def after(known: Event, *findings: dict[str, Any], below: float | None = 0.1) -> Any:
    """What is decided after these."""
    for one in findings:
        found = step(known, below=below, **one)
        assert found.kind is not AlertType.RETRACTION
        known = found.event
    return decided(known, below)


def test_a_retraction_is_held_until_other_beams_were_heard() -> None:
    bad = {"probability": 0.05}
    first = step(event(), **bad)
    assert (first.kind, first.event.doubt.probability) == (None, 0.05)
    assert first.event.measured is None
    assert Event.from_plain(first.event.to_plain()) == first.event
    end = after(event(), bad)
    assert (end.kind, end.event.doubt) == (AlertType.RETRACTION, None)
    assert "probability 0.05" in end.reason
    # Another beam, or a better one of its own, has seen a burst meanwhile.
    assert after(event(), bad, {"cb": 9, "snr": 20.0, "probability": 0.8}).kind is None
    assert after(event(), bad, {"snr": 60.0, "probability": 0.8}).kind is None
    # The best one of its own is told.
    better = after(event(), bad, {"snr": 60.0, "probability": 0.07}, {"snr": 40.0, **bad})
    assert "probability 0.07" in better.reason
    assert after(replace(first.event, verdict="a burst")).kind is None
    assert after(first.event, below=None).kind is None


def test_what_is_much_fainter_neither_updates_nor_retracts() -> None:
    faint = 0.69 * made_trigger().snr
    for probability in (0.05, 0.9, None):
        found = step(event(), snr=faint, probability=probability)
        assert (found.kind, found.event.doubt, found.event.measured) == (None, None, None)
        assert found.event.best_probability == probability


def test_interference_is_retracted_where_that_is_configured() -> None:
    assert after(event(), {"probability": 0.05}).kind is AlertType.RETRACTION
    assert step(event(), probability=0.05, below=None).kind is AlertType.UPDATE
    assert step(event(), probability=None).kind is AlertType.UPDATE
    assert step(event(), probability=0.1).kind is AlertType.UPDATE
    assert step(event(), probability=0.05, cb=9, snr=20.0).kind is None  # a side lobe
    assert step(event(verdict="a burst"), probability=0.05).kind is not AlertType.RETRACTION
    assert after(event(), {"probability": 0.05, "cb": 9, "snr": 20.0}).kind is None
    good = step(event(), cb=9, snr=20.0, probability=0.8).event
    assert after(good, {"probability": 0.05}).kind is None


def test_notices_end_with_a_limit_but_for_people() -> None:
    known = event()
    for number in range(49):
        known = known.with_notice(known.next_notice(AlertType.UPDATE, 1.0, "x", str(number)))
    with pytest.raises(ValueError, match="has had 50 notices"):
        known.next_notice(AlertType.UPDATE, 1.0, "x")
    assert known.next_notice(AlertType.UPDATE, 1.0, "x", supervised=True).number == 51
    assert known.next_notice(AlertType.RETRACTION, 1.0, "x").number == 51
    with pytest.raises(ValueError, match="was announced before"):
        known.next_notice(AlertType.INITIAL, 1.0, "x")


# -- sources -----------------------------------------------------------------------------------


def test_a_known_source_is_associated_by_dm_and_cites_its_last_event() -> None:
    known = made_trigger(name="frb", src_name="R1", dm=1056.6, dm_cluster=1058.6)
    before, other = event(replace(known, window=1)), event(made_trigger(window=2))
    found = association_of(known, 0.0, [other, before])
    assert found == Association("R1", round(math.exp(-0.5), 4), before.id)
    assert association_of(replace(known, dm_cluster=1056.6), 1.0, []) == Association("R1", 1.0)


def test_a_listed_source_is_named_wherever_the_beam_was_pointed() -> None:
    trigger = made_trigger(dm_cluster=557.3)
    assert trigger.ra is not None
    assert trigger.dec is not None
    here = Source("R1", "frb", 557.0, (trigger.ra + 0.05, trigger.dec))
    listed = [
        replace(here, name="nowhere", position=None),
        replace(here, name="elsewhere", position=(trigger.ra + 20, trigger.dec)),
        replace(here, name="another DM", dm=580.0),
        here,
    ]
    found = association_of(trigger, 0.8, [], listed=listed)
    assert found is not None
    assert (found.source, found.event_id) == ("R1", "")
    assert 0.95 < found.probability < 1
    before = event(made_trigger(window=1), association=found)
    again = association_of(trigger, 0.0, [before], listed=listed)
    assert again is not None
    assert (again.source, again.event_id) == ("R1", before.id)
    assert association_of(trigger, 0.8, [], listed=listed[:-1]) is None
    assert association_of(replace(trigger, ra=None), 0.8, [], listed=listed) is None
    # As far off as this, it is of none more probably.
    assert association_of(replace(trigger, dm_cluster=564.0), 0.8, [], listed=listed) is None


def test_a_retracted_event_names_no_source_any_more() -> None:
    first = event(made_trigger(window=1), 1.0)
    of_it = Association(first.id, 1.0, first.id)
    second = event(made_trigger(window=2), 2.0, association=of_it)
    third = event(made_trigger(window=3), 3.0, association=of_it)
    found = association_of(made_trigger(), 0.8, [third, second], {first.id})
    assert found is not None
    assert found.source == second.id  # the earliest that was not
    known = association_of(made_trigger(), 0.8, [third, second])
    assert known is not None
    assert known.source == first.id  # it may have expired
    named = replace(third, association=Association("R1", 1.0))
    assert association_of(made_trigger(), 0.8, [named], {first.id}) == Association(
        "R1", 1.0, named.id
    )


def test_another_burst_within_the_beam_at_its_dm_is_of_one_source() -> None:
    trigger = made_trigger()
    same = event(made_trigger(window=1, ra=83.7, dm_cluster=1057.0))
    elsewhere = event(made_trigger(window=2, ra=85.0))
    another_dm = event(made_trigger(window=3, dm_cluster=1070.0))
    nowhere = event(made_trigger(window=4, ra=None, dec=None))
    found = association_of(trigger, 0.8, [nowhere, another_dm, elsewhere, same])
    assert found is not None
    assert (found.source, found.event_id) == (same.id, same.id)
    assert 0.9 < found.probability < 1
    third = association_of(trigger, 0.8, [replace(same, association=found)])
    assert third is not None
    assert third.source == found.source  # the first event names the source
    assert association_of(trigger, 0.8, [nowhere, another_dm, elsewhere]) is None


@given(st.floats(0, 360), st.floats(-90, 90), st.floats(0, 360), st.floats(-90, 90))
def test_separations_are_astropys(ra: float, dec: float, other_ra: float, other_dec: float) -> None:
    there = SkyCoord(other_ra, other_dec, unit="deg")
    expected = SkyCoord(ra, dec, unit="deg").separation(there).deg
    assert separation(ra, dec, other_ra, other_dec) == pytest.approx(expected, abs=1e-6)


@given(st.floats(0, 180), st.floats(0, 10), st.floats(-1e5, 1e5), st.floats(0, 1e5))
def test_a_probability_is_one_and_falls(
    distance: float, error: float, difference: float, dm_error: float
) -> None:
    assume(error == 0 or error > 1e-6)
    value = association_probability(distance, error, difference, dm_error)
    assert 0 <= value <= 1
    assert value >= association_probability(distance + 1, error, difference, dm_error)
    assert association_probability(0.0, error, 0.0, dm_error) == 1.0
    assert not np.isnan(value)


# -- what is remembered ------------------------------------------------------------------------


def test_events_are_remembered_until_they_expire_and_have_left() -> None:
    book, now = EventBook(), time.time()
    old = event(made_trigger(window=1), now - 100)
    waiting = event(made_trigger(window=2), now - 100)
    waiting = waiting.with_state(1, RoadName.KAFKA, RoadState.WAITING)
    new = event(made_trigger(window=3), now)
    memory = book.put(old, waiting, new)
    other = EventBook()
    other.recall({**memory, "switch": True, BOOK + "broken": {"id": "broken"}})
    assert [one.id for one in other] == [old.id, waiting.id, new.id]
    assert other.expired(50.0) == {BOOK + old.id: None, BOOK + "broken": None}
    assert other.find(old.id) is None
    assert other.find(waiting.id) == waiting
    assert [one.id for one in other.of_tense(Tense.CURRENT)] == [new.id, waiting.id]
    assert not list(other.of_tense(Tense.TEST))


def test_the_oldest_go_beyond_a_number() -> None:
    book, now = EventBook(), time.time()
    many = [event(made_trigger(window=number), now + number) for number in range(KEPT_EVENTS + 5)]
    book.put(*many)
    assert set(book.expired(1e6)) == {BOOK + one.id for one in many[:5]}
    assert len(book) == KEPT_EVENTS


def test_injections_and_tests_have_no_burst_forgotten() -> None:
    book, now = EventBook(), time.time()
    burst = event(made_trigger(), now - 3600.0)
    book.put(burst)
    for tense in (Tense.TEST, Tense.INJECTION):
        for number in range(KEPT_EVENTS + 5):
            other = event(made_trigger(window=number), now + number)
            book.put(replace(other, id=f"{tense} {number}", tense=tense))
    assert len(book.expired(1e6)) == 10
    assert book.find(burst.id) == burst
    assert len([*book.of_tense(Tense.TEST)]) == len([*book.of_tense(Tense.INJECTION)]) == 1000


def test_findings_and_orders_are_told_from_triggers() -> None:
    order = AlertOrder("retract", "an id", "why", "me@here", 1.0)
    for one in (finding(), order):
        assert is_about_event(one.to_plain())
        assert about_event(one.to_plain()) == one
    assert not is_about_event(made_trigger().to_plain())
    for wrong in (
        {"order": {**order.to_plain()["order"], "action": "shout"}},
        {"order": {**order.to_plain()["order"], "by": ""}},
        {"finding": {**finding().to_plain()["finding"], "probability": 2.0}},
        {"order": {**order.to_plain()["order"], "by": "x" * 301}},
        {"order": {**order.to_plain()["order"], "reason": "x" * 2001}},
        {"order": {**order.to_plain()["order"], "event_id": "x" * 301}},
        {"finding": {**finding().to_plain()["finding"], "host": "x" * 301}},
        {"finding": None},
    ):
        with pytest.raises(ValueError, match=r"order|finding"):
            about_event(wrong)


def test_a_worker_hands_many_findings_in_at_once_in_the_order_of_its_queue() -> None:
    def entry(number: int, plain: Any, observation: str = "o", sender: str = "") -> QueueEntry:
        content = pack([plain])
        return QueueEntry(number, ContentKind.PLAIN, content, observation, 0.0, 0.0, sender=sender)

    measured, trigger = finding().to_plain(), made_trigger().to_plain()
    some = [entry(number, measured) for number in range(MOST_TOGETHER + 5)]
    assert together(some) == some[:MOST_TOGETHER]
    assert together(some[:3]) == some[:3]
    for other in (
        entry(3, trigger),
        entry(3, measured, observation="another"),
        entry(3, measured, sender="another"),
    ):
        assert together([*some[:2], other, *some[4:]]) == some[:2]
    first = entry(0, trigger)
    assert together([first, *some]) == [first]
    long = {"finding": {**measured["finding"], "picture": "x" * 400_000}}
    many = [entry(number, long) for number in range(5)]
    assert together(many) == many[:1]


def test_what_cannot_be_read_goes_when_it_expires() -> None:
    now = time.time()
    old = {BOOK + "old": {"id": "old", "made": now - 100}, BOOK + "none": None}
    new = {BOOK + "new": {"id": "new", "made": now}}
    book = EventBook()
    book.recall(old | new)
    assert book.expired(50.0) == dict.fromkeys(old)
    assert book.expired(50.0) == {}


def test_a_retraction_is_owed_where_the_event_has_left() -> None:
    known = event()
    states = {
        RoadName.VTP: RoadState.ACKNOWLEDGED,
        RoadName.KAFKA: RoadState.GIVEN_UP,
        RoadName.FILE: RoadState.WITHDRAWN,
        RoadName.WEBHOOK: RoadState.WAITING,
    }
    for road, state in states.items():
        known = known.with_state(1, road, state)
    assert (known.owed_roads(), known.state) == ((), "initial")
    gone = known.with_notice(known.next_notice(AlertType.RETRACTION, 1.0, "x"))
    assert (set(gone.owed_roads()), gone.state) == ({*states} - {RoadName.FILE}, OWED)
    for road in states:
        gone = gone.with_state(2, road, RoadState.ACKNOWLEDGED)
    assert (gone.owed_roads(), gone.state) == ((), "retraction")


def test_events_of_before_are_read() -> None:
    measured = MeasuredBurst(30.0, 1.0, 500.0, None, 1.0, 0.9, "processor of arts001")
    plain = event(measured=measured).to_plain()
    del plain["doubt"]
    plain["measured"] = plain["measured"][:7]
    assert Event.from_plain(plain) == event(measured=measured)


def test_measured_numbers_are_remembered() -> None:
    measured = MeasuredBurst(30.0, 1.0, 500.0, None, 1.0, 0.9, "processor of arts001")
    one = event(measured=measured, best_probability=0.95)
    assert Event.from_plain(one.to_plain()) == one


# -- test notices ------------------------------------------------------------------------------


def test_a_test_is_due_once_a_day_from_its_time_on() -> None:
    day = 1_795_824_000.0  # midnight, UTC
    at = day + 6.5 * 3600
    assert not is_due(None, 0.0, at)
    assert not is_due("06:30", 0.0, at - 1)
    assert is_due("06:30", 0.0, at)
    assert is_due("06:30", at - 86400, at + 10)
    assert not is_due("06:30", at, at + 10)
    assert not is_due("06:30", 0.0, at + 7200)  # the node was away: tomorrow
    assert is_due("23:59", 0.0, day + 86400 + 60)


@given(
    st.integers(0, 24 * 60 - 1),
    st.lists(st.floats(0.01, 3.0), min_size=3, max_size=8),
    st.floats(0.0, 0.999),
)
def test_each_day_has_one_test_whenever_it_is_looked(
    minute: int, steps: list[float], fraction: float
) -> None:
    """The first second counts: a test that leaves in it is of this day."""
    due = 1_795_824_000.0 + minute * 60.0
    at = f"{minute // 60:02d}:{minute % 60:02d}"
    last, sent = due - 86400.0 + fraction, 0
    for look in due + fraction + np.concatenate([[-1.0, 0.0], np.cumsum(steps)]):
        if is_due(at, last, float(look)):
            last, sent = float(look), sent + 1
    assert sent == 1


def test_a_test_is_overdue_where_it_was_not_acknowledged() -> None:
    one = event()
    for road, state in (
        (RoadName.VTP, RoadState.ACKNOWLEDGED),
        (RoadName.KAFKA, RoadState.WAITING),
        (RoadName.FILE, RoadState.GIVEN_UP),
        (RoadName.WEBHOOK, RoadState.WITHDRAWN),
    ):
        one = one.with_state(1, road, state)
    assert overdue(one, 60.0, 59.0) == []
    assert overdue(one, 60.0, 61.0) == [RoadName.KAFKA, RoadName.FILE]
