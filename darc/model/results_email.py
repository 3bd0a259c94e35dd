"""E-mails about an observation's results (docs/results.md)."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from darc.model.observation import Observation
from darc.model.processing_outcome import ListedCandidate, ProcessingSummary
from darc.model.results import BeamResults, BeamState, ObservationResults, SourceMatch

_COUNTS = (
    ("ncand_raw", "candidates of the search"),
    ("ncand_post_clustering", "clusters"),
    ("ncand_post_thresholds", "of these above the thresholds"),
    ("ncand_post_classifier", "of these kept by the classifier"),
)


def results_email(results: ObservationResults, max_listed: int, page: str) -> tuple[str, str]:
    """Return subject and text of the e-mail with an observation's results.

    :param max_listed: most candidates to list
    :param page: address of the results page
    """
    observation = results.observation
    kept = sorted(
        (one.listed for one in results.candidates), key=lambda one: (-one.probability, -one.snr)
    )
    lines = [*_about(observation), ""]
    lines += [_count(results, name, label) for name, label in _COUNTS]
    done = sum(beam.state is BeamState.DONE for beam in results.beams)
    lines += ["", f"{done} of {len(results.beams)} compound beams were processed."]
    failed = [f"CB{beam.cb:02d}" for beam in results.beams if beam.state is BeamState.FAILED]
    if failed:
        lines.append(f"Not processed: {' '.join(failed)}")
    if results.coordinates:
        lines += ["", "CB   RA (deg)   Dec (deg)  Gl (deg)   Gb (deg)   DM of the Milky Way"]
        galaxy = {beam.cb: beam for beam in results.beams}
        lines += [
            f"{one.cb:02d}  {one.ra:10.5f} {one.dec:10.5f} {one.gl:10.5f} {one.gb:10.5f}"
            f"   {_galactic(galaxy.get(one.cb))}"
            for one in results.coordinates
        ]
    matched = {one.listed: one.source for one in results.candidates if one.source}
    lines += ["", *_candidates(kept, max_listed, matched)]
    if kept and results.arrival is not None:
        lines += ["", *str(results.arrival).split("; ")]
    lines += ["", f"All of it: {page}"]
    subject = f"{len(kept)} candidate{'' if len(kept) == 1 else 's'}: {observation.datetimesource}"
    return f"DARC results: {subject}", "\n".join(lines) + "\n"


def _galactic(beam: BeamResults | None) -> str:
    """Return the Milky Way's DM by each model, the one that counts first."""
    if beam is None or len(beam.dms_galaxy) < 2:
        return _dm(None if beam is None else beam.dm_galaxy)
    return ", ".join(f"{_dm(dm)} ({model})" for model, dm in beam.dms_galaxy.items())


def missing_email(
    observation: Observation, missing: Mapping[int, str], directory: Path, waited: float
) -> tuple[str, str]:
    """Return subject and text of the e-mail about missing results.

    :param missing: compound beams, and the state of their workers
    :param directory: directory of the results
    :param waited: time since the observation was stopped (s)
    """
    lines = [
        *_about(observation),
        "",
        f"No results after {waited:.0f} s, and nobody works on them:",
        *(f"  CB{cb:02d}  {why}" for cb, why in sorted(missing.items())),
        "",
        "Where a worker will not come back, have its beam count as failed:",
        "",
    ]
    lines += [
        f"  : > {shlex.quote(str(directory / f'CB{cb:02d}_summary.yaml'))}"
        for cb in sorted(missing)
    ]
    lines += ["", "The results of the others are waiting for that."]
    beams = " ".join(f"CB{cb:02d}" for cb in sorted(missing))
    return f"DARC results missing: {beams}, {observation.datetimesource}", "\n".join(lines) + "\n"


def _about(observation: Observation) -> list[str]:
    start = datetime.fromtimestamp(observation.start, UTC)
    return [
        f"Observation  {observation.datetimesource}",
        f"Task id      {observation.task_id}",
        f"Source       {observation.source}",
        f"Start        {start:%Y-%m-%d %H:%M:%S} UTC",
        f"Duration     {observation.duration:.0f} s",
    ]


def _count(results: ObservationResults, name: str, label: str) -> str:
    """Return a line with a count, summed over the beams that report it."""
    summaries: list[ProcessingSummary] = [beam.summary for beam in results.beams if beam.summary]
    known = [count for one in summaries if (count := getattr(one, name)) >= 0]
    return f"{sum(known) if known else 'unknown':>10} {label}"


def _source(match: SourceMatch | None) -> str:
    return "" if match is None else f"  {match.name} ({match.probability:.2f})"


def _dm(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f} pc cm-3"


def _candidates(
    kept: list[ListedCandidate], max_listed: int, matched: Mapping[ListedCandidate, SourceMatch]
) -> list[str]:
    if not kept or not max_listed:
        return [] if kept else ["No candidates."]
    header = "cb     snr       dm       time   downsamp  sb   p"
    lines = [f"{header}  may be of (probability)" if matched else header]
    lines += [
        f"{one.cb:02d} {one.snr:7.2f} {one.dm:8.2f} {one.time:10.4f}"
        f" {one.downsampling:10d} {one.beam:3d} {one.probability:4.2f}"
        f"{_source(matched.get(one))}"
        for one in kept[:max_listed]
    ]
    if len(kept) > max_listed:
        lines.append(f"and {len(kept) - max_listed} more")
    return lines
