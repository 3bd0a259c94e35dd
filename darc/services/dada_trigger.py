"""Asks dada_dbevent to keep the raw data of triggers.

A request that dada_dbevent does not take is tried again for as long as the data are in its ring
buffer. That a request is about to leave is noted before it does: if the process dies before it has
noted what came of it, it is asked again, and counted. dada_dbevent skips what it has already read.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar

from darc.model.observation import Observation
from darc.model.settings import DadaTriggerSettings
from darc.node.fault_points import fault_point
from darc.node.log import about
from darc.queues.messages import Commit, Entry, Kind
from darc.science.dump_window import Window
from darc.services import polcal
from darc.services.base import LOOP_SECONDS
from darc.services.dump_jobs import Gathered, Job, make_jobs, next_in_line
from darc.services.dump_port import HandedIn, request_dump
from darc.services.trigger_consumer import TriggerConsumer, plain_times

log = logging.getLogger(__name__)

DUMP = "dump "
RETRY_SECONDS = 0.05


@dataclass(slots=True)
class Work:
    """An observation, and what is to be done about it.

    :param page: of its raw data, samples
    :param asked: by dump, how often it was asked for
    :param by_clock: a calibrator's dumps that are still to come, with their names
    :param gathered: triggers that no request was made of yet
    :param end: the entry that says that nothing more comes
    """

    observation: Observation
    settings: DadaTriggerSettings
    page: int
    asked: dict[str, int]
    by_clock: list[tuple[str, Window]]
    gathered: Gathered | None = None
    end: Entry | None = None


class DADATrigger(TriggerConsumer[DadaTriggerSettings]):
    """Requests IQUV and Stokes I dumps."""

    name = "dada_trigger"
    settings_type = DadaTriggerSettings
    attributes: ClassVar[tuple[str, ...]] = (*TriggerConsumer.attributes, "waiting")

    def prepare(self) -> None:
        super().prepare()
        self._work: dict[str, Work] = {}
        self._jobs: list[Job] = []
        self._needed: Counter[int] = Counter()  # by entry, how many gatherings it is in

    @property
    def waiting(self) -> int:
        """Requests that dada_dbevent has not taken yet."""
        return len(self._jobs)

    # -- observations --------------------------------------------------------------------------

    def start_observation(self, observation: Observation, memory: dict[str, Any]) -> None:
        dumps = {key: value for key, value in memory.items() if key.startswith(DUMP)}
        asked = {key: int(row["asked"]) for key, row in dumps.items()}
        page = self.config.instrument.batch_length_samples
        by_clock: list[tuple[str, Window]] = []
        if polcal.is_polcal(observation):
            windows = polcal.schedule(observation, self.settings, page)
            done = {key for key, row in dumps.items() if row.get("outcome") != "asked"}
            by_clock = [
                (name, window)
                for name, window in ((f"polcal {n}", window) for n, window in enumerate(windows, 1))
                if DUMP + name not in done
            ]
            log.info(
                "polarisation calibrator: %d dumps by the clock, none by triggers", len(windows)
            )
        self._work[observation.task_id] = Work(observation, self.settings, page, asked, by_clock)

    def stop_observation(self, observation: Observation) -> None:
        self._work[observation.task_id].by_clock.clear()

    def abort_observation(self, observation: Observation) -> None:
        task_id = observation.task_id
        jobs = [job for job in self._jobs if job.task_id == task_id]
        self._jobs = [job for job in self._jobs if job.task_id != task_id]
        work = self._work.pop(task_id, None)
        groups = (work.gathered if work else None, *(job.gathered for job in jobs))
        dropped = {id(group): group for group in groups if group}  # each once
        completed = [entry for group in dropped.values() for entry in self._release(group)]
        if work and work.end:
            completed.append(work.end.id)
        if completed:
            self.commit(Commit(task_id, completed=tuple(completed)))

    # -- entries -------------------------------------------------------------------------------

    def process(self, entry: Entry, observation: Observation | None) -> None:
        if entry.kind is not Kind.END:
            self.work(entry, observation)
        elif observation is None:
            self.commit(Commit(entry.observation, completed=(entry.id,)))
        else:
            self._work[observation.task_id].end = entry

    def work(self, entry: Entry, observation: Observation | None) -> None:
        triggers = self.take_triggers(entry)
        # An entry that a person has put names no observation; its triggers do.
        if any(trigger.observation not in self._work for trigger in triggers):
            self._obey(self._link.orders(self._answer))
        left_out: Counter[str] = Counter()
        for trigger in triggers:
            work = self._work.get(trigger.observation)
            if work is None:
                left_out["no such observation"] += 1
            elif polcal.is_polcal(work.observation):
                left_out["polarisation calibration"] += 1
            else:
                work.gathered = work.gathered or Gathered(work.observation, time.time())
                if entry.id not in work.gathered.entries[-1:]:
                    work.gathered.entries.append(entry.id)
                    self._needed[entry.id] += 1
                work.gathered.triggers.append(trigger)
        for reason, number in left_out.items():
            self._outcomes[f"not requested: {reason}"] += number
            log.warning("%d dumps not requested: %s", number, reason)
        if entry.id not in self._needed:
            self.commit(Commit(entry.observation, completed=(entry.id,)))

    def _release(self, group: Gathered) -> tuple[int, ...]:
        """A gathering is dealt with: the entries that nothing needs any more."""
        self._needed.subtract(group.entries)
        completed = tuple(entry for entry in group.entries if not self._needed[entry])
        for entry in completed:
            del self._needed[entry]
        return completed

    # -- requests ------------------------------------------------------------------------------

    def patience(self) -> float:
        waits = [job.next_try - time.monotonic() for job in next_in_line(self._jobs)]
        waits += [
            work.observation.start + work.by_clock[0][1].start - time.time()
            for work in self._work.values()
            if work.by_clock
        ]
        return min([LOOP_SECONDS, *waits])

    def idle(self) -> None:
        for task_id, work in self._work.items():
            with about(task_id):
                self._add(work)
                self._add_by_clock(work)
        for job in next_in_line(self._jobs):
            if job.next_try <= time.monotonic():
                with about(job.task_id):
                    self._ask(job)
        waiting = {job.task_id for job in self._jobs}
        for task_id, work in list(self._work.items()):
            if work.end and task_id not in waiting:
                with about(task_id):
                    del self._work[task_id]
                    self.end(work.end, work.observation)
                    self.finish(work.observation)

    def _add(self, work: Work) -> None:
        group, work.gathered = work.gathered, None
        if group is None:
            return
        jobs, left_out = make_jobs(group, work.settings, work.page)
        for reason, names in left_out.items():
            self._outcomes[f"not requested: {reason}"] += len(names)
            log.warning("%d dumps not requested: %s: %s", len(names), reason, names[0])
        self._jobs += jobs
        if not jobs:
            self.commit(Commit(work.observation.task_id, completed=self._release(group)))

    def _add_by_clock(self, work: Work) -> None:
        observation, windows = work.observation, work.by_clock
        while windows and observation.start + windows[0][1].start <= time.time():
            name, window = windows.pop(0)
            request = polcal.request(observation, window)
            until = observation.start + window.start + work.settings.buffer_length
            port = work.settings.port_iquv
            self._jobs.append(Job(observation, port, request, (name,), until))

    def _ask(self, job: Job) -> None:
        """Hand in a request, and note what came of it."""
        if not job.attempts:
            self._note(job)
        job.attempts += 1
        text = job.text(time.time(), self._work[job.task_id].settings.buffer_length)
        try:
            fault_point("dada_trigger.before sending")
            handed_in = request_dump(job.port, text)
            fault_point("dada_trigger.after sending")
        except OSError as error:
            self._not_taken(job, error)
            return
        if not handed_in.read:
            log.info("dada_dbevent (port %d) took a request, and keeps it open", job.port)
        self._settle(job, "sent" if handed_in.read else "sent, not confirmed", handed_in)

    def _note(self, job: Job) -> None:
        """It is about to be sent: after this, nobody can know whether it was."""
        asked = self._work[job.task_id].asked
        keys = {DUMP + name for name in job.what}
        again = sorted(keys & asked.keys())
        for key in keys:
            asked[key] = asked.get(key, 0) + 1
        if again:
            self._outcomes["asked again"] += len(again)
            log.warning("asked again, as it may not have left: %s", ", ".join(again))
        rows = {key: {"asked": asked[key], "outcome": "asked"} for key in keys}
        self.commit(Commit(job.task_id, memory=rows))

    def _not_taken(self, job: Job, error: OSError) -> None:
        if job.attempts == 1:
            log.error("dada_dbevent (port %d) takes no request: %s", job.port, error)
        job.next_try = time.monotonic() + RETRY_SECONDS
        if time.time() > job.useful_until:
            log.error(
                "given up after %d attempts, as the data have left the buffer: %s",
                *(job.attempts, ", ".join(job.what)),
            )
            self._settle(job, "too late", None)

    def _settle(self, job: Job, outcome: str, handed_in: HandedIn | None) -> None:
        """Note what came of a request, and complete what it was made of.

        :param handed_in: None where it was given up
        """
        asked = self._work[job.task_id].asked
        rows: dict[str, Any] = {
            DUMP + name: {"asked": asked[DUMP + name], "outcome": outcome} for name in job.what
        }
        if handed_in:
            for name in job.what:
                rows[DUMP + name] |= plain_times({"sent": handed_in.sent})
                log.info("dump of %s requested", name)
            for name, trigger in zip(job.what, job.triggers, strict=False):  # or there are none
                taken = job.gathered.taken_at if job.gathered else handed_in.sent
                times = self._latencies.note(trigger.stages, taken=taken, sent=handed_in.sent)
                rows[DUMP + name] |= plain_times(times)
        self._outcomes[outcome] += len(job.what)
        self._jobs.remove(job)
        completed: tuple[int, ...] = ()
        if job.gathered:
            job.gathered.open_jobs -= 1
            completed = () if job.gathered.open_jobs else self._release(job.gathered)
        self.commit(Commit(job.task_id, completed=completed, memory=rows))


if __name__ == "__main__":
    DADATrigger.main()
