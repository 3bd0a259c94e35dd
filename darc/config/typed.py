"""Typed objects from plain values: one set of rules for configuration and observations.

The types of a Struct, or of a dataclass, declare what its fields may hold::

    interval: Annotated[float, Range(0.01, 60)]
    mode: Annotated[str, OneOf("real-time", "offline", "mixed")]
    to: Annotated[tuple[str, ...], OneOrMore()]

`Reader` makes such an object from a tree of `Value`, and collects all problems.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from darc.config.records import Struct, fields

T = TypeVar("T")
_BAD = object()


class Range(Struct, frozen=True):
    """A number from `low` to `high`, both allowed; `high` None: no upper limit."""

    low: float
    high: float | None = None

    def allows(self, value: float) -> bool:
        return self.low <= value and (self.high is None or value <= self.high)

    def __str__(self) -> str:
        return f"of at least {self.low}" if self.high is None else f"from {self.low} to {self.high}"


class OneOf:
    """One of these texts."""

    def __init__(self, *values: str) -> None:
        self.values = values

    def allows(self, text: str) -> bool:
        return text in self.values

    def __str__(self) -> str:
        return "one of " + ", ".join(self.values)


class NotEmpty:
    """A text of at least one character."""

    def allows(self, text: str) -> bool:
        return text != ""

    def __str__(self) -> str:
        return "that is not empty"


class UpTo(Struct, frozen=True):
    """A text of at most so many characters."""

    most: int

    def allows(self, text: str) -> bool:
        return len(text) <= self.most

    def __str__(self) -> str:
        return f"of up to {self.most} characters"


class FromRoot:
    """An absolute path."""

    def allows(self, text: str) -> bool:
        return text.startswith("/")

    def __str__(self) -> str:
        return "an absolute path ({home} and {darc_home} stand for directories)"


class TimeOfDay:
    """A time of day: HH:MM."""

    _TEXT = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")

    def allows(self, text: str) -> bool:
        return self._TEXT.fullmatch(text) is not None

    def __str__(self) -> str:
        return "like '06:30' (in quotes)"


class AsText:
    """A text; a number, true or false stands for what it is written as."""


class OneOrMore:
    """A list, or a single value that stands for a list of one."""


class Value(Struct, frozen=True):
    """A plain value with its file and line.

    `data` is None, bool, int, float, str, a list of Value or a dict of str to Value;
    `line` counts from 1; 0 means unknown.
    """

    data: Any
    file: str
    line: int

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


class Unknown(Struct, frozen=True):
    """A key that is not a field of the record."""

    value: Value
    path: str
    name: str
    valid: tuple[str, ...]


class Contradiction(Struct, frozen=True):
    """What is wrong with a field, given the others.

    :param key: the field
    :param allowed: what it may hold
    """

    key: str
    what: str
    allowed: str


class CrossChecked:
    """Base of a record whose fields may contradict each other."""

    __slots__ = ()

    def contradictions(self) -> Iterator[Contradiction]:
        """Yield what the types of the fields do not rule out, but is wrong."""
        raise NotImplementedError


class Reader:
    """Converter from values to typed objects.

    `problems` collects one message per error, `unknown` the keys that are not fields.
    """

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.unknown: list[Unknown] = []

    def read(self, kind: type[T], value: Value, path: str) -> T | None:
        """Return the mapping `value` as a `kind`; None if anything in it is wrong.

        :param kind: a Struct or a dataclass
        :param path: dotted name of the value, for messages
        """
        result = self._convert(kind, value, path)
        return None if result is _BAD else cast(T, result)

    def complain(self, value: Value, path: str, what: str, allowed: str) -> None:
        """Add a problem: `<file>:<line>: <path>: <what>; allowed: <allowed>`."""
        self.problems.append(f"{value.place}: {path}: {what}; allowed: {allowed}")

    def _convert(self, hint: Any, value: Value, path: str) -> Any:
        base, rules = _unwrap(hint)
        origin = get_origin(base)
        if origin in (Union, UnionType):
            if value.data is None:
                return None
            (base,) = (kind for kind in get_args(base) if kind is not NoneType)
            return self._convert(base, value, path)
        if is_record(base):
            return self._record(base, value, path)
        if origin is tuple:
            return self._tuple(base, rules, value, path)
        if origin is Mapping:
            return self._mapping(base, value, path)
        data = value.data
        if any(isinstance(rule, AsText) for rule in rules) and isinstance(data, int | float):
            data = str(data).lower() if isinstance(data, bool) else str(data)
        result = _scalar(base, data)
        if result is _BAD:
            self.complain(value, path, f"{shown(value.data)} is not {_NOUN[base]}", describe(hint))
        elif not all(rule.allows(result) for rule in _limits(rules)):
            self.complain(value, path, f"{shown(value.data)} is not allowed", describe(hint))
            result = _BAD
        return result

    def _record(self, kind: Any, value: Value, path: str) -> Any:
        if not isinstance(value.data, dict):
            self.complain(value, path, f"{shown(value.data)} is not a mapping", describe(kind))
            return _BAD
        hints = field_types(kind)
        for name, entry in value.data.items():
            if name not in hints:
                self.unknown.append(Unknown(entry, _join(path, name), name, tuple(hints)))
        found: dict[str, Any] = {}
        for name, is_required in field_names(kind).items():
            if name in value.data:
                found[name] = self._convert(hints[name], value.data[name], _join(path, name))
            elif is_required:
                self.complain(value, _join(path, name), "missing", describe(hints[name]))
                found[name] = _BAD
        if _BAD in found.values():
            return _BAD
        made = kind(**found)
        if isinstance(made, CrossChecked):
            for one in made.contradictions():
                entry = value.data.get(one.key, value)
                self.complain(entry, _join(path, one.key), one.what, one.allowed)
        return made

    def _tuple(self, base: Any, rules: tuple[Any, ...], value: Value, path: str) -> Any:
        kinds = get_args(base)
        entries = value.data
        if any(isinstance(rule, OneOrMore) for rule in rules) and not isinstance(entries, list):
            entries = [value]
        length = None if kinds[-1] is Ellipsis else len(kinds)
        if not isinstance(entries, list) or length not in (None, len(entries)):
            self.complain(value, path, f"{shown(value.data)} is not a list", describe(base))
            return _BAD
        kinds = kinds if length else (kinds[0],) * len(entries)
        found = tuple(
            self._convert(kind, entry, path) for kind, entry in zip(kinds, entries, strict=True)
        )
        return _BAD if _BAD in found else found

    def _mapping(self, base: Any, value: Value, path: str) -> Any:
        if not isinstance(value.data, dict):
            self.complain(value, path, f"{shown(value.data)} is not a mapping", describe(base))
            return _BAD
        kind = get_args(base)[1]
        found = {
            name: self._convert(kind, entry, _join(path, name))
            for name, entry in value.data.items()
        }
        return _BAD if _BAD in found.values() else found


@cache
def field_types(kind: Any) -> Mapping[str, Any]:
    """Return the fields of a record with their types, `Annotated` kept."""
    hints = get_type_hints(kind, include_extras=True)
    return {name: hints[name] for name in field_names(kind)}


def is_record(kind: Any) -> bool:
    """Whether this is a Struct or a dataclass, or an instance of one."""
    return hasattr(kind, "__struct_fields__") or hasattr(kind, "__dataclass_fields__")


@cache
def field_names(kind: Any) -> Mapping[str, bool]:
    """Return the names of the fields, and whether each has to be given."""
    if issubclass(kind, Struct):
        return {one.name: one.required for one in fields(kind)}
    import dataclasses as of  # noqa: PLC0415 - no service of DARC's own has one

    missing = of.MISSING
    return {
        one.name: one.default is missing and one.default_factory is missing
        for one in of.fields(kind)
    }


def describe(hint: Any) -> str:
    """Return a description of what a field of this type may hold."""
    base, rules = _unwrap(hint)
    origin = get_origin(base)
    if origin in (Union, UnionType):
        return " or ".join(describe(kind) for kind in get_args(base))
    if is_record(base):
        return "a mapping of " + ", ".join(field_names(base))
    if origin is tuple:
        kinds = get_args(base)
        count = "" if kinds[-1] is Ellipsis else f" of {len(kinds)}"
        single = " (or one)" if any(isinstance(rule, OneOrMore) for rule in rules) else ""
        return f"a list{count}{single}, each {describe(kinds[0])}"
    if origin is Mapping:
        return f"a mapping of names, each to {describe(get_args(base)[1])}"
    if whole := next((rule for rule in rules if isinstance(rule, OneOf | FromRoot)), None):
        return str(whole)
    noun = _NOUN[base]
    if any(isinstance(rule, AsText) for rule in rules):
        noun += ", a number, true or false"
    return " ".join([noun, *map(str, _limits(rules))])


def shown(data: Any) -> str:
    """Return a plain value roughly as it was written, at most 60 characters long."""
    if data is None:
        return "null"
    if isinstance(data, bool):
        return str(data).lower()
    if isinstance(data, list):
        return f"a list of {len(data)}"
    if isinstance(data, dict):
        return "a mapping"
    if isinstance(data, int) and abs(data) >= 10**60:
        return (
            "a whole number of more than 60 digits"  # Python refuses to write more than 4300 digits
        )
    text = repr(data)
    return text if len(text) <= 60 else text[:57] + "..."


def to_plain(item: Any) -> Any:
    """Return a record as dicts, lists, scalars and bytes; `from_plain` reverses it.

    A Struct that is declared as `array_like` becomes a list of its values; msgspec's `convert`
    reads that.
    """
    if is_record(item):
        plain = {name: to_plain(getattr(item, name)) for name in field_names(item.__class__)}
        is_list = isinstance(item, Struct) and item.__struct_config__.array_like
        return [*plain.values()] if is_list else plain
    if isinstance(item, Mapping):
        return {to_plain(name): to_plain(entry) for name, entry in item.items()}
    if isinstance(item, Enum):
        return item.value
    if isinstance(item, Sequence) and not isinstance(item, str | bytes):
        return [to_plain(entry) for entry in item]
    return item


def from_plain(kind: type[T], data: Any, name: str) -> T:
    """Return a `kind` from the output of `to_plain`.

    :param name: name of the data in messages
    :raises ValueError: a type is wrong, or a key missing or unknown; all problems are listed. Or
        it is nested too deeply
    """
    try:
        return read_strictly(kind, _tree(data, name))
    except RecursionError as error:
        raise ValueError(f"{name}: nested too deeply") from error


def read_strictly(kind: type[T], value: Value) -> T:
    """Return the mapping `value` as a `kind`; an unknown key is an error, too.

    :raises ValueError: lists all problems
    """
    reader = Reader()
    result = reader.read(kind, value, "")
    problems = reader.problems
    problems += [f"{entry.value.place}: {entry.path}: unknown" for entry in reader.unknown]
    if result is None or problems:
        raise ValueError("\n".join(problems))
    return result


def _tree(data: Any, name: str) -> Value:
    if isinstance(data, dict):
        data = {str(key): _tree(entry, name) for key, entry in data.items()}
    elif isinstance(data, list | tuple):
        data = [_tree(entry, name) for entry in data]
    return Value(data, name, 0)


def _unwrap(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    if get_origin(hint) is Annotated:
        return hint.__origin__, hint.__metadata__
    return hint, ()


def _limits(rules: tuple[Any, ...]) -> list[Any]:
    """Return the rules that a value can break."""
    return [rule for rule in rules if hasattr(rule, "allows")]


def _scalar(kind: Any, data: Any) -> Any:
    """Return `data` as a `kind`, or _BAD. An integer may stand for a float; a bool for neither."""
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        # An integer too large for a float is not usable either.
        data = float(data) if abs(data) < 1e300 else math.inf
    if type(data) is not kind or (kind is float and not math.isfinite(data)):
        return _BAD
    return data


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


_NOUN = {
    float: "a number",
    int: "a whole number",
    str: "a text",
    bool: "true or false",
    NoneType: "null",
}
