"""Flagging of samples without information: lost data, and channels that repeat one value.

A recorder that loses data writes zeros. Missing data are NaN.
"""

from __future__ import annotations

import math

import numpy as np

from darc.science.arrays import Floats, Ints, Mask, TimeMajor
from darc.science.compiled import compiled

#: Minimum run of samples in which all channels have the same value that is flagged.
_FLAT = 8
#: Minimum run of one value in a channel that is flagged; longer where values often repeat.
_STUCK = 64
#: Probability to flag a run in a row of noise.
_BY_CHANCE = 1e-3


def silent_moments(data: TimeMajor, columns: Ints) -> Mask:
    """Flag runs of samples in which all channels have the same value, such as lost data.

    In data of few bits, all channels may be the same by chance: runs must be longer then.

    :param data: shape (n_samples, n_channels)
    :param columns: columns of the channels, shape (n,); with fewer than 2, nothing is flagged
    :return: shape (n_samples,)
    """
    same = _same_moments(data, columns)
    edges = np.flatnonzero(np.diff(np.concatenate(([False], same, [False])).astype(np.int8)))
    begins, ends = edges[::2], edges[1::2]
    lengths = ends - begins
    silent, least = np.zeros(len(lengths), np.bool_), len(same) + 1
    while True:
        others = len(same) - int(lengths[silent].sum())
        part = int(lengths[~silent].sum()) / max(1, others)
        needed = _FLAT
        if 0 < part < 1:
            needed = max(_FLAT, math.ceil(math.log(_BY_CHANCE / len(same)) / math.log(part)))
        if needed >= least:
            break
        least = needed
        silent = lengths >= least
    found = np.zeros(len(same), np.bool_)
    for begin, end in zip(begins[silent].tolist(), ends[silent].tolist(), strict=True):
        found[begin:end] = True
    return found


@compiled
def _same_moments(data: TimeMajor, columns: Ints) -> Mask:
    """Flag samples in which all channels have the same value."""
    found = np.zeros(data.shape[0], np.bool_)
    if columns.size < 2:
        return found
    for sample in range(data.shape[0]):
        first = data[sample, columns[0]]
        same = True
        for column in columns:
            if data[sample, column] != first:
                same = False
                break
        found[sample] = same
    return found


@compiled
def _may_be_stuck(row: Floats) -> bool:
    """Whether an aligned block of half of `_STUCK` samples is constant, as in every long run."""
    half = _STUCK // 2
    for begin in range(0, row.size - half + 1, half):
        end = begin + 1
        while end < begin + half and row[end] == row[begin]:
            end += 1
        if end == begin + half:
            return True
    return False


@compiled
def forget_stuck(rows: Floats, highest: float) -> bool:
    """Replace runs of one value by NaN, in place, except of the highest: it may be a strong pulse.

    :param rows: shape (n, m)
    :param highest: highest value in the data (saturation)
    :return: whether there were any
    """
    found = False
    for number in range(rows.shape[0]):
        row = rows[number]
        if not _may_be_stuck(row):
            continue
        repeats, run, longest = 0, 0, 0
        for place in range(1, row.size):
            same = row[place] == row[place - 1]
            run = run + 1 if same else 0
            repeats += same
            longest = max(longest, run)
        if longest + 1 < _STUCK:
            continue
        part = repeats / row.size
        least = max(float(_STUCK), np.log(_BY_CHANCE / row.size) / np.log(part))
        run = 0
        for place in range(1, row.size + 1):
            if place < row.size and row[place] == row[place - 1]:
                run += 1
                continue
            if run + 1 >= least and row[place - 1] < highest:
                row[place - run - 1 : place] = np.nan
                found = True
            run = 0
    return found
