"""Floats in any unit become usual ones, exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.science.float_units import exponent_to_usual


@given(st.integers(-100, 100), st.floats(-1e3, 1e3))
def test_of_any_unit_the_deviation_is_usual(power: int, offset: float) -> None:
    rows = np.random.default_rng(1).normal(offset, 1.0, (5, 500)).astype(np.float32)
    rows[0] = np.nan
    rows[1] = 3.0
    rows[2, ::7] = np.inf
    other = np.ldexp(rows, power)
    exponent = exponent_to_usual(other)
    if abs(power) < 38:
        assert exponent == 0
    elif abs(power) > 41:
        assert abs(exponent + power) <= 2
    assert np.array_equal(np.ldexp(other, exponent), np.ldexp(rows, power + exponent), True)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, 1e30])
def test_without_noise_nothing_is_changed(value: float) -> None:
    assert exponent_to_usual(np.full((3, 100), value)) == 0
    assert exponent_to_usual(np.zeros((0, 100))) == exponent_to_usual(np.zeros((3, 0))) == 0
    assert exponent_to_usual(np.arange(100).reshape(4, 25)) == 0
