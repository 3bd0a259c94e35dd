"""VOEvents that announce a fast radio burst.

VOEvent 2.0 (IVOA 2011) by the VOEvent standard for FRBs (Petroff et al. 2017, arXiv:1710.08155),
template "detection": names, units and UCDs are its own. What is not known is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import voeventparse  # type: ignore[import-untyped]

from darc.model.instrument import Instrument
from darc.model.ivoid import ALLOWED, is_ivoid
from darc.model.observation import Observation
from darc.model.trigger import Trigger

#: Electron-density models that the standard knows by name.
MODELS = ("NE2001", "TC93", "YMW16")
OTHER_MODEL = "Other"

#: The standard's name for arcmin.
ARCMIN = "MM"

#: DM per unit of redshift, pc cm-3 (triggers.md).
DM_PER_REDSHIFT = 1000

_SYSTEM = "UTC-FK5-GEO"
_MJD_ORIGIN = datetime(1858, 11, 17, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Setup:
    """What the burst was observed with; the rest is in the trigger.

    :param observatory: as VOEvents name it
    :param bandwidth: of the whole band, MHz
    :param gain: of the array, K/Jy
    :param tsys: K
    """

    observatory: str
    backend: str
    bandwidth: float
    nchan: int
    npol: int
    bits_per_sample: int
    gain: float
    tsys: float

    @classmethod
    def of(cls, observed: Observation | Instrument, instrument: Instrument, gain: float) -> Setup:
        """Of an observation, or where there is none, of the instrument as it usually is."""
        return cls(
            observatory=instrument.observatory,
            backend=instrument.backend,
            bandwidth=observed.bandwidth,
            nchan=observed.nchan,
            npol=instrument.npol,
            bits_per_sample=instrument.bits_per_sample,
            gain=gain,
            tsys=instrument.tsys,
        )


@dataclass(frozen=True, slots=True)
class Direction:
    """What follows from where the beam points, deg: Galactic coordinates and its rotation."""

    gl: float
    gb: float
    beam_rotation_angle: float


@dataclass(frozen=True, slots=True)
class Sender:
    """Who says so; stream and author are <authority>/<path>, with or without ``ivo://``.

    :raises ValueError: stream or author is nothing of the kind
    """

    stream: str
    author_ivorn: str
    contact_name: str | None
    contact_email: str | None

    def __post_init__(self) -> None:
        for text in (self.stream, self.author_ivorn):
            if not is_ivoid(text):
                raise ValueError(f"{text!r} is no IVOA identifier; allowed: {ALLOWED}")


@dataclass(frozen=True, slots=True)
class _Fact:
    name: str
    value: float | str | None
    unit: str | None = None
    ucd: str | None = None
    kind: str | None = "float"  # None: text
    description: str | None = None


def make_voevent(
    trigger: Trigger,
    setup: Setup,
    direction: Direction | None,
    sender: Sender,
    *,
    test: bool,
    created: datetime,
) -> bytes:
    """Make a VOEvent.

    :param direction: None where it is not known
    :param test: whether its role is 'test', else 'observation'; the trigger's own word is for
        the caller to heed
    :param created: now; UTC if it names no time zone. It makes the identifier unique, to 1 ms
    :return: XML, UTF-8, valid by the schema of VOEvent 2.0
    :raises ValueError: a number is not finite, a text cannot be in XML, or the result is not valid
    """
    created, arrival = _utc(created), _utc(datetime.fromisoformat(trigger.utc))
    mjd = (created - _MJD_ORIGIN) / timedelta(days=1)
    event = voeventparse.Voevent(
        stream=sender.stream.removeprefix("ivo://"),
        stream_id=f"FRB{arrival:%y%m%d%H%M}/{mjd:.8f}",
        role="test" if test else "observation",
    )
    _add_who(event, sender, created)
    for name, facts in (
        ("observatory parameters", _observatory_facts(trigger, setup, direction)),
        ("event parameters", _event_facts(trigger, direction)),
        ("advanced parameters", _advanced_facts(trigger)),
    ):
        event.What.append(voeventparse.Group(_params(facts), name=name))
    _add_where_when(event, trigger, arrival, setup.observatory)
    voeventparse.add_why(event, importance=trigger.importance)
    event.Why.Concept = trigger.name
    event.Why.Name = trigger.src_name or f"FRB{arrival:%y%m%d}"
    if not voeventparse.valid_as_v2_0(event):
        raise ValueError(f"not a VOEvent: {voeventparse.voevent_v2_0_schema.error_log.last_error}")
    xml: bytes = voeventparse.dumps(event, pretty_print=True)
    return xml


def _add_who(event: Any, sender: Sender, created: datetime) -> None:
    voeventparse.set_who(
        event,
        date=created.replace(tzinfo=None),
        author_ivorn=sender.author_ivorn.removeprefix("ivo://"),
    )
    event.Who.Description = "Made by DARC in real time, without a human's judgement"
    if sender.contact_name or sender.contact_email:
        voeventparse.set_author(
            event, contactName=sender.contact_name, contactEmail=sender.contact_email
        )


def _add_where_when(event: Any, trigger: Trigger, arrival: datetime, observatory: str) -> None:
    # FK5 (J2000) is within 0.1 arcsec of the trigger's ICRS.
    position = voeventparse.Position2D(
        ra=_text(trigger.ra),
        dec=_text(trigger.dec),
        err=_text(trigger.semiMaj / 60),
        units="deg",
        system=_SYSTEM,
    )
    voeventparse.add_where_when(event, position, arrival, observatory)
    coordinates = event.WhereWhen.ObsDataLocation.ObservationLocation.AstroCoords
    # Of a whole second, the library leaves the fraction out.
    coordinates.Time.TimeInstant.ISOTime = arrival.replace(tzinfo=None).isoformat(
        timespec="microseconds"
    )
    if trigger.ra is None or trigger.dec is None:
        del coordinates.Position2D


def _observatory_facts(
    trigger: Trigger, setup: Setup, direction: Direction | None
) -> tuple[_Fact, ...]:
    beam = "instr.beam;pos.errorEllipse"
    rotation = direction.beam_rotation_angle if direction else None
    return (
        _Fact("beam_semi-major_axis", trigger.semiMaj, ARCMIN, f"{beam};phys.angSize.smajAxis"),
        _Fact("beam_semi-minor_axis", trigger.semiMin, ARCMIN, f"{beam};phys.angSize.sminAxis"),
        _Fact("beam_rotation_angle", rotation, "Degrees", f"{beam};instr.offset"),
        _Fact("sampling_time", _thousandfold(trigger.dt), "ms", "time.resolution"),
        _Fact("bandwidth", setup.bandwidth, "MHz", "instr.bandwidth"),
        _Fact("nchan", setup.nchan, "None", "meta.number;em.freq;em.bin"),
        _Fact("centre_frequency", _thousandfold(trigger.nu_GHz), "MHz", "em.freq;instr"),
        _Fact("npol", setup.npol, "None", kind="int"),
        _Fact("bits_per_sample", setup.bits_per_sample, "None", kind="int"),
        _Fact("gain", setup.gain, "K/Jy"),
        _Fact("tsys", setup.tsys, "K", "phot.antennaTemp"),
        _Fact("backend", setup.backend, kind=None),
        _Fact("beam", trigger.cb, kind=None, description="Compound beam of the detection"),
    )


def _event_facts(trigger: Trigger, direction: Direction | None) -> tuple[_Fact, ...]:
    uncalibrated = "Peak, by the radiometer equation; not calibrated"
    return (
        _Fact("dm", trigger.dm, "pc/cm^3", "phys.dispMeasure"),
        _Fact("dm_error", trigger.dm_err, "pc/cm^3", "stat.error;phys.dispMeasure"),
        _Fact("width", trigger.width, "ms", "time.duration;src.var.pulse"),
        _Fact("snr", trigger.snr, ucd="stat.snr"),
        _Fact("flux", trigger.flux, "Jy", "phot.flux", description=uncalibrated),
        _Fact("gl", direction.gl if direction else None, "Degrees", "pos.galactic.lon"),
        _Fact("gb", direction.gb if direction else None, "Degrees", "pos.galactic.lat"),
    )


def _advanced_facts(trigger: Trigger) -> tuple[_Fact, ...]:
    redshift = trigger.dm / DM_PER_REDSHIFT
    how = f"z = DM / ({DM_PER_REDSHIFT} pc/cm^3)"
    return (
        _Fact("MW_dm_limit", trigger.ymw16, "pc/cm^3"),
        _model(trigger.galactic_model),
        _Fact("redshift_inferred", redshift, "None", "src.redshift", description=how),
    )


def _model(name: str | None) -> _Fact:
    known = name.upper() if name else None
    if known is None or known in MODELS:
        return _Fact("galactic_electron_model", known, kind=None)
    return _Fact("galactic_electron_model", OTHER_MODEL, kind=None, description=name)


def _params(facts: Iterable[_Fact]) -> list[Any]:
    params = []
    for fact in facts:
        if fact.value is None:
            continue
        param = voeventparse.Param(
            fact.name, _text(fact.value), fact.unit, fact.ucd, dataType=fact.kind
        )
        if fact.description:
            param.Description = fact.description
        params.append(param)
    return params


def _text(value: float | str | None) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is no number for a VOEvent")
    return str(value)


def _thousandfold(value: float) -> float:
    """In decimals, so that 1.2345678e-4 s is 0.12345678 ms and nothing else."""
    return float(Decimal(repr(float(value))).scaleb(3))


def _utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
