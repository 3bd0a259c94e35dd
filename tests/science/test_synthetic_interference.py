"""Generated interference: reproducible, in the data's bounds, and each of its kind."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.observed_interference import OBSERVED_KINDS
from simulator.synthetic_interference import KINDS, NO_DATA, log_uniform

ALL_KINDS = {**KINDS, **OBSERVED_KINDS}

N_CHANNELS, N_SAMPLES, TSAMP = 48, 3000, 3.3e-4


def added(kind: str, seed: int) -> np.ndarray:
    rows = np.random.default_rng(99).standard_normal((N_CHANNELS, N_SAMPLES), dtype=np.float32)
    before = rows.copy()
    ALL_KINDS[kind](rows, TSAMP, np.random.default_rng(seed))
    assert rows.shape == before.shape
    assert np.isfinite(rows).all()
    return rows - before


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_the_same_seed_gives_the_same(kind: str) -> None:
    found = [added(kind, seed) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(found[0], found[1])
    if kind == "noise":
        assert not found[0].any()
    else:
        assert (found[0] != found[2]).any()


@pytest.mark.parametrize(
    "kind", ["narrow_band_steady", "narrow_band_periodic", "narrow_band_bursts"]
)
def test_narrow_bands_leave_channels_alone(kind: str) -> None:
    touched = [added(kind, seed).any(axis=1).mean() for seed in range(20)]
    assert 0 < np.median(touched) < 0.7


@pytest.mark.parametrize("kind", ["impulses", "radar"])
def test_impulses_are_at_dm_0(kind: str) -> None:
    """Where all channels get something, they get the same shape: the rows are of rank 1."""
    for seed in range(10):
        values = np.linalg.svd(added(kind, seed), compute_uv=False)
        rank = np.count_nonzero(values > 1e-4 * values[0])
        assert rank <= 5 if kind == "impulses" else rank == 1


def test_radar_is_regular() -> None:
    series = added("radar", 8).sum(axis=0)
    spectrum = np.abs(np.fft.rfft(series - series.mean())) ** 2
    assert spectrum.max() > 20 * np.median(spectrum)


def test_sweeps_come_at_other_times_in_other_channels() -> None:
    rows = added("sweeps", 3)
    firsts = {int(np.argmax(row)) for row in rows if row.any()}
    assert len(firsts) > 5


def test_dropouts_have_no_data() -> None:
    assert all(added("dropouts", seed).min() < -90 for seed in range(5))


def test_saturation_goes_beyond_the_data() -> None:
    assert max(added("saturation", seed).max() for seed in range(5)) > 50


def test_aircraft_are_in_few_channels_and_strong() -> None:
    rows = [added("aircraft", seed) for seed in range(20)]
    assert 0 < np.median([row.any(axis=1).mean() for row in rows]) < 0.5
    assert max(row.max() for row in rows) > 20


def test_chirps_are_regular_and_late_from_channel_to_channel() -> None:
    rows = added("chirped_radar", 3)
    used = rows[rows.any(axis=1)]
    firsts = [int(np.flatnonzero(row)[0]) for row in used]
    steps = np.diff(firsts)
    assert len({step > 0 for step in steps if step}) <= 2
    spectrum = np.abs(np.fft.rfft(used[0] - used[0].mean())) ** 2
    assert spectrum.max() > 20 * np.median(spectrum)


def test_the_common_level_is_common() -> None:
    """All channels have one shape: the rows are of rank 1."""
    for seed in range(5):
        values = np.linalg.svd(added("common_level", seed), compute_uv=False)
        assert np.count_nonzero(values > 1e-3 * values[0]) == 1


def test_a_receiver_stops_for_good() -> None:
    for seed in range(5):
        rows = np.zeros((N_CHANNELS, N_SAMPLES), dtype=np.float32)
        ALL_KINDS["receiver_stops"](rows, TSAMP, np.random.default_rng(seed))
        ends = rows[:, 0] == NO_DATA, rows[:, -1] == NO_DATA
        assert ends[0].all() != ends[1].all()
        # One change from data to none, or back.
        assert np.count_nonzero(np.diff((rows[0] == NO_DATA).astype(int))) == 1


def test_blocks_are_repeated() -> None:
    rows = np.random.default_rng(9).standard_normal((N_CHANNELS, N_SAMPLES), dtype=np.float32)
    assert len(np.unique(rows[0])) > 0.99 * N_SAMPLES
    ALL_KINDS["repeated_blocks"](rows, TSAMP, np.random.default_rng(1))
    assert min(len(np.unique(row)) for row in rows) < 0.99 * N_SAMPLES


def test_log_uniform() -> None:
    rng = np.random.default_rng(5)
    drawn = [log_uniform(rng, 1, 100) for _ in range(2000)]
    assert min(drawn) >= 1
    assert max(drawn) <= 100
    assert np.median(drawn) == pytest.approx(10, rel=0.15)
