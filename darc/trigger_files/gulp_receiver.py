"""Listener for searches that send a gulp per connection: limits on connections, size and time."""

from __future__ import annotations

import contextlib
import logging
import re
import selectors
import socket
import threading
import time
from collections.abc import Callable

from darc.config.records import Struct, field
from darc.config.source_settings import SourceSettings
from darc.model.counters import Counted
from darc.node.losses import LossKind
from darc.runtime.vital_threads import vital
from darc.trigger_files.candidate_source import SourceEvent

log = logging.getLogger(__name__)

TICK_SECONDS = 0.1
READ_BYTES = 2**18
#: Connections that are refused, silent, or without a gulp number are logged once in this time (s).
SAID_SECONDS = 60.0
_NUMBER = re.compile(rb"\s*(\d{1,18})\s*")

GULP_CUT = LossKind(
    "gulp_cut",
    "the rest of a gulp was lost, as its connection ended before it",
    "See the search process that is named, the network to it, and instrument.source:"
    " connection_timeout, max_gulp_bytes.",
)
CONNECTION_REFUSED = LossKind(
    "connection_refused",
    "gulps were lost: their connections were refused, as too many were open",
    "See who connects; instrument.source.max_connections is the limit.",
)


class ReceivedGulp(Struct, frozen=True):
    """What a connection has brought.

    :param port: that it came to
    :param host: that it came from
    :param number: of the gulp; None: its first line is none
    :param lines: whole lines behind the number, or all lines; without newlines
    :param half: what came behind the last newline
    """

    port: int
    host: str
    number: int | None
    lines: list[bytes]
    half: bytes


class _Connection(Struct):
    socket: socket.socket
    port: int
    host: str
    opened: float  # monotonic (s)
    data: bytearray = field(default_factory=bytearray)


class GulpReceiver:
    """Thread that receives gulps while it is open.

    :param take: gets each gulp, in this thread
    :param tick: is called ten times a second, in this thread
    :param report: gets each event, in this thread
    """

    def __init__(
        self,
        settings: SourceSettings,
        take: Callable[[ReceivedGulp], None],
        tick: Callable[[], None],
        report: Callable[[SourceEvent], None],
    ) -> None:
        self._settings = settings
        self._take = take
        self._tick = tick
        self._report = report
        self._selector = selectors.DefaultSelector()
        self._listeners: list[socket.socket] = []
        self._connections: dict[int, _Connection] = {}
        self._said: dict[str, float] = {}
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def n_connections(self) -> int:
        """Number of open connections."""
        return len(self._connections)

    def open(self) -> None:
        """Listen on all ports.

        :raises OSError: a port cannot be listened on; names it
        """
        bind = self._settings.bind
        family = socket.AF_INET6 if ":" in bind else socket.AF_INET
        opened: list[socket.socket] = []
        try:
            for port in self._settings.ports:
                listener = socket.socket(family, socket.SOCK_STREAM)
                opened.append(listener)
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.setblocking(False)
                try:
                    listener.bind((bind, port))
                except OSError as error:
                    raise OSError(error.errno, f"{bind}:{port}: {error.strerror}") from error
                listener.listen(128)
        except OSError:
            for listener in opened:
                listener.close()
            raise
        self._listeners = opened
        for listener in opened:
            self._selector.register(listener, selectors.EVENT_READ)
        self._thread = vital("gulp receiver", self._serve, or_exit=True, stoppable=True)

    def close(self) -> None:
        """Close all connections; what they have brought is taken."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _serve(self) -> None:
        try:
            while not self._closing.is_set():
                for key, _ in self._selector.select(TICK_SECONDS):
                    if key.data is None:
                        self._accept(key.fileobj)  # type: ignore[arg-type]
                    else:
                        self._read(key.data)
                self._end_late_ones()
                self._tick()
        finally:
            for listener in self._listeners:
                listener.close()
            for connection in list(self._connections.values()):
                self._end(connection, "the observation was stopped")
            self._selector.close()

    def _accept(self, listener: socket.socket) -> None:
        try:
            accepted, address = listener.accept()
        except OSError as error:  # it is gone again, or no descriptor is left
            if text := self._once("accept", f"a connection could not be accepted: {error}"):
                log.error("%s", text)
            return
        host, port = str(address[0]), int(listener.getsockname()[1])
        if len(self._connections) >= self._settings.max_connections:
            accepted.close()
            text = f"a connection of {host} to port {port} was refused:"
            text += f" {self._settings.max_connections} are open"
            new = bool(self._once("refused", text))
            self._report(
                SourceEvent(Counted.CONNECTIONS_REFUSED, text, CONNECTION_REFUSED, host, logged=new)
            )
            return
        accepted.setblocking(False)
        connection = _Connection(accepted, port, host, time.monotonic())
        self._connections[accepted.fileno()] = connection
        self._selector.register(accepted, selectors.EVENT_READ, connection)

    def _read(self, connection: _Connection) -> None:
        try:
            data = connection.socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(connection, str(error))
            return
        if not data:
            self._end(connection, "")
            return
        connection.data += data
        if len(connection.data) > self._settings.max_gulp_bytes:
            del connection.data[self._settings.max_gulp_bytes :]
            self._end(connection, f"it has over {self._settings.max_gulp_bytes} bytes")

    def _end_late_ones(self) -> None:
        limit = self._settings.connection_timeout
        oldest = time.monotonic() - limit
        for connection in list(self._connections.values()):
            if connection.opened < oldest:
                self._end(connection, f"it was not closed within {limit:g} s")

    def _end(self, connection: _Connection, why: str) -> None:
        """Close a connection, and take what it has brought.

        :param why: it was cut off; empty: its sender has closed it
        """
        del self._connections[connection.socket.fileno()]
        with contextlib.suppress(KeyError, ValueError):  # the selector is closed
            self._selector.unregister(connection.socket)
        connection.socket.close()
        who = f"{connection.host} to port {connection.port}"
        if not connection.data:
            text = self._once("silent", f"a connection of {who} sent nothing{why and ': '}{why}")
            self._report(SourceEvent(Counted.CONNECTIONS_SILENT, text))
            return
        gulp = split_gulp(connection.port, connection.host, bytes(connection.data))
        if why or gulp.half:
            why = why or f"it ends within a line: {gulp.half[:60]!r}"
            what = f"gulp {'?' if gulp.number is None else gulp.number} of {who}"
            text = f"{what} was cut off: {why}"
            # A search's are told one by one; who sends no numbers may be anybody, at any rate.
            new = gulp.number is not None or bool(self._once("cut", text))
            self._report(SourceEvent(Counted.GULPS_CUT, text, GULP_CUT, what, logged=new))
        if gulp.number is None:
            first = gulp.lines[0] if gulp.lines else gulp.half
            text = f"no gulp number of {who}: {first[:80]!r}; {len(gulp.lines)} lines are rejected"
            self._report(SourceEvent("", self._once("number", text)))
        self._take(gulp)

    def _once(self, kind: str, text: str) -> str:
        """Return a text for the log, unless one of the kind was logged just before."""
        now = time.monotonic()
        if now - self._said.get(kind, -SAID_SECONDS) < SAID_SECONDS:
            return ""
        self._said[kind] = now
        return text


def split_gulp(port: int, host: str, data: bytes) -> ReceivedGulp:
    """Split what a connection has brought into number and lines."""
    *lines, half = data.split(b"\n")
    match = _NUMBER.fullmatch(lines[0]) if lines else None
    if match is None:
        return ReceivedGulp(port, host, None, lines, half)
    return ReceivedGulp(port, host, int(match[1]), lines[1:], half)
