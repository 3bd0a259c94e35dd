"""Files that continue a file, found by its name and checked by their headers.

A telescope that splits an observation numbers the files, or names them by what came before.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from darc.data_files.data_file_error import DataFileError
from darc.data_files.read_layout import count_samples, read_layout
from darc.data_files.sequence_places import FilePart, check_same, places_of
from darc.data_files.translated_header import TranslatedHeader

_DIGITS = re.compile(r"([0-9]{1,18})")


def find_continuations(path: Path) -> list[Path]:
    """Return the files that continue a file, in order.

    Those of its directory whose names differ in one number, which is higher. Each starts where the
    one before ends, or says that it is of the same observation (PSRFITS: the same start, and
    NSUBOFFS; DADA: UTC_START and OBS_OFFSET): then some between them may be missing.

    :raises OSError: the file cannot be read
    :raises DataFileError: it is not a data file
    """
    first = _part(path)
    followers = []
    for other in path.parent.iterdir():
        if _is_numbered_after(path.name, other.name):
            # Another file of such a name: none that continues this one.
            with suppress(OSError, DataFileError):
                part = _part(other)
                followers.append((part.start, part))
    found = [first]
    for _, part in sorted(followers, key=lambda one: one[0]):
        if _continues(found[0], found[-1], part):
            found.append(part)
    return [part.path for part in found[1:]]


def _is_numbered_after(name: str, other: str) -> bool:
    """Whether two names differ in one number alone, and the other's is higher."""
    pieces, others = _DIGITS.split(name), _DIGITS.split(other)
    if len(pieces) != len(others):
        return False
    differ = [number for number in range(len(pieces)) if pieces[number] != others[number]]
    # Numbers are at odd places.
    return (
        len(differ) == 1 and differ[0] % 2 == 1 and int(pieces[differ[0]]) < int(others[differ[0]])
    )


def _part(path: Path) -> FilePart:
    layout = read_layout(path)
    return FilePart(path, layout.header, count_samples(layout, path, path.stat().st_size))


def _continues(first: FilePart, before: FilePart, part: FilePart) -> bool:
    try:
        check_same(first, part)
        _, place = places_of([before, part])
    except DataFileError:
        return False
    headers = first.header, part.header
    if isinstance(headers[0], TranslatedHeader) and isinstance(headers[1], TranslatedHeader):
        since = headers[0].observed_since, headers[1].observed_since
        if since[0] is not None and since[0] == since[1] and part.start > before.start:
            return True
    return place == before.n_samples
