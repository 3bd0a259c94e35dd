"""A pickle is a plain value, or refused; nothing is looked up, called, or larger than it may be."""

from __future__ import annotations

import array
import collections
import contextlib
import datetime
import decimal
import functools
import io
import os
import pickle
import pickletools
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from nodes import PYTHON, patience
from test_plain import exact, keys, leaves, plain

from darc.queues import request_values
from darc.queues.pickle_reader import read_pickle, write_error, write_pickle
from darc.queues.plain_connection import MAX_TUPLE_DEPTH
from darc.queues.request_values import CONTAINER, MAX_DEPTH, NotPlainError

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
REFUSED = r"not a pickle of a plain value: |queues carry|^[\w: ]*more than \d"
protocols = st.sampled_from(PROTOCOLS)
tuple_keys = st.recursive(keys, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=4)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(tuple_keys, inner, max_size=5)
    ),
    max_leaves=20,
)


def holds_bytes(value: Any) -> bool:
    if type(value) in (list, tuple):
        return any(map(holds_bytes, value))
    if type(value) is dict:
        return any(holds_bytes(part) for pair in value.items() for part in pair)
    return type(value) is bytes


@given(values, protocols)
@example([True, False, 0, 1, -1, 255, 256, 65535, 65536, 2**31, -(2**31), 2**63 - 1, 2**64 - 1], 0)
@example(["", "\n", "\\u0041", "\\", "\r", "\x1a", "é", "\U0001f600"], 0)
@example(["x" * 255, "x" * 256, "x" * 70_000], 4)
@example({(): {(1, ("a", None)): [(), [], {}]}}, 2)
def test_what_pickle_writes_is_read(value: Any, protocol: int) -> None:
    data = pickle.dumps(value, protocol)
    if protocol < 3 and holds_bytes(value):  # they travel as a call of a function
        with pytest.raises(NotPlainError, match="bytes in a pickle of protocol 0, 1 or 2"):
            read_pickle(data)
    else:
        assert exact(read_pickle(data)) == exact(value)


@given(values, st.integers(3, 5))
def test_what_is_not_in_frames_or_remembered_is_read(value: Any, protocol: int) -> None:
    data = pickletools.optimize(pickle.dumps(value, protocol))
    assert exact(read_pickle(data)) == exact(value)
    unframed = io.BytesIO()
    # Python's slow one: the other one frames whatever it is told.
    pickler = pickle._Pickler(unframed, protocol)  # type: ignore[attr-defined] # noqa: SLF001
    pickler.fast = True
    pickler.dump(value)
    assert exact(read_pickle(unframed.getvalue())) == exact(value)


@given(plain)
def test_the_standard_library_reads_what_is_written(value: Any) -> None:
    assert exact(pickle.loads(write_pickle(value))) == exact(value)


def test_what_is_held_twice_is_there_twice() -> None:
    part = [1]
    for protocol in PROTOCOLS:
        assert read_pickle(pickle.dumps([part, part, (part,)], protocol)) == [[1], [1], ([1],)]


def test_an_error_raises_at_the_client() -> None:
    kind, error = pickle.loads(write_error("queue", "Empty", "nothing on é\n\ud800"))
    assert kind == "#ERROR"
    assert (type(error).__name__, str(error)) == ("Empty", "nothing on é\n\\ud800")


# -- what is no plain value --------------------------------------------------------------------


class Thing:
    def __init__(self) -> None:
        self.x = 1


class Slots:
    __slots__ = ("a",)


Pair = collections.namedtuple("Pair", "a b")
OTHERS = [
    (Thing(), "an object, made by "),
    (Thing, "an object, made by "),
    (len, r"an object, made by \w+\.len: queues carry None, booleans"),
    (functools.partial(os.mkdir, "x"), "functools.partial"),
    (Path("/"), "an object, made by "),
    (datetime.datetime(2026, 1, 1), "datetime.datetime"),
    (decimal.Decimal(1), "decimal.Decimal"),
    # By its name, or that of a function where a library changes how exceptions are pickled.
    (ValueError("x"), "an object, made by "),
    (Pair(1, 2), "an object, made by "),
    (collections.OrderedDict(), "collections.OrderedDict"),
    (array.array("d", [1.0]), "an object, made by "),
    (np.float64(1), r"made by numpy.*by \.item\(\), an array a list by \.tolist\(\)"),
    (np.zeros(2), r"made by numpy.*a list by \.tolist\(\)"),
    ({1, 2}, r"a set: .*sorted\(\) makes a list of it"),
    (frozenset([1]), "a set: "),
    (bytearray(b"x"), r"a bytearray or buffer: .*bytes\(\) makes bytes of it"),
    (1j, "complex"),
    (2**64, "an integer of more than 64 bits"),
    (-(2**63) - 1, "an integer of more than 64 bits"),
    (10**4000, "an integer of more than 64 bits"),
    ("\ud800", "text that is not valid Unicode"),
]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(("value", "text"), OTHERS, ids=lambda one: type(one).__name__)
def test_everything_else_is_refused_by_name(value: object, text: str, protocol: int) -> None:
    for held in (value, [value], {"key": (1, value)}):
        with pytest.raises(NotPlainError, match=text):
            read_pickle(pickle.dumps(held, protocol))


def test_where_it_is_wrong_is_told() -> None:
    request = ("a/look/1", "put", ([0, {"x": (1, 2**70)}],), {"timeout": [2**70]})
    with pytest.raises(NotPlainError, match=r"^argument 1\[1\]\['x'\]\[1\]: an integer of more"):
        read_pickle(pickle.dumps(request))
    request = ("a/look/1", "put", (), {"timeout": [2**70]})
    with pytest.raises(NotPlainError, match=r"^argument 'timeout'\[0\]: an integer of more than"):
        read_pickle(pickle.dumps(request))
    for other in ({2: {"x": 2**70}}, [0, 0, 2**70], {2: [2**70]}, ["\ud800"]):
        with pytest.raises(NotPlainError):
            read_pickle(pickle.dumps(other))


# -- attacks -----------------------------------------------------------------------------------


class Bomb:
    """Makes a directory when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


CALLS = {
    "GLOBAL, REDUCE": b"cos\nmkdir\n(X\x01\0\0\0xtR.",
    "text": b"cos\nsystem\n(S'x'\ntR.",
    "INST": b"(X\x01\0\0\0xios\nmkdir\n.",
    "OBJ": b"(cos\nmkdir\nX\x01\0\0\0xo.",
    "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93\x8c\x01x\x85R.",
    "STACK_GLOBAL of nothing": b"\x80\x04\x93.",
    "STACK_GLOBAL of numbers": b"\x80\x04K\x01K\x02\x93.",
    "NEWOBJ": b"\x80\x02cbuiltins\nlist\n)\x81.",
    "NEWOBJ_EX": b"\x80\x04cbuiltins\nlist\n)}\x92.",
    "REDUCE alone": b"\x80\x04N)R.",
    "BUILD": b"\x80\x04]}X\x01\0\0\0xK\x01sb.",
    "PERSID": b"Px\n.",
    "BINPERSID": b"\x80\x02K\x01Q.",
    "EXT1": b"\x80\x02\x82\x01.",
    "EXT2": b"\x80\x02\x83\x01\0.",
    "EXT4": b"\x80\x02\x84\x01\0\0\0.",
    "NEXT_BUFFER": b"\x80\x05\x97.",
    "a name with a line in it": b"\x80\x04\x8c\x05o\ns\x1b[\x8c\x01x\x93.",
}


@pytest.mark.parametrize("data", CALLS.values(), ids=CALLS)
def test_what_calls_is_refused(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_may_be_imported(*_: object) -> None:
        raise AssertionError("looked up")

    monkeypatch.setattr("builtins.__import__", none_may_be_imported)
    with pytest.raises(ValueError, match=REFUSED) as refusal:
        read_pickle(data)
    monkeypatch.undo()
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_bomb_does_not_go_off(tmp_path: Path, protocol: int) -> None:
    data = pickle.dumps((None, "dummy", (Bomb(tmp_path / "ran"),), {}), protocol)
    with pytest.raises(NotPlainError, match=r"posix\.mkdir"):
        read_pickle(data)
    assert not list(tmp_path.iterdir())
    pickle.loads(data)
    assert list(tmp_path.iterdir()), "the bomb is none"


def twice(depth: int) -> bytes:
    """A list of two lists of two lists…, each of them the same one: little that is very much."""
    value: Any = [0]
    for _ in range(depth):
        value = [value, value]
    return pickle.dumps(value)


def nested(kind: bytes, depth: int) -> bytes:
    if kind == b"]":
        return b"\x80\x04" + b"]" * depth + b"a" * (depth - 1) + b"."
    if kind == b"}":
        return b"\x80\x04" + b"}K\x00" * (depth - 1) + b"}" + b"s" * (depth - 1) + b"."
    return b"\x80\x04)" + b"\x85" * (depth - 1) + b"."


def doubled_key() -> bytes:
    """Hashing it would take for ever: a tuple of the same tuple twice, of the same twice…"""
    data = b"\x80\x04})\x94"
    for number in range(60):
        data += b"h%ch%c\x86\x94" % (number, number)
    return data + b"Ns."


HUGE = (2**63 - 1).to_bytes(8, "little")
LARGE = {
    "values": pickle.dumps([None] * (request_values.MAX_VALUES + 1)),
    "containers": b"\x80\x04](" + b"}" * (request_values.MAX_VALUES // CONTAINER) + b"e.",
    "lists popped from nowhere": b"\x80\x04" + b"]" * 10**6,
    "marks": b"\x80\x04" + b"(" * (request_values.MAX_VALUES + 2),
    "remembered": b"\x80\x04K\x01" + b"\x94" * (request_values.MAX_VALUES + 2) + b".",
    "held twice, often": twice(40),
    "one large text, often": pickle.dumps(["x" * 2**20] * 50),
    "bytes, often": pickle.dumps([b"x" * 2**20] * 50),
    "a tuple as a key, often": pickle.dumps([{tuple(range(20_000)): 1} for _ in range(60)]),
    "lists": nested(b"]", MAX_DEPTH + 2),
    "many lists": nested(b"]", 150_000),
    "many dicts": nested(b"}", 150_000),
    "many tuples": nested(b")", 150_000),
    "a key of many tuples": b"\x80\x04}" + nested(b")", 150_000)[2:-1] + b"Ns.",
    "a key of doubled tuples": doubled_key(),
    "itself": b"\x80\x04]\x94h\x00a.",
    "itself, in a dict": b"\x80\x04}\x94K\x01h\x00s.",
    "a text of exabytes": b"\x80\x04\x8d" + HUGE + b"x.",
    "bytes of exabytes": b"\x80\x04\x8e" + HUGE + b"x.",
    "a bytearray of exabytes": b"\x80\x05\x96" + HUGE + b".",
    "a frame of exabytes, and nothing": b"\x80\x04\x95" + HUGE,
    "a number of gigabytes": b"\x80\x02\x8b\xff\xff\xff\x7fx.",
    "a number of less than nothing": b"\x80\x02\x8b\xff\xff\xff\xffx.",
    "a number of a million digits": b"L" + b"9" * 10**6 + b"L\n.",
}


@pytest.mark.parametrize("data", LARGE.values(), ids=LARGE)
def test_little_that_stands_for_much_is_refused(data: bytes) -> None:
    began = time.monotonic()
    with pytest.raises(ValueError, match=REFUSED):
        read_pickle(data)
    assert time.monotonic() - began < patience(10)


def test_a_place_far_away_costs_no_memory() -> None:
    """Python's own reader makes room for all places before it."""
    data = b"\x80\x02K\x07r\xff\xff\xff\xffj\xff\xff\xff\xff\x86."
    assert read_pickle(data) == (7, 7)


def test_the_deepest_is_read() -> None:
    assert read_pickle(nested(b"]", MAX_DEPTH))
    key: Any = ()
    for _ in range(MAX_TUPLE_DEPTH - 1):
        key = (key,)
    assert read_pickle(pickle.dumps({key: 1})) == {key: 1}
    with pytest.raises(NotPlainError, match="a key of tuples more than"):
        read_pickle(pickle.dumps({((key,),): 1}))


def test_large_ones_do_not_end_the_process() -> None:
    """In a thread with its small stack, and with little memory, in a process of its own."""
    code = (
        "import sys, threading, resource, pickle\n"
        "from darc.queues.pickle_reader import read_pickle\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))\n"
        "def go():\n"
        "    for data in pickle.load(sys.stdin.buffer):\n"
        "        try: read_pickle(data)\n"
        "        except ValueError: print('refused')\n"
        "thread = threading.Thread(target=go); thread.start(); thread.join()\n"
    )
    result = subprocess.run(
        [PYTHON, "-c", code],
        input=pickle.dumps(list(LARGE.values())),
        capture_output=True,
        check=False,
    )
    expected = b"refused\n" * len(LARGE)
    assert (result.returncode, result.stdout) == (0, expected), result.stderr


# -- rubbish -----------------------------------------------------------------------------------


BROKEN = [b"", b".", b"\x80", b"\x80\x04", b"\x80\x63N.", b"N", b"NN.", b"(.", b"(N.", b"N.N"]
BROKEN += [b"K.", b"a.", b"]a.", b"Na.", b"(e.", b"N(Ne.", b"](](a.", b"}Ns.", b"}(Nu.", b"(Nd."]
BROKEN += [b"}]Ns.", b"}}Ns.", b"h\x00.", b"g5\n.", b"gx\n.", b"q\x00.", b"\x94.", b"\x85.", b"t."]
BROKEN += [
    b"}(]Nu.",
    b"I\n.",
    b"Ix\n.",
    b"F\n.",
    b"Fx\n.",
    b"I1",
    b"X\x01\0\0\0\xff.",
    b"V\\u12\n.",
]
BROKEN += [b"]((0.", b"\xff.", b"]N(a."]


@pytest.mark.parametrize("data", BROKEN)
def test_what_is_no_pickle_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=REFUSED):
        read_pickle(data)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_plain_value_or_refused(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        request_values.check_request(read_pickle(data))


@given(values, protocols, st.lists(st.tuples(st.integers(0, 10**6), st.binary(max_size=3))))
def test_a_changed_pickle_is_a_plain_value_or_refused(
    value: Any, protocol: int, changes: list[tuple[int, bytes]]
) -> None:
    data = pickle.dumps(value, protocol)
    for far, piece in changes:
        place = far % (len(data) + 1)
        data = data[:place] + piece + data[place + len(piece) // 2 :]
    with contextlib.suppress(ValueError):
        request_values.check_request(read_pickle(data))


_OPERATIONS = [opcode.code.encode("latin-1") for opcode in pickletools.opcodes]


@given(st.lists(st.sampled_from(_OPERATIONS) | st.binary(min_size=1, max_size=9), max_size=60))
def test_any_operations_are_a_plain_value_or_refused(pieces: list[bytes]) -> None:
    with contextlib.suppress(ValueError):
        request_values.check_request(read_pickle(b"".join(pieces) + b"."))


def refused_as_unknown(operation: bytes) -> bool:
    try:
        read_pickle(operation + b".")
    except ValueError as error:
        return "no operation" in str(error)
    return False


def test_every_operation_is_known() -> None:
    """One of a later Python is seen here first."""
    known = {operation for operation in _OPERATIONS if not refused_as_unknown(operation)}
    assert known == set(_OPERATIONS)
    assert pickle.HIGHEST_PROTOCOL == 5
    assert sys.version_info >= (3, 11)
