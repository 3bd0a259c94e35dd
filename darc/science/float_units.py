"""Float samples in units so large or small that squares of them do not fit into 32 bits.

Of a deviation of 1e-20 (a power in W, say), the variance is no normal number of float32; of 1e20,
it is infinite. Either would have a channel taken for a constant one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

#: Deviations that are left as they are.
_LEAST, _MOST = 1e-12, 1e12
#: Samples of a channel that are looked at.
_TAKEN = 64


def exponent_to_usual(rows: npt.NDArray[Any]) -> int:
    """Return by which power of two samples become usual ones; 0: they are.

    To multiply by it (`numpy.ldexp`) rounds nothing.

    :param rows: shape (n, m), a channel each; NaN: missing. Integers are usual
    """
    if rows.dtype.kind != "f":
        return 0
    deviations = []
    for row in rows:
        some = row[:: max(1, len(row) // _TAKEN)].astype(np.float64)
        some = some[np.isfinite(some)]
        away = np.abs(some - np.median(some)) if len(some) else some
        away = away[away > 0]
        if len(away):
            deviations.append(float(np.median(away)))
    if not deviations:
        return 0
    usual = float(np.median(deviations))
    return 0 if _LEAST <= usual <= _MOST else -round(float(np.log2(usual)))
