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
class HandedIn:
    """A request that has left.

    :param sent: Unix s
    :param read: dada_dbevent has read it and closed; if not, it still may
    """

    sent: float
    read: bool


def request_dump(port: int, text: str) -> HandedIn:
    """Hand in a request: one connection, which is closed behind it.

    :raises OSError: it was not taken
    """
    with socket.create_connection((HOST, port), timeout=READ_SECONDS) as connection:
        connection.sendall(text.encode("ascii"))
        connection.shutdown(socket.SHUT_WR)
        return HandedIn(time.time(), _is_read(connection))


def _is_read(connection: socket.socket) -> bool:
    """Whether the peer closes soon: it does when it has read to the end."""
    deadline = time.monotonic() + READ_SECONDS
    data = b"?"
    while data:
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        connection.settimeout(left)
        try:
            data = connection.recv(4096)  # what it might say concerns nobody
        except TimeoutError:
            return False
    # A peer that closed before it had read leaves an error behind its end-of-file.
    error = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))
    return True
