"""Features of a candidate in DM and time, in groups; see `darc.science.freq_time_features`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from darc.config.records import Struct
from darc.science.arrays import Doubles
from darc.science.candidate_arrays import (
    checked_candidate,
    correlation,
    finite_features,
    mean_or_0,
    resampled,
    row_correlation,
    row_middles,
    row_noise,
    weighted_slope,
)

DM_TIME_SHAPE = (64, 64)

#: Maximum distance of a pulse from the middle, bins.
_NEAR = 4


class _Trials(Struct, frozen=True, eq=False):
    """What the groups share.

    :param rows: in units of the noise, shape (n_dms, n_time)
    :param smooth: mean of three neighbouring rows, shape (n_dms - 2, n_time)
    :param curve: maximum of each near the pulse's time, shape (n_dms - 2,)
    :param peak_row: of the highest, in `smooth`
    :param peak_bin: its bin
    """

    rows: Doubles
    smooth: Doubles
    curve: Doubles
    peak_row: int
    peak_bin: int

    @property
    def peak(self) -> float:
        """The highest value of the curve."""
        return float(self.curve[self.peak_row])

    @property
    def row(self) -> Doubles:
        """The row of the peak, shape (n_time,)."""
        return np.asarray(self.rows[min(self.peak_row + 1, len(self.rows) - 1)])


def dm_time_features(array: npt.ArrayLike) -> dict[str, float]:
    """Measure the features of a candidate in DM and time.

    :param array: shape (ndm, ntime), the pulse in bin ntime // 2, DMs in either order; the pulse's
        DM is in the middle, or, if the trials start at DM 0, anywhere
    :raises ValueError: the array is not two-dimensional, or empty
    """
    rows = resampled(checked_candidate(array), DM_TIME_SHAPE)
    if np.count_nonzero(rows.std(axis=1) > 1e-6) < 4:
        return dict.fromkeys(DM_TIME_NAMES, 0.0)
    groups = _groups(_trials(rows)).values()
    return finite_features({name: value for group in groups for name, value in group.items()})


def _groups(trials: _Trials) -> dict[str, dict[str, float]]:
    return {
        "peak over DM": _peak_over_dm(trials),
        "elsewhere": _elsewhere(trials),
        "shape over DM and time": _shape(trials),
    }


def _trials(rows: Doubles) -> _Trials:
    n_time = rows.shape[1]
    rows = rows - row_middles(rows)[:, np.newaxis]
    near = slice(n_time // 2 - _NEAR, n_time // 2 + _NEAR + 1)
    ends = np.concatenate([rows[:, :16], rows[:, -16:]], axis=1).reshape(1, -1)
    rows /= float(row_noise(ends)[0]) + 1e-6
    # The signal is shared by neighbouring trials: their mean preserves it.
    smooth = (rows[:-2] + rows[1:-1] + rows[2:]) / 3
    curve = smooth[:, near].max(axis=1)
    peak_row = int(np.argmax(curve))
    peak_bin = near.start + int(np.argmax(smooth[peak_row, near]))
    return _Trials(rows, smooth, curve, peak_row, peak_bin)


def _peak_over_dm(trials: _Trials) -> dict[str, float]:
    """How S/N falls off with DM on both sides of a peak at the trigger's DM.

    As for a burst in equations 12 and 13 of Cordes & McLaughlin 2003, ApJ 596, 1142; RRATtrap
    (Karako-Argaman et al. 2015, ApJ 809, 67) tells pulses from interference by it.
    """
    curve, peak_row, peak = trials.curve, trials.peak_row, trials.peak
    at = np.arange(len(curve)) - peak_row

    def around(distance: int) -> float:
        there = curve[np.isin(abs(at), (distance, distance + 1))]
        return mean_or_0(there) / (abs(peak) + 1)

    weights = np.maximum(curve - 0.3 * peak, 0)
    weights /= weights.sum() + 1e-6
    centre = float((weights * np.arange(len(curve))).sum())
    ends = np.concatenate([curve[:4], curve[-4:]])
    middle = curve[len(curve) // 2 - 1 : len(curve) // 2 + 2].max()
    return {
        "peak": peak,
        "peak_row": abs(peak_row - len(curve) / 2) / len(curve),
        "middle_share": float(middle) / (abs(peak) + 1),
        **{f"share_{distance}": around(distance) for distance in (2, 4, 8, 12, 16, 24)},
        "ends_max": float(ends.max()) / (abs(peak) + 1),
        "ends_first": mean_or_0(curve[:4]) / (abs(peak) + 1),
        "ends_last": mean_or_0(curve[-4:]) / (abs(peak) + 1),
        "above_half": float(np.mean(curve > 0.5 * peak)),
        "centre": abs(centre - len(curve) / 2) / len(curve),
        "spread": float(np.sqrt((weights * (np.arange(len(curve)) - centre) ** 2).sum())),
    }


def _elsewhere(trials: _Trials) -> dict[str, float]:
    """What is away from the pulse: other peaks, dips, and noise that is not white.

    One burst is one peak: Connor & van Leeuwen 2018, AJ 156, 256 use this array for it. The numbers
    are reasoning.
    """
    smooth, peak_row, peak_bin, peak = trials.smooth, trials.peak_row, trials.peak_bin, trials.peak
    far = smooth.copy()
    far[max(0, peak_row - 16) : peak_row + 17, peak_bin - 8 : peak_bin + 9] = -np.inf
    n_time = smooth.shape[1]
    left, right = trials.rows[:, : n_time // 2 - 6], trials.rows[:, n_time // 2 + 7 :]
    row = trials.row
    return {
        "elsewhere": float(far.max()) if np.isfinite(far.max()) else peak,
        "elsewhere_share": float(far.max()) / (abs(peak) + 1) if np.isfinite(far.max()) else 1.0,
        "lowest_share": float(-smooth.min()) / (abs(peak) + 1),
        "off_std": float(np.concatenate([left, right], axis=1).std()),
        "off_correlation": row_correlation(left[::8]) + row_correlation(right[::8]),
        "off_time_correlation": 0.5 * (correlation(left.mean(axis=0)) + correlation(row[:26])),
    }


def _shape(trials: _Trials) -> dict[str, float]:
    """How the pulse moves and widens from trial to trial: smoothly, as a bow tie.

    A burst at a wrong DM is as wide as the delay that is left; what is at DM 0 widens to one side
    alone: reasoning.
    """
    smooth, peak_row, peak_bin, peak = trials.smooth, trials.peak_row, trials.peak_bin, trials.peak
    arrivals = np.argmax(smooth, axis=1)
    steps = np.diff(smooth[:, 8:-8].max(axis=1))
    column, row = trials.rows[:, peak_bin], trials.row
    n_time = smooth.shape[1]
    return {
        "arrival_slope": abs(weighted_slope(arrivals, np.maximum(smooth.max(axis=1), 0))),
        "roughness": float(np.abs(steps).mean()) / (abs(peak) + 1),
        "column_correlation": correlation(column),
        "bow_tie": _bow_tie(smooth, peak_row, peak_bin),
        "width": float(np.mean(row > 0.5 * peak)),
        "sides": abs(mean_or_0(row[: n_time // 2 - 6]) - mean_or_0(row[n_time // 2 + 7 :])),
    }


def _bow_tie(smooth: Doubles, peak_row: int, peak_bin: int) -> float:
    """Return the width in time 10 rows from the pulse's DM, relative to that at its DM."""
    window = smooth[:, max(0, peak_bin - 16) : peak_bin + 17]

    def wide(row: Doubles) -> float:
        positive = np.maximum(row, 0)
        return float(positive.sum() ** 2 / ((positive**2).sum() + 1e-6))

    own = wide(window[peak_row])
    others = [wide(window[r]) for r in (peak_row - 10, peak_row + 10) if 0 <= r < len(window)]
    return (float(np.mean(others)) if others else own) / (own + 1e-6)


#: Names of the features of each group, in the order of `dm_time_features`.
DM_TIME_GROUPS: dict[str, tuple[str, ...]] = {
    group: tuple(features)
    for group, features in _groups(
        _trials(np.random.default_rng(0).normal(size=DM_TIME_SHAPE))
    ).items()
}
DM_TIME_NAMES: tuple[str, ...] = tuple(n for names in DM_TIME_GROUPS.values() for n in names)
