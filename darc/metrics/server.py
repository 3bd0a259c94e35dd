"""A small HTTP server: nothing but a node's metrics."""

from __future__ import annotations

import contextlib
import http.server
import logging
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from darc.metrics.families import NodeCollector
from darc.metrics.measured import NodeMeasured

log = logging.getLogger(__name__)

PATH = "/metrics"
#: At a time.
MAX_CONNECTIONS = 8
#: For a request to be sent and its answer to be read.
REQUEST_SECONDS = 10.0
#: Who asks within this time of another one gets the same text.
SHARED_SECONDS = 1.0
#: For the text to be made.
ANSWER_SECONDS = 5.0
#: How often it looks for connections whose time is over, and whether it is to stop.
POLL_SECONDS = 0.5
_ATTEMPT = "a client of the metrics was refused: %s"


class Text:
    """The metrics as text, made at most once in SHARED_SECONDS."""

    def __init__(self, measure: Callable[[], NodeMeasured]) -> None:
        self._collector = NodeCollector(measure)
        self._lock = threading.Lock()
        self._made_at = 0.0  # monotonic
        self._text = b""

    def get(self) -> bytes:
        """:raises TimeoutError: another one has been at it for ANSWER_SECONDS"""
        if not self._lock.acquire(timeout=ANSWER_SECONDS):
            raise TimeoutError(f"not made within {ANSWER_SECONDS:g} s")
        try:
            if not self._text or time.monotonic() - self._made_at >= SHARED_SECONDS:
                self._text = generate_latest(self._collector)
                self._made_at = time.monotonic()
            return self._text
        finally:
            self._lock.release()


class MetricsServer(http.server.ThreadingHTTPServer):
    """Serves them; a thread for each connection, and no more than MAX_CONNECTIONS.

    :param measure: tells what is known now, without waiting
    :raises OSError: the address cannot be had
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 16

    def __init__(self, address: tuple[str, int], measure: Callable[[], NodeMeasured]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.refused = 0
        self._measure = measure
        self.text = Text(self._measured)
        self._lock = threading.Lock()
        self._connections: dict[Any, float] = {}  # deadline, monotonic
        super().__init__(address, _Handler)

    def _measured(self) -> NodeMeasured:
        node = self._measure()
        return replace(node, refused={**node.refused, "metrics": self.refused})

    def start(self) -> None:
        threading.Thread(
            target=self.serve_forever, args=(POLL_SECONDS,), name="metrics", daemon=True
        ).start()

    def stop(self) -> None:
        """Take no more connections; takes up to a poll's time."""
        self.shutdown()
        self.server_close()

    # -- what socketserver calls -------------------------------------------------------------------

    def server_bind(self) -> None:
        # http.server's own would look the host's name up, on the network if need be.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def service_actions(self) -> None:
        """End connections whose time is over."""
        now = time.monotonic()
        with self._lock:
            over = [one for one, deadline in self._connections.items() if now > deadline]
        for one in over:
            with contextlib.suppress(OSError):  # gone meanwhile
                one.shutdown(socket.SHUT_RDWR)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            has_place = len(self._connections) < MAX_CONNECTIONS
            if has_place:
                self._connections[request] = time.monotonic() + REQUEST_SECONDS
            else:
                self.refused += 1
        if not has_place:
            log.warning(_ATTEMPT, f"{MAX_CONNECTIONS} connections are open")
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError as error:  # the limit of threads
            log.error(_ATTEMPT, error)
            self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if isinstance(sys.exception(), OSError):
            log.debug("a connection of the metrics ended", exc_info=True)
        else:
            log.error("the metrics cannot be told", exc_info=True)


class _Handler(http.server.BaseHTTPRequestHandler):
    """One request: GET or HEAD of PATH."""

    server: MetricsServer
    server_version = "DARC"
    sys_version = ""
    timeout = REQUEST_SECONDS

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != PATH:
            self._say(HTTPStatus.NOT_FOUND, f"only {PATH} is here\n")
            return
        try:
            text = self.server.text.get()
        except TimeoutError as error:
            log.warning("the metrics were not told: %s", error)
            self._say(HTTPStatus.SERVICE_UNAVAILABLE, f"{error}\n")
            return
        self._send(HTTPStatus.OK, text, CONTENT_TYPE_PLAIN_0_0_4)

    do_HEAD = do_GET  # noqa: N815

    def _refuse(self) -> None:
        self._say(HTTPStatus.METHOD_NOT_ALLOWED, "GET or HEAD\n")

    do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_TRACE = _refuse  # noqa: N815

    def _say(self, status: HTTPStatus, text: str) -> None:
        self._send(status, text.encode(), "text/plain; charset=utf-8")

    def _send(self, status: HTTPStatus, data: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What http.server finds wrong with a request, in plain text."""
        self.close_connection = True
        self._say(HTTPStatus(code), f"{HTTPStatus(code).phrase}\n")

    def log_message(self, format: str, *args: object) -> None:
        """Requests are no news."""
