"""Files of a header and, behind it, nothing but samples in order of time."""

from __future__ import annotations

import math
import os
from io import FileIO
from typing import Any

import numpy as np

from darc.data_files.data_file import DataFile, dtype_of_sum


class HeaderAndSamples(DataFile):
    """Open file of samples as SIGPROC has them, whatever its header."""

    _file: FileIO
    _begin: int  # byte of the first sample

    @property
    def dtype(self) -> np.dtype[Any]:
        return dtype_of_sum(self.header.dtype, len(self.ifs))

    @property
    def highest(self) -> float:
        if self.header.dtype.kind == "f":
            return math.inf
        return float(2 ** (self.header.nbits - self.header.signed) - 1) * len(self.ifs)

    def n_samples(self) -> int:
        return self._size() // self.header.bytes_per_sample

    def remarks(self) -> list[str]:
        """Report a truncated file: its header may not give its length."""
        whole = self.header.bytes_per_sample
        left = self._size() % whole
        return [f"ends with {left} of a sample's {whole} bytes: it is cut short"] if left else []

    def _size(self) -> int:
        return max(0, os.fstat(self._file.fileno()).st_size - self._begin)
