"""Which candidates are of one burst: it shows at many trial DMs, widths and times.

A burst of S/N S and width w, flat within w, leaves in a boxcar of width v the S/N

    S sqrt(w / v) min(v / w', 1),   w' = w + s

where s is the delay across the band that the error of the trial DM makes: the burst is smeared by
it, from its arrival at the top of the band on, later where the trial DM is too low and earlier
where it is too high. So a narrow pulse inside a wide line is told from a piece of the line: a piece
is not much brighter, sample by sample, than the line.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darc.model.candidate import Records
from darc.science.dispersion import FloatOrArray, delay

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

#: Times nearer than this, and DMs whose delay across the band differs by less, are not told apart
#: by a search; nor are times after 1000 s in six digits (s).
TOLERANCE = 0.010
#: Bursts are not flat: an exponential one leaves 1.75 times as much in a narrow boxcar.
PEAKED = 2.0
#: Pairs that are compared at a time.
PAIRS = 200_000


@dataclass(frozen=True, slots=True)
class Scales:
    """What turns widths and DMs into delays.

    :param tsamp: of which widths are counted, s
    :param delay_per_dm: across the band, s per pc cm-3
    """

    tsamp: float
    delay_per_dm: float

    @classmethod
    def of_band(cls, tsamp: float, f_low: float, f_high: float) -> Scales:
        """Those of a band from ``f_low`` to ``f_high`` (MHz), sampled every ``tsamp`` (s)."""
        return cls(tsamp, delay(1.0, f_low, f_high))


def left_in_boxcar(width: FloatOrArray, boxcar: FloatOrArray, smear: FloatOrArray) -> FloatOrArray:
    """Part of a burst's S/N that it leaves in a boxcar, of another width and at another DM.

    :param width: of the burst, s
    :param boxcar: its width, s
    :param smear: by the DM, s
    :return: 0 to 1
    """
    wide = width + smear
    part: FloatOrArray = np.sqrt(width / boxcar) * np.minimum(boxcar / wide, 1.0)
    return part


def of_brighter(faint: Records, bright: Records, scales: Scales, reach: float) -> Mask:
    """Tell which candidates are of the same burst as a brighter one.

    Of equal S/N the earlier is the brighter one, then the narrower, the lower beam, the lower DM.

    :param faint: CANDIDATE records, or with more columns, shape (n,)
    :param bright: those they are compared with, shape (m,); may hold the same ones
    :param reach: candidates that begin further from each other are not compared, s
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
    """Where candidates are that are not too bright, wherever the others are; this saves time."""
    widths, which = np.unique(bright["downsampling"], return_inverse=True)
    highest = np.zeros(len(widths))
    np.maximum.at(highest, which, bright["snr"])
    boxcar = faint["downsampling"][:, np.newaxis]
    left = np.sqrt(np.minimum(boxcar, widths) / np.maximum(boxcar, widths))
    # Rounding must not exclude what would be found out to be just bright enough.
    bound = 1.001 * PEAKED * (highest * left).max(axis=1)
    return np.flatnonzero(faint["snr"] <= bound)


def _ranks(candidates: Records) -> Ints:
    """A number for each candidate, the lower the brighter; equal candidates have equal ones."""
    columns = [candidates[name] for name in ("dm", "beam", "downsampling", "time")]
    order = np.lexsort((*columns, -candidates["snr"]))
    changes = [np.diff(column[order]) != 0 for column in (*columns, candidates["snr"])]
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.concatenate(([0], np.cumsum(np.logical_or.reduce(changes))))
    return rank


@dataclass(frozen=True, slots=True)
class _Columns:
    """Candidates column by column, which is faster than records."""

    time: Floats
    width: Floats  # s
    delay: Floats  # across the band, s
    snr: Floats
    rank: Ints

    @classmethod
    def of(cls, records: Records, rank: Ints, scales: Scales) -> _Columns:
        width = records["downsampling"] * scales.tsamp
        delay = records["dm"] * scales.delay_per_dm
        time, snr = (np.ascontiguousarray(records[name]) for name in ("time", "snr"))
        return cls(time, width, delay, snr, rank)

    def part(self, begin: int, end: int) -> _Columns:
        names = ("time", "width", "delay", "snr", "rank")
        return _Columns(*(getattr(self, name)[begin:end] for name in names))


def _same(faint: _Columns, bright: _Columns, reach: float) -> Mask:
    """Whether they are of one burst and the second is the brighter, shape (faint, bright)."""
    # Few pairs are near in time: the rest is worked out for these alone.
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
