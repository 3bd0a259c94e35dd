"""Arrival at the barycentre, beside astropy."""

from __future__ import annotations

import pytest
from astropy import units as u
from astropy.coordinates import EarthLocation, SkyCoord, solar_system_ephemeris
from astropy.time import Time
from hypothesis import given
from hypothesis import strategies as st

from darc.science import barycentre  # noqa: F401 - astropy without network
from darc.science.barycentric_arrival import tdb_at_barycentre

WSRT = (3828445.659, 445223.600, 5064921.568)  # m
PARKES = (-4554231.5, 2816759.1, -3454036.3)


@given(
    unix=st.floats(1.0e9, 1.78e9),
    ra=st.floats(0, 360),
    dec=st.floats(-90, 90),
    place=st.sampled_from([WSRT, PARKES]),
)
def test_it_is_that_of_astropy(
    unix: float, ra: float, dec: float, place: tuple[float, float, float]
) -> None:
    location = EarthLocation.from_geocentric(*place, unit=u.m)
    time = Time(unix, format="unix", location=location)
    with solar_system_ephemeris.set("builtin"):
        source = SkyCoord(ra, dec, unit="deg")
        expected = time.tdb + time.light_travel_time(source, kind="barycentric")
    ours = tdb_at_barycentre(unix, ra, dec, place)
    found = Time(2440587.5, ours / 86400, format="jd", scale="tdb")
    assert (found - expected).to_value(u.us) == pytest.approx(0, abs=10)
