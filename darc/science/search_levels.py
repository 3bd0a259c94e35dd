"""Normalised channels as 16-bit integers, for a search.

They take half the memory of floats, and twice as many are summed at a time (SIMD). A standard
deviation is 16 levels: rounding with dither adds 0.07 % to the variance of noise.
"""

from __future__ import annotations

import numpy as np

from darc.science.arrays import Floats, Ints, Mask, Shorts
from darc.science.baseline import LevelWindow, take_scales
from darc.science.compiled import compiled

#: Levels per standard deviation, and the highest.
LEVELS, HIGHEST = 16, 32767
#: Channels downsampled at a time, so that they stay in the processor's cache, times the factor.
_CHANNELS = 4
#: Added before rounding, from another place in each channel: data of few values would all be
#: rounded to the same side for a while, and the error would add up over channels and samples.
_PERIOD, _APART = 1024, 397
_EVEN = ((np.arange(_PERIOD) + 0.5) / _PERIOD - 0.5).astype(np.float32)
_DITHER = np.tile(np.random.default_rng(0).permutation(_EVEN), 2)


def put_levels(
    rows: Floats, out: Shorts, random: np.random.Generator, deviation: float = 1.0
) -> None:
    """Write normalised channels as levels, of zero mean; missing data are replaced by noise.

    Noise avoids a lower noise of the band's sum where channels are missing. In data of few bits,
    the median subtracted before differs from the mean, which would show where channels end.

    :param rows: shape (n, m); NaN: missing
    :param out: overwritten, shape (n, m); a channel without data is 0
    :param random: of the noise
    :param deviation: of the noise of the rows
    """
    missing = _put(rows, np.float32(LEVELS / deviation), out)
    for number in np.flatnonzero(missing).tolist():
        if missing[number] < rows.shape[1]:
            put_noise(out[number], np.isnan(rows[number]), random)


def put_noise(row: Shorts, where: Mask, random: np.random.Generator) -> None:
    """Replace samples of a channel by noise, in place.

    :param row: shape (n,)
    :param where: shape (n,)
    """
    noise = random.standard_normal(int(where.sum()), dtype=np.float32)
    row[where] = np.rint(LEVELS * noise).astype(np.int16)


@compiled
def _put(rows: Floats, scale: np.float32, out: Shorts) -> Ints:
    """Write levels; 0 where data are missing. Return how many of each row are missing."""
    missing = np.zeros(rows.shape[0], np.int64)
    for number in range(rows.shape[0]):
        row, levels = rows[number], out[number]
        total, count = np.float64(0), 0
        for place in range(row.size):
            there = not np.isnan(row[place])
            total += row[place] if there else np.float64(0)
            count += there
        missing[number] = row.size - count
        if not count:
            levels[:] = 0
            continue
        mean = np.float32(total / count)
        low, high = np.float32(-HIGHEST), np.float32(HIGHEST)
        first = number * _APART % _PERIOD
        for begin in range(0, row.size, _PERIOD):
            some, into = row[begin : begin + _PERIOD], levels[begin : begin + _PERIOD]
            dither = _DITHER[first : first + some.size]
            for place in range(some.size):
                value = np.rint((some[place] - mean) * scale + dither[place])
                value = min(max(value, low), high)
                into[place] = np.int16(np.int32(np.float32(0) if np.isnan(value) else value))
    return missing


def downsample_levels(
    rows: Shorts, factor: int, window: LevelWindow, sparse: Mask | None = None
) -> tuple[Shorts, Mask]:
    """Average neighbouring samples, and normalise each channel anew; `rows` is overwritten.

    :param rows: levels, C-contiguous, shape (n, m)
    :param factor: number of samples to average; an incomplete last group is dropped
    :param window: of the running variance
    :param sparse: see :func:`darc.science.baseline.take_scales`
    :return: levels, in the memory of `rows`, shape (n, m // factor); and whether a channel varies,
        shape (n,)
    """
    n, length = len(rows), rows.shape[1] // factor
    shorter, varies = rows.reshape(-1)[: n * length].reshape(n, length), np.zeros(n, np.bool_)
    random = np.random.default_rng(length)  # reproducible
    for first in range(0, n, _CHANNELS * factor):
        some = slice(first, first + _CHANNELS * factor)
        means = _averaged(rows[some], factor)
        varies[some] = take_scales(means, window, sparse=None if sparse is None else sparse[some])
        put_levels(means, shorter[some], random)
    return shorter, varies


@compiled
def _averaged(rows: Shorts, factor: int) -> Floats:
    """Average neighbouring levels, in standard deviations."""
    n, length = rows.shape[0], rows.shape[1] // factor
    scale = np.float32(1 / (factor * LEVELS))
    means = np.empty((n, length), np.float32)
    for number in range(n):
        row, out = rows[number], means[number]
        if factor == 1:
            for place in range(length):
                out[place] = scale * np.float32(row[place])
        elif factor == 2:
            for place in range(length):
                total = np.int32(row[2 * place]) + np.int32(row[2 * place + 1])
                out[place] = scale * np.float32(total)
        else:
            for place in range(length):
                total = np.int32(0)
                for part in range(place * factor, (place + 1) * factor):
                    total += np.int32(row[part])
                out[place] = scale * np.float32(total)
    return means
