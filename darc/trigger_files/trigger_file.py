"""Reader of a file that a search engine is still writing, line by line."""

from __future__ import annotations

import errno
import math
import stat
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from darc.config.records import Struct
from darc.model.candidate import CANDIDATE, Records
from darc.model.counters import Counted, Rejection
from darc.queues.messages import ReadProgress
from darc.runtime.untrusted_files import open_regular
from darc.trigger_files.line_reader import LineReader, ReadLines

CHUNK_BYTES = 2**20
#: Bytes by which a version of a file is recognised: more than a header, and some lines.
FIRST_BYTES, LAST_BYTES = 512, 128
#: By so much the clock of a file server may be behind.
EARLIER_SECONDS = 2.0


class Chunk(Struct, frozen=True):
    """Parsed whole lines of a file; lines == candidates + headers + rejected ones."""

    progress: ReadProgress
    candidates: Records
    lines: int
    headers: int
    rejected: Mapping[Rejection, int]
    first_rejected: str  # a description for the log; empty when none was
    written: float  # when the file was last written to, Unix s; no line is younger


class Replaced(Struct, frozen=True):
    """A version of a file that no longer exists.

    :param read: bytes read from it
    :param unread: further bytes that it had, which are lost
    """

    read: int
    unread: int


class TriggerFile:
    """A trigger file, and the position up to which it has been read.

    A file that is rewritten, in place or under the same name, is another *version*, which is read
    from its start. A version is recognised by its content: the first and the last bytes read. So a
    copy under the same name is the same version, and a truncated one continues at its end.

    :param latest: latest time of a candidate of the observation (s)
    :param start: start of the observation, Unix s: what was last modified before belongs to an
        earlier observation, and is skipped
    :param progress: bytes read by an earlier process, by source
    :param state: result of :meth:`state` at that position
    :param skip: bytes that were there before the observation, and are not read
    """

    def __init__(
        self,
        path: Path,
        reader: LineReader,
        *,
        latest: float = math.inf,
        start: float = -math.inf,
        progress: Mapping[str, int] | None = None,
        state: Any = None,
        skip: int = 0,
    ) -> None:
        self.path = path
        self._latest = latest
        self._start = start
        self._reader = reader
        state = state or {}
        self._version = int(state.get("version", 1))
        # Of this version, bytes read in the format of earlier states.
        self._begin = int(state.get("begin", 0))
        self._held = (progress or {}).get(self.source, 0)
        self.offset = self._held or self._begin
        self._in_long_line = bool(state.get("in long line"))
        self._first = bytes(state.get("first", b""))
        self._last = bytes(state.get("last", b""))
        self._inode = tuple(state.get("inode", ()))  # of the file system, too
        # Inode and state of the version before this one.
        self._former: tuple[tuple[int, ...], dict[str, Any]] = (), {}
        #: What was read of it goes on under another name.
        self.is_renamed = bool(state.get("renamed"))
        self._seen_size = self.offset
        self._compared: tuple[int, ...] = ()  # its file status at that time
        self._before = 0 if self.offset else skip
        self._looked_at = self.offset > 0
        #: Bytes of an earlier observation; set once, after :meth:`size` has found them.
        self.earlier = 0
        #: The previous version; set once, after :meth:`size` has found another one.
        self.replaced: Replaced | None = None
        self.vanished = False  # it was read before, and no longer exists
        self.written = 0.0  # last modification, Unix s by the file system's clock

    @property
    def source(self) -> str:
        """Name under which its progress is stored."""
        version = self._version
        return self.path.name if version == 1 else f"{self.path.name} version {version}"

    @property
    def is_read(self) -> bool:
        """Whether all was read that was there at the last look."""
        return self._looked_at and not self.vanished and self.offset >= self._seen_size

    @property
    def inodes(self) -> list[tuple[int, ...]]:
        """Inodes of this version and the one before, each with its file system, where known."""
        return [inode for inode in (self._former[0], self._inode) if inode]

    def state(self) -> dict[str, Any]:
        """Return the state that a process needs to continue at ``offset``, as plain values."""
        return {
            "version": self._version,
            "begin": self._begin,
            **self._reader.state(),
            "in long line": self._in_long_line,
            "first": self._first,
            "last": self._last,
            "inode": list(self._inode),
            **({"renamed": True} if self.is_renamed else {}),
        }

    def state_elsewhere(self, path: Path, inode: tuple[int, ...]) -> dict[str, Any] | None:
        """Return the state for what was read of this file, and is at another path now.

        :param inode: of that path, with its file system
        :return: None: it is another file
        :raises OSError: the path cannot be read
        """
        if inode == self._inode:
            state = self._moved_state()
        elif inode == self._former[0]:
            state = self._former[1]
        else:
            return None
        last = state["last"]
        # Inodes are given again.
        with open_regular(path) as file:
            file.seek(max(0, state["begin"] - len(last)))
            return state if last and file.read(len(last)) == last else None

    def _moved_state(self) -> dict[str, Any]:
        kept = {key: value for key, value in self.state().items() if key != "renamed"}
        return {**kept, "version": 1, "begin": self.offset}

    def size(self) -> int:
        """Return the position up to which data exist; the present one if there is no file.

        :raises OSError: the file's status cannot be read
        """
        try:
            found = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            self.vanished = self.offset > 0
            return self.offset
        if not stat.S_ISREG(found.st_mode):  # its size would have no meaning
            raise OSError(errno.EINVAL, "not a regular file", str(self.path))
        self.vanished = False
        self.written = found.st_mtime
        if not self._looked_at:
            if found.st_mtime < self._start - EARLIER_SECONDS:
                self._skip_earlier_data(found.st_size)
            elif 0 < self._before <= found.st_size:
                self._skip_earlier_data(self._before)
            self._looked_at = True  # not before it could be read
        looked = found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
        if looked != self._compared:
            if self.offset:
                self._compare(found.st_size)
            self._compared = looked
            self._inode = looked[:2]
        self.is_renamed = False
        self._seen_size = max(found.st_size, self.offset)
        return self._seen_size

    def _skip_earlier_data(self, size: int) -> None:
        """Skip data of an earlier observation, unless they are only headers."""
        with open_regular(self.path) as file:
            data = file.read(CHUNK_BYTES)
            if not _has_candidates(data):
                return
            file.seek(max(0, size - LAST_BYTES))
            self._last = file.read(LAST_BYTES)[: min(size, LAST_BYTES)]
        self._reader.begin(data)
        self._first = data[: min(FIRST_BYTES, size)]
        self.earlier = self.offset = self._begin = size

    def _compare(self, size: int) -> None:
        """Check that the file still has the content that was read."""
        with open_regular(self.path) as file:
            first = file.read(min(len(self._first), size))
            known = not self._first or (first and self._first.startswith(first))
            if size >= self.offset:
                file.seek(self.offset - len(self._last))
                known = known and file.read(len(self._last)) == self._last
                if not known:
                    self._start_version(0)
            else:
                cut = known and self._held > 0 and _has_candidates(first)
                self._start_version(size if cut else 0)

    def _start_version(self, offset: int) -> None:
        """Start another version, which has been read up to ``offset``."""
        unread = max(0, self._seen_size - self.offset)
        self._former = self._inode, self._moved_state()
        # Else the count is an earlier version's, or nothing is lost.
        if not self.is_renamed and (self._held or self._version > 1 or not self._begin):
            self.replaced = Replaced(self.offset, unread)
        self._version += 1
        self._held, self._begin = 0, offset
        self.offset = offset
        self._first, self._last = self._first[:offset], b""
        self._in_long_line = False
        if not offset:
            self._reader.reset()

    def _read_at_offset(self, length: int) -> bytes:
        """Return the next bytes; none if there is a new version, which `size` will detect."""
        with open_regular(self.path) as file:
            file.seek(self.offset - len(self._last))
            data = file.read(len(self._last) + length)
        if not data.startswith(self._last):
            self._compared = ()
            return b""
        return data[len(self._last) :]

    def read(self, limit: int) -> Chunk | None:
        """Read whole lines from the current position to byte ``limit``; None if there are none.

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
        # No valid line is that long: count it as one bad line, and skip to its end.
        self._in_long_line = True
        return self._reject(data, {Rejection.LONG_LINE: 1}, data)

    def read_rest(self, limit: int, *, finished: bool = False) -> Chunk | None:
        """Read the incomplete last line before byte ``limit``, once :meth:`read` returns None.

        :param finished: the file is complete: the line only lacks its line end
        :raises OSError: the file cannot be read
        """
        if self.offset >= limit:
            return None
        data = self._read_at_offset(limit - self.offset)
        if data and finished and not self._in_long_line:
            return self._parse(data, lacks_end=True)
        return self._reject(data, {Rejection.HALF_LINE: 1}, data) if data else None

    def read_all(self, *, finished: bool = False) -> Iterator[Chunk]:
        """Yield the file as it is now, including an incomplete last line.

        :param finished: see :meth:`read_rest`
        :raises OSError: the file is missing or cannot be read
        """
        limit = self.path.stat().st_size
        self.size()
        while chunk := self.read(limit):
            yield chunk
        if rest := self.read_rest(limit, finished=finished):
            yield rest

    def _skip(self, data: bytes) -> Chunk:
        """Skip the rest of a long line that has been counted already."""
        end = data.find(b"\n") + 1
        self._in_long_line = not end
        return self._reject(data[: end or len(data)], {}, b"")

    def _parse(self, data: bytes, *, lacks_end: bool = False) -> Chunk:
        if before := self._reader.before_header(data):
            return self._reject(data[: before.length], before.rejected, before.first)
        parsed: ReadLines = self._reader.parse(data + b"\n" if lacks_end else data)
        # Not before the start either: an engine's file may be older than the observation.
        times = parsed.candidates["time"]
        inside = (times >= 0) & (times <= self._latest)
        rejected = Counter(parsed.rejected)
        if not inside.all():
            rejected[Rejection.OUTSIDE] += int((~inside).sum())
        first = ""
        if parsed.first_rejected:
            number, text = parsed.first_rejected
            first = self._describe(number, text)
        elif not inside.all():
            time = times[~inside][0]
            first = f"{self.path}: from byte {self.offset}: time {time:g} s; allowed: 0 to"
            first += f" {self._latest:g} s"
        return Chunk(
            self._advance(data),
            parsed.candidates[inside],
            parsed.lines,
            parsed.headers,
            rejected,
            first,
            self.written,
        )

    def _reject(self, data: bytes, rejected: Mapping[Rejection, int], text: bytes) -> Chunk:
        first = self._describe(0, text) if rejected else ""
        nothing = np.empty(0, dtype=CANDIDATE)
        progress = self._advance(data)
        lines = sum(rejected.values())
        return Chunk(progress, nothing, lines, 0, rejected, first, self.written)

    def _describe(self, number: int, text: bytes) -> str:
        return f"{self.path}: line {number + 1} from byte {self.offset}: {text[:120]!r}"

    def _advance(self, data: bytes) -> ReadProgress:
        """Advance the position by the bytes that were read."""
        if len(self._first) == self.offset:  # a state of an earlier version lacks it
            self._first += data[: FIRST_BYTES - len(self._first)]
        self._last = (self._last + data)[-LAST_BYTES:]
        start, self.offset = self._held, self.offset + len(data)
        self._held = self.offset
        return ReadProgress(self.source, start, self.offset)


def _has_candidates(data: bytes) -> bool:
    """Whether data contain more than headers, which are equal in all files."""
    return any(line and not line.startswith(b"#") for line in data.split(b"\n"))


def count_chunks(chunks: list[Chunk], counts: Counter[str]) -> None:
    """Add chunks to the counts."""
    for chunk in chunks:
        counts[Counted.LINES] += chunk.lines
        counts[Counted.HEADERS] += chunk.headers
        counts[Counted.CANDIDATES] += len(chunk.candidates)
        for reason, lines in chunk.rejected.items():
            counts[reason.counter] += lines
