"""IVOA identifiers of VOEvent streams and authors."""

from __future__ import annotations

import re

#: IVOA Identifiers 2.0, without query and fragment, as the Comet broker accepts them.
_IVOID = re.compile(r"(?:ivo://)?[A-Za-z0-9][\w.!~*'()-]{2,}(?:/[\w.!~*'()-]+)*", re.ASCII)

ALLOWED = "<authority>/<path>, the authority of at least three characters, with or without ivo://"


def is_ivoid(text: str) -> bool:
    """Whether a broker accepts `text` as an identifier."""
    return _IVOID.fullmatch(text) is not None
