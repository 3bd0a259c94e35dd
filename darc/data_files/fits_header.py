"""Headers of FITS files, without astropy: services that wait for data read them, too.

Source: the FITS standard 4.0. A file is a sequence of units, each a header of cards of 80 bytes in
blocks of 2880, up to the card END, and its data, filled up to whole blocks. What is read is checked
against the size of the file; nothing outside is looked at.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from darc.config.records import Struct
from darc.config.typed import shown
from darc.data_files.data_file_error import DataFileError, IncompleteFileError

BLOCK, CARD = 2880, 80

#: Largest size of one header (bytes), and largest number of units before the one that is wanted.
_MAX_HEADER, _MAX_UNITS = 1 << 20, 1000

#: Largest size of the data of a unit (bytes).
_MAX_DATA = 1 << 62

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([EDed][+-]?\d+)?")
_TEXT = re.compile(r"'((?:[^']|'')*)'")

#: The value of a key that does not apply, by the convention of PSRFITS.
_UNDEFINED = ("", "*")

CardValue = str | bool | int | float


class FitsUnit(Struct, frozen=True):
    """Header of a unit, and where its data are.

    :param file: name of the file, for messages
    :param data: first byte of the data
    """

    file: str
    data: int
    cards: dict[str, CardValue]
    places: dict[str, int]  # of the cards, bytes from the file's start

    def error(self, text: str) -> DataFileError:
        """Return an error that names the file."""
        return DataFileError(f"{self.file}: {text}")

    def get(self, key: str) -> CardValue | None:
        """Return a value; None: missing, or undefined."""
        value = self.cards.get(key)
        return None if isinstance(value, str) and value in _UNDEFINED else value

    def text(self, key: str) -> str:
        """Return a text; empty if it is missing."""
        value = self.get(key)
        return "" if value is None else str(value)

    def whole(self, key: str, low: int, high: int, default: int | None = None) -> int:
        """Return a whole number.

        :param default: if it is missing; None: it must be there
        :raises DataFileError: it is missing, not whole, or outside the range
        """
        allowed = f"allowed: a whole number from {low} to {high}"
        value = self._within(key, low, high, default, allowed)
        if value != int(value):
            raise self.error(f"{key}: {shown(value)} is not allowed; {allowed}")
        return int(value)

    def number(self, key: str, low: float, high: float, default: float | None = None) -> float:
        """Return a number; as `whole`."""
        return float(
            self._within(key, low, high, default, f"allowed: a number from {low:g} to {high:g}")
        )

    def _within(
        self, key: str, low: float, high: float, default: float | None, allowed: str
    ) -> float:
        value = self.get(key)
        if value is None and default is not None:
            return default
        if value is None:
            raise self.error(f"{key}: missing; {allowed}")
        # Written so that NaN fails.
        if isinstance(value, str | bool) or not low <= value <= high:
            raise self.error(f"{key}: {shown(value)} is not allowed; {allowed}")
        return value

    @property
    def data_size(self) -> int:
        """Size of the data, without what fills the last block up (bytes).

        :raises DataFileError: a size is missing, negative or too large
        """
        n_axes = self.whole("NAXIS", 0, 999)
        if not n_axes:
            return 0
        size = 1
        for number in range(1, n_axes + 1):
            size *= self.whole(f"NAXIS{number}", 0, _MAX_DATA)
        size += self.whole("PCOUNT", 0, _MAX_DATA, 0)
        size *= self.whole("GCOUNT", 0, _MAX_DATA, 1) * abs(self.whole("BITPIX", -64, 64)) // 8
        if size > _MAX_DATA:
            raise self.error(f"data of {size} bytes at byte {self.data}; allowed: {_MAX_DATA}")
        return size

    @property
    def end(self) -> int:
        """First byte of the next unit."""
        return self.data + whole_blocks(self.data_size)


def whole_blocks(size: int) -> int:
    """Return a size, filled up to whole blocks (bytes)."""
    return -(-size // BLOCK) * BLOCK


def read_units(
    descriptor: int, path: Path, wanted: str, check_first: Callable[[FitsUnit], None]
) -> tuple[FitsUnit, FitsUnit]:
    """Return the first unit of a file, and the one with a name (EXTNAME).

    :param descriptor: of the open file
    :param check_first: raises an error if the first unit is not that of the files that are wanted
    :raises IncompleteFileError: the file ends before
    :raises DataFileError: not a FITS file, or without such a unit
    :raises OSError: it cannot be read
    """
    size = os.fstat(descriptor).st_size
    first = unit = _read_unit(descriptor, str(path), 0, size)
    check_first(first)
    for _ in range(_MAX_UNITS):
        if unit.text("EXTNAME") == wanted:
            return first, unit
        if unit.end >= size:
            raise IncompleteFileError(f"{path}: ends after {size} bytes, before {wanted}")
        unit = _read_unit(descriptor, str(path), unit.end, size)
    raise DataFileError(f"{path}: no {wanted} among the first {_MAX_UNITS} extensions")


def read_at(descriptor: int, size: int, begin: int) -> bytes:
    """Return bytes of a file; fewer at its end.

    :raises OSError: they cannot be read
    """
    parts = []
    while size > 0 and (part := os.pread(descriptor, size, begin)):
        parts.append(part)
        size, begin = size - len(part), begin + len(part)
    return b"".join(parts)


def card_value(card: bytes) -> CardValue | None:
    """Return the value of a card; None if it has none, as a comment."""
    if card[8:10] != b"= ":
        return None
    text = card[10:].decode("ascii", errors="replace").strip()
    if match := _TEXT.match(text):
        return match[1].replace("''", "'").rstrip()
    text = text.partition("/")[0].strip()
    if text in ("T", "F"):
        return text == "T"
    if not _NUMBER.fullmatch(text):
        return text
    try:
        return int(text)
    except ValueError:
        return float(text.upper().replace("D", "E"))


def _read_unit(descriptor: int, file: str, begin: int, size: int) -> FitsUnit:
    cards: dict[str, CardValue] = {}
    places: dict[str, int] = {}
    at = begin
    while at - begin < _MAX_HEADER:
        block = read_at(descriptor, BLOCK, at)
        if at == begin and len(block) >= 9 and not block.startswith((b"SIMPLE  =", b"XTENSION=")):
            raise DataFileError(f"{file}: byte {at}: no header of FITS, but {shown(block[:16])}")
        for place in range(0, len(block) // CARD * CARD, CARD):
            card = block[place : place + CARD]
            key = card[:8].decode("ascii", errors="replace").rstrip()
            if key == "END":
                return FitsUnit(file, at + BLOCK, cards, places)
            value = card_value(card)
            if value is not None and key not in cards:
                cards[key], places[key] = value, at + place
        if len(block) < BLOCK:
            raise IncompleteFileError(f"{file}: ends after {size} bytes, within a header")
        at += BLOCK
    raise DataFileError(f"{file}: byte {begin}: a header without END in {_MAX_HEADER} bytes")
