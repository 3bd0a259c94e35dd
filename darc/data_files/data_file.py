"""What holds samples of a telescope, whatever its format.

A reader translates the header of its format into SIGPROC's terms
(:class:`darc.data_files.filterbank_header.FilterbankHeader`), which the programs of this field
share, and returns samples in the file's order of channels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from darc.data_files.closed_on_exit import ClosedOnExit
from darc.data_files.data_file_error import BadRowError, DataFileError
from darc.data_files.data_source import DataSource
from darc.data_files.filterbank_header import FilterbankHeader
from darc.science.arrays import Doubles
from darc.science.dedispersion import Band

#: Samples as `read` returns them: integers or floats.
Samples = npt.NDArray[Any]

#: Types of sums of IFs.
_SUMS: dict[str, np.dtype[Any]] = {
    "|u1": np.dtype("u2"),
    "|i1": np.dtype("i2"),
    "<u2": np.dtype("u4"),
    "<i2": np.dtype("i4"),
    "<f4": np.dtype("f4"),
}


class DataFile(ClosedOnExit, ABC):
    """Open data of a beam, which may grow.

    :ivar path: the file, or the first of several
    :ivar ifs: IFs (polarisations or Stokes parameters) that `read` adds, from 0
    """

    path: Path
    header: FilterbankHeader
    ifs: tuple[int, ...]

    @property
    def source(self) -> DataSource:
        """What was opened, to be opened again elsewhere."""
        return self.path

    @property
    def band(self) -> Band:
        """Channels in ascending frequency, whatever the file's order."""
        header = self.header
        return Band(header.f_lowest, header.channel_width, header.nchans)

    def delays(self, dm: float) -> Doubles:
        """Return the delays of the channels at a DM (pc cm-3), in the file's order, s."""
        delays = self.band.delays([dm])[0]
        return np.ascontiguousarray(delays[::-1] if self.header.descending else delays)

    @property
    @abstractmethod
    def dtype(self) -> np.dtype[Any]:
        """Type of the samples that `read` returns."""

    @property
    @abstractmethod
    def highest(self) -> float:
        """Largest value of a sample, at which values are clipped; infinite for floats."""

    @abstractmethod
    def n_samples(self) -> int:
        """Return the number of whole time samples that are on disk now."""

    def remarks(self) -> list[str]:
        """Return what a user should know of the file, such as a truncated end."""
        return []

    def read(self, start: int, count: int, *, channels: tuple[int, int] | None = None) -> Samples:
        """Read samples, the sum of `ifs`.

        :param start: index of the first sample in time
        :param count: number of samples, at least 1
        :param channels: first channel and one past the last, in the file's order; None: all
        :return: shape (count, channels), in the file's order
        :raises DataFileError: the samples are not in the file (yet), or are invalid
        :raises OSError: they cannot be read
        """
        first, end = channels if channels is not None else (0, self.header.nchans)
        if not 0 <= first < end <= self.header.nchans:
            raise self.error(f"no channels {first} to {end - 1}; there are {self.header.nchans}")
        there = self.n_samples()
        if not (start >= 0 and count >= 1 and start + count <= there):
            raise self.error(f"no {count} samples from sample {start}; there are {there}")
        return self.read_channels(start, count, (first, end))

    def read_usable(self, start: int, count: int) -> Samples:
        """Read samples of all channels; zeros stand for those that `refused` tells of.

        See `read`.
        """
        return self.read(start, count)

    def refused(self, start: int = 0, count: int | None = None) -> list[str]:
        """Return why samples cannot be used, such as a row with a scale that is no number.

        :param start: index of the first sample in time
        :param count: number of samples; None: all that are there
        :raises OSError: the file cannot be read
        :raises DataFileError: it has become shorter
        """
        del start, count
        return []

    @abstractmethod
    def read_channels(self, start: int, count: int, channels: tuple[int, int]) -> Samples:
        """Read samples of which `read` has checked that they are there."""

    def read_ahead(self, start: int, count: int) -> None:
        """Have samples that are read soon be in memory then, if that is possible; does not wait.

        :param start: index of the first sample in time
        :param count: number of samples; as many of them as there are
        """

    def read_equalised(
        self, start: int, count: int, *, channels: tuple[int, int] | None = None
    ) -> Samples:
        """Read samples, each channel divided by its scale where the file has scales.

        A telescope sets scales so that noise is the same number of levels in all channels: so
        channels can be added without those of the highest gain outweighing all others. The scale is
        the first that the channel has, whatever is read: a change of it stays what it is.
        Zeros stand for samples that `refused` tells of. See `read`.
        """
        part = slice(*channels) if channels else slice(None)
        try:
            samples = self.read(start, count, channels=channels)
        except BadRowError:
            samples = self.read_usable(start, count)[:, part]
        if samples.dtype.kind != "f":  # these have no scales
            return samples
        gains = self.gains(start + count)[part]
        gains = np.where(gains > 0, gains, 1.0).astype(samples.dtype)
        if (gains != 1).any():
            samples /= gains
        return samples

    def gains(self, n_samples: int) -> Doubles:
        """Return the first scale of each channel in the first samples, shape (nchans,).

        :return: 0 for a channel that has no weight in them
        :raises OSError: the file cannot be read
        :raises DataFileError: it has become shorter
        """
        del n_samples
        return np.ones(self.header.nchans)

    def choose_ifs(self, ifs: tuple[int, ...] | None, default: tuple[int, ...]) -> None:
        """Set the IFs to add.

        :param ifs: as asked for, from 0; None: the default
        :raises DataFileError: there is no such IF
        """
        if ifs and max(ifs) >= self.header.nifs:
            raise self.error(f"no IF {max(ifs) + 1}; there are {self.header.nifs}")
        self.ifs = ifs or default

    def error(self, text: str) -> DataFileError:
        """Return an error that names the file."""
        return DataFileError(f"{self.path}: {text}")


def dtype_of_sum(dtype: np.dtype[Any], n_ifs: int) -> np.dtype[Any]:
    """Return the type that holds the sum of several IFs."""
    return dtype if n_ifs == 1 else _SUMS[dtype.str]
