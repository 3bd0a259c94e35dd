"""Generated interference: reproducible, in the data's bounds, and each of its kind."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.synthetic_interference import KINDS, log_uniform

N_CHANNELS, N_SAMPLES, TSAMP = 48, 3000, 3.3e-4


def added(kind: str, seed: int) -> np.ndarray:
    rows = np.random.default_rng(99).standard_normal((N_CHANNELS, N_SAMPLES), dtype=np.float32)
    before = rows.copy()
    KINDS[kind](rows, TSAMP, np.random.default_rng(seed))
    assert rows.shape == before.shape
    assert np.isfinite(rows).all()
    return rows - before


@pytest.mark.parametrize("kind", KINDS)
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


def test_log_uniform() -> None:
    rng = np.random.default_rng(5)
    drawn = [log_uniform(rng, 1, 100) for _ in range(2000)]
    assert min(drawn) >= 1
    assert max(drawn) <= 100
    assert np.median(drawn) == pytest.approx(10, rel=0.15)
