"""State of an observation whose trigger files amber_listener reads."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from pathlib import Path
from typing import Any

from darc.model.counters import identified, plain_counts
from darc.model.observation import Observation
from darc.services.amber_listener.stamp_clock import StampClock
from darc.trigger_files.trigger_file import TriggerFile

# Keys in the memory of amber_listener.
BATCH_LENGTH = "batch length"
GATHER_INTERVAL = "gather interval"
SETTLE_TIME = "settle time"
LAST_STAMP = "last stamp"


class FollowedObservation:
    """State of an observation, and its trigger files.

    :param batch_length_s: duration of a batch of AMBER (s)
    :param settle: how long after a line amber_clustering may find its window settled (s)
    :param gather_interval: the same for closing it (s)
    :param latest: latest arrival time of a candidate, since the start (s)
    :param progress: by file, how far it was read (bytes)
    :param memory: what an earlier process committed; it takes precedence
    """

    def __init__(
        self,
        observation: Observation,
        batch_length_s: float,
        settle: float,
        gather_interval: float,
        latest: float,
        progress: dict[str, int],
        memory: dict[str, Any],
    ) -> None:
        self.observation = observation
        self.batch_length_s: float = memory.get(BATCH_LENGTH, batch_length_s)
        self.settle: float = memory.get(SETTLE_TIME, settle)
        self.gather_interval: float = memory.get(GATHER_INTERVAL, gather_interval)
        self.files = [
            TriggerFile(
                Path(path),
                batch_length_s=self.batch_length_s,
                tsamp=observation.tsamp,
                latest=latest,
                start=observation.start,
                progress=progress,
                state=memory.get(f"state {Path(path).name}"),
            )
            for path in observation.trigger_files()
        ]
        self.counts: Counter[str] = Counter(identified(memory.get("counts", {})))
        self.last_stamp: float = memory.get(LAST_STAMP, 0.0)
        self.clock = StampClock(self.last_stamp)
        self._stamps_due: list[float] = []  # by `clock` (s); a heap
        # Candidates were put that no watermark has followed yet, perhaps by an earlier process.
        self.stamp_owed = bool(progress)
        self.missing_said = False
        self.failing: dict[Path, str] = {}  # last error of each file
        self.failing_said: set[Path] = set()
        self.stopped_at: float | None = None  # monotonic, s

    @property
    def directory(self) -> Path:
        """Directory of AMBER's files."""
        return Path(self.observation.amber_dir)

    @property
    def next_stamp_due(self) -> float:
        """When the next watermark is due by `clock`, s; infinite where none is."""
        return self._stamps_due[0] if self._stamps_due else math.inf

    def note_stamp(self, stamp: float) -> None:
        """Note that a watermark was put; after candidates, others are due."""
        while self._stamps_due and self._stamps_due[0] <= stamp:
            heapq.heappop(self._stamps_due)
        if self.stamp_owed:
            self.stamp_owed = False
            for after in {min(self.settle, self.gather_interval), self.gather_interval}:
                heapq.heappush(self._stamps_due, stamp + after)

    def memory(self) -> dict[str, Any]:
        """Return the state that the next process needs."""
        states = {f"state {file.path.name}": file.state() for file in self.files}
        return {
            "counts": plain_counts(self.counts),
            BATCH_LENGTH: self.batch_length_s,
            SETTLE_TIME: self.settle,
            GATHER_INTERVAL: self.gather_interval,
            LAST_STAMP: self.last_stamp,
            **states,
        }
