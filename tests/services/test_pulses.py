"""Triggers of the same pulse: how they are grouped, and which pulses are known."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from triggers import made_trigger

from darc.config.records import convert
from darc.model.trigger import Trigger
from darc.queues.plain_connection import pack, unpack
from darc.services.base.known_pulses import (
    KEPT,
    KEPT_OTHERS,
    KnownPulses,
    TriggeredPulse,
    by_pulse,
)

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


def at(number: int, seconds: float, dm: float, **keys: Any) -> Trigger:
    """A trigger of some DM, as found."""
    return replace(trigger(number, seconds), dm=dm, dm_cluster=dm, nchan=1536, **keys)


def test_unrelated_triggers_are_pulses_of_their_own() -> None:
    """Of 20 in 20 s at any DM, some are within a second of each other."""
    rng = np.random.default_rng(3)
    moments, dms = np.sort(rng.uniform(0, 20, 20)), rng.permutation(np.linspace(100, 3000, 20))
    triggers = [
        at(n, time, dm, snr=rng.uniform(20, 40), cb=n)
        for n, (time, dm) in enumerate(zip(moments.tolist(), dms.tolist(), strict=True))
    ]
    assert np.diff(moments).min() < 1.0
    assert sorted(map(len, by_pulse(triggers, 1.0))) == [1] * 20
    known = KnownPulses(1.0)
    for one in triggers:
        assert known.find(one, test=False) is None
        known.add(one, test=False)


@pytest.mark.parametrize(
    ("dm", "keys", "same"),
    [
        (300.0, {"cb": 7, "sb": 2}, True),  # a neighbour, or a side lobe
        (305.0, {"cb": 7}, True),
        # 10 pc cm-3 are 9.9 ms across the band, and each is 0.8 ms wide.
        (311.4, {}, True),
        (314.0, {}, False),
        (330.0, {"width": 20.0}, True),
        (340.0, {"width": 20.0}, False),
        (500.0, {}, False),
        # Of a known source, by its DM or as found.
        (300.0, {"dm_cluster": 304.0, "name": "frb", "src_name": "FRB 1"}, True),
        (308.0, {"dm_cluster": 316.0, "name": "frb", "src_name": "FRB 1"}, True),
        (316.0, {"dm_cluster": 308.0, "name": "frb", "src_name": "FRB 1"}, True),
        (320.0, {"dm_cluster": 316.0, "name": "frb", "src_name": "FRB 1"}, False),
    ],
)
def test_same_time_and_dm_in_whatever_beam(dm: float, keys: dict[str, Any], same: bool) -> None:
    first = at(1, 5.0, 300.0, snr=30.0, cb=0)
    other = replace(at(2, 5.2, dm, snr=29.0), **keys)
    assert len(by_pulse([other, first], 1.0)) == (1 if same else 2)
    known = KnownPulses(1.0)
    known.add(first, test=False)
    again = KnownPulses(1.0, convert(unpack(pack(known.to_plain())), list[TriggeredPulse]))
    for each in (known, again):
        assert bool(each.find(other, test=False)) is same
        assert each.find(replace(other, utc=at(2, 6.1, 0.0).utc), test=False) is None


def test_what_a_very_bright_one_leaves_at_another_dm_is_of_it() -> None:
    """At a DM that is wrong by 60, it is 59.5 ms long instead of 0.8.

    Beyond the tolerance, of 10 ms and both widths, that leaves 1.7 % of the S/N in a boxcar of
    0.8 ms, and 4 % in one of 4 ms; up to twice that, if it is no top-hat.
    """
    bright = at(1, 5.0, 300.0, snr=500.0)
    for snr, width, same in (
        (16.0, 0.8192, True),
        (18.0, 0.8192, False),
        (38.0, 4.0, True),
        (42.0, 4.0, False),
    ):
        other = at(2, 5.03, 360.0, snr=snr, width=width)
        assert len(by_pulse([other, bright], 1.0)) == (1 if same else 2)


@pytest.mark.parametrize(
    "odd",
    [
        {"width": 0.0},
        {"width": 1e10},
        {"nu_GHz": 0.0},
        {"nu_GHz": 1e-300},
        {"nchan": None},
        {"nchan": 2**53, "delta_nu_MHz": 1e9},
        {"delta_nu_MHz": 0.0},
        {"snr": 0.0},
    ],
)
def test_odd_numbers_of_other_programs(odd: dict[str, Any]) -> None:
    first, other = at(1, 5.0, 300.0), replace(at(2, 5.0, 3000.0), **odd)
    assert 1 <= len(by_pulse([first, other], 1.0)) <= 2
    for one, two in ((first, other), (other, first)):
        known = KnownPulses(1.0)
        known.add(one, test=False)
        known.find(two, test=False)


def test_one_source_is_one_pulse() -> None:
    found = {"name": "frb", "src_name": "FRB 1"}
    triggers = [
        replace(at(n, 5.0, 300.0, **found), dm_cluster=dm) for n, dm in ((1, 290.0), (2, 312.0))
    ]
    assert len(by_pulse(triggers, 1.0)) == 1


def test_what_joins_a_pulse_is_near_its_strongest() -> None:
    triggers = [
        at(1, 5.0, 308.0, snr=20.0),
        at(2, 5.1, 300.0, snr=50.0),
        at(3, 5.2, 293.0, snr=20.0),
        at(4, 5.1, 600.0, snr=30.0),
    ]
    assert [[one.window for one in group] for group in by_pulse(triggers, 1.0)] == [[1, 2, 3], [4]]


def test_pulses_that_the_version_before_kept_are_known() -> None:
    """It kept no DM: all that arrives so near is of it, as it was then."""
    known = KnownPulses(1.0, [convert([START + 5, "190518009/9/4", False], TriggeredPulse)])
    assert known.find(at(1, 5.5, 300.0), test=False)
    assert not known.find(at(1, 6.5, 300.0), test=False)
    known.add(at(2, 20.0, 300.0), test=False)
    again = KnownPulses(1.0, convert(unpack(pack(known.to_plain())), list[TriggeredPulse]))
    assert again.to_plain()[0] == [START + 5, "190518009/9/4", False]
    assert again.find(at(1, 5.5, 900.0), test=False)
    assert not again.find(at(1, 20.0, 900.0), test=False)


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
        known = KnownPulses(interval)
        for number, (one, kind) in numbered:
            known.add(trigger(number, one), test=kind)
        again = KnownPulses(interval, convert(unpack(pack(known.to_plain())), list[TriggeredPulse]))
        for each in (known, again):
            found = each.find(trigger(1000, seconds), test=test)
            assert (found.identity in expected) if found else not expected
        chance.shuffle(numbered)


@pytest.mark.parametrize("test", [False, True])
def test_a_test_hides_no_observation_and_none_the_other_way_round(test: bool) -> None:
    known = KnownPulses(1.0)
    known.add(trigger(1, 5.0), test=test)
    assert known.find(trigger(2, 5.5), test=not test) is None
    found = known.find(trigger(2, 5.5), test=test)
    assert found
    assert (found.arrival, found.identity, found.test) == (START + 5, "190518009/1/4", test)


def test_the_last_ones_are_known() -> None:
    known = KnownPulses(0.5)
    for number in range(KEPT + 1):
        known.add(trigger(number, 10.0 * number), test=False)
    assert len(known.to_plain()) == KEPT
    assert known.find(trigger(1, 0.0), test=False) is None
    for number in (1, KEPT):
        found = known.find(trigger(-1, 10.0 * number + 0.5), test=False)
        assert found
        assert found.identity == f"190518009/{number}/4"


def test_tests_and_injections_have_no_burst_forgotten() -> None:
    known = KnownPulses(0.5)
    known.add(trigger(1, 5.0), test=False)
    for number in range(2, KEPT + 3):
        known.add(trigger(number, 10.0 * number), test=True)
        known.add(replace(trigger(number, 10.0 * number), injection=True), test=True)
    assert known.find(trigger(-1, 5.0), test=False)
    assert len(known.to_plain()) == 1 + 2 * KEPT_OTHERS
