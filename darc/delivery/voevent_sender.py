"""Sends VOEvents to a broker by the VOEvent Transport Protocol (2.0, IVOA 2017), with Comet's code.

Comet needs Twisted, whose event loop runs once in a process, here in a thread of its own. It is
imported and started at the first use: on top of a service that takes 0.1 to 0.3 s and 9 MB.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from functools import partial
from types import ModuleType

from darc.runtime.vital_threads import vital


class SendError(Exception):
    """The broker has not taken the event, as far as is known."""


class RefusedError(SendError):
    """The broker does not want the event: it says why."""


class NotAnsweredError(SendError):
    """No answer, or none that can be understood; the broker may have the event all the same."""


_lock = threading.Lock()
_loop: Future[ModuleType] | None = None


def warm_up() -> None:
    """Start what sending needs, in the background, so that the first event goes at once."""
    _start()


def send(event: bytes, host: str, port: int, timeout: float) -> None:
    """Send an event, and return once the broker has taken it. Of any thread, several at once.

    The broker gets the bytes as given. Comet knows an event by its bytes, not by its IVORN: it
    answers a repeat with a nak, "Event rejected: Previously seen by this broker", which counts as
    taken; so after :class:`NotAnsweredError`, sending the same bytes again is safe. (It notes
    what it refuses as well: a repeat of an event that is not valid may count as taken.) It closes
    the connection without a word on what is no XML, has no IVORN, or is over 99 999 bytes.

    :param host: IPv4, IPv6 or name
    :param timeout: s, for everything
    :raises ValueError: the event is not XML
    :raises RefusedError: the broker has said no; the text has its reason
    :raises NotAnsweredError: not connected, name not known, closed without an answer, rubbish
        answered, or nothing within the timeout; the text says which
    """
    deadline = time.monotonic() + timeout
    try:
        connections = _start().result(timeout)
    except TimeoutError:
        raise NotAnsweredError(
            f"{host}:{port} not connected to: Comet has not started within {timeout:g} s"
        ) from None
    exchange = connections.BrokerExchange(event, host, port)
    try:
        exchange.begin(max(0.0, deadline - time.monotonic()))
        exchange.outcome.result(max(0.0, deadline - time.monotonic()))
    except BaseException as error:
        exchange.give_up()
        if isinstance(error, TimeoutError):
            raise exchange.late(timeout) from None
        raise


def _start() -> Future[ModuleType]:
    """The module that sends, once its event loop is about to run; or why it cannot be imported."""
    global _loop  # noqa: PLW0603 - a process has one
    with _lock:
        if _loop is None:
            _loop = Future()
            vital("twisted", partial(_run, _loop), or_exit=True, stoppable=True)
        return _loop


def _run(loop: Future[ModuleType]) -> None:
    try:
        from darc.delivery import voevent_connection  # noqa: PLC0415
    # Whoever sends has to hear of it: nobody else looks here.
    except BaseException as error:
        loop.set_exception(error)
        return
    loop.set_result(voevent_connection)
    voevent_connection.run()
