"""Order of tasks: clusters by descending S/N, and in parallel the tasks of this host."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable

from darc.candidates.dask_pool import DaskPool
from darc.candidates.pool import DoneTask, LocalPool, Pool, Task
from darc.candidates.pool_tasks import ExtractionTask
from darc.config.settings import ProcessorSettings


class TaskQueue:
    """Queue of tasks, and the pools that run them. Not thread-safe."""

    def __init__(self) -> None:
        self._extracting: Pool | None = None
        self._here: Pool | None = None  # the same, unless a scheduler is configured
        self._made_for: tuple[object, ...] | None = None
        self._clusters: list[tuple[float, int, ExtractionTask]] = []  # a heap
        self._chores: deque[Task] = deque()
        self._numbers = itertools.count()

    @property
    def has_chores(self) -> bool:
        """Whether tasks wait that are no clusters."""
        return bool(self._chores)

    @property
    def _pools(self) -> tuple[Pool, ...]:
        if self._extracting is None or self._here is None:
            return ()
        return (self._here,) if self._extracting is self._here else (self._extracting, self._here)

    def make_pools(self, settings: ProcessorSettings, is_idle: bool) -> None:
        """Create the pools as configured; new settings apply when no task is running."""
        wanted = settings.num_extractor, settings.scheduler, settings.scheduler_tls
        if self._pools and not (is_idle and wanted != self._made_for):
            return
        self.close()
        self._here = LocalPool(settings.num_extractor)
        self._extracting = self._here
        if settings.scheduler:
            self._extracting = DaskPool(settings.scheduler, settings.scheduler_tls)
        self._made_for = wanted

    def close(self) -> None:
        """Stop running tasks."""
        for pool in self._pools:
            pool.close()
        self._extracting = self._here = None

    def add_cluster(self, job: ExtractionTask) -> None:
        """Add a cluster; the one of highest S/N is processed first."""
        heapq.heappush(self._clusters, (-job.pulse.snr, next(self._numbers), job))

    def add_chore(self, task: Task) -> None:
        """Add a task to be run on this host."""
        self._chores.append(task)

    def drop(self, observation: str) -> None:
        """Stop and remove all tasks of an observation, without outcomes."""
        for pool in self._pools:
            pool.abort(observation)
        self._clusters = [one for one in self._clusters if one[2].observation != observation]
        heapq.heapify(self._clusters)
        self._chores = deque(task for task in self._chores if task.observation != observation)

    def hand_out(self, begin: Callable[[ExtractionTask], bool]) -> None:
        """Start the tasks that can start.

        :param begin: called before each cluster starts; False: the cluster is skipped
        """
        if self._extracting is None or self._here is None:
            return
        while self._chores and self._here.free() > 0:
            self._here.submit(self._chores.popleft())
        while self._clusters and self._extracting.free() > 0:
            job = heapq.heappop(self._clusters)[2]
            if begin(job):
                self._extracting.submit(job)

    def outcomes(self) -> list[DoneTask]:
        """Return the tasks finished since the last call."""
        return [done for pool in self._pools for done in pool.outcomes()]

    def wait(self, seconds: float) -> None:
        """Wait until a cluster may be finished, up to so long (s)."""
        if self._extracting is not None:
            self._extracting.wait(seconds)
