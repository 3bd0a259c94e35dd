"""Means of blocks of rows, running statistics of them, and noise of rows; NaN is missing."""

from __future__ import annotations

import numpy as np

from darc.science.arrays import Doubles, Floats
from darc.science.compiled import compiled

#: Blocks in half of a window, and the minimum at the start and end of the data.
HALF_WINDOW, _LEAST_HALF = 32, 8
#: Clipping of running means, standard deviations.
_CLIP = 3.0


@compiled
def quick_noise(rows: Floats) -> Doubles:
    """Return the standard deviation of each row from differences of neighbouring samples.

    sqrt(mean(difference^2) / 2), which is insensitive to drifts of the baseline.

    :param rows: shape (n, m); NaN is ignored
    :return: shape (n,); 0 without data
    """
    noise = np.zeros(rows.shape[0])
    for number in range(rows.shape[0]):
        total, count = 0.0, 0
        for place in range(1, rows.shape[1]):
            step = np.float64(rows[number, place]) - np.float64(rows[number, place - 1])
            there = not np.isnan(step)
            total += step * step if there else 0.0
            count += there
        noise[number] = np.sqrt(total / max(count, 1) / 2)
    return noise


def block_centres(n_samples: int, n_blocks: int) -> Doubles:
    """Return the centres of the blocks of `block_means`, samples, shape (n_blocks,)."""
    edges = np.arange(n_blocks + 1) * n_samples // max(n_blocks, 1)
    centres: Doubles = (edges[:-1] + edges[1:] - 1) / 2
    return centres


@compiled
def block_means(rows: Floats, block: int, squared: bool) -> Doubles:
    """Return the means of the values, or of their squares, in blocks of nearly equal length.

    :param rows: shape (n, m); NaN is ignored
    :param block: length of a block, samples; a block is up to twice as long if m is not a multiple
    :param squared: means of the squares
    :return: shape (n, max(1, m // block)); NaN where less than half of a block has data
    """
    n_samples = rows.shape[1]
    n_blocks = max(1, n_samples // block)
    means = np.empty((rows.shape[0], n_blocks))
    for number in range(rows.shape[0]):
        for place in range(n_blocks):
            begin, end = place * n_samples // n_blocks, (place + 1) * n_samples // n_blocks
            total, count = 0.0, 0
            for sample in range(begin, end):
                value = rows[number, sample]
                there = not np.isnan(value)
                total += (value * value if squared else value) if there else 0.0
                count += there
            means[number, place] = total / count if count and 2 * count >= end - begin else np.nan
    return means


@compiled
def running_median(values: Doubles) -> Doubles:
    """Return the running median, over fewer values at the start and end.

    Windows stay symmetric there down to a minimum length: otherwise a slope would appear as a jump.

    :param values: finite, shape (n, k)
    """
    count = values.shape[1]
    medians = np.empty_like(values)
    ordered = np.empty(2 * HALF_WINDOW + 2)
    for number in range(values.shape[0]):
        row, first, end, size = values[number], 0, 0, 0
        for place in range(count):
            half = min(HALF_WINDOW, max(_LEAST_HALF, min(place, count - 1 - place)))
            # Neither end of the window ever moves backwards.
            while first < place - half:
                _take_out(ordered, size, row[first])
                first, size = first + 1, size - 1
            while end < min(count, place + half + 1):
                _put_in(ordered, size, row[end])
                end, size = end + 1, size + 1
            medians[number, place] = (ordered[(size - 1) // 2] + ordered[size // 2]) / 2
    return medians


@compiled
def _put_in(ordered: Doubles, size: int, value: float) -> None:
    """Insert a value into ascending ones."""
    place = size
    while place and ordered[place - 1] > value:
        ordered[place] = ordered[place - 1]
        place -= 1
    ordered[place] = value


@compiled
def _take_out(ordered: Doubles, size: int, value: float) -> None:
    """Remove a value from ascending ones."""
    place = 0
    while ordered[place] != value:
        place += 1
    for following in range(place, size - 1):
        ordered[following] = ordered[following + 1]


def running_mean(values: Doubles) -> Doubles:
    """Return the running mean, over fewer values at the start and end, with outliers clipped.

    :param values: shape (n, k)
    """
    count = values.shape[1]
    if not count:
        return values
    places = np.arange(count)
    first, end = np.maximum(places - HALF_WINDOW, 0), np.minimum(places + HALF_WINDOW + 1, count)
    means = np.zeros_like(values)
    off = values
    for _ in range(3):
        sums = np.concatenate((np.zeros((len(values), 1)), np.cumsum(off, axis=1)), axis=1)
        means = means + (sums[:, end] - sums[:, first]) / (end - first)
        off = values - means
        most = _CLIP * off.std(axis=1, keepdims=True)
        off = np.clip(off, -most, most)
    return means
