"""Where data are: a file, or several that continue one another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias, TypeVar

from darc.config.records import Struct
from darc.data_files.data_file_error import IncompleteFileError

T = TypeVar("T")


class PathSequence(Struct, frozen=True):
    """Files of one observation, in order of time.

    :param paths: at least one
    """

    paths: tuple[Path, ...]

    def __str__(self) -> str:
        more = len(self.paths) - 1
        return f"{self.paths[0]} and {more} that continue{'s' if more == 1 else ''} it"


#: What :func:`darc.data_files.open_data_file.open_data_file` opens.
DataSource: TypeAlias = Path | PathSequence


def paths_of(source: DataSource) -> tuple[Path, ...]:
    """Return the files of a source."""
    return source.paths if isinstance(source, PathSequence) else (source,)


def source_of(paths: Sequence[Path]) -> DataSource:
    """Return files, at least one, as a source."""
    return paths[0] if len(paths) == 1 else PathSequence(tuple(paths))


def absolute(source: DataSource) -> DataSource:
    """Return a source by absolute paths."""
    return source_of([path.absolute() for path in paths_of(source)])


def those_begun(paths: Sequence[Path], begin: Callable[[Path], T]) -> list[T]:
    """Open or read files that continue one another, without those at the end that have no header.

    A backend begins the next file before it writes to it: until then, those before are all data.

    :param paths: at least one
    :param begin: opens a file, or reads its header; called for the last one first
    :raises IncompleteFileError: a file has no complete header, and is the first or before others
    """
    found: list[T] = []
    for number in reversed(range(len(paths))):
        try:
            found.append(begin(paths[number]))
        except IncompleteFileError:
            if found or number == 0:
                raise
    return found[::-1]
