"""The events that were announced: kept in the journal until they expire."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from darc.model.event import Event, Tense
from darc.runtime.clock import Since

log = logging.getLogger(__name__)

#: Prefix of their keys in the memory of the service.
BOOK = "announced "
#: Bursts at most, and as many tests and injections: these may come each minute, and must not have a
#: burst forgotten that can be retracted still. The oldest one that has left is forgotten.
KEPT_EVENTS = 1000


class EventBook:
    """Announced events by id, in order of their announcement.

    Its methods return what is to be committed; the service's loop alone changes it, other threads
    read it.
    """

    def __init__(self) -> None:
        self._events: dict[str, Event] = {}
        #: Since when they are, by id: a clock that is set makes no event older.
        self._since: dict[str, Since] = {}
        self._unreadable: dict[str, Since] = {}  # since when it is, by key

    def recall(self, memory: Mapping[str, Any]) -> None:
        """Restore the events from the memory.

        What cannot be read is logged, and stays on the disk until it expires: a later version may
        have written it.
        """
        found = []
        self._unreadable.clear()
        for key, plain in memory.items():
            if key.startswith(BOOK):
                try:
                    found.append(Event.from_plain(plain))
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    self._unreadable[key] = _since(_made(plain))
                    log.error("a stored event cannot be read, and is ignored: %s: %r", key, error)
        found.sort(key=lambda event: event.made)
        self._events = {event.id: event for event in found}
        self._since = {event.id: _since(event.made) for event in found}

    def find(self, event_id: str) -> Event | None:
        """Return an event; None: there is none, or it has expired."""
        return self._events.get(event_id)

    def age(self, event_id: str) -> float:
        """Return how long an event has been known (s), whatever was done to the clock.

        :raises KeyError: it is not remembered
        """
        return self._since[event_id].age()

    def of_tense(self, tense: Tense) -> Iterator[Event]:
        """Yield the events of a tense that were not retracted, the latest first."""
        for event in reversed(list(self._events.values())):
            if event.tense is tense and not event.is_retracted:
                yield event

    def __iter__(self) -> Iterator[Event]:
        return iter(list(self._events.values()))

    def __len__(self) -> int:
        return len(self._events)

    def put(self, *events: Event) -> dict[str, Any]:
        """Enter events, or what they are now; return the memory."""
        self._events |= {event.id: event for event in events}
        for event in events:
            self._since.setdefault(event.id, _since(event.made))
        return {BOOK + event.id: event.to_plain() for event in events}

    def expired(self, remember_for: float) -> dict[str, Any]:
        """Forget expired events, and the oldest of a tense beyond the limit; return the memory.

        An event with a notice that has not left stays.

        :param remember_for: s
        """
        number = Counter(event.tense for event in self._events.values())
        gone = []
        for event in self._events.values():
            beyond = number[event.tense] > KEPT_EVENTS
            number[event.tense] -= beyond
            old = self.age(event.id) > remember_for
            if (beyond or old) and not event.is_waiting:
                gone.append(event.id)
        for one in gone:
            del self._events[one], self._since[one]
        keys = [key for key, since in self._unreadable.items() if since.age() > remember_for]
        for key in keys:
            del self._unreadable[key]
        return {BOOK + one: None for one in gone} | dict.fromkeys(keys)


def _since(made: float) -> Since:
    """Return since when an event is, by the monotonic clock from now on.

    :param made: Unix s
    """
    ago = time.time() - made
    return Since.now(ago if math.isfinite(ago) else math.inf)


def _made(plain: Any) -> float:
    """Return when an event was made that cannot be read (Unix s); 0: unknown."""
    made = plain.get("made") if isinstance(plain, dict) else None
    return float(made) if isinstance(made, int | float) else 0.0
