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
from queue import SimpleQueue
from typing import Any, ClassVar

from darc.config.settings import AmberClusteringSettings
from darc.model.counters import TriggerOutcome
from darc.model.event import AlertType, Event, RoadName, Tense, event_id
from darc.model.observation import Observation
from darc.model.sources import Source
from darc.model.trigger import Trigger
from darc.node.losses import SOURCES_UNKNOWN
from darc.node.source_lists import read_lists_apart
from darc.queues.client import QueuesGoneError
from darc.queues.messages import Commit, QueueEntry, QueueError
from darc.runtime.fault_points import fault_point
from darc.runtime.log import about
from darc.science.selection import highest_snr
from darc.services.base.alerts import Alerts, ChosenTrigger
from darc.services.base.measured_dm import measured_dm_error
from darc.services.voevent_generator.alert_losses import (
    ALERT_LOSSES,
    VOEVENT_NOT_KEPT,
    cannot_be_told,
)
from darc.services.voevent_generator.announcer import Announcer
from darc.services.voevent_generator.composer import LIBRARIES, ComposedNotice
from darc.services.voevent_generator.departures import Departures, Origin
from darc.services.voevent_generator.event_life import association_of
from darc.services.voevent_generator.event_report import reported
from darc.services.voevent_generator.followers import Followers
from darc.services.voevent_generator.late_notices import LateNotices
from darc.services.voevent_generator.name_reports import DISABLED, OFF, NameReports
from darc.services.voevent_generator.pending_event import PendingEvent
from darc.services.voevent_generator.retractions import Retractions
from darc.services.voevent_generator.road_senders import RoadSenders
from darc.services.voevent_generator.settings import VOEventGeneratorSettings
from darc.services.voevent_generator.switches import TNS, LeavingSwitch, WaySwitches
from darc.services.voevent_generator.traits import TRAITS
from darc.services.voevent_generator.trials import RoadTrials

log = logging.getLogger(__name__)

WARM_UP_SECONDS = 0.1  # between two checks whether it is done
#: Events of a tense that are told, the latest first: injections may come each minute.
TOLD_EVENTS = {Tense.CURRENT: 200, Tense.TEST: 200, Tense.INJECTION: 50}
SEARCH = "the search"


class VOEventGenerator(Alerts[VOEventGeneratorSettings]):
    """Service that announces bursts, where sending is enabled."""

    name = "voevent_generator"
    traits = TRAITS
    settings_type = VOEventGeneratorSettings
    takes_injections = True
    attributes: ClassVar[tuple[str, ...]] = (
        *Alerts.attributes,
        "events_waiting",
        "events",
        "event_states",
        "roads",
        "notices",
        "test_acknowledged",
        *LeavingSwitch.NAMES,
        "send_updates",
        "reports_waiting",
        "not_reportable",
        "test_roads",
    )
    switches = (*Alerts.switches, *LeavingSwitch.NAMES, "send_updates")
    loss_kinds = (*Alerts.loss_kinds, *ALERT_LOSSES, SOURCES_UNKNOWN)

    send_vtp = LeavingSwitch(RoadName.VTP)
    send_kafka = LeavingSwitch(RoadName.KAFKA)
    send_webhook = LeavingSwitch(RoadName.WEBHOOK)
    send_file = LeavingSwitch(RoadName.FILE)
    send_chat = LeavingSwitch(RoadName.CHAT)
    send_tns = LeavingSwitch(TNS)

    def prepare(self) -> None:
        """Start without events, and no thread that loads libraries yet."""
        self.ways = WaySwitches()
        super().prepare()
        self.send_updates = self.settings.send_updates
        self._listed: tuple[Source, ...] = ()
        self._list_problems: SimpleQueue[tuple[str, ...]] = SimpleQueue()  # as a thread found them
        self.departures = Departures(self, self.ways)
        self.book = self.departures.book  # the events that are remembered
        self._late = LateNotices(self)
        self._reports = NameReports(self, self.book, self.ways)
        self.announcer = Announcer(self, self.departures, self._reports)
        self._trials = RoadTrials(self.announcer)
        self._retractions = Retractions(self.announcer)
        self._followers = Followers(self.announcer, self._trials, lambda: self.send_updates)
        # The libraries take more than 1 s to import, and 100 MB: imported in a thread, as the loop
        # must not block, and before an event waits, but not while sending is disabled.
        self._warm = threading.Event()
        self._warming: threading.Thread | None = None

    def _warm_up(self) -> None:
        try:
            lists = self.config.of(AmberClusteringSettings).match_files
            sources, problems = read_lists_apart(lists)
            self._listed = sources.with_position()
            self._list_problems.put(problems)
            _warm_up(self.departures.senders, json=self.settings.needs_notices)
        finally:
            self._warm.set()

    def _note_list_problems(self) -> None:
        while not self._list_problems.empty():
            for problem in self._list_problems.get():
                log.error("events are not matched with all known sources: %s", problem)
                self.lost(SOURCES_UNKNOWN, "sources of notices", problem)

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
        return self.departures.described()

    @property
    def reports_waiting(self) -> list[str]:
        """Reports to the TNS that are under way, with the reason."""
        return self._reports.described()

    @property
    def events(self) -> list[dict[str, Any]]:
        """The latest events, the latest first, with their notices and roads.

        However many injections there are, a burst is among them.
        """
        left = {**TOLD_EVENTS}
        latest = []
        for event in reversed(list(self.book)):
            if left[event.tense] > 0:
                left[event.tense] -= 1
                latest.append(event)
        errors = self._reports.errors()
        return [reported(event, errors) for event in latest]

    @property
    def event_states(self) -> dict[str, str]:
        """The state of every event that is remembered, by id: see `Event.state`."""
        return {event.id: event.state for event in self.book}

    @property
    def roads(self) -> dict[str, dict[str, Any]]:
        """State of each road: whether it is used, what waits, what became of the notices."""
        return self.departures.report()

    @property
    def notices(self) -> dict[str, int]:
        """Number of notices by road and what became of them, since this process was started."""
        return dict(self.departures.counts)

    @property
    def not_reportable(self) -> dict[str, dict[str, str]]:
        """Why events cannot be reported to the TNS, by server and event; under "": none can."""
        return self._reports.refusals()

    @property
    def test_roads(self) -> list[str]:
        """The roads by which a test notice would leave now."""
        departures = self.departures
        return [str(road) for road in RoadName if departures.usable(road, Tense.TEST)]

    @property
    def test_acknowledged(self) -> float:
        """When the last test notice was made that all its roads have acknowledged (Unix s)."""
        return self._trials.acknowledged

    # -- which ---------------------------------------------------------------------------------

    def select(self, triggers: Sequence[Trigger]) -> int:
        """Return the index of the trigger of highest S/N."""
        return highest_snr([(trigger.name, trigger.snr) for trigger in triggers])

    # -- events --------------------------------------------------------------------------------

    def recover(self, memory: dict[str, Any]) -> None:
        """Go on sending the events of an earlier process."""
        super().recover(memory)
        self.ways.withdrawn(self.ways.to_withdraw())  # of the switches as they were restored
        self.departures.recover(memory)
        self.announcer.copies.recover(memory)
        self._late.recover(memory)
        self._followers.recover(memory)
        self._reports.recover(memory)

    def reloaded(self) -> None:
        """Use changed settings; what waits on a road that was removed is withdrawn."""
        super().reloaded()
        self.departures.withdraw_from_removed()
        self._retractions.look_again_at(RoadName)  # there may be other addresses
        if self._warming is not None:  # another road needs other libraries, or another connection
            threading.Thread(target=self._warm_up, name="warm up", daemon=True).start()

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
                    made, items = self.departures.leaving(made, origin, tuple(RoadName))
                    composed.append(made)
                    pending |= {item.key: item for item in items}
                    told.append(one)
        fault_point("voevent_generator.before sending")
        memory = {key: item.to_plain() for key, item in pending.items()}
        memory |= (
            self.book.put(*(made.event for made in composed)) | self.announcer.copies.to_commit()
        )
        commit(memory | self.note_pulses(told))
        self.departures.submit(pending.values())

    def compose(self, one: ChosenTrigger, others: Iterable[Event] = ()) -> ComposedNotice | None:
        """Compose the first notice about a trigger; None where it cannot be told.

        :param others: events of the same moment
        """
        try:
            made = self._composed_first(one, others)
        except (QueueError, QueuesGoneError):  # of a commit: it is not the trigger's fault
            raise
        # A defect must not end the service: it would take the same trigger at each start.
        except Exception as error:
            cannot_be_told(self, one.trigger.identity, error)
            made = None
            self._outcomes[TriggerOutcome.CANNOT_BE_TOLD] += 1
        return made

    def _composed_first(self, one: ChosenTrigger, others: Iterable[Event]) -> ComposedNotice | None:
        trigger, tense = one.trigger, _tense(one)
        error = measured_dm_error(trigger, self.config.instrument) or 0.0
        earlier = [event for event in others if event.tense is tense]
        earlier += self.book.of_tense(tense)
        retracted = {event.id for event in self.book if event.is_retracted}
        association = association_of(trigger, error, earlier, retracted, self._listed)
        kind = AlertType.SUBSEQUENT if association else AlertType.INITIAL
        event = Event(event_id(trigger, tense), trigger, tense, time.time(), association)
        if self.book.find(event.id):  # of a pulse that was sent so long ago that it is forgotten
            log.info("trigger %s not sent again: announced as %s", trigger.identity, event.id)
            self._outcomes[TriggerOutcome.ANNOUNCED_BEFORE] += 1
            return None
        before = self.book.find(association.event_id) if association else None
        cited = before.first.ivorn if before else ""
        made = self.announcer.composed(event, kind, SEARCH, earlier=cited)
        if made is None:
            self._outcomes[TriggerOutcome.CANNOT_BE_TOLD] += 1
        return made

    # -- what comes after ----------------------------------------------------------------------

    def work(self, entry: QueueEntry, observation: Observation | None) -> None:
        """Gather triggers; what is about an event waits until no window is open."""
        if not self._followers.take(entry):
            super().work(entry, observation)

    # -- the loop ------------------------------------------------------------------------------

    def patience(self) -> float:
        """Return how long to wait for entries (s): until events can be made, little."""
        if not self._is_ready:
            return max(super().patience(), WARM_UP_SECONDS)
        return 0.0 if self._closes is None and self._followers.waits else super().patience()

    def idle(self) -> None:
        """Send what is due, and note what has left and what was given up."""
        if not self._is_ready:
            return
        self._note_list_problems()
        for identity, why in self.announcer.copies.problems():
            self.lost(VOEVENT_NOT_KEPT, identity, why)
        if copies := self.announcer.copies.to_commit():
            self.commit(Commit(memory=copies))
        # Until it is withdrawn, what waits there may not leave. The listener's thread adds others.
        if off := self.ways.to_withdraw():
            roads = [road for road in RoadName if road in off]
            self.departures.withdraw(roads)
            self._retractions.look_again_at(roads)
            if TNS in off:
                self._reports.withdraw(DISABLED)
            self.ways.withdrawn(off)
        super().idle()
        self.departures.note_outcomes()
        self._late.look(self.departures.waiting(), self.settings.test_limit)
        self._reports.look()
        if self._closes is None:
            self._followers.follow()
        self._retractions.look()
        self._trials.look()
        if expired := self.book.expired(self.settings.remember_for):
            self.commit(Commit(memory=expired))

    def withdraw(self) -> None:
        """Drop what was not acknowledged yet."""
        self.departures.withdraw()
        self._retractions.look_again_at(RoadName)
        self._reports.withdraw(OFF)


def _tense(one: ChosenTrigger) -> Tense:
    if one.trigger.injection:
        return Tense.INJECTION
    return Tense.TEST if one.test else Tense.CURRENT


def _warm_up(senders: RoadSenders, *, json: bool) -> None:
    """Import libraries, and load the tables of the Earth's rotation and the schema of lxml."""
    senders.warm_up()
    with LIBRARIES:  # a configuration that is read again meanwhile has this done by another thread
        from darc.model import voevent, voevent_xml  # noqa: F401, PLC0415
        from darc.science import sky  # noqa: PLC0415

        sky.beam_rotation_angle(0.0, 0.0, time.time(), (6378137.0, 0.0, 0.0))
        sky.galactic(0.0, 0.0)
        voevent_xml.check(voevent_xml.new_event("ivo://darc/warm-up#0", "test"))
        if json:
            from darc.services.voevent_generator.notice_schema import validator  # noqa: PLC0415

            validator()
