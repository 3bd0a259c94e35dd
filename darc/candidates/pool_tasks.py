"""Work for a pool: plain objects that can be pickled, and what comes of them.

A task imports what it needs when it is run, in the process that runs it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Protocol

from darc.candidates.cluster_boxes import ClusterBoxes
from darc.config import typed
from darc.config.settings import ProcessorSettings
from darc.config.typed import OneOf
from darc.data_files.filterbank_paths import filterbank_paths
from darc.model.arrival import ArrivalReference
from darc.model.candidate import Records
from darc.model.counters import Rejection
from darc.model.observation import Pointing, task_id_of
from darc.model.parset_values import to_name
from darc.model.processing_outcome import ClusterOutcome, Detection, ListedCandidate

MAX_REASON = 10_000  # characters


class Task(Protocol):
    """Something that a pool does.

    Doing it again has the same result, as happens where a process died before its answer came.
    """

    @property
    def observation(self) -> str:
        """Its task ID, as `abort` names it."""

    def run(self) -> object:
        """Do it; what is returned can be pickled."""


def describe(pulse: Detection) -> str:
    """Which cluster it is, for the log."""
    return (
        f"DM {pulse.dm:.2f}, time {pulse.time:.4f} s (centre of the highest channel),"
        f" S/N {pulse.snr:.1f}, width {pulse.downsampling}, beam {pulse.beam}"
    )


@dataclass(frozen=True, slots=True)
class BeamFiles:
    """Where the data of a compound beam are.

    :param directory: of its filterbank files
    :param cb: compound beam
    :param n_tabs: number of TABs of the observation
    :param file: a single file of any name in place of those; None: there is none
    :param ifs: see `Filterbank`
    """

    directory: Path
    cb: int
    n_tabs: int
    file: Path | None = None
    ifs: tuple[int, ...] | None = None

    def paths(self) -> list[Path]:
        """The files, in order of TABs."""
        if self.file is not None:
            return [self.file]
        return filterbank_paths(self.directory, self.cb, self.n_tabs)


@dataclass(frozen=True, slots=True)
class ExtractionJob:
    """A cluster to be extracted and scored.

    :param key: of the cluster, in its observation
    :param tabs: the TAB of each subband of the pulse's beam, the lowest frequency first; one
        where the beam is a TAB
    :param settings: section `processor`
    :param mask: file of channels that are not used; None: all are used
    :param output: directory for the candidate's file
    :param beam: for its picture; None: none is drawn
    :param arrival: what times refer to; None: what the file's header says
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

    def run(self) -> ExtractionOutcome:
        from darc.candidates.extract_cluster import extract_candidate  # noqa: PLC0415 - numba

        return extract_candidate(self)

    def to_plain(self, result: object) -> object:
        """What it returned, in plain values."""
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
            )
        )

    def from_plain(self, plain: object) -> ExtractionOutcome:
        """The way back; the file is in this task's own directory, wherever the other says it is.

        :raises ValueError: it is no outcome
        """
        if not isinstance(plain, dict):
            raise ValueError("an outcome that is no mapping")
        said = typed.from_plain(_PlainOutcome, plain, "outcome")
        path = self.output / to_name(said.file) if said.file is not None else None
        return ExtractionOutcome(
            self.pulse, ClusterOutcome(said.fate), said.reason, path, said.listed
        )


@dataclass(frozen=True, slots=True)
class _PlainOutcome:
    fate: Annotated[str, OneOf(*ClusterOutcome)]
    reason: str
    file: str | None
    listed: ListedCandidate | None


@dataclass(frozen=True, slots=True)
class ExtractionOutcome:
    """What became of a cluster.

    :param reason: in words, where it was not kept
    :param path: the candidate's file, if it was kept; likewise its line in lists
    """

    pulse: Detection
    fate: ClusterOutcome
    reason: str = ""
    path: Path | None = None
    listed: ListedCandidate | None = None


@dataclass(frozen=True, slots=True)
class ReadingJob:
    """AMBER's trigger files of an observation in the past, to be read and clustered as a whole.

    :param batch_length: of AMBER, s
    :param tsamp: s
    :param n_beams: beams from this number on do not exist; None: any may
    """

    observation: str
    trigger_files: tuple[Path, ...]
    batch_length: float
    tsamp: float
    settings: ProcessorSettings
    n_beams: int | None
    boxes: ClusterBoxes

    def __str__(self) -> str:
        return f"the trigger files of {task_id_of(self.observation)}"

    def run(self) -> ReadTriggers:
        from darc.candidates.past_triggers import read_and_cluster  # noqa: PLC0415

        return read_and_cluster(self)


@dataclass(frozen=True, slots=True, eq=False)
class ReadTriggers:
    """What was in trigger files.

    :param clusters: CLUSTER records
    :param n_candidates: those that were read
    :param rejected: lines or candidates that were not used, by reason
    :param problems: files that could not be read, and the first bad line of each
    """

    clusters: Records
    n_candidates: int
    rejected: dict[Rejection, int]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BeamSky:
    """Where a compound beam looks.

    :param pointing: None: not known
    :param hour_angle_at: Unix s; the pointing's longitude is the hour angle then; None: it is a
        right ascension
    :param position: of the telescope, ITRF, m
    :param galaxy_map: file of the Milky Way's maximum DM: a packaged one, or a path
    """

    pointing: Pointing | None
    hour_angle_at: float | None
    position: tuple[float, float, float]
    galaxy_map: Path


@dataclass(frozen=True, slots=True)
class ResultsJob:
    """The files that say what an observation has brought, to be written when all is extracted.

    :param directory: of the results
    :param clusters: the file to list clusters in
    :param pulses: those clusters
    :param kept: the candidates that were kept: file, and line in lists
    :param n_passed: clusters that were classified
    :param n_raw: candidates of the search
    :param trigger_files: looked at for a header where there are no candidates at all
    :param searched: there was a search, whatever these files have
    :param offered: candidates are copied to where people look at them
    :param arrival: what times and widths refer to; None: not known
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
    searched: bool = False
    offered: bool = True
    arrival: ArrivalReference | None = None

    def __str__(self) -> str:
        return f"the results of {task_id_of(self.observation)}"

    def run(self) -> WrittenResults:
        from darc.candidates.write_results import write_results  # noqa: PLC0415 - matplotlib

        return write_results(self)


@dataclass(frozen=True, slots=True)
class WrittenResults:
    """What was written at an observation's end.

    :param problems: what could not be, though the rest was
    """

    problems: tuple[str, ...]
