"""An HTTP server that clients cannot exhaust: few connections, each for a limited time."""

from __future__ import annotations

import contextlib
import http.server
import logging
import socket
import socketserver
import threading
import time
from functools import partial
from typing import Any

from darc.runtime.vital_threads import vital

log = logging.getLogger(__name__)


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
        handler: type[http.server.BaseHTTPRequestHandler],
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
