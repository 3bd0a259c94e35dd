"""A stand-in for dada_dbevent: takes requests for dumps, and counts them."""

from __future__ import annotations

import contextlib
import socketserver
import threading

MAX_REQUEST_BYTES = 2**20
PATIENCE_SECONDS = 5.0


class _Handler(socketserver.StreamRequestHandler):
    timeout = PATIENCE_SECONDS
    server: _Server

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # who asks may go at any moment
            if self.rfile.read(MAX_REQUEST_BYTES).startswith(b"N_EVENTS"):
                self.server.requests += 1


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    requests = 0


class DumpRequests:
    """Listens on a free port of this machine until closed."""

    def __init__(self) -> None:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def received(self) -> int:
        return self._server.requests

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
