"""Text of others on pages."""

from __future__ import annotations

from markupsafe import Markup


def shown(value: object) -> object:
    """Remove control characters, including those for the direction of text, from a string."""
    if isinstance(value, str) and not isinstance(value, Markup) and not value.isprintable():
        return "".join(
            letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in value
        )
    return value
