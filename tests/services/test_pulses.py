"""Triggers of the same pulse: how they are grouped, and which pulses are known."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from triggers import made_trigger

from darc.model.trigger import Trigger
from darc.queues.plain import pack, unpack
from darc.services.pulses import KEPT, Known, Pulse, by_pulse

START = 1_558_223_473.0  # Unix s


def trigger(number: int, seconds: float) -> Trigger:
    """One that arrived so long after the start; its number tells it from others."""
    utc = datetime.fromtimestamp(START + seconds, UTC).replace(tzinfo=None)
    return made_trigger(window=number, utc=utc.isoformat())


#: To eighths, so that many are just one interval apart; every float of them is exact.
eighths = st.integers(0, 80).map(lambda n: n / 8)
intervals = st.integers(1, 24).map(lambda n: n / 8)


def members(groups: list[list[Trigger]]) -> list[frozenset[str]]:
    return [frozenset(one.identity for one in group) for group in groups]


# -- groups --------------------------------------------------------------------------------------


@given(st.lists(eighths, max_size=20), intervals, st.randoms(use_true_random=False))
def test_every_grouping(seconds: list[float], interval: float, chance: random.Random) -> None:
    triggers = [trigger(number, one) for number, one in enumerate(seconds)]
    groups = by_pulse(triggers, interval)
    # Each in just one of them.
    assert sorted(one.window for group in groups for one in group) == list(range(len(triggers)))
    firsts = []
    for group in groups:
        arrivals = [one.arrival for one in group]
        assert arrivals == sorted(arrivals)
        assert arrivals[-1] - arrivals[0] <= interval
        firsts.append(arrivals[0])
    # Nothing is in a later group that would have had room in one before.
    assert all(later - first > interval for first, later in pairwise(firsts))
    # Whatever comes first.
    chance.shuffle(triggers)
    assert members(by_pulse(triggers, interval)) == members(groups)


def test_the_interval_counts_from_the_first() -> None:
    triggers = [trigger(number, number * 0.75) for number in range(4)]
    assert [len(group) for group in by_pulse(triggers, 1.5)] == [3, 1]
    assert by_pulse([], 1.0) == []


# -- known pulses --------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(eighths, st.booleans()), max_size=20),
    eighths,
    st.booleans(),
    intervals,
    st.randoms(use_true_random=False),
)
def test_what_is_known(
    added: list[tuple[float, bool]],
    seconds: float,
    test: bool,
    interval: float,
    chance: random.Random,
) -> None:
    """A trigger is of a known pulse if one of the same kind arrived within the interval."""
    numbered = list(enumerate(added))
    expected = {
        trigger(number, one).identity
        for number, (one, kind) in numbered
        if kind is test and abs(one - seconds) <= interval
    }
    for _ in range(2):
        known = Known(interval)
        for number, (one, kind) in numbered:
            known.add(trigger(number, one), test=kind)
        again = Known(interval, map(Pulse.from_plain, unpack(pack(known.to_plain()))))
        for each in (known, again):
            found = each.find(trigger(1000, seconds), test=test)
            assert (found.identity in expected) if found else not expected
        chance.shuffle(numbered)


@pytest.mark.parametrize("test", [False, True])
def test_a_test_hides_no_observation_and_none_the_other_way_round(test: bool) -> None:
    known = Known(1.0)
    known.add(trigger(1, 5.0), test=test)
    assert known.find(trigger(2, 5.5), test=not test) is None
    assert known.find(trigger(2, 5.5), test=test) == Pulse(START + 5, "190518009/1/4", test)


def test_the_last_ones_are_known() -> None:
    known = Known(0.5)
    for number in range(KEPT + 1):
        known.add(trigger(number, 10.0 * number), test=False)
    assert len(known.to_plain()) == KEPT
    assert known.find(trigger(1, 0.0), test=False) is None
    for number in (1, KEPT):
        found = known.find(trigger(-1, 10.0 * number + 0.5), test=False)
        assert found
        assert found.identity == f"190518009/{number}/4"
