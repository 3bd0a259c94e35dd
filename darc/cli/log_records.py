"""Entries of log files: a first line, in either format, and its continuation lines."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from darc.config.records import Struct
from darc.runtime.log import printable

# Formats of darc.runtime.log and supervisord.
_TEXT = re.compile(
    r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)[.,](\d{3}) (?:[A-Z]{4,8}) .*", re.ASCII | re.DOTALL
)
_RELATIVE = re.compile(r"(\d+(?:\.\d+)?)([smhd])", re.ASCII)
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class LogRecord(Struct, frozen=True):
    """An entry, safe to display; `time` (Unix s) is None for lines outside any entry."""

    time: float | None
    service: str
    text: str

    @property
    def key(self) -> float:
        """Sort key of entries."""
        return -math.inf if self.time is None else self.time


def head_of(line: str) -> tuple[float, str] | None:
    """Return time and text of the first line of an entry; None for another line.

    JSON objects become the text of the other format.
    """
    if line.startswith("{"):
        return _from_json(line)
    match = _TEXT.fullmatch(line)
    if match is None:
        return None
    try:
        moment = datetime.fromisoformat(f"{match[1]}+00:00")
    except ValueError:
        return None
    return moment.timestamp() + int(match[2]) / 1e3, line


def _from_json(line: str) -> tuple[float, str] | None:
    try:
        fields = json.loads(line)
        moment = datetime.fromisoformat(fields["time"]).astimezone(UTC)
        about = f" [{fields['observation']}]" if fields["observation"] else ""
        shown = moment.strftime("%Y-%m-%d %H:%M:%S.") + f"{moment.microsecond // 1000:03d}"
        text = f"{shown} {fields['level']} {fields['service']}{about}: {fields['message']}"
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        return None
    return moment.timestamp(), text


def _safe(text: str) -> str:
    # Most are printable, and this check is fast.
    return text if text.isprintable() else printable(text)


def records(lines: Iterable[bytes], service: str) -> Iterator[LogRecord]:
    """Yield the entries of lines in order. Lines before the first entry are one entry.

    :param lines: lines without line ends
    """
    moment: float | None = None
    texts: list[str] = []
    for line in lines:
        text = line.decode(errors="replace")
        head = head_of(text)
        if head is None:
            texts.append(_safe(text))
            continue
        if texts:
            yield LogRecord(moment, service, "\n".join(texts))
        moment, texts = head[0], [_safe(head[1])]
    if texts:
        yield LogRecord(moment, service, "\n".join(texts))


def records_backwards(lines: Iterable[bytes], service: str) -> Iterator[LogRecord]:
    """Yield the same entries from lines in reverse order."""
    below: list[str] = []
    for line in lines:
        text = line.decode(errors="replace")
        head = head_of(text)
        if head is None:
            below.append(_safe(text))
            continue
        yield LogRecord(head[0], service, "\n".join([_safe(head[1]), *reversed(below)]))
        below = []
    if below:
        yield LogRecord(None, service, "\n".join(reversed(below)))


def parse_since(text: str, now: float) -> float:
    """Return a Unix time (s) of ``10m`` (before now) and the like, or ISO 8601 (default UTC).

    :param now: Unix time, s
    :raises ValueError: neither of these
    """
    match = _RELATIVE.fullmatch(text)
    try:
        if match:
            ago = timedelta(seconds=float(match[1]) * _UNITS[match[2]])
            return (datetime.fromtimestamp(now, UTC) - ago).timestamp()
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment.timestamp()
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is not a time; allowed: 30s, 10m, 2h, 1d before now,"
            " or UTC as 2026-11-22T01:13:22"
        ) from None
