"""Announces bursts: composes an event of a trigger once, and sends it by the configured roads.

What is to be sent is in the journal before it is sent, and stays there until the road has
acknowledged it. Retries send the same bytes and identifier, by which receivers recognise
duplicates. An event is remembered, so that it can be updated or retracted.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from darc.delivery.outbox import DeliveryError
from darc.model.counters import TriggerOutcome
from darc.model.event import AlertType, Event, RoadName, RoadState, Tense, event_id
from darc.model.finding import AlertOrder
from darc.model.observation import Observation
from darc.model.trigger import Stages, Trigger
from darc.queues.messages import Commit, QueueEntry
from darc.runtime.clock import Since
from darc.runtime.fault_points import fault_point
from darc.runtime.log import about
from darc.runtime.paths import write_whole
from darc.runtime.retention import NewestFiles
from darc.science.selection import highest_snr
from darc.services.base.alerts import CANNOT_BE_TOLD, Alerts, ChosenTrigger
from darc.services.base.measured_dm import measured_dm_error
from darc.services.voevent_generator.alert_losses import (
    ALERT_LOSSES,
    NOTICE_INVALID,
    TEST_NOT_ACKNOWLEDGED,
    VOEVENT_NOT_KEPT,
    given_up,
)
from darc.services.voevent_generator.composer import ComposedNotice, Composer
from darc.services.voevent_generator.event_book import EventBook
from darc.services.voevent_generator.event_life import association_of
from darc.services.voevent_generator.event_report import reported, road_report
from darc.services.voevent_generator.followers import Followers
from darc.services.voevent_generator.pending_event import PENDING, PENDING_BEFORE, PendingEvent
from darc.services.voevent_generator.road_senders import RoadSenders
from darc.services.voevent_generator.roads import DISABLED, RoadOutcome, Roads
from darc.services.voevent_generator.settings import VOEventGeneratorSettings
from darc.services.voevent_generator.switches import RoadSwitch
from darc.services.voevent_generator.traits import TRAITS
from darc.services.voevent_generator.trials import (
    CONFIGURED,
    is_due,
    is_trial,
    overdue,
    trial_trigger,
)

log = logging.getLogger(__name__)

WARM_UP_SECONDS = 0.1  # between two checks whether it is done
#: Events that are told, the latest first.
TOLD_EVENTS = 200
SEARCH = "the search"
ACKNOWLEDGED = RoadState.ACKNOWLEDGED


@dataclass(frozen=True, slots=True)
class Origin:
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


class VOEventGenerator(Alerts[VOEventGeneratorSettings]):
    """Service that announces bursts, where sending is enabled."""

    name = "voevent_generator"
    traits = TRAITS
    settings_type = VOEventGeneratorSettings
    attributes: ClassVar[tuple[str, ...]] = (
        *Alerts.attributes,
        "events_waiting",
        "events",
        "event_states",
        "roads",
        "notices",
        "test_acknowledged",
        *RoadSwitch.NAMES,
        "send_updates",
    )
    switches = (*Alerts.switches, *RoadSwitch.NAMES, "send_updates")
    loss_kinds = (*Alerts.loss_kinds, *ALERT_LOSSES)

    send_vtp = RoadSwitch(RoadName.VTP)
    send_kafka = RoadSwitch(RoadName.KAFKA)
    send_webhook = RoadSwitch(RoadName.WEBHOOK)
    send_file = RoadSwitch(RoadName.FILE)

    def prepare(self) -> None:
        """Start without events, and no thread that loads libraries yet."""
        self.roads_off: set[RoadName] = set()  # what waits there is to be withdrawn
        self.road_switches = dict.fromkeys(RoadName, True)
        super().prepare()
        self.send_updates = self.settings.send_updates
        self._sent_at: dict[str, float] = {}  # Unix s, by key
        self._files = NewestFiles(r"\d{4}-\d{2}-\d{2}[^/]*\.xml")
        self._book = EventBook()
        self._roads = Roads(self._attempt)
        self._senders = RoadSenders(lambda: self.settings)
        self._followers = Followers(self)
        self._counts: dict[str, int] = {}
        # The libraries take more than 1 s to import, and 100 MB: imported in a thread, as the loop
        # must not block, and before an event waits, but not while sending is disabled.
        self._warm = threading.Event()
        self._warming: threading.Thread | None = None

    def _warm_up(self) -> None:
        try:
            _warm_up(self._senders, json=self.settings.needs_notices)
        finally:
            self._warm.set()

    @property
    def _is_ready(self) -> bool:
        """Whether events can be made without a delay, or sending is disabled."""
        if self.send_events and self._warming is None:
            self._warming = threading.Thread(target=self._warm_up, name="warm up", daemon=True)
            self._warming.start()
        return self._warming is None or self._warm.is_set()

    # -- attributes ----------------------------------------------------------------------------

    @property
    def events_waiting(self) -> list[str]:
        """Notices that were not acknowledged yet, with the reason."""
        return [
            f"{item.identity}{'' if item.road is RoadName.VTP else f' ({item.road})'}:"
            f" {error or 'under way'}"
            for item, error in self._roads.waiting()
        ]

    @property
    def events(self) -> list[dict[str, Any]]:
        """The latest events, the latest first, with their notices and roads."""
        latest = list(self._book)[: -TOLD_EVENTS - 1 : -1]
        return [reported(event) for event in latest]

    @property
    def event_states(self) -> dict[str, str]:
        """The latest notice of every event that is remembered, by id."""
        return {event.id: str(event.latest.kind) for event in self._book}

    @property
    def roads(self) -> dict[str, dict[str, Any]]:
        """State of each road: whether it is used, what waits, what became of the notices."""
        waiting = list(self._roads.waiting())
        return {
            str(road): road_report(
                road, self.road_switches[road], waiting, self._counts, self.send_events
            )
            for road in dict.fromkeys((*self.settings.road_names, *self._roads))
        }

    @property
    def notices(self) -> dict[str, int]:
        """Number of notices by road and what became of them, since this process was started."""
        return dict(self._counts)

    @property
    def test_acknowledged(self) -> float:
        """When the last test notice was made that all its roads have acknowledged (Unix s)."""
        trials = (event for event in self._book if is_trial(event) and event.first.roads)
        good = [one.made for one in trials if set(one.first.roads.values()) == {ACKNOWLEDGED}]
        return max(good, default=0.0)

    # -- which ---------------------------------------------------------------------------------

    def select(self, triggers: Sequence[Trigger]) -> int:
        """Return the index of the trigger of highest S/N."""
        return highest_snr([(trigger.name, trigger.snr) for trigger in triggers])

    def usable(self, road: RoadName, tense: Tense) -> bool:
        """Whether notices of a tense leave by a road now."""
        on = road in self.settings.road_names and self.road_switches[road]
        return on and self.settings.leads_on(road, tense)

    # -- events --------------------------------------------------------------------------------

    def recover(self, memory: dict[str, Any]) -> None:
        """Go on sending the events of an earlier process."""
        super().recover(memory)
        self.roads_off.clear()  # of the switches as they were restored
        self._book.recall(memory)
        pending = []
        for key, plain in memory.items():
            if key.startswith((PENDING, PENDING_BEFORE)):
                pending.append((key, PendingEvent.from_plain(plain)))
        for key, item in sorted(pending, key=lambda one: (one[1].event_id, one[1].number)):
            with about(item.observation):
                log.warning("goes on being sent: %s", item.identity)
                self._roads.submit(key, item, has_left=True)
        self._withdraw_from_removed()

    def reloaded(self) -> None:
        """Use changed settings; what waits on a road that was removed is withdrawn."""
        super().reloaded()
        self._withdraw_from_removed()
        if self._warming is not None:  # another road needs other libraries, or another connection
            threading.Thread(target=self._warm_up, name="warm up", daemon=True).start()

    def _withdraw_from_removed(self) -> None:
        removed = set(self._roads) - set(self.settings.road_names)
        self._note(self._roads.withdraw(removed))

    def announce(
        self, chosen: list[ChosenTrigger], commit: Callable[[dict[str, Any]], None]
    ) -> None:
        """Compose the events, commit them, and send them by the roads."""
        pending: dict[str, PendingEvent] = {}
        composed: list[ComposedNotice] = []
        told = []
        for one in chosen:
            with about(one.trigger.observation):
                made = self.compose(one, [each.event for each in composed])
                if made:
                    origin = Origin.of(one.trigger, one.arrived.taken.unix, one.gathered_at)
                    made, items = self._leaving(made, origin, tuple(RoadName))
                    composed.append(made)
                    pending |= {item.key: item for item in items}
                    told.append(one)
        fault_point("voevent_generator.before sending")
        memory = {key: item.to_plain() for key, item in pending.items()}
        memory |= self._book.put(*(made.event for made in composed))
        commit(memory | self.note_pulses(told))
        self._submit(pending.values())

    def compose(self, one: ChosenTrigger, others: Iterable[Event] = ()) -> ComposedNotice | None:
        """Compose the first notice about a trigger; None where it cannot be told.

        :param others: events of the same moment
        """
        trigger, tense = one.trigger, Tense.TEST if one.test else Tense.CURRENT
        error = measured_dm_error(trigger, self.config.instrument) or 0.0
        earlier = [event for event in others if event.tense is tense]
        earlier += self._book.of_tense(tense)
        association = association_of(trigger, error, earlier)
        kind = AlertType.SUBSEQUENT if association else AlertType.INITIAL
        event = Event(event_id(trigger, tense), trigger, tense, time.time(), association)
        if self._book.find(event.id):  # of a pulse that was sent so long ago that it is forgotten
            log.info("trigger %s not sent: it was, as %s", trigger.identity, event.id)
            self._outcomes[TriggerOutcome.ANNOUNCED_BEFORE] += 1
            return None
        before = self._book.find(association.event_id) if association else None
        made = self._composed(event, kind, SEARCH, earlier=before.first.ivorn if before else "")
        if made is None:
            self._outcomes[TriggerOutcome.CANNOT_BE_TOLD] += 1
        return made

    def follow(
        self, event: Event, kind: AlertType, by: str, reason: str, *, supervised: bool
    ) -> tuple[ComposedNotice, list[PendingEvent]] | None:
        """Compose a further notice about an event; None where it cannot leave.

        :raises ValueError: the event can have no such notice now; the text says why
        """
        event.next_notice(kind, 0.0, by, supervised=supervised)
        roads = event.roads_to_follow()
        if not any(self.usable(road, event.tense) for road in roads):
            raise ValueError(f"event {event.id} has left by no road that is in use now")
        made = self._composed(event, kind, by, reason, supervised=supervised)
        if made is None:
            return None
        now = time.time()
        return self._leaving(made, Origin.of(event.trigger, now, now), roads)

    def _composed(
        self,
        event: Event,
        kind: AlertType,
        by: str,
        reason: str = "",
        *,
        supervised: bool = False,
        earlier: str = "",
    ) -> ComposedNotice | None:
        identity = event.trigger.identity
        notice = event.next_notice(kind, time.time(), by, reason, supervised=supervised)
        composer = Composer(self.config, self.settings)
        json = any(self.usable(road, event.tense) for road in RoadName if road is not RoadName.VTP)
        try:
            made = composer.compose(event, notice, earlier=earlier, json=json)
        except (ValueError, ArithmeticError, OSError) as error:
            log.error("no VOEvent of %s: %s", identity, error)
            self.lost(CANNOT_BE_TOLD, identity, str(error))
            return None
        if made.invalid:
            log.error("no notice of %s: %s", identity, made.invalid)
            self.lost(NOTICE_INVALID, identity, made.invalid)
            self.count("notice", "invalid")
        self._keep(event.trigger, notice.number, made.xml)
        return made

    def _leaving(
        self, made: ComposedNotice, origin: Origin, roads: Sequence[RoadName]
    ) -> tuple[ComposedNotice, list[PendingEvent]]:
        """Return the notice with the roads that it leaves by, and what is to be sent."""
        event, items = made.event, []
        for road in roads:
            if self.usable(road, event.tense) and made.content(road):
                items.append(
                    PendingEvent(
                        origin.identity,
                        origin.observation,
                        made.content(road),
                        origin.stages,
                        origin.taken_at,
                        origin.gathered_at,
                        Since.now(),
                        self.settings.give_up_after_on(road),
                        road,
                        event.id,
                        event.latest.number,
                        event.tense,
                    )
                )
                event = event.with_state(event.latest.number, road, RoadState.WAITING)
        if not items:
            self._outcomes[TriggerOutcome.NO_ROAD] += int(event.latest.kind.is_first)
            log.warning("trigger %s leaves by no road: %s", origin.identity, event.tense)
        return replace(made, event=event), items

    def _keep(self, trigger: Trigger, number: int, xml: bytes) -> None:
        """Write a copy of the event to a file; the event itself is sent from the journal."""
        name = f"{trigger.utc}.xml" if number == 1 else f"{trigger.utc}.{number}.xml"
        path = Path(self.settings.voevent_dir) / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, xml, durable=False)
        except (OSError, ValueError) as error:  # a time may contain any character in the middle
            log.error("no file of the VOEvent kept: %s", error)
            self.lost(VOEVENT_NOT_KEPT, trigger.identity, str(error))
        else:
            self._files.added(path.parent, self.settings.files_kept)

    # -- what comes after ----------------------------------------------------------------------

    def work(self, entry: QueueEntry, observation: Observation | None) -> None:
        """Gather triggers; what is about an event waits until no window is open."""
        if not self._followers.take(entry):
            super().work(entry, observation)

    @property
    def book(self) -> EventBook:
        """The events that are remembered."""
        return self._book

    def publish(
        self, entries: tuple[int, ...], events: Sequence[Event], items: Sequence[PendingEvent]
    ) -> None:
        """Commit what follows from entries, and send it."""
        fault_point("voevent_generator.before following")
        memory = {item.key: item.to_plain() for item in items} | self._book.put(*events)
        self.commit(Commit(completed=entries, memory=memory))
        self._submit(items)

    def count(self, road: str, what: str) -> None:
        """Count what became of a notice."""
        name = f"{road} {what}"
        self._counts = {**self._counts, name: self._counts.get(name, 0) + 1}

    def announce_test(self, entry: int, order: AlertOrder) -> None:
        """Send a test notice by all roads that tests leave by."""
        trigger = trial_trigger(self.config.instrument)
        now = time.time()
        event = Event(event_id(trigger, Tense.TEST), trigger, Tense.TEST, now)
        reason = f"a test of the roads, by {order.by}"
        log.warning("test notice %s: %s", event.id, reason)
        made = self._composed(event, AlertType.INITIAL, order.by, reason, supervised=True)
        entries = (entry,) if entry else ()
        if made is None:
            self.commit(Commit(completed=entries))
            return
        made, items = self._leaving(made, Origin.of(trigger, now, now), tuple(RoadName))
        self.publish(entries, [made.event], items)

    def _look_after_tests(self) -> None:
        """Send a test at its time of day, and report those that were not acknowledged."""
        now = time.time()
        trials = [event for event in self._book if is_trial(event)]
        last = max((event.made for event in trials), default=0.0)
        if self.send_events and is_due(self.settings.test_at, last, now):
            order = AlertOrder("test", "", "", CONFIGURED, now)
            self.announce_test(0, order)
        for event in trials:
            roads = overdue(event, self.settings.test_limit, now)
            if roads and not event.verdict:
                names = ", ".join(roads)
                why = f"not acknowledged within {self.settings.test_limit:g} s by {names}"
                self.lost(TEST_NOT_ACKNOWLEDGED, event.id, why)
                # So that it is said once.
                told = replace(event, verdict=why)
                self.commit(Commit(memory=self._book.put(told)))

    # -- sending -------------------------------------------------------------------------------

    def _submit(self, items: Iterable[PendingEvent]) -> None:
        for item in items:
            with about(item.observation):
                self._roads.submit(item.key, item)

    def _may_leave_by(self, road: RoadName) -> bool:
        """Whether what waits on a road may be sent: neither all nor it was disabled meanwhile."""
        on = self.road_switches[road] and road not in self.roads_off
        return self.may_leave and on

    def _attempt(self, key: str, item: PendingEvent) -> None:
        """Send an item, in the thread of its road."""
        if not self._may_leave_by(item.road):
            raise DeliveryError(DISABLED, permanent=True)
        self._sent_at[key] = time.time()
        self._senders.send(item, lambda: self._may_leave_by(item.road))
        fault_point("voevent_generator.after sending")

    def patience(self) -> float:
        """Return how long to wait for entries (s): until events can be made, little."""
        return max(super().patience(), 0.0 if self._is_ready else WARM_UP_SECONDS)

    def idle(self) -> None:
        """Send what is due, and note what has left and what was given up."""
        if not self._is_ready:
            return
        if self.roads_off:
            off, self.roads_off = self.roads_off, set()
            self._note(self._roads.withdraw(off))
        super().idle()
        self._note(self._roads.outcomes())
        if self._closes is None:
            self._followers.follow()
        self._look_after_tests()
        if expired := self._book.expired(self.settings.remember_for):
            self.commit(Commit(memory=expired))

    def withdraw(self) -> None:
        """Drop what was not acknowledged yet."""
        self._note(self._roads.withdraw(tuple(self._roads)))

    def _note(self, outcomes: Sequence[RoadOutcome]) -> None:
        """Count and remember what became of notices."""
        for outcome in outcomes:
            item = outcome.item
            with about(item.observation):
                self._note_one(outcome)
        if not outcomes:
            return
        changed = {one.item.event_id for one in outcomes}
        events = [event for name in changed if (event := self._book.find(name))]
        memory = dict.fromkeys(one.key for one in outcomes) | self._book.put(*events)
        self.commit(Commit(memory=memory))

    def _note_one(self, outcome: RoadOutcome) -> None:
        item, state = outcome.item, outcome.state
        sent_at = self._sent_at.pop(outcome.key, 0.0)
        before = self._book.find(item.event_id)
        event = before and before.with_state(item.number, item.road, state)
        if event:
            self._book.put(event)
        what = RoadState.WITHDRAWN if outcome.withdrawn else state
        self.count(str(item.road), str(what))
        if state is RoadState.ACKNOWLEDGED and outcome.delivered_at is not None:
            self._acknowledged(item, sent_at, outcome.delivered_at)
        elif outcome.withdrawn:
            log.warning("VOEvent of trigger %s withdrawn: %s", item.identity, outcome.error)
        else:
            self.lost(given_up(item.road), item.identity, outcome.error)
        if item.number == 1:
            self._outcomes_of_first(before, event, what)

    def _acknowledged(self, item: PendingEvent, sent_at: float, accepted_at: float) -> None:
        if item.number == 1:
            times = {"taken": item.taken_at, "gathered": item.gathered_at}
            times |= {"sent": sent_at, "accepted": accepted_at}
            self._latencies.note(item.stages, **times)
        who = "the broker" if item.road is RoadName.VTP else item.road
        log.warning("VOEvent of trigger %s taken by %s", item.identity, who)

    def _outcomes_of_first(self, before: Event | None, now: Event | None, what: RoadState) -> None:
        """Count what became of a trigger: once, whatever the number of roads."""
        were = set(before.first.roads.values()) if before else set()
        if RoadState.ACKNOWLEDGED in were:
            return
        if what is RoadState.ACKNOWLEDGED:
            self._outcomes[TriggerOutcome.ACCEPTED] += 1
        elif now is None or RoadState.WAITING not in now.first.roads.values():
            withdrawn = what is RoadState.WITHDRAWN
            name = TriggerOutcome.WITHDRAWN if withdrawn else TriggerOutcome.GIVEN_UP
            self._outcomes[name] += 1


def _warm_up(senders: RoadSenders, *, json: bool) -> None:
    """Import libraries, and load the tables of the Earth's rotation and the schema of lxml."""
    senders.warm_up()
    from darc.model import voevent, voevent_xml  # noqa: F401, PLC0415
    from darc.science import sky  # noqa: PLC0415

    sky.beam_rotation_angle(0.0, 0.0, time.time(), (6378137.0, 0.0, 0.0))
    sky.galactic(0.0, 0.0)
    voevent_xml.check(voevent_xml.new_event("ivo://darc/warm-up#0", "test"))
    if json:
        from darc.services.voevent_generator.notice_schema import warm_up  # noqa: PLC0415

        warm_up()
