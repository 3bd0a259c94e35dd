"""The manager's server, made safe: limits, deadlines, plain types, and a death is seen at once.

What ``multiprocessing.managers.Server`` lacks: it takes connections without limit, waits for ever
for a handshake, lets any client shut it down, and a client that died inside a call is not noticed.
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
    """One client's connection, as the served object sees it."""

    def __init__(self, connection: ServedConnection) -> None:
        self.connection = connection
        #: By the identity of what it looks at, the last entry that it was shown.
        self.cursors: dict[str, int] = {}
        self.deadline: float | None = time.monotonic() + HANDSHAKE_SECONDS
        self.gone = threading.Event()
        self._lock = threading.Lock()
        self._on_gone: list[Callable[[], None]] = []

    def on_gone(self, callback: Callable[[], None]) -> None:
        """Call back once the client is gone: in the watcher's thread, or at once where it is."""
        with self._lock:
            if not self.gone.is_set():
                self._on_gone.append(callback)
                return
        callback()

    def has_gone(self) -> bool:
        """Whether the client is gone, seen now; its connection must not be closed here yet."""
        return self.gone.is_set() or is_hung_up(self.connection.fileno())

    def hang_up(self) -> None:
        """Note that the client is gone; done once."""
        with self._lock:
            if self.gone.is_set():
                return
            self.gone.set()
        for callback in self._on_gone:
            try:
                callback()
            # A defect in one callback must not blind the watcher.
            except Exception:
                log.exception("after a client went")


class HangupWatcher:
    """Sees clients go and handshakes take too long, whatever their threads are waiting for."""

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

    def shut_down_all(self) -> None:
        """End all connections, as the end of this process does."""
        with self._lock:
            for number in self._sessions:
                shut_down(number)

    def _watch(self) -> None:
        while True:
            try:
                self._look()
            # No defect may blind the watcher: a death would never be seen again.
            except Exception:
                log.exception("watching queue connections failed")
                time.sleep(0.1)

    def _look(self) -> None:
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
        # A duplicate could not be had when descriptors have run out, which is when it matters.
        borrowed = socket.socket(fileno=number)
        try:
            borrowed.shutdown(socket.SHUT_RDWR)
        finally:
            borrowed.detach()
    except OSError as error:
        log.debug("connection %d was gone already: %s", number, error)


def _peer_of(number: int) -> str:
    """Who is at the other end, for the log."""
    with socket.socket(fileno=os.dup(number)) as duplicate:
        name = duplicate.getpeername()
    return str(name[0]) if isinstance(name, tuple) else "this host"


def _keep_alive(number: int) -> None:
    """A peer that went without a word, as at a power cut, is noticed within half a minute."""
    with socket.socket(fileno=os.dup(number)) as duplicate:
        if duplicate.family not in (socket.AF_INET, socket.AF_INET6):
            return
        duplicate.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        duplicate.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        duplicate.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
        duplicate.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
        duplicate.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)


def _limit_sending(number: int) -> None:
    """A client that never reads costs a thread for ``SEND_SECONDS``, not for ever."""
    with socket.socket(fileno=os.dup(number)) as duplicate:
        duplicate.setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(SEND_SECONDS), 0)
        )


# The published types of this class describe pickled connections only.
_Server: Any = managers.Server


class Named(Protocol):
    """What a client of the standard library finds by name."""

    def open(self, name: str, /, *arguments: Any, **options: Any) -> tuple[str, tuple[str, ...]]:
        """An identity with a slash in it, and the methods that it has."""

    def call(self, session: Session, ident: str, method: str, arguments: Any, keywords: Any) -> Any:
        """Call one of them."""


class QueueServer(_Server):  # type: ignore[misc]
    """Serves one object's ``exposed`` methods, each called with the client's :class:`Session`.

    :param address: path of a Unix socket, or (host, port)
    :param secret: gives the secret that a client proves before anything it sends is decoded; it may
        be another one for the next client
    :param named: what there is by name beside that object
    :param further: other objects by name, each with its exposed methods
    """

    # What a client may ask of the server itself: no shutdown, no look at its insides.
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
        super().__init__({}, address, b"", SERIALIZER)  # proven by what is below
        self._secret = secret
        self._named = named
        # A fixed name instead of an address in memory: it is the same after a restart.
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
        """Serve from now on, in threads of this process."""
        vital("queue accepter", self.accepter, or_exit=True, stoppable=True)

    def stop(self) -> None:
        """Take no more connections."""
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
                time.sleep(0.1)  # out of descriptors: give others time to close theirs
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
        """Nothing is said to one that has not proven the key, beside the challenge."""
        peer = _peer_of(c.fileno())
        try:
            c.prove(self._secret())
        # multiprocessing's ways to say that what came is no answer
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
        # Whatever is wrong with it, it is one client's.
        except Exception as error:
            log.warning("queue request of %s refused: %s", peer, error)
            self._refuse(c, _told(error))
        else:
            self._answer(c, value)

    def _count_refusal(self) -> None:
        with self._counting:
            self.refused += 1

    def handle_request(self, conn: ServedConnection) -> None:
        """Prove the key, then serve until the client goes."""
        session = Session(conn)
        self._session.current = session
        try:
            _limit_sending(conn.fileno())
            _keep_alive(conn.fileno())
            self.watcher.add(session)
            try:
                self._handle_request(conn)
            finally:
                self.watcher.remove(session)
        except SystemExit:
            pass  # how serve_client ends
        except OSError as error:
            log.error("queue connection not served: %s", error)
        finally:
            conn.close()
            self._places.release()

    def create(
        self, c: ServedConnection, typeid: str, /, *arguments: Any, **options: Any
    ) -> tuple[str, tuple[str, ...]]:
        """What a manager's proxy asks first: the object that there is, or something by name."""
        if typeid == OBJECT:
            return OBJECT, tuple(sorted(self.id_to_obj[OBJECT][1]))
        if self._named is None:
            raise QueueError(f"there is no {typeid!r} here, only {OBJECT!r}")
        return self._named.open(typeid, *arguments, **options)

    def get_methods(self, c: ServedConnection, ident: object) -> None:
        """What a proxy asks that was made by hand."""
        raise QueueError("a proxy is made by manager.<name>(), which says what methods it has")

    # The object lives as long as the server: proxies have nothing to count.
    def incref(self, c: ServedConnection, ident: str) -> None:
        pass

    def decref(self, c: ServedConnection, ident: str) -> None:
        pass

    def serve_client(self, conn: ServedConnection) -> None:
        self._serve(conn)
        # Returning would send "done" as the answer to a request that was never looked at.
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
                log.warning("queue client sent what cannot be decoded: %s", error)
                if not conn.dialect.explains:
                    return
                if not self._refuse(conn, _told(error)):
                    return
                continue
            try:
                value = self._do(session, request)
            # The client must hear of its error, whatever that is, and the others go on.
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
        """Answer; False where the client has gone."""
        try:
            conn.answer(value)
        except OSError as error:
            log.debug("queue client went before its answer: %s", error)
            return False
        except (ValueError, TypeError) as error:
            log.error("queue answer cannot be sent: %s", error)
            return self._refuse(conn, QueueError(f"the answer cannot be sent: {error}"))
        return True

    @staticmethod
    def _refuse(conn: ServedConnection, error: Exception) -> bool:
        """Answer that it was not done; False where the client has gone."""
        try:
            conn.refuse(error)
        except OSError as gone:
            log.debug("queue client went before its answer: %s", gone)
            return False
        return True


def _told(error: Exception) -> Exception:
    """As what a client of the standard library hears of a request that could not be read."""
    if isinstance(error, NotPlainError):
        return CallError(str(error))
    return error if isinstance(error, QueueError | CallError) else QueueError(str(error))
