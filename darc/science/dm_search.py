"""At which of some trial DMs a pulse is strongest."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def trial_snrs(
    series: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_], widths: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Highest S/N of some boxcars in each trial.

    :param series: in units of its noise, about its level, shape (n_dms, n)
    :param valid: which samples count, likewise
    :param widths: samples; those longer than the series are left out
    :return: shape (n_dms,); 0 where nothing is valid
    """
    n_dms, n = series.shape
    sums = np.zeros((n_dms, n + 1))
    np.cumsum(np.where(valid, series, 0), axis=1, out=sums[:, 1:])
    best = np.zeros(n_dms)
    for width in widths[widths <= n].tolist():
        smoothed = sums[:, width:] - sums[:, : n + 1 - width]
        np.maximum(best, smoothed.max(axis=1) / np.sqrt(width), out=best)
    return best


def best_dm(dms: npt.NDArray[np.float64], snrs: npt.NDArray[np.float64]) -> float:
    """DM of highest S/N: the peak of a parabola through the best trial and its neighbours.

    :param dms: trials, evenly spaced, pc cm-3, shape (n_dms,)
    :param snrs: S/N of each, likewise
    :return: within half a step of the best trial; that trial itself at an end of the range
    """
    best = int(np.argmax(snrs))
    if not 0 < best < len(dms) - 1:
        return float(dms[best])
    before, peak, after = snrs[best - 1 : best + 2]
    curvature = before - 2 * peak + after
    offset = (before - after) / (2 * curvature) if curvature < 0 else 0.0
    return float(dms[best] + offset * (dms[1] - dms[0]))
