"""Formats of data files, by their first bytes."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path

from darc.runtime.untrusted_files import open_regular

#: Number of first bytes that identify the format.
BEGINNING = 4096

_SIGPROC = b"\x0c\x00\x00\x00HEADER_START"
_DADA = re.compile(rb"[ -~\t\r\n]*?^(HDR_SIZE|HDR_VERSION|HEADER[ \t]+DADA)\s", re.MULTILINE)


class FileFormat(StrEnum):
    """Format of a data file."""

    FILTERBANK = "SIGPROC filterbank"
    PSRFITS = "PSRFITS"
    DADA = "DADA"


def format_of(beginning: bytes) -> FileFormat | None:
    """Return the format of a file; None if it is of no known one.

    :param beginning: its first bytes, up to BEGINNING
    """
    if beginning.startswith(b"SIMPLE  ="):
        return FileFormat.PSRFITS
    if beginning.startswith(_SIGPROC):
        return FileFormat.FILTERBANK
    if _DADA.match(beginning):
        return FileFormat.DADA
    return None


def format_of_file(path: Path) -> FileFormat | None:
    """Return the format of a file; see `format_of`.

    :raises OSError: it cannot be read
    """
    with open_regular(path) as file:
        return format_of(file.read(BEGINNING))
