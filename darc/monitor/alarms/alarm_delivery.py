"""Delivery of alarm messages: a queue for each receiver, which survives restarts."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from darc.config import typed
from darc.config.config import Config
from darc.config.records import Struct
from darc.delivery.outbox import DeliveryError, Outbox
from darc.monitor.alarms import alarm_messages as text
from darc.monitor.alarms.alarm_messages import MessageOrigin
from darc.monitor.alarms.alarm_states import OVER, AlarmMessage
from darc.monitor.alarms.alertmanager import Alertmanagers
from darc.runtime.clock import Since

log = logging.getLogger(__name__)

FIRST_DELAY, LONGEST_DELAY = 1.0, 120.0  # s between attempts
#: A message that cannot be saved, as the master is away, is sent after so long (s) nevertheless.
UNREMEMBERED_SECONDS = 5.0


class AlarmReceiver(Struct, frozen=True):
    """Receiver of alarm messages.

    :param key: identifier in the memory, without secrets
    :param name: shown to operators
    :param send: delivers a message, or raises :class:`DeliveryError`
    """

    key: str
    name: str
    send: Callable[[AlarmMessage], None]


# What sends is imported with the first receiver: smtplib, http.client and ssl take 3 MB and 30 ms,
# which a node without alarms to send need not have.


def receivers(config: Config, origin: Callable[[], MessageOrigin]) -> list[AlarmReceiver]:
    """Return the receivers of the configuration."""
    settings = config.alarms
    found = [_by_mail(address, config, origin) for address in settings.email_settings.to]
    found += [_by_webhook(url, settings.timeout, origin) for url in settings.webhooks]
    found += [_by_chat(name, config, origin) for name in settings.chat]
    return list({one.key: one for one in found}.values())


def _by_mail(address: str, config: Config, origin: Callable[[], MessageOrigin]) -> AlarmReceiver:
    from darc.delivery import mail  # noqa: PLC0415

    def send(message: AlarmMessage) -> None:
        teller = origin()
        words = text.subject(message, teller), text.text(message, teller), [address]
        try:
            made = mail.make_message(
                *words,
                config.mail.sender,
                config.hostname,
                message_id=f"{teller.cluster} {message.id} {address}",
            )
        except ValueError as error:
            raise DeliveryError(str(error), permanent=True) from error
        mail.send(made, config.mail, config.alarms.timeout)

    return AlarmReceiver(f"mail {address}", f"e-mail to {address}", send)


def _by_webhook(url: str, timeout: float, origin: Callable[[], MessageOrigin]) -> AlarmReceiver:
    from darc.delivery import webhook  # noqa: PLC0415

    def send(message: AlarmMessage) -> None:
        webhook.post(url, text.payload(message, origin()), timeout)

    digest = hashlib.sha256(url.encode()).hexdigest()[:16]
    return AlarmReceiver(f"webhook {digest}", f"webhook at {webhook.host_of(url)}", send)


def _by_chat(name: str, config: Config, origin: Callable[[], MessageOrigin]) -> AlarmReceiver:
    from darc.delivery import chat  # noqa: PLC0415

    if not chat.is_installed():
        log.error("alarms cannot be sent to chat target %s: %s", name, chat.NOT_INSTALLED)

    def send(message: AlarmMessage) -> None:
        made = chat.ChatMessage(*text.for_chat(message, origin()))
        if why := chat.send(made, [name], config.chat)[name]:
            raise DeliveryError(f"{name}: {why}")

    return AlarmReceiver(f"chat {name}", f"chat target {name}", send)


class _QueuedMessage(Struct):
    """Message in a receiver's queue.

    :param since: when it was created
    :param give_up_after: after so long it expires (s)
    :param number: of the snapshot of the memory that contains it; None: none yet
    """

    message: AlarmMessage
    since: Since
    give_up_after: float
    number: int | None
    under_way: bool = False


class _ReceiverQueue:
    """Queue of one receiver: messages in order, of which the first is being sent."""

    def __init__(self, receiver: AlarmReceiver, on_outcome: Callable[[], None]) -> None:
        self.receiver = receiver
        self.letters: list[_QueuedMessage] = []
        self.outbox: Outbox[AlarmMessage] = Outbox(
            receiver.name,
            self._send,
            first_delay=FIRST_DELAY,
            longest_delay=LONGEST_DELAY,
            on_outcome=on_outcome,
        )

    def _send(self, message: AlarmMessage) -> None:
        self.receiver.send(message)

    def pump(self, remembered: int) -> list[tuple[str, str]]:
        """Take the outcomes and start the next delivery; return what was given up, and why.

        :param remembered: number of the last committed snapshot
        """
        outcomes = self.outbox.outcomes()
        gone = {outcome.key for outcome in outcomes}
        errors = {one.key: one.error for one in outcomes if one.delivered_at is None}
        given_up = [
            (f"{self.receiver.name}: {letter.message.title}", errors[letter.message.id])
            for letter in self.letters
            if letter.message.id in errors
        ]
        self.letters = [letter for letter in self.letters if letter.message.id not in gone]
        if not self.letters or self.letters[0].under_way:
            return given_up
        letter = self.letters[0]
        is_safe = letter.number is not None and letter.number <= remembered
        if is_safe or letter.since.age() > UNREMEMBERED_SECONDS:
            letter.under_way = True
            left = letter.give_up_after - letter.since.age()
            self.outbox.submit(letter.message.id, letter.message, give_up_after=left)
        return given_up


class AlarmDeliveries:
    """Message queues of all receivers. For one thread; the messages are sent in others.

    :param on_outcome: called, in such a thread, when a message was delivered or given up
    """

    def __init__(self, on_outcome: Callable[[], None]) -> None:
        self._on_outcome = on_outcome
        #: They are told what is open, not the messages about it.
        self.alertmanagers = Alertmanagers(on_outcome)
        self._boxes: dict[str, _ReceiverQueue] = {}
        self._notified: dict[str, list[str]] = {}  # alarm: keys of notified receivers

    def configure(self, wanted: Sequence[AlarmReceiver]) -> None:
        """Replace the receivers; the messages for removed ones are dropped and logged."""
        keys = {one.key for one in wanted}
        for key in [key for key in self._boxes if key not in keys]:
            box = self._boxes.pop(key)
            box.outbox.withdraw()
            box.outbox.close()
            for letter in box.letters:
                log.warning(
                    "not sent to %s, which is no longer a receiver: %s",
                    box.receiver.name,
                    letter.message.title,
                )
        for one in wanted:
            if one.key in self._boxes:
                self._boxes[one.key].receiver = one
            else:
                self._boxes[one.key] = _ReceiverQueue(one, self._on_outcome)

    def add(self, message: AlarmMessage, give_up_after: float) -> None:
        """Queue a message; the end of an alarm goes only to receivers notified of its start."""
        self.alertmanagers.add(message)
        notified = self._notified.setdefault(message.alarm, [])
        for key, box in self._boxes.items():
            if message.kind == OVER and key not in notified:
                continue
            if key not in notified:
                notified.append(key)
            box.letters.append(_QueuedMessage(message, Since.now(), give_up_after, None))
        if message.kind == OVER:
            del self._notified[message.alarm]

    def mark_remembered_by(self, number: int) -> None:
        """Mark all messages as contained in the snapshot of this number."""
        for box in self._boxes.values():
            for letter in box.letters:
                letter.number = number if letter.number is None else letter.number

    def pump(self, remembered: int, give_up_after: float) -> list[tuple[str, str]]:
        """Take the outcomes and start deliveries; return what was given up, and why.

        :param remembered: number of the last committed snapshot
        :param give_up_after: of Alertmanagers, s; of a message its own
        """
        given_up = [one for box in self._boxes.values() for one in box.pump(remembered)]
        return given_up + self.alertmanagers.pump(give_up_after)

    def close(self) -> None:
        """Stop sending; what was not sent is kept in the memory."""
        for box in self._boxes.values():
            box.outbox.close()
        self.alertmanagers.close()

    def waiting(self) -> list[str]:
        """Return the queued messages as text, with the receiver and the reason."""
        lines = []
        for box in self._boxes.values():
            errors = {one.key: one.error for one in box.outbox.waiting}
            for letter in box.letters:
                why = errors.get(letter.message.id) or "under way"
                if not letter.under_way:
                    why = "waits for what is before it"
                kind, title = letter.message.kind, letter.message.title
                lines.append(f"{box.receiver.name}: {kind}: {title}: {why}")
        return lines + self.alertmanagers.waiting()

    # -- memory across restarts --------------------------------------------------------------------

    def to_plain(self) -> dict[str, Any]:
        """Return the state to save."""
        letters = {
            key: [
                [typed.to_plain(one.message), one.since.to_plain(), one.give_up_after]
                for one in box.letters
            ]
            for key, box in self._boxes.items()
            if box.letters
        }
        told = {key: list(who) for key, who in self._notified.items()}
        return {"letters": letters, "told": told, "alerts": self.alertmanagers.book.to_plain()}

    def recall(self, plain: Mapping[str, Any]) -> None:
        """Restore a saved state."""
        self._notified = {alarm: list(who) for alarm, who in plain["told"].items()}
        self.alertmanagers.book.recall(plain.get("alerts", []))  # versions before have none
        for key, letters in plain["letters"].items():
            box = self._boxes.get(key)
            for content, *times in letters:
                message = typed.from_plain(AlarmMessage, content, "a message that waits")
                if box is None:
                    log.warning(
                        "not sent, as its receiver is no longer configured: %s", message.title
                    )
                else:
                    box.letters.append(_QueuedMessage(message, *_times(times, message), 0))


def _times(plain: Sequence[Any], message: AlarmMessage) -> tuple[Since, float]:
    """Return when a message was created and its expiry (s); earlier versions saved the deadline."""
    if len(plain) == 1:
        return Since.from_plain(message.time), float(plain[0]) - message.time
    since, give_up_after = plain
    return Since.from_plain(since), float(give_up_after)
