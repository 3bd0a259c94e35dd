"""An HTTP server that clients cannot exhaust: few connections, each for a limited time."""

from __future__ import annotations

import contextlib
import http.server
import logging
import socket
import socketserver
import threading
import time
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, ClassVar

from darc.runtime.vital_threads import vital

log = logging.getLogger(__name__)

TEXT = "text/plain; charset=utf-8"


class BoundedServer(http.server.ThreadingHTTPServer):
    """Server with one thread per connection, up to a limit.

    :param who: name of a client in the log
    :param places: limit of concurrent connections
    :param seconds: time for a request to be sent and its response to be read
    :param poll_seconds: interval of the check for expired connections, and for a stop
    :raises OSError: the address is unavailable
    """

    daemon_threads = True
    block_on_close = False

    def __init__(
        self,
        address: tuple[str, int],
        handler: type[BoundedHandler],
        *,
        who: str,
        places: int,
        seconds: float,
        poll_seconds: float,
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.refused = 0
        self._who = who
        self.places = places
        self._seconds = seconds
        self._poll_seconds = poll_seconds
        self._lock = threading.Lock()
        self._deadlines: dict[Any, float] = {}  # of connections, monotonic
        super().__init__(address, handler)

    def start(self, *, or_exit: bool = True) -> None:
        """Start serving, in a thread.

        :param or_exit: exit the process if that thread ends
        """
        serve = partial(self.serve_forever, self._poll_seconds)
        vital(type(self).__name__, serve, or_exit=or_exit, stoppable=True)

    def allow(self, connection: Any, seconds: float) -> None:
        """Give a connection more time."""
        with self._lock:
            if connection in self._deadlines:
                self._deadlines[connection] += seconds

    def connections(self) -> dict[Any, float]:
        """Those that are open, and when each is ended (monotonic, s)."""
        with self._lock:
            return dict(self._deadlines)

    def stop(self) -> None:
        """Accept no more connections; returns after up to `poll_seconds`."""
        self.shutdown()
        self.server_close()

    # -- what socketserver calls -------------------------------------------------------------------

    def server_bind(self) -> None:
        # http.server's own method looks up the host's name, possibly over the network.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def service_actions(self) -> None:
        """Close expired connections."""
        now = time.monotonic()
        with self._lock:
            over = [one for one, deadline in self._deadlines.items() if now > deadline]
        for one in over:
            with contextlib.suppress(OSError):  # closed meanwhile
                one.shutdown(socket.SHUT_RDWR)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            has_place = len(self._deadlines) < self.places
            if has_place:
                self._deadlines[request] = time.monotonic() + self._seconds
            else:
                self.refused += 1
        if not has_place:
            log.warning("%s was refused: %d connections are open", self._who, self.places)
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError as error:  # the limit of threads is reached
            log.error("%s was refused: %s", self._who, error)
            self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._deadlines.pop(request, None)
        super().shutdown_request(request)


class BoundedHandler(http.server.BaseHTTPRequestHandler):
    """Handler of one request: GET and HEAD, as a subclass answers them; others are refused."""

    server_version = "DARC"
    sys_version = ""
    #: Headers of every response.
    fixed_headers: ClassVar[Mapping[str, str]] = {
        "X-Content-Type-Options": "nosniff",
        "Connection": "close",
    }

    def answer(self) -> None:
        """Answer the request."""
        raise NotImplementedError

    def begin(
        self,
        status: HTTPStatus,
        length: int | None,
        kind: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send the headers of a response of `length` bytes; None: until the connection closes."""
        self.send_response(status)
        for name, value in {**self.fixed_headers, **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    @property
    def has_body(self) -> bool:
        """Whether the response is more than its headers."""
        return self.command != "HEAD"

    def send(
        self, status: HTTPStatus, data: bytes, kind: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send a response."""
        self.begin(status, len(data), kind, headers)
        if self.has_body:
            self.wfile.write(data)

    def say(
        self, status: HTTPStatus, text: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Send a line of text, by default the status in words, and close the connection."""
        self.close_connection = True
        said = text or f"{status.value} {status.phrase}"
        self.send(status, f"{said}\n".encode(), TEXT, headers)

    # -- what http.server calls --------------------------------------------------------------------

    def do_GET(self) -> None:
        self.answer()

    do_HEAD = do_GET  # noqa: N815

    def _refuse(self) -> None:
        self.say(HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "GET, HEAD"})

    do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_TRACE = _refuse  # noqa: N815

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Send an error of http.server as plain text."""
        self.say(HTTPStatus(code))

    def log_message(self, format: str, *args: object) -> None:
        """Log no requests."""
