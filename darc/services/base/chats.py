"""Messages of a service to people's chats, which are stored until each target has taken them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from darc.config.records import Struct, convert, field
from darc.config.typed import to_plain
from darc.delivery.harmless_text import harmless
from darc.delivery.outbox import DeliveryError, Outbox
from darc.node.losses import LossKind
from darc.queues.messages import Commit
from darc.runtime.clock import Since
from darc.services.base.service import Service

#: Prefix of their keys in a service's memory.
CHAT = "chat "
AGE_LIMIT = 86400.0

PEOPLE_NOT_TOLD = LossKind(
    "people_not_told",
    "a message did not reach all of the people it was for",
    "`darc alerts` shows why for bursts, `get_attr messages_waiting` for notices of others. See"
    " section chat, the targets, and `darc doctor`.",
)


class ChatNote(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Message to one target.

    :param name: of the target, in the file of section `chat`
    :param since: when it was written; AGE_LIMIT later it expires
    """

    name: str
    title: str
    text: str
    since: Since = field(default_factory=Since.now)


class Chats:
    """Queues of messages, one for each target: one that is away or hangs keeps nothing from others.

    As e-mails (:class:`darc.services.base.mails.Mails`), a message is first committed to the
    service's memory, and then sent: at least once.

    :param service: whose messages they are
    """

    def __init__(self, service: Service[Any]) -> None:
        self._service = service
        self._outboxes: dict[str, Outbox[ChatNote]] = {}  # by target

    @staticmethod
    def memory(identity: str, title: str, text: str, names: Sequence[str]) -> dict[str, Any]:
        """Return the memory to commit before a message is sent; what is of others is made harmless.

        :param names: of the targets
        """
        lines = "\n".join(map(harmless, text.splitlines()))
        return {
            f"{CHAT}{name} {identity}": to_plain(ChatNote(name, harmless(title), lines))
            for name in names
        }

    def send(self, memory: Mapping[str, Any]) -> None:
        """Send committed messages."""
        for key, plain in memory.items():
            if key.startswith(CHAT):
                note = convert(plain, ChatNote)
                outbox = self._outboxes.get(note.name)
                if outbox is None:
                    outbox = self._outboxes[note.name] = Outbox(f"chat {note.name}", self._send)
                outbox.submit(key, note, give_up_after=AGE_LIMIT - note.since.age())

    def delete_sent(self) -> None:
        """Delete messages taken or given up since the last call."""
        outcomes = [one for outbox in self._outboxes.values() for one in outbox.outcomes()]
        for outcome in outcomes:
            if outcome.delivered_at is None:
                self._service.lost(PEOPLE_NOT_TOLD, outcome.key.removeprefix(CHAT), outcome.error)
        if outcomes:
            memory = dict.fromkeys(outcome.key for outcome in outcomes)
            self._service.commit(Commit(memory=memory))

    @property
    def waiting(self) -> list[str]:
        """Messages that a target has not taken yet, with the reason."""
        return [
            f"{one.key.removeprefix(CHAT)}: {one.error or 'under way'}"
            for outbox in list(self._outboxes.values())
            for one in outbox.waiting
        ]

    def _send(self, note: ChatNote) -> None:
        from darc.delivery import chat  # noqa: PLC0415 - subprocess; where people are told, alone

        message = chat.ChatMessage(note.title, note.text)
        if why := chat.send(message, [note.name], self._service.config.chat)[note.name]:
            raise DeliveryError(why)
