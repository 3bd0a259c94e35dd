"""A trigger file that AMBER is still writing, read as far as whole lines go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from darc.model.amber import Columns, parse_lines
from darc.model.candidate import CANDIDATE, Records
from darc.queues.messages import Progress

CHUNK_BYTES = 2**20
NO_HEADER = "no header before it"
BAD_HEADER = "header not usable"
HALF_LINE = "half a line at the end"
LONG_LINE = f"line of over {CHUNK_BYTES} bytes"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Whole lines of a file, parsed; lines == candidates + headers + those rejected."""

    progress: Progress
    candidates: Records
    lines: int
    headers: int
    rejected: Mapping[str, int]
    first_rejected: str  # a description for the log; empty when none was
    written: float  # when the file was last written to, Unix s; no line is younger


class TriggerFile:
    """One trigger file and how far it has been read.

    :param offset: bytes that an earlier process has read
    :param state: what was in force there, as :meth:`state` gave it
    """

    def __init__(
        self, path: Path, *, batch_length_s: float, tsamp: float, offset: int = 0, state: Any = None
    ) -> None:
        self.path = path
        self.offset = offset
        self._batch_length_s = batch_length_s
        self._tsamp = tsamp
        state = state or {}
        self._columns = Columns(**state["columns"]) if state.get("columns") else None
        self._in_long_line = bool(state.get("in long line"))
        self.shrunk_to: int | None = None
        self.vanished = False  # it was read from, and is not there now
        self.written = 0.0  # last, Unix s by the file system's clock

    def state(self) -> dict[str, Any]:
        """What the next process has to know to go on at ``offset``, as plain values."""
        columns = asdict(self._columns) if self._columns else None
        return {"columns": columns, "in long line": self._in_long_line}

    def size(self) -> int:
        """Bytes there are to read up to; none while there is no file.

        :raises OSError: it cannot be told
        """
        try:
            found = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            self.vanished = self.offset > 0
            return self.offset
        size = found.st_size
        self.written = found.st_mtime
        self.vanished = False
        self.shrunk_to = size if size < self.offset else None
        return max(size, self.offset)

    def read(self, limit: int) -> Chunk | None:
        """Read whole lines between where it was left and byte ``limit``; None when there are none.

        :raises OSError: the file cannot be read
        """
        if self.offset >= limit:
            return None
        with self.path.open("rb") as file:
            file.seek(self.offset)
            data = file.read(min(CHUNK_BYTES, limit - self.offset))
        if self._in_long_line:
            return self._skip(data) if data else None
        end = data.rfind(b"\n") + 1
        if end:
            return self._parse(data[:end])
        if len(data) < CHUNK_BYTES:
            return None
        # No line is that long: count it as one bad line, and go on behind its end.
        self._in_long_line = True
        return self._reject(len(data), {LONG_LINE: 1}, data)

    def read_rest(self, limit: int) -> Chunk | None:
        """What follows the last whole line before byte ``limit``, and will never become one.

        To be called when :meth:`read` has given all there is.

        :raises OSError: the file cannot be read
        """
        if self.offset >= limit:
            return None
        with self.path.open("rb") as file:
            file.seek(self.offset)
            data = file.read(limit - self.offset)
        return self._reject(len(data), {HALF_LINE: 1}, data) if data else None

    def _skip(self, data: bytes) -> Chunk:
        """Pass over what belongs to a line that was counted when it began."""
        end = data.find(b"\n") + 1
        self._in_long_line = not end
        return self._reject(end or len(data), {}, b"")

    def _parse(self, data: bytes) -> Chunk:
        before = self._lines_before_header(data) if self._columns is None else None
        if before:
            return before
        assert self._columns is not None  # the first line is a header
        parsed = parse_lines(
            data, self._columns, batch_length_s=self._batch_length_s, tsamp=self._tsamp
        )
        self._columns = parsed.columns
        first = ""
        if parsed.first_rejected:
            number, text = parsed.first_rejected
            first = self._describe(number, text)
        return Chunk(
            self._advance(len(data)),
            parsed.candidates,
            parsed.lines,
            parsed.headers,
            parsed.rejected,
            first,
            self.written,
        )

    def _lines_before_header(self, data: bytes) -> Chunk | None:
        """Reject what comes before the first usable header, which is taken; None: nothing does."""
        rejected: Counter[str] = Counter()
        first = b""
        begin = 0
        while begin < len(data):
            end = data.index(b"\n", begin) + 1
            text = data[begin:end]
            reason = NO_HEADER
            if text.startswith(b"#"):
                try:
                    self._columns = Columns.from_header(text)
                    break
                except ValueError as error:
                    reason, text = BAD_HEADER, str(error).encode()
            first = first or text
            rejected[reason] += 1
            begin = end
        return self._reject(begin, dict(rejected), first) if begin else None

    def _reject(self, length: int, rejected: Mapping[str, int], text: bytes) -> Chunk:
        first = self._describe(0, text) if rejected else ""
        nothing = np.empty(0, dtype=CANDIDATE)
        progress = self._advance(length)
        lines = sum(rejected.values())
        return Chunk(progress, nothing, lines, 0, rejected, first, self.written)

    def _describe(self, number: int, text: bytes) -> str:
        return f"{self.path}: line {number + 1} from byte {self.offset}: {text[:120]!r}"

    def _advance(self, length: int) -> Progress:
        start = self.offset
        self.offset += length
        return Progress(self.path.name, start, self.offset)


def count_chunks(chunks: list[Chunk], counts: Counter[str]) -> None:
    """Enter chunks into the books."""
    for chunk in chunks:
        counts["lines"] += chunk.lines
        counts["headers"] += chunk.headers
        counts["candidates"] += len(chunk.candidates)
        for reason, lines in chunk.rejected.items():
            counts[f"rejected: {reason}"] += lines
