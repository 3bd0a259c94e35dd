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

from darc.science.leap_seconds import tai_minus_utc
from darc.science.sky import UNIX_EPOCH, at_site, unit_vector

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
    site = at_site(unix_time, itrf_xyz_m)
    _, day, ut1_utc, longitude, *_ = site
    x, y, z = (float(part) / 1e3 for part in itrf_xyz_m)  # km
    with warnings.catch_warnings():
        # Of years for which no leap seconds are known yet.
        warnings.simplefilter("ignore", erfa.ErfaWarning)
        astrometry, _ = erfa.apco13(*site)
        terrestrial = unix_time + tai_minus_utc(unix_time) + _TT_MINUS_TAI
        universal = (day + ut1_utc / _DAY) % 1.0
        relativistic = float(
            erfa.dtdb(UNIX_EPOCH, terrestrial / _DAY, universal, longitude, math.hypot(x, y), z)
        )
    observer = (float(part) for part in astrometry["eb"])  # au, from the barycentre
    ahead: float = sum(map(operator.mul, observer, unit_vector(ra_deg, dec_deg))) * _AU_SECONDS
    return terrestrial + relativistic + ahead
