"""Best DM of a pulse from its S/N at several trial DMs."""

from __future__ import annotations

import numpy as np

from darc.science.arrays import Doubles, Floats, Ints, Mask
from darc.science.boxcar import filter_norm

#: Interpolated values of S/N per trial DM.
_FINER = 8


def trial_snrs(
    series: Floats,
    valid: Mask,
    widths: Ints,
    kernel: Doubles | None = None,
) -> Doubles:
    """Return the highest S/N over several boxcar widths, for each trial DM.

    :param series: dedispersed series with zero baseline, in units of the noise, shape (n_dms, n)
    :param valid: samples to use, shape (n_dms, n)
    :param widths: boxcar widths, samples; those longer than the series are ignored
    :param kernel: kernel that the boxcars are convolved with: symmetric, of unit sum and odd length
    :return: shape (n_dms,); 0 where no sample is valid
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
    """Return the posterior mean of the DM, for a uniform prior over the range of the trials.

    S/N is interpolated between trials; the likelihood of a DM is exp(S/N^2 / 2). For a pulse with
    sharp edges, S/N against DM has a cusp and not a parabolic maximum, and the position of the
    maximum scatters more by noise than this mean.

    :param dms: evenly spaced trials, pc cm-3, shape (n_dms,)
    :param snrs: S/N at each trial, shape (n_dms,)
    :return: pc cm-3, within the range of the trials
    """
    n_dms = len(dms)
    if n_dms == 1:
        return float(dms[0])
    # Catmull-Rom spline: cubic between two trials, with slopes from their neighbours.
    ends = 2 * snrs[0] - snrs[1], 2 * snrs[-1] - snrs[-2]
    around = np.concatenate((ends[:1], snrs, ends[1:]))
    places = np.arange((n_dms - 1) * _FINER + 1) / _FINER
    trial = np.minimum(places.astype(np.int64), n_dms - 2)
    part = places - trial
    a, b, c, d = (around[trial + number] for number in range(4))
    cubic = part * (2 * a - 5 * b + 4 * c - d + part * (3 * (b - c) + d - a))
    finer = np.maximum(b + part / 2 * (c - a + cubic), 0.0)
    # Relative to the maximum, to avoid overflow.
    highest = finer.max()
    likelihood = np.exp((finer - highest) * (finer + highest) / 2)
    place = float(places @ likelihood / likelihood.sum())
    return float(dms[0] + place * (dms[1] - dms[0]))
