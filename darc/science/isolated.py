"""Samples that stand out of their channel and are no part of a pulse.

A pulse that lifts a channel lifts those beside it, each later by its dispersion; a transmitter
lifts its own channels alone, and an impulse without dispersion lifts all of them at once. So a
sample that stands out is looked at together with the channels beside it: on the track of the DM
that is looked for, and at its own moment. It stays where a third of them are lifted on that track,
by a fifth as much; else it becomes what is usual there. However strong, narrow or uneven a pulse
is, it stays whole, if it is in a twelfth of the band; interference in less of it goes.

docs/accuracy.md compares this with other ways.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from darc.science.compiled import compiled
from darc.science.moments import Moments

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

#: Channels are compared with so many on either side, that are spread over this part of the band.
_BESIDE, _PART_OF_BAND = 8, 1 / 16
#: So many of them have to be lifted, by so much of what the sample is (parts).
_AGREEING, _LIFTED = 1 / 3, 1 / 5
#: By less, noise alone lifts too many of them (deviations).
_LEAST_LIFTED = 1.5
#: More than these, by part of all, that are lifted at the same moment say: no dispersion.
_AT_ONCE = 1 / 4
#: Noise for the comparison of channels is taken from about so many samples.
_FOR_NOISE = 1024
#: What lifts half of the band by so many deviations at the same moment is an impulse.
_IMPULSE, _PART_LIFTED = 2.0, 0.5
#: A pulse of the DM looked for never lifts more than this part of the band at once.
_PULSE_LIFTS = 0.25
#: An impulse begins and ends in less time than a pulse lights this part of the band in; there are
#: to be so many samples; beside it, no more than this part is lifted.
_EDGE_LIGHTS, _LEAST_EDGE, _BESIDE_IMPULSE = 0.2, 2, 0.25


@compiled
def neighbours(n_channels: int) -> Ints:
    """Distances to the channels that one is compared with, ascending, in channels."""
    reach = max(2, int(n_channels * _PART_OF_BAND))
    count = min(_BESIDE, reach)
    distances = np.empty(2 * count, np.int64)
    for number in range(count):
        distance = (number + 1) * reach // count
        distances[count + number] = distance
        distances[count - 1 - number] = -distance
    return distances


@compiled
def _three(values: Moments, place: int, channel: int, mean: float, scale: float) -> float:
    """The highest of a sample and those beside it, in deviations.

    :param values: shape (n_samples, n_channels); `scale` is 1 / deviation
    """
    highest = -np.inf
    for near in range(max(0, place - 1), min(values.shape[0], place + 2)):
        value = (np.float64(values[near, channel]) - mean) * scale
        highest = value if value > highest else highest  # never true of NaN
    return highest


@compiled
def agreeing_level(
    values: Moments,
    place: int,
    channel: int,
    lifted: float,
    columns: Ints,
    means: Doubles,
    scales: Doubles,
    shifts: Ints,
    distances: Ints,
) -> float:
    """What is usual beside a sample that stands out, if it does not belong there.

    :param values: shape (n_samples, n_columns)
    :param place: of the sample, and the number of its channel among `columns`
    :param lifted: what it is above its channel's mean, deviations
    :param columns: of the channels, side by side, shape (n,); likewise their means, the inverses of
        their deviations, and their shifts on the track (samples)
    :param distances: see :func:`neighbours`
    :return: deviations; NaN: the sample belongs there
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


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """Where a pulse is looked for, and the data around.

    :param data: shape (n_samples, n_columns)
    :param columns: of the channels, side by side, shape (n,)
    :param shifts: of the channels, samples, likewise
    :param n_out: samples of the track in each channel
    :param threshold: from where on a sample stands out, standard deviations
    :param n_iter: at most so many times, deviations are taken without what stood out before
    :param reach: see :func:`darc.science.moments.never_outlying`
    """

    data: Moments
    columns: Ints
    shifts: Ints
    n_out: int
    threshold: float
    n_iter: int
    reach: float
    _noise: Doubles = field(init=False, repr=False)

    def __post_init__(self) -> None:
        stride = max(1, len(self.data) // _FOR_NOISE)
        noise = channel_noise(self.data, self.columns, self.threshold, stride, self.reach)
        object.__setattr__(self, "_noise", noise)

    def impulses(self, series: Floats) -> Mask:
        """Moments in which half of the band is lifted at once; see :func:`find_impulses`."""
        return find_impulses(self.data, self.columns, self._noise, series)

    def clean(self, rows: Floats, channels: Ints) -> None:
        """Replace what stands out of some channels and is no part of a pulse, in place.

        :param rows: finite, shape (m, n_samples)
        :param channels: which of the columns they are of, shape (m,)
        """
        replace_isolated(
            rows,
            channels,
            self.data,
            self.columns,
            self._noise,
            self.shifts,
            self.n_out,
            self.threshold,
            self.n_iter,
            self.reach,
        )


@compiled
def channel_noise(
    data: Moments, columns: Ints, threshold: float, stride: int, reach: float
) -> Doubles:
    """Mean and inverse of the deviation of channels, of some of their samples, without outliers.

    :param data: shape (n_samples, n_columns)
    :param columns: shape (n,)
    :param threshold: what is further from the mean is left out, deviations
    :param stride: every so many samples one is taken
    :param reach: what is nearer to the mean never stands out
    :return: shape (2, n); 0 for what does not vary
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
    data: Moments,
    columns: Ints,
    noise: Doubles,
    shifts: Ints,
    n_out: int,
    threshold: float,
    n_iter: int,
    reach: float,
) -> None:
    """Replace what stands out of a channel and is no part of a pulse, in place.

    Off the track, all that stands out is replaced by the channel's mean.

    :param rows: finite, some of the channels, shape (m, n_samples)
    :param channels: which of `columns` they are, shape (m,)
    :param data: what they are of, shape (n_samples, n_columns)
    :param columns: of all channels, shape (n,); likewise `noise`, :func:`channel_noise`
    :param shifts: of the track, samples, likewise
    :param n_out: the track has so many samples in each channel
    :param threshold: standard deviations
    :param n_iter: mean and deviation are taken at most this many times, without what stood out
    :param reach: what is nearer to the mean never stands out
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
                # Far below, nothing was recorded: there is noise of ours in the row.
                level = min(level, threshold) if level > -threshold else 0.0
                row[place] = np.float32(mean + level * sigma)


@compiled
def clipped_mean(row: Floats, threshold: float, n_iter: int, reach: float) -> tuple[float, float]:
    """Mean and deviation without what stands out.

    :param row: NaN: none, shape (m,)
    :param threshold: standard deviations
    :param n_iter: they are taken again at most this many times
    :param reach: what is nearer to the mean never stands out
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
    """Whether a pulse lights so little of the band at once that it is not taken for an impulse.

    :param delays: of the channels at the pulse's DM, s, ascending or descending, shape (n,)
    :param length: of the pulse, s
    """
    ordered = np.sort(delays)
    at_once = np.searchsorted(ordered, ordered + length, side="right") - np.arange(len(ordered))
    return bool(at_once.max(initial=0) <= _PULSE_LIFTS * len(ordered))


@compiled
def find_impulses(data: Moments, columns: Ints, noise: Doubles, series: Floats) -> Mask:
    """Moments in which half of the band is lifted at once.

    :param data: shape (n_samples, n_columns)
    :param columns: of the channels, shape (n,); likewise `noise`, :func:`channel_noise`
    :param series: the band's mean, of which only what is high is looked at, shape (n_samples,)
    """
    found = np.zeros(data.shape[0], np.bool_)
    level = np.nanmedian(series)
    limits, least, n_alive = np.empty(columns.size), 0.0, 0
    for number in range(columns.size):
        alive = noise[1, number] > 0
        n_alive += alive
        limits[number] = noise[0, number] + _IMPULSE / noise[1, number] if alive else np.inf
        # If half of the band is lifted so much, its mean is lifted by at least half of that.
        least += (_IMPULSE / 2 / noise[1, number] if alive else 0.0) / columns.size
    for sample in range(data.shape[0]):
        if not series[sample] > level + _PART_LIFTED * least:
            continue
        count = 0
        for number in range(columns.size):
            count += data[sample, columns[number]] > limits[number]
        found[sample] = count >= _PART_LIFTED * n_alive > 0
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Outliers:
    """Samples of normalised channels that stand out above.

    :param channels: shape (n,); likewise places, samples
    """

    channels: Ints
    places: Ints


def find_outliers(rows: Floats, threshold: float) -> Outliers:
    """Samples that stand out above; those that stand out below become 0, in place.

    :param rows: mean 0 and variance 1, shape (n, m)
    :param threshold: standard deviations
    """
    channels, places = [], []
    for number, row in enumerate(rows):
        row[row < -threshold] = 0
        above = np.flatnonzero(row > threshold)
        channels.append(np.full(len(above), number))
        places.append(above)
    return Outliers(np.concatenate(channels), np.concatenate(places))


@compiled
def take_isolated(
    rows: Floats,
    channels: Ints,
    places: Ints,
    shifts: Ints,
    threshold: float,
    sums: Floats,
    group: Ints,
    inner: Ints,
) -> None:
    """Take what stands out and is no part of a pulse off sums of channels, in place.

    :param rows: mean 0 and variance 1, shape (n, m)
    :param channels: see :class:`Outliers`; likewise places
    :param shifts: of the channels on the track, samples, shape (n,)
    :param threshold: nothing above becomes usual
    :param sums: of groups of channels, shape (n_groups, k)
    :param group: of each channel, shape (n,); likewise inner, its shift within the group
    """
    n = rows.shape[0]
    distances, numbers = neighbours(n), np.arange(n)
    means, scales = np.zeros(n), np.ones(n)
    for which in range(channels.size):
        channel, place = channels[which], places[which]
        moved = place - inner[channel]
        if moved < 0 or moved >= sums.shape[1]:
            continue
        x = np.float64(rows[channel, place])
        level = agreeing_level(rows.T, place, channel, x, numbers, means, scales, shifts, distances)
        if np.isfinite(level):
            sums[group[channel], moved] -= np.float32(x - min(level, threshold))


def sharp_edge(late: Doubles) -> int:
    """In so many samples, a pulse never lights a fifth of the band.

    :param late: delays of the channels, samples, in the order of frequency, shape (n,)
    """
    ordered = np.sort(late)
    apart = max(1, round(_EDGE_LIGHTS * len(ordered)))
    if apart >= len(ordered):
        return 0
    return int(np.min(ordered[apart:] - ordered[:-apart]))


def forget_impulses(rows: Floats, edge: int) -> None:
    """Put NaN where half of the band is lifted at once, and was not just before, in place.

    :param rows: mean 0 and variance 1, NaN where there is nothing, shape (n, m)
    :param edge: see :func:`sharp_edge`; where it is less than 2 there is no telling
    """
    if edge < _LEAST_EDGE:
        return
    lifted = _part_lifted(rows)
    high = np.concatenate(([False], lifted >= _PART_LIFTED, [False]))
    begins, ends = np.flatnonzero(np.diff(high.astype(np.int8))).reshape(-1, 2).T
    for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
        before, after = lifted[max(0, begin - edge)], lifted[min(len(lifted), end + edge) - 1]
        if max(before, after) <= _BESIDE_IMPULSE:
            rows[:, max(0, begin - 1) : end + 1] = np.nan


@compiled
def _part_lifted(rows: Floats) -> Doubles:
    counts = np.zeros(rows.shape[1])
    for number in range(rows.shape[0]):
        row = rows[number]
        for place in range(row.size):
            counts[place] += row[place] > np.float32(_IMPULSE)
    counts /= max(1, rows.shape[0])
    return counts
