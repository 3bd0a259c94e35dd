"""A server of webhooks that behaves as it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from simulator.receiver import HOST, Receiver

#: What a request is answered with: a status, or something else that is done with the connection.
Answer = int | Callable[["_Handler"], None]


def closes(handler: _Handler) -> None:
    """Close without an answer."""
    handler.close_connection = True


def hangs(handler: _Handler) -> None:
    """Say nothing, until the server is closed."""
    handler.of.hold()


def drips(handler: _Handler) -> None:
    """Never finish, and never be silent for long."""
    with suppress(OSError):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while not handler.of.closing.wait(0.05):
            handler.wfile.write(b"X-More: 1\r\n")


class Webhook(Receiver[dict[str, Any]]):
    """Takes JSON by POST on a port of this machine.

    `answers` are for the next requests, in order; without any, 200. `received` is what was taken.
    """

    def __init__(self, port: int = 0) -> None:
        super().__init__()
        self.answers: list[Answer] = []
        self.asked: list[str] = []  # paths of all requests
        self.closing = threading.Event()
        self._server = ThreadingHTTPServer((HOST, port), _handler_of(self))
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/hooks/SECRET?key=SECRET"

    def hold(self) -> None:
        self.closing.wait()

    def take(self, content: bytes) -> None:
        self._add(json.loads(content))

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    of: Webhook

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        content = self.rfile.read(length)
        if len(content) < length:  # its sender has died in between
            self.close_connection = True
            return
        self.of.asked.append(self.path)
        answer = self.of.answers.pop(0) if self.of.answers else 200
        if callable(answer):
            answer(self)
            return
        if answer == 200:
            self.of.take(content)
        self.send_response(answer)
        if 300 <= answer < 400:
            self.send_header("Location", f"http://{HOST}:{self.of.port}/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


def _handler_of(webhook: Webhook) -> type[_Handler]:
    return type("Handler", (_Handler,), {"of": webhook})
