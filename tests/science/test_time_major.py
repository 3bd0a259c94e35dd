"""Data as files have it: turned, and averaged both ways."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.science.time_major import channel_rows, mean_series, mean_spectrum

TYPES = ("u1", "i1", "<u2", "<f4")


@st.composite
def moments(draw):
    """Data of any type, longer than what is turned at a time, and some of its channels."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_samples, n_channels = draw(st.integers(1, 200)), draw(st.integers(1, 40))
    data = rng.integers(0, 127, (n_samples, n_channels)).astype(draw(st.sampled_from(TYPES)))
    data.setflags(write=False)
    columns = draw(st.lists(st.integers(0, n_channels - 1), min_size=1, max_size=20))
    return data, np.array(columns)


@given(moments())
def test_channels_become_rows(given_data):
    data, columns = given_data
    rows = channel_rows(data, columns)
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, data.T[columns])


@given(moments(), st.data())
def test_means(given_data, more):
    data, columns = given_data
    leave_out = np.array([more.draw(st.booleans()) for _ in range(len(data))])
    leave_out[0] = False
    expected = data[:, columns].astype(np.float64)
    np.testing.assert_allclose(mean_series(data, columns), expected.mean(axis=1))
    found = mean_spectrum(data, columns, leave_out)
    np.testing.assert_allclose(found, expected[~leave_out].mean(axis=0))


def test_what_is_no_number_is_left_out():
    data = np.array([[1, np.nan, 3], [np.inf, np.nan, 5], [-np.inf, np.nan, np.nan]], np.float32)
    columns, none = np.arange(3), np.zeros(3, dtype=bool)
    np.testing.assert_array_equal(mean_series(data, columns), [2, 5, np.nan])
    np.testing.assert_array_equal(mean_spectrum(data, columns, none), [1, np.nan, 4])


@pytest.mark.parametrize("dtype", TYPES)
def test_nothing_left(dtype):
    data = np.ones((3, 2), dtype)
    everything = np.ones(3, dtype=bool)
    assert np.isnan(mean_spectrum(data, np.arange(2), everything)).all()
    assert channel_rows(data, np.arange(0)).shape == (0, 3)
    assert np.isnan(mean_series(data, np.arange(0))).all()
