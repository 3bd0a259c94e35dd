"""Processing of candidates on a worker: clusters, their data, classification, and results.

An entry is completed in the commit that stores its clusters, one row each; the outcome of a cluster
is written to its row. A process that crashes loses no cluster, and an extraction that was in
progress is repeated.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Mapping
from typing import Any, ClassVar

from darc.candidates.cluster_table import ClusterRow, ClusterTable
from darc.candidates.injections import INJECTION_UNKNOWN, injections_of
from darc.candidates.observation_work import (
    ALL_CAME,
    BEGAN,
    COUNTS,
    SAMPLING_SAID,
    ObservationWork,
)
from darc.candidates.pool import DoneTask, Task
from darc.candidates.pool_jobs import ExtractionOutcome, ReadTriggers, WrittenResults, describe
from darc.candidates.pool_tasks import ExtractionTask, ReadingTask, ResultsTask
from darc.candidates.task_queue import TaskQueue
from darc.config.settings import ProcessorSettings
from darc.model.candidate import candidates_from_bytes
from darc.model.counters import Counted, in_words, note_latest, plain_counts
from darc.model.observation import Observation
from darc.model.processing_outcome import ClusterOutcome
from darc.node.losses import ENTRIES_DROPPED, LossKind
from darc.queues.messages import Commit, ContentKind, Put, QueueEntry
from darc.queues.plain_connection import pack, unpack
from darc.runtime.fault_points import fault_point
from darc.runtime.log import about
from darc.services.base.service import ENDED, LOOP_SECONDS, Service
from darc.services.processor.burst_findings import finding_of
from darc.services.processor.traits import TRAITS

log = logging.getLogger(__name__)

#: The service that announces bursts, on the master node.
ALERTING = "voevent_generator"
#: Longest delay of entries and orders during an extraction (s).
BUSY_SECONDS = 0.05
#: Delays between attempts to write results, as the shared directory may be away (s).
RESULT_PAUSES = (2.0, 4.0, 8.0, 16.0, 32.0)
#: Number of clusters logged by name when all open ones are given up.
LISTED = 20
#: Rows per commit.
ROWS_AT_A_TIME = 5000


NOT_EXTRACTED = LossKind(
    "candidates_not_extracted",
    "candidates were not extracted",
    "See why: the data on disk, and the log of processor. Mend it, and process the observation"
    " again with darc_process.",
)
OUT_OF_TIME = LossKind(
    "candidates_out_of_time",
    "candidates were not extracted: the time for processing was over",
    "Raise processor.processing_time_limit or processor.num_extractor, or process it again with"
    " darc_process.",
)
SAMPLED_OTHERWISE = LossKind(
    "data_sampled_otherwise",
    "data are sampled otherwise than their observation says: widths and times may be wrong",
    "Correct tsamp of the observation or the instrument: that of the search. Where the data are"
    " sampled otherwise on purpose, say so by instrument.data_tsamp.",
)
RESULTS_NOT_WRITTEN = LossKind(
    "results_not_written",
    "the results of an observation were not written",
    "Candidates stay in output_dir. Mend the shared directory; process it again with darc_process.",
)


class ProcessorManager(Service[ProcessorSettings]):
    """Service of the worker's part."""

    name = "processor"
    traits = TRAITS
    settings_type = ProcessorSettings
    attributes: ClassVar[tuple[str, ...]] = (
        "candidates_received",
        "bad_entries",
        "processing",
        "fates",
        "clusters_waiting",
        "clusters_in_work",
        "clusters_done",
    )
    loss_kinds: ClassVar[tuple[LossKind, ...]] = (
        ENTRIES_DROPPED,
        INJECTION_UNKNOWN,
        NOT_EXTRACTED,
        OUT_OF_TIME,
        SAMPLED_OTHERWISE,
        RESULTS_NOT_WRITTEN,
    )

    def prepare(self) -> None:
        """Set the counters to 0; the pool is started with the first task."""
        self.candidates_received = 0
        self.clusters_done = 0  # since this process was started
        self.fates: dict[str, dict[str, int]] = {}  # by observation, the latest ones
        self._work: dict[str, ObservationWork] = {}
        self.task_queue = TaskQueue()
        self._without: set[str] = set()  # observations whose dropped entries were logged

    @property
    def processing(self) -> dict[str, float]:
        """Observations in progress, and their start (Unix s)."""
        works = list(self._work.values())
        return {work.observation.task_id: round(work.began, 3) for work in works}

    @property
    def clusters_in_work(self) -> int:
        """Number of clusters that are being processed."""
        return sum(len(work.in_work) for work in list(self._work.values()))

    @property
    def clusters_waiting(self) -> int:
        """Number of clusters that wait for their data or for a process."""
        n_open = sum(work.table.n_open for work in list(self._work.values()))
        return max(0, n_open - self.clusters_in_work)

    # -- observations --------------------------------------------------------------------------

    def start_observation(self, observation: Observation, memory: dict[str, Any]) -> None:
        """Start, or go on with the clusters that the memory holds."""
        if not observation.proctrigger or observation.beam is None:
            why = "no compound beam" if observation.beam is None else "proctrigger is false"
            log.info("not processed: %s", why)
            self._without.add(observation.key)
            self.finish(observation)
            return
        past = self.is_past(observation)
        work = ObservationWork(observation, self.settings, self.config, memory, past=past)
        self.task_queue.make_pools(self.settings, is_idle=not self._work)
        self._work[observation.key] = work
        if BEGAN not in memory:
            self.commit(Commit(observation.key, memory=work.beginning()))
        if work.broken:
            log.error("nothing can be extracted: %s", work.broken)
        if work.past and not work.all_came:
            self._read_injections(work)
            self.task_queue.add_chore(work.reading_job())
        if len(work.table):
            log.info(
                "goes on with %d clusters, %d of them open", len(work.table), work.table.n_open
            )

    def _read_injections(self, work: ObservationWork) -> None:
        """Commit the injections of a past observation: their list may be gone at the next start."""
        memory, problems = work.read_injections()
        for problem in problems:
            log.error("%s", problem)
            self.lost(INJECTION_UNKNOWN, "an injection", problem)
        if memory:
            self.commit(Commit(work.observation.key, memory=memory))

    def stop_observation(self, observation: Observation) -> None:
        """Note when the observation was stopped."""
        work = self._work[observation.key]
        if work.stopped is None:
            self.commit(Commit(observation.key, memory=work.stop()))

    def abort_observation(self, observation: Observation) -> None:
        """Drop the observation's clusters; its tasks are ended."""
        work = self._work.pop(observation.key, None)
        if work is None:
            return
        self.task_queue.drop(observation.key)
        log.info("aborted: %d clusters were not finished", work.table.n_open)
        if entries := work.open_entries():
            self.commit(Commit(observation.key, completed=entries))

    def add_task(self, task: Task) -> None:
        """Add a task on this host; :meth:`shown` is called when it is done."""
        self.task_queue.add_chore(task)

    # -- entries -------------------------------------------------------------------------------

    def process(self, entry: QueueEntry, observation: Observation | None) -> None:
        """Cluster the entry's candidates; an end means that all have come."""
        work = self._work.get(entry.observation)
        if work is not None and entry.kind is ContentKind.END:
            self._all_came(work, (entry.id,))
            return
        try:
            if entry.kind is ContentKind.PLAIN:
                injections = injections_of(unpack(entry.content))
                memory = work.injections.add(injections) if work else {}
                self.commit(Commit(entry.observation, completed=(entry.id,), memory=memory))
                return
            if entry.kind is not ContentKind.CANDIDATES:
                raise ValueError(f"{entry.kind} where candidates are expected")
            candidates = candidates_from_bytes(entry.content)
        except ValueError as error:
            if work is None and entry.kind is ContentKind.END:
                self.commit(Commit(entry.observation, completed=(entry.id,)))
            else:
                self.drop_unusable(entry, error)
            return
        self.candidates_received += len(candidates)
        if work is None:
            if entry.observation not in self._without:
                self._without.add(entry.observation)
                log.warning("entries from %d on dropped: observation is not processed", entry.id)
            self.commit(Commit(entry.observation, completed=(entry.id,)))
            return
        work.take(entry.id, entry.watermark, candidates)
        if work.all_came:  # assumed so far
            work.close_windows(at_once=True)
        self._settle(work)

    def _all_came(self, work: ObservationWork, entries: tuple[int, ...] = ()) -> None:
        """Handle the end of the candidates."""
        work.close_windows(at_once=True)
        self._settle(work)
        work.all_came = True
        remembered = {ALL_CAME: True, COUNTS: plain_counts(work.counts)}
        self.commit(Commit(work.observation.key, completed=entries, memory=remembered))
        log.info("all came: %s, %d clusters", in_words(work.counts), len(work.table))

    def _settle(self, work: ObservationWork) -> None:
        """Commit the clusters of closed windows and the entries that they complete, in portions.

        However many windows close at once, no commit is too large, and each counts as a heartbeat.
        """
        while True:
            closed = work.closed()
            rows = work.clusters(closed)
            completed = work.completed()
            if rows or completed:
                self._enter(work, rows, {COUNTS: plain_counts(work.counts)}, completed)
            elif not closed:
                return
            self.queue_link.heartbeat_if_due()

    def _enter(
        self,
        work: ObservationWork,
        rows: Mapping[str, ClusterRow],
        memory: Mapping[str, Any],
        completed: tuple[int, ...] = (),
        puts: tuple[Put, ...] = (),
    ) -> None:
        work.remove_replaced(rows)
        remembered = {**memory, **ClusterTable.memory(rows)}
        self.commit(Commit(work.observation.key, completed, puts, memory=remembered))
        work.enter(rows)

    # -- the loop ------------------------------------------------------------------------------

    @property
    def _is_busy(self) -> bool:
        return bool(self.clusters_in_work or self.task_queue.has_chores)

    def patience(self) -> float:
        """Return how long to wait for entries: not at all while clusters can be submitted (s)."""
        return 0.0 if self._is_busy else LOOP_SECONDS

    def wait(self) -> list[QueueEntry]:
        """Return further entries; without any, wait shortly for a task to end."""
        entries = super().wait()
        if not entries and self._is_busy:
            # Short, so that no process is idle for long.
            self.task_queue.wait(BUSY_SECONDS)
        return entries

    def idle(self) -> None:
        """Take results, and submit the clusters whose data are on disk."""
        for done in self.task_queue.outcomes():
            with about(done.task.observation):
                self._take_result(done)
        for key, work in list(self._work.items()):
            with about(key):
                self._advance(work)
        self.task_queue.hand_out(self._begin)

    def _advance(self, work: ObservationWork) -> None:
        """Start the tasks that are due for an observation."""
        if not work.past and not work.all_came:
            work.close_windows(at_once=False)
            self._settle(work)
            if self._no_end_comes(work):
                log.warning("amber_listener sent no end of the observation: waiting is over")
                self._all_came(work)
        if work.broken and work.waiting:
            self._give_up(work, ClusterOutcome.FAILED, work.broken)
        for job in work.ready():
            self.task_queue.add_cluster(job)
        if not work.writing and work.is_out_of_time() and not work.is_extracted:
            self._run_out_of_time(work)
        if work.is_extracted and not work.writing and time.monotonic() >= work.not_before:
            work.writing = True
            self.task_queue.add_chore(work.results_job())

    def _no_end_comes(self, work: ObservationWork) -> bool:
        """Whether amber_listener has not sent the end entry, and will not."""
        delay = self.config.master.end_delay
        quiet = time.monotonic() - work.last_entry > delay
        return quiet and work.stopped is not None and work.stopped.age() > delay

    def _run_out_of_time(self, work: ObservationWork) -> None:
        log.warning("the time limit of processing is over: %d are left", work.table.n_open)
        self.task_queue.drop(work.observation.key)
        work.in_work.clear()
        if not work.all_came:
            self._all_came(work)
        limit = f"the limit is {work.settings.processing_time_limit:.0f} s"
        self._give_up(work, ClusterOutcome.OUT_OF_TIME, limit)

    def _give_up(self, work: ObservationWork, fate: ClusterOutcome, reason: str) -> None:
        """Give up all open clusters."""
        rows = work.given_up(fate)
        pulses = sorted((row.pulse for row in rows.values()), key=lambda one: -one.snr)
        for pulse in pulses[:LISTED]:
            log.error("%s: %s: %s", describe(pulse), fate, reason)
        if len(pulses) > LISTED:
            log.error("%d weaker ones: %s: %s", len(pulses) - LISTED, fate, reason)
        if pulses:
            kind = OUT_OF_TIME if fate is ClusterOutcome.OUT_OF_TIME else NOT_EXTRACTED
            self.lost(kind, f"the strongest: {describe(pulses[0])}", reason, len(pulses))
        self._commit_rows(work, rows)
        self._account(work, len(rows))

    def _commit_rows(self, work: ObservationWork, rows: Mapping[str, ClusterRow]) -> None:
        items = iter(rows.items())
        while some := dict(itertools.islice(items, ROWS_AT_A_TIME)):
            self._enter(work, some, {})

    def _begin(self, job: ExtractionTask) -> bool:
        """Whether a cluster is still to be extracted; it is then marked as in progress."""
        work = self._work.get(job.observation)
        if work is None or job.key in work.in_work or not work.is_current(job):
            return False  # replaced by a better one, which waits itself
        work.in_work.add(job.key)
        return True

    # -- results of tasks ----------------------------------------------------------------------

    def _take_result(self, done: DoneTask) -> None:
        work = self._work.get(done.task.observation)
        if work is None:
            return
        fault_point("processor.after a result")
        match done.task:
            case ExtractionTask():
                self._extracted(work, done.task, done)
            case ReadingTask():
                self._have_read(work, done)
            case ResultsTask():
                self._written(work, done)
            case _:
                self.shown(work, done)

    def _extracted(self, work: ObservationWork, job: ExtractionTask, done: DoneTask) -> None:
        outcome = done.result
        if not isinstance(outcome, ExtractionOutcome):
            outcome = ExtractionOutcome(job.pulse, ClusterOutcome.FAILED, done.error)
        work.in_work.discard(job.key)
        if not work.is_current(job):
            log.info("%s: a better one of the same pulse came", describe(job.pulse))
            if outcome.path:
                work.remove_file(outcome.path.name, job.key)
            return
        level = logging.ERROR if outcome.fate is ClusterOutcome.FAILED else logging.INFO
        what = " ".join(str(part) for part in (outcome.path, outcome.reason) if part)
        log.log(level, "%s: %s: %s", describe(job.pulse), outcome.fate, what)
        if outcome.fate is ClusterOutcome.FAILED:
            self.lost(NOT_EXTRACTED, describe(job.pulse), outcome.reason)
        if outcome.differs and not work.said_of_sampling:
            work.said_of_sampling = True  # of one file: the others are alike
            self.lost(SAMPLED_OTHERWISE, *outcome.differs)
        rows = {job.key: work.row_of(job, outcome)}
        said = {SAMPLING_SAID: True} if work.said_of_sampling else {}
        self._enter(work, rows, said, puts=self._findings(work, outcome))
        self._account(work, 1)

    def _findings(self, work: ObservationWork, outcome: ExtractionOutcome) -> tuple[Put, ...]:
        """Return the finding about a classified cluster, for who may have announced it."""
        config = self.config
        if ALERTING not in config.all_services():
            return ()
        finding = finding_of(work.observation, outcome, config.instrument, config.hostname)
        if finding is None:
            return ()
        content = pack([finding.to_plain()])
        return (Put((ALERTING,), ContentKind.PLAIN, content, work.observation.key),)

    def _have_read(self, work: ObservationWork, done: DoneTask) -> None:
        read = done.result
        if isinstance(read, ReadTriggers):
            for problem in read.problems:
                log.warning("%s", problem)
            work.counts.clear()
            work.counts[Counted.CANDIDATES] = read.n_candidates
            work.counts.update(read.rejected)
            if read.left_alone:
                work.counts[Counted.EARLIER_FILES] = read.left_alone
            self._commit_rows(work, work.rows(read.clusters))
        else:
            # Without a summary, the master node reports the beam as missing. Zeros would be wrong.
            log.error("no results, as the trigger files were not read: %s", done.error)
            self.lost(RESULTS_NOT_WRITTEN, "trigger files not read", done.error)
            self.end(work)
            return
        self._all_came(work)

    def _written(self, work: ObservationWork, done: DoneTask) -> None:
        """Handle the outcome of writing the results; retry for a while where that failed."""
        work.writing = False
        if isinstance(done.result, WrittenResults):
            for problem in done.result.problems:
                log.error("%s", problem)
            if work.is_extracted and work.results_job() == done.task:
                log.info("results are in %s: %s", work.results, _text(work.table.fates))
                self.brought(work)
            else:
                log.warning("candidates came while results were written: writing them again")
        else:
            self.try_again(work, "results not written", f"{work.results}: {done.error}")

    def brought(self, work: ObservationWork) -> None:
        """The results are written; to be overridden."""
        self.end(work)

    def shown(self, work: ObservationWork, done: DoneTask) -> None:
        """A task that a subclass has added is done; to be overridden."""
        raise TypeError(f"nobody knows what to do with {done.task}")

    def try_again(self, work: ObservationWork, what: str, why: str) -> None:
        """Retry later, as the directories may be away for a while."""
        if work.attempts == len(RESULT_PAUSES):
            log.error("%s, given up: %s", what, why)
            self.lost(RESULTS_NOT_WRITTEN, what, why)
            self.end(work)
            return
        log.error("%s, trying again: %s", what, why)
        work.writing = False
        work.not_before = time.monotonic() + RESULT_PAUSES[work.attempts]
        work.attempts += 1

    def end(self, work: ObservationWork) -> None:
        """Finish an observation."""
        key = work.observation.key
        self._account(work, 0)
        del self._work[key]
        memory = work.table.forgotten() | {
            ENDED: True,
            COUNTS: plain_counts(work.counts) | _text(work.table.fates),
        }
        self.commit(Commit(key, completed=work.open_entries(), memory=memory))
        self.finish(work.observation)

    def _account(self, work: ObservationWork, n_done: int) -> None:
        self.clusters_done += n_done
        note_latest(self.fates, work.observation.task_id, _text(work.table.fates))


def _text(fates: Mapping[ClusterOutcome, int]) -> dict[str, int]:
    return {str(fate): count for fate, count in fates.items() if count}
