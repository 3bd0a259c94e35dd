"""Text of a dump request to dada_dbevent (PSRDADA; docs/triggers.md, Formats).

It has the number of events, the start of the observation, and a line for each event: start, end,
DM, S/N, width, beam::

    N_EVENTS 1
    2019-05-18-23:51:13
    2019-05-18-23:51:20 793 2019-05-18-23:51:26 937 1056.6 28.4666 10 35
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from darc.config.records import Struct

MIN_LINE, MAX_LINE = 10, 1023  # bytes

_MS = 1000  # in a second
_TIME = r"(\d{4}-\d\d-\d\d-\d\d:\d\d:\d\d)"
_UTC_START = re.compile(_TIME, re.ASCII)


class DumpEvent(Struct, frozen=True):
    """Time range of raw data to keep, with the parameters of its trigger.

    :param start: since the start of the observation, that of `startpacket` (s)
    :param end: likewise (s)
    :param dm: pc cm-3
    :param width: samples
    :param beam: index of the SB or TAB
    """

    start: float
    end: float
    dm: float
    snr: float
    width: int
    beam: int


class DumpRequest(Struct, frozen=True):
    """Events of one window; a connection sends one request.

    :param utc_start: start of the observation as in the headers of the raw data,
        YYYY-MM-DD-hh:mm:ss; dada_dbevent counts all times from it
    """

    utc_start: str
    events: tuple[DumpEvent, ...]


def format_request(request: DumpRequest) -> str:
    """Format a request; events are sorted by start, times rounded to the nearest millisecond.

    :raises ValueError: there are no events, or a value of an event or the start cannot be expressed
    """
    if not request.events:
        raise ValueError("a request without events")  # dada_dbevent can crash on it
    origin = _read_time(request.utc_start)
    events = sorted(request.events, key=lambda event: event.start)
    lines = [
        f"N_EVENTS {len(events)}",
        request.utc_start,
        *(_event_line(event, origin) for event in events),
    ]
    _check(lines)
    return "".join(f"{line}\n" for line in lines)


def _event_line(event: DumpEvent, origin: datetime) -> str:
    reals, integers = (event.dm, event.snr), (event.width, event.beam)
    if not all(0 <= value < math.inf for value in (*reals, *integers)):
        raise ValueError(f"a number of {event} does not fit into a request")
    try:
        start, end = round(event.start * _MS), round(event.end * _MS)
        times = [_time_text(origin + timedelta(milliseconds=ms)) for ms in (start, end)]
    except OverflowError as error:
        raise ValueError(f"a time of {event} does not fit into a request") from error
    if not 0 <= start < end:
        raise ValueError(f"{event} is not a stretch of the observation")
    return " ".join([*times, *map(_real_text, reals), *map(str, integers)])


def _time_text(time: datetime) -> str:
    """Format a time; three digits of milliseconds, as they are read as a decimal fraction."""
    return time.isoformat(sep="-", timespec="milliseconds").replace(".", " ")


def _real_text(value: float) -> str:
    """Return the shortest text of exactly this number, without the sign of a negative zero."""
    return repr(abs(float(value))).removesuffix(".0")


def _read_time(text: str) -> datetime:
    """Parse a time in whole seconds, UTC.

    :raises ValueError: the format or the time is invalid
    """
    if not _UTC_START.fullmatch(text):
        raise ValueError(f"{text!r} is not a time; allowed: YYYY-MM-DD-hh:mm:ss")
    return datetime.fromisoformat(f"{text[:10]}T{text[11:]}")


def _check(lines: Sequence[str]) -> None:
    """Check the limits of dada_dbevent's reader; for it, '#' starts a comment."""
    for line in lines:
        if not MIN_LINE <= len(line.encode()) <= MAX_LINE or "#" in line:
            raise ValueError(f"dada_dbevent cannot read the line {line[:80]!r}")
