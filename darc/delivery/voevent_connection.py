"""The part of the VOEvent sender in Twisted's event loop, with Comet's protocol classes.

Importing this takes time and memory: :mod:`darc.delivery.voevent_sender` imports it when needed.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future
from typing import Any

from comet.protocol.sender import (  # type: ignore[import-untyped]
    VOEventSender,
    VOEventSenderFactory,
)
from comet.utility import ParseError, xml_document  # type: ignore[import-untyped]
from twisted.internet import reactor as _reactor
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import connectionDone
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    STDLibLogObserver,
    globalLogBeginner,
)
from twisted.python.failure import Failure

from darc.delivery.voevent_errors import NotAnsweredError, RefusedError
from darc.model import voevent_xml

log = logging.getLogger(__name__)
# Importing it replaces the module by an object, which no type describes.
reactor: Any = _reactor

#: Reply of Comet (comet.validator.previously_seen) to an event that it has already accepted.
KNOWN = "Previously seen by this broker"
#: Delay between attempts to connect to several addresses of a name (s).
NEXT_ADDRESS_SECONDS = 0.05
_MAX_REASON = 300


def run() -> None:
    """Run the event loop in this thread, for ever; a process can do so once."""
    # Their interfaces are zope's, which type checkers do not know.
    warnings: Any = LogLevelFilterPredicate(defaultLogLevel=LogLevel.warn)
    logging_module: Any = STDLibLogObserver("twisted")
    # Comet logs about events are suppressed; the caller gets an exception.
    observer: Any = FilteringLogObserver(logging_module, [warnings])
    globalLogBeginner.beginLoggingTo([observer], discardBuffer=True, redirectStandardIO=False)
    reactor.run(installSignalHandlers=False)


class _Sender(VOEventSender):  # type: ignore[misc]
    """Comet's sender, which reports errors to its factory instead of only logging them."""

    factory: BrokerExchange

    def connectionMade(self) -> None:  # noqa: N802
        self.factory.connection = self.transport
        super().connectionMade()

    def stringReceived(self, data: bytes) -> None:  # noqa: N802
        # A peer that keeps sending may have sent thousands of messages by now.
        if self.factory.outcome.done():
            return
        try:
            answer = voevent_xml.read(data)
        except ValueError as error:
            self.factory.fail(f"invalid reply: {_one_line(error)}")
            self.transport.loseConnection()
        else:
            super().stringReceived(data)
            self.factory.handle_reply(answer)

    def lengthLimitExceeded(self, length: int) -> None:  # noqa: N802
        self.factory.fail(f"invalid reply: a message of {length} bytes")
        super().lengthLimitExceeded(length)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        super().connectionLost(reason)
        self.factory.fail("closed the connection without a reply")


class BrokerExchange(VOEventSenderFactory):  # type: ignore[misc]
    """Transfer of an event to a broker.

    :ivar outcome: None once the event is accepted; else RefusedError or NotAnsweredError
    :raises ValueError: the event is not XML
    """

    protocol = _Sender
    noisy = False

    def __init__(self, event: bytes, host: str, port: int) -> None:
        try:
            # It keeps the bytes, and sends them unchanged.
            document = xml_document(event)
        except ParseError as error:
            raise ValueError(f"not a VOEvent: {error}") from error
        super().__init__(document)
        self.outcome: Future[None] = Future()
        self.connection: Any = None
        self._host = host
        self._port = port
        self._peer = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._connecting: Any = None

    # -- from any thread -------------------------------------------------------------------------

    def begin(self, timeout: float) -> None:
        """Connect and send; the caller waits up to `timeout` s."""
        reactor.callFromThread(self._connect, timeout)

    def give_up(self) -> None:
        """Close the connection, or stop connecting."""
        reactor.callFromThread(self._abort)

    # -- in the event loop -----------------------------------------------------------------------

    def _connect(self, timeout: float) -> None:
        try:
            endpoint = HostnameEndpoint(
                reactor, self._host, self._port, timeout + 1.0, attemptDelay=NEXT_ADDRESS_SECONDS
            )
            self._connecting = endpoint.connect(self)
        # Any error is passed to the caller.
        except Exception as error:
            self._not_connected(error)
        else:
            self._connecting.addErrback(lambda failure: self._not_connected(failure.value))

    def _not_connected(self, error: BaseException) -> None:
        self.fail(f"connection failed: {_one_line(error)}")

    def _abort(self) -> None:
        if self.connection:
            self.connection.abortConnection()
        elif self._connecting:
            self._connecting.cancel()

    def handle_reply(self, answer: Any) -> None:
        """Handle the broker's reply, which Comet has parsed already."""
        if self.ack:
            self.outcome.set_result(None)
            return
        if answer.get("role") != "nak":
            self.fail(f"invalid reply: neither ack nor nak, but {answer.get('role')!r:.30}")
            return
        reason = _one_line(answer.findtext("Meta/Result") or "no reason given")
        if KNOWN in reason:
            log.info("%s has the VOEvent already: %s", self._peer, reason)
            self.outcome.set_result(None)
        else:
            self.outcome.set_exception(RefusedError(f"{self._peer} refused the event: {reason}"))

    def fail(self, what: str) -> None:
        """Report that no reply will come, unless one came before."""
        if not self.outcome.done():
            self.outcome.set_exception(NotAnsweredError(f"{self._peer} {what}"))

    def timeout_error(self, timeout: float) -> NotAnsweredError:
        what = "did not reply" if self.connection else "connection failed: not connected"
        return NotAnsweredError(f"{self._peer} {what} within {timeout:g} s")


def _one_line(text: object) -> str:
    """Return a peer's text as one line of limited length, for the log."""
    return " ".join(str(text).split())[:_MAX_REASON]
