"""Formats of data files, by their first bytes."""

from __future__ import annotations

from enum import StrEnum

#: Bytes that tell the format.
BEGINNING = 4096


class FileFormat(StrEnum):
    """Format of a data file."""

    FILTERBANK = "SIGPROC filterbank"
    PSRFITS = "PSRFITS"


def format_of(beginning: bytes) -> FileFormat:
    """Return the format of a file; what is of no known one is left to the filterbank's reader.

    :param beginning: its first bytes, up to BEGINNING
    """
    if beginning.startswith(b"SIMPLE  ="):
        return FileFormat.PSRFITS
    return FileFormat.FILTERBANK
