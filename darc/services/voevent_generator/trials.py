"""Test notices: by all roads that tests leave by, at a time of day or when a person asks for one.

Each is followed to its acknowledgement on each road: where that does not come, bursts would not
leave either.
"""

from __future__ import annotations

import logging
import time

from darc.config.records import replace
from darc.model.event import AlertType, Event, RoadName, RoadState, Tense, event_id
from darc.model.finding import AlertOrder
from darc.queues.messages import Commit
from darc.services.voevent_generator.alert_losses import TEST_NOT_ACKNOWLEDGED
from darc.services.voevent_generator.announcer import Announcer
from darc.services.voevent_generator.departures import Origin
from darc.services.voevent_generator.trial_trigger import is_trial, trial_trigger

log = logging.getLogger(__name__)

#: A test is due within this after its time of day (s): a node that starts later waits for the next.
DUE_SECONDS = 3600.0
DAY = 86400.0
CONFIGURED = "the configured time of day"
NO_ROAD = "it leaves by no road: none that is enabled has an address for tests"
#: As it is published: without who asked for it.
REASON = "a test of the roads by which bursts are announced"


def is_due(at: str | None, last: float, now: float) -> bool:
    """Whether a test is due.

    :param at: time of day, HH:MM UTC; None: none is sent by itself
    :param last: when the last one was sent, Unix s
    :param now: Unix s
    """
    if at is None:
        return False
    hour, minute = map(int, at.split(":"))
    due = now // DAY * DAY + hour * 3600.0 + minute * 60.0
    if due > now:
        due -= DAY
    return last < due and now - due < DUE_SECONDS


def overdue(event: Event, limit: float, age: float) -> list[RoadName]:
    """Return the roads that have not acknowledged a test in time.

    :param limit: s, as is the age of the event
    """
    if age < limit:
        return []
    return [
        road
        for road, state in event.first.roads.items()
        if state in (RoadState.WAITING, RoadState.GIVEN_UP)
    ]


class RoadTrials:
    """Test notices of a service."""

    def __init__(self, announcer: Announcer) -> None:
        self._announcer = announcer
        self._service = announcer.service
        self._tried = 0.0  # Unix s; one that cannot be composed is of no event

    def _known(self) -> list[Event]:
        return [event for event in self._announcer.book if is_trial(event)]

    @property
    def acknowledged(self) -> float:
        """When the last test was made that all its roads have acknowledged (Unix s); 0: none."""
        sent = [event for event in self._known() if event.first.roads]
        good = {RoadState.ACKNOWLEDGED}
        return max((one.made for one in sent if set(one.first.roads.values()) == good), default=0.0)

    def announce(self, entry: int, order: AlertOrder) -> None:
        """Send a test by all roads that tests leave by.

        :param entry: that asked for it; 0: none
        """
        service, now = self._service, time.time()
        trigger = trial_trigger(service.config.instrument)
        event = Event(event_id(trigger, Tense.TEST), trigger, Tense.TEST, now)
        log.warning("test notice %s, by %s", event.id, order.by)
        made = self._announcer.composed(event, AlertType.INITIAL, order.by, REASON, supervised=True)
        entries = (entry,) if entry else ()
        if made is None:
            service.commit(Commit(completed=entries))
            return
        origin = Origin.of(trigger, now, now)
        made, items = self._announcer.departures.leaving(made, origin, tuple(RoadName))
        if not items:
            service.lost(TEST_NOT_ACKNOWLEDGED, event.id, NO_ROAD)
        self._announcer.publish(entries, [made.event], items)

    def look(self) -> None:
        """Send a test at its time of day, and report those that were not acknowledged."""
        service, book = self._service, self._announcer.book
        now, known = time.time(), self._known()
        # A clock that was far ahead for a while must not keep tests from leaving until then; one
        # that is set back a little must not have the same test leave again.
        times = [self._tried, *(event.made for event in known)]
        last = max((one for one in times if one <= now + DUE_SECONDS), default=0.0)
        if service.send_events and is_due(service.settings.test_at, last, now):
            self._tried = now
            self.announce(0, AlertOrder("test", "", "", CONFIGURED, now))
        for event in known:
            roads = overdue(event, service.settings.test_limit, book.age(event.id))
            if roads and not event.verdict:
                names = ", ".join(roads)
                why = f"not acknowledged within {service.settings.test_limit:g} s by {names}"
                service.lost(TEST_NOT_ACKNOWLEDGED, event.id, why)
                # So that it is said once.
                told = replace(event, verdict=why)
                service.commit(Commit(memory=book.put(told)))
