"""The last lines of a service's log and its last error, read as the log grows."""

from __future__ import annotations

import calendar
import contextlib
import json
import re
import time
from collections import deque
from pathlib import Path

from darc.config.records import replace
from darc.model.overview import LINE_CHARACTERS, LOG_LINES, LogLine, shortened

#: Bytes read per round; of a log that grows faster, the rest is skipped.
MAX_BYTES = 2**18
FIRST_BYTES = 2**16

# Format of darc.runtime.log.
_LINE = re.compile(
    r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\.(\d{3}) ([A-Z]+) [\w.-]+(?: \[[^\]]*\])?: (.*)", re.ASCII
)
_BAD = ("ERROR", "CRITICAL")
_TRACEBACK = "Traceback (most recent call last):"


class LogTail:
    """The last lines of one log file.

    ``lines`` are its last lines; ``last_error`` is the last line at level ERROR or CRITICAL, with
    the last line of its traceback, or the last line of a traceback without a log line, which Python
    writes where a process fails before its log is set up: for processes that cannot be asked.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: tuple[str, ...] = ()
        self.last_error: LogLine | None = None
        self._file: tuple[int, int] | None = None  # device, inode
        self._offset = 0
        self._below: LogLine | None = None  # error that the traceback lines belong to
        self._bare = False  # inside a traceback without a log line
        self._undated = False  # the last error has no time of its own
        self._written = 0.0  # when the file was last written to (Unix s)

    def poll(self) -> bool:
        """Read new lines; return whether there are any. A missing file has no lines.

        :raises OSError: the file cannot be read
        """
        with contextlib.suppress(FileNotFoundError):
            status = self.path.stat()
            file = status.st_dev, status.st_ino
            self._written = status.st_mtime
            first = self._file is None
            if file != self._file or status.st_size < self._offset:
                self._file, self._offset = file, 0  # rotated or truncated
            if status.st_size > self._offset:
                return self._read(status.st_size, FIRST_BYTES if first else MAX_BYTES)
        return False

    def _read(self, size: int, most: int) -> bool:
        start = max(self._offset, size - most)
        with self.path.open("rb") as file:
            file.seek(start)
            data = file.read(size - start)
        # An incomplete line is read once it is complete, unless it is extremely long.
        end = data.rfind(b"\n") + 1 or (len(data) if len(data) == most else 0)
        self._offset = start + end
        lines = data[:end].decode(errors="replace").removesuffix("\n").split("\n") if end else []
        if start and start == size - most:
            lines = lines[1:]  # truncated
        last = deque(self.lines, LOG_LINES)
        for line in lines:
            last += self._take(line)
        self.lines = tuple(last)  # replaced as a whole: other threads read it
        return bool(lines)

    def _take(self, line: str) -> list[str]:
        """Return a line as shown, or nothing where it is blank; record an error in it."""
        line = _from_json(line) if line.startswith("{") else line
        line = "".join(letter if letter.isprintable() else " " for letter in line)
        match = _LINE.fullmatch(line)
        if match is None:
            if line == _TRACEBACK:
                self._below, self._bare = None, True
            elif self._bare and line.strip() and not line.startswith(" "):
                # Without a time of its own: it was written before the last write to the file.
                self.last_error, self._bare = LogLine(self._written, shortened(line)), False
                self._undated = True
            if self._below and line.startswith(" "):  # of a traceback, use the last line
                text = f"{self._below.text}: {line.strip()}"
                self.last_error = LogLine(self._below.time, shortened(text))
            return [_cut(line)] if line.strip() else []
        said = LogLine(_unix(match[1], match[2]), shortened(match[4]))
        self._bare = False
        if self._undated and self.last_error and said.time is not None:
            before = min(self.last_error.time or said.time, said.time)
            self.last_error, self._undated = replace(self.last_error, time=before), False
        self._below = said if match[3] in _BAD else None
        if self._below:
            self.last_error = said
        return [_cut(line)]


def _from_json(line: str) -> str:
    """Convert a log line in JSON to text; of a traceback, both ends."""
    try:
        said = json.loads(line)
        moment = said["time"].replace("T", " ").rstrip("Z")
        about = f" [{said['observation']}]" if said["observation"] else ""
        first, *below = said["message"].splitlines() or [""]
        text = f"{first}: {below[-1].strip()}" if below else first
        return f"{moment} {said['level']} {said['service']}{about}: {text}"
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return line


def _cut(text: str) -> str:
    return text if len(text) <= LINE_CHARACTERS else text[: LINE_CHARACTERS - 1] + "…"


def _unix(seconds: str, milliseconds: str) -> float | None:
    try:
        moment = time.strptime(seconds, "%Y-%m-%d %H:%M:%S")
    except ValueError:
        return None
    return calendar.timegm(moment) + int(milliseconds) / 1e3
