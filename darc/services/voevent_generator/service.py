"""Publishes triggers as VOEvents.

An event is in the journal before it is sent, and stays there until the broker has accepted it.
Retries send the same bytes and identifier, by which brokers recognise duplicates.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from darc.delivery import voevent_sender
from darc.delivery.outbox import DeliveryError, Outbox
from darc.model.counters import TriggerOutcome
from darc.model.trigger import Stages, Trigger
from darc.node.losses import LossKind
from darc.queues.messages import Commit
from darc.runtime.clock import Since
from darc.runtime.fault_points import fault_point
from darc.runtime.log import about
from darc.runtime.paths import write_whole
from darc.runtime.retention import NewestFiles
from darc.science import radiometer
from darc.science.selection import highest_snr
from darc.services.base.alerts import CANNOT_BE_TOLD, Alerts, ChosenTrigger
from darc.services.base.measured_dm import measured_dm_error
from darc.services.voevent_generator.settings import VOEventGeneratorSettings

if TYPE_CHECKING:
    from darc.model import voevent
from darc.services.voevent_generator.traits import TRAITS

log = logging.getLogger(__name__)

EVENT = "event "
DISABLED = "sending is disabled"
WARM_UP_SECONDS = 0.1  # between two checks whether it is done

VOEVENT_GIVEN_UP = LossKind(
    "voevent_given_up",
    "a VOEvent was not published: the broker did not take it",
    "See voevent_generator.broker_host and broker_port, and the broker's log. The event is in"
    " voevent_dir, and can be sent by hand (comet-sendvo).",
)
VOEVENT_NOT_KEPT = LossKind(
    "voevent_not_kept",
    "a VOEvent was not written to a file; it was sent all the same",
    "Make room or give rights: voevent_generator.voevent_dir.",
)


@dataclass(frozen=True, slots=True)
class PendingEvent:
    """VOEvent to be sent to the broker.

    :param taken_at: when its trigger was taken (Unix s), as is the next
    :param made: when it was created; it expires a limit after that (s)
    """

    identity: str
    observation: str
    xml: bytes
    stages: Stages
    taken_at: float
    gathered_at: float
    made: Since
    give_up_after: float

    def to_plain(self) -> list[Any]:
        """Return the event as a list, for the memory; `from_plain` reads it."""
        times = self.taken_at, self.gathered_at, self.made.to_plain(), self.give_up_after
        stages = [getattr(self.stages, name) for name in Stages.__slots__]
        return [self.identity, self.observation, self.xml, stages, *times]

    @classmethod
    def from_plain(cls, plain: list[Any]) -> PendingEvent:
        """Restore from plain values; earlier versions saved the time of expiry."""
        identity, observation, xml, stages, taken_at, gathered_at, *until = plain
        if len(until) == 1:
            made, give_up_after = taken_at, until[0] - taken_at
        else:
            made, give_up_after = until
        about = identity, observation, xml, Stages(*stages), taken_at, gathered_at
        return cls(*about, Since.from_plain(made), float(give_up_after))


class VOEventGenerator(Alerts[VOEventGeneratorSettings]):
    """Service that makes and sends VOEvents, where sending is enabled."""

    name = "voevent_generator"
    traits = TRAITS
    settings_type = VOEventGeneratorSettings
    attributes: ClassVar[tuple[str, ...]] = (*Alerts.attributes, "events_waiting")
    loss_kinds = (*Alerts.loss_kinds, VOEVENT_GIVEN_UP, VOEVENT_NOT_KEPT)

    def prepare(self) -> None:
        """Start the outbox, and no thread that loads libraries yet."""
        super().prepare()
        self._events: dict[str, PendingEvent] = {}  # by key, those not accepted yet
        self._sent_at: dict[str, float] = {}  # Unix s
        self._files = NewestFiles(r"\d{4}-\d{2}-\d{2}[^/]*\.xml")
        self._outbox: Outbox[tuple[str, PendingEvent]] = Outbox("VOEvent", self._attempt)
        # The libraries take more than 1 s to import, and 100 MB: imported in a thread, as the loop
        # must not block, and before an event waits, but not while sending is disabled.
        self._warm = threading.Event()
        self._warming: threading.Thread | None = None

    def _warm_up(self) -> None:
        try:
            _warm_up()
        finally:
            self._warm.set()

    @property
    def _is_ready(self) -> bool:
        """Whether events can be made without a delay, or sending is disabled."""
        if self.send_events and self._warming is None:
            self._warming = threading.Thread(target=self._warm_up, name="warm up", daemon=True)
            self._warming.start()
        return self._warming is None or self._warm.is_set()

    @property
    def events_waiting(self) -> list[str]:
        """Events that the broker has not accepted yet, with the reason."""
        errors = {one.key: one.error for one in self._outbox.waiting}
        return [
            f"{event.identity}: {errors.get(key) or 'under way'}"
            for key, event in list(self._events.items())
        ]

    # -- which ---------------------------------------------------------------------------------

    def select(self, triggers: Sequence[Trigger]) -> int:
        """Return the index of the trigger of highest S/N."""
        return highest_snr([(trigger.name, trigger.snr) for trigger in triggers])

    # -- events --------------------------------------------------------------------------------

    def recover(self, memory: dict[str, Any]) -> None:
        """Go on sending the events of an earlier process."""
        super().recover(memory)
        for key, plain in memory.items():
            if key.startswith(EVENT):
                event = PendingEvent.from_plain(plain)
                with about(event.observation):
                    log.warning("goes on being sent: %s", event.identity)
                    self._submit(key, event)

    def announce(
        self, chosen: list[ChosenTrigger], commit: Callable[[dict[str, Any]], None]
    ) -> None:
        """Write the events, and send them to the broker."""
        made: dict[str, PendingEvent] = {}
        told = []
        for one in chosen:
            with about(one.trigger.observation):
                event = self.make_event(one)
            if event:
                # A program may use an identity for several pulses.
                kind = "test" if one.test else "observation"
                made[f"{EVENT}{event.identity} {one.trigger.utc} {kind}"] = event
                told.append(one)
        fault_point("voevent_generator.before sending")
        events = {key: event.to_plain() for key, event in made.items()}
        commit(events | self.note_pulses(told))
        for key, event in made.items():
            with about(event.observation):
                self._submit(key, event)

    def make_event(self, one: ChosenTrigger) -> PendingEvent | None:
        trigger = one.trigger
        try:
            xml = self._xml(trigger, one.test)
        except (ValueError, ArithmeticError) as error:
            log.error("no VOEvent of %s: %s", trigger.identity, error)
            self.lost(CANNOT_BE_TOLD, trigger.identity, str(error))
            self._outcomes[TriggerOutcome.CANNOT_BE_TOLD] += 1
            return None
        self._keep(trigger, xml)
        times = one.arrived.taken.unix, one.gathered_at, Since.now(), self.settings.give_up_after
        return PendingEvent(trigger.identity, trigger.observation, xml, trigger.stages, *times)

    def _xml(self, trigger: Trigger, test: bool) -> bytes:
        """Make the XML of an event.

        :raises ValueError: a value of the trigger or the configuration cannot be expressed
        """
        from darc.model import voevent  # noqa: PLC0415 - see _warm_up
        from darc.science import sky  # noqa: PLC0415

        instrument, settings = self.config.instrument, self.settings
        direction = None
        if trigger.ra is not None and trigger.dec is not None:
            at = trigger.arrival, instrument.position
            direction = voevent.Direction(
                *sky.galactic(trigger.ra, trigger.dec),
                sky.beam_rotation_angle(trigger.ra, trigger.dec, *at),
            )
        sender = voevent.Sender(
            settings.stream, settings.author_ivorn, settings.contact_name, settings.contact_email
        )
        return voevent.make_voevent(
            trigger,
            self._setup(trigger),
            direction,
            sender,
            test=test,
            created=datetime.now(UTC),
            dm_error=measured_dm_error(trigger, instrument),
        )

    def _setup(self, trigger: Trigger) -> voevent.ObservationSetup:
        """Return the observing setup of a trigger, with default values where it states none."""
        from darc.model.voevent import ObservationSetup  # noqa: PLC0415

        instrument = self.config.instrument
        gain = trigger.gain
        if gain is None:
            gain = radiometer.array_gain(
                instrument.dish_diameter, instrument.aperture_efficiency, instrument.n_dishes
            )
        nchan = trigger.nchan or instrument.nchan
        return ObservationSetup(
            observatory=instrument.observatory,
            backend=instrument.backend,
            bandwidth=trigger.nchan * trigger.delta_nu_MHz
            if trigger.nchan
            else instrument.bandwidth,
            nchan=nchan,
            npol=instrument.npol,
            bits_per_sample=instrument.bits_per_sample,
            gain=float(gain),
            tsys=instrument.tsys,
        )

    def _keep(self, trigger: Trigger, xml: bytes) -> None:
        """Write a copy of the event to a file; the event itself is sent from the journal."""
        path = Path(self.settings.voevent_dir) / f"{trigger.utc}.xml"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, xml, durable=False)
        except (OSError, ValueError) as error:  # a time may contain any character in the middle
            log.error("no file of the VOEvent kept: %s", error)
            self.lost(VOEVENT_NOT_KEPT, trigger.identity, str(error))
        else:
            self._files.added(path.parent, self.settings.files_kept)

    # -- sending -------------------------------------------------------------------------------

    def _submit(self, key: str, event: PendingEvent) -> None:
        self._events[key] = event
        self._outbox.submit(key, (key, event), give_up_after=event.give_up_after - event.made.age())

    def _attempt(self, item: tuple[str, PendingEvent]) -> None:
        """Send an event, in the outbox's thread."""
        key, event = item
        if not self.may_leave:
            raise DeliveryError(DISABLED, permanent=True)
        self._sent_at[key] = time.time()
        settings = self.settings
        try:
            voevent_sender.send(
                event.xml, settings.broker_host, settings.broker_port, settings.broker_timeout
            )
        except voevent_sender.SendError as error:
            raise DeliveryError(str(error)) from error
        fault_point("voevent_generator.after sending")

    def patience(self) -> float:
        """Return how long to wait for entries (s): until events can be made, little."""
        return max(super().patience(), 0.0 if self._is_ready else WARM_UP_SECONDS)

    def idle(self) -> None:
        """Note which events the broker has accepted, and which were given up."""
        if not self._is_ready:
            return
        super().idle()
        for outcome in self._outbox.outcomes():
            event = self._events[outcome.key]
            sent_at = self._sent_at.pop(outcome.key, 0.0)
            with about(event.observation):
                if outcome.delivered_at is not None:
                    self._accepted(event, sent_at, outcome.delivered_at)
                elif outcome.withdrawn or outcome.error == DISABLED:
                    self._count_withdrawn(event)
                else:
                    self.lost(VOEVENT_GIVEN_UP, event.identity, outcome.error)
                    self._outcomes[TriggerOutcome.GIVEN_UP] += 1
            self.commit(Commit(memory={outcome.key: None}))
            del self._events[outcome.key]

    def _accepted(self, event: PendingEvent, sent_at: float, accepted_at: float) -> None:
        self._outcomes[TriggerOutcome.ACCEPTED] += 1
        times = {"taken": event.taken_at, "gathered": event.gathered_at}
        times |= {"sent": sent_at, "accepted": accepted_at}
        self._latencies.note(event.stages, **times)
        log.warning("VOEvent of trigger %s taken by the broker", event.identity)

    def withdraw(self) -> None:
        """Drop the events that the broker has not accepted yet."""
        dropped = self._outbox.withdraw()
        for key in dropped:
            event = self._events[key]
            with about(event.observation):
                self._count_withdrawn(event)
        if dropped:
            self.commit(Commit(memory=dict.fromkeys(dropped)))
        for key in dropped:
            del self._events[key]

    def _count_withdrawn(self, event: PendingEvent) -> None:
        self._outcomes[TriggerOutcome.WITHDRAWN] += 1
        log.warning("VOEvent of trigger %s withdrawn: %s", event.identity, DISABLED)


def _warm_up() -> None:
    """Import libraries, and load the tables of the Earth's rotation and the schema of lxml."""
    voevent_sender.warm_up()
    from darc.model import voevent, voevent_xml  # noqa: F401, PLC0415
    from darc.science import sky  # noqa: PLC0415

    sky.beam_rotation_angle(0.0, 0.0, time.time(), (6378137.0, 0.0, 0.0))
    sky.galactic(0.0, 0.0)
    voevent_xml.check(voevent_xml.new_event("ivo://darc/warm-up#0", "test"))
