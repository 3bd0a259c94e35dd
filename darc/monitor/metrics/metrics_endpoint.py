"""The metrics of a node while its monitor runs: served where the configuration says."""

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
    """Keeps a server of metrics at an address that may change.

    :param measure: tells what is known now
    """

    def __init__(self, measure: Callable[[], NodeMeasurements]) -> None:
        self._measure = measure
        self._lock = threading.Lock()
        self._address: Address | None = None
        self._server: MetricsServer | None = None

    def serve(self, address: Address | None) -> None:
        """Be served there and nowhere else, soon: nobody waits for it.

        :param address: host and port; None: nowhere
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
            # Not where nobody wants it.
            from darc.monitor.metrics.metrics_server import MetricsServer  # noqa: PLC0415

            try:
                self._server = MetricsServer(address, self._measure)
            except OSError as error:
                text = "metrics are not served at %s:%d; `darc reload` tries again: %s"
                log.warning(text, *address, error)
                return
            self._server.start(or_exit=False)
            log.info("metrics are served at %s:%d", *address)
