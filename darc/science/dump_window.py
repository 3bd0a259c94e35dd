"""Time windows of raw-data dumps (docs/triggers.md, Formats).

The ring buffer of the raw data is read in pages. Times are in s since the observation's start.
"""

from __future__ import annotations

import math

from darc.config.records import Struct

#: The first page can be lost to rounding, so a dump starts two pages early.
LEAD_PAGES = 2

#: Tolerance for a whole number of pages, in pages (rounding errors).
_NOISE = 1e-6


class DumpWindow(Struct, frozen=True):
    """Time interval of an observation, ``start`` < ``end``, s since the observation's start."""

    start: float
    end: float


def dump_window(
    time: float,
    band_delay: float,
    *,
    duration: float,
    page: float,
    min_window_size: float,
    delay_end: float,
) -> DumpWindow | None:
    """Return the time window of the raw-data dump around a pulse.

    With a lead of two pages, the window starts at ``time`` - lead and lasts
    max(``min_window_size``, ``band_delay``) + ``delay_end`` + lead. It is clipped to the
    observation; its length counts from the clipped start.

    :param time: AMBER's arrival time at the centre of the highest channel, s
    :param band_delay: dispersion delay of the pulse across the band, s
    :param duration: duration of the observation, s
    :param page: length of a page of raw data, s (ARTS: 1.024)
    :param min_window_size: s
    :param delay_end: time kept after the pulse, s
    :return: None if the window is outside the observation
    :raises ValueError: a time is not finite, or the delay is negative
    """
    if not (math.isfinite(time) and math.isfinite(band_delay) and band_delay >= 0):
        raise ValueError(f"no window for a pulse at {time} s that is delayed by {band_delay} s")
    lead = LEAD_PAGES * page
    start = max(time - lead, 0.0)
    end = min(start + max(min_window_size, band_delay) + delay_end + lead, duration)
    return DumpWindow(start, end) if start < end else None


def polcal_windows(
    *, duration: float, page: float, dump_size: float, interval: float, max_dumps: int
) -> tuple[DumpWindow, ...]:
    """Return the dump windows of a polarisation calibrator, one every ``interval``.

    Dumps consist of whole pages and start at a page boundary; none extends beyond the observation's
    end.

    :param duration: duration of the observation, s
    :param page: length of a page of raw data, s (ARTS: 1.024)
    :param dump_size: s, rounded up to whole pages
    :param interval: time from start to start, and from the observation's start to the first dump,
        s; each start is rounded to the nearest page
    :param max_dumps: maximum number of dumps
    :return: in order of time
    """
    length = math.ceil(dump_size / page - _NOISE) * page
    starts = (round(number * interval / page) * page for number in range(1, max_dumps + 1))
    windows = (DumpWindow(start, start + length) for start in starts)
    return tuple(window for window in windows if window.end <= duration + _NOISE * page)
