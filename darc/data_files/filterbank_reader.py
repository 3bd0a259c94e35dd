"""Reading of growing SIGPROC filterbank files by memory map.

No existing reader is suitable: `your` (0.6.7) maps the size at opening, so that later samples are
not read, and does not support samples of less than 8 bits; blimpy (2.1.4) does not support these
either, counts samples at opening, and opens the file again for each time sample of a part of the
channels; both depend on pandas and matplotlib; riptide reads time series; sigpyproc needs Python
3.12.

Truncating a file while it is mapped ends the process (SIGBUS), as with any memory map: filterbanks
are appended to and removed, which is harmless, but never truncated.
"""

from __future__ import annotations

import mmap
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from darc.data_files.data_file import Samples
from darc.data_files.filterbank_header import MAX_HEADER, FilterbankError, parse_header
from darc.data_files.fits_header import read_at
from darc.data_files.header_and_samples import HeaderAndSamples


class Filterbank(HeaderAndSamples):
    """An open filterbank file."""

    def __init__(
        self, path: Path, ifs: tuple[int, ...] | None = None, *, series: bool = False
    ) -> None:
        """Open a file.

        :param ifs: IFs to add, from 0; None: both of two (polarisations), the first of more
        :param series: accept a time series, which has one channel without a width
        :raises OSError: it cannot be read
        :raises IncompleteHeaderError: its header is not complete (yet)
        :raises FilterbankError: not a filterbank
        """
        self.path = path
        with ExitStack() as opened:
            self._file = opened.enter_context(path.open("rb", buffering=0))
            parsed = parse_header(read_at(self._file.fileno(), MAX_HEADER, 0), str(path))
            self.header, self._begin = parsed.header, parsed.size
            if self.header.is_series and not series:
                raise self.error(
                    "a time series: a single channel cannot be dedispersed. It can be folded"
                    " (python -m darc.offline.fold); for all else, use the filterbank that it was"
                    " made of"
                )
            self.choose_ifs(ifs, (0, 1) if self.header.nifs == 2 else (0,))
            self._opened = opened.pop_all()

    def read_channels(self, start: int, count: int, channels: tuple[int, int]) -> Samples:
        """Read samples; see `DataFile.read_channels`.

        8-bit samples are not copied: the array is a read-only view of the file's pages, which count
        as memory of the process as long as the array exists.
        """
        if len(self.ifs) == 1:
            return self._read_if(self.ifs[0], start, count, channels)
        total = np.zeros((count, channels[1] - channels[0]), self.dtype)
        for number in self.ifs:
            total += self._read_if(number, start, count, channels)
        return total

    def _read_if(
        self, if_number: int, start: int, count: int, channels: tuple[int, int]
    ) -> Samples:
        header, raw = self.header, self._map(start, count)
        if header.nbits >= 8:
            moments = raw.view(header.dtype).reshape(count, header.nifs, header.nchans)
            part = moments[:, if_number, slice(*channels)]
            # Larger samples may be unaligned, as headers have any length.
            return part if header.nbits == 8 else np.require(part, requirements=["C", "A"])
        # Channels of the selected IF, counted over all IFs of a time sample.
        first, end = (if_number * header.nchans + channel for channel in channels)
        per_byte = 8 // header.nbits
        whole_bytes = slice(first // per_byte, -(-end // per_byte))
        samples = _unpack(raw.reshape(count, -1)[:, whole_bytes], header.nbits)
        skipped = first % per_byte
        return samples[:, skipped : skipped + end - first]

    def read_ahead(self, start: int, count: int) -> None:
        size = self.header.bytes_per_sample
        begin, length = self._begin + start * size, count * size
        os.posix_fadvise(self._file.fileno(), begin, length, os.POSIX_FADV_WILLNEED)

    def error(self, text: str) -> FilterbankError:
        return FilterbankError(f"{self.path}: {text}")

    def _map(self, start: int, count: int) -> npt.NDArray[np.uint8]:
        """Map the bytes of samples; they are unmapped when nothing refers to them."""
        size = count * self.header.bytes_per_sample
        begin = self._begin + start * self.header.bytes_per_sample
        ahead = begin % mmap.ALLOCATIONGRANULARITY
        mapped = mmap.mmap(
            self._file.fileno(), size + ahead, access=mmap.ACCESS_READ, offset=begin - ahead
        )
        return np.frombuffer(mapped, np.uint8, size, ahead)


def _unpack(packed: npt.NDArray[np.uint8], nbits: int) -> npt.NDArray[np.uint8]:
    """Unpack samples of less than a byte, the first in the lowest bits.

    :param packed: shape (n, bytes)
    :return: shape (n, samples)
    """
    return _TABLES[nbits][packed].view(np.uint8)


def _table(nbits: int) -> npt.NDArray[Any]:
    """Return the samples of each byte value, packed into one integer."""
    shifts = np.arange(0, 8, nbits)
    samples = (np.arange(256)[:, np.newaxis] >> shifts) & ((1 << nbits) - 1)
    return samples.astype(np.uint8).view(f"<u{len(shifts)}")[:, 0]


_TABLES = {nbits: _table(nbits) for nbits in (1, 2, 4)}
