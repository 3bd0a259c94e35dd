"""Probability that a candidate is of a listed source, by its position and DM.

By Bayes: a candidate is of listed source i with probability

    P_i = r f_i / (1/(A D) + r sum_j f_j),    f_i = g2(separation; s) g1(dm - dm_i; e)

and of none of them with what is left. Assumed is that

- the measured position is off by a Gaussian of deviation s in each of two directions (of a beam:
  its full width at half of its power, over 2.355), and the DM by one of deviation
  e = sqrt(error**2 + spread**2), the spread being that of a source's own DMs;
- candidates that are of no listed source lie anywhere in a field of area A, and at any DM within a
  range D, evenly;
- a listed source in the field gives r times as many candidates as everything that is not listed.

The last is a guess, and the answer moves with it: where all else agrees, odds are in proportion.
tests/science/test_source_match.py draws candidates under these assumptions, and of those with
P_i = 0.7, for instance, 70 % are of source i.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from darc.config.records import Struct
from darc.model.sources import Source
from darc.science.association import separation

#: Of candidates that are of no listed source: the width of the range of their DMs, pc cm-3.
UNLISTED_DMS = 2000.0
#: Full width of a Gaussian at half of its height, in standard deviations; and the area of one of
#: two dimensions, in squares of that width.
FWHM, GAUSSIAN_AREA = 2.3548, 1.133
#: Of a repeater or pulsar from burst to burst and year to year, pc cm-3.
DM_SPREAD = 1.0


class Measured(Struct, frozen=True):
    """What was measured of a candidate.

    :param ra: ICRS, deg
    :param dec: deg
    :param position_error: standard deviation in each direction, deg
    :param dm: pc cm-3
    :param dm_error: standard deviation, pc cm-3
    """

    ra: float
    dec: float
    position_error: float
    dm: float
    dm_error: float

    def __post_init__(self) -> None:
        if not (self.position_error > 0 and self.dm_error > 0):
            raise ValueError(
                f"errors of {self.position_error} deg and {self.dm_error} pc cm-3; allowed: above 0"
            )


class Unlisted(Struct, frozen=True):
    """What candidates of no listed source are like.

    :param area: of the field that they come from, square deg
    :param dm_range: of their DMs, pc cm-3: its width
    :param ratio: candidates of a listed source in the field for each of theirs
    """

    area: float
    dm_range: float
    ratio: float = 1.0

    def __post_init__(self) -> None:
        if not (self.area > 0 and self.dm_range > 0 and self.ratio > 0):
            raise ValueError(f"{self}; allowed: above 0")


def probabilities(
    measured: Measured,
    sources: Iterable[Source],
    unlisted: Unlisted,
    spread: float = DM_SPREAD,
) -> dict[str, float]:
    """Return the probability of each listed source; what is missing to 1 is that of none.

    :param sources: those without a position are left out
    :param spread: of a source's own DMs, pc cm-3
    :return: by name, the most probable first
    """
    error = math.hypot(measured.dm_error, spread)
    likelihoods = {
        source.name: unlisted.ratio
        * _of_position(measured, source.position)
        * math.exp(-(((measured.dm - source.dm) / error) ** 2) / 2)
        / (error * math.sqrt(2 * math.pi))
        for source in sources
        if source.position is not None
    }
    total = math.fsum(likelihoods.values()) + 1 / (unlisted.area * unlisted.dm_range)
    in_order = sorted(likelihoods.items(), key=lambda one: (-one[1], one[0]))
    return {name: likelihood / total for name, likelihood in in_order}


def match_in_beam(
    place: tuple[float, float],
    width: float,
    dm: float,
    dm_error: float,
    sources: Iterable[Source],
) -> tuple[str, float] | None:
    """Return the most probable source of a candidate of a beam, and its probability.

    The beam is the error of its position, and the field of candidates of no listed source.

    :param place: where the beam points, ICRS, deg
    :param width: of the beam, full at half of its power, deg
    :param dm: pc cm-3
    :param dm_error: standard deviation, pc cm-3
    :return: None: no source has a position
    """
    measured = Measured(*place, width / FWHM, dm, dm_error)
    unlisted = Unlisted(GAUSSIAN_AREA * width**2, UNLISTED_DMS)
    return next(iter(probabilities(measured, sources, unlisted).items()), None)


def _of_position(measured: Measured, position: tuple[float, float]) -> float:
    """Return the density of measured positions of a source, per square deg."""
    apart = separation(measured.ra, measured.dec, *position) / measured.position_error
    return math.exp(-(apart**2) / 2) / (2 * math.pi * measured.position_error**2)
