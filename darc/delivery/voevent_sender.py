"""Sender of VOEvents by the VOEvent Transport Protocol (2.0, IVOA 2017), with Comet's code.

Comet needs Twisted, whose event loop can run once per process, here in a thread of its own. It is
imported and started at the first use, which takes 0.1 to 0.3 s and 9 MB.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from functools import partial
from types import ModuleType

from darc.delivery.voevent_errors import NotAnsweredError
from darc.runtime.vital_threads import vital

NOT_INSTALLED = "Comet is not installed (pip install 'darc[vtp]', and restart), or cannot be loaded"

_lock = threading.Lock()
_loop: Future[ModuleType] | None = None


def warm_up() -> None:
    """Start the event loop in the background, so that the first event is sent without delay."""
    _start()


def send(event: bytes, host: str, port: int, timeout: float) -> None:
    """Send an event, and return once the broker has accepted it. May be called from any thread.

    The bytes are sent unchanged. Comet identifies an event by its bytes, not by its IVORN: it
    replies to a repeat with a nak, "Event rejected: Previously seen by this broker", which counts
    as accepted; so after :class:`NotAnsweredError`, sending the same bytes again is safe. (It also
    remembers refused events: a repeat of an invalid event may count as accepted.) It closes the
    connection without a reply if a message is not XML, has no IVORN, or is over 99 999 bytes.

    :param event: XML of the event
    :param host: IPv4 or IPv6 address, or name
    :param timeout: total time, s
    :raises ValueError: the event is not XML
    :raises RefusedError: the broker refused the event; the message has its reason
    :raises NotAnsweredError: connection failed, unknown name, closed without a reply, invalid
        reply, no reply within the timeout, or Comet is not installed; the message says which
    """
    deadline = time.monotonic() + timeout
    try:
        connections = _start().result(timeout)
    except TimeoutError:
        raise NotAnsweredError(
            f"{host}:{port}: not sent: Comet has not started within {timeout:g} s"
        ) from None
    except ImportError as error:
        raise NotAnsweredError(f"{NOT_INSTALLED}: {error}") from error
    exchange = connections.BrokerExchange(event, host, port)
    try:
        exchange.begin(max(0.0, deadline - time.monotonic()))
        exchange.outcome.result(max(0.0, deadline - time.monotonic()))
    except BaseException as error:
        exchange.give_up()
        if isinstance(error, TimeoutError):
            raise exchange.timeout_error(timeout) from None
        raise


def _start() -> Future[ModuleType]:
    """Return a future of the module that sends, once its event loop is starting."""
    global _loop  # noqa: PLW0603 - a process has one
    with _lock:
        if _loop is None:
            _loop = Future()
            vital("twisted", partial(_run, _loop), or_exit=True, stoppable=True)
        return _loop


def _run(loop: Future[ModuleType]) -> None:
    try:
        from darc.delivery import voevent_connection  # noqa: PLC0415
    # Errors are passed to the caller of send.
    except BaseException as error:
        loop.set_exception(error)
        return
    loop.set_result(voevent_connection)
    voevent_connection.run()
