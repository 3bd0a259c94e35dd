"""Reading of growing DADA files of detected samples."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np

from darc.data_files.dada_header import read_dada
from darc.data_files.data_file import Samples
from darc.data_files.fits_header import read_at
from darc.data_files.header_and_samples import HeaderAndSamples

#: So much is read at a time (bytes).
_CHUNK = 1 << 20


class Dada(HeaderAndSamples):
    """An open DADA file: powers of 8 or 16 bits, unsigned, or floats of 32."""

    def __init__(self, path: Path, ifs: tuple[int, ...] | None) -> None:
        """Open a file.

        :param ifs: polarisations to add, from 0; None: as STATE says; without it, both of two and
            the first of more
        :raises OSError: it cannot be read
        :raises IncompleteFileError: its header is not complete (yet)
        :raises DataFileError: a value is missing or not allowed, or the samples are not powers
        """
        self.path = path
        with ExitStack() as opened:
            self._file = opened.enter_context(path.open("rb", buffering=0))
            self._layout = read_dada(self._file.fileno(), path)
            self.header, self._begin = self._layout.header, self._layout.begin
            self.choose_ifs(ifs, self._layout.used)
            self._opened = opened.pop_all()

    def read_channels(self, start: int, count: int, channels: tuple[int, int]) -> Samples:
        header = self.header
        samples = np.zeros((count, channels[1] - channels[0]), self.dtype)
        at_once = max(1, _CHUNK // header.bytes_per_sample)
        for begin in range(0, count, at_once):
            some = samples[begin : begin + at_once]
            place = self._begin + (start + begin) * header.bytes_per_sample
            size = len(some) * header.bytes_per_sample
            data = read_at(self._file.fileno(), size, place)
            if len(data) < size:
                raise self.error("the file has become shorter while it was read")
            moments = np.frombuffer(data, header.dtype)
            if self._layout.is_by_channel:
                shape = (len(some), header.nchans, header.nifs)
                moments = moments.reshape(shape).transpose(0, 2, 1)
            else:
                moments = moments.reshape(len(some), header.nifs, header.nchans)
            for number in self.ifs:
                some += moments[:, number, slice(*channels)]
        return samples
