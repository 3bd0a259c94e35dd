"""Delays by dispersion in a cold plasma.

A DM may be a number or an array; what is returned has its shape.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

#: Dispersion constant, MHz2 pc-1 cm3 s (observation.md, the instrument).
DISPERSION_CONSTANT = 4.148808e3

FloatOrArray = TypeVar("FloatOrArray", float, npt.NDArray[np.float64])


def delay(dm: FloatOrArray, f_low: float, f_high: float) -> FloatOrArray:
    """How much later a pulse arrives at ``f_low`` than at ``f_high``.

    :param dm: pc cm-3
    :param f_low: MHz
    :param f_high: MHz; may be infinite
    :return: s
    """
    return dm * (DISPERSION_CONSTANT * (f_low**-2 - f_high**-2))


def band_delay(dm: FloatOrArray, f_centre: float, bandwidth: float) -> FloatOrArray:
    """Delay across a band, from its upper to its lower edge.

    :param dm: pc cm-3
    :param f_centre: MHz
    :param bandwidth: from edge to edge, MHz
    :return: s
    """
    return delay(dm, f_centre - bandwidth / 2, f_centre + bandwidth / 2)


def dm_error(width: FloatOrArray, f_low: float, f_high: float) -> FloatOrArray:
    """DM that delays ``f_low`` against ``f_high`` by one pulse width (candidates.md).

    :param width: s
    :param f_low: MHz
    :param f_high: MHz
    :return: pc cm-3
    """
    return width / delay(1.0, f_low, f_high)


def arrival_at_centre(
    time: FloatOrArray, dm: FloatOrArray, f_centre: float, f_top: float
) -> FloatOrArray:
    """Arrival time at the centre of the band: later than at its top (candidates.md).

    :param time: arrival at the top of the band, s
    :param dm: pc cm-3
    :param f_centre: MHz
    :param f_top: upper edge of the band, MHz
    :return: s, on the clock of ``time``
    """
    return time + delay(dm, f_centre, f_top)
