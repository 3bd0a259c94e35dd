"""The embedded web server: the pages, the events of open pages, and other files in web_dir."""

from __future__ import annotations

import contextlib
import http.server
import logging
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar
from urllib.parse import parse_qs, quote, unquote, urlsplit

from darc.monitor.page.live_page import STREAM_SECONDS, LivePages
from darc.monitor.page.page_files import is_directory_below, open_below
from darc.monitor.page.render_page import INDEX
from darc.web.http_server import BoundedServer

log = logging.getLogger(__name__)

#: Connections at a time, without those of open pages.
MAX_REQUESTS = 32
#: Timeout for a request to be sent and its answer to be read (s).
REQUEST_SECONDS = 20.0
#: Timeout for an open page to read an event (s).
SEND_SECONDS = 10.0
_GRACE_SECONDS = 60.0
#: Lowest accepted rate of a download (bytes/s).
SLOWEST = 50_000.0
#: Interval of checks for the stop (s).
POLL_SECONDS = 0.2

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".pdf": "application/pdf",
    ".txt": "text/plain; charset=utf-8",
}
#: Policy of other files in web_dir, such as the results: with scripts in files of their own.
_POLICY_OF_OTHERS = (
    "default-src 'none'; img-src 'self'; style-src 'self' 'unsafe-inline'; script-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class StatusServer(BoundedServer):
    """Web server of the status page.

    :param address: host and port
    :param web_dir: directory whose files are served as well
    :param max_pages: open pages at a time that receive events
    :raises OSError: the address is not available
    """

    request_queue_size = 64

    def __init__(
        self, address: tuple[str, int], live: LivePages, web_dir: Path, max_pages: int
    ) -> None:
        self.live = live
        self.web_dir = web_dir
        self._max_pages = max_pages
        self._pages: set[Any] = set()
        super().__init__(
            address,
            _PageHandler,
            who="a browser",
            places=max_pages + MAX_REQUESTS,
            seconds=REQUEST_SECONDS,
            poll_seconds=POLL_SECONDS,
        )

    @property
    def url(self) -> str:
        host, port = self.server_address[0], self.server_address[1]
        name = f"[{host!s}]" if self.address_family == socket.AF_INET6 else str(host)
        return f"http://{name}:{port}/"

    @property
    def open_pages(self) -> int:
        """Number of open pages that receive events."""
        return len(self._pages)

    @contextlib.contextmanager
    def page(self, connection: Any) -> Iterator[bool]:
        """Reserve a place for an open page; False where there is none."""
        with self._lock:
            has_place = len(self._pages) < self._max_pages
            if has_place:
                self._pages.add(connection)
                self._deadlines[connection] += STREAM_SECONDS + _GRACE_SECONDS
            else:
                self.refused += 1
        try:
            yield has_place
        finally:
            with self._lock:
                self._pages.discard(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log the failure of a connection."""
        log.debug("a browser's connection ended", exc_info=True)


class _PageHandler(http.server.BaseHTTPRequestHandler):
    """Handler of one request: GET or HEAD."""

    server: StatusServer
    protocol_version = "HTTP/1.1"
    server_version = "DARC"
    sys_version = ""
    timeout = SEND_SECONDS
    _headers: ClassVar[dict[str, str]] = {
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-cache",
        "Connection": "close",
    }

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _refuse(self) -> None:
        self._say(HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": "GET, HEAD"})

    do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_TRACE = _refuse  # noqa: N815

    def _answer(self, *, body: bool) -> None:
        try:
            address = urlsplit(self.path)
            name = unquote(address.path, errors="strict").lstrip("/") or INDEX
        except ValueError:
            self._say(HTTPStatus.BAD_REQUEST)
            return
        if name == "events":
            self._send_events(parse_qs(address.query), body=body)
            return
        text = self.server.live.read(name)
        if text is not None:
            policy = f"{self.server.live.policy}; frame-ancestors 'none'"
            self._send(text.encode(), _type(name), policy, body=body)
        else:
            self._send_file(name, body=body)

    def _send_file(self, name: str, *, body: bool) -> None:
        try:
            if not name.endswith("/") and is_directory_below(self.server.web_dir, name):
                # Links on the page are relative to the directory.
                here = f"./{quote(PurePosixPath(name).name)}/"
                self._say(HTTPStatus.MOVED_PERMANENTLY, {"Location": here})
                return
            file = open_below(self.server.web_dir, name)
        except OSError as error:
            log.info("%s: %s", name, error)
            file = None
        if file is None:
            self._say(HTTPStatus.NOT_FOUND)
            return
        with file:
            length = os.fstat(file.fileno()).st_size
            self.server.allow(self.connection, length / SLOWEST)
            kind = _type(INDEX if name.endswith("/") else name)
            self._begin(HTTPStatus.OK, length, kind, _POLICY_OF_OTHERS)
            if body:
                shutil.copyfileobj(file, self.wfile)

    def _send_events(self, query: dict[str, list[str]], *, body: bool) -> None:
        """Send events until the page is closed."""
        # After a reconnection, a browser sends the last event that it has received.
        after = self.headers.get("Last-Event-ID") or query.get("after", [""])[0]
        with self.server.page(self.connection) as has_place:
            if not has_place:
                self._say(HTTPStatus.SERVICE_UNAVAILABLE)
                return
            self._begin(HTTPStatus.OK, None, "text/event-stream", self.server.live.policy)
            if not body:
                return
            for event in self.server.live.events(after):
                self.wfile.write(event)

    def _send(self, data: bytes, kind: str, policy: str, *, body: bool) -> None:
        self._begin(HTTPStatus.OK, len(data), kind, policy)
        if body:
            self.wfile.write(data)

    def _begin(
        self,
        status: HTTPStatus,
        length: int | None,
        kind: str,
        policy: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in {**self._headers, **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        if policy:
            self.send_header("Content-Security-Policy", policy)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def _say(self, status: HTTPStatus, headers: Mapping[str, str] | None = None) -> None:
        text = f"{status.value} {status.phrase}\n".encode()
        self.close_connection = True
        self._begin(status, len(text), _TYPES[".txt"], headers=headers)
        if self.command != "HEAD":
            self.wfile.write(text)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Send an error of http.server as plain text."""
        self._say(HTTPStatus(code))

    def log_message(self, format: str, *args: object) -> None:
        """Log no requests."""


def _type(name: str) -> str:
    return _TYPES.get(PurePosixPath(name).suffix.lower(), "application/octet-stream")
