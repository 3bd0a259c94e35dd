"""Offline tasks, as plain objects that can be pickled.

Tasks are idempotent. Dependencies are imported when a task runs, in the process that runs it: the
service stays small. Each returns its partial failures.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from darc.config.instrument import Instrument
from darc.config.records import Struct
from darc.config.settings import OfflineProcessingSettings, ProcessorSettings
from darc.model.arrival import ArrivalReference
from darc.model.observation import Observation
from darc.model.offline_tables import Calibrator, Ephemeris
from darc.model.sources import Source
from darc.offline.drift_scan_names import DriftName

if TYPE_CHECKING:
    from darc.candidates.cluster_boxes import ClusterBoxes
    from darc.candidates.pool_jobs import BeamFiles
    from darc.data_files.data_source import DataSource
    from darc.offline.fold_file import FoldedPulsar

log = logging.getLogger(__name__)

#: Files shorter than this fraction of the observation are reported.
_SHORT = 0.95


class TaskLocation(Struct, frozen=True):
    """Observation, and the location of its results.

    :param instrument: as at the observation's start
    """

    observation: Observation
    instrument: Instrument
    results: Path
    output: Path

    @property
    def beam(self) -> int:
        """Compound beam of this worker."""
        assert self.observation.beam is not None
        return self.observation.beam

    def reference(self) -> ArrivalReference:
        """Reference of times and widths."""
        return self.observation.arrival_reference(self.instrument.observatory)

    def files(self) -> BeamFiles:
        """Return where the beam's data are."""
        from darc.candidates.file_clock import DataTimes  # noqa: PLC0415 - numpy
        from darc.candidates.pool_jobs import BeamFiles  # noqa: PLC0415

        observation, instrument = self.observation, self.instrument
        span = observation.start, observation.end
        return BeamFiles(
            Path(observation.output_dir) / instrument.data_directory,
            self.beam,
            observation.ntabs,
            patterns=instrument.data_files,
            times=DataTimes(instrument.data_start == "header", instrument.data_tsamp, span),
        )

    def quiet_sources(self, n_tabs: int | None = None) -> list[DataSource]:
        """Return the data of the TABs, when their files have stopped growing.

        :param n_tabs: number of TABs from the first; None: all
        :raises ValueError: they still grow after a limit
        """
        from darc.data_files.data_source import paths_of  # noqa: PLC0415 - numpy
        from darc.offline.file_stream import wait_until_quiet  # noqa: PLC0415

        files = self.files()
        wait_until_quiet(path for source in files.paths()[:n_tabs] for path in paths_of(source))
        # A file may have been begun meanwhile.
        return files.paths()[:n_tabs]

    def base(self, what: str) -> Path:
        """Return the path of results, without a suffix; its directory is created."""
        self.results.mkdir(parents=True, exist_ok=True)
        return self.results / f"CB{self.beam:02d}_{what}"

    def pointing(self) -> tuple[float, float] | None:
        """Return the beam's direction in the middle of the observation (ICRS, deg), or None."""
        observation = self.observation
        pointing = observation.pointing(self.beam)
        if pointing is None:
            return None
        from darc.science import sky  # noqa: PLC0415 - numpy

        return sky.icrs_of(pointing, observation.hour_angle_at, self.instrument.position)


class TaskOutcome(Struct, frozen=True):
    """Outcome of a task.

    :param error: why it failed; empty on success
    :param problems: partial failures of a successful task
    """

    error: str
    problems: tuple[str, ...] = ()


class OfflineTask(Struct, frozen=True):
    """Offline task, for a pool (:class:`darc.candidates.pool.Task`)."""

    place: TaskLocation
    settings: OfflineProcessingSettings

    @property
    def key(self) -> str:
        """Key of the task in its observation."""
        raise NotImplementedError

    @property
    def observation(self) -> str:
        """Key of the observation's run."""
        return self.place.observation.key

    def __str__(self) -> str:
        return self.key

    def run(self) -> TaskOutcome:
        """Run the task."""
        try:
            return TaskOutcome("", tuple(self.work()))
        except (OSError, ValueError) as error:
            return TaskOutcome(str(error))

    def work(self) -> list[str]:
        """Do the work; return its partial failures.

        :raises OSError: a file cannot be read or written
        :raises ValueError: a file is invalid
        """
        raise NotImplementedError


class FoldTask(OfflineTask, Struct, frozen=True):
    """Folding of a test pulsar, in the central TAB."""

    pulsar: str
    ephemeris: Ephemeris

    @property
    def key(self) -> str:
        return f"fold {self.pulsar}"

    def work(self) -> list[str]:
        (path,) = self.place.quiet_sources(1)
        problems = _check_length(path, self.place.observation.duration)
        base = self.place.base(self.pulsar)
        written, failed = self._with_prepfold(path, base)
        if not written:
            from darc.offline.fold_report import write_report  # noqa: PLC0415 - matplotlib

            written = write_report(self._folded(path), base, self.place.instrument.observatory)
        log.info("%s: %s", self.key, ", ".join(file.name for file in written))
        return problems + failed

    def _folded(self, path: DataSource) -> FoldedPulsar:
        from darc.offline.fold_file import fold_filterbank  # noqa: PLC0415 - numba

        return fold_filterbank(
            path,
            name=self.pulsar,
            ephemeris=self.ephemeris,
            start=self.place.observation.start,
            position=self.place.instrument.position,
            n_bins=self.settings.fold_bins,
        )

    def _with_prepfold(self, path: DataSource, base: Path) -> tuple[list[Path], list[str]]:
        from darc.offline.prepfold import PrepfoldError  # noqa: PLC0415

        name = self.settings.prepfold
        program = shutil.which(name) if name else None
        if program is None:
            return [], []
        if not isinstance(path, Path):
            return [], [f"folded here: {path} are several files"]
        try:
            return self._run_prepfold(program, path, base), []
        except PrepfoldError as error:
            return [], [f"folded here, as {error}"]

    def _run_prepfold(self, program: str, path: Path, base: Path) -> list[Path]:
        from darc.data_files.open_data_file import open_data_file  # noqa: PLC0415
        from darc.offline.fold_file import FoldingError, predicted_model  # noqa: PLC0415
        from darc.offline.fold_report import write_prepfold_report  # noqa: PLC0415
        from darc.offline.prepfold import run_prepfold  # noqa: PLC0415

        observation = self.place.observation
        with open_data_file(path) as file:
            model = predicted_model(
                self.ephemeris,
                file.header,
                observation.start,
                observation.duration,
                self.place.instrument.position,
            )
        frequency = model.frequency(0.0)
        found = run_prepfold(
            program,
            path,
            self.place.output,
            period=1 / frequency,
            period_derivative=-model.frequency_derivative() / frequency**2,
            dm=self.ephemeris.dm,
            n_bins=self.settings.fold_bins,
            time_limit=self.settings.prepfold_time_limit,
        )
        try:
            here = self._folded(path)
        except FoldingError as error:
            log.warning("%s: not known whether it was detected: %s", self.key, error)
            here = None
        return write_prepfold_report(self.pulsar, path, found, here, base)


class DriftTask(OfflineTask, Struct, frozen=True):
    """Measurement of a drift scan, in all TABs."""

    drift: DriftName
    calibrator: Calibrator

    @property
    def key(self) -> str:
        return f"drift {self.drift.calibrator}"

    def work(self) -> list[str]:
        from darc.offline.drift_scan_file import measure_beam, write_drift  # noqa: PLC0415

        paths = self.place.quiet_sources()
        start = self.place.observation.start
        measured, problems = [], []
        for tab, path in enumerate(paths):
            try:
                problems += _check_length(path, self.place.observation.duration)
                measured.append(
                    measure_beam(
                        path, tab, self.calibrator, start=start, time_bin=self.settings.drift_bin
                    )
                )
            except (OSError, ValueError) as error:
                problems.append(str(error))
        if not measured:
            raise ValueError("\n".join(problems))
        base = self.place.base(f"{self.drift.calibrator}_drift")
        written = write_drift(
            base, self.drift, self.calibrator, measured, self.place.beam, self.place.reference()
        )
        log.info("%s: %s", self.key, ", ".join(file.name for file in written))
        return problems


class RepeaterTask(OfflineTask, Struct, frozen=True):
    """Search for bursts of a known repeater.

    :param source: possibly in the beam
    """

    source: Source
    processing: ProcessorSettings
    boxes: ClusterBoxes

    @property
    def key(self) -> str:
        return f"repeater {self.source.name}"

    def work(self) -> list[str]:
        from darc.candidates.observation_inputs import beam_table, mask_file  # noqa: PLC0415
        from darc.offline import repeaters  # noqa: PLC0415 - numba, matplotlib
        from darc.offline.file_stream import wait_until_quiet  # noqa: PLC0415

        place, observation = self.place, self.place.observation
        instrument = place.instrument
        pointing = place.pointing()
        radius = instrument.beam_semimajor / 60  # deg
        if pointing is None or not repeaters.is_in_field(self.source, pointing, radius):
            return []
        files = [Path(name) for name in observation.trigger_files()]
        wait_until_quiet(files)
        candidates, problems = repeaters.read_candidates(
            files,
            dm=self.source.dm,
            dm_range=self.settings.repeater_dm_range,
            snr_min=self.settings.repeater_snr_min,
            batch_length=instrument.batch_length_samples * observation.tsamp,
            tsamp=observation.tsamp,
        )
        pulses = repeaters.clusters_near(
            candidates,
            boxes=self.boxes,
            snr_min=self.settings.repeater_snr_min,
        )
        base = place.base(self.source.name.replace(" ", "").replace("/", "_"))
        arrival = place.reference()
        repeaters.write_list(base, pulses, arrival)
        log.info("%s: %d clusters near DM %.1f", self.key, len(pulses), self.source.dm)
        if not pulses:
            return problems
        searched_in_sbs = observation.searched_in_sbs
        tabs = beam_table(observation, instrument) if searched_in_sbs else None
        place.quiet_sources()
        return problems + repeaters.plot_clusters(
            observation.task_id,
            self.source.name,
            pulses,
            files=place.files(),
            tabs=tabs,
            settings=self.processing,
            mask=mask_file(observation, self.processing),
            output=place.output / "data",
            base=base,
            arrival=arrival,
        )


def _check_length(path: DataSource, duration: float) -> list[str]:
    """Report a file that is significantly shorter than the observation.

    :raises OSError: the file cannot be read
    :raises DataFileError: the file is not a data file
    """
    from darc.data_files.open_data_file import open_data_file  # noqa: PLC0415

    with open_data_file(path) as file:
        length = file.n_samples() * file.header.tsamp
    if length >= _SHORT * duration:
        return []
    return [f"{path}: {length:.1f} s of data; the observation has {duration:.1f} s"]
