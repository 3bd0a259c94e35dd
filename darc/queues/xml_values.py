"""Plain values as XML-RPC spells them, for clients with ``serializer='xmlrpclib'``.

XML knows no tuples (they become lists), and no keys but text. Python's own client sends integers of
32 bits at most.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any
from xml.parsers import expat
from xmlrpc.client import Error, Unmarshaller

from darc.queues.request_values import MAX_DEPTH, NotPlainError, SizeBudget, check_request, refuse

#: Its parser looks at what has no end again with each piece, and nobody else is served meanwhile.
MAX_XML_BYTES = 4 * 2**20
_PIECE = 2**19
#: What no XML holds, and what would come out as something else.
_UNTOLD = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def read_xml(data: bytes) -> Any:
    """The plain value of an XML-RPC message with one.

    :raises NotPlainError: it is too much, or something else
    :raises ValueError: the bytes are no such message
    """
    if len(data) > MAX_XML_BYTES:
        raise NotPlainError(f"XML of more than {MAX_XML_BYTES} bytes; a pickle may be larger")
    reader = _Reader()
    parser = expat.ParserCreate("utf-8")  # whatever it says that it is
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
    # What its parts raise for what is out of place.
    except (expat.ExpatError, Error, LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise ValueError(f"not a value in XML: {type(error).__name__}: {error}") from error
    check_request(value)
    return value


def write_xml(value: object) -> bytes:
    """An XML-RPC message with one plain value.

    :raises TypeError: XML cannot tell it
    """
    return b"".join((b"<params><param>", *_value(value), b"</param></params>"))


class _Reader(Unmarshaller):
    """With an end to how much there may be, and how deep in each other."""

    def __init__(self) -> None:
        super().__init__(use_builtin_types=True)
        self._elements = SizeBudget()
        self._depth = 0

    def start(self, tag: str, attrs: dict[str, str]) -> None:
        self._elements.spend(1)
        self._depth += 1
        if self._depth > 4 * MAX_DEPTH + 4:  # <value><struct><member><value>
            raise NotPlainError(f"more than {MAX_DEPTH} deep in each other")
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
                raise TypeError(f"XML has no keys but text, and not {key!r:.60}; use pickle")
            yield from (b"<member><name>", _text(key), b"</name>")
            yield from _value(part)
            yield b"</member>"
        yield b"</struct>"
    else:
        raise refuse(f"a {type(value).__name__}")
    yield b"</value>"


def _text(text: str) -> bytes:
    if found := _UNTOLD.search(text):
        raise TypeError(f"XML cannot tell the character {found.group()!a}; use pickle")
    for plain, told in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\r", "&#13;")):
        text = text.replace(plain, told)
    return text.encode()
