"""Directions: round trips, astropy's own HADec frame, and no network."""

import importlib
import math
import socket
import warnings

import pytest
from astropy import units as u
from astropy.coordinates import EarthLocation, HADec, SkyCoord
from astropy.time import Time
from astropy.utils import iers
from hypothesis import given, settings
from hypothesis import strategies as st

from darc.science.sky import beam_rotation_angle, galactic, hadec_from_icrs, icrs_from_hadec

WSRT = (3828630.63486200943589211, 443593.39226634375518188, 5064922.99755000043660402)
CRAB = (83.6331, 22.0145)
TIME = 1558223473.0  # 2019-05-18T23:51:13

hour_angles = st.floats(-180, 180)
declinations = st.floats(-36, 90)
times = st.floats(1.4e9, 1.7e9)


def separation(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Angle between two directions, arcsec."""
    return float(SkyCoord(*a, unit="deg").separation(SkyCoord(*b, unit="deg")).arcsec)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@settings(max_examples=50, deadline=None)
@given(hour_angles, declinations, times)
def test_round_trip(ha, dec, time):
    back = hadec_from_icrs(*icrs_from_hadec(ha, dec, time, WSRT), time, WSRT)
    assert separation((ha, dec), back) < 0.001
    assert -180 <= back[0] < 180


@settings(max_examples=50, deadline=None)
@given(hour_angles, declinations, times)
def test_as_the_hadec_frame_of_astropy(ha, dec, time):
    frame = HADec(
        ha=ha * u.deg,
        dec=dec * u.deg,
        obstime=Time(time, format="unix"),
        location=EarthLocation.from_geocentric(*WSRT, unit="m"),
    )
    expected = SkyCoord(frame).icrs
    found = icrs_from_hadec(ha, dec, time, WSRT)
    assert separation(found, (expected.ra.deg, expected.dec.deg)) < 0.1
    assert 0 <= found[0] < 360


def test_by_sidereal_time():
    # 2000-01-01 12:00 UT1: GMST 280.461 deg, and ICRS is the equator of date to 25 arcsec
    ra, dec = icrs_from_hadec(30.0, 40.0, 946728000.0, WSRT)
    longitude = math.degrees(math.atan2(WSRT[1], WSRT[0]))
    assert separation((ra, dec), (280.461 + longitude - 30.0, 40.0)) < 60


def test_hour_angle_grows_to_the_west():
    before, _ = hadec_from_icrs(*CRAB, TIME, WSRT)
    after, _ = hadec_from_icrs(*CRAB, TIME + 3600, WSRT)
    assert (after - before) % 360 == pytest.approx(15.041, abs=0.001)


@pytest.mark.parametrize(
    ("icrs", "expected"),
    [((266.40499, -28.93617), (0.0, 0.0)), ((192.85948, 27.12825), (None, 90.0))],
)
def test_galactic(icrs, expected):
    gl, gb = galactic(*icrs)
    assert gb == pytest.approx(expected[1], abs=1e-3)
    if expected[0] is not None:
        assert math.sin(math.radians(gl)) == pytest.approx(0, abs=1e-5)
        assert 0 <= gl < 360


@settings(max_examples=30, deadline=None)
@given(hour_angles, st.floats(-36, 89))  # the pole itself has no hour angle
def test_beam_rotation_angle(ha, dec):
    angle = beam_rotation_angle(*icrs_from_hadec(ha, dec, TIME, WSRT), TIME, WSRT)
    h, d = math.radians(ha), math.radians(dec)
    north, east = math.cos(h), math.sin(d) * math.sin(h)
    # Where both are near 0 the angle is anything, so compare the vectors.
    length = math.hypot(north, east)
    assert length * math.cos(math.radians(angle)) == pytest.approx(north, abs=1e-6)
    assert length * math.sin(math.radians(angle)) == pytest.approx(east, abs=1e-6)


def test_beam_is_upright_in_the_meridian():
    assert beam_rotation_angle(
        *icrs_from_hadec(0.0, 22.0, TIME, WSRT), TIME, WSRT
    ) == pytest.approx(0, abs=1e-6)
    assert beam_rotation_angle(
        *icrs_from_hadec(90.0, 22.0, TIME, WSRT), TIME, WSRT
    ) == pytest.approx(90, abs=1e-6)


@pytest.mark.parametrize("time", [1.9e9, 2.5e9, 4.0e9])
def test_a_date_beyond_the_tables_works(time):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        icrs = icrs_from_hadec(10.0, 20.0, time, WSRT)
        assert separation(hadec_from_icrs(*icrs, time, WSRT), (10.0, 20.0)) < 0.001


def test_old_tables_are_no_error():
    importlib.import_module("darc.science.barycentre")  # which uses astropy
    assert iers.conf.auto_download is False
    assert iers.conf.auto_max_age is None
    assert iers.conf.iers_degraded_accuracy == "warn"


@pytest.mark.parametrize("function", [icrs_from_hadec, hadec_from_icrs, beam_rotation_angle])
def test_refuses_a_declination_beyond_a_pole(function):
    with pytest.raises(ValueError, match="beyond a pole"):
        function(0.0, 91.0, TIME, WSRT)


@given(ra=st.floats(0, 360), dec=st.floats(-90, 90))
def test_galactic_coordinates_are_those_of_astropy(ra: float, dec: float) -> None:
    lon, lat = galactic(ra, dec)
    found = SkyCoord(lon * u.deg, lat * u.deg, frame="galactic")
    expected = SkyCoord(ra * u.deg, dec * u.deg, frame="icrs").galactic
    assert found.separation(expected).deg < 1e-9
