"""Channels as integers of 16 bits, beside numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.science.baseline import LevelWindow
from darc.science.downsample import downsample_time
from darc.science.search_levels import LEVELS, downsample_levels, put_levels


def written(rows: np.ndarray, deviation: float = 1.0) -> np.ndarray:
    out = np.full(rows.shape, 99, np.int16)
    put_levels(rows.astype(np.float32), out, np.random.default_rng(1), deviation)
    return out


@given(st.integers(0, 100), st.integers(1, 300), st.sampled_from([0.25, 1.0]))
def test_levels_are_sixteenths_of_a_deviation_from_the_mean(
    seed: int, length: int, deviation: float
) -> None:
    rows = np.random.default_rng(seed).normal(3, deviation, (3, length)).astype(np.float32)
    expected = LEVELS / deviation * (rows - rows.mean(axis=1, keepdims=True, dtype=float))
    assert np.abs(written(rows, deviation) - expected).max() <= 1.002


def test_missing_data_are_noise_and_a_channel_without_any_is_0() -> None:
    rows = np.random.default_rng(2).normal(0, 1, (3, 10_000))
    rows[0, 2000:8000] = np.nan
    rows[1] = np.nan
    out = written(rows)
    assert out[0, 2000:8000].std() == pytest.approx(LEVELS, rel=0.05)
    assert abs(out[0, 2000:8000].mean()) < 1
    assert not out[1].any()
    assert np.abs(out[0, :2000] - LEVELS * rows[0, :2000]).max() < 2


@given(st.integers(0, 100), st.floats(0.01, 0.2))
def test_data_of_two_values_are_not_all_rounded_to_one_side(seed: int, part: float) -> None:
    ones = np.random.default_rng(seed).random((64, 4096)) < part
    rows = ((ones - part) / np.sqrt(part * (1 - part))).astype(np.float32)
    exact = LEVELS * (rows - rows.mean(axis=1, keepdims=True, dtype=float))
    for value in (False, True):  # the sum over channels and many samples is right
        wrong = (written(rows) - exact)[ones == value]
        assert abs(wrong.mean()) < 6 * np.sqrt(1 / 6 / wrong.size)


def test_what_is_beyond_16_bits_is_the_highest() -> None:
    rows = np.zeros((1, 1000))
    rows[0, 3], rows[0, 4] = 1e6, -1e6
    rows[0, 5] = 1e6
    out = written(rows)
    assert (out[0, 3], out[0, 4], out[0, 5]) == (32767, -32767, 32767)


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
@pytest.mark.parametrize("length", [4000, 4007])
def test_downsampled_channels_are_normalised_anew(factor: int, length: int) -> None:
    rows = np.rint(LEVELS * np.random.default_rng(3).normal(0, 1, (40, length))).astype(np.int16)
    rows[7] = 0
    expected = downsample_time(rows.astype(np.float32), factor) * np.sqrt(factor)
    memory = rows
    found, varies = downsample_levels(rows, factor, LevelWindow.of_search(32))
    assert found.shape == (40, length // factor)
    assert np.shares_memory(found, memory)
    assert varies.tolist() == [number != 7 for number in range(40)]
    for row, other in zip(found[varies], expected[varies], strict=True):
        assert np.corrcoef(row, other)[0, 1] > 0.995
        assert row.std() == pytest.approx(LEVELS, rel=0.1)
    assert not found[7].any()
