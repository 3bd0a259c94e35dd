"""Requests and ring buffer of dada_dbevent (PSRDADA), see docs/triggers.md, Formats."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from fractions import Fraction

from darc.config.records import Struct, replace
from darc.services.dada_trigger.dump_request import MAX_LINE, MIN_LINE, DumpEvent

_EPOCH = datetime.fromtimestamp(0, UTC)
_START = 19  # characters of YYYY-MM-DD-hh:mm:ss
_TIME = r"(\d{4}-\d\d-\d\d-\d\d:\d\d:\d\d)"
_GAP = r"[ .\t]+"  # between times
_REAL = r"[ \t]+([-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)"
_COUNT = r"[ \t]+(\d+)"
_HEADER = re.compile(rb"N_EVENTS\s+(\d{1,9})\b")
_EVENT = re.compile(
    _GAP.join((_TIME, r"(\d+)", _TIME, r"(\d+)")) + _REAL * 2 + _COUNT * 2 + r"\s*", re.ASCII
)


class EventOutcome(StrEnum):
    """Outcome of an event."""

    KEPT = "kept"
    MERGED = "merged"  # into a later one, which was kept
    SKIPPED = "skipped"  # it starts before the end of what was read
    LEFT = "left the buffer"
    REFUSED = "refused: other start"


class RequestedEvent(Struct, frozen=True):
    """A requested event, with times since the start given in the request."""

    asked: DumpEvent
    outcome: EventOutcome


class CrashError(Exception):
    """A request makes dada_dbevent crash."""


class RingBuffer:
    """Raw data that can be copied: old data are lost, and reading only goes forward.

    :param length: s
    """

    def __init__(self, length: float) -> None:
        self._length = length
        self._start: datetime | None = None
        self._read_to = 0.0  # s since the start
        self._lock = threading.Lock()

    def begin(self, start: datetime) -> None:
        """Start the data of another observation."""
        with self._lock:
            self._start = start
            self._read_to = 0.0

    def take(
        self, start: datetime, asked: Sequence[DumpEvent], now: float
    ) -> tuple[list[RequestedEvent], list[DumpEvent]]:
        """Copy the available data of events, in order of time.

        :param start: start given in the request
        :param now: Unix s
        :return: what became of each event; and the windows that were copied, each with DM, S/N,
            width and beam of the last event in it
        """
        asked = sorted(asked, key=lambda event: event.start)
        events: list[RequestedEvent] = []
        kept: list[DumpEvent] = []
        with self._lock:
            if start != self._start:
                return [RequestedEvent(event, EventOutcome.REFUSED) for event in asked], []
            oldest = now - self._length - start.timestamp()
            for group in _overlapping(asked):
                # What starts before the observation is copied from its start.
                window = replace(
                    group[-1],
                    start=max(group[0].start, 0.0),
                    end=max(event.end for event in group),
                )
                outcome = others = self._read(window, oldest)
                if outcome is EventOutcome.KEPT:
                    kept.append(window)
                    others = EventOutcome.MERGED
                events += [RequestedEvent(event, others) for event in group[:-1]]
                events.append(RequestedEvent(group[-1], outcome))
        return events, kept

    def _read(self, window: DumpEvent, oldest: float) -> EventOutcome:
        if window.start < oldest:
            return EventOutcome.LEFT
        if window.start < self._read_to or window.end <= window.start:
            return EventOutcome.SKIPPED
        self._read_to = window.end
        return EventOutcome.KEPT


def _overlapping(events: Sequence[DumpEvent]) -> Iterator[list[DumpEvent]]:
    """Yield groups of overlapping events in order of time; touching events do not overlap."""
    group: list[DumpEvent] = []
    for event in events:
        if group and event.start >= max(earlier.end for earlier in group):
            yield group
            group = []
        group.append(event)
    if group:
        yield group


def read_request(data: bytes, errors: list[str]) -> tuple[datetime, list[DumpEvent]]:
    """Parse a request; return the start, and the events with their times since then.

    :param errors: collects messages about unreadable lines, which do not count as events
    :raises ValueError: the first or second line cannot be read
    :raises CrashError: there are fewer events than were announced, or none were
    """
    lines = data.removesuffix(b"\n").split(b"\n")
    header = _HEADER.match(lines[0])
    if not header:
        raise ValueError("line 1: not N_EVENTS and a number")
    announced = int(header[1])
    start: datetime | None = None
    events: list[DumpEvent] = []
    for number, line in enumerate(lines[1:], 2):
        if number > 2 and len(events) == announced:
            break  # more are ignored
        try:
            text = _line(line)
            if number == 2:
                start = read_time(text[:_START])
            else:
                events.append(_read_event(text, start or _EPOCH))
        except ValueError as error:
            errors.append(f"line {number}: {error}")
    if announced == 0 or len(events) < announced:
        raise CrashError(f"{announced} events were announced, {len(events)} came")
    if start is None:
        raise ValueError("there is no start to count from")
    return start, events


def read_time(text: str) -> datetime:
    """Parse YYYY-MM-DD-hh:mm:ss, UTC.

    :raises ValueError: it is something else
    """
    return datetime.strptime(text, "%Y-%m-%d-%H:%M:%S").replace(tzinfo=UTC)


def _line(line: bytes) -> str:
    """Return a line without comments."""
    line, _, _ = line.partition(b"#")
    if not MIN_LINE <= len(line) <= MAX_LINE:
        raise ValueError(f"{len(line)} bytes where {MIN_LINE} to {MAX_LINE} can be read")
    return line.decode("ascii", "backslashreplace")


def _read_event(line: str, origin: datetime) -> DumpEvent:
    fields = _EVENT.fullmatch(line)
    if not fields:
        raise ValueError(f"not an event: {line[:80]!r}")
    first, first_digits, last, last_digits, dm, snr, width, beam = fields.groups()
    start = _since(origin, first, first_digits)
    end = _since(origin, last, last_digits)
    if start >= end:
        raise ValueError(f"it ends before it starts: {line[:80]!r}")
    return DumpEvent(start, end, float(dm), float(snr), int(width), int(beam))


def _since(origin: datetime, text: str, digits: str) -> float:
    """Return seconds since the origin; digits are a decimal fraction: 7 is 0.7 s, not 7 ms."""
    seconds = round((read_time(text) - origin).total_seconds())
    return float(seconds + Fraction(int(digits), 10 ** len(digits)))
