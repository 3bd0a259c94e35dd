"""Reading of growing search-mode PSRFITS files.

The rows are read directly: by memory map of astropy and numpy, the same takes six times as long
(docs/performance.md), rows that are appended are not seen, and services that wait for data, which
read the headers in the same way, would have to import astropy.
A file that becomes shorter is an error and not, as of a memory map, the end of the process.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from darc.data_files.data_file import DataFile, Samples, dtype_of_sum
from darc.data_files.data_file_error import BadRowError
from darc.data_files.psrfits_layout import read_psrfits
from darc.data_files.psrfits_rows import SHORTER, FirstGains, PsrfitsRows
from darc.data_files.psrfits_samples import (
    code_buffer,
    copy_samples,
    null_samples,
    scale_samples,
    turn_signs,
)
from darc.data_files.psrfits_table import DATA
from darc.science.arrays import Doubles

#: So much is read of a row at a time (bytes), to be unpacked while it is in the processor's cache.
_CHUNK = 1 << 18


class Psrfits(DataFile):
    """An open file of search-mode PSRFITS.

    Samples are floats, (raw - ZERO_OFF) * DAT_SCL + DAT_OFFS, times the weight; 0 where the weight
    is 0, NaN where they have the value of TNULL. Where all rows have a scale of 1, no offset, and
    weights of 0 and 1, they are integers as in the file.
    """

    def __init__(self, path: Path, ifs: tuple[int, ...] | None) -> None:
        """Open a file.

        :param ifs: polarisations to add, from 0; None: as POL_TYPE says, both of AABB and the first
            two of AABBCRCI, the first of AA+BB and IQUV
        :raises OSError: it cannot be read
        :raises IncompleteFileError: its headers are not complete, or it has no row (yet)
        :raises DataFileError: it is not search-mode PSRFITS, or contradicts itself
        """
        self.path = path
        with ExitStack() as opened:
            self._file = opened.enter_context(path.open("rb", buffering=0))
            self._layout = read_psrfits(self._descriptor, path)
            self._by_row = PsrfitsRows(self._descriptor, self._layout)
            self.header = self._layout.header
            table = self._layout.table
            if ifs is None and table.used is None:
                raise self.error(
                    f"POL_TYPE: {table.pol_type or 'missing'} of {table.n_polarisations}"
                    " polarisations is unknown; --ifs names those to add (1 is the first)"
                )
            self.choose_ifs(ifs, table.used or (0,))
            self._gains = FirstGains(self._by_row, self.ifs)
            self._lowest = table.shift - (1 << (table.n_bits - 1) if table.signed else 0)
            self._is_plain = table.null is None and self._by_row.are_plain(self._n_rows())
            self._opened = opened.pop_all()

    @property
    def _descriptor(self) -> int:
        return self._file.fileno()

    @property
    def dtype(self) -> np.dtype[Any]:
        return dtype_of_sum(self._dtype, len(self.ifs))

    @property
    def _dtype(self) -> np.dtype[Any]:
        if not self._is_plain:
            return np.dtype("<f4")
        kind = "i" if self._lowest < 0 else "u"
        return np.dtype(f"{kind}{2 if self.header.nbits == 16 else 1}")

    @property
    def highest(self) -> float:
        """Largest value of a sample, at which values are clipped; infinite if they are scaled."""
        if not self._is_plain:
            return math.inf
        return float(2**self.header.nbits - 1 + self._lowest) * len(self.ifs)

    def n_samples(self) -> int:
        """Return the number of time samples in whole rows that are on disk now."""
        return self._n_rows() * self._layout.table.n_samples

    def _n_rows(self) -> int:
        return self._layout.n_rows(self._descriptor, os.fstat(self._descriptor).st_size)

    def remarks(self) -> list[str]:
        """Report a truncated file, gaps between rows, and polarisations that are not used."""
        size = os.fstat(self._descriptor).st_size
        found = []
        if left := self._layout.cut_row(self._descriptor, size):
            whole = self._layout.table.row_bytes
            found.append(
                f"row {self._n_rows() + 1} has {left} of {whole} bytes: it is cut short, and"
                " the rows before are used"
            )
        return [*found, *self._by_row.gaps(self._n_rows())]

    def read_channels(self, start: int, count: int, channels: tuple[int, int]) -> Samples:
        samples = np.empty((count, channels[1] - channels[0]), self.dtype)
        for row, skipped, out in self._rows(start, samples):
            self._read_row(row, skipped, channels, out)
        return samples

    def read_usable(self, start: int, count: int) -> Samples:
        try:
            return self.read(start, count)
        except BadRowError:
            samples = np.zeros((count, self.header.nchans), self.dtype)
            for row, skipped, out in self._rows(start, samples):
                with suppress(BadRowError):
                    self._read_row(row, skipped, (0, self.header.nchans), out)
            return samples

    def refused(self, start: int = 0, count: int | None = None) -> list[str]:
        return self._by_row.refused(self._rows_of(start, count))

    def _rows_of(self, start: int, count: int | None) -> range:
        """Return the rows of a stretch of samples."""
        per_row, end = self._layout.table.n_samples, self._n_rows()
        if count is not None:
            end = min(end, -(-(start + count) // per_row))
        return range(start // per_row, end)

    def gains(self, n_samples: int) -> Doubles:
        """Return the DAT_SCL of the first row in which a channel has a weight."""
        return self._gains.until(-(-n_samples // self._layout.table.n_samples))

    def _rows(self, start: int, samples: Samples) -> Iterator[tuple[int, int, Samples]]:
        """Yield the rows of a stretch: number, samples to skip in it, and where the rest goes."""
        per_row = self._layout.table.n_samples
        done = 0
        while done < len(samples):
            row, skipped = divmod(start + done, per_row)
            length = min(per_row - skipped, len(samples) - done)
            yield row, skipped, samples[done : done + length]
            done += length

    def _read_row(self, row: int, skipped: int, channels: tuple[int, int], out: Samples) -> None:
        table = self._layout.table
        scaling = self._by_row.scaling(row)
        if self._is_plain and not scaling.is_plain:
            raise self.error(
                f"row {row + 1}: DAT_SCL, DAT_OFFS or DAT_WTS scale the data, and did not in the"
                " rows that were there when the file was opened; open it again"
            )
        part, ifs = slice(*channels), list(self.ifs)
        firsts = np.array([number * table.n_channels + channels[0] for number in ifs], np.int64)
        scales = scaling.scales[ifs, part].astype(np.float32)
        offsets = scaling.offsets[ifs, part].astype(np.float32)
        codes = code_buffer(table.n_bits, out.shape[1])
        zero, lowest = table.zero_off - self._lowest, np.array([self._lowest], out.dtype)
        used = scaling.used[part].astype(out.dtype)
        begin = self._by_row.begin(row) + table.columns[DATA].begin + skipped * table.moment_bytes
        at_once = max(1, _CHUNK // table.moment_bytes)
        buffer = np.empty((min(at_once, len(out)), table.moment_bytes), np.uint8)
        for done in range(0, len(out), at_once):
            some = out[done : done + at_once]
            packed = buffer[: len(some)]
            self._read_into(packed, begin + done * table.moment_bytes, row)
            missing = None
            if table.null is not None:
                missing = null_samples(packed, table.n_bits, table.null, firsts, some.shape[1])
            if table.signed:
                turn_signs(packed, table.n_bits)
            if self._is_plain:
                copy_samples(packed, table.n_bits, lowest, firsts, used, codes, some)
            else:
                scale_samples(packed, table.n_bits, zero, firsts, scales, offsets, codes, some)
            if missing is not None:
                some[missing & scaling.used[part]] = np.nan

    def _read_into(self, packed: npt.NDArray[np.uint8], begin: int, row: int) -> None:
        rest = memoryview(packed.data).cast("B")
        while rest:
            length = os.preadv(self._descriptor, [rest], begin)
            if not length:
                raise self.error(f"row {row + 1}: {SHORTER}")
            rest, begin = rest[length:], begin + length
