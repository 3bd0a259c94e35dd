"""Search-mode PSRFITS: header in SIGPROC's terms, and the rows that are on disk.

A file grows by rows: NAXIS2 may be written last, and rows may follow that it does not count.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Callable
from pathlib import Path

import numpy as np

from darc.config.records import Struct
from darc.config.typed import shown
from darc.data_files.data_file_error import IncompleteFileError
from darc.data_files.fits_header import (
    CARD,
    FitsUnit,
    card_value,
    read_at,
    read_units,
    whole_blocks,
)
from darc.data_files.psrfits_table import FREQUENCY, FitsColumn, SubintTable, subint_table
from darc.data_files.translated_header import (
    LONGEST_OFFSET,
    TranslatedHeader,
    packed_angle,
    telescope_id,
)
from darc.model.arrival import unix_of
from darc.science.arrays import Doubles

#: Frequencies must be evenly spaced within this fraction of a channel, and the precision of their
#: type.
_EVEN = 1e-3
_PRECISION = {"E": 2.0**-22, "D": 2.0**-50}


class WrittenRows(Struct):
    """Number of rows that were written at the last look; all others are not looked at again."""

    n_rows: int = 0


class PsrfitsLayout(Struct, frozen=True):
    """Where the rows of a file are.

    :param begin: first byte of the first row
    :param frequencies: DAT_FREQ of the first row, MHz, shape (n_channels,)
    :param naxis2: place of its card, bytes from the file's start
    :param written: of the last look, which speeds up the next
    """

    path: Path
    header: TranslatedHeader
    table: SubintTable
    begin: int
    frequencies: Doubles
    naxis2: int
    written: WrittenRows

    def n_rows(self, descriptor: int, size: int) -> int:
        """Return the number of whole rows; see `n_samples`."""
        return _n_rows(descriptor, size, self.table, self.begin, self.naxis2, self.written)

    def n_samples(self, descriptor: int, size: int) -> int:
        """Return the number of time samples in whole rows.

        :param size: of the file, bytes
        :raises OSError: it cannot be read
        """
        return self.n_rows(descriptor, size) * self.table.n_samples

    def cut_row(self, descriptor: int, size: int) -> int:
        """Return the number of bytes of a row that is not whole; 0 if all are."""
        n_rows = self.n_rows(descriptor, size)
        left = size - self.begin - n_rows * self.table.row_bytes
        whole = n_rows >= _declared(descriptor, self.naxis2)
        return 0 if whole or left >= self.table.row_bytes else max(left, 0)


def read_psrfits(descriptor: int, path: Path) -> PsrfitsLayout:
    """Read the headers of a file, and the frequencies of its first row.

    :param descriptor: of the open file
    :raises IncompleteFileError: the file ends before, or has no row yet
    :raises DataFileError: it is not search-mode PSRFITS, or a value is missing or not allowed
    :raises OSError: it cannot be read
    """
    first, unit = read_units(descriptor, path, "SUBINT", _check_primary)
    table = subint_table(unit)
    naxis2 = unit.places.get("NAXIS2")
    if naxis2 is None:
        raise unit.error("NAXIS2: missing")
    _ = unit.data_size  # checks what it is made of
    size = os.fstat(descriptor).st_size
    written = WrittenRows()
    if not _n_rows(descriptor, size, table, unit.data, naxis2, written):
        raise IncompleteFileError(
            f"{path}: SUBINT has no whole row: {max(0, size - unit.data)} of"
            f" {table.row_bytes} bytes are there"
        )
    frequencies = column_of_row(descriptor, unit.data, table.columns[FREQUENCY])
    header = _header(first, unit, table, frequencies)
    return PsrfitsLayout(path, header, table, unit.data, frequencies, naxis2, written)


def column_of_row(descriptor: int, row: int, column: FitsColumn) -> Doubles:
    """Return a column of floats of a row.

    :param row: first byte of the row
    :raises OSError: it cannot be read
    :raises EOFError: the file has become shorter
    """
    data = read_at(descriptor, column.size, row + column.begin)
    if len(data) < column.size:
        raise EOFError
    return np.frombuffer(data, ">f4" if column.code == "E" else ">f8").astype(np.float64)


def frequency_tolerance(table: SubintTable, frequencies: Doubles) -> float:
    """Return how far a frequency may be from where it is expected, MHz."""
    step = abs(frequencies[-1] - frequencies[0]) / max(len(frequencies) - 1, 1)
    precision = _PRECISION[table.columns[FREQUENCY].code]
    return float(_EVEN * step + precision * np.max(np.abs(frequencies)))


def _check_primary(first: FitsUnit) -> None:
    """Check that a file is PSRFITS of search mode.

    :raises DataFileError: it is not
    """
    if first.get("SIMPLE") is not True or first.text("FITSTYPE") != "PSRFITS":
        raise first.error(f"FITS, but not PSRFITS: FITSTYPE: {shown(first.get('FITSTYPE'))}")
    mode = first.text("OBS_MODE").strip().upper()
    if mode not in ("SEARCH", "SRCH"):
        raise first.error(
            f"OBS_MODE: {shown(first.get('OBS_MODE'))} is not allowed: folded and calibration"
            " data have no samples; allowed: SEARCH"
        )


def _declared(descriptor: int, naxis2: int) -> int:
    """Return NAXIS2 as it is now; 0 if it is damaged."""
    value = card_value(read_at(descriptor, CARD, naxis2))
    return value if isinstance(value, int) and value > 0 else 0


def _n_rows(
    descriptor: int, size: int, table: SubintTable, begin: int, naxis2: int, written: WrittenRows
) -> int:
    width = table.row_bytes
    on_disk = max(0, size - begin) // width
    declared = _declared(descriptor, naxis2)
    if on_disk > declared:
        behind = begin + whole_blocks(declared * width)
        if read_at(descriptor, 8, behind) == b"XTENSION":
            return declared
    # A row without frequencies is not written yet: it was allocated, or fills up the last block.
    column = table.columns[FREQUENCY]

    def is_written(row: int) -> bool:
        place = begin + row * width + column.begin
        return any(read_at(descriptor, column.size // column.n_values, place))

    if on_disk and not is_written(on_disk - 1):
        on_disk = _first_unwritten(is_written, written.n_rows, on_disk - 1)
    written.n_rows = on_disk
    return on_disk


def _first_unwritten(is_written: Callable[[int], bool], known: int, end: int) -> int:
    """Return the first row that is not written: rows are written in order.

    A file may be allocated for hours: looked at are a few rows behind those that are known.

    :param known: number of rows that were written at the last look
    :param end: a row that is not
    """
    low = min(known, end)
    if low and not is_written(low - 1):
        low = 0  # it is another file by now
    step = 1
    while low + step <= end and is_written(low + step - 1):
        low, step = low + step, 2 * step
    rest = range(low, min(end, low + step - 1))
    return low + bisect_left(rest, True, key=lambda row: not is_written(row))


def _header(
    first: FitsUnit,
    unit: FitsUnit,
    table: SubintTable,
    frequencies: Doubles,
) -> TranslatedHeader:
    tsamp = unit.number("TBIN", 1e-12, 1e6)
    fch1, foff = _band(unit, table, frequencies)
    rows_before = unit.whole("NSUBOFFS", 0, 1 << 40, 0)
    before = rows_before * table.n_samples * tsamp
    if before > LONGEST_OFFSET:
        raise unit.error(
            f"NSUBOFFS: {rows_before} rows are {before:.6g} s; allowed: up to {LONGEST_OFFSET:g} s"
        )
    antenna = tuple(first.number(f"ANT_{axis}", -1e9, 1e9, 0.0) for axis in "XYZ")
    return TranslatedHeader(
        nchans=table.n_channels,
        nbits=table.n_bits,
        tsamp=tsamp,
        fch1=fch1,
        foff=foff,
        nifs=table.n_polarisations,
        source_name=first.text("SRC_NAME") or None,
        src_raj=packed_angle(first.text("RA")),
        src_dej=packed_angle(first.text("DEC")),
        telescope_id=telescope_id(first.text("TELESCOP")),
        telescope_name=first.text("TELESCOP"),
        antenna=(antenna[0], antenna[1], antenna[2]),
        data_type=1,
    ).starting_at(_start(first), before)


def _start(first: FitsUnit) -> float | None:
    """Return the start of the observation, Unix s; None if there is none."""
    if first.get("STT_IMJD") is None:
        return None
    day = first.whole("STT_IMJD", 0, 1_000_000)
    second = first.number("STT_SMJD", 0, 86_401, 0.0)
    part = first.number("STT_OFFS", -1.0, 86_401, 0.0)
    return unix_of(day) + second + part if day else None


def _band(unit: FitsUnit, table: SubintTable, frequencies: Doubles) -> tuple[float, float]:
    """Return the centre of the first channel, and the step to the next, MHz.

    :raises DataFileError: frequencies are not evenly spaced, or not above 0
    """
    bad = np.flatnonzero(~(np.isfinite(frequencies) & (frequencies > 0) & (frequencies < 1e9)))
    if len(bad):
        raise unit.error(
            f"row 1: DAT_FREQ of channel {bad[0] + 1}: {frequencies[bad[0]]}; allowed: MHz above 0"
        )
    fch1 = float(frequencies[0])
    if len(frequencies) == 1:
        foff = unit.number("CHAN_BW", -1e9, 1e9)
    else:
        foff = float(frequencies[-1] - frequencies[0]) / (len(frequencies) - 1)
    away = np.abs(fch1 + foff * np.arange(len(frequencies)) - frequencies)
    if np.any(away > frequency_tolerance(table, frequencies)):
        channel = int(np.argmax(away))
        raise unit.error(
            f"row 1: DAT_FREQ of channel {channel + 1}: {frequencies[channel]} MHz; the"
            f" channels from {fch1} to {frequencies[-1]} MHz are not evenly spaced"
        )
    if not foff:
        raise unit.error(f"row 1: DAT_FREQ: all channels are at {fch1} MHz")
    if float(frequencies.min()) <= abs(foff) / 2:
        raise unit.error(f"row 1: DAT_FREQ: the band from {frequencies.min()} MHz reaches below 0")
    return fch1, foff
