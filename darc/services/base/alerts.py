"""Base of lofar_trigger and voevent_generator: external triggers and alerts, once per pulse.

The first trigger opens a window, which closes when no other has come for some time; then the best
trigger of each pulse is chosen, and sent if sending is enabled.
"""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from darc.config.records import Struct, convert, replace
from darc.config.settings import AlertSettings
from darc.model.counters import TriggerOutcome, identified
from darc.model.observation import Observation
from darc.model.trigger import Trigger
from darc.node.listening_process import who_listens
from darc.node.losses import LossKind
from darc.node.secret import read_secret
from darc.queues.messages import Commit, QueueEntry
from darc.queues.queue_server import QueueServer
from darc.runtime.clock import Instant, Since
from darc.runtime.log import ABOUT_TRIGGER, about
from darc.runtime.process_start import CannotStartError
from darc.services.base.intake import EXPOSED, Intake, NamedIntake
from darc.services.base.known_pulses import KnownPulses, TriggeredPulse, by_pulse
from darc.services.base.service import LOOP_SECONDS
from darc.services.base.trigger_consumer import TriggerConsumer

log = logging.getLogger(__name__)

PULSES = "pulses"
#: Most pulses of one window that are sent: more are interference or a fault.
MAX_PULSES = 100
OUTCOMES = "outcomes"

TRIGGER_EXPIRED = LossKind(
    "trigger_expired",
    "a trigger was not sent: it had waited for too long before it came here",
    "See since when this service or the master node was away; age_limit is the limit.",
)
CANNOT_BE_TOLD = LossKind(
    "cannot_be_told",
    "a trigger was not sent: the system outside has no way to be told of it",
    "A value of the trigger or of this service's configuration is wrong: it is named.",
)
TOO_MANY_AT_ONCE = LossKind(
    "too_many_at_once",
    "triggers were not sent: too many at once",
    "The strongest were sent. Look for interference; raise amber_clustering.thresh_lofar.",
)


A = TypeVar("A", bound=AlertSettings)


class ArrivedTrigger(Struct, frozen=True):
    """Arrival of a trigger at this service.

    :param taken: when the service took it
    :param waited: how long it had waited before, including on the worker (s)
    """

    taken: Since
    waited: float

    def age(self) -> float:
        """Return how long the trigger has waited so far (s)."""
        return self.waited + self.taken.age()

    def to_plain(self) -> list[Any]:
        return [self.taken.to_plain(), self.waited]

    @classmethod
    def from_plain(cls, plain: Any) -> ArrivedTrigger:
        """Restore from plain values; earlier versions saved only the time of day."""
        if isinstance(plain, int | float):
            return cls(Since.from_plain(plain), 0.0)
        taken, waited = plain
        return cls(Since.from_plain(taken), float(waited))


class ChosenTrigger(Struct, frozen=True):
    """Trigger chosen to represent a pulse.

    :param test: whether it is a test, or of an injection
    :param arrived: its arrival
    :param gathered_at: when the window closed (Unix s)
    """

    trigger: Trigger
    test: bool
    arrived: ArrivedTrigger
    gathered_at: float


class Alerts(TriggerConsumer[A], Generic[A]):
    """Base class; subclasses select the best trigger of a pulse, and send it."""

    attributes: ClassVar[tuple[str, ...]] = (
        *TriggerConsumer.attributes,
        "send_events",
        "test",
        "clients",
        "refused_clients",
    )
    switches: ClassVar[tuple[str, ...]] = ("send_events",)
    loss_kinds = (
        *TriggerConsumer.loss_kinds,
        TRIGGER_EXPIRED,
        CANNOT_BE_TOLD,
        TOO_MANY_AT_ONCE,
    )
    outward = True

    def prepare(self) -> None:
        super().prepare()
        self._switched_off = threading.Event()
        self.send_events = self.settings.send_events
        self._gathered: list[tuple[Trigger, ArrivedTrigger]] = []
        self._entries: list[int] = []
        self._opened: Instant | None = None
        self._closes: Instant | None = None
        self._known = KnownPulses(self.settings.interval)
        self._intake = Intake(Path(self.config.master.run_dir), self.name)
        self._server: QueueServer | None = None

    # -- attributes ------------------------------------------------------------------------------

    @property
    def send_events(self) -> bool:
        """Whether sending is enabled."""
        return self._send_events

    @send_events.setter
    def send_events(self, enabled: bool) -> None:
        self._send_events = enabled
        # Queued messages are then dropped, even if sending is enabled again at once.
        if not enabled:
            self._switched_off.set()

    @property
    def may_leave(self) -> bool:
        """Whether queued messages may be sent: sending was not disabled meanwhile."""
        return self._send_events and not self._switched_off.is_set()

    @property
    def test(self) -> bool:
        """Whether a trigger that does not state it is a test."""
        return self.settings.test

    @property
    def clients(self) -> dict[str, str]:
        """The workers that hand in triggers."""
        return self._intake.clients

    @property
    def refused_clients(self) -> int:
        """Number of refused connections to the queue server."""
        return self._server.refused if self._server else 0

    # -- for subclasses --------------------------------------------------------------------------

    def why_not(self, trigger: Trigger) -> str:
        """Return why a trigger cannot be sent; empty where it can."""
        return ""

    def select(self, triggers: Sequence[Trigger]) -> int:
        """Return the index of the trigger that represents its pulse."""
        raise NotImplementedError

    def announce(
        self, chosen: list[ChosenTrigger], commit: Callable[[dict[str, Any]], None]
    ) -> None:
        """Send triggers to the external system.

        :param commit: completes the entries of the window, and commits the memory given
        """
        raise NotImplementedError

    def withdraw(self) -> None:
        """Drop queued messages, as sending was disabled."""

    # -- the service -----------------------------------------------------------------------------

    def commit(self, commit: Commit) -> None:
        """Commit a step, with the outcomes, which are counted across restarts."""
        memory = {OUTCOMES: self.outcomes, **commit.memory}
        super().commit(replace(commit, memory=memory))

    def recover(self, memory: dict[str, Any]) -> None:
        if self.send_events:
            self._switched_off.clear()  # it was off before the saved switch was restored
        self._outcomes.update(identified(memory.get(OUTCOMES, {})))
        pulses = convert(memory.get(PULSES, []), list[TriggeredPulse])
        self._known = KnownPulses(self.settings.interval, pulses)
        address = self.config.bind_address, self.settings.server_port
        secret = partial(read_secret, Path(self.config.master.run_dir) / "secret")
        try:
            by_name = NamedIntake(self._intake, self.name)
            self._server = QueueServer(address, secret, self._intake, EXPOSED, by_name)
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            who = f", which {who_listens(address[1])} has" if taken else ""
            where = f"{address[0]}:{address[1]}"
            raise CannotStartError(
                f"triggers cannot be taken in at {where}{who}: {error}"
            ) from error
        self._server.start()
        log.info("triggers are taken in at %s:%d", *address)

    def reloaded(self) -> None:
        self._known.interval = self.settings.interval
        log.info("configuration read again")
        if self._server and self._server.address[1] != self.settings.server_port:
            log.warning("server_port changes with a restart of %s", self.name)

    def patience(self) -> float:
        return LOOP_SECONDS if self._closes is None else self._closes.left()

    def work(self, entry: QueueEntry, observation: Observation | None) -> None:
        self._entries.append(entry.id)
        arrived = ArrivedTrigger(Since.now(), entry.since.age())
        wanted = []
        for trigger in self.take_triggers(entry):
            with about(trigger.observation):
                if self._is_wanted(trigger, arrived.waited):
                    wanted.append((trigger, arrived))
        self._gathered += wanted
        if wanted:
            now = Instant.now()
            self._opened = self._opened or now
            latest = self._opened.after(self.settings.interval)
            self._closes = min(now.after(self.settings.settle), latest)

    def _is_wanted(self, trigger: Trigger, age: float) -> bool:
        """Whether a trigger can be sent and has not expired.

        :param age: how long it has waited (s)
        """
        if age > self.settings.age_limit:
            why = f"it has waited for {age:.0f} s"
            log.error("trigger %s expired: %s", trigger.identity, why)
            self.lost(TRIGGER_EXPIRED, trigger.identity, why)
            self._outcomes[TriggerOutcome.EXPIRED] += 1
            return False
        reason = self.why_not(trigger)
        if reason:
            log.error("trigger %s: %s", trigger.identity, reason)
            self.lost(CANNOT_BE_TOLD, trigger.identity, reason)
            self._outcomes[TriggerOutcome.CANNOT_BE_TOLD] += 1
        return not reason

    def idle(self) -> None:
        if self._switched_off.is_set():
            self.withdraw()
            self._switched_off.clear()
        if self._entries and (self._closes is None or self._closes.left() <= 0):
            gathered, self._gathered = self._gathered, []
            entries, self._entries = tuple(self._entries), []
            if self._closes is not None:
                gathered = [(_waited(*one, self._closes), one[1]) for one in gathered]
            self._opened = self._closes = None
            self._close(gathered, entries)

    def _close(
        self, gathered: list[tuple[Trigger, ArrivedTrigger]], entries: tuple[int, ...]
    ) -> None:
        """Choose a trigger for each pulse, and send it."""
        gathered_at = time.time()
        arrived = {id(trigger): when for trigger, when in gathered}
        chosen = []
        for test, injection in ((False, False), (True, False), (True, True)):
            triggers = [
                trigger
                for trigger, _ in gathered
                if (self._is_test(trigger), trigger.injection) == (test, injection)
                and not self._is_late(trigger, test)
            ]
            for group in by_pulse(triggers, self.settings.interval):
                best = self._best(group)
                chosen.append(ChosenTrigger(best, test, arrived[id(best)], gathered_at))
        chosen = self._limited(chosen)

        def commit(memory: dict[str, Any]) -> None:
            self.commit(Commit(completed=entries, memory=memory))

        if not chosen:
            commit({})
        elif not self.send_events:
            self._outcomes[TriggerOutcome.DISABLED] += len(chosen)
            names = ", ".join(one.trigger.identity for one in chosen)
            log.warning("not sent, as sending is disabled: %s", names)
            commit({})
        else:
            self.announce(chosen, commit)

    def _is_test(self, trigger: Trigger) -> bool:
        if trigger.injection:
            return True
        return self.settings.test if trigger.test is None else trigger.test

    def _is_late(self, trigger: Trigger, test: bool) -> bool:
        """Whether the pulse was sent before."""
        pulse = self._known.find(trigger, test=test)
        if pulse:
            self._outcomes[TriggerOutcome.ANNOUNCED_BEFORE] += 1
            text = "trigger %s not sent: of the same pulse as %s"
            log.info(text, trigger.identity, pulse.identity, extra=ABOUT_TRIGGER)
        return pulse is not None

    def _best(self, group: list[Trigger]) -> Trigger:
        """Return the trigger that represents a pulse."""
        best = group[self.select(group)]
        if len(group) > 1:
            self._outcomes[TriggerOutcome.NOT_THE_BEST] += len(group) - 1
            text = "trigger %s is the best of %d of its pulse"
            log.info(text, best.identity, len(group), extra=ABOUT_TRIGGER)
        return best

    def _limited(self, chosen: list[ChosenTrigger]) -> list[ChosenTrigger]:
        """Return the strongest pulses, observations before tests."""
        if len(chosen) <= MAX_PULSES:
            return chosen
        dropped = len(chosen) - MAX_PULSES
        text = "%d pulses within %g s: the %d weakest are not sent"
        log.error(text, len(chosen), self.settings.interval, dropped)
        chosen = sorted(chosen, key=lambda one: (one.test, -one.trigger.snr))
        strongest = chosen[MAX_PULSES].trigger
        why = f"{len(chosen)} pulses within {self.settings.interval:g} s"
        self.lost(TOO_MANY_AT_ONCE, strongest.identity, why, dropped)
        self._outcomes[TriggerOutcome.TOO_MANY] += dropped
        return chosen[:MAX_PULSES]

    def note_pulses(self, chosen: Sequence[ChosenTrigger]) -> dict[str, Any]:
        """Record pulses as sent; return the memory to commit."""
        for one in chosen:
            self._known.add(one.trigger, test=one.test)
        return {PULSES: self._known.to_plain()}


def _waited(trigger: Trigger, arrived: ArrivedTrigger, closes: Instant) -> Trigger:
    """Return a trigger with the time for which its window had to be open added."""
    waited = max(0.0, closes.seconds - arrived.taken.seconds)
    stages = replace(trigger.stages, waited=trigger.stages.waited + waited)
    return replace(trigger, stages=stages)
