"""Known repeaters in the field: clusters near their DM, with a lower S/N threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from darc.candidates.cluster_boxes import ClusterBoxes
from darc.candidates.clusters import pulse_of, write_clusters
from darc.candidates.pool_jobs import BeamFiles, ExtractionOutcome, describe
from darc.candidates.pool_tasks import ExtractionTask
from darc.candidates.results.ecsv_tables import SUFFIX, write_candidate_table, write_cluster_table
from darc.candidates.results.plots import write_plots
from darc.candidates.results.trigger_lists import write_triggers
from darc.config.records import replace
from darc.config.settings import ProcessorSettings
from darc.model.arrival import ArrivalReference
from darc.model.candidate import CANDIDATE, Records
from darc.model.processing_outcome import ClusterOutcome, Detection
from darc.model.sources import Source
from darc.science.association import separation
from darc.science.clustering import cluster
from darc.science.synthesised_beam import SynthesisedBeams
from darc.trigger_files.amber import AmberLines
from darc.trigger_files.trigger_file import TriggerFile

#: Maximum number of plotted clusters, the strongest; more indicate interference.
MAX_PLOTTED = 500


def is_in_field(source: Source, pointing: tuple[float, float], radius: float) -> bool:
    """Whether a source is within a beam; not, if its position is unknown.

    :param pointing: right ascension and declination (ICRS), deg
    :param radius: radius of the beam, deg
    """
    return source.position is not None and separation(*source.position, *pointing) <= radius


def read_candidates(
    files: Sequence[Path],
    *,
    dm: float,
    dm_range: float,
    snr_min: float,
    batch_length: float,
    tsamp: float,
) -> tuple[Records, list[str]]:
    """Read AMBER's candidates near a DM.

    :param files: trigger files
    :param dm: pc cm-3
    :param dm_range: maximum difference, pc cm-3
    :param snr_min: lowest S/N, inclusive
    :param batch_length: length of AMBER's batches, s
    :param tsamp: s
    :return: CANDIDATE records, and the problems of files
    """
    found: list[Records] = [np.empty(0, CANDIDATE)]
    problems: list[str] = []
    for path in files:
        file = TriggerFile(path, AmberLines(batch_length, tsamp))
        try:
            chunks = list(file.read_all())
        except OSError as error:
            problems.append(f"{path} cannot be read: {error}")
            continue
        for chunk in chunks:
            records = chunk.candidates
            near = np.abs(records["dm"] - dm) <= dm_range
            found.append(records[near & (records["snr"] >= snr_min)])
            if chunk.first_rejected:
                problems.append(chunk.first_rejected)
    return np.concatenate(found), problems


def clusters_near(candidates: Records, *, boxes: ClusterBoxes, snr_min: float) -> list[Detection]:
    """Return the best narrow and the best wide candidate of each time window, all near one DM.

    A burst that is detected in several windows, or is part of a wider one, is listed once.

    :param candidates: CANDIDATE records
    :param snr_min: lowest S/N, inclusive
    """
    if not len(candidates):
        return []
    top = float(candidates["dm"].max())
    edges = np.array([0.0, math.floor(top) + 1.0])
    parts = [
        cluster(part, snr_min=snr_min, dm_edges=edges, time_window=boxes.window, time_origin=0.0)
        for part in boxes.by_width(candidates)
    ]
    found = np.concatenate(parts)
    found = found[~boxes.doubles(found, found)]
    return sorted(map(pulse_of, found), key=lambda pulse: pulse.time)


def plot_clusters(
    observation: str,
    name: str,
    pulses: Sequence[Detection],
    *,
    files: BeamFiles,
    tabs: SynthesisedBeams | None,
    settings: ProcessorSettings,
    mask: Path | None,
    output: Path,
    base: Path,
    arrival: ArrivalReference,
) -> list[str]:
    """Extract and plot clusters, whatever their probabilities.

    :param observation: task ID
    :param name: name of the source
    :param tabs: TABs of the synthesised beams; None: the pulses' beams are TABs
    :param mask: channel-mask file; None: all channels are used
    :param output: directory for the candidates' files
    :param base: path of the results without its suffix
    :return: what could not be plotted
    :raises OSError: the results cannot be written
    """
    lenient = replace(
        settings,
        extractor=replace(
            settings.extractor, snr_min_local=-math.inf, snr_dm0_filter=False, files_for=()
        ),
        classifier=replace(settings.classifier, thresh_freqtime=-1.0, thresh_dmtime=-1.0),
    )
    problems: list[str] = []
    if len(pulses) > MAX_PLOTTED:
        problems.append(f"{name}: {len(pulses)} clusters; the {MAX_PLOTTED} strongest are plotted")
    kept: list[ExtractionOutcome] = []
    for number, pulse in enumerate(sorted(pulses, key=lambda one: -one.snr)[:MAX_PLOTTED]):
        beams = (pulse.beam,) if tabs is None else _row(tabs, pulse.beam)
        job = ExtractionTask(
            observation,
            f"{name} {number}",
            files,
            pulse,
            beams,
            lenient,
            mask,
            output,
            arrival=arrival,
        )
        outcome = (
            job.run()
            if beams
            else ExtractionOutcome(pulse, ClusterOutcome.FAILED, f"no SB {pulse.beam}")
        )
        if outcome.path is None:
            problems.append(f"{describe(pulse)}: {outcome.fate}: {outcome.reason}")
        else:
            kept.append(outcome)
    paths = list(dict.fromkeys(one.path for one in kept if one.path))
    pdf = base.with_name(f"{base.name}.pdf")
    problems += write_plots(pdf, paths, settings.visualizer, None, arrival)
    rows = [one.listed for one in kept if one.listed]
    write_triggers(base.with_name(f"{base.name}_triggers.txt"), rows)
    write_candidate_table(base.with_name(f"{base.name}_triggers{SUFFIX}"), rows, arrival)
    return problems


def _row(tabs: SynthesisedBeams, beam: int) -> tuple[int, ...]:
    return tuple(tabs[beam].tolist()) if 0 <= beam < len(tabs) else ()


def write_list(base: Path, pulses: Sequence[Detection], arrival: ArrivalReference) -> None:
    """Write clusters in the format of grouped_pulses.singlepulse, and as an ECSV table.

    :param base: path without its suffix
    :raises OSError: a file cannot be written
    """
    write_clusters(base.with_name(f"{base.name}.singlepulse"), pulses)
    write_cluster_table(base.with_name(f"{base.name}{SUFFIX}"), pulses, arrival)
