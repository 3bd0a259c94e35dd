"""What is beyond a jump, or was not recorded, changes nothing of a pulse, whatever the bits."""

from __future__ import annotations

import numpy as np
import pytest
from extraction_settings import PER_CHANNEL
from msgspec.structs import replace

from darc.science.cleaned_channels import CleanedChannels
from darc.science.dedispersion import Band
from darc.science.extraction import Extraction, extract
from darc.science.extraction_plan import ExtractionPlan, plan_extraction
from darc.science.mending import even_out_noise, mend
from simulator.synthetic_pulse import synthetic_pulse

SETTINGS = replace(PER_CHANNEL, clean_type="isolated", nfreq=32)
N, TSAMP, DM = 64, 1e-3, 100.0
BAND = Band(f_lowest=1200.0, channel_width=4.0, n_channels=N)
#: Of numbers of few bits.
TWO_LEVELS = 2.0


def plan_of(width: int, dm: float = DM) -> ExtractionPlan:
    return plan_extraction(
        BAND, TSAMP, dm=dm, width=width, time=40 * width * TSAMP, settings=SETTINGS
    )


def stretch(plan: ExtractionPlan, snr: float, width: int, seed: int = 1) -> np.ndarray:
    """Noise of unit deviation with a pulse in it, shape (count, N)."""
    pulse = synthetic_pulse(
        BAND, TSAMP, dm=DM, width=width, arrival=plan.arrival - plan.start, n_samples=plan.count
    )
    noise = np.random.default_rng(seed).standard_normal((plan.count, N))
    return noise + snr / np.sqrt(width * N) * pulse.T


def measured(data: np.ndarray, plan: ExtractionPlan) -> Extraction:
    return extract(data, plan, SETTINGS, descending=False)


def one_bit(data: np.ndarray) -> np.ndarray:
    return (data > 0).astype(np.uint8)


def test_noise_beyond_a_jump_becomes_that_of_the_pulse():
    rows = np.random.default_rng(1).standard_normal((2, 4000)).astype(np.float32)
    rows[:, 1500:] *= 3
    before = rows.copy()
    even_out_noise(rows, np.array([1500.0]), np.array([100, 3000]), 0.0)
    assert (rows[0, :1500] == before[0, :1500]).all()
    assert (rows[1, 1500:] == before[1, 1500:]).all()
    assert rows[0, 1500:].std() == pytest.approx(1.0, rel=0.1)
    assert rows[1, :1500].std() == pytest.approx(3.0, rel=0.1)


def test_the_same_noise_on_both_sides_stays_as_it_is():
    rows = np.random.default_rng(1).standard_normal((50, 4000)).astype(np.float32)
    before = rows.copy()
    even_out_noise(rows, np.array([300.0]), np.full(50, 2000), 0.0)
    assert (rows == before).all()


def test_levels_of_few_bits_are_the_same_on_both_sides_of_a_jump():
    """With 1 of 50 numbers 0, and no others, these are no outliers."""
    rows = np.random.default_rng(1).random((1, 8000))
    rows = np.where(np.arange(8000) < 4000, rows < 0.5, rows < 0.98).astype(np.float32)
    mend(rows, 1.0, np.zeros(8000, np.bool_), np.array([4000.0]), 2.0, np.random.default_rng(1))
    assert rows[0, :4000].mean() == pytest.approx(rows[0, 4000:].mean(), abs=1e-3)


def test_a_strong_pulse_is_not_in_the_level_of_a_gap():
    rows = np.random.default_rng(1).standard_normal((1, 4000)).astype(np.float32)
    rows[0, 2000:2050] += 1000.0
    gap = np.zeros(4000, np.bool_)
    gap[500:1500] = True
    mend(rows, np.inf, gap, np.empty(0), 0.0, np.random.default_rng(1))
    assert rows[0, 500:1500].mean() == pytest.approx(0.0, abs=0.2)


def test_noise_of_a_gap_is_each_channels_own_and_stays_noise():
    """At DM 0 it is no more than that beside; and none of it becomes the zeros that were there."""
    plan = plan_of(40)
    data = np.clip(100 + 10 * stretch(plan, 0.0, 40), 1, 255).astype(np.uint8)
    data[300:400] = 0
    cleaned = CleanedChannels(data, plan, SETTINGS, descending=False, mask=None)
    rows = np.concatenate([rows.copy() for _, rows in cleaned.rows()])
    assert len(rows) == N
    assert rows.min() > 40
    assert rows[:, 300:400].sum(axis=0).std() == pytest.approx(10 * np.sqrt(N), rel=0.2)


@pytest.mark.parametrize("level", [-2.0, 0.0, 2.0])
def test_few_bits_may_have_any_level(level):
    """Where nearly all numbers are the same, the others are no outliers."""
    width = 40
    plan = plan_of(width)
    data = one_bit(stretch(plan, 1000.0, width) + level)
    alone = one_bit(np.random.default_rng(2).standard_normal((100_000, 1)) + level)
    # The pulse makes all of them 1.
    expected = (1 - alone.mean()) / alone.std() * np.sqrt(width * N)
    found = measured(data, plan)
    assert found.snr == pytest.approx(expected, rel=0.15)
    assert found.best_dm == pytest.approx(DM, abs=2 * (plan.dms[1] - plan.dms[0]))


@pytest.mark.parametrize("place", [-600, 600])
def test_a_step_of_one_bit_changes_nothing_of_a_pulse(place):
    width = 30
    plan = plan_of(width)
    data = stretch(plan, 60.0, width)
    alone = measured(one_bit(data), plan)
    edge = plan.arrival - plan.start + place
    beyond = np.arange(plan.count) < edge if place < 0 else np.arange(plan.count) >= edge
    data[beyond] += 2.0
    assert measured(one_bit(data), plan).snr == pytest.approx(alone.snr, rel=0.1)


def test_the_best_snr_is_that_of_the_best_dm_where_trials_are_close():
    """A search's trial is half a bin off; the candidate's own are closer."""
    width = 100
    across = np.ptp(BAND.delays([1.0])) / TSAMP
    plan = plan_of(width, DM + 0.5 * width / across)
    found = measured(stretch(plan, 60.0, width).astype(np.float32), plan)
    assert found.snr_best == pytest.approx(60.0, rel=0.06)
    assert found.snr < 0.97 * found.snr_best


def test_the_best_snr_is_that_of_the_best_width():
    """The S/N prescribed is that of 250 samples at most. (No step divides a prime number.)"""
    width = 601
    plan = replace(plan_of(width), pre=1, post=width)
    found = measured(stretch(plan, 60.0, width).astype(np.float32), plan)
    assert found.snr_best == pytest.approx(60.0, rel=0.06)
    assert found.snr == pytest.approx(60.0 * np.sqrt(250 / width), rel=0.06)
