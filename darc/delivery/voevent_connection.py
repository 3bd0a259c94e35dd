"""The part of the VOEvent sender that runs in Twisted's event loop, with Comet's own protocol.

Importing this takes time and memory: see :mod:`darc.delivery.voevent_sender`, which does it late.
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

from darc.delivery.voevent_sender import NotAnsweredError, RefusedError
from darc.model import voevent_xml

log = logging.getLogger(__name__)
# A module that turns itself into an object when it is imported: no type fits.
reactor: Any = _reactor

#: What Comet (comet.validator.previously_seen) says of bytes that it has taken before.
KNOWN = "Previously seen by this broker"
#: A name's next address is tried that soon after one before it (s).
NEXT_ADDRESS_SECONDS = 0.05
_MAX_REASON = 300


def run() -> None:
    """Run the event loop in this thread, for ever; a process can do so once."""
    # Their interfaces are zope's, of which type checkers know nothing.
    warnings: Any = LogLevelFilterPredicate(defaultLogLevel=LogLevel.warn)
    logging_module: Any = STDLibLogObserver("twisted")
    # What Comet logs of an event is below that; the caller gets it as an exception.
    observer: Any = FilteringLogObserver(logging_module, [warnings])
    globalLogBeginner.beginLoggingTo([observer], discardBuffer=True, redirectStandardIO=False)
    reactor.run(installSignalHandlers=False)


class _Sender(VOEventSender):  # type: ignore[misc]
    """Comet's sender, which tells its factory what it would only log."""

    factory: BrokerExchange

    def connectionMade(self) -> None:  # noqa: N802
        self.factory.connection = self.transport
        super().connectionMade()

    def stringReceived(self, data: bytes) -> None:  # noqa: N802
        # Of a peer that sends on, what has arrived by now may hold thousands of messages.
        if self.factory.outcome.done():
            return
        try:
            answer = voevent_xml.read(data)
        except ValueError as error:
            self.factory.fail(f"answered rubbish: {_one_line(error)}")
            self.transport.loseConnection()
        else:
            super().stringReceived(data)
            self.factory.hear(answer)

    def lengthLimitExceeded(self, length: int) -> None:  # noqa: N802
        self.factory.fail(f"answered rubbish: a message of {length} bytes")
        super().lengthLimitExceeded(length)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        super().connectionLost(reason)
        self.factory.fail("closed the connection without an answer")


class BrokerExchange(VOEventSenderFactory):  # type: ignore[misc]
    """One event on its way to a broker.

    :ivar outcome: None once the event is taken; RefusedError, NotAnsweredError
    :raises ValueError: the event is not XML
    """

    protocol = _Sender
    noisy = False

    def __init__(self, event: bytes, host: str, port: int) -> None:
        try:
            # It keeps the bytes and sends them as they are.
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
        """Connect and send; who waits gives up after so many seconds."""
        reactor.callFromThread(self._connect, timeout)

    def give_up(self) -> None:
        """Close the connection, or stop making it."""
        reactor.callFromThread(self._abort)

    # -- in the event loop -----------------------------------------------------------------------

    def _connect(self, timeout: float) -> None:
        try:
            endpoint = HostnameEndpoint(
                reactor, self._host, self._port, timeout + 1.0, attemptDelay=NEXT_ADDRESS_SECONDS
            )
            self._connecting = endpoint.connect(self)
        # Whatever it is, the caller has to hear of it.
        except Exception as error:
            self._not_connected(error)
        else:
            self._connecting.addErrback(lambda failure: self._not_connected(failure.value))

    def _not_connected(self, error: BaseException) -> None:
        self.fail(f"cannot be connected to: {_one_line(error)}")

    def _abort(self) -> None:
        if self.connection:
            self.connection.abortConnection()
        elif self._connecting:
            self._connecting.cancel()

    def hear(self, answer: Any) -> None:
        """Take the broker's answer, which Comet has looked at already."""
        if self.ack:
            self.outcome.set_result(None)
            return
        if answer.get("role") != "nak":
            self.fail(f"answered rubbish: neither ack nor nak, but {answer.get('role')!r:.30}")
            return
        reason = _one_line(answer.findtext("Meta/Result") or "no reason given")
        if KNOWN in reason:
            log.info("%s has the VOEvent already: %s", self._peer, reason)
            self.outcome.set_result(None)
        else:
            self.outcome.set_exception(RefusedError(f"{self._peer} refused the event: {reason}"))

    def fail(self, what: str) -> None:
        """No answer will come; where one came before, nothing."""
        if not self.outcome.done():
            self.outcome.set_exception(NotAnsweredError(f"{self._peer} {what}"))

    def late(self, timeout: float) -> NotAnsweredError:
        """The error for when nothing came in time."""
        what = "has not answered" if self.connection else "cannot be connected to: not"
        return NotAnsweredError(f"{self._peer} {what} within {timeout:g} s")


def _one_line(text: object) -> str:
    """For a log: a peer's own words may be long, and of many lines."""
    return " ".join(str(text).split())[:_MAX_REASON]
