"""Values in parsets: text to numbers, lists, times and names.

Every function raises ValueError if a value is not of its kind.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

from darc.config import ranges
from darc.config.typed import Range

N = TypeVar("N", int, float)

UTC_LENGTH = 19
_MAX_LIST = 10_000
_MAX_PATH = 4095  # bytes
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
# Some values have spaces before the unit: `+0.0          deg`.
_ANGLE = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*deg")
_UTC_SHAPE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}-[0-9]{2}:[0-9]{2}:[0-9]{2}")
_TASK_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}")


def to_integer(value: Any) -> int:
    """Return a whole number of at most 18 digits."""
    text = str(value)
    if not _INTEGER.fullmatch(text):
        raise ValueError(text)
    return int(text)


def to_number(value: Any) -> float:
    """Return a finite number."""
    text = str(value)
    number = float(text)
    if not math.isfinite(number) or "_" in text:
        raise ValueError(text)
    return number


def to_boolean(text: str) -> bool:
    """Return the truth value of `true` or `false`, in any case."""
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def to_list(text: str) -> tuple[str, ...]:
    """Return the entries of `[a, b]`."""
    if not (text.startswith("[") and text.endswith("]")) or len(text) < 2:
        raise ValueError(text)
    return tuple(entry.strip() for entry in text[1:-1].split(",")) if text[1:-1].strip() else ()


def to_integers(text: str) -> tuple[int, ...]:
    """Return the numbers in `[0, 1, 2]`, `[0..2]` or a mixture; or a single number."""
    found: list[int] = []
    for entry in to_list(text) if text.startswith("[") else (text,):
        low, dots, high = entry.partition("..")
        first = to_integer(low.strip())
        last = to_integer(high.strip()) if dots else first
        if last < first or last - first + len(found) >= _MAX_LIST:
            raise ValueError(text)
        found += range(first, last + 1)
    return tuple(found)


def to_angles(text: str) -> tuple[float, ...]:
    """Return the angles in a list such as `[293.9deg, 16.3 deg]`, in degrees."""
    found = []
    for entry in to_list(text):
        match = _ANGLE.fullmatch(entry)
        if match is None:
            raise ValueError(text)
        found.append(to_number(match[1]))
    return tuple(found)


def within(number: N, low: float, high: float) -> N:
    """Return the number if it is from `low` to `high`."""
    if not low <= number <= high:
        raise ValueError(number)
    return number


def allowed(number: N, valid: Range) -> N:
    """Return the number if it is in the range."""
    if not valid.allows(number):
        raise ValueError(number)
    return number


def to_count(value: Any) -> int:
    """Return a whole number from 1 to a million."""
    return allowed(to_integer(value), ranges.COUNT)


def number_in(valid: Range) -> Callable[[Any], float]:
    """Return a converter to numbers in the range."""
    return lambda value: allowed(to_number(value), valid)


def to_port(value: Any) -> int:
    """Return a TCP or UDP port."""
    return within(to_integer(value), 1, 65535)


def to_names(value: Any) -> tuple[str, ...]:
    """Return a list of names."""
    return tuple(to_name(name) for name in to_list(str(value)))


def to_task_id(value: Any) -> str:
    """Return a task id, which also names a file."""
    if not _TASK_ID.fullmatch(str(value)):
        raise ValueError(value)
    return str(value)


def to_utc(value: Any) -> str:
    """Return a time such as 2019-05-18-23:51:13, from 1990 to 2200."""
    text = str(value)
    if not _UTC_SHAPE.fullmatch(text):
        raise ValueError(value)
    time = datetime.strptime(text, "%Y-%m-%d-%H:%M:%S").replace(tzinfo=UTC)
    allowed(time.timestamp(), ranges.START)
    return text


def to_path(value: Any) -> str:
    """Return a path that is valid in a file system."""
    text = str(value)
    if "\0" in text or len(text.encode()) > _MAX_PATH:  # UnicodeEncodeError is a ValueError, too
        raise ValueError(value)
    return text


def to_date(value: Any) -> str:
    """Return a date such as 20190518."""
    text = str(value)
    to_utc(f"{text[:4]}-{text[4:6]}-{text[6:]}-00:00:00")
    return text


def to_name(value: Any) -> str:
    """Return a name that is safe as the name of a file or directory."""
    text = str(value)
    if not text.isprintable() or "/" in text or text in ("", ".", ".."):
        raise ValueError(value)
    if len(text.encode()) > 200:  # of the 255 bytes that a file system allows
        raise ValueError(value)
    return text


def to_datetimesource(value: Any) -> str:
    """Return `<time>.<source>`, which also names a directory."""
    text = str(value)
    to_utc(text[:UTC_LENGTH])
    if text[UTC_LENGTH : UTC_LENGTH + 1] != ".":
        raise ValueError(value)
    to_name(text[UTC_LENGTH + 1 :])
    return text


#: What a key may hold: its converter, and the same in words.
INTEGER = to_integer, "a whole number"
COUNT = to_count, f"a whole number {ranges.COUNT}"
NUMBER = to_number, "a number"
BOOLEAN = to_boolean, "True or False"
DURATION = number_in(ranges.DURATION), "seconds, above 0 and up to 8640000 (100 days)"
FREQUENCY = number_in(ranges.FREQUENCY), f"MHz, {ranges.FREQUENCY}"
BANDWIDTH = number_in(ranges.BANDWIDTH), f"MHz, {ranges.BANDWIDTH}"
TSAMP = number_in(ranges.TSAMP), f"seconds, {ranges.TSAMP}"
PORT = to_port, "1 to 65535"
NAME = to_name, "a name without /"
TASK_ID = to_task_id, "letters, digits and . + - _"
