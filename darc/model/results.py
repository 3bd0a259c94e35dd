"""Results of an observation, as shown on its page."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from pathlib import Path

from darc.config.records import Struct, field
from darc.model.arrival import ArrivalReference
from darc.model.observation import Observation
from darc.model.processing_outcome import ListedCandidate, ProcessingSummary


class Coordinates(Struct, frozen=True):
    """Pointing of a compound beam: ICRS ra and dec, Galactic gl and gb; deg."""

    cb: int
    ra: float
    dec: float
    gl: float
    gb: float


class BeamState(enum.StrEnum):
    """Progress of the processing of a compound beam."""

    WAITING = "processing"
    DONE = "done"
    FAILED = "failed"


class BeamResults(Struct, frozen=True):
    """Results of a compound beam.

    :param summary: None until the beam is done
    :param files: files to link: plots, trigger list, summary
    :param dms_galaxy: maximum DM of the Milky Way in its direction, pc cm-3, by each model's name,
        the one that counts first; empty: unknown
    """

    cb: int
    state: BeamState
    summary: ProcessingSummary | None = None
    files: tuple[Path, ...] = ()
    dms_galaxy: Mapping[str, float] = field(default_factory=dict)

    @property
    def dm_galaxy(self) -> float | None:
        """That maximum by the model that counts, pc cm-3; None: unknown."""
        return next(iter(self.dms_galaxy.values()), None)


class SourceMatch(Struct, frozen=True):
    """A known source that a candidate may be of, by position and DM, with its probability."""

    name: str
    probability: float


class ShownCandidate(Struct, frozen=True):
    """A candidate with its files.

    :param picture: PNG plot
    :param file: HDF5 file
    :param source: the known source that it is of most probably; None: it matches none
    """

    listed: ListedCandidate
    picture: Path | None = None
    file: Path | None = None
    source: SourceMatch | None = None


class ObservationResults(Struct, frozen=True):
    """Results of an observation.

    :param done: all beams are done or failed
    :param beams: all observed compound beams
    :param coordinates: those of beams whose pointing is known
    :param files: files to link, besides those of the beams
    :param made: time of this state, Unix s
    :param arrival: reference of times and widths; None: unknown
    :param problems: what they lack, and why
    """

    observation: Observation
    done: bool
    beams: tuple[BeamResults, ...]
    coordinates: tuple[Coordinates, ...]
    candidates: tuple[ShownCandidate, ...]
    made: float
    files: tuple[Path, ...] = ()
    arrival: ArrivalReference | None = None
    problems: tuple[str, ...] = ()
