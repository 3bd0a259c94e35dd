"""Findings about events, and orders of people: what follows the first notice."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import Any

from darc.config.records import Struct, replace
from darc.model.event import AlertType, Event, Tense
from darc.model.finding import AlertOrder, BurstFinding, about_event
from darc.model.notice import arrival_at_top
from darc.queues.client import QueuesGoneError
from darc.queues.messages import Commit, ContentKind, QueueEntry, QueueError
from darc.queues.plain_connection import unpack
from darc.runtime.clock import Instant, Since
from darc.runtime.log import about
from darc.science.dispersion import delay
from darc.services.base.trigger_consumer import TRIGGERS_UNUSABLE, has_findings
from darc.services.voevent_generator.alert_losses import ORDER_NOT_SENT
from darc.services.voevent_generator.announcer import Announcer
from darc.services.voevent_generator.composer import Composer
from darc.services.voevent_generator.event_life import HOLD, NextStep, decided, event_of, next_step
from darc.services.voevent_generator.pending_event import PendingEvent
from darc.services.voevent_generator.trials import RoadTrials

log = logging.getLogger(__name__)

CONFIRMED = "a burst"
#: A finding that is of no event is kept for so long (s): its trigger may come after it, as where
#: amber_clustering was started again.
LATE_SECONDS = 60.0
#: Such findings at most; the oldest go.
MOST_LATE = 1000
#: For acting upon what has come, in one pass of the service's loop (s).
PASS_SECONDS = 0.1
#: Prefix of their keys in the memory of the service.
LATE = "finding before its event "


class _NoEventError(Exception):
    """A finding is of no event that is known."""


class _WaitingEntry(Struct, frozen=True):
    entry: int
    items: tuple[dict[str, Any], ...]


class _LateFinding(Struct, frozen=True):
    since: Since
    finding: BurstFinding

    def to_plain(self) -> list[Any]:
        return [self.since.to_plain(), self.finding.to_plain()]

    @classmethod
    def from_plain(cls, plain: Any) -> _LateFinding:
        since, finding = plain
        found = about_event(finding)
        if not isinstance(found, BurstFinding):
            raise ValueError("not a finding")
        return cls(Since.from_plain(since), found)


class Followers:
    """Findings and orders that have come, which are acted upon while no window is open.

    They came after the triggers of their events, which may still be gathered.

    :param updates: whether measurements are published now
    """

    def __init__(
        self, announcer: Announcer, trials: RoadTrials, updates: Callable[[], bool]
    ) -> None:
        self._announcer = announcer
        self._service = announcer.service
        self._book = announcer.book
        self._trials = trials
        self._updates = updates
        self._waiting: deque[_WaitingEntry] = deque()
        self._late: dict[str, _LateFinding] = {}  # by key in the memory, the oldest first
        self._doubted: dict[str, Instant] = {}  # since when, by id of the event
        self._seen: frozenset[str] = frozenset()  # ids of events that late findings are not of

    def recover(self, memory: Mapping[str, Any]) -> None:
        """Restore the findings whose events may still come."""
        found, unreadable = [], []
        for key, plain in memory.items():
            if key.startswith(LATE):
                try:
                    found.append((key, _LateFinding.from_plain(plain)))
                except (ValueError, KeyError, TypeError) as error:
                    unreadable.append(key)
                    log.error("a finding cannot be read, dropped: %r", error)
        if unreadable:
            self._service.commit(Commit(memory=dict.fromkeys(unreadable)))
        self._late = dict(sorted(found, key=lambda one: one[1].since.unix))

    def take(self, entry: QueueEntry) -> bool:
        """Take an entry that is about events; False where it is not, but has triggers."""
        if entry.kind not in (ContentKind.TRIGGERS, ContentKind.PLAIN):
            return False
        if not has_findings(entry):
            return False
        self._waiting.append(_WaitingEntry(entry.id, tuple(unpack(entry.content))))
        return True

    @property
    def waits(self) -> bool:
        """Whether something has come that was not acted upon."""
        return bool(self._waiting)

    def follow(self) -> None:
        """Act upon what has come; of much, upon a part, as bursts must not wait for it."""
        began = Instant.now()
        while self._waiting and began.age() < PASS_SECONDS:
            self._follow(self._waiting.popleft())
        self._look_at_late()
        self.decide()

    def _follow(self, waiting: _WaitingEntry) -> None:
        """Act upon an entry, in one commit."""
        changed: dict[str, Event] = {}
        items: list[PendingEvent] = []
        late: dict[str, _LateFinding] = {}
        for number, plain in enumerate(waiting.items):
            one = self._read(plain, waiting.entry)
            if one is None:
                continue
            if isinstance(one, AlertOrder) and one.action == "test":
                # What else the entry has is completed below.
                self._trials.announce(0 if len(waiting.items) > 1 else waiting.entry, one)
                if len(waiting.items) == 1:
                    return
                continue
            try:
                made = self._acted(one, changed)
            except _NoEventError:
                assert isinstance(one, BurstFinding)
                late[f"{LATE}{waiting.entry} {number}"] = _LateFinding(Since.now(), one)
                continue
            if made:
                event, sent = made
                changed[event.id] = event
                items += sent
        memory = {key: found.to_plain() for key, found in late.items()}
        self._announcer.publish((waiting.entry,), list(changed.values()), items, memory)
        self._late |= late

    def _look_at_late(self) -> None:
        """Look whether findings are of events that came after them, and let old ones go."""
        known = frozenset(event.id for event in self._book)
        new, self._seen = known - self._seen, known
        if not self._late:
            return
        beyond = len(self._late) - MOST_LATE
        changed: dict[str, Event] = {}
        items: list[PendingEvent] = []
        gone = []
        for number, (key, one) in enumerate(self._late.items()):
            try:
                made = self._acted(one.finding, changed, new) if new else None
                is_of_one = bool(new)
            except _NoEventError:
                made, is_of_one = None, False
            if made:
                event, sent = made
                changed[event.id] = event
                items += sent
            if is_of_one or number < beyond or one.since.age() >= LATE_SECONDS:
                gone.append(key)
        if gone:
            self._announcer.publish((), list(changed.values()), items, dict.fromkeys(gone))
            for key in gone:
                del self._late[key]

    def _read(self, plain: dict[str, Any], entry: int) -> BurstFinding | AlertOrder | None:
        try:
            return about_event(plain)
        # A defect must not end the service: it would take the same entry at each start.
        except Exception as error:
            why = _said(error).replace("\n", "; ")
            log.error("entry %d: neither finding nor order, dropped: %s", entry, why)
            self._service.lost(TRIGGERS_UNUSABLE, f"entry {entry}", why)
        return None

    def _acted(
        self,
        one: BurstFinding | AlertOrder,
        changed: dict[str, Event],
        among: Collection[str] | None = None,
    ) -> tuple[Event, list[PendingEvent]] | None:
        """Return what one item changes, and what is to be sent; None: nothing.

        :param among: ids of the events that a finding may be of; None: of all
        :raises _NoEventError: a finding is of none
        """
        try:
            if isinstance(one, BurstFinding):
                return self._found(one, changed, among)
            return self._ordered(one, changed)
        # Of a commit, or as its event is still to come: it is not the item's fault.
        except (QueueError, QueuesGoneError, _NoEventError):
            raise
        except Exception as error:  # likewise
            defect = None if isinstance(error, ValueError | ArithmeticError) else error
            if isinstance(one, AlertOrder):
                self._not_sent(one, error)
                return None
            log.error("not used: %s", _said(error), exc_info=defect)
            if defect:
                self._service.lost(TRIGGERS_UNUSABLE, f"finding of {one.host}", _said(error))
        return None

    # -- findings ------------------------------------------------------------------------------

    def _found(
        self, finding: BurstFinding, changed: dict[str, Event], among: Collection[str] | None
    ) -> tuple[Event, list[PendingEvent]] | None:
        service = self._service
        with about(finding.observation):
            if among is None:
                known = [event for tense in Tense for event in self._book.of_tense(tense)]
            else:
                known = [event for one in among if (event := self._book.find(one))]
            events = [changed.get(event.id, event) for event in known]
            composer = Composer(service.config, service.settings)
            instrument = service.config.instrument
            found = event_of(
                finding,
                (event for event in events if not event.is_retracted),
                lambda trigger: arrival_at_top(trigger, composer.setup(trigger))[0],
                delay(1.0, instrument.min_freq, instrument.min_freq + instrument.bandwidth),
            )
            if found is None:
                log.debug("a finding of %s is of no event", finding.host)
                raise _NoEventError
            step = next_step(
                found[0],
                finding,
                found[1],
                updates=self._updates(),
                retract_below=service.settings.retract_below,
            )
            if step.kind is None:
                return (step.event, []) if step.event != found[0] else None
            return self._said_by_itself(step, f"processor of {finding.host}")

    def _said_by_itself(self, step: NextStep, by: str) -> tuple[Event, list[PendingEvent]]:
        """Return what a step sends; what is known of the event stays where nothing can leave."""
        event, kind = step.event, step.kind
        if kind is None or (kind is AlertType.UPDATE and not self._service.send_events):
            return event, []
        try:
            made = self._announcer.follow(event, kind, by, step.reason, supervised=False)
        except (QueueError, QueuesGoneError):
            raise
        except Exception as error:  # likewise: an event that is remembered comes again
            defect = None if isinstance(error, ValueError | ArithmeticError) else error
            log.warning("event %s: no %s: %s", event.id, kind, _said(error), exc_info=defect)
            return event, []
        if made is None:
            return event, []
        log.warning("event %s: %s: %s", event.id, kind, step.reason)
        return made

    def decide(self) -> None:
        """Decide about the events that the classifier doubts, once other beams were heard."""
        doubted = [one for one in self._book if one.doubt and not one.is_retracted]
        # As seen here: a clock that is set must not cut short what other beams may say.
        self._doubted = {one.id: self._doubted.get(one.id) or Instant.now() for one in doubted}
        events: list[Event] = []
        items: list[PendingEvent] = []
        for event in doubted:
            if event.doubt and self._doubted[event.id].age() >= HOLD:
                with about(event.trigger.observation):
                    step = decided(event, self._service.settings.retract_below)
                    changed, sent = self._said_by_itself(step, event.doubt.by)
                events.append(changed)
                items += sent
        if events:
            self._announcer.publish((), events, items)

    # -- orders --------------------------------------------------------------------------------

    def _ordered(
        self, order: AlertOrder, changed: dict[str, Event]
    ) -> tuple[Event, list[PendingEvent]] | None:
        event = changed.get(order.event_id) or self._book.find(order.event_id)
        if event is None:
            raise ValueError(f"{order.action} by {order.by}: no such event: {order.event_id}")
        if order.action == "report":
            with about(event.trigger.observation):
                return self._announcer.reports.ordered(order, event), []
        if order.action == "retract" and event.is_retracted and not event.owed_roads():
            # Said twice, before either was acted upon: what is wanted is done.
            log.warning("event %s: retracted already; said again by %s", event.id, order.by)
            return None
        # A command refuses what cannot be printed; a version before did not.
        said = "".join(one if one.isprintable() else "?" for one in order.reason)
        kind, reason, known = AlertType.RETRACTION, said, event
        if order.action == "confirm":
            verdict = said or CONFIRMED
            kind, reason = AlertType.UPDATE, f"a person has looked at it: {verdict}"
            if not event.is_retracted:
                event = replace(event, verdict=verdict)
        with about(event.trigger.observation):
            try:
                made = self._announcer.follow(event, kind, order.by, reason, supervised=True)
            except ValueError as error:
                if event.is_retracted and order.action == "retract":
                    # Likewise: it is owed, and leaves by itself.
                    log.warning("said again by %s: %s", order.by, error)
                    return None
                # What the person said holds, though nobody can be told of it now.
                self._not_sent(order, error)
                made = None
            if made is None:
                return (event, []) if event != known else None
            log.warning("event %s: %s by %s: %s", event.id, kind, order.by, reason)
        return made

    def _not_sent(self, order: AlertOrder, error: Exception) -> None:
        log.error("not sent: %s", _said(error))
        what = f"{order.action} of {order.event_id} by {order.by}"
        self._service.lost(ORDER_NOT_SENT, what, _said(error))


def _said(error: Exception) -> str:
    """Return an error's text; of a defect, with its type."""
    known = isinstance(error, ValueError | ArithmeticError)
    return str(error) if known else f"{type(error).__name__}: {error}"
