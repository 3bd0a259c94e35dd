"""Earth rotation and polar motion, from the tables installed with astropy (IERS Bulletin A).

They end about a year after the release of astropy-iers-data. From then on the last values are used:
an error of 0.1 s in UT1 - UTC is 1.5 arcsec.
"""

from __future__ import annotations

import math
import os
from functools import cache
from pathlib import Path
from typing import NamedTuple

from astropy_iers_data import IERS_A_FILE

from darc.model.arrival import mjd_of

_ARCSEC = math.radians(1 / 3600)
# Columns of finals2000A.all, whose rows are one day each and have the same length.
_MJD, _X, _Y, _UT1_UTC = slice(7, 15), slice(18, 27), slice(37, 46), slice(58, 68)


class EarthOrientation(NamedTuple):
    """Orientation of the Earth at a time.

    :param ut1_utc: UT1 - UTC, s
    :param x: of the pole, rad
    :param y: of the pole, rad
    """

    ut1_utc: float
    x: float
    y: float


@cache
def _days() -> tuple[int, int, int]:
    """Return the first and the last day (MJD) with values, and the length of a row (bytes)."""
    with Path(IERS_A_FILE).open("rb") as table:
        row = table.readline()
        first = int(float(row[_MJD]))
        last = first + os.fstat(table.fileno()).st_size // len(row) - 1
        while True:
            table.seek((last - first) * len(row))
            if table.read(len(row))[_UT1_UTC].strip():
                return first, last, len(row)
            last -= 1


@cache
def _of_day(day: int) -> EarthOrientation:
    first, last, length = _days()
    day = min(max(day, first), last)
    with Path(IERS_A_FILE).open("rb") as table:
        table.seek((day - first) * length)
        row = table.read(length)
    if int(float(row[_MJD])) != day:
        raise ValueError(f"{IERS_A_FILE}: another day than {day} in its row")
    return EarthOrientation(
        float(row[_UT1_UTC]), float(row[_X]) * _ARCSEC, float(row[_Y]) * _ARCSEC
    )


def earth_orientation(unix_time: float) -> EarthOrientation:
    """Return the orientation at a time, interpolated between days.

    :param unix_time: s
    """
    day, part = divmod(mjd_of(unix_time), 1.0)
    before, after = _of_day(int(day)), _of_day(int(day) + 1)
    jump = round(after.ut1_utc - before.ut1_utc)  # of a leap second, at the end of the day
    ut1_utc = before.ut1_utc + part * (after.ut1_utc - jump - before.ut1_utc)
    x, y = (old + part * (new - old) for old, new in zip(before[1:], after[1:], strict=True))
    return EarthOrientation(ut1_utc, x, y)
