"""Clustering of candidates in DM and time, and the filter on synthesised beams.

Source: the project's specification, candidates.md. Records are those of
:mod:`darc.model.candidate`. Candidates must be finite, which their reader ensures.
"""

from __future__ import annotations

import math

import numpy as np

from darc.model.candidate import CLUSTER, Records
from darc.science.arrays import Doubles, Ints, Mask

#: Largest window number, of either sign: larger ones are not exact as floats.
_MAX_WINDOW = 2.0**52

#: Relative tolerance for equal sums of products of S/N: AMBER's S/N have six digits, so different
#: sums differ by more, and rounding errors (over 100 terms) are smaller.
_ROUNDING = 1e-13

#: Distance of candidates of the same signal from its cluster, inclusive, pc cm-3.
_DM_RANGE = 20.0

#: Number of boxes up to which their numbers fit 16 bits.
_FEW_BOXES = 2**16


def _lower_edge(upper: float) -> int:
    """Lower edge of the DM bin below an upper edge, pc cm-3."""
    # Multiplication first: 2/3 and 3/7 are not exact, which truncation would expose.
    if upper >= 100:
        return math.trunc(2 * upper / 3)
    if upper >= 50:
        return math.trunc(3 * upper / 7)
    return 0


def fixed_dm_edges(top: float) -> Doubles:
    """Return edges of DM bins that do not depend on data: from 0 to ``top``, then infinity.

    :param top: upper edge of the last bin but one, pc cm-3
    :return: ascending, from 0 to infinity, shape (bins + 1,), pc cm-3
    :raises ValueError: not 0 < top < infinity
    """
    if not 0 < top < math.inf:
        raise ValueError(f"no DM bins below {top} pc cm-3")
    edges = [math.inf, top]
    while edges[-1] > 0:
        edges.append(_lower_edge(edges[-1]))
    return np.array(edges[::-1], dtype=np.float64)


def cluster(
    candidates: Records,
    *,
    snr_min: float,
    dm_edges: Doubles,
    time_window: float,
    time_origin: float,
) -> Records:
    """Return the candidate of highest S/N in each (DM bin, time window) box (step 4).

    Bins are [lower, upper), windows [start, end). Among equal S/N, the first is returned.
    Candidates outside the edges are ignored.

    :param candidates: shape (n,), finite values
    :param snr_min: lowest S/N used, inclusive
    :param dm_edges: ascending, shape (bins + 1,), pc cm-3
    :param time_window: length of a window, s
    :param time_origin: start of window 0, s
    :return: CLUSTER records, sorted by window, then DM bin
    :raises ValueError: the window is not positive, or a window number exceeds 2^52
    """
    if not time_window > 0:
        raise ValueError(f"a time window of {time_window} s")
    dm_bin = np.searchsorted(dm_edges, candidates["dm"], side="right") - 1
    n_bins = len(dm_edges) - 1
    kept = np.flatnonzero((candidates["snr"] >= snr_min) & (dm_bin >= 0) & (dm_bin < n_bins))
    if not len(kept):
        return np.empty(0, dtype=CLUSTER)
    window_float = np.floor((candidates["time"][kept] - time_origin) / time_window)
    if np.abs(window_float).max() > _MAX_WINDOW:
        raise ValueError("a candidate's time is too large to have a time window")
    window = window_float.astype(np.int64)

    order, starts = _group(window, dm_bin[kept])
    snr = candidates["snr"][kept][order]
    counts = np.diff(starts, append=len(order))
    is_best = snr == np.repeat(np.maximum.reduceat(snr, starts), counts)
    # The sort is stable: the first of equal ones in a box is the first in the input.
    best_at = np.flatnonzero(is_best)
    best = order[best_at[np.searchsorted(best_at, starts)]]

    clusters = np.empty(len(starts), dtype=CLUSTER)
    source = candidates[kept[best]]
    for name in ("beam", "downsampling", "time", "dm", "snr"):
        clusters[name] = source[name]
    clusters["count"] = counts
    clusters["window"] = window[best]
    clusters["dm_bin"] = dm_bin[kept[best]]
    return clusters


def _group(window: Ints, dm_bin: Ints) -> tuple[Ints, Ints]:
    """Sort boxes by window and DM bin, stably.

    :return: the order, shape (n,), and the index in it at which each box starts, shape (boxes,)
    """
    first, n_bins = int(window.min()), int(dm_bin.max()) + 1
    if (int(window.max()) - first + 1) * n_bins <= _FEW_BOXES:
        # Radix sort, which is several times faster.
        box = ((window - first) * n_bins + dm_bin).astype(np.uint16)
        order = np.argsort(box, kind="stable")
        box = box[order]
        changes = box[1:] != box[:-1]
    else:
        order = np.lexsort((dm_bin, window))
        window, dm_bin = window[order], dm_bin[order]
        changes = (np.diff(window) != 0) | (np.diff(dm_bin) != 0)
    return order, np.concatenate(([0], np.flatnonzero(changes) + 1))


def synthesised_beam_filter(
    candidates: Records,
    clusters: Records,
    *,
    period_min: float,
    period_max: float,
    n_beams: int,
) -> Mask:
    """Return a mask of clusters that recur over the synthesised beams (SBs), as a signal does.

    Step 6: the highest S/N in each SB, among candidates at exactly the cluster's time and within
    20 pc cm-3 of its DM, is autocorrelated over the SBs, without wrapping. The period is the lag,
    at least 2, of the highest autocorrelation; of equal ones, the smallest.

    :param candidates: all candidates above the S/N threshold, shape (n,)
    :param clusters: shape (m,)
    :param period_min: lower limit of the period, exclusive, SBs
    :param period_max: upper limit of the period, exclusive, SBs
    :param n_beams: number of SBs, at least 3
    :return: shape (m,), True to keep
    :raises ValueError: a candidate's beam is not among the SBs, or there are fewer than 3
    """
    if n_beams < 3:
        raise ValueError(f"no period in {n_beams} synthesised beams")
    beam = candidates["beam"]
    if len(beam) and (beam.min() < 0 or beam.max() >= n_beams):
        raise ValueError(f"a candidate's beam is not one of {n_beams} synthesised beams")
    snr = _snr_per_beam(candidates, clusters, n_beams)
    period = _periods(snr)
    return (period > period_min) & (period < period_max)


def _snr_per_beam(candidates: Records, clusters: Records, n_beams: int) -> Doubles:
    """Return the highest S/N per SB around each cluster, 0 if none, shape (m, n_beams)."""
    order = np.argsort(candidates["time"], kind="stable")
    time = candidates["time"][order]
    first = np.searchsorted(time, clusters["time"], side="left")
    n_near = np.searchsorted(time, clusters["time"], side="right") - first
    # One entry per pair of a cluster and a candidate of the same time.
    row = np.repeat(np.arange(len(clusters)), n_near)
    position = np.arange(len(row)) + np.repeat(first - (np.cumsum(n_near) - n_near), n_near)
    near = order[position]
    close = np.abs(candidates["dm"][near] - clusters["dm"][row]) <= _DM_RANGE
    row, near = row[close], near[close]
    snr = np.zeros((len(clusters), n_beams))
    np.maximum.at(snr, (row, candidates["beam"][near]), candidates["snr"][near])
    return snr


def _periods(snr: Doubles) -> Ints:
    """Return the lag (>= 2) of the highest autocorrelation of each row, shape (m,)."""
    n_beams = snr.shape[1]
    lags = np.arange(2, n_beams)
    correlation = np.empty((len(lags), len(snr)))
    columns = np.ascontiguousarray(snr.T)
    for lag in lags:
        correlation[lag - 2] = np.einsum("ij,ij->j", columns[:-lag], columns[lag:])
    equal_to_highest = correlation >= correlation.max(axis=0) * (1 - _ROUNDING)
    period: Ints = lags[np.argmax(equal_to_highest, axis=0)]  # the first, so the smallest
    return period
