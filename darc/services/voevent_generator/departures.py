"""What leaves: by which roads, what became of it, and what is noted of that.

All is in the memory of the service before it is sent, and until it was acknowledged.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from darc.config.records import Struct, replace
from darc.delivery.outbox import DeliveryError
from darc.model.counters import TriggerOutcome
from darc.model.event import Event, RoadName, RoadState, Tense
from darc.model.trigger import Stages, Trigger
from darc.queues.messages import Commit
from darc.runtime.clock import Since
from darc.runtime.fault_points import fault_point
from darc.runtime.log import about
from darc.services.base.alerts import Alerts
from darc.services.voevent_generator.alert_losses import cannot_be_told, given_up
from darc.services.voevent_generator.composer import ComposedNotice
from darc.services.voevent_generator.event_book import EventBook
from darc.services.voevent_generator.event_report import road_report
from darc.services.voevent_generator.pending_event import PENDING, PENDING_BEFORE, PendingEvent
from darc.services.voevent_generator.road_senders import RoadSenders
from darc.services.voevent_generator.roads import DISABLED, RoadOutcome, Roads
from darc.services.voevent_generator.settings import VOEventGeneratorSettings
from darc.services.voevent_generator.switches import WaySwitches
from darc.services.voevent_generator.trial_trigger import is_trial

log = logging.getLogger(__name__)

#: What became of notices is committed in parts of so many: thousands may have waited for a road
#: that is switched off, and a commit has a limit.
NOTED_AT_ONCE = 100


class Origin(Struct, frozen=True):
    """Where a notice comes from, for its latencies and log lines.

    :param taken_at: when it was taken (Unix s), as is the next
    """

    identity: str
    observation: str
    stages: Stages
    taken_at: float
    gathered_at: float

    @classmethod
    def of(cls, trigger: Trigger, taken_at: float, gathered_at: float) -> Origin:
        about = trigger.identity, trigger.observation, trigger.stages
        return cls(*about, taken_at, gathered_at)


class Departures:
    """What leaves by all roads."""

    def __init__(self, service: Alerts[VOEventGeneratorSettings], ways: WaySwitches) -> None:
        self._service = service
        self._ways = ways
        self.book = EventBook()
        self.senders = RoadSenders(
            lambda: service.settings, lambda: service.config.chat, self._topic_of
        )
        #: Notices by road and what became of them, since this process was started.
        self.counts: Mapping[str, int] = {}
        #: Roads from which something was withdrawn, which retractions look at again.
        self.missed: set[RoadName] = set()
        self._roads = Roads(self._attempt)
        self._sent_at: dict[str, float] = {}  # Unix s, by key

    # -- what is told --------------------------------------------------------------------------

    def described(self) -> list[str]:
        """Return the notices that were not acknowledged yet, with the reason."""
        return [
            f"{item.identity}{'' if item.road is RoadName.VTP else f' ({item.road})'}:"
            f" {error or 'under way'}"
            for item, error in self.waiting()
        ]

    def report(self) -> dict[str, dict[str, Any]]:
        """Return the state of each road that is configured, or where something waits."""
        service, waiting = self._service, list(self.waiting())
        return {
            str(road): road_report(
                road, self._ways.is_on(road), waiting, self.counts, service.send_events
            )
            for road in dict.fromkeys((*service.settings.road_names, *self._roads))
        }

    def waiting(self) -> Iterator[tuple[PendingEvent, str]]:
        """Yield the notices that were not acknowledged yet, and the error of the last attempt."""
        return self._roads.waiting()

    def _topic_of(self, event_id: str) -> str:
        event = self.book.find(event_id)
        return event.topic if event else ""

    def count(self, road: str, what: str) -> None:
        """Count what became of a notice."""
        name = f"{road} {what}"
        self.counts = {**self.counts, name: self.counts.get(name, 0) + 1}

    # -- what is to leave ----------------------------------------------------------------------

    def in_use(self, road: RoadName) -> bool:
        """Whether anything leaves by a road now: configured, and neither it nor all is off."""
        on = road in self._service.settings.road_names and self._ways.is_on(road)
        return on and self._service.send_events

    def usable(self, road: RoadName, tense: Tense) -> bool:
        """Whether notices of a tense leave by a road now."""
        return self.in_use(road) and self._service.settings.leads_on(road, tense)

    def owed(self, event: Event) -> list[RoadName]:
        """Return the roads in use now that have missed an event's retraction."""
        return [road for road in event.owed_roads() if self.usable(road, event.tense)]

    def leaving(
        self, made: ComposedNotice, origin: Origin, roads: Sequence[RoadName]
    ) -> tuple[ComposedNotice, list[PendingEvent]]:
        """Return the notice with the roads that it leaves by, and what is to be sent."""
        event, items = made.event, []
        # People are told which other roads it leaves by.
        for road in sorted(roads, key=lambda road: road is RoadName.CHAT):
            if not self.usable(road, event.tense):
                continue
            content = self._for_people(event) if road is RoadName.CHAT else made.content(road)
            if content:
                items.append(
                    PendingEvent(
                        origin.identity,
                        origin.observation,
                        content,
                        origin.stages,
                        origin.taken_at,
                        origin.gathered_at,
                        Since.now(),
                        self._service.settings.give_up_after_on(road),
                        road,
                        event.id,
                        event.latest.number,
                        event.tense,
                        event.told if road is RoadName.CHAT else (),
                    )
                )
                event = event.with_state(event.latest.number, road, RoadState.WAITING)
        if not items:
            if event.latest.kind.is_first and not is_trial(event):
                self._service.count_outcome(TriggerOutcome.NO_ROAD)
            log.warning("trigger %s: no road in use takes tense %s", origin.identity, event.tense)
        return replace(made, event=event), items

    def _for_people(self, event: Event) -> bytes:
        """Return the message about the latest notice; empty where it cannot be told."""
        from darc.services.voevent_generator.people_text import people_message  # noqa: PLC0415

        try:
            return people_message(event, self._service.config)
        except Exception as error:  # a defect must not end the service, nor keep other roads
            cannot_be_told(self._service, event.trigger.identity, error)
            return b""

    def recover(self, memory: Mapping[str, Any]) -> None:
        """Go on with what an earlier process has not seen acknowledged.

        What waits on roads that are not configured any more is withdrawn before any is tried.
        """
        self.book.recall(memory)
        pending = []
        for key, plain in memory.items():
            if key.startswith((PENDING, PENDING_BEFORE)):
                try:
                    pending.append((key, PendingEvent.from_plain(plain)))
                except (ValueError, KeyError, TypeError) as error:
                    # It stays on the disk: a later version may have written it, for its own roads.
                    log.error("not sent, as it cannot be read: %s: %r", key, error)
        pending.sort(key=lambda one: (one[1].event_id, one[1].number))
        here = self._service.settings.road_names
        self._note(
            [
                RoadOutcome(key, item, RoadState.GIVEN_UP, None, DISABLED, withdrawn=True)
                for key, item in pending
                if item.road not in here
            ]
        )
        for key, item in pending:
            if item.road in here:
                with about(item.observation):
                    log.warning("goes on being sent: %s", item.identity)
                    self._roads.submit(key, item, has_left=True)

    # -- sending -------------------------------------------------------------------------------

    def submit(self, items: Iterable[PendingEvent]) -> None:
        """Send what was committed."""
        for item in items:
            with about(item.observation):
                self._roads.submit(item.key, item)

    def _may_leave_by(self, road: RoadName) -> bool:
        """Whether what waits on a road may be sent: neither all nor it was disabled meanwhile."""
        return self._service.may_leave and self.in_use(road) and self._ways.may_leave_by(road)

    def _attempt(self, key: str, item: PendingEvent) -> None:
        """Send an item, in the thread of its road."""
        if not self._may_leave_by(item.road):
            raise DeliveryError(DISABLED, permanent=True)
        self._sent_at[key] = time.time()
        self.senders.send(item, lambda: self._may_leave_by(item.road))
        fault_point("voevent_generator.after sending")

    # -- what became of it ---------------------------------------------------------------------

    def withdraw(self, roads: Collection[RoadName] | None = None) -> None:
        """Drop what was not acknowledged yet.

        :param roads: None: on all of them
        """
        self._note(self._roads.withdraw(tuple(self._roads) if roads is None else roads))

    def withdraw_from_removed(self) -> None:
        """Drop what waits on roads that are not configured any more."""
        self.withdraw(set(self._roads) - set(self._service.settings.road_names))

    def note_outcomes(self) -> None:
        """Count and remember what has become of notices since the last call."""
        self._note_people()
        self._note(self._roads.outcomes())

    def _note_people(self) -> None:
        """Remember which people have had a message that others have not, over a restart."""
        memory = {}
        items = {item.key: item for item, _ in self.waiting()}
        for key, names in self.senders.people.progress().items():
            if key in items:
                memory[key] = replace(items[key], taken=names).to_plain()
        if memory:
            self._service.commit(Commit(memory=memory))

    def _note(self, outcomes: Sequence[RoadOutcome]) -> None:
        """Count and remember what became of notices."""
        for start in range(0, len(outcomes), NOTED_AT_ONCE):
            self._note_some(outcomes[start : start + NOTED_AT_ONCE])

    def _note_some(self, outcomes: Sequence[RoadOutcome]) -> None:
        for outcome in outcomes:
            item = outcome.item
            with about(item.observation):
                self._note_one(outcome)
        changed = {one.item.event_id for one in outcomes}
        events = [event for name in changed if (event := self.book.find(name))]
        memory = dict.fromkeys(one.key for one in outcomes) | self.book.put(*events)
        self._service.commit(Commit(memory=memory))

    def _note_one(self, outcome: RoadOutcome) -> None:
        item, state = outcome.item, outcome.state
        sent_at = self._sent_at.pop(outcome.key, 0.0)
        before = self.book.find(item.event_id)
        event = before and before.with_state(item.number, item.road, state)
        topic = self.senders.topics.pop(outcome.key, "")
        if event and topic and not event.topic and state is RoadState.ACKNOWLEDGED:
            event = replace(event, topic=topic)
        if event and item.road is RoadName.CHAT and _is_retraction(item, event):
            # Who has it does not get it again when it is sent to the others.
            event = replace(event, told=self.senders.people.taken(item))
        self.senders.people.forget(outcome.key)
        if event:
            self.book.put(event)
        what = RoadState.WITHDRAWN if outcome.withdrawn else state
        self.count(str(item.road), str(what))
        if state is RoadState.ACKNOWLEDGED and outcome.delivered_at is not None:
            self._acknowledged(item, sent_at, outcome.delivered_at)
        elif outcome.withdrawn:
            self.missed.add(item.road)
            log.warning("notice of trigger %s withdrawn: %s", item.identity, outcome.error)
        else:
            self._service.lost(given_up(item.road), item.identity, outcome.error)
        if item.number == 1:
            self._outcomes_of_first(before, event, what)

    def _acknowledged(self, item: PendingEvent, sent_at: float, accepted_at: float) -> None:
        if item.number == 1 and item.road is not RoadName.CHAT:
            times = {"taken": item.taken_at, "gathered": item.gathered_at}
            times |= {"sent": sent_at, "accepted": accepted_at}
            self._service.latencies.note(item.stages, **times)
        who = "the broker" if item.road is RoadName.VTP else item.road
        log.warning("notice of trigger %s taken by %s", item.identity, who)

    def _outcomes_of_first(self, before: Event | None, now: Event | None, what: RoadState) -> None:
        """Count what became of a trigger: once, whatever the number of roads."""
        were = set(before.first.roads.values()) if before else set()
        if RoadState.ACKNOWLEDGED in were or (now and is_trial(now)):
            return
        if what is RoadState.ACKNOWLEDGED:
            self._service.count_outcome(TriggerOutcome.ACCEPTED)
        elif now is None or RoadState.WAITING not in now.first.roads.values():
            withdrawn = what is RoadState.WITHDRAWN
            name = TriggerOutcome.WITHDRAWN if withdrawn else TriggerOutcome.GIVEN_UP
            self._service.count_outcome(name)


def _is_retraction(item: PendingEvent, event: Event) -> bool:
    return event.is_retracted and item.number == event.latest.number
