"""Retractions that are owed: each leaves by every road by which its event has left.

One that missed a road, as that was switched off, away for too long, or not configured, leaves there
when the road is in use again: the same notice, with the same number.
"""

from __future__ import annotations

from collections.abc import Iterable

from darc.model.event import RoadName, Tense
from darc.services.voevent_generator.alert_losses import RETRACTION_OWED
from darc.services.voevent_generator.announcer import Announcer

#: Retractions that are sent in one pass of the service's loop.
AT_ONCE = 20


class Retractions:
    """Retractions of a service that some roads have missed."""

    def __init__(self, announcer: Announcer) -> None:
        self._announcer = announcer
        self._departures = announcer.departures
        self._book = announcer.book
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
        self._in_use -= self._departures.missed
        self._departures.missed.clear()
        now = frozenset(road for road in RoadName if self._departures.in_use(road))
        new, self._in_use = now - self._in_use, now
        if new:
            owed = (event for event in self._book if new & {*self._departures.owed(event)})
            self._due |= dict.fromkeys(event.id for event in owed)
        if not self._due:
            return
        events, items = [], []
        for name in [*self._due][:AT_ONCE]:
            del self._due[name]
            event = self._book.find(name)
            if event is not None and self._departures.owed(event):
                changed, sent = self._announcer.again(event)
                events.append(changed)
                items += sent
        if items:
            self._announcer.publish((), events, items)

    def _note_owed(self) -> None:
        """Count it as a loss, once, where a burst is believed somewhere though it was retracted."""
        owed = {
            event.id: ", ".join(roads)
            for event in self._book
            if event.tense is Tense.CURRENT and (roads := event.owed_roads())
        }
        for name in owed.keys() - self._owed:
            self._announcer.service.lost(RETRACTION_OWED, name, f"not by {owed[name]}")
        self._owed = frozenset(owed)
