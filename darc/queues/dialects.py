"""In what a client speaks: our packed values, pickles, or XML, as its first message shows.

A connection keeps the dialect it began with. Nothing is read before the key is proven.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from darc.queues.pickle_reader import read_pickle, write_error, write_pickle
from darc.queues.plain_connection import (
    MAX_MESSAGE_BYTES,
    MAX_VALUES,
    PlainConnection,
    pack,
    reading,
    unpack,
)
from darc.queues.request_values import NotPlainError
from darc.queues.xml_values import read_xml, write_xml

#: What raises at a client as it would on a queue of its own; its place in the standard library.
_ERRORS: dict[type[Exception], tuple[str, str]] = {
    queue.Empty: ("queue", "Empty"),
    queue.Full: ("queue", "Full"),
    TypeError: ("builtins", "TypeError"),
    ValueError: ("builtins", "ValueError"),
}


@dataclass(frozen=True, slots=True)
class Dialect:
    """How values are written and read.

    :param error: the answer of a request that failed
    :param explains: a message that cannot be read is answered, too; else it ends the connection
    """

    write: Callable[[Any], bytes]
    read: Callable[[bytes], Any]
    error: Callable[[Exception], bytes]
    explains: bool

    def answer(self, value: object) -> bytes:
        """The answer of a request that was done.

        :raises ValueError, TypeError: it cannot be sent
        """
        data = self.write(("#RETURN", value))
        if len(data) > MAX_MESSAGE_BYTES:
            raise ValueError(f"message of {len(data)} bytes, the limit is {MAX_MESSAGE_BYTES}")
        return data


def named(error: Exception) -> str:
    """What went wrong, with the name of its class; what clients of ours take apart again."""
    return f"{type(error).__name__}: {error}"


def _read_packed(data: bytes) -> Any:
    return unpack(data, MAX_VALUES)


def _read_pickle(data: bytes) -> Any:
    with reading(data):
        return read_pickle(data)


def _read_xml(data: bytes) -> Any:
    with reading(data):
        return read_xml(data)


def _packed_error(error: Exception) -> bytes:
    return pack(("#TRACEBACK", named(error)))


def _pickled_error(error: Exception) -> bytes:
    for known, (module, name) in _ERRORS.items():
        if isinstance(error, known):
            return write_error(module, name, str(error))
    return write_pickle(("#TRACEBACK", f"{named(error)}\n"))  # a line, before the client's own


def _xml_error(error: Exception) -> bytes:
    """No exception travels as XML: the client raises a RemoteError that names it."""
    known = [place for kind, place in _ERRORS.items() if isinstance(error, kind)]
    name = ".".join(known[0]).removeprefix("builtins.") if known else type(error).__name__
    text = f"{name}: {error}"
    told = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)
    return write_xml(("#TRACEBACK", f"{told}\n"))


PACKED = Dialect(pack, _read_packed, _packed_error, explains=False)
PICKLE = Dialect(write_pickle, _read_pickle, _pickled_error, explains=True)
XML = Dialect(write_xml, _read_xml, _xml_error, explains=True)


def dialect_of(message: bytes) -> Dialect:
    """The dialect of a first message.

    A pickle begins with its protocol, and before there were numbers of protocols with a mark; for
    our packer each of these, and what XML begins with, is a whole value of a single byte.
    """
    if len(message) > 1:
        if message[:1] in (b"\x80", b"("):
            return PICKLE
        if message[:1] == b"<":
            return XML
    return PACKED


class ServedConnection(PlainConnection):
    """A server's end of a connection, in the dialect of its client.

    What only begins as a pickle or XML does is no client's of them, and is answered in our own.
    """

    def __init__(self, accepted: PlainConnection) -> None:
        super().__init__(accepted._raw, MAX_VALUES)
        self._dialect: Dialect | None = None

    @property
    def dialect(self) -> Dialect:
        return self._dialect or PACKED

    def recv(self) -> Any:
        """Receive a plain value.

        :raises EOFError, OSError: the other side is gone, or sends too much
        :raises ValueError: what came is no plain value
        """
        data = self._raw.recv_bytes(MAX_MESSAGE_BYTES)
        dialect = self._dialect or dialect_of(data)
        try:
            value = dialect.read(data)
        except NotPlainError:
            self._dialect = dialect  # well said, if refused
            raise
        self._dialect = dialect
        return value

    def send(self, value: object) -> None:
        """Send a plain value; how multiprocessing's own server answers."""
        self._raw.send_bytes(self.dialect.write(value))

    def answer(self, value: object) -> None:
        """Answer a request that was done.

        :raises ValueError, TypeError: the value cannot be sent; nothing was
        """
        self._raw.send_bytes(self.dialect.answer(value))

    def refuse(self, error: Exception) -> None:
        """Answer a request that was not done."""
        self._raw.send_bytes(self.dialect.error(error))
