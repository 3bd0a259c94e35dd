"""What is shown of an observation's results."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path

from darc.model.arrival import ArrivalReference
from darc.model.observation import Observation
from darc.model.processing_outcome import ListedCandidate, ProcessingSummary


@dataclass(frozen=True, slots=True)
class FrequencyRange:
    """Edges of a band, MHz."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high < float("inf"):
            raise ValueError(f"no band from {self.low} to {self.high} MHz")


@dataclass(frozen=True, slots=True)
class Coordinates:
    """Where a compound beam pointed: right ascension and declination (ICRS), Galactic; all deg."""

    cb: int
    ra: float
    dec: float
    gl: float
    gb: float


class BeamState(enum.StrEnum):
    """How far the processing of a compound beam is."""

    WAITING = "processing"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class BeamResults:
    """What became of a compound beam.

    :param summary: of a beam that is done
    :param dm_galaxy: maximum DM of the Milky Way there, pc cm-3; None: not known
    :param files: to offer: plots, trigger list, summary
    """

    cb: int
    state: BeamState
    summary: ProcessingSummary | None = None
    dm_galaxy: float | None = None
    files: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class ShownCandidate:
    """A candidate with what there is to look at.

    :param picture: PNG
    :param file: HDF5
    """

    listed: ListedCandidate
    picture: Path | None = None
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class ObservationResults:
    """All that is shown of an observation.

    :param done: no beam is waited for any more
    :param beams: all that were observed
    :param coordinates: of those whose pointing is known
    :param files: to offer, beside those of the beams
    :param made: when this was so, Unix s
    :param arrival: what times and widths refer to; None: not known
    """

    observation: Observation
    done: bool
    beams: tuple[BeamResults, ...]
    coordinates: tuple[Coordinates, ...]
    candidates: tuple[ShownCandidate, ...]
    made: float
    files: tuple[Path, ...] = ()
    arrival: ArrivalReference | None = None
