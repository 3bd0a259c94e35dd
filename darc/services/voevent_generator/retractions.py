"""Retractions that are owed: each leaves by every road by which its event has left.

One that missed a road, as that was switched off, away for too long, or not configured, leaves there
when the road is in use again: the same notice, with the same number.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from datetime import UTC, datetime

from darc.config.records import replace
from darc.model.event import Event, RoadName, Tense
from darc.runtime.log import about
from darc.services.voevent_generator.alert_losses import NOTICE_INVALID, RETRACTION_OWED
from darc.services.voevent_generator.announcing_service import AnnouncingService
from darc.services.voevent_generator.composer import Composer
from darc.services.voevent_generator.departures import Departures, Origin
from darc.services.voevent_generator.pending_event import PendingEvent

log = logging.getLogger(__name__)

#: Retractions that are sent in one pass of the service's loop.
AT_ONCE = 20


class Retractions:
    """Retractions of a service that some roads have missed."""

    def __init__(self, service: AnnouncingService, departures: Departures) -> None:
        self._service = service
        self._departures = departures
        self._in_use: frozenset[RoadName] = frozenset()
        self._owed: frozenset[str] = frozenset()  # ids of events, as far as that was said
        self._due: dict[str, None] = {}  # ids of events to be looked at, in order

    def look_again_at(self, roads: Iterable[RoadName]) -> None:
        """Send what is owed on these roads at the next pass where they are in use then."""
        self._in_use -= frozenset(roads)

    def look(self) -> None:
        """Send what is owed on roads that were not in use at the last pass, but are now.

        Of much, a part at each pass: it has to be composed, and no burst is to wait for that.
        """
        self._note_owed()
        now = frozenset(road for road in RoadName if self._departures.in_use(road))
        new, self._in_use = now - self._in_use, now
        if new:
            owed = (event for event in self._service.book if new & {*self._usable(event)})
            self._due |= dict.fromkeys(event.id for event in owed)
        if not self._due:
            return
        events, items = [], []
        for name in [*self._due][:AT_ONCE]:
            del self._due[name]
            event = self._service.book.find(name)
            if event is not None and self._usable(event):
                changed, sent = self._again(event)
                events.append(changed)
                items += sent
        if items:
            self._service.publish((), events, items)

    def _note_owed(self) -> None:
        """Count it as a loss, once, where a burst is believed somewhere though it was retracted."""
        owed = {
            event.id: ", ".join(roads)
            for event in self._service.book
            if event.tense is Tense.CURRENT and (roads := event.owed_roads())
        }
        for name in owed.keys() - self._owed:
            self._service.lost(RETRACTION_OWED, name, f"not by {owed[name]}")
        self._owed = frozenset(owed)

    def owed(self, event: Event) -> tuple[Event, list[PendingEvent]]:
        """Return a retracted event, and what is to be sent, as a person asks for it again.

        :raises ValueError: nothing is owed, or not by a road that is in use; the text says why
        """
        if not self._usable(event):
            when = datetime.fromtimestamp(event.latest.at, UTC)
            text = f"event {event.id} was retracted {when:%Y-%m-%d %H:%M:%S} UTC"
            text += f" by {event.latest.by}: "
            if roads := ", ".join(event.owed_roads()):
                raise ValueError(f"{text}that leaves by {roads} when it is in use again")
            raise ValueError(f"{text}nothing follows a retraction")
        return self._again(event)

    def _usable(self, event: Event) -> list[RoadName]:
        return [road for road in event.owed_roads() if self._departures.usable(road, event.tense)]

    def _again(self, event: Event) -> tuple[Event, list[PendingEvent]]:
        """Compose a retraction again: of what is remembered, so that it is the same."""
        service, identity = self._service, event.trigger.identity
        before = replace(event, notices=event.notices[:-1])
        with about(event.trigger.observation):
            try:
                json = any(road.carries_notices for road in self._usable(event))
                made = Composer(service.config, service.settings).compose(
                    before, event.latest, json=json
                )
            except Exception as error:  # a defect must not end the service at each start
                service.cannot_be_told(identity, error)
                return event, []
            if made.invalid:
                service.lost(NOTICE_INVALID, identity, made.invalid)
            now = time.time()
            origin = Origin.of(event.trigger, now, now)
            made, items = self._departures.leaving(made, origin, self._usable(event))
            log.warning(
                "event %s: its retraction leaves by %s, which had missed it",
                event.id,
                ", ".join(item.road for item in items) or "no road",
            )
        return made.event, items
