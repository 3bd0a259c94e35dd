"""What stands out stays where it belongs to a pulse, and goes where it does not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from extraction_settings import PER_CHANNEL
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from darc.science import baseline, isolated, row_statistics, time_major
from darc.science.baseline import LevelWindow, find_jumps
from darc.science.baseline_drift import without_drift
from darc.science.boxcar_search import pulse_widths
from darc.science.dedispersion import Band
from darc.science.extraction import extract, prepare
from darc.science.extraction_plan import plan_extraction
from darc.science.isolated import (
    can_tell_impulses,
    channel_noise,
    find_outliers,
    forget_impulses,
    outlier_thresholds,
    replace_isolated,
    sharp_edge,
)
from darc.science.search_levels import LEVELS
from darc.science.single_pulse import find_pulses

N, LENGTH, AT, N_OUT = 64, 4000, 1000, 640
#: The lowest channel is the latest; samples.
SHIFTS = np.rint(np.linspace(1500, 0, N)).astype(np.int64)
CHANNELS = np.arange(N)


def noise(seed: int = 1) -> np.ndarray:
    """Shape (N, LENGTH)."""
    return np.random.default_rng(seed).standard_normal((N, LENGTH)).astype(np.float32)


def with_pulse(rows: np.ndarray, height: np.ndarray, width: int) -> np.ndarray:
    rows = rows.copy()
    for row, late, high in zip(rows, SHIFTS.tolist(), height.tolist(), strict=True):
        row[AT + late : AT + late + width] += high
    return rows


def cleaned(rows: np.ndarray) -> np.ndarray:
    data = 10 * rows.T + 100
    found = np.ascontiguousarray(data.T)
    noises = channel_noise(data, CHANNELS, 3.25, LENGTH // 1024, 0.0)
    # The track begins a little before the pulse.
    track = SHIFTS + AT - 320, N_OUT
    replace_isolated(found, CHANNELS, data, CHANNELS, noises, *track, 3.25, 3, 0.0)
    return (found - 100) / 10


def on_pulse(rows: np.ndarray, width: int) -> np.ndarray:
    """Mean of each channel in the pulse."""
    return np.array(
        [r[AT + s : AT + s + width].mean() for r, s in zip(rows, SHIFTS.tolist(), strict=True)]
    )


@pytest.mark.parametrize("width", [1, 3, 40])
@pytest.mark.parametrize("height", [1.0, 3.0, 10.0, 600.0])
def test_a_pulse_stays(width, height):
    rows = with_pulse(noise(), np.full(N, height), width)
    kept = on_pulse(cleaned(rows), width)
    # Of the noise below, what is far out goes, as beside a pulse.
    assert kept.mean() == pytest.approx(on_pulse(rows, width).mean(), rel=0.03, abs=0.03)


@pytest.mark.parametrize("first", [0, 20, 48])
def test_a_pulse_in_a_quarter_of_the_band_stays(first):
    height = np.where((first <= CHANNELS) & (first + 16 > CHANNELS), 50.0, 0.0)
    rows = with_pulse(noise(), height, 2)
    assert on_pulse(cleaned(rows), 2).mean() == pytest.approx(on_pulse(rows, 2).mean(), rel=0.02)


def test_a_pulse_of_uneven_strength_loses_little():
    height = np.random.default_rng(5).exponential(100, N)
    rows = with_pulse(noise(), height, 2)
    assert on_pulse(cleaned(rows), 2).mean() > 0.9 * on_pulse(rows, 2).mean()


@pytest.mark.parametrize("height", [8.0, 100.0, 1e4])
def test_what_is_in_few_channels_goes(height):
    rows = with_pulse(noise(), np.where(np.isin(CHANNELS, [7, 30, 31]), height, 0.0), 5)
    kept = on_pulse(cleaned(rows), 5)
    assert abs(kept[[7, 30, 31]]).max() < 3.5


def test_what_is_everywhere_at_once_goes():
    rows = noise()
    rows[:, AT + 750 : AT + 760] += 20
    kept = cleaned(rows)
    assert on_pulse(kept, 10).max() < 4
    # Off the track, whatever stands out.
    assert abs(kept[:, :300]).max() < 3.5


def test_the_band_has_to_be_crossed_slowly():
    delays = SHIFTS * 1e-3
    assert can_tell_impulses(delays, 0.3)
    assert not can_tell_impulses(delays, 0.5)


def test_impulses_are_told_from_strong_pulses():
    rows = noise()
    pulse = with_pulse(rows, np.full(N, 50.0), 200)
    assert sharp_edge(SHIFTS.astype(np.float64)) == pytest.approx(300, abs=30)
    assert not forget_impulses(levels(pulse), sharp_edge(SHIFTS.astype(np.float64)))
    rows[:, 2000:2030] += 5
    found = levels(rows)
    assert forget_impulses(found, sharp_edge(SHIFTS.astype(np.float64)))
    assert abs(found[:, 2000:2030].mean()) < 1
    assert found[:, 2000:2030].std() == pytest.approx(LEVELS, rel=0.1)
    assert (found[:, :1990] == levels(rows)[:, :1990]).all()


def levels(rows: np.ndarray) -> np.ndarray:
    """As the search has them."""
    return np.clip(np.rint(LEVELS * rows), -32767, 32767).astype(np.int16)


def search(rows: np.ndarray, threshold: float | None) -> tuple[float, int]:
    """The highest S/N, and where."""
    late, dms = SHIFTS / 100.0, np.arange(80.0, 121.0)
    thresholds = None if threshold is None else np.full(N, threshold)
    found = find_pulses(levels(rows), late, dms, 2000, pulse_widths(32), 6.0, thresholds)
    if not len(found.snr):
        return 0.0, -1
    best = int(np.argmax(found.snr))
    return float(found.snr[best]), int(found.start[best])


@pytest.mark.parametrize("height", [2.0, 20.0, 300.0])
def test_the_search_finds_a_strong_pulse_as_strong(height):
    rows = with_pulse(noise(), np.full(N, height), 2)
    snr, start = search(rows, 3.25)
    assert snr == pytest.approx(search(rows, None)[0], rel=0.05)
    assert abs(start - AT) <= 1


def test_the_search_does_not_find_few_channels():
    rows = noise()
    rows[30:32, 1500] += 100
    assert search(rows, None)[0] > 14
    assert search(rows, 3.25)[0] < 6.5


def test_what_stands_out_below_goes_at_once():
    rows = np.zeros((2, 10), np.int16)
    rows[0, 3], rows[1, 4], rows[1, 5], rows[0, 4] = -9 * LEVELS, 9 * LEVELS, 52, -52
    rows[0, 5] = -51
    found = find_outliers(rows, np.full(2, 3.26), 100)
    assert (found.channels.tolist(), found.places.tolist()) == ([1], [4])
    assert rows[0].tolist() == [0, 0, 0, 0, -52, -51, 0, 0, 0, 0]
    assert rows[1].tolist() == [0, 0, 0, 0, 100, 52, 0, 0, 0, 0]


@given(st.floats(1e-3, 0.5), st.sampled_from([1, 2, 4, 8, 16, 64]))
def test_few_bits_have_no_more_outliers_than_gaussian_noise(part, factor):
    """Binomial: ones of which `part` are set, `factor` samples together."""
    sigma = math.sqrt(part * (1 - part))
    (threshold,) = outlier_thresholds(np.array([sigma]), factor, 4.25)
    least = part * factor + threshold * sigma * math.sqrt(factor)
    above = sum(
        math.comb(factor, count) * part**count * (1 - part) ** (factor - count)
        for count in range(factor + 1)
        if count > least
    )
    assert above < 1e-4


def test_noise_of_many_levels_has_the_threshold_asked_for():
    assert outlier_thresholds(np.array([0.5, 8.0, np.inf]), 1, 4.25) == pytest.approx(4.25)


def test_a_strong_pulse_is_no_jump():
    rows = with_pulse(noise(), np.full(N, 200.0), 10)
    data = np.ascontiguousarray(rows.T)
    cuts, jumps = find_jumps(data.mean(axis=1), LevelWindow.beside(10), data, CHANNELS)
    assert not len(cuts)
    assert not jumps.any()
    data = np.ascontiguousarray(noise().T)
    data[2000:] += 2
    cuts, _ = find_jumps(data.mean(axis=1), LevelWindow.beside(10), data, CHANNELS)
    assert cuts == pytest.approx([2000], abs=10)


@pytest.mark.parametrize("height", [0.0, 3.0, 300.0])
def test_a_drift_goes_and_a_pulse_stays(height):
    rows = with_pulse(noise(), np.full(N, height), 10)
    drift = 8 * np.sin(np.arange(LENGTH) / LENGTH * 7)
    data = (rows + drift * np.linspace(0.5, 2, N)[:, np.newaxis]).T.astype(np.float32)
    silent = np.zeros(LENGTH, np.bool_)
    begins = AT + SHIFTS - 20
    flat = without_drift(data.mean(axis=1), data, CHANNELS, silent, begins, 80)
    left = (flat - rows.T).mean(axis=1)
    assert np.ptp(left) < 0.2
    same = without_drift(rows.T.mean(axis=1), rows.T, CHANNELS, silent, begins, 80)
    assert np.abs(same - rows.T).max() < 0.3


def test_a_drift_is_taken_off_though_one_block_stands_out():
    """As of a hundred blocks of noise one does."""
    times = np.arange(LENGTH)
    drift = np.interp(times, [0, LENGTH], [0.0, 3.0])
    drift[2000:2032] += 0.37
    data = np.ascontiguousarray((noise() + drift).T, dtype=np.float32)
    silent, begins = np.zeros(LENGTH, np.bool_), AT + SHIFTS - 20
    flat = without_drift(data.mean(axis=1), data, CHANNELS, silent, begins, 80)
    assert abs(flat[:500].mean() - flat[-500:].mean()) < 0.2


def compiled_kinds() -> dict[str, int]:
    """For how many kinds of arrays each function is compiled."""
    modules = (isolated, baseline, time_major, row_statistics)
    functions = {f"{m.__name__}.{k}": f for m in modules for k, f in vars(m).items()}
    return {name: len(f.signatures) for name, f in functions.items() if hasattr(f, "signatures")}


def test_preparing_compiles_all_that_cleaning_needs():
    settings = replace(PER_CHANNEL, clean_type="isolated")
    prepare(np.uint8, settings)
    before = compiled_kinds()
    band = Band(f_lowest=1219.7, channel_width=4.0, n_channels=64)
    plan = plan_extraction(band, 1e-3, dm=300.0, width=10, time=1.0, settings=settings)
    data = 100 + 8 * np.random.default_rng(1).standard_normal((plan.count, 64))
    data[400:404] += 60
    drift = 40 * np.sin(np.arange(plan.count) / 150)[:, np.newaxis]
    for level in (0, drift):
        eight_bits = np.clip(data + level, 0, 255).astype(np.uint8)
        extract(eight_bits, plan, settings, descending=True)
    assert compiled_kinds() == before


@pytest.mark.parametrize("n_channels", range(1, 12))
def test_in_few_channels_noise_is_no_impulse(n_channels):
    rows = levels(np.random.default_rng(1).normal(0, 1, (n_channels, 100_000)))
    before = rows.copy()
    forget_impulses(rows, sharp_edge(300.0 * np.arange(n_channels)[::-1]))
    assert (rows[0] != before[0]).sum() < 1e-4 * rows.shape[1]
