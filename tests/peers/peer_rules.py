"""What PRESTO takes as a filterbank: it is no package that pip installs.

From its `sigproc_fb.c` (`read_filterbank_header`, `read_filterbank_files`): it ends at a key that
it does not know; a text has 1 to 79 bytes, as it is copied to 80 with a NUL behind; what a header
lacks is taken from memory that nothing was written to; `fch1` is the highest channel, so the band
descends.
"""

from __future__ import annotations

import struct

_INTEGERS = (
    *("nchans", "telescope_id", "machine_id", "data_type", "nbits", "barycentric"),
    *("pulsarcentric", "nsamples", "nifs", "nbeams", "ibeam"),
)
_DOUBLES = ("az_start", "za_start", "src_raj", "src_dej", "tstart", "tsamp", "fch1", "foff")
_TEXTS = ("rawdatafile", "source_name")
#: What it uses of a header.
NEEDED = {
    *("nchans", "nbits", "nifs", "tsamp", "fch1", "foff", "tstart", "telescope_id", "machine_id"),
    *("src_raj", "src_dej", "az_start", "za_start", "ibeam"),
}


class PrestoError(ValueError):
    """PRESTO would end here."""


def read_as_presto(data: bytes) -> tuple[dict[str, int | float | str], int]:
    """Return the values of a header, and its size in bytes."""
    at = 0

    def text() -> str:
        nonlocal at
        (size,) = struct.unpack_from("<i", data, at)
        if not 1 <= size <= 79:
            raise PrestoError(f"a text of {size} bytes at byte {at}")
        at += 4 + size
        return data[at - size : at].decode()

    if text() != "HEADER_START":
        raise PrestoError("no header")
    found: dict[str, int | float | str] = {}
    while (key := text()) != "HEADER_END":
        if key in _TEXTS:
            found[key] = text()
            continue
        if key not in (*_INTEGERS, *_DOUBLES):
            raise PrestoError(f"unknown parameter: {key}")
        layout = "<i" if key in _INTEGERS else "<d"
        (found[key],) = struct.unpack_from(layout, data, at)
        at += struct.calcsize(layout)
    return found, at
