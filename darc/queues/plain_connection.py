"""Serialiser of the queues: plain types only, so that received data cannot run code.

What :mod:`multiprocessing.managers` knows as ``serializer="darc"`` (:mod:`darc.queues.manager`). It
supports None, booleans, integers of 64 bits, floats, text, bytes, lists, tuples and dicts.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import AuthenticationError, connection
from typing import Any

import msgpack

from darc.runtime.tcp_client import connect_tcp

SERIALIZER = "darc"
MAX_MESSAGE_BYTES = 16 * 2**20
#: Nested tuples. Each level takes some 40 KB of the C stack: 200 of them crash the process.
MAX_TUPLE_DEPTH = 32
#: Most values in a request; a list, tuple or dict counts as five, plus its items.
MAX_VALUES = 1_000_000
_CONTAINER = 4
_TUPLE = 1
_SMALL = 2**18  # bytes: so few need no check
_PAUSE_VALUES = 20_000  # values: some ms
_MAX_COPIED_BYTES = 4 * MAX_MESSAGE_BYTES  # bytes, for nested tuples
_decoding = threading.Lock()
#: msgpack types from 0xC0 on: size of the header, how many of its bytes are a length, and whether
#: it is a list or dict.
_HEADS = {
    **dict.fromkeys((0xC0, 0xC1, 0xC2, 0xC3), (1, 0, False)),
    **{head: (1 + digits, digits, False) for head, digits in ((0xC4, 1), (0xC5, 2), (0xC6, 4))},
    **{head: (2 + digits, digits, False) for head, digits in ((0xC7, 1), (0xC8, 2), (0xC9, 4))},
    0xCA: (5, 0, False),
    0xCB: (9, 0, False),
    **{first + step: (1 + 2**step, 0, False) for first in (0xCC, 0xD0) for step in range(4)},
    **dict.fromkeys(range(0xD4, 0xD9), (2, 0, False)),
    **{head: (1 + digits, digits, False) for head, digits in ((0xD9, 1), (0xDA, 2), (0xDB, 4))},
    **{
        head: (1 + digits, digits, True)
        for first in (0xDC, 0xDE)
        for head, digits in ((first, 2), (first + 1, 4))
    },
}
_EXTENSIONS = frozenset((0xC7, 0xC8, 0xC9, *range(0xD4, 0xD9)))
#: Backlog of pending connections; the system may allow less.
BACKLOG = 1024


def pack(value: object) -> bytes:
    """Encode a plain value; a bytearray or memoryview arrives as bytes.

    :raises TypeError: the value contains other than plain types, or is nested too deeply
    """
    try:
        return _pack(value, 0)
    except (ValueError, OverflowError, RecursionError) as error:
        raise TypeError(f"not a plain value: {error}") from error


def _pack(value: object, depth: int) -> bytes:
    def encode_tuple(part: object) -> msgpack.ExtType:
        if type(part) is not tuple:
            raise TypeError(f"queues carry only plain types, not {type(part).__name__}")
        if depth >= MAX_TUPLE_DEPTH:
            raise TypeError(f"tuples nested more than {MAX_TUPLE_DEPTH} deep")
        return msgpack.ExtType(_TUPLE, _pack(list(part), depth + 1))

    data: bytes = msgpack.packb(value, default=encode_tuple, strict_types=True)
    return data


def unpack(data: bytes, max_values: int | None = MAX_VALUES) -> Any:
    """Decode the output of :func:`pack`.

    :param max_values: most values to decode; None: no limit, for a trusted sender
    :raises ValueError: the bytes are not a packed plain value, or contain too many values
    """
    try:
        if max_values is None or len(data) <= _SMALL:
            return _unpack(data, 0)
        with decoding_in_turn(data):
            _check_values(data, max_values)
            return _unpack(data, 0)
    except (ValueError, msgpack.UnpackException, RecursionError, TypeError) as error:
        raise ValueError(f"not a packed plain value: {error}") from error


@contextmanager
def decoding_in_turn(data: bytes) -> Iterator[None]:
    """Decode large messages one at a time, to bound the memory."""
    if len(data) <= _SMALL:
        yield
        return
    with _decoding:
        yield


def _unpack(data: bytes, depth: int) -> Any:
    def decode_tuple(code: int, part: bytes) -> object:
        if code != _TUPLE:
            raise ValueError(f"unknown extension type {code}")
        if depth >= MAX_TUPLE_DEPTH:
            raise ValueError(f"tuples nested more than {MAX_TUPLE_DEPTH} deep")
        return tuple(_unpack(part, depth + 1))

    return msgpack.unpackb(data, ext_hook=decode_tuple, strict_map_key=False)


def _check_values(data: bytes, most: int) -> None:
    """Count the values in packed bytes before decoding them.

    One byte may be an empty dict of 64 bytes. Decoding millions of them cannot be interrupted, and
    would block other clients; this slower loop can be interrupted.

    :raises ValueError: too many values
    """
    place, values, inside, pause = 0, 0, 0, _PAUSE_VALUES
    while place < len(data):
        head = data[place]
        values += 1
        if head < 0x80 or head >= 0xE0:  # a small number
            place += 1
        elif head < 0xA0:  # a short dict or list
            values += _CONTAINER
            place += 1
        elif head < 0xC0:  # a short text
            place += 1 + head - 0xA0
        else:
            size, digits, is_container = _HEADS[head]
            length = int.from_bytes(data[place + 1 : place + 1 + digits], "big")
            place += size
            if is_container:
                values += _CONTAINER
            elif head in _EXTENSIONS:  # its content is counted and copied, too
                inside += length or size
            else:
                place += length
        if values > pause:
            time.sleep(0.001)  # let other threads run
            pause = values + _PAUSE_VALUES
        if values > most or inside > _MAX_COPIED_BYTES:
            raise ValueError(f"more than {most} values")


class PlainConnection:
    """A :class:`multiprocessing.connection.Connection` that sends and receives plain values.

    :param max_values: most values in a received message; None: no limit, for a trusted server
    """

    def __init__(self, raw: connection.Connection[Any, Any], max_values: int | None = None) -> None:
        self._raw = raw
        self._max_values = max_values

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

        :raises EOFError: the peer has closed the connection
        :raises OSError: the connection broke, or the message is larger than the limit
        :raises ValueError: not a packed plain value
        """
        return unpack(self._raw.recv_bytes(MAX_MESSAGE_BYTES), self._max_values)

    def prove(self, key: bytes) -> None:
        """Authenticate the peer, and then this side; the listener's part of the handshake.

        :raises AuthenticationError: the peer has another key
        :raises AssertionError, ValueError, EOFError, OSError: invalid handshake
        """
        connection.deliver_challenge(self._raw, key)
        connection.answer_challenge(self._raw, key)

    # Methods that the handshake of multiprocessing needs.
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
        # With the backlog of 16 of the manager's server, connections beyond it come a second late,
        # for instance when all workers of a cluster reconnect at once.
        if isinstance(address, tuple) and ":" in address[0]:
            family = "AF_INET6"  # multiprocessing takes every pair for an IPv4 address
        super().__init__(address, family, max(backlog, BACKLOG))

    def accept(self) -> PlainConnection:  # type: ignore[override]
        return PlainConnection(super().accept(), MAX_VALUES)


def plain_client(
    address: Any, authkey: bytes | None = None, timeout: float | None = None
) -> PlainConnection:
    """Connect to a :class:`PlainListener`, and authenticate if a key is given.

    :param address: path of a Unix socket, or (host, port)
    :param timeout: time to connect, and for each part sent or received, s; None: no limit
    :raises OSError: the listener is unreachable, or does not answer in time
    :raises AuthenticationError: the peer has another key
    """
    if not isinstance(address, tuple):
        return PlainConnection(connection.Client(str(address), authkey=authkey))
    joined = connect_tcp(address, timeout)
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
        if isinstance(error, AssertionError | ValueError):  # the peer uses another protocol
            raise AuthenticationError(str(error) or "no challenge") from error
        raise
    return PlainConnection(raw)
