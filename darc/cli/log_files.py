"""Log files including rotated ones: reading in both directions, and following.

At any time supervisord may rename `log` to `log.1`, that to `log.2` and so on, and open a new
`log`. The files of a log are one stream of bytes, split anywhere.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import BinaryIO

BLOCK = 2**16
#: Attempts to open the files of a log without a rotation meanwhile.
_TRIES = 50
_WAIT_SECONDS = 0.01
#: Replaces lines of a log that was rotated faster than it was read.
GAP = b"(lines are missing here: they were rotated away before they were read)"


def open_files(path: Path) -> list[BinaryIO]:
    """Open all files of a log, the newest first; an empty list if there are none.

    :raises OSError: one cannot be read
    """
    for _ in range(_TRIES):
        names = _names(path)
        files: list[BinaryIO] = []
        with suppress(FileNotFoundError):
            for name in names:
                files.append(name.open("rb"))
            if _names(path) == names and list(map(_inode, files)) == list(map(_inode, names)):
                return files
        for file in files:
            file.close()
        time.sleep(_WAIT_SECONDS)
    raise OSError(f"{path}: rotated all the time")


def _names(path: Path) -> list[Path]:
    rotated = re.compile(re.escape(path.name) + r"\.([0-9]{1,6})")
    try:
        found = {entry.name for entry in path.parent.iterdir()}
    except (FileNotFoundError, NotADirectoryError):
        return []
    numbers = sorted(int(match[1]) for name in found if (match := rotated.fullmatch(name)))
    older = [path.with_name(f"{path.name}.{number}") for number in numbers]
    return [path, *older] if path.name in found else older


def _inode(file: BinaryIO | Path) -> tuple[int, int]:
    status = file.stat() if isinstance(file, Path) else os.fstat(file.fileno())
    return status.st_dev, status.st_ino


def file_size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def _signature(file: BinaryIO) -> tuple[int, int, int]:
    """Return the identity of a closed file; its inode alone may be reused."""
    status = os.fstat(file.fileno())
    return status.st_ino, status.st_size, status.st_mtime_ns


def lines_forwards(files: Sequence[BinaryIO], size: int) -> Iterator[bytes]:
    """Yield the lines of a log from first to last.

    :param files: its files, the newest first
    :param size: bytes of the newest file to read
    """
    rest = b""
    for file in reversed(files):
        position, end = 0, size if file is files[0] else file_size(file)
        while block := os.pread(file.fileno(), min(BLOCK, end - position), position):
            position += len(block)
            *lines, rest = (rest + block).split(b"\n")
            yield from lines
    if rest:
        yield rest


def lines_backwards(files: Sequence[BinaryIO], size: int) -> Iterator[bytes]:
    """Yield the lines of a log from last to first; see :func:`lines_forwards`."""
    rest: bytes | None = None  # the end of a line whose start is not read yet
    for file in files:
        position = size if file is files[0] else file_size(file)
        while position > 0:
            length = min(BLOCK, position)
            position -= length
            block = os.pread(file.fileno(), length, position)
            if rest is None:
                block, rest = block.removesuffix(b"\n"), b""
            rest, *lines = (block + rest).split(b"\n")
            yield from reversed(lines)
    if rest is not None:
        yield rest


def whole_size(file: BinaryIO) -> int:
    """Return the size of a file up to its last line end (bytes); all of it if that is far away."""
    size = file_size(file)
    start = max(0, size - BLOCK)
    end = os.pread(file.fileno(), size - start, start).rfind(b"\n") + 1
    return start + end if end or start == 0 else size


class FollowedLog:
    """A growing and rotated log; returns each new line once.

    :param path: path of the log, which need not exist yet
    :param files: its open files, the newest first; that one is owned by this object from now on
    :param size: bytes of the newest file that are known already
    """

    def __init__(self, path: Path, files: Sequence[BinaryIO], size: int) -> None:
        self.path = path
        self._file = files[0] if files else None
        self._older = set(map(_signature, files[1:]))
        if self._file:
            self._file.seek(size)
        self._rest = b""

    def close(self) -> None:
        if self._file:
            self._file.close()

    def read(self) -> list[bytes]:
        """Return the lines completed since the last call.

        :raises OSError: the log cannot be read
        """
        parts = list(self._drain())
        if self._was_cut():
            parts += [b"\n"] if self._rest or (parts and parts[-1][-1:] != b"\n") else []
            parts += self._drain()
        elif not self._is_current():
            parts += self._go_on()
        *lines, self._rest = (self._rest + b"".join(parts)).split(b"\n")
        return lines

    def _drain(self) -> Iterator[bytes]:
        while self._file and (block := self._file.read(2**20)):
            yield block

    def _was_cut(self) -> bool:
        """Whether the file was truncated, as without backups; then it is read from its start."""
        if self._file is None or file_size(self._file) >= self._file.tell():
            return False
        self._file.seek(0)
        return True

    def _is_current(self) -> bool:
        try:
            return self._file is not None and _inode(self.path) == _inode(self._file)
        except FileNotFoundError:
            return False

    def _go_on(self) -> Iterator[bytes]:
        """Yield the data written after a file was renamed, file by file."""
        files = open_files(self.path)
        if not files:
            return  # removed; what still writes to it is heard
        mine = _inode(self._file) if self._file else None
        known = [_inode(file) for file in files]
        if mine in known:
            newer, others = files[: known.index(mine)], files[known.index(mine) :]
        else:  # rotated away completely, or removed
            n = len(list(takewhile(lambda file: _signature(file) not in self._older, files)))
            newer, others = files[:n], files[n:]
        self._older = set(map(_signature, files[1:]))
        for file in others:
            file.close()
        # A file is complete once its successor exists.
        yield from self._drain()
        if mine and mine not in known and len(newer) > 1:
            yield b"\n" + GAP + b"\n"
        for file in reversed(newer):
            if self._file:
                self._file.close()
            self._file = file
            yield from self._drain()
