"""Reading of growing DADA files of detected samples."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from darc.data_files.dada_header import read_dada
from darc.data_files.data_file import DataFile, Samples, dtype_of_sum
from darc.data_files.fits_header import read_at
from darc.data_files.translated_header import TranslatedHeader

_DTYPES: dict[int, np.dtype[Any]] = {8: np.dtype("u1"), 16: np.dtype("<u2"), 32: np.dtype("<f4")}
#: So much is read at a time (bytes).
_CHUNK = 1 << 20


class Dada(DataFile):
    """An open DADA file: powers of 8 or 16 bits, unsigned, or floats of 32."""

    header: TranslatedHeader

    def __init__(self, path: Path, ifs: tuple[int, ...] | None = None) -> None:
        """Open a file.

        :param ifs: polarisations to add, from 0; None: as STATE says; without it, both of two and
            the first of more
        :raises OSError: it cannot be read
        :raises IncompleteFileError: its header is not complete (yet)
        :raises DataFileError: a value is missing or not allowed, or the samples are not powers
        """
        self.path = path
        self._file = path.open("rb", buffering=0)
        try:
            self._layout = read_dada(self._file.fileno(), path)
        except BaseException:
            self._file.close()
            raise
        self.header = self._layout.header
        self.choose_ifs(ifs, self._layout.used)

    def close(self) -> None:
        """Close the file; arrays read from it stay valid."""
        self._file.close()

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the samples that `read` returns."""
        return dtype_of_sum(_DTYPES[self.header.nbits], len(self.ifs))

    @property
    def highest(self) -> float:
        """Largest value of a sample, at which values are clipped; infinite for floats."""
        if self.header.nbits == 32:
            return math.inf
        return float(2**self.header.nbits - 1) * len(self.ifs)

    def _size(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def n_samples(self) -> int:
        """Return the number of whole time samples that are on disk now."""
        return self._layout.n_samples(self._file.fileno(), self._size())

    def remarks(self) -> list[str]:
        """Report a truncated file."""
        whole = self.header.bytes_per_sample
        left = max(0, self._size() - self._layout.begin) % whole
        return [f"ends with {left} of a sample's {whole} bytes: it is cut short"] if left else []

    def read(
        self,
        start: int,
        count: int,
        *,
        channels: tuple[int, int] | None = None,
        if_number: int | None = None,
    ) -> Samples:
        """Read samples; see `DataFile.read`."""
        header = self.header
        first, end = channels if channels is not None else (0, header.nchans)
        self.check_stretch(start, count, (first, end), if_number)
        ifs = self.ifs if if_number is None else (if_number,)
        dtype = _DTYPES[header.nbits]
        samples = np.zeros((count, end - first), dtype_of_sum(dtype, len(ifs)))
        at_once = max(1, _CHUNK // header.bytes_per_sample)
        for begin in range(0, count, at_once):
            some = samples[begin : begin + at_once]
            place = self._layout.begin + (start + begin) * header.bytes_per_sample
            size = len(some) * header.bytes_per_sample
            data = read_at(self._file.fileno(), size, place)
            if len(data) < size:
                raise self.error("the file has become shorter while it was read")
            if self._layout.is_by_channel:
                shape = (len(some), header.nchans, header.nifs)
                moments = np.frombuffer(data, dtype).reshape(shape).transpose(0, 2, 1)
            else:
                moments = np.frombuffer(data, dtype).reshape(len(some), header.nifs, header.nchans)
            for number in ifs:
                some += moments[:, number, first:end]
        return samples
