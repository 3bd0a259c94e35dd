"""Incoherent dedispersion of many trial DMs, by sums that neighbouring trials share.

Channels are summed to subbands, these to parts of the band, and these to the band. Trials whose
delays within a subband (or a part) hardly differ share its sum, so each level adds few rows. As in
the fast DM transform (Zackay and Ofek 2017, ApJ 835, 11), but with three levels instead of one for
each factor of two: sums of eight to sixteen rows are made while they are in the processor's cache,
and delays are rounded three times instead of ten, one of which is to a third of a sample.

Rows are channels, the lowest frequency first, each with its samples in time, as integers of 16
bits (:mod:`darc.science.search_levels`). Sums of subbands are divided by a power of two that keeps
their noise at about 8 levels, which adds 0.1 % to its variance; then those of the whole band have
16 bits, too, or 32 where a pulse is so bright that they might overflow.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from darc.config.records import Struct
from darc.science.arrays import Doubles, Ints, Series, Shorts
from darc.science.compiled import compiled
from darc.science.downsample import channel_groups
from darc.science.reused_memory import ReusedMemory
from darc.science.search_levels import HIGHEST, LEVELS

#: Maximum number of subbands, and of parts of the band.
_SUBBANDS, _PARTS = 64, 8
#: Maximum number of channels of a subband: more subbands are made for it.
_CHANNELS = 64
#: Standard deviation of the noise of a subband, levels.
_NOISE = 8
#: Maximum difference of the delays within a subband, or a part, of trials that share its sums:
#: this fraction of the difference of neighbouring trials across the band, and limits (samples).
_OF_STEP, _APART, _MOST_APART = 0.5, 1.0, 2.0
#: Shifts of parts of the band are rounded to a sample divided by this.
_PHASES = 3
#: Samples that are summed at a time, so that they stay in the processor's cache.
_BLOCK = 4096


class Tree(Struct, frozen=True, eq=False):
    """Subbands and parts of a band, each of about the same delay.

    :param late: delay of each channel per DM, samples per pc cm-3, descending, shape (n,)
    :param edges: first channel of each subband, and the end of the last, shape (n_subbands + 1,)
    :param part_edges: likewise the subbands of each part, shape (n_parts + 1,)
    """

    late: Doubles
    edges: Ints
    part_edges: Ints

    @classmethod
    def of(cls, late: Doubles) -> Tree:
        """Return the tree of a band.

        :param late: see :class:`Tree`
        """
        n_subbands = min(len(late), _SUBBANDS)
        across = late[0] - late[-1]
        edges = channel_groups(len(late), n_subbands)
        if across > 0:
            inside = np.arange(1, n_subbands) / n_subbands
            first = np.searchsorted((late[0] - late) / across, inside)
            edges = np.unique(np.concatenate(([0], first, [len(late)])))
        parts = [np.arange(*pair, _CHANNELS) for pair in itertools.pairwise(edges.tolist())]
        edges = np.concatenate((*parts, edges[-1:]))
        n_subbands = len(edges) - 1
        return cls(late, edges, channel_groups(n_subbands, min(n_subbands, _PARTS)))

    @property
    def tops(self) -> Doubles:
        """Delay per DM of the highest channel of each subband, shape (n_subbands,)."""
        return np.asarray(self.late[self.edges[1:] - 1])

    @property
    def part_tops(self) -> Doubles:
        """Delay per DM of the highest channel of each part, shape (n_parts,)."""
        return np.asarray(self.late[self.edges[self.part_edges[1:]] - 1])

    @property
    def highest(self) -> int:
        """Highest level of a channel, of which the sum of a subband has 16 bits."""
        return HIGHEST // int(np.diff(self.edges).max())

    @property
    def shift(self) -> int:
        """Power of two that sums of subbands are divided by."""
        noise = LEVELS * math.sqrt(len(self.late) / len(self.tops))
        return max(0, round(math.log2(noise / _NOISE)))

    @property
    def within(self) -> float:
        """Largest delay per DM within a subband."""
        return float(np.max(self.late[self.edges[:-1]] - self.tops))

    @property
    def within_part(self) -> float:
        """Largest delay per DM within a part."""
        return float(np.max(self.late[self.edges[self.part_edges[:-1]]] - self.part_tops))


def shared(dms: Doubles, within: float, across: float) -> list[tuple[int, int]]:
    """Group trials that share sums.

    :param dms: ascending, pc cm-3, shape (n,)
    :param within: delay per DM within what is shared, samples per pc cm-3
    :param across: delay per DM across the band, samples per pc cm-3
    :return: first trial and end of each group
    """
    step = float(dms[-1] - dms[0]) / max(1, len(dms) - 1) * across
    apart = min(max(_APART, _OF_STEP * step), _MOST_APART)
    groups, first = [], 0
    for number in range(1, len(dms) + 1):
        if number == len(dms) or (dms[number] - dms[first]) * within > apart:
            groups.append((first, number))
            first = number
    return groups


class SubbandSums:
    """Sums over subbands for some trial DMs.

    :param rows: channels, levels, at most `Tree.highest`, shape (n, m)
    :param tree: of these channels
    :param dms: trial DMs, ascending, pc cm-3, shape (n_dms,)
    :param reach: length of the dedispersed series, samples
    :param memory: for the sums, and for the series: of earlier ones that are no longer used
    :ivar groups: first trial and end of each group that shares sums
    :ivar sums: sums of each group, divided by 2 to the power of `Tree.shift`, shape (n_groups,
        n_subbands, k); not changed any more once a series was asked for
    """

    def __init__(
        self,
        rows: Shorts,
        tree: Tree,
        dms: Doubles,
        reach: int,
        memory: tuple[ReusedMemory, ReusedMemory],
    ) -> None:
        self._tree, self._dms, self._reach = tree, dms, reach
        self._for_series = memory[1]
        self._fits: dict[int, bool] = {}
        self.groups = shared(dms, tree.within, float(tree.late[0]))
        # Sums of a subband begin just before they are needed first.
        self._bases = np.maximum(np.floor(dms[0] * tree.tops).astype(np.int64) - 2, 0)
        longest = np.ceil(dms[-1] * tree.tops).astype(np.int64) + 2 - self._bases
        self._top_of = np.repeat(tree.tops, np.diff(tree.edges))
        self._middles = [float(dms[first:end].mean()) for first, end in self.groups]
        inner = np.stack([self._inner(dm) for dm in self._middles])
        shape = len(self.groups), len(tree.tops), reach + int(longest.max())
        self.sums = memory[0].array(shape, np.dtype(np.int16))
        _sum_subbands(rows, tree.edges, self._bases, inner, tree.shift, self.sums)

    def _inner(self, dm: float) -> Ints:
        return _rounded(dm * (self._tree.late - self._top_of))

    def tracks(self) -> Ints:
        """Return the shifts of the channels at the DM of each group, shape (n_groups, n)."""
        return _rounded(np.outer(self._middles, self._tree.late))

    def places(self) -> tuple[Ints, Ints]:
        """Return the subband of each channel, and which of its samples is the sums' first one.

        :return: shape (n,); and of each group, shape (n_groups, n)
        """
        sizes = np.diff(self._tree.edges)
        subband = np.repeat(np.arange(len(sizes)), sizes)
        inner = np.stack([self._inner(dm) for dm in self._middles])
        return subband, inner + np.repeat(self._bases, sizes)

    def _dtype(self, group: int) -> np.dtype[np.int16] | np.dtype[np.int32]:
        """Return the type in which no sum over the band overflows."""
        if group not in self._fits:
            self._fits[group] = _highest_sum(self.sums[group]) <= HIGHEST
        return np.dtype(np.int16) if self._fits[group] else np.dtype(np.int32)

    def middle_series(self, group: int) -> tuple[int, Series]:
        """Return the middle trial of a group, and its series, shape (reach,)."""
        trial = sum(self.groups[group]) // 2
        shifts = _rounded(self._dms[trial] * self._tree.tops) - self._bases
        series = np.empty((1, self._reach), self._dtype(group))
        sum_shifted(self.sums[group], shifts[np.newaxis], series)
        return trial, series[0]

    def series(self, group: int) -> Iterator[tuple[int, Series]]:
        """Yield the dedispersed series of a group, a few at a time.

        :return: first trial, and the series of it and the next ones, shape (n, reach):
            overwritten by the next
        """
        first, end = self.groups[group]
        tree, dms, dtype = self._tree, self._dms[first:end], self._dtype(group)
        tops = np.repeat(tree.part_tops, np.diff(tree.part_edges))
        parts = shared(dms, tree.within_part, float(tree.late[0]))
        for begin, stop in parts:
            middle = float(dms[begin:stop].mean())
            fine = _rounded(np.outer(dms[begin:stop], tree.part_tops) * _PHASES)
            shifts, phases = fine // _PHASES, fine % _PHASES
            lowest = np.repeat(shifts.min(axis=0), np.diff(tree.part_edges)) - self._bases
            within = middle * (tree.tops - tops)
            inner = np.stack([_rounded(within + k / _PHASES) + lowest for k in range(_PHASES)])
            series = self._for_series.array((stop - begin, self._reach), dtype)
            shifts -= shifts.min(axis=0)
            _sum_parts(self.sums[group], tree.part_edges, inner, shifts, phases, series)
            yield first + begin, series


def _rounded(shifts: Doubles) -> Ints:
    """Round shifts to whole samples."""
    return np.rint(shifts).astype(np.int64)


@compiled
def _add_rows(rows: Series, first: int, end: int, starts: Ints, offset: int, out: Series) -> None:
    """Sum rows, each from a sample on; samples outside the data are left out.

    :param rows: shape (n, m)
    :param first: first row
    :param end: end of the rows
    :param starts: first sample of each row of `rows`, shape (n,)
    :param offset: added to these
    :param out: overwritten, shape (k,)
    """
    n, length = out.size, rows.shape[1]
    for row in range(first, end, 4):
        # Four rows at once, as far as all have samples; the rest row by row.
        many = min(4, end - row)
        common = n if many == 4 else 0
        for other in range(row, row + many):
            start = starts[other] + offset
            common = max(0, min(common, length - start)) if start >= 0 else 0
        if many == 4:
            _add_four(rows, row, starts, offset, out[:common], row == first)
        if row == first:
            out[common:] = 0
        for other in range(row, row + many if common < n else row):
            start = starts[other] + offset
            begin, stop = max(common, -start), min(n, length - start)
            if begin < stop:
                e, f = rows[other, start + begin : start + stop], out[begin:stop]
                for place in range(stop - begin):
                    f[place] += e[place]


@compiled
def _add_four(
    rows: Series, row: int, starts: Ints, offset: int, out: Series, overwritten: bool
) -> None:
    """Sum four rows, all of whose samples are there; see `_add_rows`."""
    n = out.size
    a = rows[row, starts[row] + offset : starts[row] + offset + n]
    b = rows[row + 1, starts[row + 1] + offset : starts[row + 1] + offset + n]
    c = rows[row + 2, starts[row + 2] + offset : starts[row + 2] + offset + n]
    d = rows[row + 3, starts[row + 3] + offset : starts[row + 3] + offset + n]
    if overwritten:
        for place in range(n):
            out[place] = (a[place] + b[place]) + (c[place] + d[place])
    else:
        for place in range(n):
            out[place] += (a[place] + b[place]) + (c[place] + d[place])


@compiled
def _sum_subbands(
    rows: Shorts, edges: Ints, bases: Ints, inner: Ints, shift: int, sums: Shorts
) -> None:
    """Sum the channels of each subband for several groups of trials.

    :param rows: shape (n, m)
    :param edges: see :class:`Tree`
    :param bases: first sample of the highest channel of each subband, shape (n_subbands,)
    :param inner: shift of each channel within its subband, samples, shape (n_groups, n)
    :param shift: the sums are divided by 2 to this power
    :param sums: overwritten, shape (n_groups, n_subbands, k)
    """
    for begin in range(0, sums.shape[2], _BLOCK):
        end = min(begin + _BLOCK, sums.shape[2])
        for subband in range(sums.shape[1]):
            # A half is rounded up in one subband and down in the next: the sum has no bias.
            half = ((1 << shift) - subband % 2) >> 1
            for group in range(sums.shape[0]):
                out = sums[group, subband, begin:end]
                _add_rows(
                    rows,
                    edges[subband],
                    edges[subband + 1],
                    inner[group],
                    bases[subband] + begin,
                    out,
                )
                for place in range(out.size if shift else 0):
                    out[place] = (out[place] + half) >> shift


@compiled
def _highest_sum(rows: Shorts) -> int:
    """Return the sum of the rows' highest absolute values, which no sum over them exceeds."""
    total = 0
    for number in range(rows.shape[0]):
        row, low, high = rows[number], np.int16(0), np.int16(0)
        for place in range(row.size):
            low, high = min(low, row[place]), max(high, row[place])
        total += max(int(high), -int(low))
    return total


@compiled
def sum_shifted(rows: Shorts, shifts: Ints, series: Series) -> None:
    """Sum all rows for several trials.

    :param rows: shape (n, m)
    :param shifts: samples, shape (n_dms, n)
    :param series: overwritten, shape (n_dms, k)
    """
    for begin in range(0, series.shape[1], _BLOCK):
        end = min(begin + _BLOCK, series.shape[1])
        for trial in range(series.shape[0]):
            _add_rows(rows, 0, rows.shape[0], shifts[trial], begin, series[trial, begin:end])


@compiled
def _sum_parts(
    sums: Shorts, edges: Ints, inner: Ints, shifts: Ints, phases: Ints, series: Series
) -> None:
    """Sum subbands to parts of the band, and these to the series of several trials.

    :param sums: sums of the subbands, shape (n_subbands, m)
    :param edges: first subband of each part, and the end of the last, shape (n_parts + 1,)
    :param inner: first sample of each subband for each phase, shape (n_phases, n_subbands)
    :param shifts: shifts of the parts, samples, at least 0, shape (n_dms, n_parts)
    :param phases: phase of each part, shape (n_dms, n_parts)
    :param series: overwritten, shape (n_dms, k)
    """
    n_dms, length = series.shape
    n_parts, n_phases = edges.size - 1, inner.shape[0]
    more = shifts.max()
    used = np.zeros((n_parts, n_phases), np.bool_)
    for trial in range(n_dms):
        for part in range(n_parts):
            used[part, phases[trial, part]] = True
    # Sums of a part at one phase after the other.
    room = _BLOCK + more
    parts = np.empty((n_parts, n_phases * room), series.dtype)
    starts = phases * room + shifts
    for begin in range(0, length, _BLOCK):
        end = min(begin + _BLOCK, length)
        for part in range(n_parts):
            for phase in range(n_phases):
                if used[part, phase]:
                    out = parts[part, phase * room : phase * room + end - begin + more]
                    _add_rows(sums, edges[part], edges[part + 1], inner[phase], begin, out)
        for trial in range(n_dms):
            _add_rows(parts, 0, n_parts, starts[trial], 0, series[trial, begin:end])
