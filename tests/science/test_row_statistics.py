"""Medians and variances of rows: numpy's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from darc.science.row_statistics import medians, variances

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
shapes = array_shapes(min_dims=2, max_dims=2, max_side=30)


@given(arrays(np.float32, shapes, elements=finite))
def test_medians(rows):
    before = rows.copy()
    np.testing.assert_array_equal(medians(rows), np.median(rows.astype(np.float64), axis=1))
    np.testing.assert_array_equal(rows, before)


@given(arrays(np.float32, shapes, elements=st.integers(-3, 3).map(float)))
def test_medians_of_few_values(rows):
    np.testing.assert_array_equal(medians(rows), np.median(rows.astype(np.float64), axis=1))


@pytest.mark.parametrize("length", [1, 2, 3, 12_749, 12_750])
def test_medians_of_noise(length):
    rows = np.random.default_rng(length).normal(100, 10, (5, length)).astype(np.float32)
    np.testing.assert_array_equal(medians(rows), np.median(rows.astype(np.float64), axis=1))


def test_medians_of_a_part():
    rows = np.arange(40, dtype=np.float32).reshape(4, 10)[1:3, ::3]
    np.testing.assert_array_equal(medians(rows), np.median(rows, axis=1))


def test_no_median_of_nothing():
    with pytest.raises(ValueError, match="no median of rows without samples"):
        medians(np.empty((3, 0), np.float32))


@given(arrays(np.float32, shapes, elements=st.floats(-1e6, 1e6, width=32)))
def test_variances(rows):
    expected = np.var(rows.astype(np.float64), axis=1)
    np.testing.assert_allclose(variances(rows), expected, rtol=1e-9, atol=1e-3)


def test_variance_of_constant_data_is_zero():
    assert variances(np.full((2, 1000), 0.1, np.float32)) == pytest.approx([0, 0], abs=1e-20)
