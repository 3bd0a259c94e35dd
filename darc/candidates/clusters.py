"""Selection of the clusters to be extracted from candidates.

A cluster is the candidate of highest S/N in a box (:mod:`darc.candidates.cluster_boxes`); boxes are
on fixed grids, so that they do not depend on the order of arrival. Source: the project's
specification, processing.md (worker, step 1) and candidates.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from darc.candidates.cluster_boxes import ClusterBoxes
from darc.config.settings import ProcessorClustering
from darc.model.candidate import Records
from darc.model.counters import Rejection
from darc.model.processing_outcome import Detection
from darc.runtime.paths import write_whole
from darc.science.clustering import synthesised_beam_filter
from darc.science.thresholds import passing

#: Minimum number of synthesised beams for the filter on their period.
MIN_SBS = 3
HEADER = "#snr dm time downsamp sb"


def usable(
    candidates: Records, snr_min: float, n_beams: int | None
) -> tuple[Records, dict[Rejection, int]]:
    """Return the candidates to be clustered, and the number of rejected ones by reason.

    :param candidates: CANDIDATE records
    :param snr_min: lowest S/N, inclusive
    :param n_beams: number of beams; candidates of other beams are rejected; None: no limit
    """
    weak = candidates["snr"] < snr_min
    foreign = ~weak & (candidates["beam"] >= (n_beams or math.inf))
    counts = {Rejection.WEAK: int(weak.sum()), Rejection.FOREIGN: int(foreign.sum())}
    return candidates[~weak & ~foreign], {why: count for why, count in counts.items() if count}


def find_clusters(
    candidates: Records, settings: ProcessorClustering, *, n_beams: int | None, boxes: ClusterBoxes
) -> tuple[Records, Records]:
    """Cluster usable candidates, and select the clusters to be extracted.

    Among equal S/N in a box the earliest candidate is the best, whatever their order here. A burst
    may be in several boxes: :func:`listed_clusters` keeps one of them.

    :param candidates: CANDIDATE records
    :param n_beams: number of synthesised beams; None: beams are TABs
    :return: CLUSTER records; and those beyond the limits of DM and width, whose boxes have no
        cluster unless a better candidate arrives
    """
    keys = (candidates[name] for name in ("dm", "beam", "downsampling", "time"))
    candidates = candidates[np.lexsort(tuple(keys))]
    found = boxes.best(candidates, settings.snr_min_clustering)
    found = found[found["snr"] >= settings.snr_min]
    inside = passing(
        found,
        dm_min=settings.dm_min,
        dm_max=_high(settings.dm_max),
        width_max=_high(settings.width_max),
    )
    found, beyond = found[inside], found[~inside]
    if not settings.sb_filter or n_beams is None or n_beams < MIN_SBS or not len(found):
        return found, beyond
    as_the_sky = synthesised_beam_filter(
        candidates,
        found,
        period_min=settings.sb_filter_period_min,
        period_max=settings.sb_filter_period_max,
        n_beams=n_beams,
    )
    return found[as_the_sky], beyond


def listed_clusters(
    candidates: Records, settings: ProcessorClustering, *, n_beams: int | None, boxes: ClusterBoxes
) -> Records:
    """Return the clusters of all candidates that are not of the same burst as a brighter one.

    For the parameters, see :func:`find_clusters`; the brighter one may be beyond the limits.
    """
    clusters, beyond = find_clusters(candidates, settings, n_beams=n_beams, boxes=boxes)
    return clusters[~boxes.doubles(clusters, np.concatenate((clusters, beyond)))]


def _high(limit: float) -> float:
    """Upper limit that a setting stands for: a negative one, none."""
    return limit if limit >= 0 else math.inf


def pulse_of(record: np.void) -> Detection:
    """Return a cluster's best candidate."""
    return Detection(
        beam=int(record["beam"]),
        downsampling=int(record["downsampling"]),
        time=float(record["time"]),
        dm=float(record["dm"]),
        snr=float(record["snr"]),
    )


def write_clusters(path: Path, pulses: Iterable[Detection]) -> None:
    """Write a list of clusters, sorted by time.

    :raises OSError: the file cannot be written
    """
    lines = [HEADER]
    lines += [
        f"{one.snr:.2f} {one.dm:.2f} {one.time:.3f} {one.downsampling:d} {one.beam:d}"
        for one in sorted(pulses, key=lambda pulse: (pulse.time, pulse.dm))
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, "\n".join(lines) + "\n")
