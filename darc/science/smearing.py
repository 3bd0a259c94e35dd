"""What is left of a burst in a boxcar of another width, at another DM.

Without numpy, so that services that compare single triggers need not load it.
"""

from __future__ import annotations

from darc.science.dispersion import FloatOrArray

#: Resolution of a search (s), in time and in delay across the band; six digits resolve no less
#: after 1000 s.
TOLERANCE = 0.010
#: Bursts are not flat: an exponential burst has 1.75 times the S/N in a narrow boxcar.
PEAKED = 2.0


def left_in_boxcar(width: FloatOrArray, boxcar: FloatOrArray, smear: FloatOrArray) -> FloatOrArray:
    """Return the fraction of a burst's S/N in a boxcar of another width and at another DM.

    sqrt(width / boxcar) * min(boxcar / (width + smear), 1).

    :param width: width of the burst, s
    :param boxcar: width of the boxcar, s
    :param smear: smearing by the error of the DM, s
    """
    share = boxcar / (width + smear)
    share = min(share, 1.0) if isinstance(share, float) else share.clip(max=1.0)
    part: FloatOrArray = (width / boxcar) ** 0.5 * share
    return part
