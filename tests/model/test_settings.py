"""Typed objects from plain values: the rules that settings and observations share."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from darc.config import settings
from darc.config.config import NODE_SECTIONS
from darc.config.typed import (
    AsText,
    NotEmpty,
    OneOf,
    OneOrMore,
    Range,
    TimeOfDay,
    describe,
    field_names,
    field_types,
    from_plain,
    is_record,
    to_plain,
)
from darc.runtime.service_traits import built_in_sections

SECTIONS = {**NODE_SECTIONS, **built_in_sections()}


class Inner(Struct, frozen=True):
    ratio: Annotated[float, Range(0, 1)]


@dataclasses.dataclass(frozen=True, slots=True)
class Outer:
    inner: Inner
    many: tuple[Inner, ...]
    pair: tuple[int, str]
    names: Mapping[str, int]
    some: Annotated[tuple[int, ...], OneOrMore()] | None
    flag: bool = False


OUTER = Outer(Inner(0.5), (Inner(0.0), Inner(1.0)), (1, "a"), {"x": 1}, (3,), True)


@dataclasses.dataclass(frozen=True, slots=True)
class Loose:
    settings: Mapping[str, Annotated[str, AsText()]]
    at: Annotated[str, TimeOfDay()] | None


def test_a_number_may_stand_for_its_text() -> None:
    plain = {"settings": {"a": 5, "b": True, "c": 0.5, "d": "x"}, "at": "06:30"}
    assert from_plain(Loose, plain, "o").settings == {"a": "5", "b": "true", "c": "0.5", "d": "x"}
    with pytest.raises(ValueError, match=r"settings\.a: a list of 1 is not a text"):
        from_plain(Loose, {"settings": {"a": [1]}, "at": None}, "o")


@pytest.mark.parametrize("at", ["24:00", "6:30", "06:60", "", "06:30:00"])
def test_a_time_of_day_is_one(at: str) -> None:
    with pytest.raises(ValueError, match=r"at: .* is not allowed; allowed: a text like '06:30'"):
        from_plain(Loose, {"settings": {}, "at": at}, "o")


def test_there_and_back() -> None:
    assert from_plain(Outer, to_plain(OUTER), "o") == OUTER


def test_a_default_stands_for_what_is_missing() -> None:
    plain = to_plain(OUTER)
    del plain["flag"]
    assert from_plain(Outer, plain, "o").flag is False


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (Annotated[float, Range(0.01, 60)], "a number from 0.01 to 60"),
        (Annotated[int, Range(1)], "a whole number of at least 1"),
        (Annotated[str, OneOf("a", "b")], "one of a, b"),
        (Annotated[str, NotEmpty()], "a text that is not empty"),
        (Annotated[tuple[int, ...], OneOrMore()], "a list (or one), each a whole number"),
        (bool | None, "true or false or null"),
        (Mapping[str, int], "a mapping of names, each to a whole number"),
        (Inner, "a mapping of ratio"),
    ],
)
def test_what_is_allowed_in_words(hint: object, text: str) -> None:
    assert describe(hint) == text


_plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@given(st.sampled_from([field.name for field in dataclasses.fields(Outer)]), _plain)
def test_another_value_is_taken_as_it_is_or_refused(name: str, value: object) -> None:
    try:
        found = from_plain(Outer, {**to_plain(OUTER), name: value}, "o")
    except ValueError as error:
        assert str(error).startswith(f"o: {name}")  # noqa: PT017 - some values are right
    else:
        again = to_plain(found)[name]
        assert again in (value, [value])
        assert isinstance(again, bool | None) or not isinstance(value, bool)


def _settings_types() -> list[type]:
    here = [kind for kind in vars(settings).values() if isinstance(kind, type)]
    of_the_node = [kind for kind in here if kind.__module__ == settings.__name__]
    return list(dict.fromkeys([*of_the_node, *built_in_sections().values()]))


@pytest.mark.parametrize("kind", _settings_types())
def test_settings_are_frozen_and_without_defaults(kind: type) -> None:
    assert issubclass(kind, Struct)
    assert kind.__struct_config__.frozen
    names = field_names(kind)
    assert all(names.values())
    assert all(describe(field_types(kind)[name]) for name in names)


@pytest.mark.parametrize("section", sorted(set(SECTIONS) - {"instrument"}))
def test_every_number_has_a_range(section: str) -> None:
    def check(kind: type) -> None:
        for name, hint in field_types(kind).items():
            if is_record(hint):
                assert isinstance(hint, type)
                check(hint)
            elif hint in (int, float):
                pytest.fail(f"{kind.__name__}.{name} has none")

    check(SECTIONS[section])
