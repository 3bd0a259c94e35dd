"""VOEvents as somebody else reads them: not with what made them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import comet
from lxml import etree, objectify
from nodes import wait_for

#: voevent-parse's only release cannot be built for later Pythons.
HAS_VOEVENT_PARSE = find_spec("voeventparse") is not None
NO_VOEVENT_PARSE = "voevent-parse cannot be built for Python 3.12 and later"
_SCHEMA = etree.XMLSchema(
    etree.parse(Path(comet.__file__).with_name("schema") / "VOEvent-v2.0.xsd")
)


def read_event(event: bytes) -> Any:
    """Read an event that is valid by Comet's copy of the schema; children are its attributes.

    :raises lxml.etree.DocumentInvalid: it is not valid
    """
    parsed = objectify.fromstring(event)
    _SCHEMA.assertValid(parsed)
    # Children are looked for in the namespace of their parent, and are in none.
    parsed.tag = "VOEvent"
    return parsed


def kept_copy(directory: Path, name: str) -> bytes:
    """Return the copy of an event once it is there: it is written beside the sending."""
    path = directory / name
    wait_for(path.exists, 20.0, str(path))
    return path.read_bytes()


def params(event: Any) -> dict[str, dict[str, Any]]:
    """Return its parameters by group and name."""
    return {
        group.get("name"): {param.get("name"): param for param in group.Param}
        for group in event.What.Group
    }
