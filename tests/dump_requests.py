"""Reader of dump requests, as strict as they are written."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from darc.services.dada_trigger.dump_request import MAX_LINE, MIN_LINE, DumpEvent, DumpRequest

_TIME = r"(\d{4}-\d\d-\d\d-\d\d:\d\d:\d\d)"
_REAL = r"(\d+(?:\.\d+)?(?:e[+-]\d+)?)"
_HEADER = re.compile(r"N_EVENTS ([1-9]\d*)", re.ASCII)
_EVENT = re.compile(rf"{_TIME} (\d{{3}}) {_TIME} (\d{{3}}) {_REAL} {_REAL} (\d+) (\d+)", re.ASCII)


def parse_request(text: str) -> DumpRequest:
    """Parse a request strictly: anything that `format_request` would not write is an error.

    Only the order of the events is arbitrary.

    :raises ValueError: a line is invalid; the text names it
    """
    *lines, rest = text.split("\n")
    if rest:
        raise ValueError(f"no end of line after {rest!r}")
    if any(not MIN_LINE <= len(line.encode()) <= MAX_LINE or "#" in line for line in lines):
        raise ValueError("dada_dbevent cannot read a line")
    if len(lines) < 3 or not (header := _HEADER.fullmatch(lines[0])):
        raise ValueError("not a request: N_EVENTS, the start and a line per event are expected")
    if int(header[1]) != len(lines) - 2:
        raise ValueError(f"{lines[0]!r} is followed by {len(lines) - 2} events")
    origin = _time_of(lines[1])
    return DumpRequest(lines[1], tuple(_read_event(line, origin) for line in lines[2:]))


def _read_event(line: str, origin: datetime) -> DumpEvent:
    fields = _EVENT.fullmatch(line)
    if not fields:
        raise ValueError(f"not an event: {line!r}")
    start, start_ms, end, end_ms, *numbers = fields.groups()
    millisecond = timedelta(milliseconds=1)
    first = (_time_of(start) - origin) // millisecond + int(start_ms)
    last = (_time_of(end) - origin) // millisecond + int(end_ms)
    dm, snr, width, beam = numbers
    if not 0 <= first < last:
        raise ValueError(f"not a stretch of the observation: {line!r}")
    return DumpEvent(first / 1000, last / 1000, float(dm), float(snr), int(width), int(beam))


def _time_of(text: str) -> datetime:
    if not re.fullmatch(_TIME, text, re.ASCII):
        raise ValueError(f"not a time: {text!r}")
    return datetime.fromisoformat(f"{text[:10]}T{text[11:]}")
