"""Notices about events: how one is composed, committed with what follows, and sent."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from darc.config.records import replace
from darc.model.event import AlertType, Event, Notice, RoadName, Tense
from darc.queues.messages import Commit
from darc.runtime.fault_points import fault_point
from darc.runtime.log import about
from darc.services.base.alerts import Alerts
from darc.services.voevent_generator.alert_losses import (
    NOTICE_INVALID,
    VOEVENT_INVALID,
    cannot_be_told,
)
from darc.services.voevent_generator.composer import ComposedNotice, Composer
from darc.services.voevent_generator.departures import Departures, Origin
from darc.services.voevent_generator.name_reports import NameReports
from darc.services.voevent_generator.pending_event import PendingEvent
from darc.services.voevent_generator.settings import VOEventGeneratorSettings
from darc.services.voevent_generator.voevent_copies import VOEventCopies

log = logging.getLogger(__name__)

#: Identifiers of VOEvents resolve 0.9 ms (s): two made within that would be taken for one.
APART_SECONDS = 1e-3
#: As many as are made at once take much less (s).
AHEAD_SECONDS = 1.0


class Announcer:
    """Notices of a service, and the reports that leave with them."""

    def __init__(
        self,
        service: Alerts[VOEventGeneratorSettings],
        departures: Departures,
        reports: NameReports,
    ) -> None:
        self.service = service
        self.departures = departures
        self.book = departures.book
        self.copies = VOEventCopies()
        self.reports = reports
        self._last_made = 0.0  # when the last notice was, Unix s

    def composed(
        self,
        event: Event,
        kind: AlertType,
        by: str,
        reason: str = "",
        *,
        supervised: bool = False,
        earlier: str = "",
    ) -> ComposedNotice | None:
        """Compose a notice, and have a copy of its VOEvent kept; None where it cannot be told."""
        identity = event.trigger.identity
        notice = event.next_notice(kind, self._moment(), by, reason, supervised=supervised)
        roads = [road for road in RoadName if self.departures.usable(road, event.tense)]
        made = self._compose(event, notice, roads, earlier)
        if made is None:
            return None
        if made.invalid:
            log.error("no notice of %s: %s", identity, made.invalid)
            self.departures.count("notice", "invalid")
        if made.problem:
            cannot_be_told(self.service, identity, made.problem, VOEVENT_INVALID)
        elif event.tense is not Tense.INJECTION:
            where = self.service.settings.voevent_dir, self.service.settings.files_kept
            self.copies.keep(*where, event.trigger, notice.number, made.xml)
        return made

    def _compose(
        self, event: Event, notice: Notice, roads: Collection[RoadName], earlier: str = ""
    ) -> ComposedNotice | None:
        identity, json = event.trigger.identity, any(road.carries_notices for road in roads)
        composer = Composer(self.service.config, self.service.settings)
        try:
            made = composer.compose(event, notice, earlier=earlier, json=json)
        except Exception as error:  # a defect must not end the service at each start
            cannot_be_told(self.service, identity, error)
            return None
        if made.invalid:
            self.service.lost(NOTICE_INVALID, identity, made.invalid)
        return made

    def _moment(self) -> float:
        """Return the time of now (Unix s); of notices made at once, each has its own."""
        now, earliest = time.time(), self._last_made + APART_SECONDS
        # Not where the clock was set back.
        self._last_made = earliest if now < earliest < now + AHEAD_SECONDS else now
        return self._last_made

    def follow(
        self, event: Event, kind: AlertType, by: str, reason: str, *, supervised: bool
    ) -> tuple[Event, list[PendingEvent]] | None:
        """Compose a further notice about an event; None where it cannot leave.

        A retraction is noted even then, and leaves by each road when it can.

        :return: the event with the notice, and what is to be sent
        :raises ValueError: the event can have no such notice now; the text says why
        """
        retracts = kind is AlertType.RETRACTION
        if retracts and (owed := event.owed_roads()):
            if not self.departures.owed(event):
                when = datetime.fromtimestamp(event.latest.at, UTC)
                text = f"event {event.id} was retracted {when:%Y-%m-%d %H:%M:%S} UTC"
                text += f" by {event.latest.by}: that leaves by {', '.join(owed)}"
                raise ValueError(f"{text} when it is in use again")
            return self.again(event)
        event.next_notice(kind, 0.0, by, supervised=supervised)
        roads = event.roads_to_follow()
        usable = any(self.departures.usable(road, event.tense) for road in roads)
        if not roads or not (usable or retracts):
            raise ValueError(f"event {event.id} has left by no road that is in use now")
        made = self.composed(event, kind, by, reason, supervised=supervised)
        now = time.time()
        if made is None:
            if not retracts:
                return None
            notice = event.next_notice(kind, now, by, reason, supervised=supervised)
            return event.with_notice(notice), []
        made, items = self.departures.leaving(made, Origin.of(event.trigger, now, now), roads)
        return made.event, items

    def again(self, event: Event) -> tuple[Event, list[PendingEvent]]:
        """Compose a retraction that is owed: of what is remembered, so that it is the same."""
        before, roads = replace(event, notices=event.notices[:-1]), self.departures.owed(event)
        with about(event.trigger.observation):
            made = self._compose(before, event.latest, roads)
            if made is None:
                return event, []
            now = time.time()
            made, items = self.departures.leaving(made, Origin.of(event.trigger, now, now), roads)
            log.warning(
                "event %s: its retraction leaves by %s, which had missed it",
                event.id,
                ", ".join(item.road for item in items) or "no road",
            )
        return made.event, items

    def publish(
        self,
        entries: tuple[int, ...],
        events: Sequence[Event],
        items: Sequence[PendingEvent],
        memory: Mapping[str, Any] | None = None,
    ) -> None:
        """Commit what follows from entries, and send it.

        :param memory: what is remembered beside that
        """
        fault_point("voevent_generator.before following")
        kept = {item.key: item.to_plain() for item in items} | self.book.put(*events)
        kept |= {**(memory or {}), **self.reports.to_commit(), **self.copies.to_commit()}
        self.service.commit(Commit(completed=entries, memory=kept))
        self.departures.submit(items)
        self.reports.begin()
