"""Whether two bursts are of the same source, by their positions and DMs."""

from __future__ import annotations

import math

#: Bursts below this are taken to be of different sources.
LEAST_PROBABILITY = 0.05
#: Of a source's DM from burst to burst, beside the errors (pc cm-3): by its surroundings, and by
#: drift of the burst in frequency, which a search takes for dispersion.
DM_SCATTER = 2.0


def separation(ra: float, dec: float, other_ra: float, other_dec: float) -> float:
    """Return the angle between two directions, deg.

    :param ra: deg, as are the others
    """
    one, other = math.radians(dec), math.radians(other_dec)
    # Haversine, which is exact for small angles.
    half = math.sin((one - other) / 2) ** 2
    half += math.cos(one) * math.cos(other) * math.sin(math.radians(ra - other_ra) / 2) ** 2
    return math.degrees(2 * math.asin(min(1.0, math.sqrt(half))))


def association_probability(
    distance: float, position_error: float, dm_difference: float, dm_error: float
) -> float:
    """Return how well two bursts agree: from 1, the same place and DM, to 0.

    exp(-(x^2 + y^2) / 2), with distance and difference of DM in units of their errors: the
    likelihood that one source gives such a difference, relative to none. How many other sources
    there may be is not part of it.

    :param distance: deg
    :param position_error: of both, deg
    :param dm_difference: pc cm-3
    :param dm_error: of both, pc cm-3; `DM_SCATTER` is added
    """
    if distance and not position_error:
        return 0.0
    x = distance / position_error if distance else 0.0
    y = dm_difference / math.hypot(dm_error, DM_SCATTER)
    return math.exp(-(x * x + y * y) / 2)
