"""Arrival of a pulse at the solar-system barycentre, for reports of single bursts.

Computed by ERFA: as :mod:`darc.science.barycentre`, which has what folding needs, but without
astropy, which takes 0.7 s to load. The Earth's position is ERFA's epv00, accurate to about 10 us;
Shapiro delay (0.1 ms at most) is neglected.
"""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Sequence

import erfa

from darc.science.earth_orientation import earth_orientation
from darc.science.leap_seconds import tai_minus_utc

#: Julian Date of 1970-01-01, and ERFA's number of the reference ellipsoid WGS 84.
_UNIX_EPOCH, _WGS84 = 2440587.5, 1
_DAY = 86400.0  # s
_TT_MINUS_TAI = 32.184  # s
_AU_SECONDS = 499.00478383615643  # light time for an astronomical unit of 149597870700 m


def tdb_at_barycentre(
    unix_time: float, ra_deg: float, dec_deg: float, itrf_xyz_m: Sequence[float]
) -> float:
    """Return when a pulse arrives at the barycentre.

    :param unix_time: its arrival at the telescope, at infinite frequency, s
    :param ra_deg: right ascension (ICRS), deg
    :param dec_deg: declination (ICRS), deg
    :param itrf_xyz_m: position of the telescope, ITRF x, y, z in m
    :return: TDB since 1970-01-01 00:00 TDB, s
    """
    earth = earth_orientation(unix_time)
    x, y, z = (float(part) for part in itrf_xyz_m)
    site = (float(part) for part in erfa.gc2gd(_WGS84, (x, y, z)))  # rad, rad, m
    longitude, latitude, height = site
    day = unix_time / _DAY
    with warnings.catch_warnings():
        # Of years for which no leap seconds are known yet.
        warnings.simplefilter("ignore", erfa.ErfaWarning)
        astrometry, _ = erfa.apco13(
            _UNIX_EPOCH, day, earth.ut1_utc, longitude, latitude, height, earth.x, earth.y,
            0.0, 0.0, 0.0, 0.0,
        )  # fmt: skip
        terrestrial = unix_time + tai_minus_utc(unix_time) + _TT_MINUS_TAI
        universal = (day + earth.ut1_utc / _DAY) % 1.0
        from_axis, from_equator = math.hypot(x, y) / 1e3, z / 1e3  # km
        relativistic = float(
            erfa.dtdb(
                _UNIX_EPOCH, terrestrial / _DAY, universal, longitude, from_axis, from_equator
            )
        )
    ra, dec = math.radians(ra_deg), math.radians(dec_deg)
    towards = math.cos(dec) * math.cos(ra), math.cos(dec) * math.sin(ra), math.sin(dec)
    observer = (float(part) for part in astrometry["eb"])  # au, from the barycentre
    ahead: float = sum(map(operator.mul, observer, towards)) * _AU_SECONDS
    return terrestrial + relativistic + ahead
