"""Client of dada_dbevent on this node."""

from __future__ import annotations

import os
import socket
import time
from typing import Any

from darc.config.records import Struct
from darc.runtime.tcp_client import connect_tcp

#: Text would be encoded by idna, an import of 1 ms with the first request.
HOST: Any = b"127.0.0.1"
# Wait for a request to be read; short, as the next request must not be delayed (s).
READ_SECONDS = 0.5


class SentRequest(Struct, frozen=True):
    """Request that was sent.

    :param sent: Unix s
    :param unread: the connection, where dada_dbevent has not read the request yet
    """

    sent: float
    unread: socket.socket | None


def request_dump(port: int, text: str) -> SentRequest:
    """Send a request: one connection, which dada_dbevent closes when it has read it.

    :param text: see :mod:`darc.services.dada_trigger.dump_request`
    :raises OSError: the request was not accepted
    """
    connection = connect_tcp((HOST, port), READ_SECONDS)
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
    """Whether the peer closes within this time (s), as it does when it has read everything.

    :raises OSError: it closed before it had read everything
    """
    deadline = time.monotonic() + within
    left = within
    while True:
        connection.settimeout(left)
        try:
            data = connection.recv(4096)  # an answer would have no meaning
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
