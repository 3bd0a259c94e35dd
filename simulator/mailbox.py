"""A mail server for the demo and tests: stores mails, or simulates failures."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from typing import cast

from darc.config.records import Struct
from simulator.receiver import HOST, Receiver

try:
    from aiosmtpd.smtp import SMTP, Envelope, Session
except ImportError as error:
    raise ImportError(
        "the mail server of the demo and tests needs aiosmtpd: pip install 'darc[demo]'"
    ) from error


class ReceivedMail(Struct, frozen=True):
    """A mail that was accepted.

    :param message: its lines end in LF, as those of mail that was delivered do
    :param sender: of the envelope, as are the recipients
    :param content: the message's bytes as sent, with CR LF
    :param time: when it was taken, Unix s
    """

    message: EmailMessage
    sender: str
    recipients: tuple[str, ...]
    content: bytes
    time: float


class Mailbox(Receiver[ReceivedMail]):
    """SMTP server on a local port. Failures can be simulated:

    - `refused`: recipients that do not exist (550); None: all recipients
    - `temporary_failures`: so many mails from now on are not taken for now (451), after all of
      their content was
    - `never_answer`: it takes connections and says nothing, not even a greeting
    - `close_at_once`: it closes connections without a greeting

    The last two concern the connections made from then on.

    :param port: 0: a free one
    """

    def __init__(self, port: int = 0) -> None:
        super().__init__()
        self.refused: Collection[str] | None = ()
        self.temporary_failures = 0
        self.never_answer = False
        self.close_at_once = False
        self._open: set[asyncio.BaseTransport] = set()
        self._listener = socket.create_server((HOST, port))
        self.port = int(self._listener.getsockname()[1])
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="mailbox", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop and close everything; received mails can still be read."""
        with suppress(RuntimeError):  # it is closed already
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        async with await self._loop.create_server(self._protocol, sock=self._listener):
            await self._stop.wait()
            for transport in self._open.copy():
                _abort(transport)

    def _protocol(self) -> asyncio.BaseProtocol:
        if self.never_answer or self.close_at_once:
            return _Mute(self, close=self.close_at_once)
        return _Smtp(self)

    # -- asked by its connections, in its thread --------------------------------------------------

    def opened(self, transport: asyncio.BaseTransport) -> None:
        """Add a connection."""
        if not self._stop.is_set():
            self._open.add(transport)
        else:
            _abort(transport)  # it was on its way when the others were closed

    def closed(self, transport: asyncio.BaseTransport | None) -> None:
        """Remove a connection."""
        if transport:
            self._open.discard(transport)

    def exists(self, address: str) -> bool:
        """Whether a recipient exists."""
        return self.refused is not None and address not in self.refused

    def take(self, envelope: Envelope) -> str:
        """Accept or refuse a mail; return the reply."""
        if self.temporary_failures:
            self.temporary_failures -= 1
            return "451 4.3.0 not now"
        content = cast(bytes, envelope.content)
        stored = content.replace(b"\r\n", b"\n")
        message = BytesParser(policy=policy.default).parsebytes(stored)
        sender, recipients = envelope.mail_from or "", tuple(envelope.rcpt_tos)
        self._add(ReceivedMail(message, sender, recipients, content, time.time()))
        return "250 2.0.0 taken"


class _Smtp(SMTP):
    """A connection."""

    def __init__(self, mailbox: Mailbox) -> None:
        # Without a name it would ask the network for one.
        super().__init__(_MailHandler(mailbox), hostname="localhost", enable_SMTPUTF8=True)
        self._mailbox = mailbox

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._mailbox.opened(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._mailbox.closed(self.transport)
        super().connection_lost(error)


class _Mute(asyncio.Protocol):
    """A connection that never replies."""

    def __init__(self, mailbox: Mailbox, *, close: bool) -> None:
        self._mailbox = mailbox
        self._close = close
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._mailbox.opened(transport)
        if self._close:
            _abort(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._mailbox.closed(self._transport)


class _MailHandler:
    """Handler of aiosmtpd, which prescribes the method names."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if not self._mailbox.exists(address):
            return f"550 5.1.1 {address} does not exist"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 exists"

    async def handle_DATA(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        return self._mailbox.take(envelope)


def _abort(transport: asyncio.BaseTransport) -> None:
    cast(asyncio.Transport, transport).abort()
