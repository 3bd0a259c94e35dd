"""Whether a position with an error may lie in a beam."""

from __future__ import annotations

from collections.abc import Iterable

from darc.science.association import separation


def nearest_beam(
    position: tuple[float, float], beams: Iterable[tuple[int, float, float]]
) -> tuple[int, float] | None:
    """Return the beam whose centre is nearest to a position, and how far that is (deg).

    :param position: right ascension and declination, deg
    :param beams: number, right ascension and declination (deg) of each; the first of equal ones
    """
    apart = [(separation(*position, ra, dec), number) for number, ra, dec in beams]
    if not apart:
        return None
    distance, number = min(apart)
    return number, distance


def may_be_inside(distance: float, beam_radius: float, position_error: float) -> bool:
    """Whether the region of a position overlaps a beam: its radius, and that of the region.

    :param distance: between position and the beam's centre, deg, as are the others
    """
    return distance <= beam_radius + position_error
