"""Requests raw-data dumps of triggers from dada_dbevent.

A request that dada_dbevent refuses is retried as long as any of its data are in the ring buffer.
Each attempt is committed before it is made: if the process crashes before the outcome is committed,
the request is sent again, and the repetition is counted. dada_dbevent skips data that it has
already read. A request committed as sent or given up is not sent again.

How old data are does not follow a clock that is set: see `arrival_time` of dump_jobs.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import Any, ClassVar

from darc.config.records import Struct
from darc.model.counters import NotRequested, TriggerOutcome
from darc.model.observation import Observation, task_id_of
from darc.model.trigger import Trigger
from darc.node.losses import LossKind
from darc.queues.messages import Commit, ContentKind, QueueEntry
from darc.runtime.clock import Instant, Since
from darc.runtime.fault_points import fault_point
from darc.runtime.log import about
from darc.science.dump_window import DumpWindow
from darc.services.base.service import LOOP_SECONDS
from darc.services.base.trigger_consumer import TriggerConsumer, plain_times
from darc.services.dada_trigger import polcal
from darc.services.dada_trigger.dump_jobs import (
    DumpJob,
    TriggerGroup,
    arrival_time,
    dump_name,
    make_jobs,
    next_in_line,
)
from darc.services.dada_trigger.dump_port import SentRequest, request_dump
from darc.services.dada_trigger.settings import DadaTriggerSettings
from darc.services.dada_trigger.traits import TRAITS
from darc.services.dada_trigger.unread_dumps import UnreadDumps, UnreadRequest

log = logging.getLogger(__name__)

DUMP = "dump "
BEGUN = "begun"
ASKED = "asked"
RETRY_SECONDS = 0.05

DUMP_TOO_LATE = LossKind(
    "dump_too_late",
    "raw data of a trigger were not kept: dada_dbevent took no request in time",
    "Start dada_dbevent on this host; see that dada_trigger.port_iquv, port_i and buffer_length"
    " are those of the ring buffer.",
)
DUMP_NOT_CONFIRMED = LossKind(
    "dump_not_confirmed",
    "raw data of a trigger were probably not kept: dada_dbevent did not read the request in time",
    "dada_dbevent on this host hangs, or copies for too long: look at its log, restart it.",
)
DUMPS_TOO_MANY = LossKind(
    "dumps_too_many",
    "raw data of triggers were not asked for: too many at once",
    "The strongest were asked for. Look for interference; raise amber_clustering.thresh_iquv.",
)


class DumpObservation(Struct):
    """State of an observation.

    :param begun: when the service learned of it
    :param page: length of a page of its raw data (samples)
    :param asked: number of attempts, by dump
    :param finished: dumps whose outcome is committed
    :param by_clock: dumps of a calibrator that are still to come, with their names
    :param gathered: triggers without a request so far
    :param end: the entry that ends the observation
    """

    observation: Observation
    settings: DadaTriggerSettings
    begun: Since
    page: int
    asked: dict[str, int]
    finished: set[str]
    by_clock: list[tuple[str, DumpWindow]]
    gathered: TriggerGroup | None = None
    end: QueueEntry | None = None


class DADATrigger(TriggerConsumer[DadaTriggerSettings]):
    """Service that requests dumps of IQUV and Stokes I data."""

    name = "dada_trigger"
    traits = TRAITS
    settings_type = DadaTriggerSettings
    outward = True
    attributes: ClassVar[tuple[str, ...]] = (*TriggerConsumer.attributes, "waiting")
    loss_kinds = (
        *TriggerConsumer.loss_kinds,
        DUMP_TOO_LATE,
        DUMP_NOT_CONFIRMED,
        DUMPS_TOO_MANY,
    )

    def prepare(self) -> None:
        """Start without dumps."""
        super().prepare()
        self._work: dict[str, DumpObservation] = {}
        self._jobs: list[DumpJob] = []
        self._unread = UnreadDumps()
        self._needed: Counter[int] = Counter()  # by entry, the number of groups it is in

    @property
    def waiting(self) -> int:
        """Number of requests that dada_dbevent has not accepted yet."""
        return len(self._jobs)

    # -- observations --------------------------------------------------------------------------

    def start_observation(self, observation: Observation, memory: dict[str, Any]) -> None:
        """Go on with the dumps that the memory holds."""
        dumps = {key: value for key, value in memory.items() if key.startswith(DUMP)}
        asked = {key: int(row["asked"]) for key, row in dumps.items()}
        finished = {key for key, row in dumps.items() if row.get("outcome") != ASKED}
        begun = Since.from_plain(memory[BEGUN]) if BEGUN in memory else Since.now()
        if BEGUN not in memory:
            self.commit(Commit(observation.key, memory={BEGUN: begun.to_plain()}))
        page = self.config.instrument.batch_length_samples
        by_clock: list[tuple[str, DumpWindow]] = []
        if polcal.is_polcal(observation):
            windows = polcal.schedule(observation, self.settings, page)
            by_clock = [
                (name, window)
                for name, window in ((f"polcal {n}", window) for n, window in enumerate(windows, 1))
                if DUMP + name not in finished
            ]
            log.info(
                "polarisation calibrator: %d dumps by the clock, none by triggers", len(windows)
            )
        self._work[observation.key] = DumpObservation(
            observation, self.settings, begun, page, asked, finished, by_clock
        )

    def stop_observation(self, observation: Observation) -> None:
        """Make no further dumps by the clock."""
        self._work[observation.key].by_clock.clear()

    def abort_observation(self, observation: Observation) -> None:
        """Drop the observation's dumps."""
        key = observation.key
        jobs = [job for job in self._jobs if job.key == key]
        self._jobs = [job for job in self._jobs if job.key != key]
        self._unread.forget(key)
        work = self._work.pop(key, None)
        groups = (work.gathered if work else None, *(job.gathered for job in jobs))
        dropped = {id(group): group for group in groups if group}  # each once
        completed = [entry for group in dropped.values() for entry in self._release(group)]
        if work and work.end:
            completed.append(work.end.id)
        if completed:
            self.commit(Commit(key, completed=tuple(completed)))

    # -- entries -------------------------------------------------------------------------------

    def process(self, entry: QueueEntry, observation: Observation | None) -> None:
        """Take triggers; at the end of an observation, wait for its dumps."""
        if entry.kind is not ContentKind.END:
            self.work(entry, observation)
        elif observation is None:
            self.commit(Commit(entry.observation, completed=(entry.id,)))
        else:
            self._work[observation.key].end = entry

    def work(self, entry: QueueEntry, observation: Observation | None) -> None:
        """Make dumps of the entry's triggers, and complete it."""
        triggers = self.take_triggers(entry)
        # An entry that an operator has put states no observation; its triggers do.
        if any(self._work_of(entry, trigger) is None for trigger in triggers):
            self.obey(self.queue_link.orders(self._answer))
        left_out: Counter[NotRequested] = Counter()
        for trigger in triggers:
            work = self._work_of(entry, trigger)
            if work is None:
                left_out[NotRequested.NO_OBSERVATION] += 1
            elif polcal.is_polcal(work.observation):
                left_out[NotRequested.POLCAL] += 1
            elif DUMP + dump_name(trigger) in work.finished:
                log.info("dump was requested before: %s", dump_name(trigger))
            else:
                work.gathered = work.gathered or TriggerGroup(
                    work.observation, work.begun, Since.now()
                )
                if entry.id not in work.gathered.entries[-1:]:
                    work.gathered.entries.append(entry.id)
                    self._needed[entry.id] += 1
                work.gathered.triggers.append(trigger)
        for reason, number in left_out.items():
            self._outcomes[reason.counter] += number
            log.warning("%d dumps not requested: %s", number, reason.words)
        if entry.id not in self._needed:
            self.commit(Commit(entry.observation, completed=(entry.id,)))

    def _work_of(self, entry: QueueEntry, trigger: Trigger) -> DumpObservation | None:
        """Return the run of a trigger: that of its entry, where it is of the same observation."""
        if task_id_of(entry.observation) == trigger.observation != entry.observation:
            return self._work.get(entry.observation)
        works = self._work.values()
        return next((one for one in works if one.observation.task_id == trigger.observation), None)

    def _release(self, group: TriggerGroup) -> tuple[int, ...]:
        """Release a finished group; return the entries that are no longer needed."""
        self._needed.subtract(group.entries)
        completed = tuple(entry for entry in group.entries if not self._needed[entry])
        for entry in completed:
            del self._needed[entry]
        return completed

    # -- requests ------------------------------------------------------------------------------

    def patience(self) -> float:
        """Return how long to wait for entries until the next attempt or dump is due (s)."""
        waits = [job.next_try - time.monotonic() for job in next_in_line(self._jobs)]
        waits += [
            work.observation.start + work.by_clock[0][1].start - time.time()
            for work in self._work.values()
            if work.by_clock
        ]
        return min([LOOP_SECONDS, *waits])

    def idle(self) -> None:
        """Request the dumps that are due."""
        for key, work in self._work.items():
            with about(key):
                self._add(work)
                self._add_by_clock(work)
        for job in next_in_line(self._jobs):
            if job.next_try <= time.monotonic():
                with about(job.key):
                    self._ask(job)
        for unread in self._unread.look():
            with about(unread.key):
                self._not_read(unread)
        waiting = {job.key for job in self._jobs}
        for key, work in list(self._work.items()):
            if work.end and key not in waiting:
                with about(key):
                    del self._work[key]
                    self.end(work.end, work.observation)
                    self.finish(work.observation)

    def _add(self, work: DumpObservation) -> None:
        group, work.gathered = work.gathered, None
        if group is None:
            return
        jobs, left_out = make_jobs(group, work.settings, work.page)
        for reason, names in left_out.items():
            self._outcomes[reason.counter] += len(names)
            log.warning("%d dumps not requested: %s: %s", len(names), reason.words, names[0])
            if reason is NotRequested.TOO_MANY:
                self.lost(DUMPS_TOO_MANY, names[0], reason.words, len(names))
        self._jobs += jobs
        if not jobs:
            self.commit(Commit(work.observation.key, completed=self._release(group)))

    def _add_by_clock(self, work: DumpObservation) -> None:
        # By the time of day, as nothing else tells when a page of data is written. After the clock
        # was corrected, the remaining dumps are requested at their times.
        observation, windows = work.observation, work.by_clock
        while windows and observation.start + windows[0][1].start <= time.time():
            name, window = windows.pop(0)
            request = polcal.request(observation, window)
            until = observation.start + window.end + work.settings.buffer_length
            port = work.settings.port_iquv
            taken = Since.now()
            arrival = arrival_time(observation.start + window.start, work.begun, taken)
            self._jobs.append(DumpJob(observation, port, request, (name,), until, arrival, taken))

    def _ask(self, job: DumpJob) -> None:
        """Send a request, and commit the outcome."""
        if not job.attempts:
            self._note(job)
        job.attempts += 1
        now = job.now()
        text = job.text(now, self._work[job.key].settings.buffer_length)
        try:
            fault_point("dada_trigger.before sending")
            handed_in = request_dump(job.port, text)
            fault_point("dada_trigger.after sending")
        except OSError as error:
            self._not_taken(job, error)
            return
        if now > job.useful_until:
            # It was sent nevertheless: dada_dbevent knows best which data it has.
            self._lose(job, "the data had left the buffer before it was asked for")
        outcome = TriggerOutcome.SENT_NOT_CONFIRMED if handed_in.unread else TriggerOutcome.SENT
        self._finish_job(job, outcome, handed_in)
        if handed_in.unread:
            log.info("dada_dbevent (port %d) took a request, and keeps it open", job.port)
            until = Instant.now().after(max(0.0, job.useful_until - job.now()))
            self._unread.add(UnreadRequest(job.key, job.names, job.port, handed_in.unread, until))

    def _note(self, job: DumpJob) -> None:
        """Commit an attempt before it is made, as afterwards its outcome may stay unknown."""
        asked = self._work[job.key].asked
        keys = {DUMP + name for name in job.names}
        again = sorted(keys & asked.keys())
        for key in keys:
            asked[key] = asked.get(key, 0) + 1
        if again:
            self._outcomes[TriggerOutcome.ASKED_AGAIN] += len(again)
            log.warning("asked again, as it may not have left: %s", ", ".join(again))
        rows = {key: {"asked": asked[key], "outcome": ASKED} for key in keys}
        self.commit(Commit(job.key, memory=rows))

    def _not_taken(self, job: DumpJob, error: OSError) -> None:
        if job.attempts == 1:
            log.error("dada_dbevent (port %d) takes no request: %s", job.port, error)
        job.next_try = time.monotonic() + RETRY_SECONDS
        if job.now() > job.useful_until:
            log.error(
                "given up after %d attempts, as the data have left the buffer: %s",
                job.attempts,
                ", ".join(job.names),
            )
            self._lose(job, f"port {job.port}, {job.attempts} attempts: {error}")
            self._finish_job(job, TriggerOutcome.TOO_LATE, None)

    def _lose(self, job: DumpJob, why: str) -> None:
        """Count the data of a request as lost, unless its observation had ended before it began."""
        if not self.is_past(job.observation):
            self.lost(DUMP_TOO_LATE, ", ".join(job.names), why, len(job.names))

    def _not_read(self, unread: UnreadRequest) -> None:
        names = ", ".join(unread.names)
        why = f"port {unread.port}: {unread.error or 'taken, and not read'}"
        log.error("the data left the buffer before dada_dbevent read the request: %s", names)
        self.lost(DUMP_NOT_CONFIRMED, names, why, len(unread.names))

    def _finish_job(
        self, job: DumpJob, outcome: TriggerOutcome, handed_in: SentRequest | None
    ) -> None:
        """Commit the outcome of a request, and complete its entries.

        :param handed_in: None where it was given up
        """
        work = self._work[job.key]
        asked = work.asked
        work.finished |= {DUMP + name for name in job.names}
        rows: dict[str, Any] = {
            DUMP + name: {"asked": asked[DUMP + name], "outcome": outcome.words}
            for name in job.names
        }
        if handed_in:
            for name in job.names:
                rows[DUMP + name] |= plain_times({"sent": handed_in.sent})
                log.info("dump of %s requested", name)
            for name, trigger in zip(job.names, job.triggers, strict=False):  # none of a calibrator
                times = {"taken": job.taken.unix, "sent": handed_in.sent}
                times = self.latencies.note(trigger.stages, **times)
                rows[DUMP + name] |= plain_times(times)
        self._outcomes[outcome] += len(job.names)
        self._jobs.remove(job)
        completed: tuple[int, ...] = ()
        if job.gathered:
            job.gathered.open_jobs -= 1
            completed = () if job.gathered.open_jobs else self._release(job.gathered)
        self.commit(Commit(job.key, completed=completed, memory=rows))
