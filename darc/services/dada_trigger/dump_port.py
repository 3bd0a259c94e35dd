"""The port of dada_dbevent on this node."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass

HOST = "127.0.0.1"
# Whether a request was read is worth knowing, but the next one must not wait for it.
READ_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class SentRequest:
    """A request that has left.

    :param sent: Unix s
    :param unread: the connection, where dada_dbevent has not read it yet; it still may
    """

    sent: float
    unread: socket.socket | None

    @property
    def read(self) -> bool:
        """Whether dada_dbevent has read it and closed."""
        return self.unread is None


def request_dump(port: int, text: str) -> SentRequest:
    """Hand in a request: one connection, which is closed once it was read.

    :raises OSError: it was not taken
    """
    connection = socket.create_connection((HOST, port), timeout=READ_SECONDS)
    try:
        connection.sendall(text.encode("ascii"))
        connection.shutdown(socket.SHUT_WR)
        sent = time.time()
        is_read = was_read(connection, READ_SECONDS)
    except OSError:
        connection.close()
        raise
    if is_read:
        connection.close()
    return SentRequest(sent, None if is_read else connection)


def was_read(connection: socket.socket, within: float) -> bool:
    """Whether the peer has closed by then (s): it does when it has read to the end.

    :raises OSError: it closed before it had read
    """
    deadline = time.monotonic() + within
    left = within
    while True:
        connection.settimeout(left)
        try:
            data = connection.recv(4096)  # what it might say concerns nobody
        except (TimeoutError, BlockingIOError):
            return False
        if not data:
            break
        left = deadline - time.monotonic()
        if left <= 0:
            return False
    # A peer that closed before it had read leaves an error behind its end-of-file.
    error = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))
    return True
