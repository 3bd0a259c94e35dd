"""Opening of data files of any format, which is recognised by their content, not by their names."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from darc.data_files.data_file import DataFile
from darc.data_files.data_source import DataSource, PathSequence, those_begun
from darc.data_files.file_format import FileFormat, format_of_file
from darc.data_files.filterbank_reader import Filterbank


def open_data_file(
    source: DataSource, ifs: tuple[int, ...] | None = None, *, series: bool = False
) -> DataFile:
    """Open a data file, or several of one observation as one.

    Of several, those at the end that have no complete header yet are left out.

    :param ifs: IFs (polarisations or Stokes parameters) to add, from 0; None: as the file says. A
        SIGPROC file does not: both of two, the first of more
    :param series: accept a SIGPROC time series, which has one channel without a width
    :raises OSError: it cannot be read
    :raises IncompleteFileError: its header is not complete (yet)
    :raises DataFileError: it is of no known format, or invalid; or files are not of one observation
    """
    if not isinstance(source, PathSequence):
        return _open(source, ifs, series=series)
    from darc.data_files.file_sequence import FileSequence  # noqa: PLC0415 - rarely needed

    with ExitStack() as opened:

        def begin(path: Path) -> DataFile:
            return opened.enter_context(_open(path, ifs, series=series))

        files = those_begun(source.paths, begin)
        sequence = FileSequence(files, source.paths[len(files) :])
        opened.pop_all()
        return sequence


def _open(path: Path, ifs: tuple[int, ...] | None, *, series: bool) -> DataFile:
    found = format_of_file(path)
    if found is FileFormat.PSRFITS:
        from darc.data_files.psrfits_reader import Psrfits  # noqa: PLC0415 - rarely needed

        return Psrfits(path, ifs)
    if found is FileFormat.DADA:
        from darc.data_files.dada_reader import Dada  # noqa: PLC0415 - rarely needed

        return Dada(path, ifs)
    # Its error says what a file of no known format is.
    return Filterbank(path, ifs, series=series)
