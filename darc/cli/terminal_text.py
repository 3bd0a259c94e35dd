"""Times, sizes and texts for the terminal."""

from __future__ import annotations

import difflib
import time
from collections.abc import Iterable

from darc.runtime.log import printable


def shown(text: str) -> str:
    """Return text on one line, with control characters escaped."""
    return printable(" ".join(text.expandtabs(1).splitlines()))


def span(seconds: float) -> str:
    """Return a duration (s) in at most five characters: ``42s``, ``12m``, ``3h08``, ``12d``."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m"
    if whole < 10 * 3600:
        return f"{whole // 3600}h{whole // 60 % 60:02d}"
    if whole < 2 * 86400:
        return f"{whole // 3600}h"
    return f"{whole // 86400}d"


def size(n_bytes: float) -> str:
    """Return a size (bytes) in at most five characters: ``812M``, ``1.2G``."""
    for unit in "BKMGT":
        if n_bytes < 999.5 or unit == "T":
            break
        n_bytes /= 1024
    return f"{n_bytes:.0f}{unit}" if n_bytes >= 10 or unit == "B" else f"{n_bytes:.1f}{unit}"


def count(number: int) -> str:
    """Return a number in at most five characters: ``99999``, ``123k``, ``4M``."""
    for unit, scale in (("", 1), ("k", 10**3), ("M", 10**6)):
        if number < 100_000 * scale or unit == "M":
            break
    return f"{number // scale}{unit}"


def clock(moment: float) -> str:
    """Return the time of day of a Unix time, UTC."""
    return time.strftime("%H:%M:%S", time.gmtime(moment))


def utc(moment: float) -> str:
    """Return date and time of a Unix time, UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(moment))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a suggestion for an unknown word; empty if it is known, or nothing is similar."""
    names = list(dict.fromkeys(known))
    near = difflib.get_close_matches(word.lower(), names, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near and word not in names else ""
