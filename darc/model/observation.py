"""An observation: one typed object, built and checked once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from darc.config import ranges, typed
from darc.config.instrument import BandEdges
from darc.config.records import Struct
from darc.config.typed import OneOf, Range, shown
from darc.model.arrival import ArrivalReference, reference_frequency

_Beam = Annotated[int, ranges.BEAM]
_Count = Annotated[int, ranges.COUNT]
_Port = Annotated[int, Range(1, 65535)]
#: Separates task id and run in a key; it cannot occur in a task id.
_RUN = "#"


class ObservationProblem(Struct, frozen=True):
    """A problem in the files of an observation: file, line, key, value, and what is allowed.

    `line` is 0 if unknown, `value` None for a missing key. `what` describes the problem where the
    value alone does not show it.
    """

    file: str
    line: int
    key: str
    value: str | None
    allowed: str
    what: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        what = "missing" if self.value is None else f"{shown(self.value)} is invalid"
        what = self.what or what
        return f"{place}: {self.key}: {what}; allowed: {self.allowed}"


def task_id_of(key: str) -> str:
    """Return the task id in an observation's key."""
    return key.partition(_RUN)[0]


class ObservationError(ValueError):
    """The description of an observation is invalid; `problems` lists all problems."""

    def __init__(self, *problems: ObservationProblem) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class Pointing(Struct, frozen=True):
    """Pointing of a compound beam: right ascension or hour angle, and declination (deg)."""

    beam: _Beam
    longitude_deg: float
    latitude_deg: float


class Observation(BandEdges, Struct, frozen=True):
    """An observation on this node, made by `build_observation`.

    Paths are as in the parset; an empty text if it has none.
    """

    task_id: str
    datetimesource: str  # also the name of its directories
    date: str  # YYYYMMDD
    source: str
    start: Annotated[float, ranges.START]  # Unix s, to the microsecond
    utc_start: str  # YYYY-MM-DD-hh:mm:ss, as in the headers of the raw data
    duration: Annotated[float, ranges.DURATION]  # s
    proctrigger: bool  # false: no processing
    enable_iquv: bool  # false: no IQUV dumps
    beam: _Beam | None  # the compound beam of this worker; None: a master
    beams: tuple[_Beam, ...]  # all compound beams observed
    source_beam: _Beam | None  # the compound beam that holds the source, if known
    pointings: tuple[Pointing, ...]  # empty if unknown
    reference_frame: Annotated[str, OneOf("J2000", "HADEC")]  # of the pointings
    dishes: tuple[str, ...]  # names, empty if unknown
    n_dishes: _Count
    min_freq: Annotated[float, ranges.FREQUENCY]  # MHz, centre of the lowest channel
    bandwidth: Annotated[float, ranges.BANDWIDTH]  # MHz
    nchan: _Count
    tsamp: Annotated[float, ranges.TSAMP]  # s
    ntabs: _Count
    nsynbeams: _Count
    science_case: Annotated[int, Range(-(10**18), 10**18)] | None
    snrmin: float | None  # of AMBER's candidates
    amber_dir: str
    amber_config: str
    amber_instances: Annotated[int, Range(0, 1000)]  # each writes a trigger file; 0: unknown
    amber_conf_dir: str
    output_dir: str
    master_dir: str
    event_port_i: _Port | None  # of dada_dbevent; the configuration takes precedence
    event_port_iquv: _Port | None
    config_file: str  # file that the observation was read from
    candidate_dir: str = ""  # of a search engine other than AMBER
    run: str = ""  # unique for each start, also of the same observation

    @property
    def key(self) -> str:
        """Key of this run for queue entries, progress and stored state."""
        return f"{self.task_id}{_RUN}{self.run}" if self.run else self.task_id

    @property
    def end(self) -> float:
        """End time (Unix s)."""
        return self.start + self.duration

    @property
    def hour_angle_at(self) -> float | None:
        """When pointings in hour angle hold: in the middle (Unix s); None: they are ICRS."""
        return self.start + self.duration / 2 if self.reference_frame == "HADEC" else None

    @property
    def f_reference(self) -> float:
        """Centre of the highest channel, to which times of arrival refer (MHz)."""
        return reference_frequency(self.min_freq, self.channel_width, self.nchan)

    @property
    def searched_in_sbs(self) -> bool:
        """Whether AMBER searched synthesised beams; otherwise tied-array beams."""
        return self.nsynbeams > 1

    def arrival_reference(self, telescope: str = "") -> ArrivalReference:
        """Return the reference of its candidates' arrival times and widths.

        :param telescope: its name; empty: unknown
        """
        return ArrivalReference(
            frequency=self.f_reference,
            start=self.start or None,
            tsamp=self.tsamp,
            telescope=telescope,
            source=self.source,
        )

    def pointing(self, beam: int) -> Pointing | None:
        """Return the pointing of a compound beam; None if unknown."""
        return next((entry for entry in self.pointings if entry.beam == beam), None)

    def directory_in(self, directory: str | Path) -> Path:
        """Return its directory of results below one, the same for all nodes."""
        return Path(directory) / self.date / self.datetimesource

    def trigger_files(self) -> list[str]:
        """Return AMBER's trigger files on this worker, one per instance; none on a master."""
        if self.beam is None:
            return []
        return [
            f"{self.amber_dir}/CB{self.beam:02d}_step{step}.trigger"
            for step in range(1, self.amber_instances + 1)
        ]

    def to_plain(self) -> dict[str, Any]:
        """Return dicts, lists and scalars."""
        plain: dict[str, Any] = typed.to_plain(self)
        return plain

    @classmethod
    def from_plain(cls, data: dict[str, Any]) -> Observation:
        """Return an observation from the output of `to_plain`.

        :raises ValueError: a type is wrong, a key missing or unknown
        """
        return typed.from_plain(cls, data, "observation")
