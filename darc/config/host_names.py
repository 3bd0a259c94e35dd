"""Comparison of host names."""

from __future__ import annotations


def same_host(one: str, other: str) -> bool:
    """Whether two names mean the same host: case and a missing domain are ignored."""
    first, second = one.casefold().rstrip("."), other.casefold().rstrip(".")
    if "." in first and "." in second:
        return first == second
    return first.partition(".")[0] == second.partition(".")[0]
