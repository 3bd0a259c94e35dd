"""Medians and variances of rows: numpy's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from darc.science.row_statistics import medians, noise_variances

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


def kinds() -> dict[str, np.ndarray]:
    """Long rows, whose ranges are halved many times."""
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 10, (4, 12_750)).astype(np.float32)
    wide, skew = noise.copy(), rng.exponential(1e-6, noise.shape).astype(np.float32)
    wide[:, 5], wide[:, 6] = 1e14, -3e38
    half = np.where(np.arange(noise.shape[1]) % 2, np.float32(1e-30), noise)
    return {"levels": np.rint(noise) + np.float32(0.25), "wide": wide, "skew": skew, "half": half}


@pytest.mark.parametrize("kind", kinds())
@pytest.mark.parametrize("length", [12_749, 12_750])
def test_medians_of_other_noise(kind, length):
    rows = np.ascontiguousarray(kinds()[kind][:, :length])
    np.testing.assert_array_equal(medians(rows), np.median(rows.astype(np.float64), axis=1))


def test_medians_of_a_part():
    rows = np.arange(40, dtype=np.float32).reshape(4, 10)[1:3, ::3]
    np.testing.assert_array_equal(medians(rows), np.median(rows, axis=1))


def test_no_median_of_nothing():
    with pytest.raises(ValueError, match="no median of rows without samples"):
        medians(np.empty((3, 0), np.float32))


def beside(row: np.ndarray, begin: int, end: int) -> float:
    begin, end = max(begin, 0), max(end, 0)
    if 2 * len(row[begin:end]) > len(row):
        begin = end = len(row)
    before = row[:begin]
    found = np.var(np.concatenate([before, row[end:]]).astype(np.float64))
    if len(before) >= 16 and end < len(row):
        quieter = np.var(before.astype(np.float64))
        if found > quieter * (1 + 6 * np.sqrt(2 / len(before))):
            return quieter
    return found


@given(
    arrays(
        np.float32, array_shapes(min_dims=2, max_dims=2, max_side=60), elements=st.integers(-9, 9)
    ),
    st.integers(-5, 70),
    st.integers(0, 40),
)
def test_variance_beside_a_pulse(rows, begin, length):
    begins = np.arange(len(rows)) + begin
    found = noise_variances(rows, begins, begins + length)
    expected = [beside(row, b, b + length) for row, b in zip(rows, begins.tolist(), strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_a_tail_is_no_noise():
    rows = np.random.default_rng(1).normal(0, 1, (20, 1000)).astype(np.float32)
    pulse = 50 * np.exp(-np.arange(500) / 100)
    rows[:, 500:] += pulse.astype(np.float32)
    at = np.full(20, 500)
    assert noise_variances(rows, at, at + 50).mean() == pytest.approx(1, rel=0.05)


def test_variance_of_constant_data_is_zero():
    nowhere = np.zeros(2, np.int64)
    rows = np.full((2, 1000), 0.1, np.float32)
    assert noise_variances(rows, nowhere, nowhere) == pytest.approx([0, 0], abs=1e-20)
