"""Samples without information, in data of any number of bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.science.baseline import silent_moments


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
