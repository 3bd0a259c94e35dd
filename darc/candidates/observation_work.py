"""Processing state of one observation: what has arrived, and what is to be done.

This module does no communication: the service commits what it returns, then reports that back.
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from darc.candidates.cluster_boxes import boxes_of
from darc.candidates.cluster_table import ClusterRow, ClusterTable
from darc.candidates.clusters import find_clusters, usable
from darc.candidates.data_availability import BeamAvailability
from darc.candidates.fetch_paths import fetch_file
from darc.candidates.file_clock import DataTimes
from darc.candidates.injections import InjectionFile, Injections
from darc.candidates.observation_inputs import beam_table, mask_file
from darc.candidates.pool_jobs import BeamFiles, BeamSky, ExtractionOutcome
from darc.candidates.pool_tasks import ExtractionTask, ReadingTask, ResultsTask
from darc.candidates.time_windows import DueWindow, OpenWindows
from darc.config.config import Config
from darc.config.records import replace
from darc.config.settings import AmberClusteringSettings, ProcessorSettings
from darc.model.candidate import Records
from darc.model.counters import Counted, Rejection, identified
from darc.model.observation import Observation
from darc.model.processing_outcome import ClusterOutcome
from darc.runtime.clock import Since
from darc.science.synthesised_beam import SynthesisedBeams
from darc.trigger_files.candidate_source import SourceContext

log = logging.getLogger(__name__)

#: Interval of checks for new data (s).
POLL_SECONDS = 0.5
#: Maximum per step of clustering and commit: well within the heartbeat interval of a service.
PORTION_WINDOWS = 500
PORTION_CANDIDATES = 100_000
#: Keys in the service's memory of an observation.
COUNTS, ALL_CAME, BEGAN, STOPPED = "counts", "all came", "began", "stopped"
#: The times of BEGAN and STOPPED, which earlier versions read as times of day, by all clocks.
KNOWN, STOPPED_SINCE = "known since", "stopped since"
MASK = "channel mask"
#: It was said that the data's sampling is not the observation's.
SAMPLING_SAID = "said of sampling"


class ObservationWork:
    """Processing state of one observation.

    :param memory: the service's memory of it
    :param past: all data are on disk
    :raises ValueError: the observation has no beam
    """

    def __init__(
        self,
        observation: Observation,
        settings: ProcessorSettings,
        config: Config,
        memory: Mapping[str, Any],
        *,
        past: bool,
    ) -> None:
        if observation.beam is None:
            raise ValueError("an observation without a beam")
        self.observation, self.settings, self.past = observation, settings, past
        self._known = _remembered(memory, KNOWN, BEGAN) or Since.now()
        self.began = self._known.unix
        self.stopped = _remembered(memory, STOPPED_SINCE, STOPPED)
        self.all_came = bool(memory.get(ALL_CAME))
        self.counts = Counter(identified(memory.get(COUNTS, {})))
        self.injections = Injections.of(observation, memory)
        self._boxes = boxes_of(observation, settings.clustering, config)
        self.table = ClusterTable(memory, observation.beam, self._boxes)
        self.waiting = {key for key, row in self.table.items() if row.fate is None}
        self.in_work: set[str] = set()
        self.said_of_sampling = bool(memory.get(SAMPLING_SAID))
        self.writing = False  # results are being written
        self.attempts = 0  # attempts to write them
        self.not_before = 0.0  # of the next attempt, monotonic
        self.last_entry = time.monotonic()
        self._config = config
        self._files = BeamFiles(
            Path(observation.output_dir) / config.instrument.data_directory,
            observation.beam,
            observation.ntabs,
            patterns=config.instrument.data_files,
            times=DataTimes(
                config.instrument.data_start == "header",
                config.instrument.data_tsamp,
                (observation.start, observation.end),
            ),
        )
        self._output = Path(observation.output_dir) / settings.output_subdir
        self._next_poll = 0.0  # monotonic
        self._sizes: tuple[int, ...] = ()
        self._grown = math.inf  # last growth, monotonic
        # That of the start: where it is gone meanwhile, its reader says so.
        found = mask_file(observation, settings)
        mask = memory.get(MASK, str(found) if found else None)
        self._mask = Path(mask) if mask else None
        self._arrival = observation.arrival_reference(config.instrument.observatory)
        self._on_disk = BeamAvailability(self._files, self._arrival)
        self._n_beams = observation.nsynbeams if observation.searched_in_sbs else None
        self._table: SynthesisedBeams | None = None
        #: Why extraction is impossible; empty if it is possible.
        self.broken = ""
        try:
            if self._n_beams:
                self._table = beam_table(observation, config.instrument)
        except (OSError, ValueError) as error:
            self.broken = f"no table of synthesised beams: {error}"
        self._windows = OpenWindows(settings.interval, settings.clustering.clustering_window, {})
        self._raw: dict[int, Counter[str]] = {}  # by entry that is not acknowledged yet

    # -- what comes in -------------------------------------------------------------------------

    def take(self, entry: int, watermark: float, candidates: Records) -> None:
        """Add an entry's candidates; windows may close.

        :param entry: number of the entry
        :param watermark: Unix s; see :class:`darc.candidates.time_windows.OpenWindows`
        :param candidates: CANDIDATE records
        """
        injected = self.injections.mask(candidates)
        snr_min = self.settings.clustering.snr_min_clustering
        kept, rejected = usable(candidates[~injected], snr_min, self._n_beams)
        self._raw[entry] = Counter({Counted.CANDIDATES: len(candidates)})
        self._raw[entry].update(rejected)
        if n_injected := int(injected.sum()):
            self._raw[entry][Rejection.INJECTED] = n_injected
        self.last_entry = time.monotonic()
        self._windows.add(entry, watermark, kept)

    def beginning(self) -> dict[str, Any]:
        """Return what is remembered of the beginning."""
        mask = str(self._mask) if self._mask else ""
        return {BEGAN: self.began, KNOWN: self._known.to_plain(), MASK: mask}

    def stop(self) -> dict[str, Any]:
        """Note that the observation was stopped; return the memory to commit."""
        self.stopped = Since.now()
        return {STOPPED: self.stopped.unix, STOPPED_SINCE: self.stopped.to_plain()}

    def read_injections(self) -> tuple[dict[str, Any], list[str]]:
        """Read the list of a past observation; return the memory to commit, and what is wrong."""
        name = self._config.of(AmberClusteringSettings).injections
        found, problems = InjectionFile.of(self._source_context, name).read()
        return self.injections.add(found), problems

    def close_windows(self, *, at_once: bool) -> None:
        """Close windows if no entry has come for the interval, or at once if none will."""
        if at_once or time.monotonic() - self.last_entry >= self.settings.interval:
            self._windows.close_all()

    def closed(self) -> list[DueWindow]:
        """Return closed windows, a limited number at a time."""
        found: list[DueWindow] = []
        n_candidates = 0
        while len(found) < PORTION_WINDOWS and n_candidates < PORTION_CANDIDATES:
            if (window := self._windows.take_due()) is None:
                break
            found.append(window)
            n_candidates += len(window.candidates)
        return found

    def completed(self) -> tuple[int, ...]:
        """Return entries that can be acknowledged, and count their candidates."""
        numbers = self._windows.completed()
        self._windows.forgotten()
        for number in numbers:
            self.counts.update(self._raw.pop(number))
        return numbers

    def open_entries(self) -> tuple[int, ...]:
        """Return entries that are not acknowledged."""
        return tuple(self._raw)

    def clusters(self, closed: list[DueWindow]) -> dict[str, ClusterRow]:
        """Return new rows for the clusters of closed windows."""
        if not closed:
            return {}
        found = [
            find_clusters(
                window.candidates,
                self.settings.clustering,
                n_beams=self._n_beams,
                boxes=self._boxes,
            )
            for window in closed
        ]
        clusters, beyond = (np.concatenate(some) for some in zip(*found, strict=True))
        return self.rows(clusters, beyond)

    def rows(self, clusters: Records, beyond: Records | None = None) -> dict[str, ClusterRow]:
        """Return new rows for clusters, and for boxes without one.

        :param clusters: CLUSTER records within the limits
        :param beyond: CLUSTER records beyond the limits
        """
        changes, n_too_many = self.table.changes(clusters, beyond)
        if n_too_many:
            self.counts[Counted.TOO_MANY_CLUSTERS] += n_too_many
        return changes

    def remove_replaced(self, changes: Mapping[str, ClusterRow]) -> None:
        """Remove the files of clusters that are about to be replaced.

        This precedes the commit: after a crash in between, it is repeated.
        """
        for key in changes:
            if key in self.table:
                self.remove_file(self.table[key].file, key)

    def remove_file(self, name: str, key: str) -> None:
        """Remove a candidate's file and picture, unless another cluster has the same file."""
        if not name or self.table.names(name, but=key):
            return
        file = self._output / "data" / name
        for path in (file, file.with_suffix(".png"), fetch_file(file)):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                log.error("a file that is no longer needed cannot be removed: %s: %s", path, error)

    def enter(self, rows: Mapping[str, ClusterRow]) -> None:
        """Apply rows that have been committed."""
        self.table.enter(rows)
        for key, row in rows.items():
            (self.waiting.discard if row.fate or not row.is_listed else self.waiting.add)(key)

    # -- what is to be done --------------------------------------------------------------------

    def ready(self) -> list[ExtractionTask]:
        """Return and remove waiting clusters whose data are on disk, or will not come.

        Empty while results are written, which removes files without a cluster.
        """
        candidates = self.waiting - self.in_work
        now = time.monotonic()
        if not candidates or self.broken or self.writing or now < self._next_poll:
            return []
        self._next_poll = now + POLL_SECONDS
        final = self._data_are_final()
        found = []
        for key in candidates:
            pulse = self.table[key].pulse
            tabs = self._tabs(pulse.beam)
            if final or self._on_disk.has(pulse, tabs, self.settings.extractor):
                found.append(self._job(key, tabs))
                self.waiting.discard(key)
        return found

    def _job(self, key: str, tabs: tuple[int, ...]) -> ExtractionTask:
        return ExtractionTask(
            observation=self.observation.key,
            key=key,
            files=self._files,
            pulse=self.table[key].pulse,
            tabs=tabs,
            settings=self.settings,
            mask=self._mask,
            output=self._output / "data",
            beam=self._beam_sky(),
            arrival=self._arrival,
        )

    def _tabs(self, beam: int) -> tuple[int, ...]:
        return (beam,) if self._table is None else tuple(self._table[beam].tolist())

    def _data_are_final(self) -> bool:
        """Whether no more data will come: past the end, and the files have stopped growing."""
        if self.past:
            return True
        now, sizes = time.monotonic(), self._on_disk.poll()
        if sizes != self._sizes or self._grown == math.inf:
            self._sizes, self._grown = sizes, now
        late = self._since_end() >= self.settings.extractor.delay
        return late and now - self._grown >= self.settings.stop_delay

    def _since_end(self) -> float:
        """Return how long ago the observation was stopped, s; negative: it was not yet.

        The master stops each. By the time of day its end would pass early or late while that clock
        is wrong, and what is given up then is lost.
        """
        return -1.0 if self.stopped is None else self.stopped.age()

    def is_current(self, job: ExtractionTask) -> bool:
        """Whether a job's cluster is unchanged and has no outcome."""
        if job.key not in self.table:
            return False
        row = self.table[job.key]
        return row.is_listed and row.fate is None and row.pulse == job.pulse

    def row_of(self, job: ExtractionTask, outcome: ExtractionOutcome) -> ClusterRow:
        file = outcome.path.name if outcome.path else ""
        return ClusterRow(job.pulse, outcome.fate, file, outcome.listed)

    def is_out_of_time(self) -> bool:
        """Whether the time limit of processing has expired."""
        limit = self.settings.processing_time_limit
        return 0 < limit < (self._known.age() if self.past else self._since_end())

    def given_up(self, fate: ClusterOutcome) -> dict[str, ClusterRow]:
        """Return rows with this outcome for all clusters that have none."""
        return {key: replace(row, fate=fate) for key, row in self.table.items() if row.fate is None}

    @property
    def is_extracted(self) -> bool:
        """Whether all clusters have an outcome, and none is being processed."""
        return self.all_came and not self.table.n_open and not self.in_work

    # -- tasks of the whole --------------------------------------------------------------------

    def reading_job(self) -> ReadingTask:
        """Return the task that reads the trigger files of a past observation."""
        return ReadingTask(
            observation=self.observation.key,
            trigger_files=self._trigger_files,
            batch_length=self._config.instrument.batch_length_samples * self.observation.tsamp,
            tsamp=self.observation.tsamp,
            settings=self.settings,
            n_beams=self._n_beams,
            boxes=self._boxes,
            source=None if self._is_of_amber else self._source_context,
            injections=self.injections,
        )

    def results_job(self) -> ResultsTask:
        """Return the task that writes the results."""
        observation = self.observation
        assert observation.beam is not None
        rows = [row for _, row in self.table.items()]
        data = self._output / "data"
        return ResultsTask(
            observation=observation.key,
            cb=observation.beam,
            directory=self.results,
            clusters=self._output / self.settings.clustering.output_file,
            pulses=tuple(row.pulse for row in rows),
            kept=tuple((data / row.file, row.listed) for row in rows if row.listed),
            n_passed=sum(row.fate is not None and row.fate.passed_thresholds for row in rows),
            n_raw=self.counts[Counted.CANDIDATES],
            trigger_files=self._trigger_files,
            settings=self.settings,
            beam=self._beam_sky(),
            # Others leave no header where they found nothing.
            searched=not self._is_of_amber,
            arrival=self._arrival,
        )

    @property
    def results(self) -> Path:
        """Directory of the results."""
        return self.observation.directory_in(self.settings.result_dir)

    @property
    def _source_context(self) -> SourceContext:
        return SourceContext.of(self.observation, self._config.instrument)

    @property
    def _is_of_amber(self) -> bool:
        return self._config.instrument.candidate_source == "amber"

    @property
    def _trigger_files(self) -> tuple[Path, ...]:
        return tuple(map(Path, self.observation.trigger_files()))

    def _beam_sky(self) -> BeamSky:
        observation = self.observation
        assert observation.beam is not None
        return BeamSky(
            pointing=observation.pointing(observation.beam),
            hour_angle_at=observation.hour_angle_at,
            position=self._config.instrument.position,
            galaxy_map=Path(self._config.of(AmberClusteringSettings).galaxy_map),
            more_maps=tuple(map(Path, self._config.of(AmberClusteringSettings).galaxy_maps_shown)),
        )


def _remembered(memory: Mapping[str, Any], *keys: str) -> Since | None:
    """Return the time of the first key that is there."""
    return next((Since.from_plain(memory[key]) for key in keys if key in memory), None)
