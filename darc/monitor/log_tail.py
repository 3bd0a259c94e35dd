"""The end of a service's log, and the last error in it, followed as it grows."""

from __future__ import annotations

import calendar
import contextlib
import json
import re
import time
from collections import deque
from dataclasses import replace
from pathlib import Path

from darc.model.overview import LINE_CHARACTERS, LOG_LINES, LogLine, shortened

#: Read at a look; of a log that grows faster, the rest is passed over.
MAX_BYTES = 2**18
FIRST_BYTES = 2**16

# As darc.runtime.log writes them.
_LINE = re.compile(
    r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\.(\d{3}) ([A-Z]+) [\w.-]+(?: \[[^\]]*\])?: (.*)", re.ASCII
)
_BAD = ("ERROR", "CRITICAL")
_TRACEBACK = "Traceback (most recent call last):"


class LogTail:
    """The end of one log file.

    ``lines`` are its last ones, ``last_error`` the last that says ERROR or CRITICAL, with the last
    line of a traceback below it, or the last line of a traceback that stands alone, as Python
    writes it where a process ends before it has a log: for processes that nobody can ask.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: tuple[str, ...] = ()
        self.last_error: LogLine | None = None
        self._file: tuple[int, int] | None = None  # device, inode
        self._offset = 0
        self._below: LogLine | None = None  # the error that the lines of now are below
        self._bare = False  # inside a traceback that stands alone
        self._undated = False  # the last error has no time of its own
        self._written = 0.0  # when the file was last written to (Unix s)

    def look(self) -> bool:
        """Read what is new; returns whether anything is. A file that is missing has nothing.

        :raises OSError: it cannot be read
        """
        with contextlib.suppress(FileNotFoundError):
            status = self.path.stat()
            file = status.st_dev, status.st_ino
            self._written = status.st_mtime
            first = self._file is None
            if file != self._file or status.st_size < self._offset:
                self._file, self._offset = file, 0  # rotated; or cut
            if status.st_size > self._offset:
                return self._read(status.st_size, FIRST_BYTES if first else MAX_BYTES)
        return False

    def _read(self, size: int, most: int) -> bool:
        start = max(self._offset, size - most)
        with self.path.open("rb") as file:
            file.seek(start)
            data = file.read(size - start)
        # A line that is half there is read when it is whole, unless it is absurdly long.
        end = data.rfind(b"\n") + 1 or (len(data) if len(data) == most else 0)
        self._offset = start + end
        lines = data[:end].decode(errors="replace").removesuffix("\n").split("\n") if end else []
        if start and start == size - most:
            lines = lines[1:]  # cut
        last = deque(self.lines, LOG_LINES)
        for line in lines:
            last += self._take(line)
        self.lines = tuple(last)  # as a whole: others read it
        return bool(lines)

    def _take(self, line: str) -> list[str]:
        """A line as it is shown, with what it says noted."""
        line = _from_json(line) if line.startswith("{") else line
        line = "".join(letter if letter.isprintable() else " " for letter in line)
        match = _LINE.fullmatch(line)
        if match is None:
            if line == _TRACEBACK:
                self._below, self._bare = None, True
            elif self._bare and line.strip() and not line.startswith(" "):
                # Undated: it was said before whatever was written last.
                self.last_error, self._bare = LogLine(self._written, shortened(line)), False
                self._undated = True
            if self._below and line.startswith(" "):  # of a traceback, the last line says most
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
    """The other form that DARC's log lines may have, as text; of a traceback, both ends."""
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
