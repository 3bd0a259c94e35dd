"""File formats recognised by their first bytes, for messages about files of the wrong kind."""

from __future__ import annotations

_KINDS = (
    (b"\x1f\x8b", "compressed with gzip: gunzip it first"),
    (b"BZh", "compressed with bzip2: bunzip2 it first"),
    (b"\xfd7zXZ\x00", "compressed with xz: unxz it first"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd: unzstd it first"),
    (b"PK\x03\x04", "a zip archive: unpack it first"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"SIMPLE  =", "a FITS file"),
    (b"\x89PNG", "a PNG image"),
    (b"%PDF", "a PDF document"),
    (b"\x93NUMPY", "a numpy array"),
    (b"\x0c\x00\x00\x00HEADER_START", "a SIGPROC file"),
    (b"\xff\xfe", "text in UTF-16, where UTF-8 is expected"),
    (b"\xfe\xff", "text in UTF-16, where UTF-8 is expected"),
)

#: Some editors put it in front of a text; it is ignored.
BYTE_ORDER_MARK = "\ufeff"
BYTE_ORDER_MARK_BYTES = BYTE_ORDER_MARK.encode()


def known_kind(data: bytes) -> str:
    """Return what a file with these first bytes is, and what to do; empty if unknown."""
    for begin, kind in _KINDS:
        if data.startswith(begin):
            return kind
    return ""


def not_text_reason(data: bytes, error: UnicodeDecodeError) -> str:
    """Return why a file is not UTF-8 text."""
    kind = known_kind(data)
    return kind or f"not UTF-8 text (byte {error.start}: {data[error.start]:#04x})"
