"""Plain values in XML-RPC, for clients with ``serializer='xmlrpclib'``.

XML-RPC has no tuples (they become lists), and only text as keys. Python's own client sends integers
of 32 bits at most.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any
from xml.parsers import expat
from xmlrpc.client import Error, Unmarshaller

from darc.queues.request_values import MAX_DEPTH, NotPlainError, SizeBudget, check_request, refuse

#: The parser rescans an unfinished token with each piece, which blocks other clients.
MAX_XML_BYTES = 4 * 2**20
_PIECE = 2**19
#: Characters that XML cannot contain, or that change in transit.
_UNTOLD = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def read_xml(data: bytes) -> Any:
    """Return the plain value of an XML-RPC message.

    :raises NotPlainError: the value is too large, or not plain
    :raises ValueError: the bytes are not such a message
    """
    if len(data) > MAX_XML_BYTES:
        raise NotPlainError(f"XML of more than {MAX_XML_BYTES} bytes; a pickle may be larger")
    reader = _Reader()
    parser = expat.ParserCreate("utf-8")  # whatever encoding it declares
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.data
    parser.StartDoctypeDeclHandler = _refuse_doctype
    reader.xml(None, None)  # type: ignore[arg-type]  # text comes decoded
    try:
        for place in range(0, len(data), _PIECE):
            parser.Parse(data[place : place + _PIECE], False)
        parser.Parse(b"", True)
        (value,) = reader.close()
    except NotPlainError:
        raise
    # Errors of the parser and the reader for invalid messages.
    except (expat.ExpatError, Error, LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise ValueError(f"not a value in XML: {type(error).__name__}: {error}") from error
    check_request(value)
    return value


def write_xml(value: object) -> bytes:
    """Return an XML-RPC message with one plain value.

    :raises TypeError: XML cannot represent the value
    """
    return b"".join((b"<params><param>", *_value(value), b"</param></params>"))


class _Reader(Unmarshaller):
    """Unmarshaller with limits on the number of values and on their depth."""

    def __init__(self) -> None:
        super().__init__(use_builtin_types=True)
        self._elements = SizeBudget()
        self._depth = 0

    def start(self, tag: str, attrs: dict[str, str]) -> None:
        self._elements.spend(1)
        self._depth += 1
        if self._depth > 4 * MAX_DEPTH + 4:  # <value><struct><member><value>
            raise NotPlainError(f"nested more than {MAX_DEPTH} deep")
        super().start(tag, attrs)

    def end(self, tag: str) -> None:
        self._depth -= 1
        super().end(tag)


def _refuse_doctype(*_: object) -> None:
    raise NotPlainError("XML with a document type, which could name files and define entities")


def _value(value: Any) -> Iterator[bytes]:
    yield b"<value>"
    if value is None:
        yield b"<nil/>"
    elif value is True or value is False:
        yield b"<boolean>%d</boolean>" % value
    elif type(value) is int:
        yield (b"<i4>%d</i4>" if -(2**31) <= value < 2**31 else b"<i8>%d</i8>") % value
    elif type(value) is float:
        yield b"<double>%s</double>" % repr(value).encode()
    elif type(value) is str:
        yield from (b"<string>", _text(value), b"</string>")
    elif type(value) is bytes:
        yield from (b"<base64>", base64.b64encode(value), b"</base64>")
    elif type(value) in (list, tuple):
        yield b"<array><data>"
        for part in value:
            yield from _value(part)
        yield b"</data></array>"
    elif type(value) is dict:
        yield b"<struct>"
        for key, part in value.items():
            if type(key) is not str:
                raise TypeError(f"XML allows only text as keys, not {key!r:.60}; use pickle")
            yield from (b"<member><name>", _text(key), b"</name>")
            yield from _value(part)
            yield b"</member>"
        yield b"</struct>"
    else:
        raise refuse(f"a {type(value).__name__}")
    yield b"</value>"


def _text(text: str) -> bytes:
    if found := _UNTOLD.search(text):
        raise TypeError(f"XML cannot represent the character {found.group()!a}; use pickle")
    for plain, escaped in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\r", "&#13;")):
        text = text.replace(plain, escaped)
    return text.encode()
