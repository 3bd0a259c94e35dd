"""Samples without information, in data of any number of bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.science.baseline import LevelWindow, take_levels
from darc.science.block_statistics import block_centres, block_means, running_median
from darc.science.silent_data import silent_moments


def bits(part: float, n_channels: int, seed: int, n_samples: int = 20_000) -> np.ndarray:
    """Ones in this part of the data."""
    random = np.random.default_rng(seed)
    return (random.random((n_samples, n_channels)) < part).astype(np.uint8)


@given(st.floats(1e-3, 0.5), st.sampled_from([2, 4, 16, 64]), st.integers(0, 5))
def test_bits_that_are_alike_by_chance_are_data(part, n_channels, seed):
    found = silent_moments(bits(part, n_channels, seed), np.arange(n_channels))
    assert found.mean() <= 0.05


@pytest.mark.parametrize("part", [0.02, 0.5])
def test_lost_data_are_flagged_in_few_bits_too(part):
    data = bits(part, 16, 1)
    data[5000:7000] = 0
    found = silent_moments(data, np.arange(16))
    assert found[5010:6990].all()
    assert found.sum() < 2100


def test_short_runs_are_flagged_where_none_happens_by_chance():
    data = np.random.default_rng(1).integers(0, 200, (1000, 8)).astype(np.uint8)
    data[100:107], data[200:208] = 5, 5
    assert np.flatnonzero(silent_moments(data, np.arange(8))).tolist() == list(range(200, 208))


def test_constant_data_are_silent():
    assert silent_moments(np.full((100, 4), 3, np.uint8), np.arange(4)).all()
    assert not silent_moments(np.full((100, 4), 3, np.uint8), np.arange(1)).any()


@given(st.integers(1, 200), st.integers(0, 5))
def test_therunning_median_is_numpy_s(count, seed):
    values = np.random.default_rng(seed).integers(0, 9, (2, count)).astype(float)
    found = running_median(values)
    for place in range(count):
        half = min(32, max(8, min(place, count - 1 - place)))
        part = values[:, max(0, place - half) : place + half + 1]
        assert (found[:, place] == np.median(part, axis=1)).all()


@given(st.integers(1, 3000), st.integers(0, 5))
def test_levels_are_taken_as_numpy_interpolates(length, seed):
    rows = np.random.default_rng(seed).standard_normal((2, length)).astype(np.float32)
    window = LevelWindow.beside(32)
    means = block_means(rows, min(window.block, length), False)
    levels = running_median(means)
    centres = block_centres(length, means.shape[1])
    places = np.arange(length)
    expected = rows - [np.interp(places, centres, level) for level in levels]
    take_levels(rows, window, np.empty(0))
    assert rows == pytest.approx(expected, abs=1e-5)
