"""Which stretch of raw data to keep (docs/triggers.md, Formats).

The ring buffer of the raw data is handed on in pages. Times are in s since the observation's start.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

#: The first page can be lost to rounding, so a dump starts two early.
LEAD_PAGES = 2

#: Of a page: what is nearer than this to a whole number of pages is one (float noise).
_NOISE = 1e-6


@dataclass(frozen=True, slots=True)
class DumpWindow:
    """A stretch of an observation, ``start`` < ``end``, s since the observation's start."""

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
    """What to keep of the raw data around a pulse.

    The length counts from the start as clipped to the observation's.

    :param time: AMBER's: arrival at the centre of the highest channel, s
    :param band_delay: of the pulse across the band, s
    :param duration: of the observation, s
    :param page: length of a page of raw data, s (ARTS: 1.024)
    :param min_window_size: s
    :param delay_end: kept after the pulse, s
    :return: None where nothing of it is in the observation
    :raises ValueError: a time is not finite, or the delay negative
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
    """When to dump in an observation of a polarisation calibrator: every ``interval``.

    Dumps are of whole pages and begin at one; none runs past the observation's end.

    :param duration: of the observation, s
    :param page: length of a page of raw data, s (ARTS: 1.024)
    :param dump_size: s, rounded up to whole pages
    :param interval: s from start to start, and to the first one; each is rounded to the nearest
        page
    :param max_dumps: at most this many
    :return: in order of time
    """
    length = math.ceil(dump_size / page - _NOISE) * page
    starts = (round(number * interval / page) * page for number in range(1, max_dumps + 1))
    windows = (DumpWindow(start, start + length) for start in starts)
    return tuple(window for window in windows if window.end <= duration + _NOISE * page)
