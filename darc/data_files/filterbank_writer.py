"""Writing of SIGPROC filterbank files that other programs open, too.

`your`, blimpy, sigpyproc and PRESTO each need some keys that a header of DARC's may be without:
blimpy and `your` stop without `tstart`, and PRESTO takes what is missing from memory that nothing
was written to. So a file has all of `_NOT_KNOWN`. Texts of more than 79 bytes overflow in PRESTO,
and end the header for `your`, which also reads all samples wrong behind `nsamples`, `refdm` and
`period`. What each opens: docs/peers.md.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from darc.config.records import replace
from darc.data_files.closed_on_exit import ClosedOnExit
from darc.data_files.filterbank_header import FilterbankError, FilterbankHeader, format_header

#: Values of keys that other programs need and that are not known, as SIGPROC and they write them.
_NOT_KNOWN: dict[str, int | float] = {
    "telescope_id": 0,
    "machine_id": 0,
    "data_type": 1,
    "barycentric": 0,
    "pulsarcentric": 0,
    "src_raj": 0.0,
    "src_dej": 0.0,
    "az_start": -1.0,
    "za_start": -1.0,
    "nbeams": 1,
    "ibeam": 1,
    "tstart": 0.0,
}
_LONGEST_TEXT = 79  # bytes


def for_others(header: FilterbankHeader) -> FilterbankHeader:
    """Return a header with all the keys that other programs need.

    :raises FilterbankError: a text is too long for them
    """
    for key in ("source_name", "rawdatafile"):
        size = len((getattr(header, key) or "").encode())
        if size > _LONGEST_TEXT:
            raise FilterbankError(f"{key}: {size} bytes; allowed: up to {_LONGEST_TEXT}")
    missing = {key: value for key, value in _NOT_KNOWN.items() if getattr(header, key) is None}
    if header.is_series:
        missing.pop("data_type", None)
    return replace(header, **missing)


class FilterbankWriter(ClosedOnExit):
    """A growing filterbank file: appended samples can be read at once.

    :ivar header: the header as given
    :raises FileExistsError: the file exists already
    :raises FilterbankError: a value of the header is not allowed
    """

    def __init__(self, path: Path, header: FilterbankHeader) -> None:
        begin = format_header(for_others(header))
        self.path = path
        self.header = header
        with ExitStack() as opened:
            self._file = opened.enter_context(path.open("xb", buffering=0))
            self._write(begin)
            self._opened = opened.pop_all()

    def append(self, samples: npt.ArrayLike) -> None:
        """Append samples.

        :param samples: shape (n, nchans), or (n, nifs, nchans) with several IFs; in the file's
            order of channels, whole numbers unless the file holds floats
        :raises FilterbankError: wrong shape, or a value out of range
        """
        header = self.header
        array = np.asarray(samples)
        moment = (header.nchans,) if header.nifs == 1 else (header.nifs, header.nchans)
        if array.shape[1:] != moment or array.ndim != len(moment) + 1:
            raise FilterbankError(
                f"{self.path}: samples of shape {array.shape}; allowed: (n, {moment})"
            )
        self._write(_packed(array, header, self.path))

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]


def _packed(array: npt.NDArray[Any], header: FilterbankHeader, path: Path) -> bytes:
    with np.errstate(invalid="ignore"):
        samples = array.astype(header.dtype)
    if header.nbits < 32:
        highest = (1 << (header.nbits - header.signed)) - 1
        # Clipped or wrapped values differ; so does NaN.
        if not np.array_equal(samples, array) or np.any(samples > highest):
            raise FilterbankError(
                f"{path}: samples from {array.min()} to {array.max()}; allowed: whole numbers "
                f"from {-highest - 1 if header.signed else 0} to {highest}"
            )
    if header.nbits >= 8:
        return samples.tobytes()
    # The first sample goes into the lowest bits.
    bits = np.unpackbits(samples.reshape(-1, 1), axis=1, bitorder="little")
    return np.packbits(bits[:, : header.nbits], bitorder="little").tobytes()
