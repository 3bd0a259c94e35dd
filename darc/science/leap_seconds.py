"""Difference between atomic time and UTC, by ERFA's table of leap seconds."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime

import erfa


def tai_minus_utc(unix: float) -> float:
    """Return TAI - UTC at a Unix time (s).

    :param unix: s
    """
    day = datetime.fromtimestamp(unix, UTC)
    with warnings.catch_warnings():
        # Of years for which no leap seconds are known yet.
        warnings.simplefilter("ignore", erfa.ErfaWarning)
        return float(erfa.dat(day.year, day.month, day.day, 0.0))
