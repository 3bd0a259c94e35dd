"""Publish the master's address in a file; the node runs even while that cannot be written.

The home directory may be full or on an unreachable server, while run_dir is on a local disk.
"""

from __future__ import annotations

import logging
import threading

from darc.node.endpoint import Endpoint, endpoint_file, remove_endpoint, write_endpoint

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0


class EndpointFile:
    """Writer of the endpoint file: a thread that retries until it succeeds or the node stops."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def start(self) -> None:
        """Write the file in a thread, which may hang with its disk."""
        threading.Thread(target=self._write, name="endpoint file", daemon=True).start()

    def remove(self) -> None:
        """Remove the file as the node stops; a failed write is not retried any more."""
        self._ended.set()
        with self._lock:
            try:
                remove_endpoint(self._endpoint.node_id)
            except OSError as error:
                log.error("%s: the file still names this node", error)

    def _write(self) -> None:
        said = ""
        while True:
            try:
                with self._lock:
                    if not self._ended.is_set():
                        write_endpoint(self._endpoint)
            except OSError as error:
                if said != str(error):
                    log.error(
                        "%s, so commands cannot find this node unless they are given its port,"
                        " %d: retried each second",
                        error,
                        self._endpoint.port,
                    )
                said = str(error)
            else:
                if said:
                    log.info("%s is written", endpoint_file())
                return
            if self._ended.wait(RETRY_SECONDS):
                return
