"""Endpoint of the node's metrics, at the address of the configuration."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from darc.monitor.metrics.node_measurements import NodeMeasurements

if TYPE_CHECKING:
    from darc.monitor.metrics.metrics_server import MetricsServer

log = logging.getLogger(__name__)

Address = tuple[str, int]


class MetricsEndpoint:
    """Metrics server at an address that may change.

    :param measure: returns the current measurements
    """

    def __init__(self, measure: Callable[[], NodeMeasurements]) -> None:
        self._measure = measure
        self._lock = threading.Lock()
        self._address: Address | None = None
        self._server: MetricsServer | None = None

    def serve(self, address: Address | None) -> None:
        """Serve at this address only, as soon as possible; the call does not wait.

        :param address: host and port; None: do not serve
        """
        threading.Thread(target=self._serve, args=(address,), name="metrics", daemon=True).start()

    def _serve(self, address: Address | None) -> None:
        with self._lock:
            if self._server and address == self._address:
                return
            if self._server:
                self._server.stop()
                self._server = None
            self._address = address
            if address is None:
                return
            # Imported only where metrics are served.
            from darc.monitor.metrics.metrics_server import MetricsServer  # noqa: PLC0415

            try:
                self._server = MetricsServer(address, self._measure)
            except OSError as error:
                text = "metrics are not served at %s:%d; `darc reload` tries again: %s"
                log.warning(text, *address, error)
                return
            self._server.start(or_exit=False)
            log.info("metrics are served at %s:%d", *address)
