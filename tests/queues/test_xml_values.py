"""XML of plain values, and nothing else; the standard library's client and this reader agree."""

from __future__ import annotations

import contextlib
import time
import xmlrpc.client
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nodes import patience
from test_plain import exact

from darc.queues.plain_connection import MAX_VALUES
from darc.queues.request_values import MAX_DEPTH, NotPlainError, check_request
from darc.queues.xml_values import MAX_XML_BYTES, read_xml, write_xml

text = st.text(st.characters(exclude_categories=("Cs",)))
told = text.filter(lambda one: all(ord(c) >= 32 or c in "\t\n\r" for c in one)).filter(
    lambda one: not set(one) & {"\ufffe", "\uffff"}
)
leaves = (
    st.none() | st.booleans() | st.integers(-(2**31), 2**31 - 1)
    | st.floats(allow_nan=False) | told | st.binary()
)  # fmt: skip
values = st.recursive(
    leaves, lambda inner: st.lists(inner) | st.dictionaries(told, inner, max_size=4), max_leaves=15
)


def by_client(value: object) -> bytes:
    """As multiprocessing.connection makes it."""
    return xmlrpc.client.dumps((value,), allow_none=True).encode()


def at_client(data: bytes) -> Any:
    ((value,), _) = xmlrpc.client.loads(data.decode(), use_builtin_types=True)
    return value


def without_returns(value: Any) -> Any:
    """XML makes other ends of lines of them, where they are not written as numbers."""
    if type(value) is list:
        return [without_returns(part) for part in value]
    if type(value) is dict:
        return {without_returns(key): without_returns(part) for key, part in value.items()}
    return value.replace("\r\n", "\n").replace("\r", "\n") if type(value) is str else value


@given(values)
def test_what_a_client_writes_is_read(value: Any) -> None:
    assert exact(read_xml(by_client(value))) == exact(without_returns(value))


@given(values)
def test_a_client_reads_what_is_written(value: Any) -> None:
    assert exact(at_client(write_xml(value))) == exact(value)
    assert exact(read_xml(write_xml(value))) == exact(value)


def test_large_integers_and_tuples_are_written() -> None:
    assert at_client(write_xml((2**63 - 1, -(2**63), 2**64 - 1))) == [
        2**63 - 1, -(2**63), 2**64 - 1
    ]  # fmt: skip


@pytest.mark.parametrize("value", [{1: 2}, "a\0b", "\ud800", {"\x1b": 1}, {1, 2}, "\uffff"])
def test_what_xml_cannot_tell_is_refused(value: object) -> None:
    with pytest.raises((TypeError, ValueError), match=r"XML|queues carry"):
        write_xml([value])


def one(inside: bytes) -> bytes:
    return b"<params><param><value>%s</value></param></params>" % inside


ENTITIES = b'<!DOCTYPE p [<!ENTITY a "xx"><!ENTITY b "&a;&a;&a;&a;">]>' + one(b"&b;")
FILE = b'<!DOCTYPE p [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + one(b"&a;")
REFUSED = {
    "nothing": b"",
    "no XML": b"<",
    "no value": b"<params/>",
    "two values": b"<params><param><value/></param><param><value/></param></params>",
    "entities": ENTITIES,
    "a file": FILE,
    "a time": one(b"<dateTime.iso8601>20260101T00:00:00</dateTime.iso8601>"),
    "a decimal": one(b"<bigdecimal>1</bigdecimal>"),
    "no decimal": one(b"<bigdecimal>x</bigdecimal>"),
    "no integer": one(b"<int>x</int>"),
    "an integer of many digits": one(b"<int>%s</int>" % (b"9" * 5000)),
    "a large integer": one(b"<int>%d</int>" % 2**64),
    "no boolean": one(b"<boolean>2</boolean>"),
    "no base64": one(b"<base64>x</base64>"),
    "a fault": b"<fault><value><struct/></value></fault>",
    "a fault of text": b"<fault><value><string>x</string></value></fault>",
    "a list as a key": one(b"<struct><member><name><array/></name><value/></member></struct>"),
    "a key alone": one(b"<struct><member><name>x</name></member></struct>"),
    "unknown": one(b"<object>os.system</object>"),
    "ends that never began": b"</array>",
    "too deep": one(b"<array><data><value>" * (MAX_DEPTH + 2)),
    "much too deep": b"<value>" * 10**6,
    "a declared encoding": b'<?xml version="1.0" encoding="utf-7"?>' + one(b"\xff"),
    "too much": b"<!--" + b"x" * MAX_XML_BYTES,
    "many elements": b"<x>" + b"<a/>" * (MAX_VALUES + 1),
    "a long remark": b"<!--" + b"x" * (MAX_XML_BYTES - 4),
    "many attributes": b"<a " + b"".join(b'a%d="" ' % n for n in range(300_000)),
    "an open end": one(b"<array>")[:-20],
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_everything_else_is_refused(data: bytes) -> None:
    began = time.monotonic()
    with pytest.raises(ValueError, match=r"XML|queues carry|deep|argument|values"):
        read_xml(data)
    assert time.monotonic() - began < patience(20)


def test_entities_are_refused_before_they_are_anything() -> None:
    for data in (ENTITIES, FILE):
        with pytest.raises(NotPlainError, match="XML with a document type"):
            read_xml(data)


_TAGS = (
    *("params", "param", "value", "array", "data", "struct", "member", "name", "int", "i8"),
    *("string", "boolean", "double", "base64", "nil", "fault", "methodName", "bigdecimal", "x"),
)
_PIECES = st.sampled_from([f"<{tag}>" for tag in _TAGS] + [f"</{tag}>" for tag in _TAGS])


@given(st.lists(_PIECES | text, max_size=40))
def test_any_elements_are_a_plain_value_or_refused(pieces: list[str]) -> None:
    with contextlib.suppress(ValueError):
        check_request(read_xml("".join(pieces).encode(errors="replace")))


@given(values, st.lists(st.tuples(st.integers(0, 10**6), st.binary(max_size=4)), max_size=4))
def test_changed_xml_is_a_plain_value_or_refused(
    value: Any, changes: list[tuple[int, bytes]]
) -> None:
    data = by_client(value)
    for far, piece in changes:
        place = far % (len(data) + 1)
        data = data[:place] + piece + data[place + len(piece) :]
    with contextlib.suppress(ValueError):
        check_request(read_xml(data))
