"""Formatting of numbers and times for the pages."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from darc.model.arrival_texts import milliseconds, sampling

#: Placeholder for unknown values.
NOT_KNOWN = "\N{EN DASH}"


def _count(number: int) -> str:
    return NOT_KNOWN if number < 0 else f"{number:,}"


def _time(form: str) -> Callable[[float], str]:
    """Return a filter for Unix times, with an empty result for 0 and invalid times."""

    def text(unix: float) -> str:
        try:
            return datetime.fromtimestamp(unix, UTC).strftime(form) if unix > 0 else ""
        except (OverflowError, ValueError, OSError):
            return ""

    return text


def _day(date: str) -> str:
    try:
        day = datetime.strptime(date, "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:
        return date
    return f"{day.day} {day:%B %Y}"


def _month(month: str) -> str:
    """Format the first six digits of a date; empty if invalid."""
    try:
        return f"{datetime.strptime(month, '%Y%m').replace(tzinfo=UTC):%B %Y}"
    except ValueError:
        return month or "other"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def _beams(numbers: tuple[int, ...]) -> str:
    return ", ".join(f"CB{number:02d}" for number in numbers)


SITE_FILTERS: dict[str, Callable[..., str]] = {
    "count": _count,
    "iso": _time("%Y-%m-%dT%H:%M:%SZ"),
    "utc": _time("%Y-%m-%d %H:%M:%S UTC"),
    "clock": _time("%H:%M:%S"),
    "day": _day,
    "month": _month,
    "duration": _duration,
    "beams": _beams,
    "ms": milliseconds,
    "sampling": sampling,
    "fixed": lambda value, digits: NOT_KNOWN if value is None else f"{value:.{digits}f}",
    "two": lambda number: f"{number:02d}",
}
