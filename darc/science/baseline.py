"""Moving baseline of channels.

A receiver's gain drifts, and baselines jump. Statistics over the whole data window ignore that,
and then a strong pulse is not significant. Baselines are therefore local in time: a running median
of block means, insensitive to a pulse that is short relative to the window. Jumps are found in the
mean of the band, where they are significant even if lost in the noise of each channel, and no
window extends across one.

Missing data are NaN.
"""

from __future__ import annotations

import numpy as np

from darc.config.records import Struct
from darc.science.arrays import Doubles, Floats, Ints, Mask, TimeMajor
from darc.science.block_statistics import (
    HALF_WINDOW,
    block_centres,
    block_means,
    quick_noise,
    running_mean,
    running_median,
)
from darc.science.compiled import compiled

#: Window length in units of the longest pulse, which loses 1 / _WINDOW of its signal to the
#: baseline.
_WINDOW = 16
#: Likewise, of the channels in a search.
_SEARCH_WINDOW = 32
_LEAST_BLOCK = 8
#: Significance of a jump of the band's baseline, standard deviations of a block mean.
_JUMP = 3.0
#: Minimum ratio of the median of a jump over the channels to its mean.
_SHARED = 0.5
#: Blocks on each side of a jump for its baseline, and minimum significance of the median (standard
#: deviations).
_SIDES, _CERTAIN = 4, 3.0
#: Minimum variance of the sum of a block for medians, levels^2: noise of few bits that is less is
#: the same in most blocks, and its median is not its mean.
_LEAST_VARIANCE = 4.0
_MAD = 1.4826


class LevelWindow(Struct, frozen=True):
    """Window of the running baseline.

    :param block: number of samples in a block mean
    :param reach: number of samples before and after a sample on which its baseline depends
    """

    block: int
    reach: int

    @classmethod
    def beside(cls, longest: int, pulses: int = _WINDOW) -> LevelWindow:
        """Return a window that is long relative to the longest pulse.

        :param longest: samples
        :param pulses: length of the window in units of the longest pulse
        """
        block = max(_LEAST_BLOCK, -(-pulses * longest // (2 * HALF_WINDOW)))
        return cls(block, block * (HALF_WINDOW + 1))

    @classmethod
    def of_search(cls, longest: int) -> LevelWindow:
        """Return the window of the channels in a search.

        :param longest: longest pulse, samples
        """
        return cls.beside(longest, _SEARCH_WINDOW)


class BandSeries:
    """Mean of the normalised channels of a band (at DM 0)."""

    def __init__(self, n_samples: int) -> None:
        self._totals = np.zeros(n_samples)
        self._counts = np.zeros(n_samples, np.int64)
        self.noise: list[Doubles] = []

    def add(self, rows: Floats) -> None:
        """Add channels.

        :param rows: shape (n, n_samples); NaN: missing
        """
        noise = quick_noise(rows)
        self.noise.append(noise)
        _add_to(self._totals, self._counts, rows, noise)

    def level(self, window: LevelWindow, data: TimeMajor, columns: Ints) -> BandLevel:
        """Return the baseline of the band.

        :param data: shape (n_samples, n_columns)
        :param columns: columns of the channels, shape (n,)
        """
        n_samples = len(self._totals)
        with np.errstate(invalid="ignore"):
            series = (self._totals / np.where(self._counts, self._counts, np.nan)).astype(
                np.float32
            )
        cuts, jumps = find_jumps(series, window, data, columns)
        series[jumps] = np.nan
        blocks = _Blocks(series[np.newaxis], window, cuts)
        level = np.zeros(n_samples, np.float32)
        if blocks.usable[0]:
            places = np.arange(n_samples)
            level = np.interp(places, blocks.centres, blocks.levels()[0]).astype(np.float32)
        return BandLevel(level, jumps, cuts)


def find_jumps(
    series: Floats, window: LevelWindow, data: TimeMajor, columns: Ints
) -> tuple[Doubles, Mask]:
    """Find jumps of the band's baseline.

    A step of the sum of the band that most channels do not share is a strong pulse, which reaches
    one channel after the other.

    :param series: sum or mean of the channels (at DM 0), shape (n_samples,); NaN: missing
    :param data: shape (n_samples, n_columns)
    :param columns: columns of the channels, shape (n,)
    :return: positions of the jumps, samples, ascending; and a mask of the samples around them,
        which belong to neither side
    """
    jumps = np.zeros(len(series), np.bool_)
    blocks = _Blocks(series[np.newaxis], window)
    if not blocks.usable[0]:
        return np.empty(0), jumps
    level = blocks.levels()[0]
    change = np.zeros(len(level))
    change[1:-1] = level[2:] - level[:-2]
    change -= running_median(change[np.newaxis])[0]
    least = _JUMP * float(quick_noise(series[np.newaxis])[0]) / np.sqrt(window.block)
    cuts = _cuts(change, least, blocks.centres)
    cuts = cuts[[_is_shared(data, columns, float(cut), window.block) for cut in cuts]]
    for cut in cuts.tolist():
        begin, end = cut - 1.5 * window.block, cut + 1.5 * window.block
        jumps[max(0, int(begin)) : int(np.ceil(end))] = True
    return cuts, jumps


def _is_shared(data: TimeMajor, columns: Ints, cut: float, block: int) -> bool:
    """Whether most channels share a jump."""
    begin, end = int(cut - 0.5 * block), int(np.ceil(cut + 0.5 * block))
    before = data[max(0, begin - _SIDES * block) : max(0, begin), columns]
    after = data[end : end + _SIDES * block, columns]
    if not (len(before) and len(after)):
        return False
    steps = after.mean(axis=0, dtype=np.float64) - before.mean(axis=0, dtype=np.float64)
    steps = steps[np.isfinite(steps)]
    if not len(steps):
        return False
    middle, mean = float(np.median(steps)), float(steps.mean())
    spread = float(np.median(np.abs(steps - middle))) * _MAD / np.sqrt(len(steps))
    return middle * mean > 0 and abs(middle) >= max(_SHARED * abs(mean), _CERTAIN * spread)


class BandLevel(Struct, frozen=True, eq=False):
    """Baseline of a band.

    :param level: shape (n_samples,)
    :param jumps: mask of the samples at jumps, shape (n_samples,)
    :param cuts: positions of the jumps, samples, ascending
    """

    level: Floats
    jumps: Mask
    cuts: Doubles


@compiled
def _add_to(totals: Doubles, counts: Ints, rows: Floats, noise: Doubles) -> None:
    for number in range(rows.shape[0]):
        if not noise[number] > 0:
            continue
        row, total, count = rows[number], 0.0, 0
        for place in range(row.size):
            there = not np.isnan(row[place])
            total += row[place] if there else 0.0
            count += there
        mean, scale = total / count, 1 / noise[number]
        for place in range(row.size):
            there = not np.isnan(row[place])
            totals[place] += (row[place] - mean) * scale if there else 0.0
            counts[place] += there


def _cuts(change: Doubles, least: float, centres: Doubles) -> Doubles:
    """Return the position of the largest change in each group of neighbouring changes."""
    jumping = np.flatnonzero(np.abs(change) > least)
    groups = np.split(jumping, np.flatnonzero(np.diff(jumping) > 1) + 1)
    places = [group[np.argmax(np.abs(change[group]))] for group in groups if len(group)]
    return centres[np.array(places, dtype=np.int64)]


def sparse_noise(noise: Doubles, window: LevelWindow) -> Mask:
    """Whether noise of few bits is too small for medians of block means.

    :param noise: standard deviations, levels, shape (n,)
    """
    return np.asarray(noise * noise * window.block < _LEAST_VARIANCE)


def take_levels(
    rows: Floats, window: LevelWindow, cuts: Doubles, sparse: Mask | None = None
) -> Mask:
    """Subtract the baseline from each row, in place.

    :param rows: shape (n, m)
    :param cuts: positions of jumps, samples
    :param sparse: rows of which the baseline is a running mean, shape (n,); None: none
    :return: whether a row has data, shape (n,); a row without is set to NaN
    """
    blocks = _Blocks(rows, window, cuts)
    levels = blocks.levels(sparse)
    if not blocks.usable.all():
        rows[~blocks.usable] = np.nan
    _subtract_levels(rows, blocks.usable, blocks.centres, levels)
    return blocks.usable


@compiled
def _subtract_levels(rows: Floats, usable: Mask, centres: Doubles, levels: Doubles) -> None:
    """Subtract levels, interpolated between the centres, from the usable rows, in place."""
    for number in range(rows.shape[0]):
        if not usable[number]:
            continue
        for part in range(centres.size + 1):
            begin, end, level, slope = _line(part, centres, levels[number], rows.shape[1])
            values, start, step = rows[number, begin:end], np.float32(level), np.float32(slope)
            for place in range(values.size):
                values[place] -= start + step * np.float32(place)


@compiled
def _divide_by_roots(rows: Floats, usable: Mask, centres: Doubles, squares: Doubles) -> None:
    """Divide the usable rows by roots of values interpolated between the centres, in place."""
    for number in range(rows.shape[0]):
        if not usable[number]:
            continue
        for part in range(centres.size + 1):
            begin, end, square, slope = _line(part, centres, squares[number], rows.shape[1])
            values, start, step = rows[number, begin:end], np.float32(square), np.float32(slope)
            for place in range(values.size):
                values[place] /= np.sqrt(start + step * np.float32(place))


@compiled
def _line(
    part: int, centres: Doubles, levels: Doubles, length: int
) -> tuple[int, int, float, float]:
    """Return the line of levels before or after a centre.

    :param part: number of centres before it
    :return: first sample and end, level at the first sample, and slope per sample
    """
    last = centres.size - 1
    begin = int(np.ceil(centres[part - 1])) if part else 0
    end = int(np.ceil(centres[part])) if part <= last else length
    if part in (0, last + 1):
        return begin, end, levels[min(part, last)], 0.0
    before = centres[part - 1]
    slope = (levels[part] - levels[part - 1]) / (centres[part] - before)
    return begin, end, levels[part - 1] + slope * (begin - before), slope


def take_scales(
    rows: Floats, window: LevelWindow, cuts: Doubles | None = None, sparse: Mask | None = None
) -> Mask:
    """Normalise each row to a local variance of about 1, in place.

    :param rows: with zero baseline, shape (n, m)
    :param window: window of the running variance
    :param cuts: positions of jumps, samples; None: none
    :param sparse: rows of which the variance is a running mean, shape (n,); None: none
    :return: whether a row varies, shape (n,); a constant row is set to 0
    """
    blocks = _Blocks(rows, window, cuts, squared=True)
    squares = blocks.levels(sparse)
    varies: Mask = blocks.usable & (np.max(squares, axis=1, initial=0.0) > 0)
    if not varies.all():
        rows[~varies] = 0
    if varies.any():
        found = np.maximum(squares, 0.01 * np.median(squares, axis=1, keepdims=True))
        mostly_constant = ~(found.min(axis=1) > 0)
        found[mostly_constant] = np.mean(squares[mostly_constant], axis=1, keepdims=True)
        _divide_by_roots(rows, varies, blocks.centres, found)
    return varies


class _Blocks:
    """Means of blocks with data.

    :param cuts: positions of jumps, samples: baselines before and after are independent
    :param squared: means of the squares of the values
    :ivar centres: samples, shape (k,)
    :ivar usable: whether a row has any data, shape (n,)
    """

    def __init__(
        self,
        rows: Floats,
        window: LevelWindow,
        cuts: Doubles | None = None,
        *,
        squared: bool = False,
    ) -> None:
        means = block_means(rows, min(window.block, max(1, rows.shape[1])), squared)
        centres = block_centres(rows.shape[1], means.shape[1])
        there = np.isfinite(means)
        self.usable: Mask = np.asarray(there.any(axis=1))
        somewhere = there.any(axis=0)
        self.centres: Doubles = centres[somewhere]
        means, there = means[:, somewhere], there[:, somewhere]
        for number in np.flatnonzero(self.usable & ~there.all(axis=1)).tolist():
            known = there[number]
            means[number] = np.interp(self.centres, self.centres[known], means[number, known])
        means[~self.usable] = 0
        self._means = means
        self._cuts = np.empty(0) if cuts is None else cuts

    def levels(self, sparse: Mask | None = None) -> Doubles:
        """Return the baselines at the centres, shape (n, k).

        :param sparse: rows with running means instead of medians, shape (n,); None: none
        """
        edges = np.searchsorted(self.centres, self._cuts)
        parts = np.split(self._means, edges, axis=1)
        found = np.concatenate([running_median(part) for part in parts], axis=1)
        if sparse is not None and sparse.any():
            parts = np.split(self._means[sparse], edges, axis=1)
            found[sparse] = np.concatenate([running_mean(part) for part in parts], axis=1)
        return found
