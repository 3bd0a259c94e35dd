"""Encoding of strings and numbers in SIGPROC headers.

A header is a sequence of strings, each a 32-bit length and its characters: HEADER_START, then keys,
each followed by its value, then HEADER_END. Numbers are little-endian. Only its key determines the
type of a value, so an unknown key can only be skipped by trying the types, until a known key
follows.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Container
from typing import Any

from darc.config.file_kinds import known_kind
from darc.config.typed import shown
from darc.data_files.data_file_error import DataFileError, IncompleteFileError

#: Largest size of a header (bytes), including a table of frequencies.
MAX_HEADER = 1 << 20

#: Largest size of a text value (bytes).
MAX_TEXT = 4096

START, END = "HEADER_START", "HEADER_END"

_LENGTH = struct.Struct("<i")
_MAX_KEY = 80  # bytes
_NAME = re.compile(rb"[A-Za-z_][A-Za-z0-9_.:-]*")

#: Positions that are tried after an unknown key to find a known one.
_MAX_LOOKED_AT = 10_000


class FilterbankError(DataFileError):
    """A file is not a filterbank, or cannot be read; the message names file, key and value."""


class IncompleteHeaderError(FilterbankError, IncompleteFileError):
    """A file ends before its header does: it may still be being written."""


def header_string(text: str) -> bytes:
    """Return the encoding of a string."""
    data = text.encode()
    return _LENGTH.pack(len(data)) + data


class HeaderCursor:
    """Position in the bytes of a header.

    :ivar at: number of bytes read
    """

    def __init__(self, data: bytes, file: str, known: Container[str]) -> None:
        """Start at the first byte.

        :param data: first bytes of the file
        :param file: its name, for messages
        :param known: known keys, besides HEADER_END
        """
        self._data = data
        self._file = file
        self._known = known
        self.at = 0

    def start(self) -> None:
        """Read HEADER_START."""
        begin = header_string(START)
        if self._data.startswith(begin):
            self.at = len(begin)
        elif self._data.startswith(len(START).to_bytes(4, "big") + START.encode()):
            raise FilterbankError(f"{self._file}: a big-endian header; allowed: little-endian")
        elif begin.startswith(self._data):
            raise self._incomplete(START)
        else:
            if kind := known_kind(self._data):
                raise FilterbankError(f"{self._file}: not a SIGPROC file, but {kind}")
            beginning = shown(self._data[:16])
            raise FilterbankError(f"{self._file}: not a SIGPROC file: it starts with {beginning}")

    def key(self) -> str:
        at = self.at
        key = self._string(_MAX_KEY, "a key")
        if not _NAME.fullmatch(key):
            raise FilterbankError(f"{self._file}: byte {at}: {shown(key)} is not a key")
        return key.decode()

    def text(self, key: str) -> str:
        """Read the text value of a key."""
        text = self._string(MAX_TEXT, key)
        # Names are for people: invalid bytes are escaped, not dropped.
        return text.decode(errors="backslashreplace").strip("\0 ")

    def number(self, layout: struct.Struct, key: str) -> Any:
        """Read the number value of a key."""
        if self.at + layout.size > len(self._data):
            raise self._incomplete(key)
        (number,) = layout.unpack_from(self._data, self.at)
        self.at += layout.size
        return number

    def skip_value(self, key: str) -> None:
        """Skip the value of an unknown key."""
        seen: set[int] = set()
        for end in self._value_ends(self.at):
            if self._known_key_follows(end, seen):
                self.at = end
                return
        if any(self._ends_within_key(end) for end in seen):
            raise self._incomplete(key)
        raise FilterbankError(f"{self._file}: {key}: unknown key, and no known key follows it")

    def _value_ends(self, at: int) -> list[int]:
        """Return possible ends of a value: an integer, a double, a string, a character, or none.

        Strings are tried later, as a small integer before a key looks like one.
        """
        length = int.from_bytes(self._data[at : at + 4], "little", signed=True)
        text = [at + 4 + length] if 0 < length <= MAX_TEXT else []
        return [at + 4, at + 8, *text, at + 1, at]

    def _known_key_follows(self, at: int, seen: set[int]) -> bool:
        """Whether a known key is here, or an unknown one that is followed by a known one.

        :param seen: positions that were tried without success; this call adds its own
        """
        pending = [at]
        while pending and len(seen) < _MAX_LOOKED_AT:
            here = pending.pop()
            if here in seen:
                continue
            seen.add(here)
            key = self._peek(here)
            if key is not None and (key in self._known or key == END):
                return True
            if key is not None:
                pending += reversed(self._value_ends(here + 4 + len(key)))
        return False

    def _peek(self, at: int) -> str | None:
        """Return the key at a position, if there is one."""
        length = int.from_bytes(self._data[at : at + 4], "little", signed=True)
        name = self._data[at + 4 : at + 4 + length] if 0 < length <= _MAX_KEY else b""
        return name.decode() if len(name) == length and _NAME.fullmatch(name) else None

    def _ends_within_key(self, at: int) -> bool:
        """Whether the data end within a possible key."""
        rest = self._data[at:]
        if len(rest) < _LENGTH.size:
            return True
        length = int.from_bytes(rest[:4], "little", signed=True)
        return 0 < length <= _MAX_KEY and len(rest) < _LENGTH.size + length

    def _string(self, longest: int, what: str) -> bytes:
        length = self.number(_LENGTH, what)
        if not 0 <= length <= longest or (what == "a key" and length == 0):
            place = f"byte {self.at - 4}: {what}"
            raise FilterbankError(
                f"{self._file}: {place}: a length of {length}; allowed: up to {longest}"
            )
        if self.at + length > len(self._data):
            raise self._incomplete(what)
        self.at += length
        return self._data[self.at - length : self.at]

    def _incomplete(self, what: str) -> FilterbankError:
        if len(self._data) >= MAX_HEADER:
            return FilterbankError(f"{self._file}: no {END} in the first {MAX_HEADER} bytes")
        if not self._data:
            return IncompleteHeaderError(f"{self._file}: empty")
        return IncompleteHeaderError(
            f"{self._file}: ends after {len(self._data)} bytes, before {what}"
        )
