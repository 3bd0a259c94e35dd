"""Several files of one observation as one: zeros stand for what is missing between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from darc.data_files.data_file import DataFile, Samples
from darc.data_files.data_source import DataSource, source_of
from darc.data_files.sequence_places import FilePart, places_of
from darc.science.arrays import Doubles


class FileSequence(DataFile):
    """Open files of one observation, of which the last may grow."""

    def __init__(self, files: Sequence[DataFile], left_out: Sequence[Path]) -> None:
        """Take open files over, in any order; they are closed with this, and if this fails.

        :param left_out: files without a header yet, to be reported
        :raises DataFileError: they are not of one observation, or overlap
        """
        with ExitStack() as opened:
            for file in files:
                opened.enter_context(file)
            parts = [FilePart(file.path, file.header, file.n_samples()) for file in files]
            order = list(range(len(files)))
            if len(files) > 1:
                order.sort(key=lambda number: parts[number].start)
            self._files = [files[number] for number in order]
            self._parts = [parts[number] for number in order]
            self._places = places_of(self._parts)
            for file in self._files[1:]:
                if file.ifs != self._files[0].ifs:
                    raise file.error(
                        f"polarisations {_told(file.ifs)} are used, but"
                        f" {_told(self._files[0].ifs)} in {self._files[0].path}"
                    )
            self.path, self.header = self._files[0].path, self._files[0].header
            self.ifs = self._files[0].ifs
            self._left_out = tuple(left_out)
            self._opened = opened.pop_all()

    @property
    def source(self) -> DataSource:
        return source_of([file.path for file in self._files])

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.result_type(*(file.dtype for file in self._files))

    @property
    def highest(self) -> float:
        return max(file.highest for file in self._files)

    def n_samples(self) -> int:
        """Return the number of time samples up to the end of the last file as it is now."""
        return self._places[-1] + self._files[-1].n_samples()

    def remarks(self) -> list[str]:
        """Report what each file does, and what is missing between them."""
        found = []
        for file in self._files:
            found += [f"{file.path.name}: {remark}" for remark in file.remarks()]
        for number in range(1, len(self._files)):
            missing = self._places[number] - self._end(number - 1)
            if missing:
                found.append(
                    f"{missing} samples ({missing * self.header.tsamp:.6g} s) are missing between"
                    f" {self._files[number - 1].path.name} and {self._files[number].path.name}:"
                    " zeros stand for them"
                )
        found += [f"{path.name} has no complete header: left out" for path in self._left_out]
        return found

    def gains(self, n_samples: int) -> Doubles:
        found = np.zeros(self.header.nchans)
        for number, file in enumerate(self._files):
            inside = min(n_samples, self._end(number)) - self._places[number]
            if inside > 0 and not found.all():
                found = np.where(found > 0, found, file.gains(inside))
        return found

    def refused(self, start: int = 0, count: int | None = None) -> list[str]:
        count = self.n_samples() - start if count is None else count
        return [
            text
            for file, place, begin, length in self._inside(start, count)
            for text in file.refused(begin - place, length)
        ]

    def read_usable(self, start: int, count: int) -> Samples:
        """Read samples; zeros stand for those that cannot be used, too."""
        every = (0, self.header.nchans)
        return self._joined(start, count, every, lambda file, *part: file.read_usable(*part))

    def read_channels(self, start: int, count: int, channels: tuple[int, int]) -> Samples:
        """Read samples; what is missing between files is 0."""
        read = partial(DataFile.read, channels=channels)
        return self._joined(start, count, channels, read)

    def _joined(
        self,
        start: int,
        count: int,
        channels: tuple[int, int],
        read: Callable[[DataFile, int, int], Samples],
    ) -> Samples:
        pieces = []
        for file, place, begin, length in self._inside(start, count):
            piece = read(file, begin - place, length)
            if length == count:
                return piece if piece.dtype == self.dtype else piece.astype(self.dtype)
            pieces.append((begin - start, piece))
        samples = np.zeros((count, channels[1] - channels[0]), self.dtype)
        for begin, piece in pieces:
            samples[begin : begin + len(piece)] = piece
        return samples

    def _inside(self, start: int, count: int) -> Iterator[tuple[DataFile, int, int, int]]:
        """Yield the files of a stretch: where each begins, its part's first sample, and length."""
        for number, file in enumerate(self._files):
            begin = max(start, self._places[number])
            length = min(start + count, self._end(number)) - begin
            if length > 0:
                yield file, self._places[number], begin, length

    def _end(self, number: int) -> int:
        """Return the end of a file in the sequence; of all but the last, as it was when opened."""
        if number == len(self._files) - 1:
            return self.n_samples()
        return self._places[number] + self._parts[number].n_samples


def _told(ifs: tuple[int, ...]) -> str:
    return ", ".join(str(number + 1) for number in ifs)
