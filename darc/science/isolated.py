"""Clipping of outliers that are not part of a pulse.

A pulse raises neighbouring channels, each later by its dispersion delay; a transmitter raises only
its own channels, and an impulse without dispersion raises all of them at once. An outlier is
therefore compared with neighbouring channels, both on the track of the DM searched for and at the
same time. It is kept if a third of them are raised on the track, by a fifth as much; otherwise it
is replaced by the typical value there. A pulse is preserved however strong, narrow or uneven it is,
if it covers a twelfth of the band; interference in a smaller part is removed.

docs/accuracy.md compares this with other methods.
"""

from __future__ import annotations

import math

import numpy as np

from darc.config.records import Struct
from darc.science.arrays import Doubles, Floats, Ints, Mask, Shorts, TimeMajor
from darc.science.compiled import compiled
from darc.science.search_levels import HIGHEST, LEVELS, put_noise

#: Number of channels on either side that a channel is compared with, and the part of the band over
#: which they are spread.
_BESIDE, _PART_OF_BAND = 8, 1 / 16
#: Minimum fraction of these that are raised, and by which fraction of the outlier.
_AGREEING, _LIFTED = 1 / 3, 1 / 5
#: Minimum rise: below it, noise alone raises too many channels (standard deviations).
_LEAST_LIFTED = 1.5
#: Fraction of channels by which those raised at the same time may exceed those on the track: more
#: indicates no dispersion.
_AT_ONCE = 1 / 4
#: An impulse raises this fraction of the band by this many standard deviations at once.
_IMPULSE, _PART_LIFTED = 2.0, 0.5
#: Maximum fraction of the band that a pulse covers at once, for impulses to be distinguished.
_PULSE_LIFTS = 0.25
#: An impulse starts and ends faster than a pulse crosses this fraction of the band; minimum number
#: of samples for that; maximum fraction of channels raised beside an impulse.
_EDGE_LIGHTS, _LEAST_EDGE, _BESIDE_IMPULSE = 0.2, 2, 0.25
#: Minimum number of channels for impulses to be distinguished: in fewer, noise alone raises half of
#: them in a sample of 10 000 or more, and of two a pulse in one of them is half of the band.
_LEAST_CHANNELS = 7
#: Samples in which outliers are counted at a time.
_STRETCH = 256
#: Samples of which the raised channels are counted at a time.
_COUNTED = 8192
#: Lowest level of sums.
_LOWEST = -32767


@compiled
def neighbours(n_channels: int) -> Ints:
    """Return the distances to the channels that one is compared with, ascending, in channels."""
    reach = max(2, int(n_channels * _PART_OF_BAND))
    count = min(_BESIDE, reach)
    distances = np.empty(2 * count, np.int64)
    for number in range(count):
        distance = (number + 1) * reach // count
        distances[count + number] = distance
        distances[count - 1 - number] = -distance
    return distances


@compiled
def _three(values: TimeMajor, place: int, channel: int, mean: float, scale: float) -> float:
    """Return the highest of a sample and its two neighbours in time, in standard deviations.

    :param values: shape (n_samples, n_channels)
    :param scale: 1 / standard deviation
    """
    highest = -np.inf
    for near in range(max(0, place - 1), min(values.shape[0], place + 2)):
        value = (np.float64(values[near, channel]) - mean) * scale
        highest = value if value > highest else highest  # false for NaN
    return highest


@compiled
def agreeing_level(
    values: TimeMajor,
    place: int,
    channel: int,
    lifted: float,
    columns: Ints,
    means: Doubles,
    scales: Doubles,
    shifts: Ints,
    distances: Ints,
) -> float:
    """Return the typical value in neighbouring channels if an outlier is not part of a pulse.

    :param values: shape (n_samples, n_columns)
    :param place: sample of the outlier
    :param channel: index of its channel in `columns`
    :param lifted: outlier minus its channel's mean, standard deviations
    :param columns: columns of the channels, in order of frequency, shape (n,)
    :param means: means of the channels, shape (n,)
    :param scales: inverse standard deviations of the channels, shape (n,); 0: not usable
    :param shifts: shifts of the channels along the track, samples, shape (n,)
    :param distances: see :func:`neighbours`
    :return: standard deviations; NaN: the outlier is part of a pulse
    """
    least = max(_LIFTED * lifted, _LEAST_LIFTED)
    count, on_track, at_once = 0, 0, 0
    found = np.empty(distances.size)
    for distance in distances:
        other = channel + distance
        if other < 0 or other >= columns.size or not scales[other] > 0:
            continue
        late = shifts[other] - shifts[channel]
        if place + late < 0 or place + late >= values.shape[0]:
            continue
        column, mean, scale = columns[other], means[other], scales[other]
        there = _three(values, place + late, column, mean, scale)
        now = there if abs(late) <= 2 else _three(values, place, column, mean, scale)
        found[count] = (np.float64(values[place + late, column]) - mean) * scale
        count += 1
        on_track += there >= least
        at_once += now >= least
    if on_track >= _AGREEING * count and at_once <= on_track + _AT_ONCE * count:
        return np.nan
    level = np.median(found[:count])
    return level if np.isfinite(level) else 0.0


@compiled
def channel_noise(
    data: TimeMajor, columns: Ints, threshold: float, stride: int, reach: float
) -> Doubles:
    """Return the clipped mean and inverse standard deviation of channels, from some of the samples.

    :param data: shape (n_samples, n_columns)
    :param columns: columns of the channels, shape (n,)
    :param threshold: clipping threshold, standard deviations
    :param stride: one of this many samples is used
    :param reach: smaller deviations from the mean are never clipped
    :return: shape (2, n); the inverse is 0 for constant channels
    """
    n = columns.size
    found = np.zeros((2, n))
    low, high = np.full(n, -np.inf), np.full(n, np.inf)
    for _ in range(3):
        totals, squares, counts = np.zeros(n), np.zeros(n), np.zeros(n)
        for sample in range(0, data.shape[0], stride):
            for number in range(n):
                value = np.float64(data[sample, columns[number]])
                if low[number] <= value <= high[number] and np.isfinite(value):
                    value -= found[0, number]
                    totals[number] += value
                    squares[number] += value * value
                    counts[number] += 1
        for number in range(n):
            count = max(counts[number], 1.0)
            mean = totals[number] / count
            sigma = np.sqrt(max(squares[number] / count - mean * mean, 0.0))
            found[0, number] += mean
            found[1, number] = 1 / sigma if sigma > 0 else 0.0
            low[number] = found[0, number] - max(threshold * sigma, reach)
            high[number] = found[0, number] + max(threshold * sigma, reach)
    return found


@compiled
def replace_isolated(
    rows: Floats,
    channels: Ints,
    data: TimeMajor,
    columns: Ints,
    noise: Doubles,
    shifts: Ints,
    n_out: int,
    threshold: float,
    n_iter: int,
    reach: float,
) -> None:
    """Replace outliers that are not part of a pulse, in place.

    Outliers off the track, and those below the mean, are replaced by the channel's mean.

    :param rows: finite, some of the channels, shape (m, n_samples)
    :param channels: indices of these channels in `columns`, shape (m,)
    :param data: shape (n_samples, n_columns)
    :param columns: columns of all channels, shape (n,)
    :param noise: noise of all channels, shape (2, n), see :func:`channel_noise`
    :param shifts: shifts of all channels along the track, samples, shape (n,)
    :param n_out: length of the track in each channel, samples
    :param threshold: standard deviations
    :param n_iter: maximum number of iterations of mean and deviation, without earlier outliers
    :param reach: smaller deviations from the mean are never outliers
    """
    distances = neighbours(columns.size)
    for number in range(rows.shape[0]):
        row = rows[number]
        channel = channels[number]
        mean, sigma = clipped_mean(row, threshold, n_iter, reach)
        far = max(threshold * sigma, reach)
        low, high = np.float32(mean - far), np.float32(mean + far)
        middle = np.float32(mean)
        for place in range(row.size):
            x = row[place]
            if (x >= low) & (x <= high):
                continue
            moved = place - shifts[channel]
            if x < low or moved < 0 or moved >= n_out:
                row[place] = middle
                continue
            level = agreeing_level(
                data,
                place,
                channel,
                (x - mean) / sigma,
                columns,
                noise[0],
                noise[1],
                shifts,
                distances,
            )
            if np.isfinite(level):
                # A very low level means missing data, which the row has replaced by noise.
                level = min(level, threshold) if level > -threshold else 0.0
                row[place] = np.float32(mean + level * sigma)


@compiled
def clipped_mean(row: Floats, threshold: float, n_iter: int, reach: float) -> tuple[float, float]:
    """Return mean and standard deviation without outliers.

    :param row: shape (m,); NaN is ignored
    :param threshold: standard deviations
    :param n_iter: maximum number of iterations
    :param reach: smaller deviations from the mean are never outliers
    """
    mean, low, high, sigma = 0.0, -np.inf, np.inf, 0.0
    before = np.int64(-1)
    for _ in range(max(n_iter, 1) + 1):
        total, squares, count = np.float64(0), np.float64(0), np.int64(0)
        for place in range(row.size):
            value = float(row[place])
            inside = (value >= low) & (value <= high)
            value = value - mean if inside else 0.0
            total += value
            squares += value * value
            count += inside
        if count in (before, 0):
            break
        before = count
        sigma = float(np.sqrt(max(squares / count - (total / count) ** 2, 0.0)))
        mean += float(total / count)
        far = max(threshold * sigma, reach)
        low, high = mean - far, mean + far
    return mean, sigma


def can_tell_impulses(delays: Doubles, length: float) -> bool:
    """Whether a pulse covers so little of the band at once that it cannot be taken for an impulse.

    :param delays: delays of the channels at the pulse's DM, s, ascending or descending, shape (n,)
    :param length: length of the pulse, s
    """
    ordered = np.sort(delays)
    at_once = np.searchsorted(ordered, ordered + length, side="right") - np.arange(len(ordered))
    return bool(at_once.max(initial=0) <= _PULSE_LIFTS * len(ordered))


@compiled
def find_impulses(data: TimeMajor, columns: Ints, noise: Doubles, series: Floats) -> Mask:
    """Flag samples in which half of the band is raised at once.

    :param data: shape (n_samples, n_columns)
    :param columns: columns of the channels, shape (n,)
    :param noise: noise of the channels, shape (2, n), see :func:`channel_noise`
    :param series: mean of the band, of which only high samples are examined, shape (n_samples,)
    :return: shape (n_samples,)
    """
    found = np.zeros(data.shape[0], np.bool_)
    level = np.nanmedian(series)
    limits, least, n_alive = np.empty(columns.size), 0.0, 0
    for number in range(columns.size):
        alive = noise[1, number] > 0
        n_alive += alive
        limits[number] = noise[0, number] + _IMPULSE / noise[1, number] if alive else np.inf
        # If half of the band is raised by this, its mean is raised by at least half of it.
        least += (_IMPULSE / 2 / noise[1, number] if alive else 0.0) / columns.size
    for sample in range(data.shape[0]):
        if not series[sample] > level + _PART_LIFTED * least:
            continue
        count = 0
        for number in range(columns.size):
            count += data[sample, columns[number]] > limits[number]
        found[sample] = count >= _PART_LIFTED * n_alive > 0
    return found


class Outliers(Struct, frozen=True, eq=False):
    """High outliers of normalised channels.

    :param channels: indices of the channels, shape (n,)
    :param places: samples, shape (n,)
    """

    channels: Ints
    places: Ints


def outlier_thresholds(noise: Doubles, factor: int, threshold: float) -> Doubles:
    """Return the thresholds of outliers of channels, for data of few bits.

    Noise below half a level has two values, 0 and 1 times a level: of deviation s (levels), it has
    a skewness of sqrt(1 - 4 s^2) / s, and the mean of k samples one of 1 / sqrt(k) of that. The
    threshold is at the quantile of Gaussian noise, to first order in the skewness (Cornish and
    Fisher 1938): t + (t^2 - 1) / 6 * skewness.

    :param noise: deviation of the channels before normalisation, levels, shape (n,); infinite for
        floats
    :param factor: number of samples in a mean
    :param threshold: of Gaussian noise, standard deviations
    :return: standard deviations, shape (n,)
    """
    s = np.clip(noise, 1e-3, 0.5)
    skewness = np.sqrt(1 - 4 * s * s) / s / math.sqrt(factor)
    return np.asarray(threshold + (threshold * threshold - 1) / 6 * skewness)


def find_outliers(rows: Shorts, thresholds: Doubles, highest: int = HIGHEST) -> Outliers:
    """Find high outliers; low ones are set to 0, and very high ones to the highest, in place.

    :param rows: levels of mean 0 (:mod:`darc.science.search_levels`), shape (n, m)
    :param thresholds: of the channels, standard deviations, shape (n,)
    :param highest: level
    """
    limits = np.minimum(np.ceil(LEVELS * thresholds), HIGHEST).astype(np.int16)
    return Outliers(*_take_low(rows, limits, np.int16(highest)))


@compiled
def _take_low(rows: Shorts, limits: Shorts, highest: np.int16) -> tuple[Ints, Ints]:
    """Set low outliers to 0, in place; return channels and places of high ones."""
    counts = np.zeros((rows.shape[0], (rows.shape[1] + _STRETCH - 1) // _STRETCH), np.int64)
    for number in range(rows.shape[0]):
        high = limits[number]
        low = np.int16(-high)
        for stretch in range(counts.shape[1]):
            some = rows[number, stretch * _STRETCH : (stretch + 1) * _STRETCH]
            least, most = np.int16(0), np.int16(0)
            for place in range(some.size):
                least, most = min(least, some[place]), max(most, some[place])
            if least > low and most < high:
                continue
            for place in range(some.size):
                counts[number, stretch] += some[place] >= high
                value = min(some[place], highest)
                some[place] = value if value > low else np.int16(0)
    channels, places = np.empty(counts.sum(), np.int64), np.empty(counts.sum(), np.int64)
    which = 0
    for number in range(rows.shape[0]):
        for stretch in range(counts.shape[1]):
            begin = stretch * _STRETCH
            end = min(begin + _STRETCH, rows.shape[1]) if counts[number, stretch] else begin
            for place in range(begin, end):
                if rows[number, place] >= limits[number]:
                    channels[which], places[which] = number, place
                    which += 1
    return channels, places


@compiled
def take_isolated(
    rows: Shorts,
    channels: Ints,
    places: Ints,
    tracks: Ints,
    thresholds: Doubles,
    sums: Shorts,
    subbands: Ints,
    inner: Ints,
    levels: float,
    scale: float,
) -> None:
    """Subtract outliers that are not part of a pulse from sums of channels, in place.

    :param rows: levels of mean 0, shape (n, m)
    :param channels: see :class:`Outliers`
    :param places: see :class:`Outliers`
    :param tracks: shifts of the channels along several tracks, samples, shape (n_tracks, n)
    :param thresholds: maximum of the value that replaces an outlier of a channel, standard
        deviations, shape (n,)
    :param sums: sums of subbands for each track, shape (n_tracks, n_subbands, k)
    :param subbands: subband of each channel, shape (n,)
    :param inner: shift of each channel within its subband, samples, shape (n_tracks, n)
    :param levels: of a standard deviation in the rows
    :param scale: likewise in the sums
    """
    n = rows.shape[0]
    distances, numbers = neighbours(n), np.arange(n)
    means, scales = np.zeros(n), np.full(n, 1 / levels)
    for which in range(channels.size):
        channel, place = channels[which], places[which]
        x = np.float64(rows[channel, place]) / levels
        # One track after the other, as the samples beside are in the processor's cache then.
        for track in range(tracks.shape[0]):
            moved = place - inner[track, channel]
            if moved < 0 or moved >= sums.shape[2]:
                continue
            level = agreeing_level(
                rows.T, place, channel, x, numbers, means, scales, tracks[track], distances
            )
            if np.isfinite(level):
                off = int(np.rint(scale * (x - min(level, thresholds[channel]))))
                left = int(sums[track, subbands[channel], moved]) - off
                sums[track, subbands[channel], moved] = max(left, _LOWEST)


def sharp_edge(late: Doubles) -> int:
    """Return the number of samples within which a pulse never covers a fifth of the band.

    :param late: delays of the channels, samples, in order of frequency, shape (n,)
    :return: 0 where that is not known: there are too few channels
    """
    if len(late) < _LEAST_CHANNELS:
        return 0
    ordered = np.sort(late)
    apart = max(1, round(_EDGE_LIGHTS * len(ordered)))
    if apart >= len(ordered):
        return 0
    return int(np.min(ordered[apart:] - ordered[:-apart]))


def forget_impulses(rows: Shorts, edge: int) -> bool:
    """Replace impulses by noise, in place; return whether there were any.

    An impulse raises half of the band, which was not raised just before or after.

    :param rows: levels of mean 0 (:mod:`darc.science.search_levels`), shape (n, m)
    :param edge: see :func:`sharp_edge`; if less than 2, nothing is replaced
    """
    if edge < _LEAST_EDGE:
        return False
    limit = np.int16(_IMPULSE * LEVELS)
    lifted, missing = _part_lifted(rows, limit), np.zeros(rows.shape[1], np.bool_)
    high = np.concatenate(([False], lifted >= _PART_LIFTED, [False]))
    begins, ends = np.flatnonzero(np.diff(high.astype(np.int8))).reshape(-1, 2).T
    for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
        before, after = lifted[max(0, begin - edge)], lifted[min(len(lifted), end + edge) - 1]
        if max(before, after) <= _BESIDE_IMPULSE:
            missing[max(0, begin - 1) : end + 1] = True
    if not missing.any():
        return False
    random = np.random.default_rng(rows.shape[1])  # reproducible
    for row in rows:
        put_noise(row, missing, random)
    return True


@compiled
def _part_lifted(rows: Shorts, limit: np.int16) -> Doubles:
    counts = np.zeros(rows.shape[1], np.uint16)
    for begin in range(0, rows.shape[1], _COUNTED):
        some = counts[begin : begin + _COUNTED]
        for number in range(rows.shape[0]):
            row = rows[number, begin : begin + some.size]
            for place in range(row.size):
                some[place] += np.uint16(row[place] > limit)
    parts: Doubles = counts / max(1, rows.shape[0])
    return parts
