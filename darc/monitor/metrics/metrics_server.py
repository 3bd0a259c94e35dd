"""HTTP server for a node's metrics."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from darc.config.records import replace
from darc.monitor.metrics.node_families import NodeCollector
from darc.monitor.metrics.node_measurements import NodeMeasurements
from darc.web.http_server import BoundedHandler, BoundedServer

log = logging.getLogger(__name__)

PATH = "/metrics"
#: Connections at a time.
MAX_CONNECTIONS = 8
#: Timeout for a request to be sent and its answer to be read (s).
REQUEST_SECONDS = 10.0
#: Requests within this time share the same text (s).
SHARED_SECONDS = 1.0
#: Timeout for the text to be built (s).
ANSWER_SECONDS = 5.0
#: Interval of checks for expired connections and for the stop (s).
POLL_SECONDS = 0.5


class MetricsServer(BoundedServer):
    """HTTP server for the metrics.

    :param address: host and port
    :param measure: returns the current measurements
    :raises OSError: the address is not available
    """

    request_queue_size = 16

    def __init__(self, address: tuple[str, int], measure: Callable[[], NodeMeasurements]) -> None:
        self._measure = measure
        self._collector = NodeCollector(self._measured)
        self._making = threading.Lock()
        self._made_at = 0.0  # monotonic, s
        self._text = b""
        super().__init__(
            address,
            _MetricsHandler,
            who="a client of the metrics",
            places=MAX_CONNECTIONS,
            seconds=REQUEST_SECONDS,
            poll_seconds=POLL_SECONDS,
        )

    def text(self) -> bytes:
        """Return the metrics as text, built now or in the last SHARED_SECONDS.

        :raises OSError: another request has been building it for ANSWER_SECONDS, or the master is
            away
        """
        if not self._making.acquire(timeout=ANSWER_SECONDS):
            raise TimeoutError(f"not made within {ANSWER_SECONDS:g} s")
        try:
            if not self._text or time.monotonic() - self._made_at >= SHARED_SECONDS:
                self._text = generate_latest(self._collector)
                self._made_at = time.monotonic()
            return self._text
        finally:
            self._making.release()

    def _measured(self) -> NodeMeasurements:
        node = self._measure()
        return replace(node, refused={**node.refused, "metrics": self.refused})

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log the failure of a connection."""
        if isinstance(sys.exception(), OSError):
            log.debug("a connection of the metrics ended", exc_info=True)
        else:
            log.error("the metrics cannot be served", exc_info=True)


class _MetricsHandler(BoundedHandler):
    """Handler of one request: of PATH."""

    server: MetricsServer
    timeout = REQUEST_SECONDS

    def answer(self) -> None:
        if self.path.partition("?")[0] != PATH:
            self.say(HTTPStatus.NOT_FOUND, f"only {PATH} is here")
            return
        try:
            text = self.server.text()
        except OSError as error:  # timeout, or the master is away
            log.warning("the metrics were not served: %s", error)
            self.say(HTTPStatus.SERVICE_UNAVAILABLE, f"{error}")
            return
        self.send(HTTPStatus.OK, text, CONTENT_TYPE_PLAIN_0_0_4)
