"""Sums that trial DMs share, beside sums of every channel on its own; boxcars, beside numpy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.science.boxcar_search import boxcar_steps, find_strongest, pulse_widths
from darc.science.dedispersion import Band
from darc.science.dedispersion_tree import SubbandSums, Tree
from darc.science.reused_memory import ReusedMemory
from darc.science.single_pulse import dm_stages

#: Deviation of a series.
NOISE = 64

REACH = 400
#: Of a sample of a pulse: a multiple of what sums are divided by, so that nothing is rounded.
LEVEL = 64


def dedispersed(
    rows: np.ndarray, late: np.ndarray, dms: np.ndarray, reach: int, level: int = LEVEL
) -> np.ndarray:
    """By the tree, in units of `level`."""
    tree, memory = Tree.of(late), (ReusedMemory(), ReusedMemory())
    rows = (rows * level).astype(np.int16)
    assert rows.max() <= tree.highest
    sums = SubbandSums(rows, tree, dms, reach, memory)
    found = np.full((len(dms), reach), np.nan, np.float32)
    for group in range(len(sums.groups)):
        for first, series in sums.series(group):
            found[first : first + len(series)] = series * (2.0**tree.shift / level)
        trial, middle = sums.middle_series(group)
        assert sums.groups[group][0] <= trial < sums.groups[group][1]
        assert middle.shape == (reach,)
    return found


@pytest.mark.parametrize("n_channels", [1, 3, 16, 100, 512])
@pytest.mark.parametrize("low", [0.0, 40.0, 300.0])
def test_a_pulse_is_as_strong_as_in_plain_sums(n_channels: int, low: float) -> None:
    band = Band(1220.0, 300.0 / n_channels, n_channels)
    late = band.delays([1.0])[0] / 2.5e-4
    dms = dm_stages(band, 2.5e-4, low, low + 30)[0].dms
    random, width = np.random.default_rng(1), 4
    for trial in random.integers(0, len(dms), 3).tolist():
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
    sums, best = np.concatenate(([0], np.cumsum(series[:valid], dtype=np.int64))), {}
    for width, step in zip(widths.tolist(), boxcar_steps(widths).tolist(), strict=True):
        if valid - width + 1 < 64:
            continue
        snrs = (sums[width:] - sums[:-width])[:n_out:step] / (NOISE * np.sqrt(width))
        for place in np.flatnonzero(snrs >= snr_min).tolist():
            cell = place * step // 32
            best[cell] = max(best.get(cell, 0.0), float(snrs[place]))
    return best


@given(
    seed=st.integers(0, 1000),
    longest=st.sampled_from([1, 32, 90, 800]),
    length=st.integers(1, 21_000),
    missing=st.integers(0, 500),
    dtype=st.sampled_from([np.int16, np.int32]),
    drift=st.sampled_from([0, 1, 20]),
)
def test_the_strongest_boxcars_are_numpy_s(
    seed: int, longest: int, length: int, missing: int, dtype: type, drift: int
) -> None:
    """With a drift, the running sums need more than 16 bits."""
    random = np.random.default_rng(seed)
    series = np.rint(random.normal(drift, NOISE, (1, length))).astype(dtype)
    place = int(random.integers(0, length))
    series[0, place : place + int(random.integers(1, 100))] += 2 * NOISE
    widths, n_out = pulse_widths(longest), max(1, length - missing)
    valid = np.array([max(0, length - missing // 2)])
    means, sigmas = np.zeros((len(widths), 1)), NOISE * np.sqrt(widths)[:, np.newaxis]
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
        box = series[0, start : start + width].sum() / (NOISE * np.sqrt(width))
        assert snr == pytest.approx(box, rel=1e-3)
    assert not trials.any()


def test_long_boxcars_begin_less_often() -> None:
    widths = pulse_widths(2048)
    steps = boxcar_steps(widths)
    assert (steps[widths < 64] == 1).all()
    assert (np.diff(steps) >= 0).all()
    assert (widths % steps == 0).all()
    assert (steps <= np.maximum(widths // 32, 1)).all()


def test_a_pulse_too_bright_for_16_bits_is_summed_in_32() -> None:
    band = Band(1220.0, 300.0 / 512, 512)
    late = band.delays([1.0])[0] / 2.5e-4
    rows = np.zeros((512, REACH + 100), np.float32)
    shifts = np.rint(20.0 * late).astype(int)
    for row, shift in zip(rows, shifts.tolist(), strict=True):
        row[200 + shift : 204 + shift] = 1
    for level in (LEVEL, 16 * LEVEL):
        found = dedispersed(rows, late, np.array([20.0]), REACH, level)
        assert found.sum() == pytest.approx(4 * 512)
        assert found.max() >= 0.95 * 512


@pytest.mark.parametrize("across", [0.0, 30.0])
def test_no_subband_overflows_however_many_channels_there_are(across: float) -> None:
    late = np.linspace(across, 0.0, 5000)
    tree = Tree.of(late)
    assert np.diff(tree.edges).max() <= 64
    assert tree.highest >= 511
    rows = np.full((5000, REACH + 10), tree.highest, np.int16)
    sums = SubbandSums(rows, tree, np.zeros(1), REACH, (ReusedMemory(), ReusedMemory()))
    ((_, series),) = sums.series(0)
    assert series.dtype == np.int32
    assert series[0, 0] == pytest.approx(5000 * tree.highest / 2**tree.shift, rel=1e-3)


def test_sums_of_noise_have_no_bias_and_the_noise_of_its_channels() -> None:
    rows = np.rint(np.random.default_rng(1).normal(0, 16, (1024, 20_000))).astype(np.int16)
    tree = Tree.of(np.linspace(1.0, 0.0, 1024))
    sums = SubbandSums(rows, tree, np.zeros(1), 20_000, (ReusedMemory(), ReusedMemory()))
    ((_, series),) = sums.series(0)
    assert series.dtype == np.int16
    expected = rows.sum(axis=0) / 2**tree.shift
    assert series[0].std() == pytest.approx(expected.std(), rel=0.002)
    assert series[0].mean() == pytest.approx(expected.mean(), abs=0.1)


def test_memory_is_used_again_and_grows() -> None:
    memory = ReusedMemory()
    first = memory.array((3, 4), np.dtype(np.float32))
    assert first.shape == (3, 4)
    first[:] = 1
    assert np.shares_memory(first, memory.array((5,), np.dtype(np.uint8)))
    assert memory.array((100, 100), np.dtype(np.float32)).shape == (100, 100)
