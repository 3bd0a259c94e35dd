"""The beam nearest to a position."""

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
