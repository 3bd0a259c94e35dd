"""Earth rotation and polar motion, as astropy reads the same table."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import pytest
from astropy.time import Time
from astropy.utils import iers
from astropy_iers_data import IERS_A_FILE
from hypothesis import example, given, settings
from hypothesis import strategies as st

from darc.science.earth_orientation import earth_orientation

ARCSEC = math.radians(1 / 3600)
LEAP_SECOND = 1483228800.0  # the one at the end of 2016 has just passed


@cache
def table() -> Any:
    """Read when it is needed: that takes most of a second."""
    return iers.IERS_A.open(IERS_A_FILE)


def times() -> st.SearchStrategy[float]:
    return st.floats(1.2e9, float(Time(table()["MJD"][-2], format="mjd").unix))


# astropy takes values of Bulletin B where there are some: in the eighties up to 4 ms from these,
# and since 2008 up to 0.45 ms.
@settings(max_examples=200, deadline=None)
@given(st.deferred(times))
@example(LEAP_SECOND - 1.0)
@example(LEAP_SECOND)
@example(LEAP_SECOND - 43200.0)
def test_as_astropy_interpolates_it(time: float) -> None:
    at = Time(time, format="unix")
    found = earth_orientation(time)
    assert found.ut1_utc == pytest.approx(float(table().ut1_utc(at).value), abs=5e-4)
    x, y = (float(value.to_value("rad")) for value in table().pm_xy(at))
    assert found.x == pytest.approx(x, abs=1e-3 * ARCSEC)
    assert found.y == pytest.approx(y, abs=1e-3 * ARCSEC)


@pytest.mark.parametrize(("time", "row"), [(4e9, -1), (-1e9, 0)])
def test_beyond_the_table_the_nearest_values_hold(time: float, row: int) -> None:
    found = earth_orientation(time)
    assert found.ut1_utc == pytest.approx(float(table()["UT1_UTC_A"][row].value), abs=1e-6)
