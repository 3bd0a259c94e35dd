"""Samples that no receiver measures become missing, and no others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.science.wild_samples import forget_wild


@given(
    seed=st.integers(0, 2**32 - 1),
    scale=st.floats(1e-12, 1e12),
    offset=st.floats(-1e3, 1e3),
    places=st.sets(st.integers(0, 4999), max_size=2000),
    sign=st.sampled_from([-1, 1]),
)
def test_only_wild_ones_are_forgotten(seed, scale, offset, places, sign):
    rng = np.random.default_rng(seed)
    rows = rng.normal(offset, 1.0, (3, 5000)) * scale
    rows[1, 1000:1010] += 1e5 * scale  # a pulse
    rows = rows.astype(np.float32)
    expected = rows.copy()
    for place in places:
        rows[0, place] = sign * np.float32(2e7 * scale)
        expected[0, place] = np.nan
    assert forget_wild(rows) == len(places)
    assert np.array_equal(rows, expected, equal_nan=True)


@pytest.mark.parametrize("value", [np.inf, -np.inf, 3e38, -3e38])
def test_the_largest_of_all(value):
    rows = np.random.default_rng(1).normal(0, 1, (2, 100)).astype(np.float32)
    rows[1, ::3] = value
    assert forget_wild(rows) == 34
    assert np.isnan(rows[1, ::3]).all()
    assert np.isfinite(rows[0]).all()


@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
def test_channels_without_noise_are_left_alone(dtype):
    rows = np.zeros((4, 3000), dtype)
    rows[1] = np.nan
    rows[2, 1500:] = np.random.default_rng(1).normal(1e4, 1, 1500)  # it has a weight from there
    rows[3, 7] = 1e14
    before = rows.copy()
    assert forget_wild(rows) == 0
    assert np.array_equal(rows, before, equal_nan=True)
    assert forget_wild(np.zeros((2, 0), dtype)) == 0
