"""Data files of a compound beam (CB): one per tied-array beam (TAB), or a single one.

``CB<cb>_<tab>.fil``, or ``CB<cb>.fil`` if there is only one. A synthesised beam (SB) is composed of
subbands of several TABs (:mod:`darc.science.synthesised_beam`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np

from darc.data_files.closed_on_exit import ClosedOnExit
from darc.data_files.data_file import DataFile, Samples
from darc.data_files.data_source import DataSource
from darc.data_files.filterbank_header import FilterbankHeader
from darc.data_files.open_data_file import open_data_file
from darc.science.arrays import Ints
from darc.science.dedispersion import Band
from darc.science.synthesised_beam import runs

#: Keys in which the TABs of a CB must agree.
_SAME = ("nchans", "nbits", "nifs", "signed", "tsamp", "fch1", "foff")

_DAY = 86400.0  # s

#: So much of a TAB is mapped at a time while an SB is put together (bytes): what is mapped counts
#: as the process's memory.
MAPPED_BYTES = 1 << 24


class CompoundBeam(ClosedOnExit):
    """Open data files of a CB.

    :ivar header: header of TAB 0; relevant keys are the same in all TABs
    """

    def __init__(self, paths: Sequence[DataSource], ifs: tuple[int, ...] | None = None) -> None:
        """Open the files, in order of TABs.

        :param ifs: see `open_data_file`
        :raises OSError: a file cannot be read
        :raises IncompleteFileError: a header is not complete (yet)
        :raises DataFileError: a file is of no known format, or differs from the first
        """
        with ExitStack() as opened:
            self._tabs = [opened.enter_context(open_data_file(path, ifs)) for path in paths]
            self.header: FilterbankHeader = self._tabs[0].header
            for tab in self._tabs:
                _check_same(self._tabs[0], tab)
            self._opened = opened.pop_all()

    @property
    def band(self) -> Band:
        """Channels in ascending frequency, whatever the files' order."""
        return self._tabs[0].band

    def n_samples(self, tabs: Ints) -> int:
        """Return the number of samples in time that all given TABs have on disk now.

        :raises DataFileError: there is no such TAB
        """
        return min(self._tab(int(tab)).n_samples() for tab in np.unique(tabs))

    def read_tab(self, tab: int, start: int, count: int) -> Samples:
        """Read samples of a TAB; see `DataFile.read_equalised`."""
        return self._tab(tab).read_equalised(start, count)

    def read_synthesised(self, tabs: Ints, start: int, count: int) -> Samples:
        """Read samples of an SB, from only the TABs and channels that it needs.

        :param tabs: TAB of each subband, in ascending frequency, shape (n_subbands,)
        :param start: index of the first sample in time
        :param count: number of samples, at least 1
        :return: shape (count, nchans), in the files' order of channels
        :raises DataFileError: the samples are not in the files (yet), or there is no such TAB
        :raises ValueError: there are fewer channels than subbands
        """
        n_channels = self.header.nchans
        parts = runs(tabs, n_channels)
        if len(parts) == 1:
            return self.read_tab(parts[0][0], start, count)
        there = self.n_samples(tabs)
        if not (start >= 0 and count >= 1 and start + count <= there):
            raise self._tabs[0].error(f"no {count} samples from {start}; there are {there}")
        beam = np.empty((count, n_channels), dtype=self._tabs[0].dtype)
        at_a_time = max(1, MAPPED_BYTES // self.header.bytes_per_sample)
        for tab, first, end in parts:
            channels = (first, end)
            if self.header.descending:
                channels = (n_channels - end, n_channels - first)
            for begin in range(0, count, at_a_time):
                block = beam[begin : begin + at_a_time, channels[0] : channels[1]]
                file = self._tab(tab)
                block[:] = file.read_equalised(start + begin, len(block), channels=channels)
        return beam

    def refused(self, tabs: Ints, start: int, count: int) -> list[str]:
        """Return why samples of these TABs were read as zeros; see `DataFile.refused`."""
        return [
            text for tab in np.unique(tabs) for text in self._tab(int(tab)).refused(start, count)
        ]

    def _tab(self, tab: int) -> DataFile:
        if not 0 <= tab < len(self._tabs):
            raise self._tabs[0].error(f"no TAB {tab}; there are {len(self._tabs)}")
        return self._tabs[tab]


def _check_same(first: DataFile, other: DataFile) -> None:
    """Check that two TABs can belong to one CB.

    :raises DataFileError: they differ
    """
    for key in _SAME:
        values = getattr(first.header, key), getattr(other.header, key)
        if values[0] != values[1]:
            raise other.error(f"{key}: {values[1]}, but {values[0]} in {first.path}")
    starts = first.header.tstart, other.header.tstart
    if starts[0] is None or starts[1] is None:
        return
    if abs(starts[1] - starts[0]) * _DAY > first.header.tsamp / 2:
        raise other.error(f"tstart: {starts[1]}, but {starts[0]} in {first.path}")
