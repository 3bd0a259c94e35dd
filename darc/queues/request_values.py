"""Limits of a client's request: plain values, of bounded number, size and depth.

Pickle and XML allow more than that, and a pickle may refer to one value many times, which becomes
many values on disk. So the whole request is checked before it is handled.
"""

from __future__ import annotations

import time
from typing import Any

from darc.queues.plain_connection import MAX_MESSAGE_BYTES, MAX_VALUES

#: Nested lists, tuples and dicts.
MAX_DEPTH = 100
#: A list, tuple or dict counts as this many additional values.
CONTAINER = 4
PLAIN = "None, booleans, integers of 64 bits, floats, text, bytes, lists, tuples and dicts of these"
_PAUSE_VALUES = 4_000  # values: some ms


class NotPlainError(ValueError):
    """A value cannot be carried by queues; the message says why."""


class TooLargeError(NotPlainError):
    """A plain value is too large."""


def refuse(what: str, advice: str = "") -> NotPlainError:
    return NotPlainError(f"{what}: queues carry {PLAIN}{advice and '; '}{advice}")


class SizeBudget:
    """Remaining budget of values and bytes of a message."""

    def __init__(self, values: int = MAX_VALUES) -> None:
        self._values = values
        self._bytes = MAX_MESSAGE_BYTES
        self._pause = values - _PAUSE_VALUES

    def spend(self, values: int, size: int = 0) -> None:
        """Use a part of the budget.

        :raises TooLargeError: the budget is exceeded
        """
        self._values -= values
        self._bytes -= size
        if self._values < 0:
            raise TooLargeError(
                f"more than {MAX_VALUES} values (a list, tuple or dict counts as {CONTAINER + 1},"
                " and a shared value counts each time): put them one by one"
            )
        if self._bytes < 0:
            raise TooLargeError(f"text and bytes of more than {MAX_MESSAGE_BYTES} bytes")
        if self._values < self._pause:
            time.sleep(0.001)  # others first
            self._pause = self._values - _PAUSE_VALUES


def check_request(request: Any) -> None:
    """Check that a request is plain and not too large.

    :raises NotPlainError: names the argument, the position in it, and the problem
    """
    place: list[str] = []
    try:
        _check(request, SizeBudget(), 0, place)
    except NotPlainError as error:
        where = _argument_name(place[-2:] if isinstance(error, TooLargeError) else place)
        if not where:
            raise
        raise NotPlainError(f"{where}: {error}") from None


def _argument_name(place: list[str]) -> str:
    """Return the name of an argument in the request (object, method, arguments, keywords)."""
    inside = place[::-1]
    if len(inside) < 2 or inside[0] not in ("[2]", "[3]"):
        return ""
    which, part = inside[1][1:-1], "".join(inside[2:])
    return f"argument {int(which) + 1 if which.isdecimal() else which}{part}"


def _check(value: Any, budget: SizeBudget, depth: int, place: list[str]) -> None:
    kind = type(value)
    if kind is list or kind is tuple or kind is dict:
        if depth > MAX_DEPTH:
            raise TooLargeError(f"nested more than {MAX_DEPTH} deep, or containing itself")
        budget.spend(1 + CONTAINER)
        if kind is dict:
            for key in value:
                _check(key, budget, depth + 1, place)
        for index, part in value.items() if kind is dict else enumerate(value):
            try:
                _check(part, budget, depth + 1, place)
            except NotPlainError:
                place.append(f"[{index!r:.60}]")
                raise
    else:
        budget.spend(1)
        _check_leaf(value, budget)


def _check_leaf(value: Any, budget: SizeBudget) -> None:
    kind = type(value)
    if kind is str:
        try:
            budget.spend(0, len(value.encode()))
        except UnicodeEncodeError:
            raise NotPlainError(f"text that is not valid Unicode: {value!a:.60}") from None
    elif kind is bytes:
        budget.spend(0, len(value))
    elif kind is int:
        if not -(2**63) <= value < 2**64:
            raise refuse("an integer of more than 64 bits", "text carries any")
    elif kind is not float and kind is not bool and value is not None:
        raise refuse(f"a value of {kind.__module__}.{kind.__qualname__}")
