"""Processing of a data file and its triggers from start to end, without a node.

The steps and their code are those of a worker: clusters, extraction in processes, results, page.
Progress is reported only through a `ProgressListener`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np

from darc.candidates.cluster_boxes import boxes_of
from darc.candidates.clusters import listed_clusters, pulse_of, usable
from darc.candidates.file_observation import CB, describe_file
from darc.candidates.pool import DoneTask, LocalPool, Task
from darc.candidates.pool_jobs import BeamFiles, BeamSky, ExtractionOutcome, ReadTriggers, describe
from darc.candidates.pool_tasks import ExtractionTask, ReadingTask, ResultsTask
from darc.candidates.results.collect_results import ResultsRequest
from darc.candidates.results.publication import Publication
from darc.candidates.results.source_matches import MatchSettings, match_settings
from darc.config.config import Config
from darc.config.records import Struct, replace
from darc.config.settings import AmberClusteringSettings, ProcessorSettings
from darc.data_files.data_file import DataFile
from darc.data_files.data_source import DataSource, absolute
from darc.data_files.open_data_file import open_data_file
from darc.model.candidate import Records
from darc.model.counters import Rejection
from darc.model.observation import Observation
from darc.model.processing_outcome import ClusterOutcome
from darc.trigger_files.trigger_tables import is_amber, read_table

#: In the output directory: the page, and the log of the processes.
SITE, LOG = "site", "darc_process.log"
_POLL_SECONDS = 0.01
#: Position of the telescope, unused for right ascensions.
_NOWHERE = (0.0, 0.0, 0.0)


class ProcessingError(Exception):
    """The processing failed; the text names the file and the problem."""


class ProgressListener(Protocol):
    """Receiver of progress reports; calls must return quickly."""

    def begin(self, step: str, total: int) -> None:
        """A step with a number of parts starts."""

    def advance(self) -> None:
        """A part is finished."""

    def say(self, text: str) -> None:
        """A message for the user."""


class FileRequest(Struct, frozen=True):
    """Request to process a file.

    :param triggers: trigger files; empty: the file is searched
    :param output: existing directory
    :param settings: section `processor`, with overrides
    :param dm_max_search: default of the highest DM of a search, pc cm-3
    :param jobs: number of processes
    :param ifs: see `open_data_file`
    """

    file: DataSource
    triggers: tuple[Path, ...]
    output: Path
    config: Config
    settings: ProcessorSettings
    dm_max_search: float
    jobs: int
    ifs: tuple[int, ...] | None = None


class FileResult(Struct, frozen=True):
    """Result of the processing of a file.

    :param fates: number of clusters per outcome
    :param failed: what failed, though the rest was done
    """

    n_raw: int
    n_clusters: int
    fates: dict[ClusterOutcome, int]
    failed: tuple[str, ...]


def process_file(request: FileRequest, listener: ProgressListener) -> FileResult:
    """Process a file.

    :raises ProcessingError: a necessary step failed
    :raises OSError: a file cannot be read or written
    :raises ValueError: a file is invalid; the text names it
    """
    with open_data_file(request.file, request.ifs) as file:
        observation = describe_file(file, request.output, listener.say)
        with (request.output / LOG).open("wb") as heard:
            work = _Work(request, observation, file, listener, heard.fileno())
            try:
                return work.do()
            finally:
                work.pool.close()


@contextmanager
def _apart(output: int) -> Iterator[None]:
    """Shield processes started within from Ctrl-C, and redirect their output."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    kept = os.dup(1)
    try:
        os.dup2(output, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Work:
    def __init__(
        self,
        request: FileRequest,
        observation: Observation,
        file: DataFile,
        listener: ProgressListener,
        heard: int,
    ) -> None:
        self.pool = LocalPool(request.jobs)
        self._boxes = boxes_of(observation, request.settings.clustering, request.config)
        self._request = request
        self._observation = observation
        self._file = file
        self._listener = listener
        self._heard = heard
        self._failed: list[str] = []
        self._arrival = replace(file.header.arrival_reference, source=observation.source)
        extractor = request.settings.extractor
        mask = extractor.rfi_mask if extractor.rfi_apply_mask else None
        self._mask = Path(mask) if mask else None
        pointing = observation.pointing(CB)
        maps = request.config.of(AmberClusteringSettings)
        shown = tuple(map(Path, maps.galaxy_maps_shown))
        self._sky = BeamSky(pointing, None, _NOWHERE, Path(maps.galaxy_map), shown)

    def do(self) -> FileResult:
        began = time.time()
        request, listener = self._request, self._listener
        listener.say(str(self._arrival))
        read = self._read() if request.triggers else self._search()
        if rejected := [f"{n} {why.words}" for why, n in read.rejected.items() if n]:
            listener.say(f"not used: {', '.join(rejected)}")
        for problem in read.problems:
            listener.say(problem)
        outcomes = self._extract(read.clusters)
        fates = Counter(outcome.fate for outcome in outcomes)
        self._write(read, outcomes, fates)
        self._publish(began)
        return FileResult(read.n_candidates, len(read.clusters), dict(fates), tuple(self._failed))

    def _run(self, tasks: Iterable[Task]) -> Iterator[DoneTask]:
        """Run tasks in parallel, started in their order; results come in any order."""
        waiting = list(tasks)[::-1]
        n_open = len(waiting)
        while n_open:
            with _apart(self._heard):
                while waiting and self.pool.free() > 0:
                    self.pool.submit(waiting.pop())
                outcomes = self.pool.outcomes()
            if not outcomes:
                time.sleep(_POLL_SECONDS)
            for done in outcomes:
                n_open -= 1
                self._listener.advance()
                yield done

    # -- candidates ----------------------------------------------------------------------------

    def _read(self) -> ReadTriggers:
        """Read all files and cluster their candidates together: AMBER writes a file per step."""
        request = self._request
        self._listener.begin("reading triggers", len(request.triggers))
        kinds = [is_amber(path) for path in request.triggers]
        if all(kinds):
            instrument = request.config.instrument
            read = ReadingTask(
                observation=self._observation.task_id,
                trigger_files=request.triggers,
                batch_length=instrument.batch_length_samples * self._observation.tsamp,
                tsamp=self._observation.tsamp,
                settings=request.settings,
                n_beams=None,
                boxes=self._boxes,
            ).run()
            for _ in request.triggers:
                self._listener.advance()
            if not read.n_candidates and any(read.rejected.values()):
                raise ProcessingError("\n".join(["no line is usable:", *read.problems]))
            return read
        if any(kinds):
            amber, other = (request.triggers[kinds.index(kind)] for kind in (True, False))
            raise ValueError(f"{amber} is of AMBER, {other} is not: one kind at a time")
        tables = []
        for path in request.triggers:
            tables.append(read_table(path, self._observation.tsamp))
            self._listener.advance()
        rejected: Counter[Rejection] = Counter()
        for table in tables:
            rejected.update(table.rejected)
        problems = tuple(problem for table in tables for problem in table.problems)
        candidates = np.concatenate([table.candidates for table in tables])
        return self._cluster(candidates, dict(rejected), problems)

    def _search(self) -> ReadTriggers:
        from darc.candidates.file_search import dm_limit, plan_search  # noqa: PLC0415 - numba

        request, file = self._request, self._file
        clustering, extractor = request.settings.clustering, request.settings.extractor
        low = max(clustering.dm_min, 0.0)
        limit = dm_limit(file.band, self._observation.duration)
        high = clustering.dm_max if clustering.dm_max >= 0 else min(request.dm_max_search, limit)
        if low > high:
            raise ValueError(
                f"{file.path}: no DM to search from {low:g} to {high:g} pc cm-3; in"
                f" {self._observation.duration:g} s a pulse crosses the band up to DM {limit:.1f}"
            )
        clip = extractor.rfi_threshold_time, extractor.rfi_n_iter_time
        parts = plan_search(
            file,
            observation=self._observation.task_id,
            dm_min=low,
            dm_max=high,
            snr_min=clustering.snr_min_clustering,
            mask=self._mask,
            clip=clip if extractor.rfi_clean_type != "none" else (clip[0], 0),
            isolated=extractor.rfi_clean_type == "isolated",
        )
        self._listener.say(f"searched for single pulses from DM {low:g} to {high:.1f}")
        if high > limit:
            self._listener.say(
                f"{file.path}: above DM {limit:.1f} a pulse takes longer to cross the band than the"
                f" file's {self._observation.duration:g} s: only a part of one can be in it"
            )
        self._listener.begin("searching", len(parts))
        found = []
        for done in self._run(parts):
            if done.error:
                raise ProcessingError(f"{done.task}: {done.error}")
            if done.result is not None:
                found.append(np.asarray(done.result))
        refused = file.refused()
        if not found:
            why = [f"{file.path}: no data to search: no channel varies", *refused]
            raise ProcessingError("\n".join(why))
        self._failed += [f"{text}; searched as zeros" for text in refused]
        if len(found) < len(parts):
            self._listener.say(
                f"{file.path}: no channel varies in {len(parts) - len(found)} of {len(parts)}"
                " parts: nothing could be searched there"
            )
        return self._cluster(np.concatenate(found), {}, ())

    def _cluster(
        self, candidates: Records, rejected: dict[Rejection, int], problems: tuple[str, ...]
    ) -> ReadTriggers:
        request = self._request
        kept, why = usable(candidates, request.settings.clustering.snr_min_clustering, None)
        clusters = listed_clusters(
            kept, request.settings.clustering, n_beams=None, boxes=self._boxes
        )
        return ReadTriggers(clusters, len(candidates), rejected | why, problems)

    # -- clusters ------------------------------------------------------------------------------

    def _extract(self, clusters: Records) -> list[ExtractionOutcome]:
        request = self._request
        pulses = sorted(map(pulse_of, clusters), key=lambda pulse: -pulse.snr)
        files = BeamFiles(request.output, CB, 1, absolute(request.file), self._file.ifs)
        jobs = [
            ExtractionTask(
                observation=self._observation.task_id,
                key=str(number),
                files=files,
                pulse=pulse,
                tabs=(0,),
                settings=request.settings,
                mask=self._mask,
                output=request.output / "data",
                beam=self._sky,
                arrival=self._arrival,
            )
            for number, pulse in enumerate(pulses)
        ]
        self._listener.begin("extracting", len(jobs))
        outcomes = []
        for done in self._run(jobs):
            outcome = done.result
            if not isinstance(outcome, ExtractionOutcome):
                assert isinstance(done.task, ExtractionTask)
                outcome = ExtractionOutcome(done.task.pulse, ClusterOutcome.FAILED, done.error)
            if outcome.fate is ClusterOutcome.FAILED:
                self._failed.append(f"{describe(outcome.pulse)}: {outcome.reason}")
            elif outcome.path and outcome.reason:
                self._failed.append(f"{outcome.path}: {outcome.reason}")
            outcomes.append(outcome)
        return outcomes

    # -- results -------------------------------------------------------------------------------

    def _write(
        self, read: ReadTriggers, outcomes: list[ExtractionOutcome], fates: Counter[ClusterOutcome]
    ) -> None:
        request = self._request
        job = ResultsTask(
            observation=self._observation.task_id,
            cb=CB,
            directory=request.output,
            clusters=request.output / request.settings.clustering.output_file,
            pulses=tuple(outcome.pulse for outcome in outcomes),
            kept=tuple((one.path, one.listed) for one in outcomes if one.path and one.listed),
            n_passed=sum(count for fate, count in fates.items() if fate.passed_thresholds),
            n_raw=read.n_candidates,
            trigger_files=(),
            settings=request.settings,
            beam=self._sky,
            searched=True,
            offered=False,
            arrival=self._arrival,
        )
        # Not in the pool, which reports no progress before the end.
        from darc.candidates.write_results import write_results  # noqa: PLC0415 - matplotlib

        self._listener.begin("drawing", len(job.kept))
        self._failed += write_results(job, self._listener.advance).problems

    def _matching(self) -> MatchSettings:
        """Return what candidates are matched with, as in real time, in the file's only beam."""
        config = self._request.config
        lists = config.of(AmberClusteringSettings).match_files
        found = replace(match_settings(lists, config.instrument), by_candidate_beam=False)
        if self._sky.pointing is not None and lists:
            self._listener.say(
                f"matched with known sources in a beam of {found.beam_width:.2f} deg:"
                " the instrument's of the configuration"
            )
        return found

    def _publish(self, began: float) -> None:
        publication = Publication(
            wanted=ResultsRequest(
                self._observation,
                self._request.output,
                (CB,),
                began,
                self._arrival,
                self._request.output / "data",
            ),
            site=self._request.output / SITE,
            position=_NOWHERE,
            galaxy_map=self._sky.galaxy_map,
            more_maps=self._sky.more_maps,
            in_place=True,
            matching=self._matching(),
        )
        self._listener.begin("writing the page", 1)
        self._failed += publication.update().problems
        self._listener.advance()


def remove_unfinished(output: Path) -> None:
    """Remove incomplete files of processes that were stopped."""
    for directory in (output, output / "data", output / f"CB{CB:02d}"):
        for path in directory.glob(".*.new"):
            with contextlib.suppress(OSError):  # hidden, and not used
                path.unlink()
