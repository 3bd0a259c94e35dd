"""Jobs of processing, and their results, as plain objects that can be pickled."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from darc.candidates.cluster_boxes import ClusterBoxes
from darc.candidates.file_clock import DataTimes
from darc.candidates.injections import Injections
from darc.config import typed
from darc.config.instrument import DATA_FILES
from darc.config.records import Struct, field, replace
from darc.config.settings import ProcessorSettings
from darc.config.typed import OneOf
from darc.data_files.data_source import DataSource
from darc.data_files.files_of_observation import of_observation
from darc.data_files.filterbank_paths import data_sources
from darc.model.arrival import ArrivalReference
from darc.model.candidate import Records
from darc.model.counters import Rejection
from darc.model.observation import Pointing, task_id_of
from darc.model.parset_values import to_name
from darc.model.processing_outcome import ClusterOutcome, Detection, ListedCandidate
from darc.trigger_files.candidate_source import SourceContext

MAX_REASON = 10_000  # characters


def describe(pulse: Detection) -> str:
    """Describe a cluster for the log."""
    return (
        f"DM {pulse.dm:.2f}, time {pulse.time:.4f} s (centre of the highest channel),"
        f" S/N {pulse.snr:.1f}, width {pulse.downsampling}, beam {pulse.beam}"
    )


class BeamFiles(Struct, frozen=True):
    """Data files of a compound beam.

    :param directory: directory of the files
    :param cb: compound beam
    :param n_tabs: number of TABs of the observation
    :param file: single file of any name instead of those; None: not used
    :param ifs: see `open_data_file`
    :param patterns: names of the files, see :func:`darc.data_files.filterbank_paths.data_sources`
    :param times: what is known of their times
    """

    directory: Path
    cb: int
    n_tabs: int
    file: DataSource | None = None
    ifs: tuple[int, ...] | None = None
    patterns: tuple[str, ...] = DATA_FILES
    times: DataTimes = field(default_factory=DataTimes)

    def paths(self) -> list[DataSource]:
        """Return the data of each TAB, in their order."""
        if self.file is not None:
            return [self.file]
        found = data_sources(self.directory, self.cb, self.n_tabs, self.patterns)
        if self.times.span is None or not self.times.by_header:
            return found
        return [of_observation(source, *self.times.span) for source in found]


class ExtractionJob(Struct, frozen=True):
    """Extraction and scoring of a cluster.

    :param key: key of the cluster in its observation
    :param tabs: TAB of each subband of the pulse's beam, the lowest frequency first; a single one
        if the beam is a TAB
    :param settings: section `processor`
    :param mask: channel-mask file; None: all channels are used
    :param output: directory for the candidate's file
    :param beam: for its picture; None: no picture
    :param arrival: reference of times; None: from the file's header
    """

    observation: str
    key: str
    files: BeamFiles
    pulse: Detection
    tabs: tuple[int, ...]
    settings: ProcessorSettings
    mask: Path | None
    output: Path
    beam: BeamSky | None = None
    arrival: ArrivalReference | None = None

    def __str__(self) -> str:
        return describe(self.pulse)

    def to_plain(self, result: object) -> object:
        """Convert a result of `run` to plain values.

        :raises TypeError: the result is not an outcome
        """
        if not isinstance(result, ExtractionOutcome):
            raise TypeError(f"no outcome: {result!r:.100}")
        path, listed = result.path, result.listed
        return typed.to_plain(
            _PlainOutcome(
                str(result.fate),
                result.reason[:MAX_REASON],
                path.name if path else None,
                replace(
                    listed,
                    snr=float(listed.snr),
                    dm=float(listed.dm),
                    time=float(listed.time),
                    downsampling=int(listed.downsampling),
                    probability=float(listed.probability),
                )
                if listed
                else None,
                None if result.probability is None else float(result.probability),
                result.differs,
            )
        )

    def from_plain(self, plain: object) -> ExtractionOutcome:
        """Convert plain values to a result; the file's path is always in this task's own directory.

        :raises ValueError: the values are not an outcome
        """
        if not isinstance(plain, dict):
            raise ValueError("an outcome that is no mapping")
        said = typed.from_plain(_PlainOutcome, plain, "outcome")
        path = self.output / to_name(said.file) if said.file is not None else None
        return ExtractionOutcome(
            self.pulse,
            ClusterOutcome(said.fate),
            said.reason,
            path,
            said.listed,
            said.probability,
            said.differs,
        )


class _PlainOutcome(Struct, frozen=True):
    fate: Annotated[str, OneOf(*ClusterOutcome)]
    reason: str
    file: str | None
    listed: ListedCandidate | None
    # Workers of versions before do not say these.
    probability: float | None = None
    differs: tuple[str, str] | None = None


class ExtractionOutcome(Struct, frozen=True):
    """Outcome of a cluster.

    :param fate: category of the outcome
    :param reason: text, if it was not kept
    :param path: the candidate's file, if it was kept
    :param listed: its entry in lists, if it was kept
    :param probability: that it is a burst, if it was classified and not kept
    :param differs: its file and how that is sampled, where that is not as it should be
    """

    pulse: Detection
    fate: ClusterOutcome
    reason: str = ""
    path: Path | None = None
    listed: ListedCandidate | None = None
    probability: float | None = None
    differs: tuple[str, str] | None = None


class ReadingJob(Struct, frozen=True):
    """Reading and clustering of the candidates of a past observation.

    :param trigger_files: of AMBER
    :param batch_length: length of AMBER's batches, s
    :param source: candidate source, whose files are read instead; None: AMBER's, as given
    :param tsamp: s
    :param n_beams: number of beams; candidates of other beams are rejected; None: no limit
    :param injections: whose candidates are left out; None: there are none
    """

    observation: str
    trigger_files: tuple[Path, ...]
    batch_length: float
    tsamp: float
    settings: ProcessorSettings
    n_beams: int | None
    boxes: ClusterBoxes
    source: SourceContext | None = None
    injections: Injections | None = None

    def __str__(self) -> str:
        return f"the trigger files of {task_id_of(self.observation)}"


class ReadTriggers(Struct, frozen=True, eq=False):
    """Contents of trigger files.

    :param clusters: CLUSTER records
    :param n_candidates: number of candidates read
    :param rejected: number of rejected lines or candidates, by reason
    :param problems: unreadable files, and the first invalid line of each file
    :param left_alone: number of files of other observations
    """

    clusters: Records
    n_candidates: int
    rejected: dict[Rejection, int]
    problems: tuple[str, ...]
    left_alone: int = 0


class BeamSky(Struct, frozen=True):
    """Pointing of a compound beam.

    :param pointing: None: unknown
    :param hour_angle_at: Unix s at which the pointing's longitude is an hour angle; None: it is a
        right ascension
    :param position: position of the telescope, ITRF, m
    :param galaxy_map: map of the Milky Way's maximum DM: a packaged file, or a path
    :param more_maps: further maps, whose values are noted as well
    """

    pointing: Pointing | None
    hour_angle_at: float | None
    position: tuple[float, float, float]
    galaxy_map: Path
    more_maps: tuple[Path, ...] = ()


class ResultsJob(Struct, frozen=True):
    """Writing of the results of an observation, after all extractions.

    :param directory: directory of the results
    :param clusters: file for the list of clusters
    :param pulses: these clusters
    :param kept: candidates that were kept: file, and entry in lists
    :param n_passed: number of classified clusters
    :param n_raw: number of candidates of the search
    :param trigger_files: checked for a header if there are no candidates
    :param arrival: reference of times and widths
    :param searched: there was a search, whatever these files contain
    :param offered: candidates are copied to the results
    """

    observation: str
    cb: int
    directory: Path
    clusters: Path
    pulses: tuple[Detection, ...]
    kept: tuple[tuple[Path, ListedCandidate], ...]
    n_passed: int
    n_raw: int
    trigger_files: tuple[Path, ...]
    settings: ProcessorSettings
    beam: BeamSky
    arrival: ArrivalReference
    searched: bool = False
    offered: bool = True

    def __str__(self) -> str:
        return f"the results of {task_id_of(self.observation)}"


class WrittenResults(Struct, frozen=True):
    """Outcome of a `ResultsJob`.

    :param problems: what could not be written, though the rest was
    """

    problems: tuple[str, ...]
