"""How much a data file holds now, without reading samples, for services that wait for them."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from darc.data_files.file_format import BEGINNING, FileFormat, format_of
from darc.data_files.filterbank_header import MAX_HEADER, FilterbankHeader, parse_header
from darc.runtime.untrusted_files import open_regular


class DataLayout(Protocol):
    """Where the samples of a file are, by its header."""

    @property
    def header(self) -> FilterbankHeader:
        """Header, in SIGPROC's terms."""

    def n_samples(self, descriptor: int, size: int) -> int:
        """Return the number of whole time samples.

        :param descriptor: of the open file, which may have to be looked at
        :param size: of the file, bytes
        :raises OSError: it cannot be read
        """


def read_layout(path: Path) -> DataLayout:
    """Read the header of a data file.

    :raises OSError: it cannot be read
    :raises IncompleteFileError: its header is not complete (yet)
    :raises DataFileError: it is of no known format, or invalid
    """
    with open_regular(path) as file:
        found = format_of(file.read(BEGINNING))
        if found is FileFormat.PSRFITS:
            from darc.data_files.psrfits_layout import read_psrfits  # noqa: PLC0415 - rarely needed

            return read_psrfits(file.fileno(), path)
        if found is FileFormat.DADA:
            from darc.data_files.dada_header import read_dada  # noqa: PLC0415 - rarely needed

            return read_dada(file.fileno(), path)
        file.seek(0)
        return parse_header(file.read(MAX_HEADER), str(path))


def count_samples(layout: DataLayout, path: Path, size: int) -> int:
    """Return the number of whole time samples of a file when it had a size.

    :param size: bytes
    :raises OSError: it cannot be read
    """
    with open_regular(path) as file:
        return layout.n_samples(file.fileno(), size)
