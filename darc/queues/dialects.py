"""Dialects of queue clients: packed values, pickles or XML, recognised by the first message.

A connection keeps its dialect. Nothing is decoded before the client is authenticated.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Any

from darc.config.records import Struct
from darc.queues.pickle_reader import read_pickle, write_error, write_pickle
from darc.queues.plain_connection import (
    MAX_MESSAGE_BYTES,
    MAX_VALUES,
    PlainConnection,
    decoding_in_turn,
    pack,
    unpack,
)
from darc.queues.request_values import NotPlainError

#: Exceptions that a client receives as such, as from a local queue, with their module.
_ERRORS: dict[type[Exception], tuple[str, str]] = {
    queue.Empty: ("queue", "Empty"),
    queue.Full: ("queue", "Full"),
    TypeError: ("builtins", "TypeError"),
    ValueError: ("builtins", "ValueError"),
}


class Dialect(Struct, frozen=True):
    """Encoding of values.

    :param error: encodes the reply to a request that failed
    :param explains: an unreadable message is answered with the reason; else it ends the connection
    """

    write: Callable[[Any], bytes]
    read: Callable[[bytes], Any]
    error: Callable[[Exception], bytes]
    explains: bool

    def answer(self, value: object) -> bytes:
        """Encode the reply to a successful request.

        :raises ValueError, TypeError: the value cannot be sent
        """
        data = self.write(("#RETURN", value))
        if len(data) > MAX_MESSAGE_BYTES:
            raise ValueError(f"message of {len(data)} bytes, the limit is {MAX_MESSAGE_BYTES}")
        return data


def error_text(error: Exception) -> str:
    """Return `<class>: <message>`, which our own clients parse."""
    return f"{type(error).__name__}: {error}"


def _read_pickle(data: bytes) -> Any:
    with decoding_in_turn(data):
        return read_pickle(data)


# xmlrpc.client brings ssl: 3 MB in each process, for the few that a client in XML comes to.
def _read_xml(data: bytes) -> Any:
    from darc.queues.xml_values import read_xml  # noqa: PLC0415

    with decoding_in_turn(data):
        return read_xml(data)


def _write_xml(value: object) -> bytes:
    from darc.queues.xml_values import write_xml  # noqa: PLC0415

    return write_xml(value)


def _pickled_error(error: Exception) -> bytes:
    for known, (module, name) in _ERRORS.items():
        if isinstance(error, known):
            return write_error(module, name, str(error))
    return write_pickle(("#TRACEBACK", f"{error_text(error)}\n"))  # a line, before the client's own


def _xml_error(error: Exception) -> bytes:
    """Encode an error as text, as XML carries no exceptions: the client raises a RemoteError."""
    known = [place for kind, place in _ERRORS.items() if isinstance(error, kind)]
    name = ".".join(known[0]).removeprefix("builtins.") if known else type(error).__name__
    text = f"{name}: {error}"
    text_sent = "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in text
    )
    return _write_xml(("#TRACEBACK", f"{text_sent}\n"))


PACKED = Dialect(
    pack,
    lambda data: unpack(data, MAX_VALUES),
    lambda error: pack(("#TRACEBACK", error_text(error))),
    explains=False,
)
PICKLE = Dialect(write_pickle, _read_pickle, _pickled_error, explains=True)
XML = Dialect(_write_xml, _read_xml, _xml_error, explains=True)


def dialect_of(message: bytes) -> Dialect:
    """Return the dialect of a first message.

    A pickle starts with its protocol, or a mark in protocol 0. In our packing each of these bytes,
    as the first of XML, is a complete value, which is never a message.
    """
    if len(message) > 1:
        if message[:1] in (b"\x80", b"("):
            return PICKLE
        if message[:1] == b"<":
            return XML
    return PACKED


class ServedConnection(PlainConnection):
    """Server side of a connection, in the dialect of its client.

    A message that only starts like a pickle or XML is answered in our own dialect.
    """

    def __init__(self, accepted: PlainConnection) -> None:
        super().__init__(accepted._raw, MAX_VALUES)
        self._dialect: Dialect | None = None

    @property
    def dialect(self) -> Dialect:
        return self._dialect or PACKED

    def recv(self) -> Any:
        """Receive a plain value.

        :raises EOFError, OSError: the connection is closed, or the message too large
        :raises ValueError: not a plain value
        """
        data = self._raw.recv_bytes(MAX_MESSAGE_BYTES)
        dialect = self._dialect or dialect_of(data)
        try:
            value = dialect.read(data)
        except NotPlainError:
            self._dialect = dialect  # a valid message of this dialect, though refused
            raise
        self._dialect = dialect
        return value

    def send(self, value: object) -> None:
        """Send a plain value, as multiprocessing's own server does."""
        self._raw.send_bytes(self.dialect.write(value))

    def answer(self, value: object) -> None:
        """Reply to a successful request.

        :raises ValueError, TypeError: the value cannot be sent; nothing was sent
        """
        self._raw.send_bytes(self.dialect.answer(value))

    def refuse(self, error: Exception) -> None:
        """Reply to a failed request."""
        self._raw.send_bytes(self.dialect.error(error))
