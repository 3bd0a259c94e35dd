"""Rows of search-mode PSRFITS: their columns beside the samples, which scale these."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from darc.config.records import Struct
from darc.data_files.data_file_error import BadRowError, DataFileError
from darc.data_files.fits_header import read_at
from darc.data_files.psrfits_layout import PsrfitsLayout, column_of_row, frequency_tolerance
from darc.data_files.psrfits_table import FREQUENCY, OFFSET, SCALE, WEIGHT
from darc.science.arrays import Doubles, Mask

#: So many rows are looked at at a time.
_ROWS = 512
#: So many that cannot be used are told one by one.
_TOLD = 3

SHORTER = "the file has become shorter while it was read"


class RowScaling(Struct, frozen=True, eq=False):
    """Scaling of a row: weights included, 0 where the weight is 0.

    :ivar scales: shape (n_polarisations, n_channels), as `offsets`
    :ivar used: channels with a weight, shape (n_channels,)
    :ivar is_plain: samples are the values, but for channels without a weight
    """

    scales: Doubles
    offsets: Doubles
    used: Mask
    is_plain: bool


class PsrfitsRows:
    """Rows of an open file; in messages they are counted from 1, as FITS does."""

    def __init__(self, descriptor: int, layout: PsrfitsLayout) -> None:
        self._descriptor = descriptor
        self._layout = layout

    def begin(self, row: int) -> int:
        """Return the first byte of a row."""
        return self._layout.begin + row * self._layout.table.row_bytes

    def _column(self, row: int, name: str) -> Doubles:
        try:
            column = self._layout.table.columns[name]
            return column_of_row(self._descriptor, self.begin(row), column)
        except EOFError:
            raise self.error(f"row {row + 1}: {SHORTER}") from None

    def scaling(self, row: int) -> RowScaling:
        """Return the scaling of a row.

        :raises BadRowError: its frequencies are not those of the first row, or a weight, scale or
            offset is no number
        """
        table = self._layout.table
        expected = self._layout.frequencies
        frequencies = self._column(row, FREQUENCY)
        # Written so that NaN differs.
        differ = ~(np.abs(frequencies - expected) <= frequency_tolerance(table, expected))
        if differ.any():
            channel = int(np.argmax(differ))
            raise self._bad(
                f"row {row + 1}: DAT_FREQ of channel {channel + 1}: {frequencies[channel]} MHz, but"
                f" {expected[channel]} MHz in row 1"
            )
        shape = (table.n_polarisations, table.n_channels)
        weights = self._column(row, WEIGHT)
        scales = np.broadcast_to(self._column(row, SCALE).reshape(-1, shape[1]), shape)
        offsets = np.broadcast_to(self._column(row, OFFSET).reshape(-1, shape[1]), shape)
        bad = ~(np.isfinite(weights) & (weights >= 0))
        if bad.any():
            channel = int(np.argmax(bad))
            raise self._bad(
                f"row {row + 1}: DAT_WTS of channel {channel + 1}: {weights[channel]}; allowed: 0"
                " (masked) or above"
            )
        used = weights > 0
        for name, values in ((SCALE, scales), (OFFSET, offsets)):
            bad = ~np.isfinite(values) & used
            if bad.any():
                number, channel = divmod(int(np.argmax(bad)), table.n_channels)
                raise self._bad(
                    f"row {row + 1}: {name} of channel {channel + 1}, polarisation {number + 1}:"
                    f" {values[number, channel]}; allowed: a finite number, or DAT_WTS 0"
                )
        is_plain = bool(
            np.all(weights[used] == 1)
            and np.all(scales[:, used] == 1)
            and np.all(offsets[:, used] == table.zero_off)
        )
        return RowScaling(
            np.where(used, scales * weights, 0.0),
            np.where(used, offsets * weights, 0.0),
            used,
            is_plain,
        )

    def _bad(self, text: str) -> BadRowError:
        return BadRowError(str(self.error(text)))

    def are_plain(self, n_rows: int) -> bool:
        """Whether samples are the values in all rows, but for channels without a weight."""
        try:
            if not self.scaling(0).is_plain:
                return False
        except BadRowError:  # it is told where it is read
            return False
        table = self._layout.table
        for begin in range(0, n_rows, _ROWS):
            rows = range(begin, min(begin + _ROWS, n_rows))
            weights, scales, offsets = (
                self._columns(rows, name) for name in (WEIGHT, SCALE, OFFSET)
            )
            masked = (weights == 0)[:, np.newaxis]
            scaled = [
                values.reshape(len(rows), -1, table.n_channels) != plain
                for values, plain in ((scales, 1), (offsets, table.zero_off))
            ]
            if any(np.any(some & ~masked) for some in scaled) or np.any(weights[weights > 0] != 1):
                return False
        return True

    def _columns(self, rows: range, name: str) -> npt.NDArray[Any]:
        """Return a column of floats of several rows, shape (n_rows, n_values)."""
        column = self._layout.table.columns[name]
        data = b"".join(
            read_at(self._descriptor, column.size, self.begin(row) + column.begin) for row in rows
        )
        if len(data) < len(rows) * column.size:
            raise self.error(f"row {rows[0] + 1} or later: {SHORTER}")
        kind = ">f4" if column.code == "E" else ">f8"
        return np.frombuffer(data, kind).reshape(len(rows), -1)

    def unusable(self, rows: range) -> Iterator[tuple[int, str]]:
        """Yield the rows that cannot be used, and why."""
        for row in rows:
            try:
                self.scaling(row)
            except BadRowError as error:
                yield row, str(error)

    def refused(self, rows: range) -> list[str]:
        """Return why rows cannot be used, the first ones, and how many more there are."""
        found = [why for _, why in self.unusable(rows)]
        if len(found) > _TOLD:
            found[_TOLD:] = [str(self.error(f"{len(found) - _TOLD} more rows are such"))]
        return found

    def gains(self, rows: range, ifs: tuple[int, ...]) -> Doubles:
        """Return scales of the sum of polarisations, weights included; see `scaling`.

        :return: 0 without a weight, or where a value is not allowed, shape (n_rows, n_channels)
        """
        table = self._layout.table
        shape = (len(rows), table.n_polarisations, table.n_channels)
        weights = self._columns(rows, WEIGHT).astype(np.float64)
        scales = self._columns(rows, SCALE).astype(np.float64).reshape(len(rows), -1, shape[2])
        scales = np.broadcast_to(scales, shape)[:, list(ifs)]
        with np.errstate(invalid="ignore", over="ignore"):
            found = np.sqrt(np.sum(scales**2, axis=1)) * weights
        return np.where(np.isfinite(found) & (found > 0), found, 0.0)

    def gaps(self, n_rows: int) -> list[str]:
        """Report rows that do not follow one another, by OFFS_SUB."""
        column = self._layout.table.columns.get("OFFS_SUB")
        if column is None or column.code not in ("E", "D") or n_rows < 2:
            return []
        length = self._layout.table.n_samples * self._layout.header.tsamp
        times = self._columns(range(n_rows), "OFFS_SUB")[:, 0].astype(np.float64)
        late = np.diff(times) - length
        # Of float32, and of clocks that are read when a row is written.
        found = np.flatnonzero(np.abs(late) > 0.5 * length) if times.any() else np.array([])
        if not len(found):
            return []
        row = int(found[0])
        return [
            f"row {row + 2} starts {late[row]:+.6g} s from the end of row {row + 1} (OFFS_SUB):"
            f" {len(found)} such gaps; times behind one are wrong by it"
        ]

    def error(self, text: str) -> DataFileError:
        """Return an error that names the file."""
        return DataFileError(f"{self._layout.path}: {text}")


class FirstGains:
    """Scale of each channel in the first row in which it has a weight; each row is read once."""

    def __init__(self, rows: PsrfitsRows, ifs: tuple[int, ...]) -> None:
        self._rows, self._ifs = rows, ifs
        self._found: Doubles | None = None
        self._n_rows = 0  # that were looked at

    def until(self, n_rows: int) -> Doubles:
        """Return the scales in the first rows, 0 for a channel without a weight in them.

        A channel's scale is the same in any number of rows that include its first.

        :param n_rows: at least 1, of those in the file
        :raises DataFileError: the file has become shorter
        """
        found = self._found
        while found is None or (self._n_rows < n_rows and not found.all()):
            # In most files the first row is enough.
            end = min(self._n_rows + (_ROWS if self._n_rows else 1), n_rows)
            gains = self._rows.gains(range(self._n_rows, end), self._ifs)
            first = np.take_along_axis(gains, np.argmax(gains > 0, axis=0)[np.newaxis], axis=0)[0]
            self._found = found = first if found is None else np.where(found > 0, found, first)
            self._n_rows = end
        return found
