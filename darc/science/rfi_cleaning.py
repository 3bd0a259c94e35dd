"""Mitigation of radio-frequency interference (RFI), at full resolution, before dedispersion.

Source: the project's specification, processing.md (worker, step 2). Choices that it leaves open:
deviations are relative to the mean, and a replaced sample counts as the mean it was replaced by;
samples flagged in time are replaced by each channel's mean over the other samples; channels flagged
in frequency are excluded.

Rows are channels, each with its samples in time.
"""

from __future__ import annotations

import numpy as np

from darc.science.arrays import Doubles, Floats, Mask
from darc.science.compiled import compiled


@compiled
def replace_outliers(rows: Floats, threshold: float, n_iter: int) -> None:
    """Replace samples that deviate too much from their row's mean by the mean, in place; iterate.

    :param rows: finite, shape (n, m)
    :param threshold: standard deviations
    :param n_iter: maximum number of iterations
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
    """Replace values that are not finite by the mean of the row's others, in place.

    :param rows: shape (n, m)
    :return: whether a row has any finite value, shape (n,); a row without one is set to 0
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


def interference_in_time(series: Doubles, threshold: float, n_iter: int) -> Mask:
    """Flag samples of the band's mean (DM 0) that deviate too much from its mean over time.

    :param series: mean over the channels, shape (n_samples,); NaN where there are no data
    :param threshold: standard deviations
    :param n_iter: maximum number of iterations; flagged samples are replaced by the mean
    :return: shape (n_samples,); samples that are not finite are flagged, too
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
    bandpass: Doubles, threshold: float, n_iter: int, bin_size: int
) -> Mask:
    """Flag channels that deviate too much from the smoothed bandpass.

    :param bandpass: mean over time, shape (n_channels,); NaN for excluded channels
    :param threshold: standard deviations
    :param n_iter: maximum number of iterations, without flagged channels
    :param bin_size: number of channels over which the bandpass is averaged; the last bin may have
        fewer
    :return: shape (n_channels,); channels that are not finite are flagged, too
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
    """Replace flagged samples by their row's mean over the others, in place.

    :param rows: finite, shape (n, m)
    :param times: flagged samples, shape (m,); if all are flagged, the rows are set to 0
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
