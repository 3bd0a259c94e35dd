"""Float samples that no receiver measures, such as of a broken recorder or a damaged file.

One of 1e14 in half of the channels makes their noise, and the band's baseline, so large that
nothing else is seen in the whole part.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

#: Least deviation of a wild sample, standard deviations: a receiver's range from noise to
#: saturation is less, and so is any pulse.
_WILD = 1e6
#: Samples of a channel of which the median and the deviations are taken.
_TAKEN = 1024
_MAD = 1.4826


def forget_wild(rows: npt.NDArray[np.floating[Any]]) -> int:
    """Replace wild samples, and infinite ones, by NaN, in place.

    A wild one is more than 1e6 standard deviations (from the median of the deviations that are not
    0) from its channel's median.

    :param rows: shape (n, m); NaN: missing
    :return: number of samples replaced
    """
    count, most = 0, float(np.finfo(rows.dtype).max)
    for row in rows:
        some = row[:: max(1, len(row) // _TAKEN)].astype(np.float64)
        some = some[np.isfinite(some)]
        middle = float(np.median(some)) if len(some) else 0.0
        away = np.abs(some - middle)
        away = away[away > 0]
        # A channel that hardly varies has no noise to compare with.
        limit = _WILD * _MAD * float(np.median(away)) if len(away) else np.inf
        low, high = np.clip([middle - limit, middle + limit], -most, most).astype(rows.dtype)
        wild = (row < low) | (row > high) | np.isinf(row)
        if wild.any():
            row[wild] = np.nan
            count += int(wild.sum())
    return count
