"""E-mails of a service, which are stored until the mail server has accepted them."""

from __future__ import annotations

import errno
import logging
import mimetypes
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darc.config.records import Struct, field
from darc.delivery.outbox import DeliveryError, Outbox
from darc.node.losses import LossKind
from darc.queues.messages import Commit
from darc.runtime.clock import Since
from darc.runtime.untrusted_files import NotRegularError, read_regular
from darc.services.base.service import Service

if TYPE_CHECKING:
    from email.message import EmailMessage
    from types import ModuleType

log = logging.getLogger(__name__)

#: Prefix of their keys in a service's memory.
MAIL = "mail "
SEND_SECONDS = 15.0
AGE_LIMIT = 86400.0
#: Mail servers accept some tens of megabytes; the encoding adds a third (bytes).
MAX_ATTACHED = 10 * 2**20

MAIL_GIVEN_UP = LossKind(
    "mail_given_up",
    "an e-mail about results or triggers was not sent",
    "See section mail of the configuration, the addresses in email_settings, and the mail server.",
)


class Mail(Struct, frozen=True):
    """E-mail to be sent.

    :param files: attachments
    :param since: when it was written; AGE_LIMIT later it expires
    """

    subject: str
    text: str
    to: tuple[str, ...]
    files: tuple[Path, ...] = ()
    since: Since = field(default_factory=Since.now)

    def to_plain(self) -> list[Any]:
        """Return the mail as a list, for a service's memory; `from_plain` reads it."""
        files = list(map(str, self.files))
        return [self.subject, self.text, self.since.to_plain(), list(self.to), files]

    @classmethod
    def from_plain(cls, plain: Sequence[Any]) -> Mail:
        """Restore from plain values; earlier versions saved the time of expiry."""
        subject, text, since, to, files = plain
        if isinstance(since, int | float):
            since = since - AGE_LIMIT
        return cls(subject, text, tuple(to), tuple(map(Path, files)), Since.from_plain(since))


class Mails:
    """Queue of e-mails, which are retried until the server accepts them.

    See :class:`darc.delivery.outbox.Outbox`. The service commits an e-mail to its memory before it
    is sent, so that it survives a crash. After a crash between sending and the commit of
    that, it is sent again, with the same Message-ID.

    :param service: whose e-mails they are
    :param to: receivers; where there are any, what sending needs is loaded now
    """

    def __init__(self, service: Service[Any], to: Sequence[str]) -> None:
        if to:
            _mail()
        self._service = service
        self._outbox: Outbox[tuple[EmailMessage, Mail]] = Outbox("e-mail", self._send)
        self._keys: dict[str, None] = {}  # in order, those not known to be sent

    @property
    def waiting(self) -> list[str]:
        """E-mails that the server has not accepted yet, with the reason."""
        errors = {one.key: one.error for one in self._outbox.waiting}
        return [
            f"{key.removeprefix(MAIL)}: {errors.get(key) or 'under way'}"
            for key in list(self._keys)
        ]

    @staticmethod
    def memory(identity: str, one: Mail) -> dict[str, Any]:
        """Return the memory to commit before an e-mail is sent; empty where it has no receivers."""
        return {MAIL + identity: one.to_plain()} if one.to else {}

    def post(self, identity: str, one: Mail) -> None:
        """Commit an e-mail, and send it; nothing where it has no receivers."""
        if memory := self.memory(identity, one):
            self._service.commit(Commit(memory=memory))
            self.send(memory)

    def send(self, memory: Mapping[str, Any]) -> None:
        """Send committed e-mails; those that can never be sent are deleted."""
        self._delete(
            key
            for key, plain in memory.items()
            if key.startswith(MAIL) and not self._submit(key, Mail.from_plain(plain))
        )

    def delete_sent(self) -> None:
        """Delete e-mails sent or given up since the last call."""
        outcomes = self._outbox.outcomes()
        for outcome in outcomes:
            if outcome.delivered_at is None:
                self._service.lost(MAIL_GIVEN_UP, outcome.key.removeprefix(MAIL), outcome.error)
            del self._keys[outcome.key]
        self._delete(outcome.key for outcome in outcomes)

    def _delete(self, keys: Iterable[str]) -> None:
        if memory := dict.fromkeys(keys):
            self._service.commit(Commit(memory=memory))

    def _submit(self, key: str, one: Mail) -> bool:
        config = self._service.config
        try:
            message = _mail().make_message(
                one.subject,
                one.text,
                one.to,
                config.mail.sender,
                config.hostname,
                message_id=key,
            )
        except ValueError as error:
            log.error("no e-mail: %s", error)
            self._service.lost(MAIL_GIVEN_UP, key.removeprefix(MAIL), str(error))
            return False
        self._keys[key] = None
        self._outbox.submit(key, (message, one), give_up_after=AGE_LIMIT - one.since.age())
        return True

    def _send(self, item: tuple[EmailMessage, Mail]) -> None:
        message, one = item
        if one.files and not list(message.iter_attachments()):
            attach(message, one.files)
        _mail().send(message, self._service.config.mail, SEND_SECONDS)


def _mail() -> ModuleType:
    # smtplib, ssl and email take 2 MB and 20 ms, which a node that sends no e-mail need not have
    from darc.delivery import mail  # noqa: PLC0415

    return mail


def attach(message: EmailMessage, files: Sequence[Path]) -> None:
    """Attach files up to the size that a mail server accepts; a text file lists the others.

    :raises DeliveryError: a file cannot be read now
    """
    left_out: list[str] = []
    read: list[tuple[Path, bytes]] = []
    size = 0
    for path in files:
        try:
            data = read_regular(path, MAX_ATTACHED, path.parent)
        except FileNotFoundError:
            left_out.append(f"{path} is gone")
            continue
        except OSError as error:
            if error.errno == errno.EFBIG:
                left_out.append(f"{path} is too large for an e-mail")
                continue
            if isinstance(error, NotRegularError):
                left_out.append(f"{path} is {error.strerror}")
                continue
            raise DeliveryError(f"{path} cannot be attached: {error.strerror}") from error
        if size + len(data) > MAX_ATTACHED:
            left_out.append(f"{path} is too large for an e-mail")
            continue
        size += len(data)
        read.append((path, data))
    for path, data in read:  # all or none, so that a retry attaches all
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        main, _, sub = kind.partition("/")
        message.add_attachment(data, maintype=main, subtype=sub, filename=path.name)
    if left_out:
        log.warning("not attached: %s", "; ".join(left_out))
        text = "".join(f"{line}\n" for line in ("Not attached:", *left_out))
        message.add_attachment(text, filename="not_attached.txt", cte="quoted-printable")
