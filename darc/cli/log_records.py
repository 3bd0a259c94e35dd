"""Entries of log files: a line that begins one, in either form, and the lines that belong to it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from darc.runtime.log import printable

# As darc.runtime.log and supervisord write them.
_TEXT = re.compile(
    r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)[.,](\d{3}) (?:[A-Z]{4,8}) .*", re.ASCII | re.DOTALL
)
_RELATIVE = re.compile(r"(\d+(?:\.\d+)?)([smhd])", re.ASCII)
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, slots=True)
class LogRecord:
    """An entry, safe to show; `time` (Unix s) is None for lines that belong to no entry."""

    time: float | None
    service: str
    text: str

    @property
    def key(self) -> float:
        """What entries are sorted by."""
        return -math.inf if self.time is None else self.time


def head_of(line: str) -> tuple[float, str] | None:
    """Time and text of a line that begins an entry; None for another one.

    Objects of JSON become the text that the other form would have.
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
        said = json.loads(line)
        moment = datetime.fromisoformat(said["time"]).astimezone(UTC)
        about = f" [{said['observation']}]" if said["observation"] else ""
        shown = moment.strftime("%Y-%m-%d %H:%M:%S.") + f"{moment.microsecond // 1000:03d}"
        text = f"{shown} {said['level']} {said['service']}{about}: {said['message']}"
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        return None
    return moment.timestamp(), text


def _safe(text: str) -> str:
    # Most are, and this is quick.
    return text if text.isprintable() else printable(text)


def records(lines: Iterable[bytes], service: str) -> Iterator[LogRecord]:
    """The entries of lines in their order. Lines before the first one that begins an entry are one.

    :param lines: without their ends
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
    """The same from lines that come from the last to the first."""
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
    """A moment (Unix s): ``10m`` and the like before now, or a time by ISO 8601, in UTC by default.

    :raises ValueError: it is neither
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
            f"{text!r} is no time; allowed: 30s, 10m, 2h, 1d before now,"
            " or UTC as 2026-11-22T01:13:22"
        ) from None
