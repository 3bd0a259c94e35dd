"""An announced burst, and its life: the notices about it, and by which roads each has left.

::

    (trigger) ──► initial ───────┐      ┌───────┐
              └─► subsequent ────┴──► update ───┴──► retraction (nothing follows it; it is owed
                                                      to each road by which the first has left)

Every notice has the event's identifier and a number, which counts from 1; the same notice, however
often it is sent, has the same bytes.
"""

from __future__ import annotations

import enum
import hashlib
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from darc.config import typed
from darc.config.records import Struct, convert, field, replace
from darc.model.name_report import NameReport, ReportState
from darc.model.trigger import Trigger

#: Notices of an event at most; what an automatic update brings beyond is not sent.
MAX_NOTICES = 50
#: State of an event that was retracted, where a road by which it has left does not know that.
OWED = "retraction owed"


class Tense(enum.StrEnum):
    """What a notice is about, as GCN names it."""

    CURRENT = "current"  # a burst
    TEST = "test"
    INJECTION = "injection"  # an artificial burst put into live data


class AlertType(enum.StrEnum):
    """Place of a notice in the life of its event, as GCN names it."""

    INITIAL = "initial"
    SUBSEQUENT = "subsequent"  # the first notice about a burst of a source that was seen before
    UPDATE = "update"
    RETRACTION = "retraction"

    @property
    def is_first(self) -> bool:
        """Whether it is the first notice about an event."""
        return self in (AlertType.INITIAL, AlertType.SUBSEQUENT)


class RoadName(enum.StrEnum):
    """A way by which notices leave."""

    VTP = "vtp"
    KAFKA = "kafka"
    WEBHOOK = "webhook"
    FILE = "file"
    CHAT = "chat"  # messages to people, which say by which others it leaves

    @property
    def carries_notices(self) -> bool:
        """Whether it carries GCN notices."""
        return self not in (RoadName.VTP, RoadName.CHAT)


class RoadState(enum.StrEnum):
    """What became of a notice on a road."""

    WAITING = "waiting"
    ACKNOWLEDGED = "acknowledged"
    GIVEN_UP = "given up"
    WITHDRAWN = "withdrawn"  # sending was disabled, or the road removed; it never left again

    @property
    def may_have_left(self) -> bool:
        """Whether somebody may have received it, so that what follows has a sense."""
        return self is not RoadState.WITHDRAWN


class Association(Struct, frozen=True, array_like=True):
    """The source that a burst is taken to be of.

    :param source: its name; of a source without one, the id of its first event
    :param probability: 0 to 1
    :param event_id: the latest earlier event of the source; empty: none was announced
    """

    source: str
    probability: float
    event_id: str = ""


class MeasuredBurst(Struct, frozen=True, array_like=True):
    """What was measured of a burst after its first notice.

    :param arrival: at the top of the band, Unix s
    :param dm: pc cm-3
    :param dm_error: pc cm-3; None: unknown
    :param width: ms
    :param probability: that it is a burst, by the classifier; None: not classified
    :param by: who or what measured it
    :param cb: compound beam that it was measured in; None: unknown
    :param sb: likewise TAB or SB
    :param picture: path of its picture, where it was measured; empty: there is none
    """

    snr: float
    arrival: float
    dm: float
    dm_error: float | None
    width: float
    probability: float | None
    by: str
    cb: int | None = None
    sb: int | None = None
    picture: str = ""


class Doubt(Struct, frozen=True, array_like=True):
    """What the classifier took for interference, until other beams were heard.

    :param since: Unix s
    :param snr: of the best finding that says so, as the rest
    :param by: who or what measured it
    """

    since: float
    snr: float
    probability: float
    by: str


class Notice(Struct, frozen=True, array_like=True):
    """A notice about an event.

    :param number: from 1
    :param at: when it was made, Unix s
    :param by: who or what it comes from
    :param supervised: that is a person
    :param reason: of an update or retraction
    :param ivorn: identifier of its VOEvent
    :param roads: what became of it, by road
    """

    number: int
    kind: AlertType
    at: float
    by: str
    supervised: bool = False
    reason: str = ""
    ivorn: str = ""
    roads: Mapping[RoadName, RoadState] = field(default_factory=dict)

    def with_state(self, road: RoadName, state: RoadState) -> Notice:
        """Return the notice with another state on a road."""
        return replace(self, roads={**self.roads, road: state})


class Event(Struct, frozen=True):
    """An announced burst.

    :param id: the same in all notices about it
    :param trigger: the trigger that announced it
    :param made: when it was announced, Unix s
    :param association: source that was seen before; None: none is known
    :param measured: the best measurement; None: there is only the search's
    :param verdict: what a person said that it is; empty: nothing
    :param best_probability: the highest that a classifier gave it in any beam; None: none did
    :param doubt: a retraction by the classifier that is held; None: there is none
    :param reports: the latest to each server of the TNS
    :param told: names of the people who have its retraction, where others have missed it
    :param topic: of Kafka, by which its first notice has left; empty: by none, or of a version
        before
    """

    id: str
    trigger: Trigger
    tense: Tense
    made: float
    association: Association | None = None
    measured: MeasuredBurst | None = None
    verdict: str = ""
    notices: tuple[Notice, ...] = ()
    best_probability: float | None = None
    doubt: Doubt | None = None
    reports: tuple[NameReport, ...] = ()
    told: tuple[str, ...] = ()
    topic: str = ""

    @property
    def name(self) -> str:
        """Name of the event: a pulsar's own, else the burst's, by the TNS once it has named it."""
        if self.trigger.name == "pulsar" and self.trigger.src_name:
            return self.trigger.src_name
        return self.tns_name or f"FRB {self.id.partition('-')[0]}"

    @property
    def tns_name(self) -> str:
        """Name that the TNS gave; empty: none. Those of its sandbox are of no meaning."""
        report = self.report_to(live=True)
        return report.name if report and report.state is ReportState.NAMED else ""

    def report_to(self, *, live: bool) -> NameReport | None:
        """Return the latest report to the live server of the TNS, or to its sandbox."""
        return next((one for one in self.reports if one.live is live), None)

    def with_report(self, report: NameReport) -> Event:
        """Return the event with a report, in the place of the one to the same server."""
        others = tuple(one for one in self.reports if one.live is not report.live)
        return replace(self, reports=(*others, report))

    @property
    def first(self) -> Notice:
        """The first notice.

        :raises IndexError: there is none yet
        """
        return self.notices[0]

    @property
    def latest(self) -> Notice:
        return self.notices[-1]

    @property
    def is_retracted(self) -> bool:
        """Whether the event was retracted: nothing is said of it any more."""
        return bool(self.notices) and self.latest.kind is AlertType.RETRACTION

    @property
    def state(self) -> str:
        """The kind of the latest notice; `OWED` where a retraction has not left everywhere."""
        return OWED if self.owed_roads() else str(self.latest.kind)

    @property
    def is_measured_elsewhere(self) -> bool:
        """Whether what was measured is of another compound beam, whose position is not known."""
        beams = self.measured.cb if self.measured else None, self.trigger.cb
        return None not in beams and beams[0] != beams[1]

    @property
    def brightness(self) -> tuple[float, float | None]:
        """S/N, and peak flux density (Jy; None: unknown), in the beam whose position is given.

        That of a measurement goes by the radiometer equation from that of the search.
        """
        trigger, measured = self.trigger, self.measured
        if measured is None:
            return trigger.snr, trigger.flux
        if self.is_measured_elsewhere:
            return trigger.snr, None  # the width is not that of the flux
        if trigger.flux is None or not (trigger.snr > 0 and trigger.width > 0 < measured.width):
            return measured.snr, None
        flux = trigger.flux * (measured.snr / trigger.snr)
        return measured.snr, round(flux * math.sqrt(trigger.width / measured.width), 6)

    @property
    def is_waiting(self) -> bool:
        """Whether a notice has not left by each of its roads yet, or a report is under way."""
        states = (state for notice in self.notices for state in notice.roads.values())
        return RoadState.WAITING in states or any(one.state.is_under_way for one in self.reports)

    def roads_to_follow(self) -> tuple[RoadName, ...]:
        """The roads by which the first notice left, or may have: what follows takes these."""
        return tuple(road for road, state in self.first.roads.items() if state.may_have_left)

    def owed_roads(self) -> tuple[RoadName, ...]:
        """The roads by which the event has left, or may have, but not its retraction.

        Where that waits, it is under way.
        """
        if not self.is_retracted:
            return ()
        done = RoadState.ACKNOWLEDGED, RoadState.WAITING
        states = self.latest.roads
        return tuple(road for road in self.roads_to_follow() if states.get(road) not in done)

    def next_notice(
        self, kind: AlertType, at: float, by: str, reason: str = "", *, supervised: bool = False
    ) -> Notice:
        """Return the notice that comes next, which :meth:`with_notice` adds.

        :raises ValueError: the life of the event has no such notice now; the text says why
        """
        if kind.is_first:
            if self.notices:
                raise ValueError(f"event {self.id} was announced before")
        elif not self.notices:
            raise ValueError(f"event {self.id} has not been announced")
        elif self.is_retracted:
            when = datetime.fromtimestamp(self.latest.at, UTC)
            text = f"event {self.id} was retracted {when:%Y-%m-%d %H:%M:%S} UTC"
            raise ValueError(f"{text} by {self.latest.by}: nothing follows a retraction")
        elif kind is AlertType.UPDATE and not supervised and len(self.notices) >= MAX_NOTICES:
            raise ValueError(f"event {self.id} has had {MAX_NOTICES} notices already")
        return Notice(len(self.notices) + 1, kind, at, by, supervised, reason)

    def with_notice(self, notice: Notice) -> Event:
        return replace(self, notices=(*self.notices, notice))

    def with_state(self, number: int, road: RoadName, state: RoadState) -> Event:
        """Return the event with the state of a notice on a road; an unknown number changes none."""
        notices = tuple(
            one.with_state(road, state) if one.number == number else one for one in self.notices
        )
        return replace(self, notices=notices)

    def to_plain(self) -> dict[str, Any]:
        """Return plain values, for a service's memory; `from_plain` reads them."""
        return {**typed.to_plain(self), "trigger": self.trigger.to_plain()}

    @classmethod
    def from_plain(cls, plain: Any) -> Event:
        """Return the event in the output of `to_plain`.

        :raises ValueError: a value is wrong
        """
        return convert(plain, cls)


def event_id(trigger: Trigger, tense: Tense) -> str:
    """Return the identifier of a trigger's event: arrival to the second, and six characters.

    The same trigger gives the same one. Programs may use an identity for several pulses, so the
    arrival is part of it; a test and a burst have different ones.
    """
    arrival = datetime.fromtimestamp(trigger.arrival, UTC)
    whole = f"{trigger.identity} {trigger.utc} {tense}"
    digest = hashlib.sha256(whole.encode(errors="backslashreplace")).hexdigest()
    return f"{arrival:%Y%m%dT%H%M%S}-{digest[:6]}"
