"""The serialiser of the queues: plain types only, so that nothing received can run code.

Registered with :mod:`multiprocessing.managers` as ``serializer="darc"``. Carried are None,
booleans, integers of 64 bits, floats, text, bytes, lists, tuples and dicts.
"""

from __future__ import annotations

import socket
import struct
from multiprocessing import AuthenticationError, connection, managers
from typing import Any

import msgpack

SERIALIZER = "darc"
MAX_MESSAGE_BYTES = 16 * 2**20
#: Tuples within tuples. Each level takes some 40 KB of the C stack: 200 of them end the process.
MAX_TUPLE_DEPTH = 32
_TUPLE = 1
#: Connections that wait to be taken; the system may allow less.
BACKLOG = 1024


def pack(value: object) -> bytes:
    """Encode a plain value; a bytearray or memoryview arrives as bytes.

    :raises TypeError: the value holds something that is not of a plain type, or is nested too deep
    """
    try:
        return _pack(value, 0)
    except (ValueError, OverflowError, RecursionError) as error:
        raise TypeError(f"not a plain value: {error}") from error


def _pack(value: object, depth: int) -> bytes:
    def encode_tuple(part: object) -> msgpack.ExtType:
        if type(part) is not tuple:
            raise TypeError(f"only plain types travel through a queue, not {type(part).__name__}")
        if depth >= MAX_TUPLE_DEPTH:
            raise TypeError(f"tuples within tuples, more than {MAX_TUPLE_DEPTH} deep")
        return msgpack.ExtType(_TUPLE, _pack(list(part), depth + 1))

    data: bytes = msgpack.packb(value, default=encode_tuple, strict_types=True)
    return data


def unpack(data: bytes) -> Any:
    """Decode what :func:`pack` made.

    :raises ValueError: the bytes are not a packed plain value
    """
    try:
        return _unpack(data, 0)
    except (ValueError, msgpack.UnpackException, RecursionError, TypeError) as error:
        raise ValueError(f"not a packed plain value: {error}") from error


def _unpack(data: bytes, depth: int) -> Any:
    def decode_tuple(code: int, part: bytes) -> object:
        if code != _TUPLE:
            raise ValueError(f"unknown extension type {code}")
        if depth >= MAX_TUPLE_DEPTH:
            raise ValueError(f"tuples within tuples, more than {MAX_TUPLE_DEPTH} deep")
        return tuple(_unpack(part, depth + 1))

    return msgpack.unpackb(data, ext_hook=decode_tuple, strict_map_key=False)


class PlainConnection:
    """A :class:`multiprocessing.connection.Connection` that sends and receives plain values."""

    def __init__(self, raw: connection.Connection[Any, Any]) -> None:
        self._raw = raw

    def send(self, value: object) -> None:
        """Send a plain value.

        :raises ValueError: the value is larger than ``MAX_MESSAGE_BYTES``
        """
        data = pack(value)
        if len(data) > MAX_MESSAGE_BYTES:
            raise ValueError(f"message of {len(data)} bytes, the limit is {MAX_MESSAGE_BYTES}")
        self._raw.send_bytes(data)

    def recv(self) -> Any:
        """Receive a plain value.

        :raises EOFError: the other side is gone
        :raises OSError: the connection broke, or the message is larger than the limit
        :raises ValueError: what came is no packed plain value
        """
        return unpack(self._raw.recv_bytes(MAX_MESSAGE_BYTES))

    def prove(self, key: bytes) -> None:
        """Have the other side prove the key, and prove it too; the listener's part.

        :raises AuthenticationError: it has another key
        :raises AssertionError, ValueError, EOFError, OSError: it says something else
        """
        connection.deliver_challenge(self._raw, key)
        connection.answer_challenge(self._raw, key)

    # What the handshake of multiprocessing needs, and no more.
    def send_bytes(self, data: bytes) -> None:
        self._raw.send_bytes(data)

    def recv_bytes(self, maxlength: int | None = None) -> bytes:
        return self._raw.recv_bytes(maxlength)

    def poll(self, timeout: float | None = 0.0) -> bool:
        return self._raw.poll(timeout)

    def fileno(self) -> int:
        return self._raw.fileno()

    def close(self) -> None:
        self._raw.close()


class PlainListener(connection.Listener):
    """A listener whose connections carry plain values."""

    def __init__(self, address: Any, family: str | None = None, backlog: int = 1) -> None:
        # What finds no room in a queue of 16, as the manager's server wants, comes a second late:
        # the workers of a cluster that come back at once.
        super().__init__(address, family, max(backlog, BACKLOG))

    def accept(self) -> PlainConnection:  # type: ignore[override]
        return PlainConnection(super().accept())


def plain_client(
    address: Any, authkey: bytes | None = None, timeout: float | None = None
) -> PlainConnection:
    """Connect to a :class:`PlainListener`, proving the key where one is given.

    :param address: path of a Unix socket, or (host, port)
    :param timeout: s to connect, and for each part that is sent or received; None: no limit
    :raises OSError: nobody is there, or does not answer in time
    :raises AuthenticationError: the key is not the other side's
    """
    if not isinstance(address, tuple):
        return PlainConnection(connection.Client(str(address), authkey=authkey))
    joined = socket.create_connection(address, timeout)
    try:
        joined.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        joined.setblocking(True)
        if timeout is not None:
            limit = struct.pack("ll", int(timeout), int(timeout % 1 * 1e6))
            joined.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            joined.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    except BaseException:
        joined.close()
        raise
    raw: connection.Connection[Any, Any] = connection.Connection(joined.detach())
    try:
        if authkey is not None:
            connection.answer_challenge(raw, authkey)
            connection.deliver_challenge(raw, authkey)
    except BaseException as error:
        raw.close()
        if isinstance(error, AssertionError | ValueError):  # the other side speaks otherwise
            raise AuthenticationError(str(error) or "no challenge") from error
        raise
    return PlainConnection(raw)


# The documented extension point does not exist; this table is what BaseManager(serializer=…) reads.
managers.listener_client[SERIALIZER] = (PlainListener, plain_client)  # type: ignore[attr-defined]
