"""Gulps on disk, from where they are read as any file: what came by a connection comes only once.

A gulp is a marker, then its lines, each behind a byte that says what it is. So no line of a sender
can be taken for a marker.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import time
from pathlib import Path

log = logging.getLogger(__name__)

#: A spool that nothing was written to for so long is no observation's any more (s).
KEPT_SECONDS = 7 * 86400.0
#: A file that has grown to this is followed by another (bytes).
SEGMENT_BYTES = 16 * 2**20
#: No valid line is longer (bytes).
LONGEST_LINE = 4096
KEPT_OF_LONG = 100

#: First byte of each line: a whole line; half a line at the end of a connection; a line that is too
#: long, of which the beginning is kept; a line of a message without a gulp number; that number.
WHOLE, HALF, LONG, UNNUMBERED, BAD_NUMBER = b" ", b"~", b"!", b"?", b"^"

_MARKER = re.compile(rb"#gulp (\d{1,18}|\?) from ([ -~]{1,200})")
_NAME = re.compile(r"gulps_(\d{15})\.spool")


def format_gulp(gulp: int | None, search: str, lines: list[bytes], half: bytes) -> bytes:
    """Return a gulp as it is spooled.

    :param gulp: its number; None: the first of the lines should have been one
    :param lines: whole lines, without their newlines
    :param half: what came behind the last of them
    """
    number = "?" if gulp is None else str(gulp)
    parts = [f"#gulp {number} from {search}".encode("ascii", "replace")]
    for place, line in enumerate(lines):
        if len(line) > LONGEST_LINE:
            parts.append(LONG + line[:KEPT_OF_LONG])
        elif gulp is not None:
            parts.append(WHOLE + line)
        else:
            parts.append((UNNUMBERED if place else BAD_NUMBER) + line)
    if half:
        parts.append(HALF + half[:LONGEST_LINE])
    return b"\n".join(parts) + b"\n"


def parse_marker(line: bytes) -> tuple[int | None, str] | None:
    """Return number and search of a marker; None: the line is none."""
    match = _MARKER.fullmatch(line)
    if match is None:
        return None
    return None if match[1] == b"?" else int(match[1]), match[2].decode("ascii")


def is_segment(name: str) -> bool:
    """Whether a file of this name is one of a spool."""
    return _NAME.fullmatch(name) is not None


class GulpSpool:
    """Files of a directory, each of which only grows; a new process begins a new one."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._number = 0
        self._size = 0
        self._descriptor: int | None = None

    @property
    def current(self) -> Path:
        """File that is written to."""
        return self.directory / f"gulps_{self._number:015d}.spool"

    def last_gulps(self) -> dict[str, int]:
        """Return the last gulp of each search that an earlier process has spooled.

        :raises OSError: a file cannot be read
        """
        found: dict[str, int] = {}
        for path in self._segments():
            with path.open("rb") as file:
                for line in file:
                    marker = parse_marker(line.rstrip(b"\n")) if line.startswith(b"#") else None
                    if marker and marker[0] is not None:
                        found[marker[1]] = marker[0]
        return found

    def is_latest(self, path: Path) -> bool:
        """Whether no later file is there.

        :raises OSError: the directory cannot be read
        """
        return path == max(self._segments(), default=path)

    def _segments(self) -> list[Path]:
        if not self.directory.exists():
            return []
        return sorted(path for path in self.directory.iterdir() if is_segment(path.name))

    def append(self, data: bytes) -> tuple[Path, int]:
        """Append a gulp as a whole, or nothing; return its file, and where it begins (bytes).

        :raises OSError: it could not be written
        """
        if self._descriptor is None or self._size >= SEGMENT_BYTES:
            self._begin_segment()
        assert self._descriptor is not None
        begin = self._size
        written = 0
        try:
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
        except OSError:
            # A reader must not see half a gulp, of which the rest comes later.
            os.ftruncate(self._descriptor, begin)
            raise
        self._size += len(data)
        return self.current, begin

    def _begin_segment(self) -> None:
        self.directory.mkdir(parents=True, mode=0o700, exist_ok=True)
        numbers = [int(path.stem.partition("_")[2]) for path in self._segments()]
        # The time: the name of a file that was removed must not come again.
        number = max([time.time_ns() // 1_000_000, self._number + 1, *(one + 1 for one in numbers)])
        path = self.directory / f"gulps_{number:015d}.spool"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        self._close()
        self._descriptor, self._number, self._size = descriptor, number, 0

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def close(self, *, remove: bool) -> None:
        """Close the file, and remove everything if it is needed no more."""
        self._close()
        if remove:
            shutil.rmtree(self.directory, ignore_errors=True)


def remove_old_spools(spools: Path, *, except_for: Path) -> None:
    """Remove what observations left that were over while nobody followed them.

    :param spools: directory of the spools of all observations
    """
    try:
        found = [path for path in spools.iterdir() if path != except_for]
        old = [path for path in found if _last_written(path) < time.time() - KEPT_SECONDS]
    except OSError:  # there are none
        return
    for path in old:
        log.warning("%s is removed: nothing was written to it for a week", path)
        shutil.rmtree(path, ignore_errors=True)


def _last_written(spool: Path) -> float:
    """Return when anything of a spool was written last, Unix s."""
    return max(path.stat().st_mtime for path in (spool, *spool.iterdir()))
