"""State of an observation whose candidates amber_listener reads."""

from __future__ import annotations

import heapq
import logging
import math
from collections import Counter
from pathlib import Path
from typing import Any

from darc.candidates.injections import InjectionFile
from darc.config.records import replace
from darc.config.source_settings import SourceSettings
from darc.config.typed import from_plain, to_plain
from darc.model.candidate import Records
from darc.model.counters import identified, plain_counts
from darc.services.amber_listener.watermark_clock import WatermarkClock
from darc.trigger_files.candidate_source import SourceContext, make_source
from darc.trigger_files.followed_files import FollowedFiles

log = logging.getLogger(__name__)

#: Services that read the candidates.
READERS = ("amber_clustering", "processor")
# Keys in the memory of amber_listener.
BATCH_LENGTH = "batch length"
GATHER_INTERVAL = "gather interval"
SETTLE_TIME = "settle time"
LAST_WATERMARK = "last stamp"  # as in the journals of before
SOURCE, SOURCE_SETTINGS = "source", "source settings"
INJECTIONS_NAME = "name of the list of injections"
INJECTIONS_PROBLEMS = "problems of the list of injections"


class FollowedObservation:
    """State of an observation, and the files of its candidates.

    :param context: its candidate source, as configured now
    :param settle: how long after a line amber_clustering may find its window settled (s)
    :param gather_interval: the same for closing it (s)
    :param latest: latest arrival time of a candidate, since the start (s)
    :param progress: by file, how far it was read (bytes)
    :param memory: what an earlier process committed; it takes precedence
    :param injections: name of the file that lists injections; None: nobody injects
    """

    def __init__(
        self,
        context: SourceContext,
        settle: float,
        gather_interval: float,
        latest: float,
        progress: dict[str, int],
        memory: dict[str, Any],
        injections: str | None = None,
    ) -> None:
        observation = context.observation
        self.observation = observation
        self.settle: float = memory.get(SETTLE_TIME, settle)
        self.gather_interval: float = memory.get(GATHER_INTERVAL, gather_interval)
        self.context = _recalled(context, memory)
        self.source = make_source(self.context)
        self._injections_name: str | None = memory.get(INJECTIONS_NAME, injections)
        self.injections = InjectionFile.of(self.context, self._injections_name)
        self.injections.problems = list(memory.get(INJECTIONS_PROBLEMS, ()))
        self.files = FollowedFiles(
            self.source,
            start=observation.start,
            latest=latest,
            progress=progress,
            memory=memory,
        )
        self.is_listening = False  # the source is open
        self.open_failure = ""
        self.counts: Counter[str] = Counter(identified(memory.get("counts", {})))
        self.last_watermark: float = memory.get(LAST_WATERMARK, 0.0)
        self.clock = WatermarkClock(self.last_watermark)
        self._watermarks_due: list[float] = []  # by `clock` (s); a heap
        # Candidates were put that no watermark has followed yet, perhaps by an earlier process.
        self.watermark_due = bool(progress)
        self.missing_said = False
        self.failing: dict[Path, str] = {}  # last error of each file
        self.failing_said: set[Path] = set()
        self.stopped_at: float | None = None  # monotonic, s
        self._beam_said = False

    @property
    def directory(self) -> Path:
        """Directory of the files."""
        return self.source.directory

    @property
    def next_watermark_due(self) -> float:
        """When the next watermark is due by `clock`, s; infinite where none is."""
        return self._watermarks_due[0] if self._watermarks_due else math.inf

    def note_watermark(self, watermark: float) -> None:
        """Note that a watermark was put; after candidates, others are due.

        :param watermark: monotonic s
        """
        while self._watermarks_due and self._watermarks_due[0] <= watermark:
            heapq.heappop(self._watermarks_due)
        if self.watermark_due:
            self.watermark_due = False
            for after in {min(self.settle, self.gather_interval), self.gather_interval}:
                heapq.heappush(self._watermarks_due, watermark + after)

    def unknown_beam(self, candidates: Records) -> str:
        """Return what is wrong with a beam that the instrument does not have; else nothing. Once.

        :param candidates: CANDIDATE records, at least one
        """
        context, beam = self.context, int(candidates["beam"].max())
        if self._beam_said or context.n_beams is None or beam < context.n_beams:
            return ""
        self._beam_said = True
        first = context.settings.first_beam
        return (
            f"beam {beam + first} of {context.name} is beam {beam} here, and the instrument has"
            f" beams 0 to {context.n_beams - 1}: see instrument.source.first_beam ({first}) and"
            f" instrument.{context.n_beams_key} ({context.n_beams}); its candidates are used, but"
            " there are no data of it, and beams may be numbered wrongly"
        )

    def memory(self) -> dict[str, Any]:
        """Return the state that the next process needs, for a commit with all that was read."""
        counts = {"counts": plain_counts(self.counts)}
        return {**counts, **self.memory_without_files(), **self.files.memory()}

    def memory_without_files(self) -> dict[str, Any]:
        """Return the same without what was found and read, which is kept with its progress."""
        return {
            BATCH_LENGTH: self.context.batch_length_s,
            SOURCE: self.context.name,
            SOURCE_SETTINGS: to_plain(self.context.settings),
            INJECTIONS_NAME: self._injections_name,
            INJECTIONS_PROBLEMS: self.injections.problems,
            SETTLE_TIME: self.settle,
            GATHER_INTERVAL: self.gather_interval,
            LAST_WATERMARK: self.last_watermark,
        }


def _recalled(context: SourceContext, memory: dict[str, Any]) -> SourceContext:
    """Return the source of the observation's start, also after a restart."""
    batch = memory.get(BATCH_LENGTH, context.batch_length_s)
    if SOURCE not in memory:
        return replace(context, batch_length_s=batch)
    try:
        # What a version before did not know is as configured now.
        kept = to_plain(context.settings) | dict(memory[SOURCE_SETTINGS])
        settings = from_plain(SourceSettings, kept, "instrument.source")
    except ValueError as error:  # saved by another version
        log.warning("source settings kept since the start are invalid, read anew: %s", error)
        settings = context.settings
    return replace(context, name=str(memory[SOURCE]), settings=settings, batch_length_s=batch)
