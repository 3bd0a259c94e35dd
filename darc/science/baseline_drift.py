"""Subtraction of baseline drifts that most channels share, such as those of a receiver's gain.

Blocks are long, and the drift is the median of the channels' block means: a pulse is in only some
channels at a time, and its samples are excluded.
"""

from __future__ import annotations

import warnings

import numpy as np

from darc.science.arrays import Doubles, Floats, Ints, Mask, TimeMajor
from darc.science.block_statistics import block_centres, block_means, quick_noise
from darc.science.time_major import channel_rows

#: Minimum number of samples in a block, and of blocks.
_LEAST_BLOCK, _LEAST_BLOCKS = 8, 8
#: Number of blocks, and significance of a drift: standard deviation of the block means in units of
#: their noise.
_DRIFT_BLOCKS, _DRIFTING = 128, 3.0
_FITS = 4
#: A larger step between blocks, in units of the median one, is a jump; noise gives up to 6.
_STEEP = 8.0


def without_drift(
    series: Floats, data: TimeMajor, columns: Ints, unusable: Mask, begins: Ints, length: int
) -> TimeMajor:
    """Subtract the baseline drift that most channels share, such as that of a receiver's gain.

    :param series: mean of the channels, shape (n_samples,)
    :param data: shape (n_samples, n_columns)
    :param columns: columns of the channels, shape (n,)
    :param unusable: samples to ignore, shape (n_samples,)
    :param begins: start of the pulse in each channel, which is ignored, too, samples, shape (n,)
    :param length: length of the pulse, samples
    :return: `data` itself if there is no significant drift
    """
    block = max(_LEAST_BLOCK, -(-len(series) // _DRIFT_BLOCKS))
    means = block_means(series[np.newaxis], block, False)[0]
    means = means[np.isfinite(means)]
    noise = float(quick_noise(series[np.newaxis])[0]) / np.sqrt(block)
    if len(means) < _LEAST_BLOCKS or not float(means.std()) > _DRIFTING * noise:
        return data
    blocks = []
    for number, begin in enumerate(begins.tolist()):
        row = channel_rows(data, columns[number : number + 1])
        row[:, unusable] = np.nan
        row[:, max(0, begin) : max(0, begin + length)] = np.nan
        blocks.append(block_means(row, block, False)[0])
    channels = np.array(blocks)
    there = np.isfinite(channels)
    seen = there.any(axis=0)
    if seen.sum() < _LEAST_BLOCKS:
        return data
    channels, there = channels[:, seen], there[:, seen]
    parts, shared = _fitted(channels, there)
    steps = np.abs(np.diff(shared))
    if steps.max(initial=0) > _STEEP * float(np.median(steps)):
        return data  # a jump, not a drift
    centres = block_centres(len(series), len(seen))[seen]
    level = _between(centres, shared, len(series))
    flat = data.astype(np.float32)
    for column, part in zip(columns.tolist(), parts.tolist(), strict=True):
        flat[:, column] -= np.float32(part) * level
    return flat


def _between(centres: Doubles, values: Doubles, n_samples: int) -> Floats:
    """Interpolate linearly between values, and extrapolate beyond the first and the last."""
    ends = np.array([0.0, n_samples - 1.0])
    slopes = np.diff(values)[[0, -1]] / np.diff(centres)[[0, -1]]
    first, last = values[[0, -1]] + slopes * (ends - centres[[0, -1]])
    places = np.concatenate((ends[:1], centres, ends[1:]))
    known = np.concatenate(([first], values, [last]))
    return np.interp(np.arange(n_samples), places, known).astype(np.float32)


def _fitted(channels: Doubles, there: Mask) -> tuple[Doubles, Doubles]:
    """Return the shape that most rows share, and its amplitude in each row, about the row's mean.

    :param channels: shape (n, k)
    :param there: which values are known, shape (n, k); at least one in each column
    :return: amplitudes, shape (n,), and the shape, shape (k,)
    """
    counts = np.maximum(there.sum(axis=1), 1)
    values = np.where(there, channels, 0.0)
    offsets = values.sum(axis=1) / counts
    parts = np.sqrt(np.where(there, (channels - offsets[:, np.newaxis]) ** 2, 0).sum(1) / counts)
    shared = np.zeros(channels.shape[1])
    # Means of rows over different blocks are not comparable: each is taken relative to the shape.
    for _ in range(_FITS):
        varies = parts > 0
        about = channels[varies] - offsets[varies, np.newaxis]
        relative = np.where(there[varies], about / parts[varies, np.newaxis], np.nan)
        if not len(relative):
            break
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # columns without a finite value
            shared = np.nan_to_num(np.nanmedian(relative, axis=0))
        mean = there @ shared / counts
        power = there @ shared**2 - counts * mean**2
        products = values @ shared - values.sum(axis=1) * mean
        parts = np.where(power > 0, products / np.where(power > 0, power, 1.0), 0.0)
        offsets = values.sum(axis=1) / counts - parts * mean
    return parts, shared
