"""Triggers LOFAR to freeze its transient buffers.

Each packet is committed before it is sent. If the process crashes before the sending is committed,
the same bytes are sent again, and the repetition is counted: a second packet freezes nothing beyond
the first, and without the first the burst would be lost.

A packet that could not be sent is retried until `age_limit`, and until the pulse has left LOFAR's
buffers, half a buffer length after the freeze time. Both are measured from the arrival of the
trigger by the time elapsed, not by the time of day. The time of day at its arrival is by the clock
as it is set then or was set at the start of the service, whichever is earlier: one that is ahead
for a while loses no packet.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from darc.config.records import Struct
from darc.model.counters import TriggerOutcome
from darc.model.trigger import Trigger
from darc.node.losses import LossKind
from darc.queues.messages import Commit
from darc.runtime.clock import Instant, Since
from darc.runtime.fault_points import fault_point
from darc.runtime.log import ABOUT_TRIGGER, about
from darc.science.freeze_time import freeze_time
from darc.science.selection import known_then_highest_snr
from darc.services.base.alerts import Alerts, ArrivedTrigger, ChosenTrigger
from darc.services.base.mails import MAIL_GIVEN_UP, Mail, Mails
from darc.services.base.measured_dm import measured_dm_error
from darc.services.lofar_trigger import lofar_email, lofar_packet
from darc.services.lofar_trigger.lofar_port import LofarPort
from darc.services.lofar_trigger.settings import LofarTriggerSettings
from darc.services.lofar_trigger.traits import TRAITS

log = logging.getLogger(__name__)

SENDING = "sending"
RETRY_SECONDS = 0.2

FREEZE_LOST = LossKind(
    "freeze_lost",
    "LOFAR's buffers were not frozen for a trigger: its packet could not be sent in time",
    "See lofar_trigger.lofar_host and lofar_port, and the network to there.",
)


class PendingPacket(Struct):
    """Datagram to be sent.

    :param arrived: arrival of its trigger
    :param gathered_at: when the window closed (Unix s)
    :param error: of the last attempt
    """

    trigger: Trigger
    test: bool
    arrived: ArrivedTrigger
    gathered_at: float
    freeze_at: float
    attempts: int = 0
    error: str = ""

    @property
    def datagram(self) -> bytes:
        """Return the bytes to send."""
        return lofar_packet.compose(self.freeze_at, self.trigger.dm, test=self.test)

    def why_useless(self, age_limit: float, buffer_length: float, begun: Since) -> str:
        """Return why the packet has expired; empty: it has not.

        :param age_limit: s
        :param buffer_length: of LOFAR (s); a packet after the freeze time freezes at once
        :param begun: the start of the service
        """
        age = self.arrived.age()
        if age > age_limit:
            return f"it has waited for {age:.0f} s"
        taken = self.arrived.taken
        now = min(taken.time_of_day(), begun.time_of_day())
        useful = self.freeze_at + buffer_length / 2 - now
        if useful + taken.age() < 0 and self.test:
            return ""  # it tests the connection, whatever it freezes
        if useful < 0:
            return f"the pulse has left LOFAR's buffers: the freeze time is {_utc(self.freeze_at)}"
        return ""

    def to_plain(self) -> list[Any]:
        """Return the packet as a list, for the memory; `from_plain` reads it."""
        times = self.arrived.to_plain(), self.gathered_at, self.freeze_at
        return [self.trigger.to_plain(), self.test, *times]

    @classmethod
    def from_plain(cls, plain: list[Any]) -> PendingPacket:
        """Return the packet in the output of `to_plain`."""
        trigger, test, arrived, *times = plain
        return cls(
            Trigger.from_plain(trigger), bool(test), ArrivedTrigger.from_plain(arrived), *times
        )


class LOFARTrigger(Alerts[LofarTriggerSettings]):
    """Service that sends triggers to LOFAR, where sending is enabled."""

    name = "lofar_trigger"
    traits = TRAITS
    settings_type = LofarTriggerSettings
    attributes: ClassVar[tuple[str, ...]] = (*Alerts.attributes, "packets_waiting", "mails_waiting")
    loss_kinds = (*Alerts.loss_kinds, FREEZE_LOST, MAIL_GIVEN_UP)

    def prepare(self) -> None:
        """Start without packets."""
        super().prepare()
        self.lofar = LofarPort(self.settings.lofar_host, self.settings.lofar_port)
        self._begun = Since.now()
        self._unsent: list[PendingPacket] = []
        self._next_try = Instant.now()
        self._mails = Mails(self, self.settings.email_settings.to)

    @property
    def packets_waiting(self) -> int:
        """Number of packets that could not be sent yet."""
        return len(self._unsent)

    @property
    def mails_waiting(self) -> list[str]:
        """E-mails that the server has not accepted yet, with the reason."""
        return self._mails.waiting

    # -- which ---------------------------------------------------------------------------------

    def why_not(self, trigger: Trigger) -> str:
        """Return why a trigger cannot be sent; empty if it can."""
        try:
            lofar_packet.compose(self.freeze_at(trigger), trigger.dm, test=True)
        except (ValueError, ArithmeticError) as error:  # of frequencies near 0
            return str(error)
        return ""

    def freeze_at(self, trigger: Trigger) -> float:
        return freeze_time(
            trigger.arrival,
            trigger.dm,
            f_centre=trigger.nu_GHz * 1e3,
            lofar_freq=self.settings.lofar_freq,
            buffer_length=self.settings.lofar_tbb_buffer_size,
        )

    def select(self, triggers: Sequence[Trigger]) -> int:
        """Return the index of a known source's trigger, or of the highest S/N."""
        return known_then_highest_snr([(trigger.name, trigger.snr) for trigger in triggers])

    # -- packets -------------------------------------------------------------------------------

    def recover(self, memory: dict[str, Any]) -> None:
        """Go on sending what an earlier process had not sent."""
        super().recover(memory)
        self._unsent = [PendingPacket.from_plain(plain) for plain in memory.get(SENDING, [])]
        had_packets = bool(self._unsent)
        for packet in list(self._unsent):
            with about(packet.trigger.observation):
                if not self._is_expired(packet):
                    log.warning("sent again, as it may not have left: %s", packet.trigger.identity)
                    self._outcomes[TriggerOutcome.SENT_AGAIN] += 1
        if had_packets:
            self.commit(Commit(memory=self._sending()))
        self._mails.send(memory)

    def reloaded(self) -> None:
        """Send to the address of the new configuration."""
        super().reloaded()
        port = LofarPort(self.settings.lofar_host, self.settings.lofar_port)
        self.lofar.close()
        self.lofar = port

    def withdraw(self) -> None:
        """Drop the packets that were not sent yet."""
        if not self._unsent:
            return
        for packet in list(self._unsent):
            with about(packet.trigger.observation):
                self._drop_disabled(packet)
        self.commit(Commit(memory=self._sending()))

    def announce(
        self, chosen: list[ChosenTrigger], commit: Callable[[dict[str, Any]], None]
    ) -> None:
        """Send the packets, and e-mails about them."""
        self._unsent += [
            PendingPacket(
                one.trigger, one.test, one.arrived, one.gathered_at, self.freeze_at(one.trigger)
            )
            for one in chosen
        ]
        # With the pulses: after a crash before the entries are completed, these are delivered
        # again.
        self.commit(Commit(memory=self._sending() | self.note_pulses(chosen)))
        mails = self._send_packets()
        commit(self._sending() | mails)
        self._mails.send(mails)

    def _sending(self) -> dict[str, Any]:
        return {SENDING: [packet.to_plain() for packet in self._unsent] or None}

    def idle(self) -> None:
        """Send again what could not be sent."""
        super().idle()
        if self._unsent and self._next_try.left() <= 0:
            waiting = len(self._unsent)
            mails = self._send_packets()
            if len(self._unsent) < waiting:
                self.commit(Commit(memory=self._sending() | mails))
                self._mails.send(mails)
        self._mails.delete_sent()

    def patience(self) -> float:
        """Return how long to wait for entries until the next attempt is due (s)."""
        retry = self._next_try.left() if self._unsent else super().patience()
        return min(super().patience(), retry)

    def _send_packets(self) -> dict[str, Any]:
        """Send queued packets; return the memory of e-mails to commit before these are sent."""
        mails: dict[str, Any] = {}
        for packet in list(self._unsent):
            with about(packet.trigger.observation):
                mails |= self._send(packet)
        self._next_try = Instant.now().after(RETRY_SECONDS)
        return mails

    def _send(self, packet: PendingPacket) -> dict[str, Any]:
        identity = packet.trigger.identity
        if not self.send_events:
            self._drop_disabled(packet)
            return {}
        if self._is_expired(packet):
            return {}
        packet.attempts += 1
        try:
            fault_point("lofar_trigger.before sending")
            sent_at = self.lofar.send(packet.datagram)
            fault_point("lofar_trigger.after sending")
        except OSError as error:
            if packet.attempts == 1:
                log.error("packet of %s not sent to LOFAR, trying again: %s", identity, error)
            packet.error = str(error)
            return {}
        self._drop(packet, TriggerOutcome.SENT)
        times = {
            "taken": packet.arrived.taken.unix,
            "gathered": packet.gathered_at,
            "sent": sent_at,
        }
        self.latencies.note(packet.trigger.stages, **times)
        log.warning(
            "trigger %s sent to LOFAR at %s%s: %s",
            identity,
            self.lofar,
            " as a TEST" if packet.test else "",
            packet.datagram.hex(" "),
            extra=ABOUT_TRIGGER,
        )
        return self._mail_of(packet, sent_at)

    def _is_expired(self, packet: PendingPacket) -> bool:
        """Whether a packet has expired; it is then dropped."""
        settings = self.settings
        why = packet.why_useless(settings.age_limit, settings.lofar_tbb_buffer_size, self._begun)
        if not why or not self.send_events:
            return False
        if packet.attempts:
            why = f"{packet.error} ({packet.attempts} attempts; {why})"
        outcome = TriggerOutcome.GIVEN_UP if packet.attempts else TriggerOutcome.EXPIRED
        log.error("packet of %s %s: %s", packet.trigger.identity, outcome.words, why)
        self.lost(FREEZE_LOST, packet.trigger.identity, why)
        self._drop(packet, outcome)
        return True

    def _drop_disabled(self, packet: PendingPacket) -> None:
        self._drop(packet, TriggerOutcome.DISABLED)
        log.warning("not sent, as sending is disabled: %s", packet.trigger.identity)

    def _drop(self, packet: PendingPacket, outcome: TriggerOutcome) -> None:
        self._unsent.remove(packet)
        self._outcomes[outcome] += 1

    # -- e-mail --------------------------------------------------------------------------------

    def _mail_of(self, packet: PendingPacket, sent_at: float) -> dict[str, Any]:
        if not self.settings.email_settings.to:
            return {}
        subject, text = lofar_email.compose(
            packet.trigger,
            packet.freeze_at,
            test=packet.test,
            sent_at=sent_at,
            dm_error=measured_dm_error(packet.trigger, self.config.instrument),
        )
        # A program may use an identity for several pulses.
        kind = "test" if packet.test else "observation"
        identity = f"{packet.trigger.identity} {packet.trigger.utc} {kind}"
        to = self.settings.email_settings.to
        return self._mails.memory(identity, Mail(subject, text, to))


def _utc(unix: float) -> str:
    return f"{datetime.fromtimestamp(unix, UTC):%Y-%m-%d %H:%M:%S} UTC"
