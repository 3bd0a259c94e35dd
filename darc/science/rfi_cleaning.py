"""Cleaning of radio-frequency interference, at full resolution, before dedispersion.

Source: the project's specification, processing.md (worker, step 2). What it leaves open was chosen
so: deviations are taken from the mean, with what was replaced counted as the mean it became;
what is found in time is replaced by each channel's mean over the other samples; a channel that is
found in frequency is left out.

Rows are channels, each with its samples in time.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from darc.science.compiled import compiled

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


@compiled
def replace_outliers(rows: Floats, threshold: float, n_iter: int) -> None:
    """Replace what is too far from its row's mean by that mean, in place; repeat it.

    :param rows: finite, shape (n, m)
    :param threshold: standard deviations
    :param n_iter: at most this many times
    """
    for number in range(rows.shape[0]):
        row = rows[number]
        for _ in range(n_iter):
            total, squares = 0.0, 0.0
            for place in range(row.size):
                total += row[place]
            mean = total / row.size
            for place in range(row.size):
                squares += (row[place] - mean) * (row[place] - mean)
            reach = threshold * np.sqrt(squares / row.size)
            low, high = np.float32(mean - reach), np.float32(mean + reach)
            new = np.float32(mean)
            count = 0
            for place in range(row.size):
                x = row[place]
                outside = (x < low) | (x > high)
                row[place] = new if outside else x
                count += outside
            if count == 0:
                break


@compiled
def replace_missing(rows: Floats) -> Mask:
    """Replace what is no finite number by the mean of its row's others, in place.

    :param rows: shape (n, m)
    :return: whether a row had any finite number, shape (n,); if not, it is 0 now
    """
    usable = np.empty(rows.shape[0], np.bool_)
    for number in range(rows.shape[0]):
        row = rows[number]
        total, count = 0.0, 0
        for place in range(row.size):
            finite = np.isfinite(row[place])
            total += row[place] if finite else 0.0
            count += finite
        usable[number] = count > 0
        if count < row.size:
            mean = np.float32(total / max(count, 1))
            for place in range(row.size):
                if not np.isfinite(row[place]):
                    row[place] = mean
    return usable


def interference_in_time(series: npt.NDArray[np.float64], threshold: float, n_iter: int) -> Mask:
    """Samples of a band's mean (DM 0) that are too far from their mean.

    :param series: mean over the channels, shape (n_samples,); NaN where there is none
    :param threshold: standard deviations
    :param n_iter: at most this many times, what was found counted as the mean
    :return: shape (n_samples,)
    """
    found = ~np.isfinite(series)
    if found.all():
        return found
    values = np.where(found, series[~found].mean(), series)
    for _ in range(n_iter):
        mean = values.mean()
        new = np.abs(values - mean) > threshold * values.std()
        if not new.any():
            break
        values[new] = mean
        found |= new
    return found


def interference_in_frequency(
    bandpass: npt.NDArray[np.float64], threshold: float, n_iter: int, bin_size: int
) -> Mask:
    """Channels that are too far from the bandpass around them.

    :param bandpass: mean over time, shape (n_channels,); NaN where a channel is left out
    :param threshold: standard deviations
    :param n_iter: at most this many times, without what was found
    :param bin_size: the bandpass is averaged over so many channels; the last ones may be fewer
    :return: shape (n_channels,); those without a number are in it
    """
    found = ~np.isfinite(bandpass)
    bins = np.arange(len(bandpass)) // bin_size
    for _ in range(n_iter):
        used = ~found
        if not used.any():
            break
        counts = np.bincount(bins[used], minlength=bins[-1] + 1)
        sums = np.bincount(bins[used], bandpass[used], minlength=bins[-1] + 1)
        smooth = (sums / np.maximum(counts, 1))[bins]
        residual = np.where(used, bandpass - smooth, 0.0)
        new = used & (np.abs(residual) > threshold * residual[used].std())
        if not new.any():
            break
        found |= new
    return found


@compiled
def replace_times(rows: Floats, times: Mask) -> None:
    """Replace some samples by their row's mean over the others, in place.

    :param rows: finite, shape (n, m)
    :param times: the samples, shape (m,); if it is all of them, the rows become 0
    """
    for number in range(rows.shape[0]):
        row = rows[number]
        total, count = 0.0, 0
        for place in range(row.size):
            total += 0.0 if times[place] else row[place]
            count += not times[place]
        mean = np.float32(total / max(count, 1))
        for place in range(row.size):
            if times[place]:
                row[place] = mean
