"""Opening of data files of any format, which is recognised by their content, not by their names."""

from __future__ import annotations

from darc.data_files.data_file import DataFile
from darc.data_files.data_source import DataSource, PathSequence
from darc.data_files.file_format import FileFormat, format_of
from darc.data_files.filterbank_reader import Filterbank


def open_data_file(
    source: DataSource, ifs: tuple[int, ...] | None = None, *, series: bool = False
) -> DataFile:
    """Open a data file.

    :param ifs: IFs (polarisations or Stokes parameters) to add, from 0; None: as the file says. A
        SIGPROC file does not: both of two, the first of more
    :param series: accept a SIGPROC time series, which has one channel without a width
    :raises OSError: it cannot be read
    :raises IncompleteFileError: its header is not complete (yet)
    :raises DataFileError: it is of no known format, or invalid
    """
    assert not isinstance(source, PathSequence)
    with source.open("rb") as file:
        found = format_of(file.read(64))
    if found is FileFormat.PSRFITS:
        from darc.data_files.psrfits_reader import Psrfits  # noqa: PLC0415 - rarely needed

        return Psrfits(source, ifs)
    return Filterbank(source, ifs, series=series)
