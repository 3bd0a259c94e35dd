"""VOEvents as XML: elements, validation by the schema of VOEvent 2.0, reading and writing.

Elements are lxml's. The schema is the IVOA's own (VOEvent-v2.0.xsd, beside this module).
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any
from xml.parsers import expat

from lxml import etree

_NAMESPACE = "http://www.ivoa.net/xml/VOEvent/v2.0"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_SCHEMA_FILE = "VOEvent-v2.0.xsd"


def new_event(ivorn: str, role: str) -> Any:
    """Return the root of an empty VOEvent."""
    event = etree.Element(
        etree.QName(_NAMESPACE, "VOEvent"), nsmap={"xsi": _XSI, "voe": _NAMESPACE}
    )
    event.set(
        f"{{{_XSI}}}schemaLocation", f"{_NAMESPACE} http://www.ivoa.net/xml/VOEvent/{_SCHEMA_FILE}"
    )
    event.set("version", "2.0")
    event.set("role", role)
    event.set("ivorn", ivorn)
    return event


def add(parent: Any, tag: str, text: str | None = None, **attributes: str | None) -> Any:
    """Add an element at the end of another, and return it.

    :param attributes: attributes in order; None is left out
    :raises ValueError: the text or an attribute contains characters not allowed in XML
    """
    element = etree.SubElement(parent, tag)
    for name, value in attributes.items():
        if value is not None:
            element.set(name, value)
    element.text = text
    return element


def check(event: Any) -> None:
    """Validate a VOEvent against the schema; to be used by one thread at a time.

    :raises ValueError: invalid; the message says where and why
    """
    try:
        schema = _schema()
        is_valid = schema.validate(event)
    except etree.XMLSchemaError:
        # An error of libxml2 itself, of which a schema that is broken has one for each event. It
        # has been seen once, after two threads had made the schema at the same time.
        _schema.cache_clear()
        schema = _schema()
        is_valid = schema.validate(event)
    if not is_valid:
        raise ValueError(f"not a VOEvent: {schema.error_log.last_error}")


def to_bytes(event: Any) -> bytes:
    """Return the document: UTF-8, indented."""
    xml: bytes = etree.tostring(event, pretty_print=True, xml_declaration=True, encoding="UTF-8")
    return xml


def read(message: bytes) -> Any:
    """Read a VOEvent, or another message of its protocol, and return the root.

    External resources and entities are never loaded or expanded: a document type, which could
    declare entities, is refused, and what follows it is not read.

    :raises ValueError: not XML, or with a document type
    """
    # lxml expands entities in attributes in any case: this parser refuses them first.
    guard = expat.ParserCreate()
    guard.StartDoctypeDeclHandler = _refuse_doctype
    try:
        guard.Parse(message, True)
        return etree.fromstring(message, etree.XMLParser(resolve_entities=False, no_network=True))
    except (expat.ExpatError, etree.XMLSyntaxError, LookupError) as error:
        raise ValueError(f"not XML: {error}") from error


def _refuse_doctype(*_: object) -> None:
    raise ValueError("a document type is not allowed in a VOEvent; not read")


@cache
def _schema() -> Any:
    text = files("darc.model").joinpath(_SCHEMA_FILE).read_bytes()
    return etree.XMLSchema(etree.fromstring(text))
