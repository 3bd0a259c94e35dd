"""Probabilities of sources: by hand, by properties, and against candidates that are drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.model.sources import Source
from darc.science.source_match import Measured, Unlisted, probabilities

longitudes, latitudes = st.floats(0, 359.9), st.floats(-89, 89)
FIELD = Unlisted(area=1.0, dm_range=1000.0)


def source(name: str, dm: float, ra: float = 30.0, dec: float = 40.0) -> Source:
    return Source(name, "frb", dm, (ra, dec))


def test_by_hand() -> None:
    measured = Measured(30.0, 40.0, 0.1, 500.0, 3.0)
    found = probabilities(measured, [source("A", 500.0)], FIELD, spread=4.0)
    odds = 1000 / (2 * math.pi * 0.01) / (5 * math.sqrt(2 * math.pi))
    assert found == {"A": pytest.approx(odds / (1 + odds))}


@given(
    st.lists(st.tuples(longitudes, latitudes, st.floats(0, 3000)), max_size=5), st.floats(0.1, 10)
)
def test_they_add_up_to_one_at_most(places: list[tuple[float, float, float]], ratio: float) -> None:
    listed = [source(str(n), dm, ra, dec) for n, (ra, dec, dm) in enumerate(places)]
    listed.append(Source("nowhere", "pulsar", 10.0, None))
    found = probabilities(Measured(30, 40, 0.2, 400, 2), listed, Unlisted(2, 3000, ratio))
    assert len(found) == len(places)
    assert 0 <= sum(found.values()) <= 1 + 1e-12
    assert list(found.values()) == sorted(found.values(), reverse=True)


@given(st.floats(0, 2), st.floats(0, 2), st.floats(0, 30), st.floats(0, 30))
def test_who_is_farther_off_is_less_probable(
    near: float, more: float, dm_off: float, dm_more: float
) -> None:
    measured = Measured(30, 40, 0.5, 500, 5)
    (here,) = probabilities(measured, [source("A", 500 + dm_off, dec=40 + near)], FIELD).values()
    (there,) = probabilities(
        measured, [source("A", 500 + dm_off + dm_more, dec=40 + near + more)], FIELD
    ).values()
    assert there <= here + 1e-12


@pytest.mark.parametrize("field", [{"area": 0.0}, {"dm_range": -1.0}, {"ratio": math.nan}])
def test_nonsense_is_refused(field: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="allowed: above 0"):
        Unlisted(**({"area": 1.0, "dm_range": 1.0} | field))
    with pytest.raises(ValueError, match="allowed: above 0"):
        Measured(0, 0, 0, 10, 1)


@pytest.mark.parametrize("ratio", [0.2, 1.0])
def test_of_those_with_a_probability_so_many_are(ratio: float) -> None:
    """Candidates drawn under the assumptions: calibrated in each tenth of probability."""
    rng = np.random.default_rng(7)
    side, dm_high, spread, n = 4.0, 800.0, 1.0, 40_000
    listed = [
        source(f"S{k}", dm, 100 + ra, dec)
        for k, (ra, dec, dm) in enumerate(
            [(0, 0, 300.0), (0.3, 0.1, 305.0), (-0.6, 0.5, 300.0), (0.9, -0.8, 420.0)]
        )
    ]
    weights = np.array([1.0, *[ratio] * len(listed)])
    truths = rng.choice(len(weights), n, p=weights / weights.sum()) - 1
    field = Unlisted(side**2, dm_high, ratio)
    said: list[float] = []
    true: list[bool] = []
    for truth in truths:
        # Measured differently well.
        error, dm_error = rng.uniform(0.1, 0.4), rng.uniform(1, 20)
        if truth < 0:
            ra, dec = rng.uniform(-side / 2, side / 2, 2)
            dm = rng.uniform(0, dm_high)
        else:
            where = listed[truth].position
            assert where
            ra, dec = where[0] - 100 + rng.normal(0, error), where[1] + rng.normal(0, error)
            dm = listed[truth].dm + rng.normal(0, math.hypot(dm_error, spread))
        found = probabilities(Measured(100 + ra, dec, error, dm, dm_error), listed, field, spread)
        for k, one in enumerate(listed):
            said.append(found[one.name])
            true.append(bool(truth == k))
    of, came = np.array(said), np.array(true)
    for low in np.arange(0, 1, 0.1):
        inside = (of >= low) & (of < low + 0.1)
        expected, got, number = of[inside].sum(), came[inside].sum(), int(inside.sum())
        assert number > 300
        deviation = math.sqrt((of[inside] * (1 - of[inside])).sum())
        assert abs(got - expected) < 4 * deviation + 1
