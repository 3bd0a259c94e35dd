"""Where files of one observation stand in it, by the times at which they start."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

from darc.config.records import Struct
from darc.config.typed import shown
from darc.data_files.data_file_error import DataFileError
from darc.data_files.filterbank_header import FilterbankHeader

#: Values that are the same in all files.
_SAME = ("nchans", "nbits", "nifs", "tsamp", "fch1", "foff")

#: Times in headers may be rounded to this, s.
_ROUNDED = 2e-6


class FilePart(Struct, frozen=True):
    """A file of a sequence."""

    path: Path
    header: FilterbankHeader
    n_samples: int

    @property
    def start(self) -> float:
        """Time of the first sample, Unix s.

        :raises DataFileError: it is unknown
        """
        start = self.header.arrival_reference.start
        if start is None:
            raise DataFileError(
                f"{self.path}: when it starts is not known: it cannot be put in order with others"
            )
        return start


def check_same(first: FilePart, other: FilePart) -> None:
    """Check that two files can be of one observation.

    :raises DataFileError: they differ in their format
    """
    for key in (*_SAME, "source_name"):
        values = getattr(first.header, key), getattr(other.header, key)
        if values[0] != values[1]:
            raise DataFileError(
                f"{other.path}: {key}: {shown(values[1])}, but {shown(values[0])} in {first.path}"
            )


def places_of(parts: Sequence[FilePart]) -> list[int]:
    """Return where the files of an observation start, in samples from the start of the first.

    :param parts: in order of time
    :raises DataFileError: they differ in their format, overlap, or are too far apart for one
        observation
    """
    first, places = parts[0], [0]
    total = sum(part.n_samples for part in parts)
    for before, part in itertools.pairwise(parts):
        check_same(first, part)
        tsamp = part.header.tsamp
        place = round((part.start - first.start) / tsamp)
        end = places[-1] + before.n_samples
        if abs(place - end) <= max(1, math.ceil(_ROUNDED / tsamp)):
            place = end
        if place < end:
            raise DataFileError(
                f"{part.path}: starts {(end - place) * tsamp:.6g} s before the end of"
                f" {before.path}: the same data twice"
            )
        if place - end > total:
            raise DataFileError(
                f"{part.path}: starts {(place - end) * tsamp:.6g} s after the end of"
                f" {before.path}, more than there is in all files: not of one observation"
            )
        places.append(place)
    return places
