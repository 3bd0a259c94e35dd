"""The roads by which notices leave: each with outboxes of its own, and an event's notices in order.

On a road, a notice about an event is tried when the one before it was acknowledged or given up: a
retraction never comes before what it retracts. Where the first never left, as sending was
disabled, what follows does not leave either.

Bursts have one outbox, tests and injections another: these go elsewhere, and where that does not
answer, each attempt takes its whole time limit, for which no burst is to wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator

from darc.config.records import Struct, field
from darc.delivery.outbox import DeliveryOutcome, Outbox, PendingItem
from darc.model.event import RoadName, RoadState
from darc.services.voevent_generator.pending_event import PendingEvent

DISABLED = "sending is disabled"
NO_FIRST = "the notice before it never left"
#: Names of outboxes, in log lines.
TITLES = {
    RoadName.VTP: "VOEvent",
    RoadName.KAFKA: "notice by kafka",
    RoadName.WEBHOOK: "notice by webhook",
    RoadName.FILE: "notice as a file",
    RoadName.CHAT: "message to people",
}
#: Longest delay between attempts (s); an attempt at Kafka itself goes on trying for its timeout.
LONGEST_DELAY = {RoadName.KAFKA: 10.0}
USUAL_LONGEST_DELAY = 60.0
#: Roads on which a notice does not wait for those before it: one of several targets that is away
#: must not keep the others from a retraction. Who has the later one does not get the one before.
UNORDERED = frozenset({RoadName.CHAT})


class RoadOutcome(Struct, frozen=True):
    """What became of a notice on its road.

    :param key: in the memory
    :param delivered_at: Unix s; None: it was not acknowledged
    :param withdrawn: it was not given up, but was not to leave any more; its state is that of one
        given up where it may have left
    """

    key: str
    item: PendingEvent
    state: RoadState
    delivered_at: float | None
    error: str
    withdrawn: bool = False


class _RoadQueue(Struct):
    """Notices of an event on a road, the one that is tried first.

    :param has_left: whether one may have left before
    """

    items: deque[tuple[str, PendingEvent]] = field(default_factory=deque)
    has_left: bool = False


class Road:
    """One road.

    :param send: delivers an item, in the road's own thread; raises DeliveryError
    """

    def __init__(self, name: RoadName, send: Callable[[str, PendingEvent], None]) -> None:
        self.name = name
        self._send = send
        self._outboxes: dict[bool, Outbox[tuple[str, PendingEvent]]] = {}  # by `is_burst` of items
        self._events: dict[str, _RoadQueue] = {}
        self._items: dict[str, PendingEvent] = {}  # by key
        self._skipped: list[RoadOutcome] = []

    def submit(self, key: str, item: PendingEvent, *, has_left: bool = False) -> None:
        """Deliver an item once those before it have an outcome.

        :param has_left: it, or one before it, may have left: in an earlier process
        """
        waiting = self._events.setdefault(self._line(key, item), _RoadQueue())
        waiting.has_left = waiting.has_left or has_left
        waiting.items.append((key, item))
        self._items[key] = item
        if len(waiting.items) == 1:
            self._try(key, item)

    def _line(self, key: str, item: PendingEvent) -> str:
        """Return what shares its order."""
        return key if self.name in UNORDERED else item.event_id or key

    def _try(self, key: str, item: PendingEvent) -> None:
        outbox = self._outboxes.get(item.is_burst)
        if outbox is None:  # a thread each, for those that are used
            outbox = self._outboxes[item.is_burst] = Outbox(
                TITLES[self.name],
                lambda one: self._send(*one),
                longest_delay=LONGEST_DELAY.get(self.name, USUAL_LONGEST_DELAY),
            )
        outbox.submit(key, (key, item), give_up_after=item.time_left)

    def _tried(self) -> Iterator[PendingItem]:
        """Yield what is in the outboxes."""
        for outbox in list(self._outboxes.values()):
            yield from outbox.waiting

    @property
    def waiting(self) -> dict[str, tuple[PendingEvent, str]]:
        """Items that are not acknowledged, by key, and the error of the last attempt."""
        errors = {one.key: one.error for one in self._tried()}
        return {key: (item, errors.get(key, "")) for key, item in list(self._items.items())}

    def outcomes(self) -> list[RoadOutcome]:
        """Return the outcomes since the last call; what follows them is tried."""
        found = []
        for one in [one for outbox in self._outboxes.values() for one in outbox.outcomes()]:
            item = self._items.pop(one.key)
            before = self._events[self._line(one.key, item)].has_left
            outcome = _outcome(item, one, left_before=before)
            found.append(outcome)
            self._go_on(one.key, item, left=outcome.state.may_have_left and one.attempts > 0)
        found += self._skipped
        self._skipped = []
        return found

    def withdraw(self) -> list[RoadOutcome]:
        """Drop what waits; what is being tried has an outcome all the same."""
        tried = {one.key: one.attempts > 0 for one in self._tried()}
        dropped = {key for outbox in self._outboxes.values() for key in outbox.withdraw()}
        gone = []
        for event, waiting in list(self._events.items()):
            # What is behind one that is being tried is not in the outbox.
            for place, (key, item) in enumerate(list(waiting.items)):
                if key in dropped or place > 0:
                    left = tried.get(key, False) or (place == 0 and waiting.has_left)
                    state = RoadState.GIVEN_UP if left else RoadState.WITHDRAWN
                    gone.append(RoadOutcome(key, item, state, None, DISABLED, withdrawn=True))
                    waiting.items.remove((key, item))
                    del self._items[key]
            if not waiting.items:
                del self._events[event]
        return gone

    def _go_on(self, key: str, item: PendingEvent, *, left: bool) -> None:
        """Try the item behind one that has an outcome."""
        event = self._line(key, item)
        waiting = self._events[event]
        waiting.items.popleft()
        waiting.has_left = waiting.has_left or left
        if not waiting.has_left:
            for other, behind in waiting.items:
                del self._items[other]
                state = RoadState.WITHDRAWN
                self._skipped.append(RoadOutcome(other, behind, state, None, NO_FIRST, True))
            waiting.items.clear()
        if waiting.items:
            self._try(*waiting.items[0])
        else:
            del self._events[event]


def _outcome(item: PendingEvent, one: DeliveryOutcome, *, left_before: bool) -> RoadOutcome:
    """Return an outcome; what was tried may have been received, though nobody acknowledged it."""
    disabled = one.error == DISABLED
    if one.delivered_at is not None:
        state = RoadState.ACKNOWLEDGED
    elif not (one.withdrawn or disabled):
        state = RoadState.GIVEN_UP
    else:
        tried = left_before or one.attempts > int(disabled)
        state = RoadState.GIVEN_UP if tried else RoadState.WITHDRAWN
    withdrawn = state is not RoadState.ACKNOWLEDGED and (one.withdrawn or disabled)
    return RoadOutcome(one.key, item, state, one.delivered_at, one.error, withdrawn)


class Roads:
    """All roads that something leaves by.

    :param send: see :class:`Road`
    """

    def __init__(self, send: Callable[[str, PendingEvent], None]) -> None:
        self._send = send
        self._roads: dict[RoadName, Road] = {}

    def submit(self, key: str, item: PendingEvent, *, has_left: bool = False) -> None:
        """Deliver an item by its road."""
        road = self._roads.get(item.road)
        if road is None:
            road = self._roads[item.road] = Road(item.road, self._send)
        road.submit(key, item, has_left=has_left)

    def waiting(self) -> Iterator[tuple[PendingEvent, str]]:
        """Yield the items that are not acknowledged, and the error of the last attempt."""
        for road in list(self._roads.values()):
            yield from road.waiting.values()

    def outcomes(self) -> list[RoadOutcome]:
        """Return the outcomes of all roads since the last call."""
        return [outcome for road in self._roads.values() for outcome in road.outcomes()]

    def withdraw(self, names: Collection[RoadName]) -> list[RoadOutcome]:
        """Drop what waits on these roads."""
        return [
            one for name in names if name in self._roads for one in self._roads[name].withdraw()
        ]

    def __iter__(self) -> Iterator[RoadName]:
        return iter(list(self._roads))
