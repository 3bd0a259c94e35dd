"""A trigger file that AMBER is still writing, read as far as whole lines go."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import stat
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from darc.config.file_kinds import BYTE_ORDER_MARK_BYTES
from darc.model.candidate import CANDIDATE, Records
from darc.model.counters import Counted, Rejection
from darc.queues.messages import ReadProgress
from darc.trigger_files.amber import Columns, parse_lines

CHUNK_BYTES = 2**20
#: By these a version of a file is known: more than a header, and some lines.
FIRST_BYTES, LAST_BYTES = 512, 128
#: By so much the clock of a file server may be behind.
EARLIER_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Chunk:
    """Whole lines of a file, parsed; lines == candidates + headers + those rejected."""

    progress: ReadProgress
    candidates: Records
    lines: int
    headers: int
    rejected: Mapping[Rejection, int]
    first_rejected: str  # a description for the log; empty when none was
    written: float  # when the file was last written to, Unix s; no line is younger


@dataclass(frozen=True, slots=True)
class Replaced:
    """A version of a file that is there no more.

    :param read: bytes that were read of it
    :param unread: further bytes that it was seen to have: these are lost
    """

    read: int
    unread: int


class TriggerFile:
    """One trigger file and how far it has been read.

    A file that is written anew, in place or under the same name, is another *version*, which is
    read from its start. A version is known by its content: what was read of it first, and last. So
    a copy under the same name is the same version, and one that was only cut goes on at its end.

    :param latest: time that a candidate of the observation may have (s)
    :param start: of the observation, Unix s: what was written last before it is not of it, but of
        an earlier one, and is passed over
    :param progress: bytes that an earlier process has read, by source
    :param state: what was in force there, as :meth:`state` gave it
    """

    def __init__(
        self,
        path: Path,
        *,
        batch_length_s: float,
        tsamp: float,
        latest: float = math.inf,
        start: float = -math.inf,
        progress: Mapping[str, int] | None = None,
        state: Any = None,
    ) -> None:
        self.path = path
        self._latest = latest
        self._start = start
        self._batch_length_s = batch_length_s
        self._tsamp = tsamp
        state = state or {}
        self._version = int(state.get("version", 1))
        self._begin = int(state.get("begin", 0))  # of this version, what was read before
        self._held = (progress or {}).get(self.source, 0)
        self.offset = self._held or self._begin
        self._columns = Columns(**state["columns"]) if state.get("columns") else None
        self._in_long_line = bool(state.get("in long line"))
        self._first = bytes(state.get("first", b""))
        self._last = bytes(state.get("last", b""))
        self._seen_size = self.offset
        self._compared: tuple[int, ...] = ()  # what the file system said of it then
        self._looked_at = self.offset > 0
        #: Bytes that lay there before the observation, once, after :meth:`size` has found them.
        self.earlier = 0
        #: The version before, once, after :meth:`size` has found another one.
        self.replaced: Replaced | None = None
        self.vanished = False  # it was read from, and is not there now
        self.written = 0.0  # last, Unix s by the file system's clock

    @property
    def source(self) -> str:
        """What its progress is kept under."""
        version = self._version
        return self.path.name if version == 1 else f"{self.path.name} version {version}"

    def state(self) -> dict[str, Any]:
        """What the next process has to know to go on at ``offset``, as plain values."""
        return {
            "version": self._version,
            "begin": self._begin,
            "columns": asdict(self._columns) if self._columns else None,
            "in long line": self._in_long_line,
            "first": self._first,
            "last": self._last,
        }

    def size(self) -> int:
        """Bytes there are to read up to; none while there is no file.

        :raises OSError: it cannot be told
        """
        try:
            found = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            self.vanished = self.offset > 0
            return self.offset
        if not stat.S_ISREG(found.st_mode):  # that it is empty would say nothing
            raise OSError(errno.EINVAL, "not a regular file", str(self.path))
        self.vanished = False
        self.written = found.st_mtime
        if not self._looked_at:
            self._looked_at = True
            if found.st_mtime < self._start - EARLIER_SECONDS:
                self._pass_over(found.st_size)
        looked = found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
        if looked != self._compared:
            if self.offset:
                self._compare(found.st_size)
            self._compared = looked
        self._seen_size = max(found.st_size, self.offset)
        return self._seen_size

    def _pass_over(self, size: int) -> None:
        """Begin behind what an earlier observation has left, unless that is headers alone."""
        with self._open() as file:
            data = file.read(CHUNK_BYTES)
            if not _has_candidates(data):
                return
            file.seek(max(0, size - LAST_BYTES))
            self._last = file.read(LAST_BYTES)[: min(size, LAST_BYTES)]
        for line in data.split(b"\n")[:1]:
            with contextlib.suppress(ValueError):  # then a header has to come
                self._columns = Columns.from_header(line)
        self._first = data[:FIRST_BYTES]
        self.earlier = self.offset = self._begin = size

    def _compare(self, size: int) -> None:
        """Find out whether what the file holds is what was read of it."""
        with self._open() as file:
            first = file.read(min(len(self._first), size))
            known = not self._first or (first and self._first.startswith(first))
            if size >= self.offset:
                file.seek(self.offset - len(self._last))
                known = known and file.read(len(self._last)) == self._last
                if not known:
                    self._begin_anew(0)
            else:
                cut = known and self._held > 0 and _has_candidates(first)
                self._begin_anew(size if cut else 0)

    def _begin_anew(self, offset: int) -> None:
        """Another version begins, of which what is before ``offset`` was read."""
        unread = max(0, self._seen_size - self.offset)
        if self._held or self._version > 1 or not self._begin:  # else it is an earlier one's
            self.replaced = Replaced(self.offset, unread)
        self._version += 1
        self._held, self._begin = 0, offset
        self.offset = offset
        self._first, self._last = self._first[:offset], b""
        self._in_long_line = False
        if not offset:
            self._columns = None

    def _open(self) -> BinaryIO:
        """Open the file; what is no file must not be waited for.

        :raises OSError: it cannot be read
        """
        number = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(number).st_mode):
                raise OSError(errno.EINVAL, "not a regular file")
            return open(number, "rb")  # noqa: PTH123 - a descriptor
        except BaseException:
            os.close(number)
            raise

    def _read_at_offset(self, length: int) -> bytes:
        """What follows; nothing where another version has come between, which `size` will find."""
        with self._open() as file:
            file.seek(self.offset - len(self._last))
            data = file.read(len(self._last) + length)
        if not data.startswith(self._last):
            self._compared = ()
            return b""
        return data[len(self._last) :]

    def read(self, limit: int) -> Chunk | None:
        """Read whole lines between where it was left and byte ``limit``; None when there are none.

        :raises OSError: the file cannot be read
        """
        if self.offset >= limit:
            return None
        data = self._read_at_offset(min(CHUNK_BYTES, limit - self.offset))
        if self._in_long_line:
            return self._skip(data) if data else None
        end = data.rfind(b"\n") + 1
        if end:
            return self._parse(data[:end])
        if len(data) < CHUNK_BYTES:
            return None
        # No line is that long: count it as one bad line, and go on behind its end.
        self._in_long_line = True
        return self._reject(data, {Rejection.LONG_LINE: 1}, data)

    def read_rest(self, limit: int, *, finished: bool = False) -> Chunk | None:
        """What follows the last whole line before byte ``limit``, and will never become one.

        To be called when :meth:`read` has given all there is.

        :param finished: nobody has been writing to it: it is a line that lacks its end alone
        :raises OSError: the file cannot be read
        """
        if self.offset >= limit:
            return None
        data = self._read_at_offset(limit - self.offset)
        if data and finished and not self._in_long_line:
            return self._parse(data, lacks_end=True)
        return self._reject(data, {Rejection.HALF_LINE: 1}, data) if data else None

    def _skip(self, data: bytes) -> Chunk:
        """Pass over what belongs to a line that was counted when it began."""
        end = data.find(b"\n") + 1
        self._in_long_line = not end
        return self._reject(data[: end or len(data)], {}, b"")

    def _parse(self, data: bytes, *, lacks_end: bool = False) -> Chunk:
        before = self._lines_before_header(data) if self._columns is None else None
        if before:
            return before
        assert self._columns is not None  # the first line is a header
        parsed = parse_lines(
            data + b"\n" if lacks_end else data,
            self._columns,
            batch_length_s=self._batch_length_s,
            tsamp=self._tsamp,
        )
        self._columns = parsed.columns
        inside = parsed.candidates["time"] <= self._latest
        rejected = Counter(parsed.rejected)
        if not inside.all():
            rejected[Rejection.OUTSIDE] += int((~inside).sum())
        first = ""
        if parsed.first_rejected:
            number, text = parsed.first_rejected
            first = self._describe(number, text)
        elif not inside.all():
            first = f"{self.path}: from byte {self.offset}: later than {self._latest:g} s"
        return Chunk(
            self._advance(data),
            parsed.candidates[inside],
            parsed.lines,
            parsed.headers,
            rejected,
            first,
            self.written,
        )

    def _lines_before_header(self, data: bytes) -> Chunk | None:
        """Reject what comes before the first usable header, which is taken; None: nothing does."""
        rejected: Counter[Rejection] = Counter()
        first = b""
        begin = 0
        while begin < len(data):
            end = data.find(b"\n", begin) + 1 or len(data)
            text = data[begin:end]
            reason = Rejection.NO_HEADER
            if text.removeprefix(BYTE_ORDER_MARK_BYTES).startswith(b"#"):
                try:
                    self._columns = Columns.from_header(text)
                    break
                except ValueError as error:
                    reason, text = Rejection.UNUSABLE_HEADER, str(error).encode()
            first = first or text
            rejected[reason] += 1
            begin = end
        return self._reject(data[:begin], dict(rejected), first) if begin else None

    def _reject(self, data: bytes, rejected: Mapping[Rejection, int], text: bytes) -> Chunk:
        first = self._describe(0, text) if rejected else ""
        nothing = np.empty(0, dtype=CANDIDATE)
        progress = self._advance(data)
        lines = sum(rejected.values())
        return Chunk(progress, nothing, lines, 0, rejected, first, self.written)

    def _describe(self, number: int, text: bytes) -> str:
        return f"{self.path}: line {number + 1} from byte {self.offset}: {text[:120]!r}"

    def _advance(self, data: bytes) -> ReadProgress:
        """Go on behind bytes that were read."""
        if len(self._first) == self.offset:  # an earlier DARC has not kept it
            self._first += data[: FIRST_BYTES - len(self._first)]
        self._last = (self._last + data)[-LAST_BYTES:]
        start, self.offset = self._held, self.offset + len(data)
        self._held = self.offset
        return ReadProgress(self.source, start, self.offset)


def _has_candidates(data: bytes) -> bool:
    """Whether there is more than headers, which one file has as another."""
    return any(line and not line.startswith(b"#") for line in data.split(b"\n"))


def count_chunks(chunks: list[Chunk], counts: Counter[str]) -> None:
    """Enter chunks into the books."""
    for chunk in chunks:
        counts[Counted.LINES] += chunk.lines
        counts[Counted.HEADERS] += chunk.headers
        counts[Counted.CANDIDATES] += len(chunk.candidates)
        for reason, lines in chunk.rejected.items():
            counts[reason.counter] += lines
