"""The list of known sources."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.model.sources import Source, SourceListError, merge_lists, parse_source_list
from darc.node.source_lists import read_source_lists
from darc.runtime.paths import packaged


def test_the_packaged_list() -> None:
    sources = parse_source_list(packaged("conf/source_list.yaml").read_text(), "list")
    crab = sources.lookup("CRAB")
    assert crab is not None
    assert (crab.name, crab.kind, crab.dm) == ("B0531+21", "pulsar", 56.77)
    assert crab.position == (83.6332, 22.0145)
    assert sources.lookup("J0534+2200") == sources.lookup("B0531+21") == crab
    repeater = sources.lookup("R3")
    assert repeater is not None
    assert (repeater.name, repeater.kind, repeater.dm) == ("FRB 180916", "frb", 348.8)
    assert sources.lookup("nothing") is None
    assert repeater in sources.with_position()
    assert sources.warnings == ()


def test_an_alias_of_an_alias_and_a_list_of_parts() -> None:
    sources = parse_source_list("frbs: {A: 3}\naliases: {b: A, c: b, d: c}\npulsars:", "x")
    assert sources.lookup("c") == sources.lookup("d") == Source("A", "frb", 3.0, None)
    assert sources.with_position() == ()
    assert parse_source_list("", "x").lookup("c") is None
    assert parse_source_list("pulsar: {}", "x").warnings == ("x:1: pulsar: unknown, ignored",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pulsars:\n  A: x", "x:2: pulsars.A: 'x' is not a number; allowed: a number from 0"),
        ("pulsars: {A: -1}", "x:1: pulsars.A: -1 is not allowed"),
        ("pulsars: [A]", "x:1: pulsars: a list of 1 is not a mapping"),
        ("aliases:\n  b: A", "x:2: aliases.b: 'A' is not a source"),
        ("aliases: {b: c, c: b}", "x:1: aliases.b: 'c' is not a source"),
        ("pulsars: {A: 1}\nfrbs:\n  A: 2", "x:3: frbs.A: listed as a pulsar and as an FRB"),
        ("pulsars: {A: 1, B: 2}\naliases: {A: B}", "x:2: aliases.A: a source itself"),
        ("positions: {A: [1, 2]}", "x:1: positions.A: not a source"),
        ("pulsars: {A: 1}\npositions: {A: [1, 91]}", "x:2: positions.A: 1.0, 91.0 is not"),
        ("pulsars: {A: 1}\npositions: {A: [1]}", "x:2: positions.A: a list of 1 is not a list"),
        ("pulsars: {A: 1,\n A: 2}", "x:2: A: duplicate key"),
        ("pulsars: {", "x:1: not valid YAML"),
    ],
)
def test_errors_name_file_and_line(text: str, message: str) -> None:
    with pytest.raises(SourceListError) as caught:
        parse_source_list(text, "x")
    assert message in str(caught.value)


def _outcome(text: str) -> tuple[str, ...]:
    try:
        return parse_source_list(text, "x").warnings
    except SourceListError as error:
        return error.problems


@given(st.text() | st.from_regex(r"(pulsars|frbs|aliases|positions): \{(\w: [\w.]+)?\}"))
def test_any_text_is_taken_or_refused(text: str) -> None:
    for message in _outcome(text):
        assert message.startswith("x:")


def test_a_source_without_a_position_has_that_of_a_later_list() -> None:
    """Else it could match nothing, though the catalogue beside it knows where it is."""
    ours = parse_source_list("pulsars: {B0531+21: 56.8, B1: 3}\naliases: {CRAB: B0531+21}", "x")
    others = parse_source_list(
        "pulsars: {J0534+2200: 56.77}\naliases: {B0531+21: J0534+2200}\n"
        "positions: {J0534+2200: [83.6, 22.0]}",
        "y",
    )
    last = parse_source_list("pulsars: {B0531+21: 9}\npositions: {B0531+21: [1, 2]}", "z")
    both = merge_lists([ours, others, last])
    assert both.with_position() == (Source("B0531+21", "pulsar", 56.8, (83.6, 22.0)),)
    assert both.lookup("J0534+2200") == both.lookup("CRAB") == both.with_position()[0]


def test_a_list_in_another_encoding_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "ours.yaml"
    path.write_bytes(b"pulsars:\n  A: 3  # \xe9\n")
    with pytest.raises(ValueError, match=r"ours\.yaml:2: not UTF-8; save"):
        read_source_lists(["source_list.yaml", str(path)])
