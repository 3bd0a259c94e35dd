"""Downsampling of arrays in time and frequency, by means."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from darc.science.compiled import compiled

Floats = npt.NDArray[np.float32]


def downsample_time(rows: Floats, factor: int) -> Floats:
    """Average neighbouring samples.

    :param rows: shape (n, m)
    :param factor: samples that become one; those beyond the last whole one are left out
    :return: shape (n, m // factor); the rows themselves where the factor is 1
    :raises ValueError: the factor is not at least 1
    """
    if factor < 1:
        raise ValueError(f"downsampling by {factor}")
    return rows if factor == 1 else _downsample(rows, factor)


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


def channel_groups(n_channels: int, n_groups: int) -> npt.NDArray[np.int64]:
    """First channel of each of some nearly equal groups, and the end of the last.

    Where there are fewer channels than groups, some groups have the same channel: see
    `group_means`.

    :return: shape (n_groups + 1,)
    """
    return np.arange(n_groups + 1) * n_channels // n_groups


def group_means(
    sums: npt.NDArray[np.float64], counts: npt.NDArray[np.int64], n_groups: int
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Average channels to fewer, or repeat them to more.

    :param sums: of what is to be averaged, by channel, shape (n_channels, m)
    :param counts: how many values are in each sum, likewise
    :param n_groups: number of channels wanted
    :return: the means, and where there is one (elsewhere they are 0), shape (n_groups, m) each
    """
    edges = channel_groups(len(sums), n_groups)
    starts = np.minimum(edges[:-1], len(sums) - 1)
    # Between equal edges, reduceat takes the one channel that is there: it is repeated.
    total, number = np.add.reduceat(sums, starts), np.add.reduceat(counts, starts)
    valid = number > 0
    return (total / np.maximum(number, 1)).astype(np.float32), valid
