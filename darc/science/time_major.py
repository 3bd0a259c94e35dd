"""Time-major data, as in files: samples in time one after another, each with all channels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from darc.science.arrays import Doubles, Floats, Ints, Mask, TimeMajor
from darc.science.compiled import compiled

#: Noise of few bits deviates by up to this many levels from its mean, if the baseline is near the
#: end of the range of values.
_LEVELS = 2.0

#: Samples and channels of a tile that is transposed at once: a line of the cache of each.
_TILE = 64


def never_outlying(data: TimeMajor) -> float:
    """Return the deviation from a channel's mean below which a value is never an outlier.

    :return: 0 for floats, 2 levels for integers, in the data's units
    """
    return 0.0 if data.dtype.kind == "f" else _LEVELS


@compiled
def put_rows(data: TimeMajor, columns: Ints, rows: npt.NDArray[Any]) -> None:
    """Write selected channels, each to a row of its samples in time.

    :param data: shape (n_samples, n_channels)
    :param columns: indices of the channels, in the order wanted, shape (n,)
    :param rows: overwritten, shape (n, n_samples)
    """
    for begin in range(0, data.shape[0], _TILE):
        end = min(begin + _TILE, data.shape[0])
        for first in range(0, columns.size, _TILE):
            for number in range(first, min(first + _TILE, columns.size)):
                column = columns[number]
                for sample in range(begin, end):
                    rows[number, sample] = data[sample, column]


@compiled
def channel_rows(data: TimeMajor, columns: Ints) -> Floats:
    """Return selected channels, each as a row of its samples in time.

    :param data: shape (n_samples, n_channels)
    :param columns: indices of the channels, in the order wanted, shape (n,)
    :return: shape (n, n_samples)
    """
    rows = np.empty((columns.size, data.shape[0]), np.float32)
    put_rows(data, columns, rows)
    return rows


@compiled
def mean_series(data: TimeMajor, columns: Ints) -> Doubles:
    """Return the mean over selected channels for each sample (dedispersed at DM 0).

    :param data: shape (n_samples, n_channels); values that are not finite are ignored
    :param columns: indices of the channels, shape (n,)
    :return: shape (n_samples,); NaN where no value is finite
    """
    means = np.empty(data.shape[0])
    for sample in range(data.shape[0]):
        total, count = 0.0, 0
        for column in columns:
            value = np.float64(data[sample, column])
            if np.isfinite(value):
                total += value
                count += 1
        means[sample] = total / count if count else np.nan
    return means


@compiled
def mean_spectrum(data: TimeMajor, columns: Ints, leave_out: Mask) -> Doubles:
    """Return the mean over time of selected channels (the bandpass).

    :param data: shape (n_samples, n_channels); values that are not finite are ignored
    :param columns: indices of the channels, in the order wanted, shape (n,)
    :param leave_out: samples to exclude, shape (n_samples,)
    :return: shape (n,); NaN where no value is finite
    """
    totals, counts = np.zeros(columns.size), np.zeros(columns.size, np.int64)
    for sample in range(data.shape[0]):
        if leave_out[sample]:
            continue
        for number in range(columns.size):
            value = np.float64(data[sample, columns[number]])
            finite = np.isfinite(value)
            totals[number] += value if finite else 0.0
            counts[number] += finite
    # 0 / 0 gives NaN.
    return totals / counts
