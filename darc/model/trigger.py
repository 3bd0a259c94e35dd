"""A trigger: a cluster that passed the thresholds, with all that external systems need."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from darc.config import ranges, typed
from darc.config.records import Struct, field
from darc.config.typed import OneOf, Range

_DM = Annotated[float, ranges.DM]
_Number = Annotated[int, Range(0, 2**53)]
_Beam = Annotated[int, ranges.BEAM]
_Index = Annotated[int, Range(-(2**63), 2**63 - 1)]
_Positive = Annotated[float, ranges.DERIVED]
_Moment = Annotated[float, Range(0, 1e11)]  # Unix s
#: Of these, delays are made: zero, and what is as good as that, would end whoever computes one.
_Channel = Annotated[float, Range(1e-9, ranges.BANDWIDTH.high)]  # MHz
_Centre = Annotated[float, Range(1e-3, 1e4)]  # GHz


class Stages(Struct, frozen=True):
    """Time at which a trigger passed each stage, Unix s; None if unknown.

    The first three are those of the first line of its time window.
    """

    written: _Moment | None = None  # by the file system's clock
    read: _Moment | None = None
    queued: _Moment | None = None
    closed: _Moment | None = None  # its window in amber_clustering, which had settled or closed
    clustered: _Moment | None = None
    decided: _Moment | None = None
    waited: _Moment = 0.0  # for windows to settle, as configured (s)


class Trigger(Struct, frozen=True):
    """A trigger as sent to other services; field names are those of external systems.

    Observation, window and DM bin are its identity: at most one trigger is sent for each.
    """

    observation: str
    window: _Index  # index of the time window on data time
    dm_bin: _Index
    name: str  # 'pulsar' or 'frb' for a known source, else 'candidate'
    src_name: str | None  # of the known source
    dm: _DM  # pc cm-3; the source's, if known
    dm_err: _Positive  # pc cm-3; 0 for a known source
    dm_cluster: _DM  # pc cm-3, as found
    width: Annotated[float, ranges.WIDTH]  # ms
    downsampling: Annotated[int, Range(0, ranges.DOWNSAMPLING.high)]  # width in samples
    snr: Annotated[float, ranges.SNR]
    flux: _Positive | None  # peak flux density, Jy
    ra: Annotated[float, Range(0, 360)] | None  # deg, ICRS
    dec: Annotated[float, Range(-90, 90)] | None  # deg, ICRS
    cb: _Beam | None  # compound beam
    sb: _Beam  # TAB or SB
    ymw16: _DM | None  # the Milky Way's maximum DM in this direction, pc cm-3
    galactic_model: str | None  # the model it comes from
    semiMaj: _Positive  # noqa: N815 - arcmin
    semiMin: _Positive  # noqa: N815 - arcmin
    datetimesource: str
    utc: str  # arrival at the band's centre, ISO
    tarr: Annotated[
        float, Range(-ranges.TIME.high, ranges.TIME.high)
    ]  # AMBER's time: s since the start, centre of the highest channel
    count: _Number  # raw candidates in the cluster
    importance: float
    dt: _Positive  # sampling time, s
    delta_nu_MHz: _Channel  # noqa: N815 - width of a channel
    nu_GHz: _Centre  # noqa: N815 - centre of the band
    test: bool | None = None  # overrides the configured value where given
    stokes: Annotated[str, OneOf("IQUV", "I")] = "IQUV"  # which raw data to dump
    nchan: _Number | None = None  # None: the instrument's; likewise for gain
    gain: _Positive | None = None  # of the array, K/Jy
    stages: Stages = field(default_factory=Stages)
    injection: bool = False  # of an artificial burst put into live data

    def __post_init__(self) -> None:
        try:
            believed = ranges.ARRIVAL.allows(self.arrival)
        except (ValueError, OverflowError):
            believed = False
        if not believed:
            what = f"{typed.shown(self.utc)} is not a time of an observation"
            raise ValueError(f"trigger: utc: {what}; allowed: ISO 8601, 1990 to 2200")

    @property
    def identity(self) -> str:
        """Identity of the trigger, independent of how lines were batched."""
        return f"{self.observation}/{self.window}/{self.dm_bin}"

    @property
    def arrival(self) -> float:
        """Arrival time at the centre of the band, Unix s, accurate to 1 µs."""
        utc = datetime.fromisoformat(self.utc)
        return (utc if utc.tzinfo else utc.replace(tzinfo=UTC)).timestamp()

    @property
    def measured_dm(self) -> float:
        """DM as measured, pc cm-3: `dm` of a known source is the catalogue's."""
        return self.dm if self.src_name is None else self.dm_cluster

    def to_plain(self) -> dict[str, Any]:
        plain: dict[str, Any] = typed.to_plain(self)
        if not self.injection:  # a master node of an earlier version does not know it
            del plain["injection"]
        return plain

    @classmethod
    def from_plain(cls, data: object) -> Trigger:
        """Return a trigger from the output of `to_plain`.

        :raises ValueError: a type is wrong, a value out of range, a key missing or unknown
        """
        if not isinstance(data, dict):
            raise ValueError(f"trigger: {typed.shown(data)} is not a mapping")
        return typed.from_plain(cls, data, "trigger")
