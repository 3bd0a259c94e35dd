"""Files that the master adds to an observation's results: info.yaml and coordinates.txt."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from darc.candidates.results.result_text_files import (
    ResultFileError,
    read_rows,
    read_text,
    read_yaml,
)
from darc.config.yaml_tree import yaml_text
from darc.model.arrival import ArrivalReference
from darc.model.observation import Observation
from darc.model.results import Coordinates
from darc.runtime.paths import write_whole

HEADER = "#CB RA Dec Gl Gb"
_BEAM = re.compile(r"\d{1,9}", re.ASCII)
_DEGREES = re.compile(r"-?\d{1,3}(\.\d{1,18})?", re.ASCII)
_LIMITS = {"RA": (0, 360), "Dec": (-90, 90), "Gl": (0, 360), "Gb": (-90, 90)}


def write_info(
    path: Path, observation: Observation, arrival: ArrivalReference | None = None
) -> None:
    """Write the description of an observation, as YAML.

    :param arrival: reference of times and widths of candidates, for a comment; None: unknown
    :raises OSError: the file cannot be written
    """
    # Escaped: PyYAML cannot read all characters that it writes unescaped.
    text = yaml_text(observation.to_plain(), width=100)
    if arrival is not None:
        text += f"# {arrival}\n"
    write_whole(path, text)


def read_info(path: Path) -> Observation:
    """Read a file written by `write_info`.

    :raises ResultFileError: the file is invalid
    :raises OSError: the file cannot be read
    """
    return read_yaml(Observation, read_text(path), path)[0]


def coordinates(
    observation: Observation,
    position: Sequence[float] | None = None,
    *,
    everything: bool = False,
) -> tuple[Coordinates, ...]:
    """Return the coordinates of the observed compound beams whose pointing is known.

    :param position: position of the telescope, ITRF, m; for pointings in hour angle, which refer to
        the middle of the observation
    :param everything: of all beams with a pointing, observed by this node or not
    :raises ValueError: pointings are in hour angle, and the position is unknown
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
        ra, dec = pointing.longitude_deg, pointing.latitude_deg
        if observation.reference_frame == "HADEC":
            if position is None:
                raise ValueError(
                    f"{observation.datetimesource}: pointings are in hour angle, which need"
                    " the telescope's position"
                )
            middle = observation.start + observation.duration / 2
            ra, dec = sky.icrs_from_hadec(ra, dec, middle, position)
        found.append(Coordinates(pointing.beam, ra % 360, dec, *sky.galactic(ra, dec)))
    return tuple(found)


def write_coordinates(
    path: Path, observation: Observation, position: Sequence[float] | None = None
) -> None:
    """Write the coordinates of the compound beams, deg, without beams of unknown pointing.

    :param position: see `coordinates`
    :raises ValueError: pointings are in hour angle, and the position is unknown
    :raises OSError: the file cannot be written
    """
    lines = [HEADER]
    for one in coordinates(observation, position):
        # Rounded to 0.04 arcsec; 360 becomes 0.
        ra, gl = (round(angle, 5) % 360 for angle in (one.ra, one.gl))
        lines.append(f"{one.cb:02d} {ra:.5f} {one.dec:.5f} {gl:.5f} {one.gb:.5f}")
    write_whole(path, "\n".join(lines) + "\n")


def read_coordinates(path: Path) -> tuple[Coordinates, ...]:
    """Read a file written by `write_coordinates`.

    :raises ResultFileError: the file is invalid
    :raises OSError: the file cannot be read
    """
    found = []
    for place, words in read_rows(path, HEADER):
        if not _BEAM.fullmatch(words["CB"]):
            raise ResultFileError(f"{place}: CB: {words['CB'][:60]!r} is no beam")
        for name, (low, high) in _LIMITS.items():
            word = words[name]
            if not _DEGREES.fullmatch(word) or not low <= float(word) <= high:
                raise ResultFileError(f"{place}: {name}: {word[:60]!r} is not {low} to {high} deg")
        angles = (float(words[name]) for name in _LIMITS)
        found.append(Coordinates(int(words["CB"]), *angles))
    return tuple(found)
