"""Sums that trial DMs share, beside sums of every channel on its own; boxcars, beside numpy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.science.boxcar_search import boxcar_steps, find_strongest, pulse_widths
from darc.science.dedispersion import Band
from darc.science.dedispersion_tree import SubbandSums, Tree
from darc.science.downsample import downsample_in_place, downsample_time
from darc.science.reused_memory import ReusedMemory
from darc.science.single_pulse import dm_stages

REACH = 400


def dedispersed(rows: np.ndarray, late: np.ndarray, dms: np.ndarray, reach: int) -> np.ndarray:
    """By the tree."""
    sums = SubbandSums(rows, Tree.of(late), dms, reach, (ReusedMemory(), ReusedMemory()))
    found = np.full((len(dms), reach), np.nan, np.float32)
    for group in range(len(sums.groups)):
        for first, series in sums.series(group):
            found[first : first + len(series)] = series
        trial, middle = sums.middle_series(group)
        assert sums.groups[group][0] <= trial < sums.groups[group][1]
        assert np.isfinite(middle).all()
    return found


@pytest.mark.parametrize("n_channels", [1, 3, 16, 100, 512])
@pytest.mark.parametrize("low", [0.0, 40.0, 300.0])
def test_a_pulse_is_as_strong_as_in_plain_sums(n_channels: int, low: float) -> None:
    band = Band(1220.0, 300.0 / n_channels, n_channels)
    late = band.delays([1.0])[0] / 2.5e-4
    dms = dm_stages(band, 2.5e-4, low, low + 30)[0].dms
    random, width = np.random.default_rng(1), 4
    for trial in random.integers(0, len(dms), 5).tolist():
        shifts = np.rint(dms[trial] * late).astype(int)
        rows = np.zeros((n_channels, REACH + int(shifts.max()) + 200), np.float32)
        for row, shift in zip(rows, shifts.tolist(), strict=True):
            row[200 + shift : 200 + shift + width] = 1
        found = dedispersed(rows, late, dms, REACH)
        assert found.sum(axis=1) == pytest.approx(n_channels * width)
        boxes = np.convolve(found[trial], np.ones(width), "valid")
        # Delays are rounded three times, and trials share sums up to two samples apart.
        assert boxes.max() >= 0.85 * n_channels * width
        assert abs(int(boxes.argmax()) - 200) <= 1


def test_where_the_data_end_what_is_there_is_summed() -> None:
    band = Band(1220.0, 3.0, 100)
    late = band.delays([1.0])[0] / 2.5e-4
    found = dedispersed(np.ones((100, 500), np.float32), late, np.array([400.0]), REACH)[0]
    expected = [np.sum(np.rint(400 * late) + t < 500) for t in range(REACH)]
    assert np.abs(found - expected).max() <= 3
    assert found[-1] < found[0] < 100


def plain_strongest(
    series: np.ndarray, valid: int, widths: np.ndarray, n_out: int, snr_min: float
) -> dict[int, float]:
    """The highest S/N of each cell of 32 samples, of white noise of deviation 1."""
    sums, best = np.concatenate(([0.0], np.cumsum(series[:valid], dtype=float))), {}
    for width, step in zip(widths.tolist(), boxcar_steps(widths).tolist(), strict=True):
        if valid - width + 1 < 64:
            continue
        snrs = (sums[width:] - sums[:-width])[:n_out:step] / np.sqrt(width)
        for place in np.flatnonzero(snrs >= snr_min).tolist():
            cell = place * step // 32
            best[cell] = max(best.get(cell, 0.0), float(snrs[place]))
    return best


@given(
    seed=st.integers(0, 1000),
    longest=st.sampled_from([1, 32, 90, 800]),
    length=st.integers(1, 21_000),
    missing=st.integers(0, 500),
)
def test_the_strongest_boxcars_are_numpy_s(
    seed: int, longest: int, length: int, missing: int
) -> None:
    random = np.random.default_rng(seed)
    series = random.standard_normal((1, length)).astype(np.float32)
    place = int(random.integers(0, length))
    series[0, place : place + int(random.integers(1, 100))] += 2
    widths, n_out = pulse_widths(longest), max(1, length - missing)
    valid = np.array([max(0, length - missing // 2)])
    means, sigmas = np.zeros((len(widths), 1)), np.sqrt(widths)[:, np.newaxis].astype(float)
    trials, starts, found_widths, snrs = find_strongest(
        series, valid, widths, boxcar_steps(widths), n_out, means, sigmas, 3.5
    )
    expected = plain_strongest(series[0], int(valid[0]), widths, n_out, 3.5)
    found = dict(zip((starts // 32).tolist(), snrs.tolist(), strict=True))
    near_limit = {cell for cell, snr in (expected | found).items() if snr < 3.501}
    assert found.keys() - near_limit == expected.keys() - near_limit
    for cell in found.keys() - near_limit:
        assert found[cell] == pytest.approx(expected[cell], rel=1e-3)
    for start, width, snr in zip(starts, found_widths, snrs, strict=True):
        box = series[0, start : start + width].sum() / np.sqrt(width)
        assert snr == pytest.approx(box, rel=1e-3)
    assert not trials.any()


def test_long_boxcars_begin_less_often() -> None:
    widths = pulse_widths(2048)
    steps = boxcar_steps(widths)
    assert (steps[widths < 64] == 1).all()
    assert (np.diff(steps) >= 0).all()
    assert (widths % steps == 0).all()
    assert (steps <= np.maximum(widths // 32, 1)).all()


@given(st.integers(0, 100), st.sampled_from([1, 2, 4, 8, 32]))
def test_downsampling_in_place_is_downsampling(length: int, factor: int) -> None:
    rows = np.random.default_rng(length).standard_normal((3, length)).astype(np.float32)
    expected = downsample_time(rows.copy(), factor)
    assert downsample_in_place(rows, factor) == pytest.approx(expected, abs=1e-6)


def test_a_factor_that_is_no_power_of_two_is_said() -> None:
    with pytest.raises(ValueError, match="by 6 in place"):
        downsample_in_place(np.zeros((1, 12), np.float32), 6)


def test_memory_is_used_again_and_grows() -> None:
    memory = ReusedMemory()
    first = memory.floats(3, 4)
    assert first.shape == (3, 4)
    first[:] = 1
    assert np.shares_memory(first, memory.array((5,), np.dtype(np.uint8)))
    assert memory.floats(100, 100).shape == (100, 100)
