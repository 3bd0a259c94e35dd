"""Plain values come out as they went in; nothing else goes in, and no bytes end the process."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import enum
import math
import pickle
import subprocess
from collections import namedtuple
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nodes import PYTHON

from darc.queues.plain_connection import MAX_TUPLE_DEPTH, pack, unpack

keys = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary()
leaves = keys | st.floats(allow_nan=False)
plain = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(keys, inner, max_size=5)
    ),
    max_leaves=20,
)


def exact(value: Any) -> Any:
    """With the types of its parts, as True == 1 and () is not []."""
    if type(value) in (list, tuple):
        return type(value), [exact(part) for part in value]
    if type(value) is dict:
        return dict, [(exact(key), exact(part)) for key, part in value.items()]
    return type(value), value


@given(plain)
def test_plain_values_come_back_as_they_were(value: Any) -> None:
    assert exact(unpack(pack(value))) == exact(value)


def test_not_a_number_comes_back() -> None:
    assert math.isnan(unpack(pack(float("nan"))))


class Number(int):
    pass


class Colour(enum.StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    "value",
    [
        object(),
        len,
        {1, 2},
        frozenset(),
        1j,
        2**64,
        -(2**63) - 1,
        decimal.Decimal(1),
        datetime.datetime.now(),
        Path("/"),
        Number(1),
        Colour.RED,
        namedtuple("Pair", "a b")(1, 2),
        np.float64(1),
        np.zeros(2),
        "\ud800",
        ValueError("x"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_nothing_else_goes_in(value: object) -> None:
    for held in (value, [value], (value,), {"key": value}):
        with pytest.raises(TypeError):
            pack(held)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_plain_value_or_refused(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        unpack(data)


def test_a_pickle_is_refused() -> None:
    with pytest.raises(ValueError, match="not a packed plain value"):
        unpack(pickle.dumps(Path("/")))


def nested(depth: int, kind: type[list[Any]] | type[tuple[Any, ...]]) -> Any:
    value = kind()
    for _ in range(depth):
        value = kind((value,))
    return value


def test_depth_is_limited() -> None:
    deepest = nested(MAX_TUPLE_DEPTH - 1, tuple)
    assert unpack(pack(deepest)) == deepest
    for value in (nested(MAX_TUPLE_DEPTH, tuple), nested(5000, tuple), nested(5000, list)):
        with pytest.raises(TypeError):
            pack(value)
    with pytest.raises(ValueError, match="not a packed plain value"):
        unpack(b"\x91" * 100_000 + b"\x90")


def test_deep_tuples_do_not_end_the_process() -> None:
    """Made by hand, as pack() does not make them; in a process of its own, as it crashed once."""
    data = b"\x90"
    for _ in range(2000):
        data = msgpack.packb(msgpack.ExtType(1, b"\x91" + data))
    code = (
        "import sys, threading\n"
        "from darc.queues.plain_connection import unpack\n"
        "def go():\n"
        "    try: unpack(sys.stdin.buffer.read())\n"
        "    except ValueError: print('refused')\n"
        "thread = threading.Thread(target=go); thread.start(); thread.join()\n"
    )
    result = subprocess.run([PYTHON, "-c", code], input=data, capture_output=True, check=False)
    assert (result.returncode, result.stdout) == (0, b"refused\n"), result.stderr
