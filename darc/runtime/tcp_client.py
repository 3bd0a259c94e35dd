"""TCP connections to addresses that may be of this host."""

from __future__ import annotations

import errno
import os
import socket

# Not typing's, which would cost every command a tenth of its time.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def connect_tcp(address: tuple[Any, int], timeout: float | None) -> socket.socket:
    """Connect to a host and port, as :func:`socket.create_connection`.

    :param timeout: s; None: no limit
    :raises OSError: the peer is unreachable, or does not answer in time
    """
    connection = socket.create_connection(address, timeout)
    refuse_self(connection)
    return connection


def refuse_self(connection: socket.socket) -> None:
    """Close a connection whose peer is itself.

    A client gets any port of Linux's ephemeral range as its own. Where it is the one that it
    connects to, and nobody listens there, TCP connects it with itself (simultaneous open). While
    such a socket is open, and for a minute after an orderly close, no server can bind the port.

    :raises ConnectionRefusedError: it was, so nobody listens
    """
    if connection.getsockname() != connection.getpeername():
        return
    import struct  # noqa: PLC0415 - rarely needed, and commands are to be light

    # Closed by a reset: no TIME_WAIT.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
