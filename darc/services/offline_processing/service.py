"""Processing after an observation: folding, drift scans, known repeaters.

One task at a time runs in a process of its own. Finished tasks are committed: after a restart, the
service resumes with the task that it was at.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import Any, ClassVar

from darc.candidates.pool import DoneTask, LocalPool
from darc.config.records import Struct
from darc.config.settings import OfflineProcessingSettings
from darc.model.observation import Observation
from darc.node.losses import LossKind
from darc.offline.offline_plan import plan
from darc.offline.offline_tasks import OfflineTask, TaskOutcome
from darc.queues.messages import Commit
from darc.runtime.fault_points import fault_point
from darc.runtime.log import about
from darc.services.base.service import ENDED, LOOP_SECONDS, Service
from darc.services.offline_processing.traits import TRAITS

log = logging.getLogger(__name__)

#: Prefix of a task's key in the service's memory of an observation, for its outcome.
WORK = "work "
DONE, FAILED = "done", "failed"
#: By which the priority of a task is lower than that of real-time processing.
NICE = 10
#: Longest wait for entries while a task runs (s).
_BUSY_SECONDS = 0.1


WORK_FAILED = LossKind(
    "offline_work_failed",
    "offline work was not done",
    "See the log of offline_processing; mend it, and start the observation again.",
)


class WaitingObservation(Struct, frozen=True):
    """Observation to be processed, with the settings and the memory of its start."""

    observation: Observation
    settings: OfflineProcessingSettings
    memory: dict[str, Any]


class OfflineProcessing(Service[OfflineProcessingSettings]):
    """Service that waits for the end of observations, whether or not they are stopped."""

    name = "offline_processing"
    traits = TRAITS
    settings_type = OfflineProcessingSettings
    attributes: ClassVar[tuple[str, ...]] = ("waiting", "in_work", "done", "failed")
    loss_kinds = (WORK_FAILED,)

    def prepare(self) -> None:
        """Start without observations."""
        self.done = 0  # tasks since this process was started; likewise failed
        self.failed = 0
        self._waiting: dict[str, WaitingObservation] = {}  # for their end, or for earlier ones
        self._current: Observation | None = None
        self._tasks: deque[OfflineTask] = deque()
        self._pool: LocalPool | None = None  # of the current observation

    @property
    def waiting(self) -> int:
        """Number of observations that have not been started on."""
        return len(self._waiting)

    @property
    def in_work(self) -> int:
        """Number of tasks left of the current observation."""
        return len(self._tasks)

    def start_observation(self, observation: Observation, memory: dict[str, Any]) -> None:
        """Queue the observation, which is processed after its end."""
        self._waiting[observation.key] = WaitingObservation(observation, self.settings, memory)

    def abort_observation(self, observation: Observation) -> None:
        """Drop the observation, and end the task in progress."""
        self._waiting.pop(observation.key, None)
        if self._current and self._current.key == observation.key:
            if self._tasks:
                log.info("%s: aborted", self._tasks[0])
            self._tasks.clear()
            self._end()

    def patience(self) -> float:
        """Return how long to wait for entries while a task is in progress or none is (s)."""
        return _BUSY_SECONDS if self._pool else LOOP_SECONDS

    def idle(self) -> None:
        """Start the next task, or take the result of the one in progress."""
        if self._current is None:
            self._begin_observation()
        if self._current is None:
            return
        with about(self._current.key):
            self._advance(self._current)

    def _begin_observation(self) -> None:
        """Start with the observation that has ended first, if there is one."""
        now = time.time()
        ended = [one for one in self._waiting.values() if one.observation.end <= now]
        if not ended:
            return
        first = min(ended, key=lambda one: one.observation.end)
        observation = first.observation
        with about(observation.key):
            tasks, problems = plan(observation, first.settings, self.config)
            for problem in problems:
                log.error("%s", problem)
            self._tasks = deque(task for task in tasks if WORK + task.key not in first.memory)
            what = ", ".join(task.key for task in self._tasks)
            log.info("offline work: %s", what or "nothing to do")
        self._waiting.pop(observation.key)
        self._current = observation
        self._pool = LocalPool(1, self.name, nice=NICE, time_limit=first.settings.time_limit)

    def _advance(self, observation: Observation) -> None:
        for done in self._pool.outcomes() if self._pool else ():
            self._finished(done, observation)
        if self._pool and self._tasks:
            if self._pool.free():
                self._pool.submit(self._tasks[0])
            return
        self._end()
        self.commit(Commit(observation.key, memory={ENDED: True}))
        self.finish(observation)

    def _end(self) -> None:
        """Leave the current observation."""
        if self._pool:
            self._pool.close()
        self._pool = self._current = None

    def _finished(self, done: DoneTask, observation: Observation) -> None:
        found = done.result if isinstance(done.result, TaskOutcome) else TaskOutcome(done.error)
        key = self._tasks[0].key
        for problem in found.problems:
            log.warning("%s: %s", key, problem)
        if found.error:
            log.error("%s: not done: %s", key, found.error)
            self.lost(WORK_FAILED, key, found.error)
        else:
            log.info("%s: done", key)
        fault_point("offline_processing.after working")
        fate = FAILED if found.error else DONE
        self.commit(Commit(observation.key, memory={WORK + key: fate}))
        self._tasks.popleft()
        self.done += not found.error
        self.failed += bool(found.error)
