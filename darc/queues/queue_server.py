"""Hardened manager server: limits, deadlines, plain types, and prompt detection of lost clients.

``multiprocessing.managers.Server`` accepts connections without limit, waits for ever for a
handshake, lets any client shut it down, and does not notice a client that crashed during a call.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from multiprocessing import AuthenticationError, managers
from queue import Empty, Full
from typing import Any, Protocol

import darc.queues.manager  # noqa: F401 - makes the serializer known
from darc.queues.dialects import ServedConnection
from darc.queues.messages import CallError, QueueError
from darc.queues.names import OBJECT
from darc.queues.plain_connection import SERIALIZER
from darc.queues.request_values import NotPlainError
from darc.runtime.vital_threads import vital

log = logging.getLogger(__name__)

HANDSHAKE_SECONDS = 5.0
SEND_SECONDS = 10.0
MAX_CONNECTIONS = 128


class Session:
    """Connection of a client, as passed to the served object."""

    def __init__(self, connection: ServedConnection) -> None:
        self.connection = connection
        #: Last entry shown, by identifier of the view.
        self.cursors: dict[str, int] = {}
        self.deadline: float | None = time.monotonic() + HANDSHAKE_SECONDS
        self.gone = threading.Event()
        self._lock = threading.Lock()
        self._on_gone: list[Callable[[], None]] = []

    def on_gone(self, callback: Callable[[], None]) -> None:
        """Call back when the client is gone: from the watcher's thread, or at once if so now."""
        with self._lock:
            if not self.gone.is_set():
                self._on_gone.append(callback)
                return
        callback()

    def has_gone(self) -> bool:
        """Whether the client is gone, seen now; its connection must not be closed here yet."""
        return self.gone.is_set() or is_hung_up(self.connection.fileno())

    def hang_up(self) -> None:
        """Note that the client is gone, and call back; only the first call has an effect."""
        with self._lock:
            if self.gone.is_set():
                return
            self.gone.set()
        for callback in self._on_gone:
            try:
                callback()
            # A defect in one callback must not stop the watcher.
            except Exception:
                log.exception("callback for a closed queue connection failed")


class HangupWatcher:
    """Detector of lost clients and slow handshakes, whatever their threads are waiting for."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._sessions: dict[int, Session] = {}
        self._lock = threading.Lock()
        vital("hangup watcher", self._watch, or_exit=True)

    def add(self, session: Session) -> None:
        number = session.connection.fileno()
        with self._lock:
            self._epoll.register(number, select.EPOLLRDHUP | select.EPOLLONESHOT)
            self._sessions[number] = session

    def remove(self, session: Session) -> None:
        number = session.connection.fileno()
        with self._lock:
            del self._sessions[number]
            self._epoll.unregister(number)
        session.hang_up()

    def sessions(self) -> list[Session]:
        """Of the connections that are open now."""
        with self._lock:
            return list(self._sessions.values())

    def _watch(self) -> None:
        while True:
            try:
                self._check()
            # No defect may stop the watcher: lost clients would no longer be detected.
            except Exception:
                log.exception("watching queue connections failed")
                time.sleep(0.1)

    def _check(self) -> None:
        for number, _ in self._epoll.poll(1.0):
            with self._lock:
                session = self._sessions.get(number)
                # The number may be another connection's by now.
                went = session is not None and is_hung_up(number)
            if session and went:
                session.hang_up()
        now = time.monotonic()
        with self._lock:
            for number, session in self._sessions.items():
                if session.deadline is not None and now > session.deadline:
                    shut_down(number)


def is_hung_up(number: int) -> bool:
    poll = select.poll()
    poll.register(number, select.POLLRDHUP)
    return bool(poll.poll(0))


def shut_down(number: int) -> None:
    """End a connection under the thread that reads it: its read returns end-of-file."""
    try:
        # Without a duplicate, which would fail when descriptors have run out.
        borrowed = socket.socket(fileno=number)
        try:
            borrowed.shutdown(socket.SHUT_RDWR)
        finally:
            borrowed.detach()
    except OSError as error:
        log.debug("connection %d is closed already: %s", number, error)


def _peer_of(number: int) -> str:
    """Return the address of the peer, for the log."""
    with socket.socket(fileno=os.dup(number)) as duplicate:
        name = duplicate.getpeername()
    return str(name[0]) if isinstance(name, tuple) else "this host"


def _set_options(number: int) -> None:
    """Limit sending to ``SEND_SECONDS``, so that a client that never reads blocks no thread.

    A peer that is lost by a power cut is detected within half a minute, by keep-alive.
    """
    limit = struct.pack("ll", int(SEND_SECONDS), 0)
    with socket.socket(fileno=os.dup(number)) as duplicate:
        duplicate.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        if duplicate.family not in (socket.AF_INET, socket.AF_INET6):
            return
        duplicate.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        duplicate.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        duplicate.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
        duplicate.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
        duplicate.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)


# The published types of this class describe pickled connections only.
_Server: Any = managers.Server


class Named(Protocol):
    """Objects that clients of the standard library open by name."""

    def open(self, name: str, /, *arguments: Any, **options: Any) -> tuple[str, tuple[str, ...]]:
        """Return an identifier that contains a slash, and its methods."""

    def call(self, session: Session, ident: str, method: str, arguments: Any, keywords: Any) -> Any:
        """Call one of its methods."""


class QueueServer(_Server):  # type: ignore[misc]
    """Server of one object's ``exposed`` methods, each called with the client's :class:`Session`.

    :param address: path of a Unix socket, or (host, port)
    :param secret: gives the secret that a client proves before anything it sends is decoded; it may
        be another one for the next client
    :param named: what there is by name beside that object
    :param further: other objects by name, each with its exposed methods
    """

    # Requests to the server itself: neither shutdown nor debug information.
    public = ("create", "accept_connection", "dummy", "incref", "decref", "get_methods")

    def __init__(
        self,
        address: Any,
        secret: Callable[[], bytes],
        served: object,
        exposed: tuple[str, ...],
        named: Named | None = None,
        further: Mapping[str, tuple[object, tuple[str, ...]]] | None = None,
    ) -> None:
        super().__init__({}, address, b"", SERIALIZER)  # authenticated in handle_request
        self._secret = secret
        self._named = named
        # A fixed identifier instead of an address in memory: it stays valid after a restart.
        self.id_to_obj[OBJECT] = (served, set(exposed), None)
        for name, (other, methods) in (further or {}).items():
            self.id_to_obj[name] = (other, set(methods), None)
        self.stop_event = threading.Event()
        #: Knows the connections that are open.
        self.watcher = HangupWatcher()
        self._places = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._session = threading.local()
        self.refused = 0
        self._counting = threading.Lock()

    def start(self) -> None:
        """Start serving, in threads of this process."""
        vital("queue accepter", self.accepter, or_exit=True, stoppable=True)

    def stop(self) -> None:
        """Accept no more connections."""
        self.stop_event.set()
        self.listener.close()

    def accepter(self) -> None:
        while not self.stop_event.is_set():
            try:
                connection = ServedConnection(self.listener.accept())
            except OSError as error:
                if self.stop_event.is_set():
                    return
                log.error("queue connection not accepted: %s", error)
                time.sleep(0.1)  # out of descriptors: give other threads time to close theirs
                continue
            if not self._places.acquire(blocking=False):
                self._count_refusal()
                log.warning("queue connection refused: %d are open", MAX_CONNECTIONS)
                connection.close()
                continue
            try:
                threading.Thread(
                    target=self.handle_request, args=(connection,), daemon=True
                ).start()
            except RuntimeError as error:  # the limit of threads
                self._count_refusal()
                log.error("queue connection refused: %s", error)
                connection.close()
                self._places.release()

    def _handle_request(self, c: ServedConnection) -> None:
        """Authenticate a client and handle its first request; a failure is not answered."""
        peer = _peer_of(c.fileno())
        try:
            c.prove(self._secret())
        # errors of multiprocessing for an invalid handshake
        except (AuthenticationError, AssertionError, ValueError, EOFError, OSError) as error:
            self._count_refusal()
            log.warning("queue connection of %s refused, no proof of the secret: %s", peer, error)
            return
        try:
            _, method, arguments, keywords = c.recv()
            if method not in self.public:
                raise QueueError(f"no such request: {method}")
            value = getattr(self, method)(c, *arguments, **keywords)
        except (EOFError, OSError):
            return
        # Any other error concerns this client only.
        except Exception as error:
            log.warning("queue request of %s refused: %s", peer, error)
            self._refuse(c, _error_to_send(error))
        else:
            self._answer(c, value)

    def _count_refusal(self) -> None:
        with self._counting:
            self.refused += 1

    def handle_request(self, conn: ServedConnection) -> None:
        """Authenticate the client, then serve it until it disconnects."""
        session = Session(conn)
        self._session.current = session
        try:
            _set_options(conn.fileno())
            self.watcher.add(session)
            try:
                self._handle_request(conn)
            finally:
                self.watcher.remove(session)
        except SystemExit:
            pass  # raised at the end of serve_client
        except OSError as error:
            log.error("queue connection not served: %s", error)
        finally:
            conn.close()
            self._places.release()

    def create(
        self, c: ServedConnection, typeid: str, /, *arguments: Any, **options: Any
    ) -> tuple[str, tuple[str, ...]]:
        """Return identifier and methods of the served object, or of one by name.

        :raises QueueError: there is no object of this name
        """
        if typeid == OBJECT:
            return OBJECT, tuple(sorted(self.id_to_obj[OBJECT][1]))
        if self._named is None:
            raise QueueError(f"there is no {typeid!r} here, only {OBJECT!r}")
        return self._named.open(typeid, *arguments, **options)

    def get_methods(self, c: ServedConnection, ident: object) -> None:
        """Refuse proxies that were not created by the manager.

        :raises QueueError: always
        """
        raise QueueError("a proxy is made by manager.<name>(), which says what methods it has")

    # The object lives as long as the server: proxies have nothing to count.
    def incref(self, c: ServedConnection, ident: str) -> None:
        pass

    def decref(self, c: ServedConnection, ident: str) -> None:
        pass

    def serve_client(self, conn: ServedConnection) -> None:
        self._serve(conn)
        # Returning would send a success reply for a request that was never handled.
        raise SystemExit

    def _serve(self, conn: ServedConnection) -> None:
        session: Session = self._session.current
        session.deadline = None
        while not self.stop_event.is_set():
            try:
                request = conn.recv()
            except (EOFError, OSError):
                return
            except ValueError as error:
                log.warning("queue client sent an invalid message: %s", error)
                if conn.dialect.explains and self._refuse(conn, _error_to_send(error)):
                    continue
                return
            try:
                value = self._do(session, request)
            # The client must receive its error, whatever that is, and the others are served.
            except Exception as error:
                if not isinstance(error, QueueError | CallError | Empty | Full):
                    log.exception("queue request failed")
                answered = self._refuse(conn, error)
            else:
                answered = self._answer(conn, value)
            if not answered:
                return

    def _do(self, session: Session, request: Any) -> Any:
        ident, method, arguments, keywords = request
        if self._named and ident not in self.id_to_obj and isinstance(ident, str) and "/" in ident:
            return self._named.call(session, ident, method, arguments, keywords)
        served, exposed, _ = self.id_to_obj[ident]
        if method not in exposed:
            raise QueueError(f"no such request: {method}")
        return getattr(served, method)(session, *arguments, **keywords)

    def _answer(self, conn: ServedConnection, value: object) -> bool:
        """Reply to a request; False if the client is gone."""
        try:
            conn.answer(value)
        except OSError as error:
            log.debug("queue client disconnected before the reply: %s", error)
            return False
        except (ValueError, TypeError) as error:
            log.error("queue reply cannot be sent: %s", error)
            return self._refuse(conn, QueueError(f"the reply cannot be sent: {error}"))
        return True

    @staticmethod
    def _refuse(conn: ServedConnection, error: Exception) -> bool:
        """Reply with an error; False if the client is gone."""
        try:
            conn.refuse(error)
        except OSError as gone:
            log.debug("queue client disconnected before the reply: %s", gone)
            return False
        return True


def _error_to_send(error: Exception) -> Exception:
    """Return the exception to send for a request that could not be read."""
    if isinstance(error, NotPlainError):
        return CallError(str(error))
    return error if isinstance(error, QueueError | CallError) else QueueError(str(error))
