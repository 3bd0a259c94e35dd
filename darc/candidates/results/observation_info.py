"""Files that the master adds to an observation's results: info.yaml and coordinates.txt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from darc.config.yaml_tree import yaml_text
from darc.model.arrival import ArrivalReference
from darc.model.observation import Observation
from darc.model.results import Coordinates
from darc.runtime.paths import write_whole

HEADER = "#CB RA Dec Gl Gb"


def write_info(path: Path, observation: Observation, arrival: ArrivalReference) -> None:
    """Write the description of an observation, as YAML.

    :param arrival: reference of times and widths of candidates, for a comment
    :raises OSError: the file cannot be written
    """
    # Escaped: PyYAML cannot read all characters that it writes unescaped.
    write_whole(path, f"{yaml_text(observation.to_plain(), width=100)}# {arrival}\n")


def coordinates(
    observation: Observation, position: Sequence[float], *, everything: bool = False
) -> tuple[Coordinates, ...]:
    """Return the coordinates of the observed compound beams whose pointing is known.

    :param position: position of the telescope, ITRF, m; for pointings in hour angle, which refer to
        the middle of the observation
    :param everything: of all beams with a pointing, observed by this node or not
    """
    pointings = [entry for beam in observation.beams if (entry := observation.pointing(beam))]
    if everything:
        pointings = list(observation.pointings)
    if not pointings:
        return ()
    # numpy and ERFA, for those alone that have pointings
    from darc.science import sky  # noqa: PLC0415

    found = []
    for pointing in pointings:
        ra, dec = sky.icrs_of(pointing, observation.hour_angle_at, position)
        found.append(Coordinates(pointing.beam, ra % 360, dec, *sky.galactic(ra, dec)))
    return tuple(found)


def write_coordinates(path: Path, observation: Observation, position: Sequence[float]) -> None:
    """Write the coordinates of the compound beams, deg, without beams of unknown pointing.

    :param position: see `coordinates`
    :raises OSError: the file cannot be written
    """
    lines = [HEADER]
    for one in coordinates(observation, position):
        # Rounded to 0.04 arcsec; 360 becomes 0.
        ra, gl = (round(angle, 5) % 360 for angle in (one.ra, one.gl))
        lines.append(f"{one.cb:02d} {ra:.5f} {one.dec:.5f} {gl:.5f} {one.gb:.5f}")
    write_whole(path, "\n".join(lines) + "\n")
