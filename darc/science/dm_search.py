"""At which of some trial DMs a pulse is strongest."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from darc.science.boxcar import filter_norm

Doubles = npt.NDArray[np.float64]

#: S/N is interpolated at so many places from one trial to the next.
_FINER = 8


def trial_snrs(
    series: npt.NDArray[np.float32],
    valid: npt.NDArray[np.bool_],
    widths: npt.NDArray[np.int64],
    kernel: Doubles | None = None,
) -> Doubles:
    """Highest S/N of some boxcars in each trial.

    :param series: in units of its noise, about its level, shape (n_dms, n)
    :param valid: which samples count, likewise
    :param widths: samples; those longer than the series are left out
    :param kernel: that the boxcars are convolved with, symmetric, of unit sum and odd length
    :return: shape (n_dms,); 0 where nothing is valid
    """
    n_dms, n = series.shape
    kernel = np.ones(1) if kernel is None else kernel
    half = len(kernel) // 2
    padded = np.zeros((n_dms, n + 2 * half))
    padded[:, half : half + n] = np.where(valid, series, 0)
    sums = np.zeros((n_dms, n + 1))
    for place, weight in enumerate(kernel.tolist()):
        sums[:, 1:] += weight * padded[:, place : place + n]
    np.cumsum(sums, axis=1, out=sums)
    best = np.zeros(n_dms)
    for width in widths[widths <= n].tolist():
        smoothed = sums[:, width:] - sums[:, : n + 1 - width]
        np.maximum(best, smoothed.max(axis=1) / filter_norm(width, kernel), out=best)
    return best


def best_dm(dms: Doubles, snrs: Doubles) -> float:
    """The DM to be expected, all in the trials' range being as likely before.

    S/N between trials is interpolated; the likelihood of a DM is exp(S/N^2 / 2). Of a pulse whose
    edges are sharp, S/N against DM has a cusp instead of a parabola's top, and noise moves its peak
    further than this mean.

    :param dms: trials, evenly spaced, pc cm-3, shape (n_dms,)
    :param snrs: S/N of each, likewise
    :return: within the trials
    """
    n_dms = len(dms)
    if n_dms == 1:
        return float(dms[0])
    # Catmull-Rom: a cubic through two neighbours, with slopes from the next ones.
    ends = 2 * snrs[0] - snrs[1], 2 * snrs[-1] - snrs[-2]
    around = np.concatenate((ends[:1], snrs, ends[1:]))
    places = np.arange((n_dms - 1) * _FINER + 1) / _FINER
    trial = np.minimum(places.astype(np.int64), n_dms - 2)
    part = places - trial
    a, b, c, d = (around[trial + number] for number in range(4))
    cubic = part * (2 * a - 5 * b + 4 * c - d + part * (3 * (b - c) + d - a))
    finer = np.maximum(b + part / 2 * (c - a + cubic), 0.0)
    # Taken from the highest, so that nothing is too large for a number.
    highest = finer.max()
    likelihood = np.exp((finer - highest) * (finer + highest) / 2)
    place = float(places @ likelihood / likelihood.sum())
    return float(dms[0] + place * (dms[1] - dms[0]))
