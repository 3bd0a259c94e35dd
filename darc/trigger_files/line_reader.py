"""How the lines of a search engine's file are read: the part that differs between engines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from darc.config.records import Struct, field
from darc.model.candidate import Records
from darc.model.counters import Rejection


class ReadLines(Struct, frozen=True):
    """Result of parsing lines: lines == len(candidates) + headers + sum(rejected.values())."""

    candidates: Records  # CANDIDATE, in the order of the lines
    lines: int
    headers: int
    rejected: Mapping[Rejection, int]  # reason -> lines
    first_rejected: tuple[int, bytes] | None  # lines before it in the data, its text


class LinesBeforeHeader(Struct, frozen=True):
    """Lines at the start of the data that cannot be read, as no header has come yet.

    :param length: of them (bytes)
    :param first: text of the first
    """

    length: int
    rejected: Mapping[Rejection, int] = field(default_factory=dict)
    first: bytes = b""


class LineReader(ABC):
    """Reader of the lines of one file, with what its headers have said so far."""

    @abstractmethod
    def parse(self, data: bytes) -> ReadLines:
        """Parse whole lines. An invalid line is counted, and raises no error.

        :param data: lines, each with its newline
        """

    def before_header(self, data: bytes) -> LinesBeforeHeader | None:
        """Find the lines before the first usable header, which is taken; None: there are none."""
        return None

    def begin(self, first_lines: bytes) -> None:  # noqa: B027 - an optional hook
        """Begin behind the start of a file: its first lines may be a header."""

    def reset(self) -> None:  # noqa: B027 - an optional hook
        """Forget all headers: another version of the file is read, from its start."""

    def state(self) -> dict[str, Any]:
        """Return what another process needs to go on, as plain values."""
        return {}
