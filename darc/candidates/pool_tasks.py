"""Jobs as tasks for a pool.

A task imports its dependencies when it runs, in the process that runs it.
"""

from __future__ import annotations

from darc.candidates.pool_jobs import (
    ExtractionJob,
    ExtractionOutcome,
    ReadingJob,
    ReadTriggers,
    ResultsJob,
    WrittenResults,
)


class ExtractionTask(ExtractionJob, frozen=True):
    """Extraction and scoring of a cluster."""

    def run(self) -> ExtractionOutcome:
        """Extract, score and write the candidate."""
        from darc.candidates.extract_cluster import extract_candidate  # noqa: PLC0415 - numba

        return extract_candidate(self)


class ReadingTask(ReadingJob, frozen=True):
    """Reading and clustering of the candidates of a past observation."""

    def run(self) -> ReadTriggers:
        """Read and cluster the triggers."""
        from darc.candidates.past_triggers import read_and_cluster  # noqa: PLC0415

        return read_and_cluster(self)


class ResultsTask(ResultsJob, frozen=True):
    """Writing of the results of an observation, after all extractions."""

    def run(self) -> WrittenResults:
        """Write the observation's plots, list and summary."""
        from darc.candidates.write_results import write_results  # noqa: PLC0415 - matplotlib

        return write_results(self)
