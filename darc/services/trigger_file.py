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


@dataclass(frozen=True, slots=True)
class Chunk:
    """Whole lines of a file, parsed; lines == candidates + headers + those rejected."""

    progress: Progress
    candidates: Records
    lines: int
    headers: int
    rejected: Mapping[str, int]
    first_rejected: str  # a description for the log; empty when none was


class TriggerFile:
    """One trigger file and how far it has been read.

    :param offset: bytes that an earlier process has read
    :param columns: those in force there, as :meth:`state` gave them
    """

    def __init__(
        self, path: Path, *, batch_length_s: float, tsamp: float, offset: int = 0, columns: Any
    ) -> None:
        self.path = path
        self.offset = offset
        self._batch_length_s = batch_length_s
        self._tsamp = tsamp
        self._columns = Columns(**columns) if columns else None
        self.shrunk_to: int | None = None

    def state(self) -> dict[str, Any] | None:
        """The columns in force, as plain values."""
        return asdict(self._columns) if self._columns else None

    def size(self) -> int:
        """Bytes there are to read up to; none while there is no file."""
        try:
            size = self.path.stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return self.offset
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
            end = data.rfind(b"\n") + 1
            if end == 0 and len(data) == CHUNK_BYTES:
                return self._skip(data)
        return self._parse(data[:end]) if end else None

    def read_rest(self) -> Chunk | None:
        """What follows the last whole line, which will never become one."""
        size = self.size()
        if self.offset >= size:
            return None
        with self.path.open("rb") as file:
            file.seek(self.offset)
            data = file.read(size - self.offset)
        return self._reject(len(data), 1, HALF_LINE, data)

    def _skip(self, data: bytes) -> Chunk:
        """No line is that long: count it as one bad line and go on."""
        return self._reject(len(data), 1, f"line of over {CHUNK_BYTES} bytes", data)

    def _parse(self, data: bytes) -> Chunk:
        if self._columns is None:
            before = self._lines_before_header(data)
            if before:
                return before
            header, _, _ = data.partition(b"\n")
            try:
                self._columns = Columns.from_header(header)
            except ValueError as error:
                return self._reject(len(header) + 1, 1, BAD_HEADER, str(error).encode())
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
        )

    def _lines_before_header(self, data: bytes) -> Chunk | None:
        lines = data.splitlines(keepends=True)
        number = next((i for i, line in enumerate(lines) if line.startswith(b"#")), len(lines))
        if number == 0:
            return None
        length = sum(len(line) for line in lines[:number])
        return self._reject(length, number, NO_HEADER, lines[0])

    def _reject(self, length: int, lines: int, reason: str, text: bytes) -> Chunk:
        first = self._describe(0, text)
        nothing = np.empty(0, dtype=CANDIDATE)
        progress = self._advance(length)
        return Chunk(progress, nothing, lines, 0, {reason: lines}, first)

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
