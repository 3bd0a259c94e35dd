"""Reader of pickles that can only produce plain values.

Clients of the standard library send pickles. Python's own reader executes what a pickle contains,
which may be a call of any function. This one cannot look up names: it refuses every operation that
produces anything but plain values, with a message.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable
from typing import Any

from darc.queues.plain_connection import MAX_TUPLE_DEPTH
from darc.queues.request_values import CONTAINER, NotPlainError, SizeBudget, check_request, refuse

#: Protocol that clients of every Python 3 can read.
WRITTEN_PROTOCOL = 4
MAX_INT_BYTES = 9
_BYTES_OF_OLD = {("_codecs", "encode"), ("__builtin__", "bytes"), ("builtins", "bytes")}


def read_pickle(data: bytes) -> Any:
    """Return the plain value of a pickle of any protocol.

    :raises NotPlainError: the value is not plain, or too large
    :raises ValueError: the bytes are not a pickle
    """
    try:
        value = _Machine(data).run()
    except NotPlainError:
        raise
    except (ValueError, LookupError, struct.error) as error:
        raise ValueError(f"not a pickle of a plain value: {error}") from error
    check_request(value)
    return value


def write_pickle(value: object) -> bytes:
    """Pickle a plain value for the standard library's own reader."""
    return pickle.dumps(value, WRITTEN_PROTOCOL)


def write_error(module: str, name: str, text: str) -> bytes:
    """Return the reply that raises an exception of the standard library at the client.

    Assembled by hand, as module names of such classes differ between Python versions.
    """

    def text_of(part: str) -> bytes:
        data = part.encode(errors="backslashreplace")
        return pickle.BINUNICODE + struct.pack("<I", len(data)) + data

    error = text_of(module) + text_of(name) + pickle.STACK_GLOBAL
    error += text_of(text) + pickle.TUPLE1 + pickle.REDUCE
    return b"\x80\x04" + text_of("#ERROR") + error + pickle.TUPLE2 + pickle.STOP


class _Machine:
    """Interpreter of the pickle operations that produce plain values."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._budget = SizeBudget()
        self._memos = SizeBudget()
        self._steps = SizeBudget(
            4 * len(data) + 4
        )  # regular pauses: each value takes at least one byte

    def run(self) -> Any:
        data, operations, steps = self._data, _OPERATIONS, self._steps
        while True:
            steps.spend(1)
            code = data[self._place]
            self._place += 1
            if code == _STOP:
                break
            operation = operations.get(code)
            if operation is None:
                raise self._refusal(code)
            operation(self)
        (value,) = self._stack or [None, None]
        if self._marks or self._place != len(data):
            raise ValueError("data after its end")
        return value

    # -- reading -------------------------------------------------------------------------------

    def _take(self, size: int) -> bytes:
        part = self._data[self._place : self._place + size]
        if len(part) != size:
            raise ValueError("truncated")
        self._place += size
        return part

    def _number(self, layout: str) -> Any:
        return struct.unpack(layout, self._take(struct.calcsize(layout)))[0]

    def _line(self) -> bytes:
        end = self._data.index(b"\n", self._place)
        return self._take(end + 1 - self._place)[:-1]

    def _text_number(self) -> int:
        line = self._line().removesuffix(b"L")
        if len(line) > 3 * MAX_INT_BYTES:
            raise refuse("an integer of more than 64 bits", "text carries any")
        return int(line)

    # -- the stack -----------------------------------------------------------------------------

    def _push(self, value: Any) -> None:
        self._budget.spend(1)
        self._stack.append(value)

    def _push_container(self, value: Any) -> None:
        self._budget.spend(1 + CONTAINER)
        self._stack.append(value)

    def _since_mark(self) -> list[Any]:
        mark = self._marks.pop()
        parts = self._stack[mark:]
        del self._stack[mark:]
        return parts

    def _above(self) -> int:
        """Return the lowest index of the stack that may be used: values below a mark may not."""
        return self._marks[-1] if self._marks else 0

    def _last(self, count: int) -> list[Any]:
        first = len(self._stack) - count
        if first < self._above():
            raise IndexError("too few values")
        parts = self._stack[first:]
        del self._stack[first:]
        return parts

    def _target(self, kind: type) -> Any:
        if len(self._stack) <= self._above() or type(self._stack[-1]) is not kind:
            raise ValueError(f"no {kind.__name__} to add items to")
        return self._stack[-1]

    def _set_items(self, target: dict[Any, Any], parts: list[Any]) -> None:
        if len(parts) % 2:
            raise ValueError("a key without a value")
        for place in range(0, len(parts), 2):
            self._check_key(parts[place], 0)
            target[parts[place]] = parts[place + 1]

    def _check_key(self, key: Any, depth: int) -> None:
        """Refuse keys that are slow to hash: hashing visits all parts, uninterruptibly."""
        self._budget.spend(1)
        if type(key) is tuple:
            if depth >= MAX_TUPLE_DEPTH:
                raise NotPlainError(f"a key of tuples more than {MAX_TUPLE_DEPTH} deep")
            for part in key:
                self._check_key(part, depth + 1)
        elif type(key) in (list, dict):
            raise ValueError(f"a {type(key).__name__} as a key")

    # -- operations ----------------------------------------------------------------------------

    def _protocol(self) -> None:
        protocol = self._number("<B")
        if protocol > pickle.HIGHEST_PROTOCOL:
            raise ValueError(f"protocol {protocol} is unknown")

    def _int_line(self) -> None:
        line = self._data[self._place : self._place + 3]
        if line in (b"00\n", b"01\n"):
            self._take(3)
            self._push(line == b"01\n")
        else:
            self._push(self._text_number())

    def _long(self, size: int) -> None:
        if not 0 <= size <= MAX_INT_BYTES:
            raise refuse("an integer of more than 64 bits", "text carries any")
        self._push(int.from_bytes(self._take(size), "little", signed=True))

    def _text(self, size: int) -> None:
        self._push(str(self._take(size), "utf-8", "surrogatepass"))

    def _mark(self) -> None:
        self._budget.spend(1)
        self._marks.append(len(self._stack))

    def _extend_list(self, parts: list[Any]) -> None:
        self._target(list).extend(parts)

    def _update_dict(self, parts: list[Any]) -> None:
        self._set_items(self._target(dict), parts)

    def _dict_of_marked(self) -> None:
        made: dict[Any, Any] = {}
        self._set_items(made, self._since_mark())
        self._push_container(made)

    def _remember(self, number: int) -> None:
        self._memos.spend(1)
        if len(self._stack) <= self._above():
            raise IndexError("nothing to memoize")
        self._memo[number] = self._stack[-1]

    # -- refusals ------------------------------------------------------------------------------

    def _refusal(self, code: int) -> ValueError:
        if code in _NAMING:
            return _name_refused(*self._name(code))
        if code in _REFUSED:
            return refuse(*_REFUSED[code])
        return ValueError(f"no operation {code:#04x}")

    def _name(self, code: int) -> tuple[str, str]:
        """Return the name of the class or function, for the message; it is not looked up."""
        if code == pickle.STACK_GLOBAL[0]:
            module, name = self._stack[-2:]
        else:
            module, name = (str(self._line(), "utf-8", "replace") for _ in range(2))
        return str(module)[:80], str(name)[:80]


def _name_refused(module: str, name: str) -> NotPlainError:
    if (module, name) in _BYTES_OF_OLD:
        return NotPlainError("bytes in a pickle of protocol 0, 1 or 2: 3 and later carry them")
    if module in ("builtins", "__builtin__") and name in _BUILTINS:
        return refuse(*_BUILTINS[name])
    advice = ""
    if module.startswith("numpy"):
        advice = "a number of numpy becomes one by .item(), an array a list by .tolist()"
    return refuse(f"an object, made by {ascii(module)[1:-1]}.{ascii(name)[1:-1]}", advice)


_Operation = Callable[[_Machine], None]
_STOP = pickle.STOP[0]
_OPERATIONS: dict[int, _Operation] = {
    key[0]: operation
    for key, operation in {
        pickle.PROTO: _Machine._protocol,
        pickle.FRAME: lambda machine: machine._number("<Q"),
        pickle.NONE: lambda machine: machine._push(None),
        pickle.NEWTRUE: lambda machine: machine._push(True),
        pickle.NEWFALSE: lambda machine: machine._push(False),
        pickle.INT: _Machine._int_line,
        pickle.BININT: lambda machine: machine._push(machine._number("<i")),
        pickle.BININT1: lambda machine: machine._push(machine._number("<B")),
        pickle.BININT2: lambda machine: machine._push(machine._number("<H")),
        pickle.LONG: lambda machine: machine._push(machine._text_number()),
        pickle.LONG1: lambda machine: machine._long(machine._number("<B")),
        pickle.LONG4: lambda machine: machine._long(machine._number("<i")),
        pickle.FLOAT: lambda machine: machine._push(float(machine._line())),
        pickle.BINFLOAT: lambda machine: machine._push(machine._number(">d")),
        pickle.UNICODE: lambda machine: machine._push(str(machine._line(), "raw-unicode-escape")),
        pickle.SHORT_BINUNICODE: lambda machine: machine._text(machine._number("<B")),
        pickle.BINUNICODE: lambda machine: machine._text(machine._number("<I")),
        pickle.BINUNICODE8: lambda machine: machine._text(machine._number("<Q")),
        pickle.SHORT_BINBYTES: lambda machine: machine._push(machine._take(machine._number("<B"))),
        pickle.BINBYTES: lambda machine: machine._push(machine._take(machine._number("<I"))),
        pickle.BINBYTES8: lambda machine: machine._push(machine._take(machine._number("<Q"))),
        pickle.MARK: _Machine._mark,
        pickle.EMPTY_LIST: lambda machine: machine._push_container([]),
        pickle.LIST: lambda machine: machine._push_container(machine._since_mark()),
        pickle.APPEND: lambda machine: machine._extend_list(machine._last(1)),
        pickle.APPENDS: lambda machine: machine._extend_list(machine._since_mark()),
        pickle.EMPTY_TUPLE: lambda machine: machine._push_container(()),
        pickle.TUPLE: lambda machine: machine._push_container(tuple(machine._since_mark())),
        pickle.TUPLE1: lambda machine: machine._push_container(tuple(machine._last(1))),
        pickle.TUPLE2: lambda machine: machine._push_container(tuple(machine._last(2))),
        pickle.TUPLE3: lambda machine: machine._push_container(tuple(machine._last(3))),
        pickle.EMPTY_DICT: lambda machine: machine._push_container({}),
        pickle.DICT: _Machine._dict_of_marked,
        pickle.SETITEM: lambda machine: machine._update_dict(machine._last(2)),
        pickle.SETITEMS: lambda machine: machine._update_dict(machine._since_mark()),
        pickle.PUT: lambda machine: machine._remember(machine._text_number()),
        pickle.BINPUT: lambda machine: machine._remember(machine._number("<B")),
        pickle.LONG_BINPUT: lambda machine: machine._remember(machine._number("<I")),
        pickle.MEMOIZE: lambda machine: machine._remember(len(machine._memo)),
        pickle.GET: lambda machine: machine._push(machine._memo[machine._text_number()]),
        pickle.BINGET: lambda machine: machine._push(machine._memo[machine._number("<B")]),
        pickle.LONG_BINGET: lambda machine: machine._push(machine._memo[machine._number("<I")]),
    }.items()
}
_NAMING = {pickle.GLOBAL[0], pickle.STACK_GLOBAL[0], pickle.INST[0]}
_SET = "a set", "sorted() makes a list of it"
_BYTEARRAY = "a bytearray or buffer", "bytes() makes bytes of it"
_BUILTINS = {"set": _SET, "frozenset": _SET, "bytearray": _BYTEARRAY}
_REFUSED: dict[int, tuple[str, ...]] = {
    code[0]: what
    for what, codes in (
        (
            ("an object",),
            (pickle.REDUCE, pickle.BUILD, pickle.OBJ, pickle.NEWOBJ, pickle.NEWOBJ_EX),
        ),
        (
            ("a reference to an object of a copyreg extension",),
            (pickle.EXT1, pickle.EXT2, pickle.EXT4),
        ),
        (("a reference to an object elsewhere",), (pickle.PERSID, pickle.BINPERSID)),
        (_SET, (pickle.EMPTY_SET, pickle.ADDITEMS, pickle.FROZENSET)),
        (_BYTEARRAY, (pickle.BYTEARRAY8, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER)),
        (("a str of Python 2",), (pickle.STRING, pickle.BINSTRING, pickle.SHORT_BINSTRING)),
        (("a value that contains itself",), (pickle.POP, pickle.POP_MARK, pickle.DUP)),
    )
    for code in codes
}
