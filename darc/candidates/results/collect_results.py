"""Collection of an observation's results, which the workers write to the shared directory."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Collection, Mapping
from pathlib import Path

from darc.candidates.results.ecsv_tables import SUFFIX
from darc.candidates.results.trigger_lists import ResultFileError, read_summary, read_triggers
from darc.config.records import Struct, replace
from darc.model.arrival import ArrivalReference
from darc.model.observation import Observation
from darc.model.processing_outcome import ListedCandidate
from darc.model.results import (
    BeamResults,
    BeamState,
    Coordinates,
    ObservationResults,
    ShownCandidate,
)

log = logging.getLogger(__name__)

_CANDIDATE = re.compile(r"(TOA[-0-9.]+_DM[-0-9.]+_DS[0-9]+)_SNR[-0-9a-z]+\.(?:png|hdf5)")
#: Tolerance for differences between the clocks of nodes and file server (s).
CLOCK_SECONDS = 60.0


class ResultsRequest(Struct, frozen=True):
    """Request to collect results.

    :param directory: directory of the observation's results
    :param beams: compound beams whose workers process it
    :param since: Unix s; older files are of an earlier processing
    :param candidates: directory of the candidates of a single beam; None: in `directory`
    """

    observation: Observation
    directory: Path
    beams: tuple[int, ...]
    since: float
    arrival: ArrivalReference
    candidates: Path | None = None


def candidates_directory(results: Path, cb: int) -> Path:
    """Return the directory of the pictures and files of a compound beam's candidates."""
    return results / f"CB{cb:02d}"


def gather(
    wanted: ResultsRequest,
    coordinates: tuple[Coordinates, ...],
    dms_galaxy: Mapping[int, Mapping[str, float]],
    given_up: Collection[int],
    now: float,
) -> ObservationResults:
    """Read the results that exist.

    :param dms_galaxy: maximum DM of the Milky Way in each beam by each model, pc cm-3; the first
        model is the one that counts
    :param given_up: beams that count as failed if they have no results
    :param now: Unix s
    :raises OSError: the directory cannot be read
    """
    beams = []
    candidates: list[ShownCandidate] = []
    for cb in wanted.beams:
        beam, found = _beam(wanted, cb)
        if beam.state is BeamState.WAITING and cb in given_up:
            beam = replace(beam, state=BeamState.FAILED)
        beams.append(replace(beam, dms_galaxy=dms_galaxy.get(cb, {})))
        candidates += found
    return ObservationResults(
        observation=wanted.observation,
        done=all(beam.state is not BeamState.WAITING for beam in beams),
        beams=tuple(beams),
        coordinates=coordinates,
        candidates=tuple(candidates),
        made=now,
        arrival=wanted.arrival,
    )


def _beam(wanted: ResultsRequest, cb: int) -> tuple[BeamResults, list[ShownCandidate]]:
    summary_file = wanted.directory / f"CB{cb:02d}_summary.yaml"
    try:
        is_new = summary_file.lstat().st_mtime >= wanted.since - CLOCK_SECONDS
    except FileNotFoundError:
        is_new = False
    if not is_new:
        return BeamResults(cb, BeamState.WAITING), []
    triggers = wanted.directory / f"CB{cb:02d}_triggers.txt"
    pdf = wanted.directory / f"CB{cb:02d}.pdf"
    try:
        summary = read_summary(summary_file)
        rows = [] if summary is None else read_triggers(triggers)
    except (ResultFileError, FileNotFoundError) as error:
        log.error("beam %d counts as failed: %s", cb, error)
        summary, rows = None, []
    if summary is None:
        return BeamResults(cb, BeamState.FAILED), []
    files = pdf, triggers, triggers.with_suffix(SUFFIX), summary_file
    there = tuple(path for path in files if path.exists())
    beam = BeamResults(cb, BeamState.DONE, summary, there)
    return beam, _shown(wanted.candidates or candidates_directory(wanted.directory, cb), rows)


def _shown(directory: Path, rows: list[ListedCandidate]) -> list[ShownCandidate]:
    """Combine candidates with their pictures and files, by file name."""
    files: dict[str, dict[str, Path]] = {}
    with contextlib.suppress(FileNotFoundError):  # there are no candidate files
        # Symbolic links to a directory are not followed.
        for path in [] if directory.is_symlink() else directory.iterdir():
            if match := _CANDIDATE.fullmatch(path.name):
                # S/N may be rounded differently in the name and in the list.
                files.setdefault(match[1], {})[path.suffix] = path
    shown = []
    for row in rows:
        name = f"TOA{row.time:.4f}_DM{row.dm:.2f}_DS{row.downsampling:.0f}"
        found = files.get(name, {})
        shown.append(ShownCandidate(row, found.get(".png"), found.get(".hdf5")))
    return shown
