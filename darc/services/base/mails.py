"""E-mails of a service: remembered until the mail server has taken them."""

from __future__ import annotations

import errno
import logging
import mimetypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from darc.config.config import Config
from darc.delivery import mail
from darc.delivery.outbox import DeliveryError, Outbox
from darc.node.losses import LossKind
from darc.runtime.clock import Since
from darc.runtime.untrusted_files import NotRegularError, read_regular

log = logging.getLogger(__name__)

#: Keys in a service's memory begin with it.
MAIL = "mail "
SEND_SECONDS = 15.0
AGE_LIMIT = 86400.0
#: Mail servers take no more than some tens of megabytes; encoded, it is a third more.
MAX_ATTACHED = 10 * 2**20

MAIL_GIVEN_UP = LossKind(
    "mail_given_up",
    "an e-mail about results or triggers was not sent",
    "See section mail of the configuration, the addresses in email_settings, and the mail server.",
)


@dataclass(frozen=True, slots=True)
class Mail:
    """What is to be said to whom.

    :param files: to be attached
    :param since: when it was written; AGE_LIMIT later it is given up
    """

    subject: str
    text: str
    to: tuple[str, ...]
    files: tuple[Path, ...] = ()
    since: Since = field(default_factory=Since.now)

    def to_plain(self) -> list[Any]:
        files = list(map(str, self.files))
        return [self.subject, self.text, self.since.to_plain(), list(self.to), files]

    @classmethod
    def from_plain(cls, plain: Sequence[Any]) -> Mail:
        """The way back; earlier versions kept the time of day at which it is given up."""
        subject, text, since, to, files = plain
        if isinstance(since, int | float):
            since = since - AGE_LIMIT
        return cls(subject, text, tuple(to), tuple(map(Path, files)), Since.from_plain(since))


class Mails:
    """Sends e-mails when the server takes them; see :class:`darc.delivery.outbox.Outbox`.

    A mail is remembered first, by a commit of the service under no observation, and sent then: so
    it goes though the service dies. If it dies before it has noted that a mail went, the mail goes
    again, and its Message-ID tells that.

    :param config: of now
    :param lost: called with each mail that is given up: the service's own
    """

    def __init__(
        self, config: Callable[[], Config], lost: Callable[[LossKind, str, str], None]
    ) -> None:
        self._config = config
        self._lost = lost
        self._outbox: Outbox[tuple[EmailMessage, Mail]] = Outbox("e-mail", self._send)
        self._keys: dict[str, None] = {}  # in order, those that are not known to have gone

    @property
    def waiting(self) -> list[str]:
        """What the server has not taken yet, and why."""
        errors = {one.key: one.error for one in self._outbox.waiting}
        return [
            f"{key.removeprefix(MAIL)}: {errors.get(key) or 'under way'}"
            for key in list(self._keys)
        ]

    @staticmethod
    def memory(identity: str, one: Mail) -> dict[str, Any]:
        """What is to be remembered of a mail before it is sent; nothing if nobody is to get it."""
        return {MAIL + identity: one.to_plain()} if one.to else {}

    def send(self, memory: Mapping[str, Any]) -> dict[str, Any]:
        """Send what is remembered; returns what is to be forgotten, as it never can be sent."""
        hopeless: dict[str, Any] = {}
        for key, plain in memory.items():
            if key.startswith(MAIL) and not self._submit(key, Mail.from_plain(plain)):
                hopeless[key] = None
        return hopeless

    def gone(self) -> dict[str, Any]:
        """What is to be forgotten, as it has been sent or given up since the last call."""
        outcomes = self._outbox.outcomes()
        for outcome in outcomes:
            if outcome.delivered_at is None:
                self._lost(MAIL_GIVEN_UP, outcome.key.removeprefix(MAIL), outcome.error)
            del self._keys[outcome.key]
        return dict.fromkeys(outcome.key for outcome in outcomes)

    def _submit(self, key: str, one: Mail) -> bool:
        config = self._config()
        try:
            message = mail.make_message(
                one.subject,
                one.text,
                one.to,
                config.mail.sender,
                config.hostname,
                message_id=key,
            )
        except ValueError as error:
            log.error("no e-mail: %s", error)
            self._lost(MAIL_GIVEN_UP, key.removeprefix(MAIL), str(error))
            return False
        self._keys[key] = None
        self._outbox.submit(key, (message, one), give_up_after=AGE_LIMIT - one.since.age())
        return True

    def _send(self, item: tuple[EmailMessage, Mail]) -> None:
        message, one = item
        if one.files and not list(message.iter_attachments()):
            attach(message, one.files)
        mail.send(message, self._config().mail, SEND_SECONDS)


def attach(message: EmailMessage, files: Sequence[Path]) -> None:
    """Attach files, as many as a mail server takes; what is left out is named in one more.

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
    for path, data in read:  # all or none: what was not attached now is the next time
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        main, _, sub = kind.partition("/")
        message.add_attachment(data, maintype=main, subtype=sub, filename=path.name)
    if left_out:
        log.warning("not attached: %s", "; ".join(left_out))
        text = "".join(f"{line}\n" for line in ("Not attached:", *left_out))
        message.add_attachment(text, filename="not_attached.txt", cte="quoted-printable")
