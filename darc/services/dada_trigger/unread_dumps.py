"""Dump requests that dada_dbevent has accepted and not read yet.

It reads them one by one and closes a connection when the data are copied, so that waiting is
normal. A request that is not read while its data are in the ring buffer is lost.
"""

from __future__ import annotations

import logging
import socket

from darc.config.records import Struct
from darc.runtime.clock import Instant
from darc.runtime.log import about
from darc.services.dada_trigger.dump_port import was_read

log = logging.getLogger(__name__)

#: Most requests watched; beyond that the oldest ones count as lost.
MAX_WATCHED = 200


class UnreadRequest(Struct, eq=False):
    """Request that the kernel has accepted, but dada_dbevent has not read.

    :param names: of its dumps in summaries
    :param until: when its data have left the ring buffer
    :param error: error of its connection
    """

    key: str
    names: tuple[str, ...]
    port: int
    connection: socket.socket
    until: Instant
    error: str = ""


class UnreadDumps:
    """Watch of these connections, which are closed when this process exits."""

    def __init__(self) -> None:
        self._watched: list[UnreadRequest] = []

    def add(self, unread: UnreadRequest) -> None:
        """Watch a request that dada_dbevent has accepted."""
        self._watched.append(unread)

    def forget(self, key: str) -> None:
        """Stop watching the requests of an aborted observation."""
        for one in [one for one in self._watched if one.key == key]:
            self._drop(one)

    def look(self) -> list[UnreadRequest]:
        """Return the requests that were not read in time, since the last call."""
        lost = []
        too_many = max(0, len(self._watched) - MAX_WATCHED)
        for place, one in enumerate(list(self._watched)):
            try:
                if was_read(one.connection, 0.0):
                    with about(one.key):
                        log.info("dada_dbevent (port %d) has read it: %s", one.port, one.names[0])
                    self._drop(one)
                    continue
            except OSError as error:
                one.error = f"the connection was cut: {error}"
            if one.error or one.until.left() < 0 or place < too_many:
                lost.append(one)
                self._drop(one)
        return lost

    def _drop(self, one: UnreadRequest) -> None:
        one.connection.close()
        self._watched.remove(one)
