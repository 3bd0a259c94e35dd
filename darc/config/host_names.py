"""Names of hosts: of the same host there are several."""

from __future__ import annotations


def same_host(one: str, other: str) -> bool:
    """Whether two names are of one host: in any letters, with its domain or without it."""
    first, second = one.casefold().rstrip("."), other.casefold().rstrip(".")
    if "." in first and "." in second:
        return first == second
    return first.partition(".")[0] == second.partition(".")[0]
