"""Dispersion: the constant, the sign, and what follows from them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.science.dispersion import arrival_at, arrival_at_centre, delay, dm_error

BOTTOM, CENTRE, TOP = 1219.60327, 1369.60327, 1519.60327  # ARTS, MHz

frequencies = st.floats(100, 10_000)
dms = st.floats(0, 10_000)


def test_constant():
    # 1 pc cm-3 at 1 GHz against infinity: 4.148808 ms
    assert delay(1.0, 1000.0, math.inf) == pytest.approx(4.148808e-3, rel=1e-12)


def test_crab_over_the_arts_band():
    expected = 4148.808 * 56.8 * (1 / BOTTOM**2 - 1 / TOP**2)
    assert delay(56.8, BOTTOM, TOP) == pytest.approx(expected, rel=1e-12)
    assert expected == pytest.approx(0.0564, abs=1e-4)


@given(dms, frequencies, frequencies, frequencies)
def test_delays_add_up(dm, a, b, c):
    whole = delay(dm, a, c)
    assert delay(dm, a, b) + delay(dm, b, c) == pytest.approx(whole, rel=1e-9, abs=1e-9)


@given(st.floats(1e-6, 1), frequencies)
def test_dm_error_delays_the_band_by_one_width(width, f_low):
    error = dm_error(width, f_low, f_low + 300)
    assert delay(error, f_low, f_low + 300) == pytest.approx(width)


def test_dm_error_at_arts_is_about_one_unit_per_ms():
    assert dm_error(1e-3, BOTTOM, TOP) == pytest.approx(1.0, rel=0.02)


def test_the_centre_is_later_than_the_top():
    arrival = arrival_at_centre(10.0, 500.0, CENTRE, TOP)
    assert arrival == pytest.approx(10.0 + 4148.808 * 500 * (CENTRE**-2 - TOP**-2), rel=1e-14)
    assert arrival > 10.0


@given(st.floats(0, 1e5), dms, frequencies, frequencies)
def test_a_time_is_converted_there_and_back(time, dm, a, b):
    there = arrival_at(time, dm, a, b)
    assert there - time == pytest.approx(4148.808 * dm * (b**-2 - a**-2), rel=1e-9, abs=1e-9)
    assert arrival_at(there, dm, b, a) == pytest.approx(time, abs=1e-9)


def test_arrays():
    dm = np.array([0.0, 10.0, 100.0])
    assert delay(dm, BOTTOM, TOP) == pytest.approx([delay(x, BOTTOM, TOP) for x in dm.tolist()])
    assert arrival_at_centre(np.ones(3), dm, CENTRE, TOP)[0] == 1.0
