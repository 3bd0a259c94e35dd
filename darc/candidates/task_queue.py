"""What is done next: of clusters the brightest first, and beside them what is done on this host."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable

from darc.candidates.dask_pool import DaskPool
from darc.candidates.pool import DoneTask, LocalPool, Pool
from darc.candidates.pool_tasks import ExtractionJob, Task
from darc.config.settings import ProcessorSettings


class TaskQueue:
    """Tasks that wait, and the pools that do them. Of one thread."""

    def __init__(self) -> None:
        self._extracting: Pool | None = None
        self._here: Pool | None = None  # the same, unless a scheduler is configured
        self._made_for: tuple[object, ...] | None = None
        self._clusters: list[tuple[float, int, ExtractionJob]] = []  # a heap
        self._chores: deque[Task] = deque()
        self._numbers = itertools.count()

    @property
    def has_chores(self) -> bool:
        return bool(self._chores)

    @property
    def _pools(self) -> tuple[Pool, ...]:
        if self._extracting is None or self._here is None:
            return ()
        return (self._here,) if self._extracting is self._here else (self._extracting, self._here)

    def make_pools(self, settings: ProcessorSettings, is_idle: bool) -> None:
        """Have pools as configured; other settings hold from a moment when nothing is done."""
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
        """End what is under way."""
        for pool in self._pools:
            pool.close()
        self._extracting = self._here = None

    def add_cluster(self, job: ExtractionJob) -> None:
        heapq.heappush(self._clusters, (-job.pulse.snr, next(self._numbers), job))

    def add_chore(self, task: Task) -> None:
        """Have something done on this host."""
        self._chores.append(task)

    def drop(self, observation: str) -> None:
        """Do nothing more about an observation; nothing more is heard of it."""
        for pool in self._pools:
            pool.abort(observation)
        self._clusters = [one for one in self._clusters if one[2].observation != observation]
        heapq.heapify(self._clusters)
        self._chores = deque(task for task in self._chores if task.observation != observation)

    def hand_out(self, begin: Callable[[ExtractionJob], bool]) -> None:
        """Begin with what can be begun with.

        :param begin: is told of each cluster before; False: it is not to be done any more
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
        """What has been done since the last call."""
        return [done for pool in self._pools for done in pool.outcomes()]

    def wait(self, seconds: float) -> None:
        """Wait until a cluster may be done, for so long at most."""
        if self._extracting is not None:
            self._extracting.wait(seconds)
