"""Dispersion delays in a cold plasma.

Where a parameter may be a number or an array, the result has its shape.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

from darc.model.arrival import DISPERSION_CONSTANT

__all__ = [
    "DISPERSION_CONSTANT",
    "arrival_at",
    "arrival_at_centre",
    "delay",
    "dm_error",
    "dm_halfrange",
]

#: Delay across the band of ARTS, s per pc cm-3.
_DELAY_OF_ARTS = 0.000992

#: A number or an array; the result is of the same kind.
FloatOrArray = TypeVar("FloatOrArray", float, "npt.NDArray[np.float64]")


def delay(dm: FloatOrArray, f_low: float, f_high: float) -> FloatOrArray:
    """Return the dispersion delay of ``f_low`` relative to ``f_high``.

    K * DM * (f_low^-2 - f_high^-2), with K = DISPERSION_CONSTANT.

    :param dm: pc cm-3
    :param f_low: MHz
    :param f_high: MHz; may be infinite
    :return: s
    """
    return dm * (DISPERSION_CONSTANT * (f_low**-2 - f_high**-2))


def dm_halfrange(fixed: float, width: float, dm: float, f_low: float, f_high: float) -> float:
    """Return the half-range of the trial DMs of a candidate (docs/processing.md, S/N).

    For ARTS: fixed + 5000 * width + dm / 100. For another band, this is scaled so that the range
    corresponds to the same delay across the band.

    :param fixed: constant part, pc cm-3
    :param width: pulse width, s
    :param dm: DM of the pulse, pc cm-3
    :param f_low: centre of the lowest channel, MHz
    :param f_high: centre of the highest channel, MHz
    :return: pc cm-3
    """
    across = delay(1.0, f_low, f_high)
    # Rounded, so that it is 1 for ARTS despite rounding errors of a header.
    scale = float(f"{_DELAY_OF_ARTS / across:.3g}") if across > 0 else 1.0
    return scale * (fixed + 5e3 * width + dm / 100)


def dm_error(width: FloatOrArray, f_low: float, f_high: float) -> FloatOrArray:
    """Return the DM whose delay from ``f_high`` to ``f_low`` is one pulse width (docs/triggers.md).

    :param width: s
    :param f_low: MHz
    :param f_high: MHz
    :return: pc cm-3
    """
    return width / delay(1.0, f_low, f_high)


def arrival_at(time: FloatOrArray, dm: FloatOrArray, f_from: float, f_to: float) -> FloatOrArray:
    """Convert an arrival time from one frequency to another.

    Use the DM at which the time was measured: the arrival time of a search depends on its trial DM,
    that at the centre of the band does not.

    :param time: arrival time at ``f_from``, s
    :param dm: pc cm-3
    :param f_from: MHz; may be infinite, as may ``f_to``
    :param f_to: MHz
    :return: arrival time at ``f_to``, s, in the time system of ``time``
    """
    return time + delay(dm, f_to, f_from)


def arrival_at_centre(
    time: FloatOrArray, dm: FloatOrArray, f_centre: float, f_reference: float
) -> FloatOrArray:
    """Return the arrival time at the centre of the band, from that of a search (docs/results.md).

    :param time: arrival time at ``f_reference``, s
    :param dm: pc cm-3
    :param f_centre: MHz
    :param f_reference: centre of the highest channel, MHz
    :return: s, in the time system of ``time``
    """
    return arrival_at(time, dm, f_reference, f_centre)
