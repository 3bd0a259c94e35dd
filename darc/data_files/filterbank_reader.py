"""Reading of SIGPROC filterbank files by memory map, while they grow.

Own code, as none of the readers there are fits: `your` (0.6.7) maps a file as it was when it was
opened, so that what came later is read as nothing, and reads no samples of less than 8 bits; blimpy
(2.1.4) takes none of these either, counts samples when it opens a file, and opens it anew for each
moment of a part of the channels; both bring pandas and matplotlib along; riptide reads time series;
sigpyproc needs Python 3.12.

A file that is cut short while a part of it is mapped ends the process (SIGBUS), as with any memory
map: filterbanks are appended to and removed, which is harmless, but never truncated.
"""

from __future__ import annotations

import math
import mmap
import os
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from darc.data_files.filterbank_header import (
    MAX_HEADER,
    FilterbankError,
    FilterbankHeader,
    parse_header,
)
from darc.science.dedispersion import Band

#: Unsigned and signed integers or floats, as the file has them.
Samples = npt.NDArray[Any]

_DTYPES: dict[int, np.dtype[Any]] = {8: np.dtype("u1"), 16: np.dtype("<u2"), 32: np.dtype("<f4")}
#: Of a sum of IFs.
_SUMS: dict[str, np.dtype[Any]] = {
    "|u1": np.dtype("u2"),
    "|i1": np.dtype("i2"),
    "<u2": np.dtype("u4"),
    "<f4": np.dtype("f4"),
}


class Filterbank:
    """A filterbank file, open for reading.

    :ivar header: what its header says
    :ivar unknown_keys: keys of the header that were skipped
    :ivar ifs: which IFs (polarisations or Stokes parameters) are added by `read`
    """

    def __init__(
        self, path: Path, ifs: tuple[int, ...] | None = None, *, series: bool = False
    ) -> None:
        """Open a file.

        :param ifs: from 0; None: both of two, which are polarisations, and the first of more
        :param series: a time series is allowed, which has one channel without a width
        :raises OSError: it cannot be read
        :raises IncompleteHeaderError: its header is not complete (yet)
        :raises FilterbankError: it is no filterbank
        """
        self.path = path
        self._file = path.open("rb", buffering=0)
        try:
            parsed = parse_header(_first_bytes(self._file.fileno()), str(path))
        except BaseException:
            self._file.close()
            raise
        self.header: FilterbankHeader = parsed.header
        if self.header.is_series and not series:
            self.close()
            raise FilterbankError(
                f"{path}: a time series: what is in one channel cannot be dedispersed. It can be"
                " folded (python -m darc.offline.fold); for all else, give the filterbank that it"
                " was made of"
            )
        if ifs and max(ifs) >= self.header.nifs:
            self.close()
            raise FilterbankError(f"{path}: no IF {max(ifs) + 1}; there are {self.header.nifs}")
        self.unknown_keys = parsed.unknown
        self._begin = parsed.size
        self.ifs = ifs or ((0, 1) if self.header.nifs == 2 else (0,))

    def __enter__(self) -> Filterbank:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; arrays that were read from it stay valid."""
        self._file.close()

    @property
    def band(self) -> Band:
        """The channels, the lowest frequency first whatever the file's order."""
        header = self.header
        return Band(header.f_lowest, header.channel_width, header.nchans)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the samples that `read` gives."""
        return self._dtype if len(self.ifs) == 1 else _SUMS[self._dtype.str]

    @property
    def highest(self) -> float:
        """Value at which samples are cut off."""
        if self._dtype.kind == "f":
            return math.inf
        return float(2 ** (self.header.nbits - self.header.signed) - 1) * len(self.ifs)

    @property
    def _dtype(self) -> np.dtype[Any]:
        if self.header.signed:
            return np.dtype("i1")
        return _DTYPES[max(self.header.nbits, 8)]

    def n_samples(self) -> int:
        """Number of whole samples in time that are on disk now."""
        return self._size() // self.header.bytes_per_sample

    def half_sample(self) -> int:
        """Number of bytes behind the last whole sample; of a file that grows, one that comes."""
        return self._size() % self.header.bytes_per_sample

    def _size(self) -> int:
        return max(0, os.fstat(self._file.fileno()).st_size - self._begin)

    def read(
        self,
        start: int,
        count: int,
        *,
        channels: tuple[int, int] | None = None,
        if_number: int | None = None,
    ) -> Samples:
        """Read a stretch of samples.

        8-bit samples are not copied: the array is the file's own pages, read-only, which count
        as the process's memory while the array lives.

        :param start: number of the first sample in time
        :param count: number of samples, at least 1
        :param channels: first and one behind the last, in the file's order; None: all
        :param if_number: which polarisation or Stokes parameter, where there are several; None:
            the sum of those of the file's `ifs`
        :return: shape (count, channels), in the file's order
        :raises FilterbankError: that is not in the file (yet)
        """
        header = self.header
        first, end = channels if channels is not None else (0, header.nchans)
        if if_number is None and len(self.ifs) > 1:
            total = np.zeros((count, end - first), self.dtype)
            for number in self.ifs:
                total += self.read(start, count, channels=channels, if_number=number)
            return total
        if_number = self.ifs[0] if if_number is None else if_number
        self._check(start, count, first, end, if_number)
        raw = self._map(start, count)
        if header.nbits >= 8:
            moments = raw.view(self._dtype).reshape(count, header.nifs, header.nchans)
            part = moments[:, if_number, first:end]
            # Larger samples lie at odd places, as headers have any length.
            return part if header.nbits == 8 else np.require(part, requirements=["C", "A"])
        # Channels of the wanted IF, counted through the whole moment.
        first, end = (if_number * header.nchans + channel for channel in (first, end))
        per_byte = 8 // header.nbits
        whole_bytes = slice(first // per_byte, -(-end // per_byte))
        samples = _unpack(raw.reshape(count, -1)[:, whole_bytes], header.nbits)
        skipped = first % per_byte
        return samples[:, skipped : skipped + end - first]

    def _check(self, start: int, count: int, first: int, end: int, if_number: int) -> None:
        if not 0 <= first < end <= self.header.nchans:
            raise FilterbankError(
                f"{self.path}: no channels {first} to {end - 1}; there are {self.header.nchans}"
            )
        if not 0 <= if_number < self.header.nifs:
            raise FilterbankError(f"{self.path}: no IF {if_number}; there are {self.header.nifs}")
        there = self.n_samples()
        if not (start >= 0 and count >= 1 and start + count <= there):
            raise FilterbankError(
                f"{self.path}: no {count} samples from sample {start}; there are {there}"
            )

    def _map(self, start: int, count: int) -> npt.NDArray[np.uint8]:
        """The bytes of a stretch; they are unmapped when nothing refers to them any more."""
        size = count * self.header.bytes_per_sample
        begin = self._begin + start * self.header.bytes_per_sample
        ahead = begin % mmap.ALLOCATIONGRANULARITY
        mapped = mmap.mmap(
            self._file.fileno(), size + ahead, access=mmap.ACCESS_READ, offset=begin - ahead
        )
        return np.frombuffer(mapped, np.uint8, size, ahead)


def _first_bytes(descriptor: int) -> bytes:
    """The beginning of a file, as much as a header can take."""
    parts = []
    wanted = MAX_HEADER
    while wanted and (part := os.pread(descriptor, wanted, MAX_HEADER - wanted)):
        parts.append(part)
        wanted -= len(part)
    return b"".join(parts)


def _unpack(packed: npt.NDArray[np.uint8], nbits: int) -> npt.NDArray[np.uint8]:
    """Samples of less than a byte, the first in the lowest bits.

    :param packed: shape (n, bytes)
    :return: shape (n, samples)
    """
    return _TABLES[nbits][packed].view(np.uint8)


def _table(nbits: int) -> npt.NDArray[Any]:
    """For each byte its samples, side by side in one integer."""
    shifts = np.arange(0, 8, nbits)
    samples = (np.arange(256)[:, np.newaxis] >> shifts) & ((1 << nbits) - 1)
    return samples.astype(np.uint8).view(f"<u{len(shifts)}")[:, 0]


_TABLES = {nbits: _table(nbits) for nbits in (1, 2, 4)}
