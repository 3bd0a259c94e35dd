"""What a request from outside may be: plain values, of a bounded number, size and depth.

Pickle and XML say more than that, and a pickle may hold one value in many places, which is many
values once it is on disk. So what they said is looked at as a whole before anything is done.
"""

from __future__ import annotations

import time
from typing import Any

from darc.queues.plain_connection import MAX_MESSAGE_BYTES, MAX_VALUES

#: Lists, tuples and dicts within each other.
MAX_DEPTH = 100
#: A list, tuple or dict counts as that many values more.
CONTAINER = 4
PLAIN = "None, booleans, integers of 64 bits, floats, text, bytes, lists, tuples and dicts of these"
_BREATH = 4_000  # values: some ms


class NotPlainError(ValueError):
    """A value that queues do not carry; the text says what is wrong with it."""


class TooLargeError(NotPlainError):
    """Nothing in it is wrong, but there is too much of it."""


def refuse(what: str, advice: str = "") -> NotPlainError:
    return NotPlainError(f"{what}: queues carry {PLAIN}{advice and '; '}{advice}")


class SizeBudget:
    """How much of a message may still be made."""

    def __init__(self, values: int = MAX_VALUES, size: int = MAX_MESSAGE_BYTES) -> None:
        self._values = values
        self._bytes = size
        self._pause = values - _BREATH

    def spend(self, values: int, size: int = 0) -> None:
        """:raises TooMuchError: more than that"""
        self._values -= values
        self._bytes -= size
        if self._values < 0:
            raise TooLargeError(
                f"more than {MAX_VALUES} values (a list, tuple or dict counts as {CONTAINER + 1},"
                " and what is held in many places counts in each): put them one by one"
            )
        if self._bytes < 0:
            raise TooLargeError(f"text and bytes of more than {MAX_MESSAGE_BYTES} bytes")
        if self._values < self._pause:
            time.sleep(0.001)  # others first
            self._pause = self._values - _BREATH


def check_request(request: Any) -> None:
    """Refuse what is not plain, or too much.

    :raises NotPlainError: names the argument and the place in it, and what is wrong there
    """
    place: list[str] = []
    try:
        _check(request, SizeBudget(), 0, place)
    except NotPlainError as error:
        where = _where(place[-2:] if isinstance(error, TooLargeError) else place)
        if not where:
            raise
        raise NotPlainError(f"{where}: {error}") from None


def _where(place: list[str]) -> str:
    """Which argument, as (object, method, arguments, keywords) is what a manager's client sends."""
    inside = place[::-1]
    if len(inside) < 2 or inside[0] not in ("[2]", "[3]"):
        return ""
    which, part = inside[1][1:-1], "".join(inside[2:])
    return f"argument {int(which) + 1 if which.isdecimal() else which}{part}"


def _check(value: Any, budget: SizeBudget, depth: int, place: list[str]) -> None:
    kind = type(value)
    if kind is list or kind is tuple or kind is dict:
        if depth > MAX_DEPTH:
            raise TooLargeError(f"more than {MAX_DEPTH} deep in each other, or in themselves")
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
            raise NotPlainError(f"text that is no Unicode: {value!a:.60}") from None
    elif kind is bytes:
        budget.spend(0, len(value))
    elif kind is int:
        if not -(2**63) <= value < 2**64:
            raise refuse("an integer of more than 64 bits", "text carries any")
    elif kind is not float and kind is not bool and value is not None:
        raise refuse(f"a value of {kind.__module__}.{kind.__qualname__}")
