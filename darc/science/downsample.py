"""Downsampling of arrays in time and frequency, by averaging."""

from __future__ import annotations

import numpy as np

from darc.science.arrays import Doubles, Floats, Ints, Mask
from darc.science.compiled import compiled

#: Least number of steps in a bin.
_STEPS_PER_BIN = 16


def downsample_time(rows: Floats, factor: int) -> Floats:
    """Average neighbouring samples.

    :param rows: shape (n, m)
    :param factor: number of samples to average; an incomplete last group is dropped
    :return: shape (n, m // factor); `rows` itself if the factor is 1
    :raises ValueError: the factor is less than 1
    """
    if factor < 1:
        raise ValueError(f"downsampling by {factor}")
    return rows if factor == 1 else _downsample(rows, factor)


def samples_in_step(bin_samples: int) -> int:
    """Return the samples that are averaged before trial DMs are summed: a divisor of a bin's.

    A bin has 16 steps or more, if it has as many samples: shifts are rounded to steps.
    """
    fitting = range(bin_samples // _STEPS_PER_BIN, 1, -1)
    return next((step for step in fitting if bin_samples % step == 0), 1)


@compiled
def _downsample(rows: Floats, factor: int) -> Floats:
    n, length = rows.shape[0], rows.shape[1] // factor
    means = np.empty((n, length), np.float32)
    for number in range(n):
        row, out = rows[number], means[number]
        for place in range(length):
            total = np.float32(0)
            for part in range(place * factor, (place + 1) * factor):
                total += row[part]
            out[place] = total / np.float32(factor)
    return means


def channel_groups(n_channels: int, n_groups: int) -> Ints:
    """Return the first channel of each of `n_groups` nearly equal groups, and the end of the last.

    If there are fewer channels than groups, some groups share a channel: see `group_means`.

    :return: shape (n_groups + 1,)
    """
    return np.arange(n_groups + 1) * n_channels // n_groups


def group_means(sums: Doubles, counts: Ints, n_groups: int) -> tuple[Floats, Mask]:
    """Average channels in groups, or repeat them if there are fewer channels than groups.

    :param sums: sums of the values to average, by channel, shape (n_channels, m)
    :param counts: number of values in each sum, shape (n_channels, m)
    :return: the means (0 where invalid) and their validity, shape (n_groups, m) each
    """
    edges = channel_groups(len(sums), n_groups)
    starts = np.minimum(edges[:-1], len(sums) - 1)
    # For equal edges, reduceat returns the element at the edge: the channel is repeated.
    total, number = np.add.reduceat(sums, starts), np.add.reduceat(counts, starts)
    valid = number > 0
    return (total / np.maximum(number, 1)).astype(np.float32), valid
