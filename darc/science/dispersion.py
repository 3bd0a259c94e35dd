"""Delays by dispersion in a cold plasma.

A DM may be a number or an array; what is returned has its shape.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from darc.model.arrival import DISPERSION_CONSTANT

__all__ = [
    "DISPERSION_CONSTANT",
    "arrival_at",
    "arrival_at_centre",
    "band_delay",
    "delay",
    "dm_error",
    "dm_halfrange",
]

#: Delay across the band of ARTS, s per pc cm-3.
_DELAY_OF_ARTS = 0.000992

#: A number or an array; the result is of the same kind.
FloatOrArray = TypeVar("FloatOrArray", float, npt.NDArray[np.float64])


def delay(dm: FloatOrArray, f_low: float, f_high: float) -> FloatOrArray:
    """How much later a pulse arrives at ``f_low`` than at ``f_high``.

    :param dm: pc cm-3
    :param f_low: MHz
    :param f_high: MHz; may be infinite
    :return: s
    """
    return dm * (DISPERSION_CONSTANT * (f_low**-2 - f_high**-2))


def dm_halfrange(fixed: float, width: float, dm: float, f_low: float, f_high: float) -> float:
    """How far the trial DMs of a candidate go on either side (docs/processing.md, S/N).

    What a difference of DM makes of a picture is the delay across the band: the range specified for
    ARTS is as wide in that elsewhere.

    :param fixed: what width and DM add to, pc cm-3
    :param width: of the pulse, s
    :param dm: of the pulse, pc cm-3
    :param f_low: centre of the lowest channel, MHz; likewise f_high, of the highest
    :return: pc cm-3
    """
    across = delay(1.0, f_low, f_high)
    # Rounded, so that it is 1 at ARTS whatever the last digits of a header.
    scale = float(f"{_DELAY_OF_ARTS / across:.3g}") if across > 0 else 1.0
    return scale * (fixed + 5e3 * width + dm / 100)


def band_delay(dm: FloatOrArray, f_centre: float, bandwidth: float) -> FloatOrArray:
    """Delay across a band, from its upper to its lower edge.

    :param dm: pc cm-3
    :param f_centre: MHz
    :param bandwidth: from edge to edge, MHz
    :return: s
    """
    return delay(dm, f_centre - bandwidth / 2, f_centre + bandwidth / 2)


def dm_error(width: FloatOrArray, f_low: float, f_high: float) -> FloatOrArray:
    """DM that delays ``f_low`` against ``f_high`` by one pulse width (docs/triggers.md).

    :param width: s
    :param f_low: MHz
    :param f_high: MHz
    :return: pc cm-3
    """
    return width / delay(1.0, f_low, f_high)


def arrival_at(time: FloatOrArray, dm: FloatOrArray, f_from: float, f_to: float) -> FloatOrArray:
    """Convert an arrival time from one frequency to another.

    The DM is the one that the time was found at: the time that a search gives moves with its trial
    DM, while that in the middle of the band stays.

    :param time: arrival at ``f_from``, s
    :param dm: pc cm-3
    :param f_from: MHz; may be infinite, as may ``f_to``
    :return: arrival at ``f_to``, s, on the clock of ``time``
    """
    return time + delay(dm, f_to, f_from)


def arrival_at_centre(
    time: FloatOrArray, dm: FloatOrArray, f_centre: float, f_reference: float
) -> FloatOrArray:
    """Arrival time at the centre of the band: later than that of a search (docs/results.md).

    :param time: arrival at ``f_reference``, s
    :param dm: pc cm-3
    :param f_centre: MHz
    :param f_reference: centre of the highest channel, MHz
    :return: s, on the clock of ``time``
    """
    return arrival_at(time, dm, f_reference, f_centre)
