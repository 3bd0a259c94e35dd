"""Arrival times, widths and sampling times as text for plots and pages."""

from __future__ import annotations

from darc.model.arrival import ArrivalReference, mjd_of, utc_of


def utc_text(unix: float) -> str:
    """Return YYYY-MM-DD hh:mm:ss.ssss, rounded; empty if the date is outside the calendar."""
    try:
        return utc_of(round(unix, 4))[:-2].replace("T", " ")
    except (OverflowError, ValueError, OSError):
        return ""


def mjd_text(unix: float) -> str:
    """Return the modified Julian date, as precise as :func:`utc_text`."""
    return f"{mjd_of(unix):.9f}"


def date_text(unix: float | None, scale: str) -> str:
    """Return a time as MJD, and as a date if its scale is UTC; empty if unknown.

    :param unix: Unix s, or the same count in another scale
    :param scale: time scale, see :class:`darc.model.arrival.ArrivalReference`
    """
    if unix is None:
        return ""
    mjd = f"MJD {mjd_text(unix)}"
    return f"{utc_text(unix)} UTC   {mjd}" if scale == "UTC" else f"{mjd} {scale}"


def arrival_text(reference: ArrivalReference, time: float) -> str:
    """Return an arrival time in the form of :func:`date_text`.

    :param time: s since the first sample
    """
    start = reference.start
    return date_text(None if start is None else start + time, reference.scale)


def milliseconds(value: float) -> str:
    """Return a time (ms) with three significant digits, no exponent: 0.0819, 3.36, 81.9, 1250."""
    if value >= 100:
        return f"{value:.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 1 else f"{value:.3g}"


def sampling(tsamp: float) -> str:
    """Return a sampling time (s) in µs, ms or s, whichever fits."""
    if tsamp < 1e-3:
        return f"{tsamp * 1e6:.6g} µs"
    return f"{tsamp * 1e3:.6g} ms" if tsamp < 1 else f"{tsamp:.6g} s"
