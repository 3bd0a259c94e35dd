"""The embedded web server: the pages, the events of open pages, and other files in web_dir."""

from __future__ import annotations

import contextlib
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
from darc.web.http_server import TEXT, BoundedHandler, BoundedServer

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
    ".txt": TEXT,
}
_POLICY = "Content-Security-Policy"
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


class _PageHandler(BoundedHandler):
    """Handler of one request."""

    server: StatusServer
    protocol_version = "HTTP/1.1"
    timeout = SEND_SECONDS
    fixed_headers: ClassVar[Mapping[str, str]] = {
        **BoundedHandler.fixed_headers,
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-cache",
    }

    def answer(self) -> None:
        try:
            address = urlsplit(self.path)
            name = unquote(address.path, errors="strict").lstrip("/") or INDEX
        except ValueError:
            self.say(HTTPStatus.BAD_REQUEST)
            return
        if name == "events":
            self._send_events(parse_qs(address.query))
            return
        text = self.server.live.read(name)
        if text is not None:
            policy = {_POLICY: f"{self.server.live.policy}; frame-ancestors 'none'"}
            self.send(HTTPStatus.OK, text.encode(), _type(name), policy)
        else:
            self._send_file(name)

    def _send_file(self, name: str) -> None:
        try:
            if not name.endswith("/") and is_directory_below(self.server.web_dir, name):
                # Links on the page are relative to the directory.
                here = f"./{quote(PurePosixPath(name).name)}/"
                self.say(HTTPStatus.MOVED_PERMANENTLY, headers={"Location": here})
                return
            file = open_below(self.server.web_dir, name)
        except OSError as error:
            log.info("%s: %s", name, error)
            file = None
        if file is None:
            self.say(HTTPStatus.NOT_FOUND)
            return
        with file:
            length = os.fstat(file.fileno()).st_size
            self.server.allow(self.connection, length / SLOWEST)
            kind = _type(INDEX if name.endswith("/") else name)
            self.begin(HTTPStatus.OK, length, kind, {_POLICY: _POLICY_OF_OTHERS})
            if self.has_body:
                shutil.copyfileobj(file, self.wfile)

    def _send_events(self, query: dict[str, list[str]]) -> None:
        """Send events until the page is closed."""
        # After a reconnection, a browser sends the last event that it has received.
        after = self.headers.get("Last-Event-ID") or query.get("after", [""])[0]
        with self.server.page(self.connection) as has_place:
            if not has_place:
                self.say(HTTPStatus.SERVICE_UNAVAILABLE)
                return
            policy = {_POLICY: self.server.live.policy}
            self.begin(HTTPStatus.OK, None, "text/event-stream", policy)
            if self.has_body:
                for event in self.server.live.events(after):
                    self.wfile.write(event)


def _type(name: str) -> str:
    return _TYPES.get(PurePosixPath(name).suffix.lower(), "application/octet-stream")
