"""Trigger files of a past observation: read completely, then clustered."""

from __future__ import annotations

import contextlib
from collections import Counter
from pathlib import Path

import numpy as np

from darc.candidates.clusters import listed_clusters, usable
from darc.candidates.pool_jobs import ReadingJob, ReadTriggers
from darc.model.candidate import CANDIDATE, Records
from darc.model.counters import Rejection, in_words
from darc.runtime.untrusted_files import open_regular
from darc.trigger_files.amber import AmberLines, Columns
from darc.trigger_files.followed_files import finished_files
from darc.trigger_files.trigger_file import TriggerFile

#: Bytes within which the header is, if there is one.
_HEADER_WITHIN = 2**20
_PROBLEMS_TOLD = 20
_NAMES_TOLD = 3


def read_and_cluster(job: ReadingJob) -> ReadTriggers:
    """Read all files and cluster their candidates, as during an observation."""
    found: list[Records] = []
    rejected: Counter[Rejection] = Counter()
    problems: list[str] = []
    n_candidates, snr_min = 0, job.settings.clustering.snr_min_clustering
    files, left_alone = _files(job)
    if left_alone:
        names = ", ".join(left_alone[:_NAMES_TOLD])
        problems.append(f"files of other observations, left alone: {len(left_alone)} ({names})")
    for file in files:
        try:
            for chunk in file.read_all(finished=True):
                n_candidates += len(chunk.candidates)
                rejected.update(chunk.rejected)
                if chunk.first_rejected and len(problems) < _PROBLEMS_TOLD:
                    why = in_words(chunk.rejected)
                    problems.append(f"{chunk.first_rejected}; rejected: {why}")
                candidates = chunk.candidates
                if job.injections:
                    injected = job.injections.mask(candidates)
                    candidates = candidates[~injected]
                    rejected[Rejection.INJECTED] += int(injected.sum())
                kept, unused = usable(candidates, snr_min, job.n_beams)
                found.append(kept)
                rejected.update(unused)
        except OSError as error:
            problems.append(f"{file.path} cannot be read: {error}")
    clusters = listed_clusters(
        np.concatenate(found) if found else np.empty(0, CANDIDATE),
        job.settings.clustering,
        n_beams=job.n_beams,
        boxes=job.boxes,
    )
    return ReadTriggers(clusters, n_candidates, dict(+rejected), tuple(problems), len(left_alone))


def _files(job: ReadingJob) -> tuple[list[TriggerFile], list[str]]:
    """Return the files of a job, and the names of those that are other observations'.

    :raises OSError: its directory cannot be read
    """
    if job.source is not None:
        return finished_files(job.source)
    files = [
        TriggerFile(path, AmberLines(job.batch_length, job.tsamp)) for path in job.trigger_files
    ]
    return files, []


def has_header(path: Path) -> bool:
    """Whether a trigger file has a header: AMBER has started its search."""
    try:
        with open_regular(path) as file:
            begin = file.read(_HEADER_WITHIN)
    except OSError:
        return False
    for line in begin.splitlines():
        if line.startswith(b"#"):
            with contextlib.suppress(ValueError):  # a remark
                Columns.from_header(line)
                return True
    return False
