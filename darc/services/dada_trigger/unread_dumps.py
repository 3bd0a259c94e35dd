"""Requests for dumps that dada_dbevent has taken, and not read yet.

It reads one after the other, and closes a connection when the data are copied, so that to wait is
usual. A request that is not read while the data are in the ring buffer is lost, though it left.
"""

from __future__ import annotations

import logging
import socket
from dataclasses import dataclass

from darc.runtime.clock import Instant
from darc.runtime.log import about
from darc.services.dada_trigger.dump_port import was_read

log = logging.getLogger(__name__)

#: At a time; more are not watched, but counted as lost, the oldest first.
MAX_WATCHED = 200


@dataclass(slots=True, eq=False)
class UnreadRequest:
    """A request that is in the hands of the kernel.

    :param what: names in the books
    :param until: then the data have left the ring buffer
    :param error: how its connection ended
    """

    key: str
    what: tuple[str, ...]
    port: int
    connection: socket.socket
    until: Instant
    error: str = ""


class UnreadDumps:
    """Watches their connections; not over a death of this process, which closes them."""

    def __init__(self) -> None:
        self._watched: list[UnreadRequest] = []

    def add(self, unread: UnreadRequest) -> None:
        self._watched.append(unread)

    def forget(self, key: str) -> None:
        """An observation was aborted: nobody asks any more."""
        for one in [one for one in self._watched if one.key == key]:
            self._drop(one)

    def look(self) -> list[UnreadRequest]:
        """Those that were not read in time, since the last call."""
        lost = []
        too_many = max(0, len(self._watched) - MAX_WATCHED)
        for place, one in enumerate(list(self._watched)):
            try:
                if was_read(one.connection, 0.0):
                    with about(one.key):
                        log.info("dada_dbevent (port %d) has read it: %s", one.port, one.what[0])
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
