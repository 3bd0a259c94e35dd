"""VOEvents that announce a fast radio burst.

VOEvent 2.0 (IVOA 2011) by the VOEvent standard for FRBs (Petroff et al. 2017, arXiv:1710.08155),
template "detection", with its names, units and UCDs. Unknown values are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from darc.config.instrument import Instrument
from darc.config.ivoid import ALLOWED, is_ivoid
from darc.config.records import Struct
from darc.model import voevent_xml
from darc.model.arrival import DISPERSION_CONSTANT, TOPOCENTRIC, mjd_of
from darc.model.observation import Observation
from darc.model.trigger import Trigger

#: Electron-density models named in the standard.
MODELS = ("NE2001", "TC93", "YMW16")
OTHER_MODEL = "Other"

#: The standard's name for arcmin.
ARCMIN = "MM"

#: Cosmic DM per unit of redshift, pc cm-3 (docs/triggers.md, redshift_inferred).
DM_PER_REDSHIFT = 1000
#: The relation used, and what it leaves out.
REDSHIFT_RELATION = (
    f"z = (dm - MW_dm_limit) / ({DM_PER_REDSHIFT} pc/cm^3). An upper limit: the DMs of the Milky"
    " Way's halo and of the host are not subtracted"
)

_SYSTEM = "UTC-FK5-GEO"
_MJD_ORIGIN = datetime(1858, 11, 17, tzinfo=UTC)


class ObservationSetup(Struct, frozen=True):
    """Instrument that detected the burst; further values are in the trigger.

    :param observatory: its name in VOEvents
    :param bandwidth: bandwidth of the whole band, MHz
    :param gain: gain of the array, K/Jy
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
    def of(
        cls, observed: Observation | Instrument, instrument: Instrument, gain: float
    ) -> ObservationSetup:
        """Return the setup of an observation, or the default setup of an instrument."""
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


class Direction(Struct, frozen=True):
    """Galactic coordinates and rotation of the beam, deg."""

    gl: float
    gb: float
    beam_rotation_angle: float


class Sender(Struct, frozen=True):
    """Author of a VOEvent; stream and author are <authority>/<path>, with or without ``ivo://``.

    :raises ValueError: stream or author is not an IVOA identifier
    """

    stream: str
    author_ivorn: str
    contact_name: str | None
    contact_email: str | None

    def __post_init__(self) -> None:
        for text in (self.stream, self.author_ivorn):
            if not is_ivoid(text):
                raise ValueError(f"{text!r} is not an IVOA identifier; allowed: {ALLOWED}")


class Citation(Struct, frozen=True):
    """Another VOEvent that an event refers to.

    :param cite: followup, supersedes or retraction
    """

    ivorn: str
    cite: str


class Fact(Struct, frozen=True):
    name: str
    value: float | str | None
    unit: str | None = None
    ucd: str | None = None
    kind: str | None = "float"  # None: text
    description: str | None = None


def make_voevent(
    trigger: Trigger,
    setup: ObservationSetup,
    direction: Direction | None,
    sender: Sender,
    *,
    test: bool,
    created: datetime,
    dm_error: float | None = None,
    citations: Sequence[Citation] = (),
    reason: str = "",
    judged: str = "",
    tns_name: str = "",
) -> bytes:
    """Return a VOEvent.

    :param direction: None if unknown
    :param dm_error: error of the measured DM, pc cm-3; None: the trigger's, 0 for a known source
    :param test: the role is 'test', else 'observation'; the caller takes account of the trigger's
        own `test`
    :param created: current time, UTC if without time zone; makes the identifier unique, to 1 ms
    :param citations: what it follows, supersedes or retracts
    :param reason: for that
    :param judged: what the importance goes by; empty: the thresholds of the search
    :param tns_name: name that the Transient Name Server gave the burst; empty: none
    :return: XML, UTF-8, valid against the schema of VOEvent 2.0
    :raises ValueError: a number is not finite, a text cannot be in XML, or the result is not valid
    """
    created, arrival = _utc(created), _utc(datetime.fromisoformat(trigger.utc))
    event = voevent_xml.new_event(
        event_ivorn(trigger, sender, created), role="test" if test else "observation"
    )
    _add_who(event, sender, created)
    what = voevent_xml.add(event, "What")
    for name, facts in (
        ("observatory parameters", observatory_facts(trigger, setup, direction)),
        ("event parameters", event_facts(trigger, direction, dm_error)),
        ("advanced parameters", advanced_facts(trigger, arrival, tns_name)),
    ):
        _add_params(voevent_xml.add(what, "Group", name=name), facts)
    _add_where_when(event, trigger, arrival, setup.observatory)
    why = voevent_xml.add(event, "Why", importance=str(trigger.importance))
    voevent_xml.add(why, "Concept", trigger.name)
    voevent_xml.add(why, "Name", _name(trigger, arrival, tns_name))
    voevent_xml.add(why, "Description", judged or criteria(trigger))
    if citations:
        cited = voevent_xml.add(event, "Citations")
        for one in citations:
            voevent_xml.add(cited, "EventIVORN", one.ivorn, cite=one.cite)
        voevent_xml.add(cited, "Description", reason or None)
    voevent_xml.check(event)
    return voevent_xml.to_bytes(event)


def event_ivorn(trigger: Trigger, sender: Sender, created: datetime) -> str:
    """Return the identifier of a VOEvent.

    :param created: as for :func:`make_voevent`
    """
    created, arrival = _utc(created), _utc(datetime.fromisoformat(trigger.utc))
    mjd = (created - _MJD_ORIGIN) / timedelta(days=1)
    return f"{_ivorn(sender.stream)}#FRB{arrival:%y%m%d%H%M}/{mjd:.8f}"


def _add_who(event: Any, sender: Sender, created: datetime) -> None:
    who = voevent_xml.add(event, "Who")
    description = "Made by DARC in real time, without a human's judgement"
    voevent_xml.add(who, "Description", description)
    voevent_xml.add(who, "AuthorIVORN", _ivorn(sender.author_ivorn))
    # The standard requires whole seconds here.
    voevent_xml.add(who, "Date", created.replace(tzinfo=None).isoformat(timespec="seconds"))
    contacts = {"contactName": sender.contact_name, "contactEmail": sender.contact_email}
    if any(contacts.values()):
        author = voevent_xml.add(who, "Author")
        for tag, text in contacts.items():
            if text is not None:
                voevent_xml.add(author, tag, text)


def _add_where_when(event: Any, trigger: Trigger, arrival: datetime, observatory: str) -> None:
    place = voevent_xml.add(voevent_xml.add(event, "WhereWhen"), "ObsDataLocation")
    voevent_xml.add(place, "ObservatoryLocation", id=observatory)
    observation = voevent_xml.add(place, "ObservationLocation")
    voevent_xml.add(observation, "AstroCoordSystem", id=_SYSTEM)
    coordinates = voevent_xml.add(observation, "AstroCoords", coord_system_id=_SYSTEM)
    instant = voevent_xml.add(voevent_xml.add(coordinates, "Time", unit="s"), "TimeInstant")
    time = arrival.replace(tzinfo=None).isoformat(timespec="microseconds")
    voevent_xml.add(instant, "ISOTime", time)
    if trigger.ra is None or trigger.dec is None:
        return
    # FK5 (J2000) agrees with the trigger's ICRS within 0.1 arcsec.
    position = voevent_xml.add(coordinates, "Position2D", unit="deg")
    voevent_xml.add(position, "Name1", "RA")
    voevent_xml.add(position, "Name2", "Dec")
    value = voevent_xml.add(position, "Value2")
    voevent_xml.add(value, "C1", _text(trigger.ra))
    voevent_xml.add(value, "C2", _text(trigger.dec))
    voevent_xml.add(position, "Error2Radius", _text(trigger.semiMaj / 60))


def observatory_facts(
    trigger: Trigger, setup: ObservationSetup, direction: Direction | None
) -> tuple[Fact, ...]:
    """What the receiver was set to, and the beam it was seen in."""
    beam = "instr.beam;pos.errorEllipse"
    rotation = direction.beam_rotation_angle if direction else None
    return (
        Fact("beam_semi-major_axis", trigger.semiMaj, ARCMIN, f"{beam};phys.angSize.smajAxis"),
        Fact("beam_semi-minor_axis", trigger.semiMin, ARCMIN, f"{beam};phys.angSize.sminAxis"),
        Fact("beam_rotation_angle", rotation, "Degrees", f"{beam};instr.offset"),
        Fact("sampling_time", _thousandfold(trigger.dt), "ms", "time.resolution"),
        Fact("bandwidth", setup.bandwidth, "MHz", "instr.bandwidth"),
        Fact("nchan", setup.nchan, "None", "meta.number;em.freq;em.bin"),
        Fact("centre_frequency", _thousandfold(trigger.nu_GHz), "MHz", "em.freq;instr"),
        Fact("npol", setup.npol, "None", kind="int"),
        Fact("bits_per_sample", setup.bits_per_sample, "None", kind="int"),
        Fact("gain", setup.gain, "K/Jy"),
        Fact("tsys", setup.tsys, "K", "phot.antennaTemp"),
        Fact("backend", setup.backend, kind=None),
        Fact("beam", trigger.cb, kind=None, description="Compound beam of the detection"),
    )


def event_facts(
    trigger: Trigger, direction: Direction | None, dm_error: float | None
) -> tuple[Fact, ...]:
    """What was measured of the burst.

    :param dm_error: pc/cm^3; None: that of the trigger, if it has one
    """
    uncalibrated = "Peak, by the radiometer equation; not calibrated"
    by_width = "DM that delays the bottom of the band by one width"
    if dm_error is None and trigger.dm_err > 0:
        dm_error = trigger.dm_err
    return (
        Fact("dm", trigger.measured_dm, "pc/cm^3", "phys.dispMeasure"),
        Fact("dm_error", dm_error, "pc/cm^3", "stat.error;phys.dispMeasure", description=by_width),
        Fact("width", trigger.width, "ms", "time.duration;src.var.pulse"),
        Fact("snr", trigger.snr, ucd="stat.snr"),
        Fact("flux", trigger.flux, "Jy", "phot.flux", description=uncalibrated),
        Fact("gl", direction.gl if direction else None, "Degrees", "pos.galactic.lon"),
        Fact("gb", direction.gb if direction else None, "Degrees", "pos.galactic.lat"),
    )


def advanced_facts(trigger: Trigger, arrival: datetime, tns_name: str = "") -> tuple[Fact, ...]:
    """What follows from what was measured, and from what is known of the source."""
    known = trigger.dm if trigger.src_name is not None else None
    centre = "Of the time of this event: the centre of the band"
    return (
        Fact("MW_dm_limit", trigger.ymw16, "pc/cm^3"),
        _model(trigger.galactic_model),
        Fact(
            "redshift_inferred",
            _redshift(trigger),
            "None",
            "src.redshift",
            description=REDSHIFT_RELATION,
        ),
        Fact(
            "dm_catalogue",
            known,
            "pc/cm^3",
            "phys.dispMeasure",
            description="Of the known source, by the catalogue; dm is as measured",
        ),
        Fact(
            "arrival_frequency", _thousandfold(trigger.nu_GHz), "MHz", "em.freq", description=centre
        ),
        Fact(
            "arrival_mjd",
            mjd_of(arrival.timestamp()),
            "d",
            "time.epoch",
            description="The time of this event as a modified Julian date, UTC",
        ),
        Fact("arrival_frame", TOPOCENTRIC, kind=None),
        Fact("dm_constant", DISPERSION_CONSTANT, "MHz^2 pc^-1 cm^3 s"),
        Fact(
            "tns_name",
            tns_name or None,
            ucd="meta.id",
            kind=None,
            description="Name of this burst by the Transient Name Server",
        ),
    )


def _redshift(trigger: Trigger) -> float | None:
    """Return the redshift of the DM beyond the Milky Way; None if none or unknown."""
    if trigger.ymw16 is None or trigger.name == "pulsar":
        return None
    beyond = trigger.measured_dm - trigger.ymw16
    return round(beyond / DM_PER_REDSHIFT, 6) if beyond > 0 else None


def _name(trigger: Trigger, arrival: datetime, tns_name: str) -> str:
    """Return the name of the source, or of the burst, as one word."""
    return "".join((trigger.src_name or tns_name).split()) or f"FRB{arrival:%y%m%d}"


def criteria(trigger: Trigger) -> str:
    """What the importance goes by, and the numbers it went by."""
    dm = f"DM {trigger.measured_dm:.2f} pc/cm^3"
    if trigger.ymw16:
        ratio = trigger.measured_dm / trigger.ymw16
        dm += f" ({ratio:.2f} times the Milky Way's maximum)"
    return (
        "Importance from 0 (interference) to 1 (astrophysical). 0.1: it has passed the real-time"
        " thresholds on S/N, DM, width and number of candidates; neither a classifier nor a person"
        " has looked at it. This one:"
        f" S/N {trigger.snr:.1f}, {dm}, width {trigger.width:.4g} ms, candidates {trigger.count}"
    )


def _model(name: str | None) -> Fact:
    known = name.upper() if name else None
    if known is None or known in MODELS:
        return Fact("galactic_electron_model", known, kind=None)
    return Fact("galactic_electron_model", OTHER_MODEL, kind=None, description=name)


def _add_params(group: Any, facts: Iterable[Fact]) -> None:
    for fact in facts:
        if fact.value is None:
            continue
        param = voevent_xml.add(
            group,
            "Param",
            name=fact.name,
            value=_text(fact.value),
            unit=fact.unit,
            ucd=fact.ucd,
            dataType=fact.kind,
        )
        if fact.description:
            voevent_xml.add(param, "Description", fact.description)


def _ivorn(text: str) -> str:
    return f"ivo://{text.removeprefix('ivo://')}"


def _text(value: float | str | None) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")
    return str(value)


def _thousandfold(value: float) -> float:
    """Multiply by 1000 in decimals, so that 1.2345678e-4 s is exactly 0.12345678 ms."""
    return float(Decimal(repr(float(value))).scaleb(3))


def _utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
