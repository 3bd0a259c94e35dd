"""Notices of others: JSON as the General Coordinates Network publishes it.

What comes from outside is data. A notice is read into the few typed values below; nothing else of
it is kept, and none of it is rendered or run. Two forms are known: GCN's core schema (bursts of
CHIME/FRB, DSA-110, gamma-ray bursts), and the alerts of LIGO, Virgo and KAGRA (``igwn.gwalert``),
which have a sky map instead of a position: the map is not read, and such a notice has none.
"""

from __future__ import annotations

import hashlib
import math
import re
from datetime import UTC, datetime

import numpy as np

# isort: split - records loads msgspec, at the price of what is used of it
from msgspec import DecodeError
from msgspec.json import Decoder

from darc.config import ranges
from darc.config.records import Struct, field
from darc.model.arrival import dispersion_delay
from darc.model.event import AlertType
from darc.model.notice_words import CURRENT, TENSES

MAX_DEPTH = 32
#: Of identifiers, names and topics (characters).
MAX_NAME = 200
_MAX_TIME = 64
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
#: GW alerts: the first letters of a superevent's id, but for those of the real ones.
_MOCK, _TEST = "MS", "TS"
_GW_TYPES = {
    "EARLYWARNING": AlertType.INITIAL,
    "PRELIMINARY": AlertType.INITIAL,
    "INITIAL": AlertType.INITIAL,
    "UPDATE": AlertType.UPDATE,
    "RETRACTION": AlertType.RETRACTION,
}


class NoticeError(ValueError):
    """A notice is unusable; the message says why, without its text."""


class OutsideNotice(Struct, frozen=True):
    """A notice of others, as far as it is used.

    :param source: the topic that it came by
    :param id: of the event, the same in all notices about it
    :param tense: one of `darc.model.notice_words.TENSES`
    :param trigger_time: as stated, Unix s; None: not stated
    :param trigger_frequency: to which `trigger_time` refers, MHz, as stated
    :param time_inf_freq: arrival at infinite frequency, Unix s, as stated
    :param ra: ICRS, deg, as is `dec`; None: no position
    :param position_error: radius of the region, or its largest half axis, deg, as stated
    :param dm: pc cm-3
    :param importance: 0 (interference) to 1 (astrophysical)
    :param far: false-alarm rate, Hz
    :param instrument: mission and instrument, as stated
    :param schema: address of its schema
    :param known_source: name that its sender gives the source
    """

    source: str
    id: str
    kind: AlertType
    tense: str
    trigger_time: float | None = None
    trigger_frequency: float | None = None
    time_inf_freq: float | None = None
    ra: float | None = None
    dec: float | None = None
    position_error: float | None = None
    dm: float | None = None
    snr: float | None = None
    importance: float | None = None
    far: float | None = None
    instrument: tuple[str, str] = ("", "")
    schema: str = ""
    known_source: str = ""

    @property
    def key(self) -> str:
        """Identity of the event, for stores: a digest, whatever characters the id has."""
        return hashlib.sha256(f"{self.source}\0{self.id}".encode()).hexdigest()[:32]

    @property
    def position(self) -> tuple[float, float] | None:
        """Right ascension and declination (deg); None where one of them is missing."""
        return None if self.ra is None or self.dec is None else (self.ra, self.dec)

    def arrival(self, frequency: float, reference: float | None = None) -> float | None:
        """Return when the burst arrives at a frequency, Unix s; None where that cannot be told.

        Without a DM it is the trigger time: so of gamma rays and gravitational waves. With one, the
        frequency has to be known that the time refers to.

        :param frequency: MHz
        :param reference: frequency of the trigger time where the notice states none, MHz
        """
        if self.dm is None:
            return self.trigger_time
        if self.time_inf_freq is not None:
            return self.time_inf_freq + dispersion_delay(self.dm, frequency, math.inf)
        reference = self.trigger_frequency or reference
        if self.trigger_time is None or reference is None:
            return None
        return self.trigger_time + dispersion_delay(self.dm, frequency, reference)


class _GravitationalWave(Struct, frozen=True):
    time: str | None = None
    far: float | None = None


class _Stated(Struct, frozen=True):
    """What is read; msgspec skips everything else."""

    schema: str = field(default="", name="$schema")
    id: str | int | list[str] | None = None
    event_name: str | list[str] | None = None
    alert_type: str | None = None
    alert_tense: str | None = None
    trigger_time: str | None = None
    trigger_time_frequency: float | None = None
    trigger_time_inf_freq: str | None = None
    ra: float | None = None
    dec: float | None = None
    ra_dec_error: float | list[float] | None = None
    dm: float | None = None
    snr: float | None = None
    importance: float | None = None
    p_astro: float | None = None
    far: float | None = None
    mission: str | None = None
    instrument: str | None = None
    known_source: str | None = None
    superevent_id: str | None = None
    event: _GravitationalWave | None = None


def read_notice(content: bytes, topic: str) -> OutsideNotice:
    """Read a notice.

    :param content: JSON, at most as long as the caller allows
    :param topic: that it came by
    :raises NoticeError: it is no JSON object, nested too deeply, has no id, or a value that is
        used is of a wrong type or impossible
    """
    depth = nesting(content)
    if depth > MAX_DEPTH:
        raise NoticeError(f"nested {depth} deep; allowed: {MAX_DEPTH}")
    try:
        stated = Decoder(_Stated).decode(content)
    except (DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise NoticeError(f"not a notice: {str(error)[:200]}") from None
    if stated.superevent_id is not None:
        return _of_gravitational_wave(stated, stated.superevent_id, topic)
    return OutsideNotice(
        source=topic,
        id=_id_of(stated),
        kind=_kind(stated.alert_type),
        tense=_tense(stated.alert_tense),
        trigger_time=_time("trigger_time", stated.trigger_time),
        trigger_frequency=_within(
            "trigger_time_frequency", stated.trigger_time_frequency, 1.0, 1e6
        ),
        time_inf_freq=_time("trigger_time_inf_freq", stated.trigger_time_inf_freq),
        ra=_within("ra", stated.ra, 0.0, 360.0),
        dec=_within("dec", stated.dec, -90.0, 90.0),
        position_error=_error_of(stated.ra_dec_error),
        dm=_within("dm", stated.dm, ranges.DM.low, ranges.DM.high),
        snr=_within("snr", stated.snr, 0.0, 1e12),
        importance=_within(
            "importance",
            stated.p_astro if stated.importance is None else stated.importance,
            0.0,
            1.0,
        ),
        far=_within("far", stated.far, 0.0, 1e12),
        instrument=(
            _name("mission", stated.mission or ""),
            _name("instrument", stated.instrument or ""),
        ),
        schema=_name("$schema", stated.schema),
        known_source=_name("known_source", stated.known_source or ""),
    )


def _of_gravitational_wave(stated: _Stated, id: str, topic: str) -> OutsideNotice:
    kind = _GW_TYPES.get(stated.alert_type or "")
    if kind is None:
        raise NoticeError(f"alert_type is not one of {', '.join(_GW_TYPES)}")
    event = stated.event or _GravitationalWave()
    return OutsideNotice(
        source=topic,
        id=_identifier("superevent_id", id),
        kind=kind,
        tense="test" if id.startswith((_MOCK, _TEST)) else CURRENT,
        trigger_time=_time("event.time", event.time),
        far=_within("event.far", event.far, 0.0, 1e12),
        schema=_name("$schema", stated.schema),
    )


def nesting(content: bytes) -> int:
    """Return how deep the brackets of a JSON text are nested, whatever else is wrong with it."""
    bare = np.frombuffer(_STRING.sub(b"", content), dtype=np.uint8)
    step = np.zeros(len(bare), dtype=np.int32)
    step[(bare == ord("[")) | (bare == ord("{"))] = 1
    step[(bare == ord("]")) | (bare == ord("}"))] = -1
    return int(np.cumsum(step).max(initial=0))


def _id_of(stated: _Stated) -> str:
    """Return the event's id: the first of several; its name where it has none."""
    for name, value in (("id", stated.id), ("event_name", stated.event_name)):
        several = value if isinstance(value, list) else [value]
        if several and several[0] not in (None, ""):
            return _identifier(name, str(several[0]))
    raise NoticeError("neither id nor event_name")


def _identifier(name: str, text: str) -> str:
    if not text:
        raise NoticeError(f"{name} is empty")
    return _name(name, text)


def _name(name: str, text: str) -> str:
    if len(text) > MAX_NAME:
        raise NoticeError(f"{name} has {len(text)} characters; allowed: {MAX_NAME}")
    if not text.isprintable():
        raise NoticeError(f"{name} has characters that cannot be printed")
    return text


def _kind(text: str | None) -> AlertType:
    try:
        return AlertType.INITIAL if text is None else AlertType(text)
    except ValueError:
        raise NoticeError(f"alert_type is not one of {', '.join(AlertType)}") from None


def _tense(text: str | None) -> str:
    if text is not None and text not in TENSES:
        raise NoticeError(f"alert_tense is not one of {', '.join(TENSES)}")
    return text or CURRENT  # as CHIME/FRB's, which state none


def _time(name: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        if len(text) > _MAX_TIME:
            raise ValueError
        moment = datetime.fromisoformat(text)
        unix = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise NoticeError(f"{name} is not a time; allowed: ISO 8601") from None
    return _within(name, unix, ranges.START.low, ranges.START.high)


def _error_of(value: float | list[float] | None) -> float | None:
    if isinstance(value, list):
        if not 1 <= len(value) <= 3:
            raise NoticeError(f"ra_dec_error has {len(value)} values; allowed: 1 to 3")
        value = max(value[:2])  # the third is an angle
    return _within("ra_dec_error", value, 0.0, 360.0)


def _within(name: str, value: float | None, low: float, high: float) -> float | None:
    """Return a number; -0.0 becomes 0.0, and NaN is none."""
    if value is None:
        return None
    if not low <= value <= high:
        raise NoticeError(f"{name} is {value!r:.40}; allowed: {low:g} to {high:g}")
    return value + 0.0
