"""Header of SIGPROC filterbank files.

Source: the SIGPROC manual (Lorimer 2006, version 3.7), and common practice. The encoding of keys
and values is in :mod:`darc.data_files.sigproc_strings`.
"""

from __future__ import annotations

import math
import struct
from typing import Annotated, Any, NamedTuple

import numpy as np

from darc.config.records import Struct, fields
from darc.config.typed import Range, Reader, Value, shown
from darc.data_files.sigproc_strings import (
    END,
    MAX_HEADER,
    MAX_TEXT,
    START,
    FilterbankError,
    HeaderCursor,
    IncompleteHeaderError,
    header_string,
)
from darc.model.arrival import (
    BARYCENTRIC,
    TOPOCENTRIC,
    ArrivalReference,
    reference_frequency,
    unix_of,
)
from darc.model.telescopes import NAMES, POSITIONS, telescope_name
from darc.science.arrays import Doubles

__all__ = [
    "BITS",
    "MAX_HEADER",
    "FilterbankError",
    "FilterbankHeader",
    "IncompleteHeaderError",
    "ParsedHeader",
    "format_header",
    "parse_header",
]

BITS = (1, 2, 4, 8, 16, 32)
_DTYPES: dict[int, np.dtype[Any]] = {8: np.dtype("u1"), 16: np.dtype("<u2"), 32: np.dtype("<f4")}

#: data_type of a time series.
_SERIES = 2
_TABLE_START, _TABLE_ENTRY, _TABLE_END = "FREQUENCY_START", "fchannel", "FREQUENCY_END"
_MAX_UNKNOWN = 64  # keys

#: Frequencies of a table must be evenly spaced within this fraction of a channel.
_EVEN = 1e-3


class FilterbankHeader(Struct, frozen=True, kw_only=True):
    """Values of a header, by SIGPROC's names; None: not in the header.

    Values are checked by `parse_header` and `format_header`.
    """

    nchans: Annotated[int, Range(1, 1_048_576)]
    nbits: Annotated[int, Range(1, 32)]  # per sample, one of BITS; 32: float
    tsamp: Annotated[float, Range(1e-12, 1e6)]  # s
    fch1: Annotated[float, Range(1e-6, 1e9)]  # MHz, centre of the first channel
    foff: Annotated[float, Range(-1e9, 1e9)]  # MHz from channel to channel; 0: a time series
    nifs: Annotated[int, Range(1, 16)] = 1  # polarisations or Stokes parameters, one after another
    signed: Annotated[int, Range(0, 1)] = 0  # 1: samples of 8 bits are signed
    tstart: Annotated[float, Range(0, 1e6)] | None = None  # MJD of the first sample
    source_name: str | None = None
    rawdatafile: str | None = None
    src_raj: float | None = None  # as hhmmss.s
    src_dej: float | None = None  # as ddmmss.s
    az_start: float | None = None  # deg
    za_start: float | None = None  # deg
    refdm: float | None = None  # pc cm-3
    period: float | None = None  # s, of folded data
    telescope_id: int | None = None
    machine_id: int | None = None
    data_type: int | None = None  # 1: filterbank, 2: time series
    barycentric: int | None = None
    pulsarcentric: int | None = None
    nbeams: int | None = None  # of the receiver; the file holds one of them
    ibeam: int | None = None
    nbins: int | None = None  # of folded data
    nsamples: int | None = None  # ignored: the size of the file counts

    @property
    def bytes_per_sample(self) -> int:
        """Bytes of one time sample: all channels of all IFs."""
        return self.nchans * self.nifs * self.nbits // 8

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a sample as SIGPROC stores it; unpacked, if it has less than 8 bits."""
        return np.dtype("i1") if self.signed else _DTYPES[max(self.nbits, 8)]

    @property
    def is_series(self) -> bool:
        """Whether the file is a time series (.tim), dedispersed (at `refdm`) or not."""
        return self.nchans == 1 and (self.data_type == _SERIES or self.foff == 0)

    @property
    def channel_width(self) -> float:
        """Channel width, MHz, positive."""
        return abs(self.foff)

    @property
    def arrival_reference(self) -> ArrivalReference:
        """Reference of arrival times and widths; times count from the first sample."""
        return ArrivalReference(
            frequency=reference_frequency(self.f_lowest, self.channel_width, self.nchans),
            start=unix_of(self.tstart) if self.tstart else None,
            tsamp=self.tsamp,
            frame=BARYCENTRIC if self.barycentric else TOPOCENTRIC,
            telescope=NAMES.get(self.telescope_id or 0, ""),
        )

    @property
    def telescope(self) -> str:
        """Name of the telescope; empty if unknown."""
        return telescope_name(self.telescope_id)

    @property
    def position(self) -> tuple[float, float, float] | None:
        """Position of the telescope, ITRF, m; None if unknown."""
        return POSITIONS.get(self.telescope_id or 0)

    @property
    def descending(self) -> bool:
        """Whether the first channel is the highest."""
        return self.foff < 0

    @property
    def f_lowest(self) -> float:
        """Centre of the lowest channel (MHz)."""
        return self.fch1 + min(0.0, self.foff * (self.nchans - 1))

    @property
    def frequencies(self) -> Doubles:
        """Centres of the channels in the file's order, shape (nchans,), MHz."""
        return self.fch1 + self.foff * np.arange(self.nchans, dtype=np.float64)


class ParsedHeader(NamedTuple):
    """A header, its size in bytes, and skipped keys; samples follow."""

    header: FilterbankHeader
    size: int
    unknown: tuple[str, ...]

    def n_samples(self, descriptor: int, size: int) -> int:
        """Return the number of whole time samples; see `DataLayout`."""
        return max(0, size - self.size) // self.header.bytes_per_sample


_INT, _DOUBLE, _CHAR = struct.Struct("<i"), struct.Struct("<d"), struct.Struct("<b")
_TEXT = None
_KEYS: dict[str, struct.Struct | None] = {
    name: _TEXT if "str" in kind else _DOUBLE if "float" in kind else _INT
    for name, kind in FilterbankHeader.__annotations__.items()
} | {"signed": _CHAR}

#: Keys that mean the same at 0 as when they are missing, and that not every program knows.
_ONLY_WHERE_SET = {"signed", "refdm", "period", "nbins"}

#: Optional keys for which NaN means unknown.
_MAY_BE_UNKNOWN = {"src_raj", "src_dej", "az_start", "za_start", "refdm", "period"}


def parse_header(data: bytes, file: str) -> ParsedHeader:
    """Parse a header.

    :param data: first bytes of the file, up to MAX_HEADER
    :param file: its name, for messages
    :raises IncompleteHeaderError: the data end before the header
    :raises FilterbankError: not a header, or a value is missing or not allowed
    """
    known = {*_KEYS, _TABLE_START, _TABLE_ENTRY, _TABLE_END}
    cursor = HeaderCursor(data, file, known)
    cursor.start()
    found: dict[str, Any] = {}
    table: list[float] = []
    unknown: list[str] = []
    while (key := cursor.key()) != END:
        if key in _KEYS:
            layout = _KEYS[key]
            value = cursor.number(layout, key) if layout else cursor.text(key)
            # NaN equals nothing, not even itself.
            if key in found and repr(found[key]) != repr(value):
                raise FilterbankError(f"{file}: {key}: {shown(found[key])} and {shown(value)}")
            found[key] = value
        elif key == _TABLE_ENTRY:
            table.append(cursor.number(_DOUBLE, key))
        elif key not in (_TABLE_START, _TABLE_END):
            unknown.append(key)
            if len(unknown) > _MAX_UNKNOWN:
                raise FilterbankError(f"{file}: {key}: more than {_MAX_UNKNOWN} unknown keys")
            cursor.skip_value(key)
    if table:
        _take_table(table, found, file)
    if found.get("nchans") == 1:
        found.setdefault("foff", 0.0)  # most programs omit it for a time series
    return ParsedHeader(_checked(found, file), cursor.at, tuple(unknown))


def format_header(header: FilterbankHeader) -> bytes:
    """Return the bytes of a header; `parse_header` reverses it.

    Left out is what says nothing, as other programs stop at keys that they do not know, or read
    wrong samples: `signed`, `refdm`, `period` and `nbins` of 0, and empty texts.

    :raises FilterbankError: a value is not allowed
    """
    given = {field.name: getattr(header, field.name) for field in fields(header)}
    given = {key: value for key, value in given.items() if value is not None}
    _checked(given, "a header")
    parts = [header_string(START)]
    for key, value in given.items():
        if value == "" or (key in _ONLY_WHERE_SET and not value):
            continue
        layout = _KEYS[key]
        try:
            parts += [header_string(key), layout.pack(value) if layout else _text(value)]
        except (struct.error, UnicodeEncodeError, ValueError) as error:
            raise FilterbankError(f"{key}: {shown(value)} cannot be written: {error}") from error
    return b"".join([*parts, header_string(END)])


def _text(text: str) -> bytes:
    if len(text.encode()) > MAX_TEXT:
        raise ValueError(f"longer than {MAX_TEXT} bytes")
    if text != text.strip("\0 "):
        raise ValueError("leading and trailing spaces are not allowed")
    return header_string(text)


def _take_table(table: list[float], found: dict[str, Any], file: str) -> None:
    """Convert a frequency table to fch1 and foff, if it is evenly spaced."""
    if len(table) != found.get("nchans", len(table)):
        raise FilterbankError(
            f"{file}: {_TABLE_ENTRY}: {len(table)} frequencies for {found['nchans']} channels"
        )
    first, last = table[0], table[-1]
    step = (last - first) / (len(table) - 1) if len(table) > 1 else found.get("foff", 0.0)
    if not all(
        abs(first + step * number - value) <= _EVEN * abs(step)
        for number, value in enumerate(table)
    ):
        raise FilterbankError(f"{file}: {_TABLE_ENTRY}: channels that are not evenly spaced")
    found |= {"fch1": first, "foff": step}


def _checked(found: dict[str, Any], file: str) -> FilterbankHeader:
    """Return the header of the values found.

    :raises FilterbankError: invalid values; lists all problems
    """
    usable = {
        key: value
        for key, value in found.items()
        if not (key in _MAY_BE_UNKNOWN and not math.isfinite(value))
    }
    reader = Reader()
    tree = Value({key: Value(value, file, 0) for key, value in usable.items()}, file, 0)
    header = reader.read(FilterbankHeader, tree, "")
    problems = reader.problems
    if header is not None:
        problems += [f"{file}: {problem}" for problem in _contradictions(header)]
    if header is None or problems:
        raise FilterbankError("\n".join(problems))
    return header


def _contradictions(header: FilterbankHeader) -> list[str]:
    """Return contradictions between values that are allowed individually."""
    problems = []
    if header.nbits not in BITS:
        allowed = ", ".join(map(str, BITS))
        problems.append(f"nbits: {header.nbits} is not allowed; allowed: one of {allowed}")
    elif header.nchans * header.nifs * header.nbits % 8:
        problems.append(
            f"nchans: {header.nchans} channels, {header.nifs} IFs, of {header.nbits} bits; "
            "allowed: whole bytes for each moment"
        )
    if header.signed and header.nbits != 8:
        problems.append(f"signed: {header.signed} with {header.nbits} bits; allowed: with 8")
    if header.data_type not in (None, 0, 1) and not header.is_series:
        problems.append(
            f"data_type: {header.data_type} is not allowed; allowed: 1, filterbank; 2, time series,"
            " of one channel"
        )
    if header.foff == 0 and header.nchans > 1:
        problems.append("foff: 0.0 is not allowed; allowed: a number above or below")
    elif header.f_lowest - header.channel_width / 2 <= 0:
        problems.append(
            f"foff: {header.foff} from {header.fch1} MHz in {header.nchans} channels reaches "
            "below 0; allowed: frequencies above 0"
        )
    return problems
