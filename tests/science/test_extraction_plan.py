"""Which stretch of data a pulse needs."""

from __future__ import annotations

import math

import pytest
from extraction_settings import PER_CHANNEL
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from darc.science.dedispersion import Band
from darc.science.dispersion import delay
from darc.science.extraction_plan import ExtractionPlan, plan_extraction

ARTS = Band(f_lowest=1219.70092773, channel_width=300 / 1536, n_channels=1536)
TSAMP = 81.92e-6
SETTINGS = PER_CHANNEL


def plan(dm: float, width: int, time: float = 100.0) -> ExtractionPlan:
    return plan_extraction(ARTS, TSAMP, dm=dm, width=width, time=time, settings=SETTINGS)


def test_at_arts():
    made = plan(dm=1000.0, width=10)
    assert (made.pre, made.post, made.bin_samples) == (1, 10, 10)
    assert made.dms[32] == pytest.approx(1000)
    halfrange = 10 + 5 * 0.8192 + 1000 / 100
    assert made.dms[0] == pytest.approx(1000 - halfrange)
    assert made.dms[63] == pytest.approx(1000 + halfrange * 31 / 32)
    assert made.arrival == round(100 / TSAMP)
    assert made.start == made.arrival - 320
    longest = delay(float(made.dms[63]), 1219.70092773, ARTS.f_reference) / TSAMP
    assert made.count == pytest.approx(640 + longest, abs=1)
    assert made.end == made.start + made.count


@pytest.mark.parametrize(
    ("dm", "width", "pre", "post"),
    [
        (0, 1, 1, 1),
        (1000, 1, 1, 1),
        (3000, 1, 5, 1),
        (3000, 50, 5, 10),
        (3000, 54, 5, 10),
        (3000, 1000, 5, 200),
    ],
)
def test_downsampling(dm, width, pre, post):
    made = plan(dm, width)
    smearing = 2 * 4.148808e3 * dm * (300 / 1536) / 1369.60327**3
    assert made.pre == max(1, math.trunc(smearing / TSAMP / 4)) == pre
    assert made.post == post


def test_trials_below_zero_move_up():
    made = plan(dm=5.0, width=10)
    assert made.dms[0] == 0
    halfrange = 10 + 5 * 0.8192 + 0.05
    assert made.dms[63] == pytest.approx(2 * halfrange * 63 / 64)


@given(st.floats(0, 10_000), st.integers(1, 1000), st.floats(0, 1000))
def test_every_trial_finds_its_data(dm, width, time):
    made = plan(dm, width, time)
    rows = made.count // made.pre
    shifts = ARTS.shifts(made.dms, made.pre * TSAMP)
    assert rows * made.pre == made.count
    assert shifts.max() + 64 * made.post == rows
    assert 0 <= made.start <= made.arrival < made.start + 64 * made.bin_samples
    assert (made.dms >= 0).all()


def test_the_beginning_of_a_file():
    assert plan(dm=100.0, width=10, time=0.01).start == 0


def test_within_a_file():
    made = plan(dm=1000.0, width=10)
    unchanged = made.within(made.end)
    assert (unchanged.start, unchanged.count) == (made.start, made.count)
    moved = made.within(made.end - 100)
    assert (moved.start, moved.count) == (made.start - 100, made.count)
    # The pulse stays in the bins.
    cut = made.within(made.arrival + 1)
    assert cut.start == made.arrival - 62 * 10
    assert cut.end == made.arrival + 1
    with pytest.raises(ValueError, match=f"sample {made.arrival} is behind the 100 samples"):
        made.within(100)


@given(st.floats(0, 10_000), st.integers(1, 1000), st.floats(0, 10), st.integers(1, 200_000))
def test_within_any_file(dm, width, time, n_samples):
    made = plan(dm, width, time)
    if made.arrival >= n_samples:
        with pytest.raises(ValueError, match="is behind"):
            made.within(n_samples)
        return
    found = made.within(n_samples)
    assert 0 <= found.start < found.end <= n_samples
    assert found.start <= found.arrival < found.start + 63 * found.bin_samples
    assert found.count <= made.count
    if found.count < made.count:
        assert found.end == n_samples
    assert replace(found, start=made.start, count=made.count, dms=made.dms).post == made.post


@pytest.mark.parametrize(
    "wrong",
    [
        {"dm": -1.0},
        {"dm": math.nan},
        {"dm": math.inf},
        {"width": 0},
        {"time": -1.0},
        {"time": math.nan},
        {"time": math.inf},
    ],
)
def test_no_pulse(wrong):
    with pytest.raises(ValueError, match="no pulse: DM "):
        plan(**{"dm": 100.0, "width": 10, "time": 1.0} | wrong)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (
            {"clean_type": "perchanel"},
            "clean_type: 'perchanel'; allowed: isolated, time, frequency, both",
        ),
        ({"ntime": 0}, "ntime: 0; allowed: at least 1"),
        ({"ndm": -1}, "ndm: -1"),
    ],
)
def test_settings_that_mean_nothing(wrong, words):
    with pytest.raises(ValueError, match=words):
        replace(SETTINGS, **wrong)
