"""Downsampling in time and frequency."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from darc.science.downsample import channel_groups, downsample_time, group_means

shapes = array_shapes(min_dims=2, max_dims=2, max_side=40)


@given(arrays(np.float32, shapes, elements=st.floats(-1e3, 1e3, width=32)), st.integers(1, 45))
def test_time(rows, factor):
    found = downsample_time(rows, factor)
    assert found.shape == (rows.shape[0], rows.shape[1] // factor)
    for place in range(found.shape[1]):
        expected = rows[:, place * factor : (place + 1) * factor].mean(axis=1)
        np.testing.assert_allclose(found[:, place], expected, rtol=1e-5, atol=1e-3)


def test_by_one_is_the_same():
    rows = np.ones((2, 3), np.float32)
    assert downsample_time(rows, 1) is rows


@pytest.mark.parametrize("factor", [0, -1])
def test_no_such_factor(factor):
    with pytest.raises(ValueError, match=f"downsampling by {factor}"):
        downsample_time(np.ones((2, 3), np.float32), factor)


@given(st.integers(1, 50), st.integers(1, 50))
def test_groups_are_nearly_equal(n_channels, n_groups):
    edges = channel_groups(n_channels, n_groups)
    sizes = np.diff(edges)
    assert (edges[0], edges[-1]) == (0, n_channels)
    assert sizes.max() - sizes.min() <= 1


@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 2**32))
def test_frequency(n_channels, n_groups, seed):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 4, (n_channels, 3))
    sums = np.where(counts > 0, rng.normal(0, 10, (n_channels, 3)), 0)
    means, valid = group_means(sums, counts, n_groups)
    assert means.shape == valid.shape == (n_groups, 3)
    for group in range(n_groups):
        first = group * n_channels // n_groups
        end = max(first + 1, (group + 1) * n_channels // n_groups)
        number = counts[first:end].sum(axis=0)
        np.testing.assert_array_equal(valid[group], number > 0)
        expected = sums[first:end].sum(axis=0) / np.maximum(number, 1)
        np.testing.assert_allclose(means[group], expected, rtol=1e-5, atol=1e-5)
