"""Reading and cleaning of the data that a single-pulse search looks at."""

from __future__ import annotations

import math

import numpy as np

from darc.config.records import Struct, field
from darc.data_files.data_file import DataFile
from darc.science.arrays import Doubles, Floats, Ints, Mask, Shorts
from darc.science.baseline import (
    BandSeries,
    LevelWindow,
    sparse_noise,
    take_levels,
    take_scales,
)
from darc.science.downsample import downsample_time
from darc.science.float_units import exponent_to_usual
from darc.science.reused_memory import ReusedMemory
from darc.science.rfi_cleaning import replace_outliers
from darc.science.search_levels import put_levels
from darc.science.silent_data import forget_stuck, silent_moments
from darc.science.time_major import put_rows
from darc.science.wild_samples import forget_wild

#: Longest pulse of the search, s, and limits of its length in samples.
LONGEST_PULSE = 0.05
_LONGEST_SAMPLES = 32, 2048

#: Bytes of the file cleaned at a time, beside those on which their baselines depend; samples read
#: at a time.
_PIECE, _READ = 1 << 27, 1 << 13
#: Channels cleaned at a time, so that they stay in the processor's cache.
_CHANNELS = 4


def longest_pulse(tsamp: float) -> int:
    """Return the length of the longest pulse of the search, samples.

    :param tsamp: s
    """
    least, most = _LONGEST_SAMPLES
    return max(least, min(round(LONGEST_PULSE / tsamp), most))


class SearchData(Struct, eq=False):
    """Cleaned channels.

    :param rows: levels, of zero baseline and a local variance of about 1, with noise where data are
        missing (:mod:`darc.science.search_levels`), shape (n, m)
    :param levels: noise of the channels before cleaning, levels; infinite for floats, shape (n,)
    :param varies: whether a channel varies, shape (n,)
    :param late: delay of each channel per DM, samples per pc cm-3, descending, shape (n,)
    :param smearing: intra-channel smearing per DM, samples per pc cm-3, shape (n,)
    """

    rows: Shorts
    levels: Doubles
    varies: Mask
    late: Doubles = field(default_factory=lambda: np.zeros(0))
    smearing: Doubles = field(default_factory=lambda: np.zeros(0))

    def forget_constant(self) -> None:
        """Forget channels that do not vary."""
        some = self.varies
        if not some.all():
            self.rows, self.levels = self.rows[some], self.levels[some]
            self.late, self.smearing = self.late[some], self.smearing[some]
            self.varies = some[some]


def read_search_data(
    file: DataFile,
    channels: Ints,
    start: int,
    count: int,
    factor: int,
    clip: tuple[float, int] | None,
    memory: tuple[ReusedMemory, ReusedMemory],
) -> SearchData:
    """Read a time range, subtract baselines, normalise, and downsample.

    :param channels: the lowest frequency first, shape (n,)
    :param start: first sample
    :param count: downsampled samples
    :param clip: threshold (standard deviations) and iterations of
        :func:`darc.science.rfi_cleaning.replace_outliers`; None: no outliers are replaced
    :param memory: for what is returned, and for what is read
    """
    rows = memory[0].array((len(channels), count), np.dtype(np.int16))
    levels, varies = np.full(len(channels), np.inf), np.zeros(len(channels), np.bool_)
    length = max(1, _PIECE // (len(channels) * file.dtype.itemsize * factor))
    for begin in range(0, count, length):
        end = min(begin + length, count)
        samples = start + begin * factor, start + end * factor
        noise, varying = _read(file, channels, samples, factor, clip, rows[:, begin:end], memory[1])
        levels = np.minimum(levels, noise)
        varies |= varying
    # While this part is searched, the data of later ones are read.
    file.read_ahead(start + count * factor, count * factor)
    return SearchData(rows, levels, varies)


def _read(
    file: DataFile,
    channels: Ints,
    samples: tuple[int, int],
    factor: int,
    clip: tuple[float, int] | None,
    rows: Shorts,
    memory: ReusedMemory,
) -> tuple[Doubles, Mask]:
    """Read and clean some samples.

    :return: noise of the channels, levels; infinite for floats, shape (n,); and whether they vary
    """
    longest = longest_pulse(file.header.tsamp * factor) * factor
    window = LevelWindow.of_search(longest)
    begin, end = samples
    first, last = max(0, begin - window.reach), min(file.n_samples(), end + window.reach)
    inside = slice(begin - first, end - first)
    columns = file.header.nchans - 1 - channels if file.header.descending else channels
    file.read_ahead(first, last - first)
    values = memory.array((len(channels), last - first), file.dtype)
    for at in range(first, last, _READ):
        stop = min(at + _READ, last)
        data = file.read_usable(at, stop - at).view()
        data.setflags(write=False)
        put_rows(data, columns, values[:, at - first : stop - first])
    is_float = file.dtype.kind == "f"
    if is_float:
        forget_wild(values)
        if exponent := exponent_to_usual(values):
            np.ldexp(values, exponent, out=values)
    everything = np.arange(len(channels))
    silent = silent_moments(values.T, everything)

    def take(some: slice, unusable: Mask) -> Floats:
        part = values[some].astype(np.float32)
        forget_stuck(part, file.highest)
        if unusable.any():
            part[:, unusable] = np.nan
        return part

    groups = [slice(first, first + _CHANNELS) for first in range(0, len(channels), _CHANNELS)]
    series = BandSeries(last - first)
    for some in groups:
        series.add(take(some, silent))
    # What all channels share may drift faster: the window of the band is shorter.
    band = series.level(LevelWindow.beside(longest), values.T, everything)
    random = np.random.default_rng(samples)  # reproducible
    unusable, varies = silent | band.jumps, np.zeros(len(channels), np.bool_)
    for some, noise in zip(groups, series.noise, strict=True):
        part = take(some, unusable)
        part -= noise[:, np.newaxis].astype(np.float32) * band.level
        sparse = None if is_float else sparse_noise(noise, window)
        take_levels(part, window, band.cuts, sparse)
        varies[some] = take_scales(part, window, band.cuts, sparse)
        if clip is not None:
            missing = np.isnan(part)
            part[missing] = 0
            replace_outliers(part, *clip)
            part[missing] = np.nan
        means = downsample_time(np.ascontiguousarray(part[:, inside]), factor)
        put_levels(means, rows[some], random, 1 / math.sqrt(factor))
    noises = np.concatenate(series.noise)
    return np.full(len(noises), np.inf) if is_float else noises, varies
