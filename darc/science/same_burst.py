"""Grouping of candidates of one burst, which is detected at many trial DMs, widths and times.

A burst of S/N S and width w, flat within w, has in a boxcar of width v the S/N

    S sqrt(w / v) min(v / w', 1),   w' = w + s

where s is the smearing: the delay across the band of the error of the trial DM, less the tolerance
and both widths, at least 0. A smeared burst starts at its arrival time at the top of the band, and
extends later if the trial DM is too low and earlier if it is too high. Thus a narrow pulse within a
wide one is distinguished from a part of the wide one: a part is not much brighter per sample than
the whole.
"""

from __future__ import annotations

import numpy as np

from darc.config.records import Struct, astuple
from darc.model.candidate import Records
from darc.science.arrays import Doubles, Ints, Mask
from darc.science.dispersion import delay
from darc.science.smearing import PEAKED, TOLERANCE, left_in_boxcar

#: Pairs compared at a time.
PAIRS = 200_000


class Scales(Struct, frozen=True):
    """Conversion of widths and DMs to times.

    :param tsamp: sampling time in which widths are counted, s
    :param delay_per_dm: delay across the band, s per pc cm-3
    """

    tsamp: float
    delay_per_dm: float

    @classmethod
    def of_band(cls, tsamp: float, f_low: float, f_high: float) -> Scales:
        """Return the scales of a band.

        :param tsamp: s
        :param f_low: MHz
        :param f_high: MHz
        """
        return cls(tsamp, delay(1.0, f_low, f_high))


def of_brighter(faint: Records, bright: Records, scales: Scales, reach: float) -> Mask:
    """Return a mask of the candidates that belong to the same burst as a brighter one.

    Among equal S/N, the earlier is the brighter one, then the narrower, the lower beam, the lower
    DM.

    :param faint: CANDIDATE records, or records with more columns, shape (n,)
    :param bright: candidates to compare with, shape (m,); may include the same ones
    :param scales: sampling time and delay across the band per DM
    :param reach: maximum difference of start times that is compared, s
    :return: shape (n,)
    """
    found = np.zeros(len(faint), dtype=np.bool_)
    if not (len(faint) and len(bright)):
        return found
    rank = _ranks(np.concatenate((faint, bright)))
    may = _may_be(faint, bright)
    order = may[np.argsort(faint["time"][may])]
    others = np.argsort(bright["time"])
    mine = _Columns.of(faint[order], rank[: len(faint)][order], scales)
    theirs = _Columns.of(bright[others], rank[len(faint) :][others], scales)
    rows = max(1, PAIRS // len(bright))
    for begin in range(0, len(order), rows):
        block = mine.part(begin, begin + rows)
        first = np.searchsorted(theirs.time, block.time[0] - reach, side="left")
        end = np.searchsorted(theirs.time, block.time[-1] + reach, side="right")
        same = _same(block, theirs.part(int(first), int(end)), reach)
        found[order[begin : begin + rows]] = same.any(axis=1)
    return found


def _may_be(faint: Records, bright: Records) -> Ints:
    """Return the candidates that are not too bright for any of the others; this saves time."""
    widths, which = np.unique(bright["downsampling"], return_inverse=True)
    highest = np.zeros(len(widths))
    np.maximum.at(highest, which, bright["snr"])
    boxcar = faint["downsampling"][:, np.newaxis]
    left = np.sqrt(np.minimum(boxcar, widths) / np.maximum(boxcar, widths))
    # Margin for rounding: the exact comparison follows.
    bound = 1.001 * PEAKED * (highest * left).max(axis=1)
    return np.flatnonzero(faint["snr"] <= bound)


def _ranks(candidates: Records) -> Ints:
    """Rank candidates, the brightest first; equal candidates have equal ranks."""
    columns = [candidates[name] for name in ("dm", "beam", "downsampling", "time")]
    order = np.lexsort((*columns, -candidates["snr"]))
    changes = [np.diff(column[order]) != 0 for column in (*columns, candidates["snr"])]
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.concatenate(([0], np.cumsum(np.logical_or.reduce(changes))))
    return rank


class _Columns(Struct, frozen=True):
    """Candidates as columns, which are faster than records."""

    time: Doubles
    width: Doubles  # s
    delay: Doubles  # across the band, s
    snr: Doubles
    rank: Ints

    @classmethod
    def of(cls, records: Records, rank: Ints, scales: Scales) -> _Columns:
        width = records["downsampling"] * scales.tsamp
        delay = records["dm"] * scales.delay_per_dm
        time, snr = (np.ascontiguousarray(records[name]) for name in ("time", "snr"))
        return cls(time, width, delay, snr, rank)

    def part(self, begin: int, end: int) -> _Columns:
        return _Columns(*(column[begin:end] for column in astuple(self)))


def _same(faint: _Columns, bright: _Columns, reach: float) -> Mask:
    """Whether the second is brighter and of the same burst, shape (faint, bright)."""
    # Few pairs are close in time: the rest is computed for these only.
    behind = faint.time[:, np.newaxis] - bright.time
    near = (np.abs(behind) <= reach) & (bright.rank < faint.rank[:, np.newaxis])
    late = bright.delay - faint.delay[:, np.newaxis]
    near &= behind <= bright.width + np.maximum(late, 0) + TOLERANCE
    near &= behind + faint.width[:, np.newaxis] >= np.minimum(late, 0) - TOLERANCE
    i, j = np.nonzero(near)
    width, boxcar = bright.width[j], faint.width[i]
    smear = np.maximum(np.abs(late[i, j]) - (TOLERANCE + width + boxcar), 0)
    near[i, j] = faint.snr[i] <= PEAKED * bright.snr[j] * left_in_boxcar(width, boxcar, smear)
    return near
