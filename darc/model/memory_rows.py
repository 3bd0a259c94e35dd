"""Rows of a service's memory: values of one kind, under keys that begin alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

V = TypeVar("V")


def rows_under(memory: Mapping[str, V], prefix: str) -> dict[str, V]:
    """Return the values whose keys begin with a prefix, by the rest of the key."""
    return {
        key.removeprefix(prefix): value for key, value in memory.items() if key.startswith(prefix)
    }
