"""Directions in the sky, for an observer at rest on the Earth.

Computed by ERFA, which astropy uses itself, and which takes 10 ms where that takes 0.7 s and 30 MB.
No network is used: Earth rotation is from :mod:`darc.science.earth_orientation`, leap seconds are
ERFA's.

Apparent coordinates are those at which the telescope points, without refraction. Hour angle is
counted from the meridian of the site's longitude, positive to the west.
"""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Sequence
from typing import Any

import erfa

from darc.model.observation import Pointing
from darc.science.earth_orientation import earth_orientation

#: Julian Date of 1970-01-01, and ERFA's number of the reference ellipsoid WGS 84.
UNIX_EPOCH, _WGS84 = 2440587.5, 1
#: Rotation from ICRS to Galactic coordinates by way of FK5, as astropy has it; that of the
#: Hipparcos catalogue, which ERFA has, is up to 0.025 arcsec beside it.
_TO_GALACTIC = (
    (-0.054875657712592, -0.873437051955616, -0.483835073616716),
    (0.494109437192727, -0.444829721223295, 0.746982183986668),
    (-0.867666137559659, -0.198076337273001, 0.455983813687302),
)


def at_site(unix_time: float, itrf_xyz_m: Sequence[float]) -> tuple[float, ...]:
    """Return time and site as ERFA takes them, for radio waves without an atmosphere.

    :param unix_time: s
    :param itrf_xyz_m: position of the site, ITRF x, y, z in m
    :return: Julian Date (two parts), UT1-UTC (s), longitude and latitude (rad), height (m), polar
        motion (rad), and zeros
    """
    earth = earth_orientation(unix_time)
    site = (float(part) for part in erfa.gc2gd(_WGS84, itrf_xyz_m))  # rad, rad, m
    time = UNIX_EPOCH, unix_time / 86400, earth.ut1_utc
    return (*time, *site, earth.x, earth.y, 0.0, 0.0, 0.0, 0.0)


def _check(dec_deg: float) -> None:
    if not -90 <= dec_deg <= 90:
        raise ValueError(f"a declination of {dec_deg} deg is beyond a pole")


def _transformed(function: Any, *arguments: Any) -> list[float]:
    with warnings.catch_warnings():
        # Of years for which no leap seconds are known yet.
        warnings.simplefilter("ignore", erfa.ErfaWarning)
        return [float(value) for value in function(*arguments)]


def icrs_from_hadec(
    ha_deg: float, dec_deg: float, unix_time: float, itrf_xyz_m: Sequence[float]
) -> tuple[float, float]:
    """Return the ICRS coordinates of an apparent hour angle and declination (HADEC in a parset).

    :param ha_deg: apparent hour angle, deg
    :param dec_deg: apparent declination, deg
    :param unix_time: s; for a pointing, the middle of the observation
    :param itrf_xyz_m: position of the telescope, ITRF x, y, z in m
    :return: right ascension (0 to 360) and declination, deg
    :raises ValueError: the declination is beyond a pole
    """
    _check(dec_deg)
    apparent = math.radians(ha_deg), math.radians(dec_deg)
    site = at_site(unix_time, itrf_xyz_m)
    ra, dec = _transformed(erfa.atoc13, "H", *apparent, *site)
    return math.degrees(ra) % 360, math.degrees(dec)


def icrs_of(
    pointing: Pointing, hour_angle_at: float | None, itrf_xyz_m: Sequence[float]
) -> tuple[float, float]:
    """Return right ascension and declination (ICRS, deg) of a pointing.

    :param hour_angle_at: when its longitude is an hour angle, Unix s; None: it is a right ascension
    :param itrf_xyz_m: position of the telescope, ITRF x, y, z in m
    :raises ValueError: the declination is beyond a pole
    """
    stated = pointing.longitude_deg, pointing.latitude_deg
    return stated if hour_angle_at is None else icrs_from_hadec(*stated, hour_angle_at, itrf_xyz_m)


def hadec_from_icrs(
    ra_deg: float, dec_deg: float, unix_time: float, itrf_xyz_m: Sequence[float]
) -> tuple[float, float]:
    """Return the apparent hour angle and declination of ICRS coordinates.

    :param ra_deg: right ascension, deg
    :param dec_deg: declination, deg
    :param unix_time: s
    :param itrf_xyz_m: position of the telescope, ITRF x, y, z in m
    :return: hour angle (-180 to 180) and declination, deg
    :raises ValueError: the declination is beyond a pole
    """
    _check(dec_deg)
    # At rest, and infinitely far away.
    catalogue = math.radians(ra_deg), math.radians(dec_deg), 0.0, 0.0, 0.0, 0.0
    _, _, ha, dec, *_ = _transformed(erfa.atco13, *catalogue, *at_site(unix_time, itrf_xyz_m))
    return (math.degrees(ha) + 180) % 360 - 180, math.degrees(dec)


def unit_vector(ra_deg: float, dec_deg: float) -> tuple[float, float, float]:
    """Return the vector of length 1 to a direction: x, y, z.

    :param ra_deg: right ascension
    :param dec_deg: declination
    """
    ra, dec = math.radians(ra_deg), math.radians(dec_deg)
    return math.cos(dec) * math.cos(ra), math.cos(dec) * math.sin(ra), math.sin(dec)


def galactic(ra_deg: float, dec_deg: float) -> tuple[float, float]:
    """Return the Galactic longitude (0 to 360) and latitude of ICRS coordinates, deg.

    :param ra_deg: right ascension, deg
    :param dec_deg: declination, deg
    :raises ValueError: the declination is beyond a pole
    """
    _check(dec_deg)
    towards = unit_vector(ra_deg, dec_deg)
    x, y, z = (sum(map(operator.mul, row, towards)) for row in _TO_GALACTIC)
    return math.degrees(math.atan2(y, x)) % 360, math.degrees(math.atan2(z, math.hypot(x, y)))


def beam_rotation_angle(
    ra_deg: float, dec_deg: float, unix_time: float, itrf_xyz_m: Sequence[float]
) -> float:
    """Return the rotation angle of the compound beam on the sky, for VOEvents.

    :param ra_deg: right ascension (ICRS), deg
    :param dec_deg: declination (ICRS), deg
    :param unix_time: arrival time, s
    :param itrf_xyz_m: position of the telescope, ITRF x, y, z in m
    :return: atan2(sin dec * sin HA, cos HA) of the apparent coordinates, deg, -180 to 180
    :raises ValueError: the declination is beyond a pole
    """
    ha, dec = map(math.radians, hadec_from_icrs(ra_deg, dec_deg, unix_time, itrf_xyz_m))
    return math.degrees(math.atan2(math.sin(dec) * math.sin(ha), math.cos(ha)))
