"""Cleaning of interference, against slow obvious versions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from darc.science.rfi_cleaning import (
    interference_in_frequency,
    interference_in_time,
    replace_missing,
    replace_outliers,
    replace_times,
)

shapes = array_shapes(min_dims=2, max_dims=2, max_side=40)
# Few values, so that rows have outliers and ties; whole ones, so that sums are exact.
levels = st.sampled_from([0.0, 1.0, 2.0, 3.0, 50.0, -1000.0])


def slow_outliers(row: np.ndarray, threshold: float, n_iter: int) -> np.ndarray:
    values = [float(value) for value in row]
    for _ in range(n_iter):
        mean = math.fsum(values) / len(values)
        sigma = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
        # What becomes the mean is a 32-bit float; so are the limits.
        low, high = np.float32(mean - threshold * sigma), np.float32(mean + threshold * sigma)
        values = [
            float(np.float32(mean)) if not low <= value <= high else value for value in values
        ]
    return np.array(values, dtype=np.float32)


@given(
    arrays(np.float32, shapes, elements=levels),
    st.sampled_from([1.1, 2.0, 3.25]),
    st.integers(0, 5),
)
def test_outliers_become_the_mean(rows, threshold, n_iter):
    expected = [slow_outliers(row, threshold, n_iter) for row in rows]
    replace_outliers(rows, threshold, n_iter)
    np.testing.assert_allclose(rows, expected, rtol=1e-6, atol=1e-6)


def test_interference_in_noise_is_replaced():
    rows = np.random.default_rng(1).normal(100, 10, (3, 12_750)).astype(np.float32)
    clean = rows.copy()
    rows[1, 100:110] = 255
    rows[2, 5000] = 1e9
    replace_outliers(rows, 3.25, 3)
    assert rows[1, 100:110] == pytest.approx(100, abs=1)
    assert rows[2, 5000] != 1e9
    untouched = rows == clean
    assert np.count_nonzero(~untouched) < 3 * 12_750 * 0.0025  # 0.12 % of noise is so far off
    assert np.abs(rows[0] - clean[0].mean()).max() <= 3.26 * clean[0].std()


def test_constant_rows_stay():
    rows = np.full((2, 1000), 0.1, np.float32)
    replace_outliers(rows, 3.25, 3)
    assert (rows == np.float32(0.1)).all()


@given(arrays(np.float32, shapes, elements=st.sampled_from([1.0, 2.0, np.nan, np.inf, -np.inf])))
def test_missing_samples_become_the_mean(rows):
    before = rows.copy()
    usable = replace_missing(rows)
    for row, old, is_usable in zip(rows, before, usable, strict=True):
        finite = np.isfinite(old)
        assert is_usable == finite.any()
        np.testing.assert_array_equal(row[finite], old[finite])
        expected = old[finite].mean() if finite.any() else 0.0
        np.testing.assert_allclose(row[~finite], expected, rtol=1e-6)


@given(arrays(np.float32, shapes, elements=levels), st.data())
def test_times_become_the_mean_of_the_others(rows, data):
    times = np.array([data.draw(st.booleans()) for _ in range(rows.shape[1])])
    before = rows.copy()
    replace_times(rows, times)
    np.testing.assert_array_equal(rows[:, ~times], before[:, ~times])
    expected = before[:, ~times].mean(axis=1) if not times.all() else np.zeros(len(rows))
    np.testing.assert_allclose(
        rows[:, times], np.broadcast_to(expected[:, np.newaxis], rows[:, times].shape), rtol=1e-5
    )


def test_a_strong_moment_is_found():
    series = np.random.default_rng(2).normal(100, 1, 5000)
    series[[17, 400]] = 200, 120  # the weaker one shows once the stronger is gone
    assert np.flatnonzero(interference_in_time(series, 4.5, 1)).tolist() == [17, 400]
    series[17] = 2000
    assert np.flatnonzero(interference_in_time(series, 4.5, 1)).tolist() == [17]
    assert np.flatnonzero(interference_in_time(series, 4.5, 2)).tolist() == [17, 400]
    assert not interference_in_time(series, 4.5, 0).any()


def test_times_without_data():
    assert interference_in_time(np.full(4, np.nan), 3, 3).all()
    series = np.array([1.0, np.nan, 1.0, 1.0])
    assert interference_in_time(series, 3, 3).tolist() == [False, True, False, False]


def test_a_strong_channel_is_found_on_a_sloping_bandpass():
    rng = np.random.default_rng(3)
    bandpass = np.linspace(50, 150, 256) + rng.normal(0, 0.3, 256)
    bandpass[[40, 200]] += 40, -25
    found = interference_in_frequency(bandpass, 4, 3, 8)
    assert np.flatnonzero(found).tolist() == [40, 200]
    assert not interference_in_frequency(bandpass, 4, 0, 8).any()


def test_channels_that_are_left_out_stay_out():
    bandpass = np.array([1.0, np.nan, 1.0, 1.0, 1.0])
    found = interference_in_frequency(bandpass, 2.75, 3, 2)
    assert found.tolist() == [False, True, False, False, False]
    assert interference_in_frequency(np.full(5, np.nan), 2.75, 3, 2).all()


def slow_bandpass(bandpass: list[float], threshold: float, n_iter: int, bin_size: int) -> list[int]:
    found: set[int] = set()
    for _ in range(n_iter):
        residual = {}
        for first in range(0, len(bandpass), bin_size):
            members = [
                c for c in range(first, min(first + bin_size, len(bandpass))) if c not in found
            ]
            for channel in members:
                residual[channel] = bandpass[channel] - np.mean([bandpass[c] for c in members])
        if not residual:
            break
        sigma = np.std(list(residual.values()))
        found |= {
            c for c, value in residual.items() if abs(value) > threshold * sigma * (1 + 1e-12)
        }
    return sorted(found)


@given(
    st.lists(st.sampled_from([10.0, 11.0, 12.5, 100.0]), min_size=1, max_size=40),
    st.integers(0, 4),
    st.integers(1, 12),
)
def test_channels_against_the_slow_version(bandpass, n_iter, bin_size):
    found = interference_in_frequency(np.array(bandpass), 2.123, n_iter, bin_size)
    assert np.flatnonzero(found).tolist() == slow_bandpass(bandpass, 2.123, n_iter, bin_size)
