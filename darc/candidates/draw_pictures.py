"""Pictures of candidates, drawn by the process that extracts them, and moved to the results."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from darc.candidates.beam_max_dm import dms_galaxy
from darc.candidates.pool_jobs import BeamSky
from darc.candidates.results.pictures import Pictures
from darc.config.settings import ProcessorVisualizer
from darc.model.arrival import ArrivalReference
from darc.model.processing_outcome import ProcessedCandidate
from darc.runtime.paths import write_whole

_pictures = cache(Pictures)


def draw(
    file: Path,
    candidate: ProcessedCandidate,
    settings: ProcessorVisualizer,
    beam: BeamSky,
    reference: ArrivalReference,
) -> str:
    """Draw the picture of a candidate beside its file; return the error text, empty on success.

    :param beam: for the maximum DM of the Milky Way
    """
    try:
        try:
            galaxy = next(iter(dms_galaxy(beam).values()), None)
        except (OSError, ValueError):
            galaxy = None  # the pages of plots report why
        _pictures(settings, galaxy, reference).write(file.with_suffix(".png"), candidate)
    except Exception as error:  # the candidate is kept without a picture
        return f"no picture: {type(error).__name__}: {error}"
    return ""


def offer(directory: Path, files: Sequence[Path]) -> None:
    """Copy candidates to the directory of results and move their pictures there; remove all else.

    :param directory: candidates of this beam in the directory of results
    :raises OSError: a file cannot be written
    """
    directory.mkdir(parents=True, exist_ok=True)
    pictures = [file.with_suffix(".png") for file in files]
    wanted = {path.name for path in (*files, *pictures)}
    for path in directory.iterdir():
        if path.name not in wanted:
            path.unlink()
    for path in (*files, *pictures):
        if path.exists():
            write_whole(directory / path.name, path.read_bytes())
            shutil.copystat(path, directory / path.name)
    for path in filter(Path.exists, pictures):
        path.unlink()
