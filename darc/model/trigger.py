"""A trigger: a cluster that is worth something, with all that the systems outside want to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from darc.model import typed


@dataclass(frozen=True, slots=True)
class Trigger:
    """A trigger as it is passed on; the names are those that clients of these systems know.

    Observation, window and DM bin are its identity: at most one trigger leaves for each.
    """

    observation: str
    window: int  # index of the time window on data time
    dm_bin: int
    name: str  # 'pulsar' or 'frb' for a known source, else 'candidate'
    src_name: str | None  # of the known source
    dm: float  # pc cm-3; the source's, if known
    dm_err: float  # pc cm-3; 0 for a known source
    dm_cluster: float  # pc cm-3, as found
    width: float  # ms
    downsampling: int  # width in samples
    snr: float
    flux: float | None  # peak flux density, Jy
    ra: float | None  # deg, ICRS
    dec: float | None  # deg, ICRS
    cb: int | None  # compound beam
    sb: int  # TAB or SB
    ymw16: float | None  # the Milky Way's maximum DM in this direction, pc cm-3
    galactic_model: str | None  # the model it comes from
    semiMaj: float  # noqa: N815 - arcmin
    semiMin: float  # noqa: N815 - arcmin
    datetimesource: str
    utc: str  # arrival at the band's centre, ISO
    tarr: float  # AMBER's time: s since the start, top of the band
    count: int  # raw candidates in the cluster
    importance: float
    dt: float  # sampling time, s
    delta_nu_MHz: float  # noqa: N815 - width of a channel
    nu_GHz: float  # noqa: N815 - centre of the band
    test: bool | None = None  # overrides the configured value where given

    @property
    def identity(self) -> str:
        """The same however lines happened to be batched."""
        return f"{self.observation}/{self.window}/{self.dm_bin}"

    def to_plain(self) -> dict[str, Any]:
        plain: dict[str, Any] = typed.to_plain(self)
        return plain

    @classmethod
    def from_plain(cls, data: dict[str, Any]) -> Trigger:
        """The way back from `to_plain`.

        :raises ValueError: a type is wrong, a key missing or unknown
        """
        return typed.from_plain(cls, data, "trigger")
