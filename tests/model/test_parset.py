"""Parsets, in both dialects, and the telescope's inside them."""

from __future__ import annotations

import bz2
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from darc.model.observation import ObservationError
from darc.model.parset import (
    MAX_EMBEDDED,
    Parset,
    embedded_parset,
    parse_parset,
    parse_yaml_observation,
)
from darc.model.parset_values import to_angles, to_integers, to_name

DATA = Path(__file__).parents[3] / "shared" / "data" / "observation"
needs_data = pytest.mark.skipif(not DATA.exists(), reason=f"{DATA} is not here")


def test_lines_and_types() -> None:
    parset = parse_parset(
        "# a comment\n\nstartpacket = 1217362088000000\n  duration=299.008 # s\nproctrigger=TRUE\n"
        "enable_iquv=false\nbeams=[0, 1, 5..7]\nbeam=3\r\nname = a = b\nempty=\nsnrmin=8\n"
        "tsamp=8e-5",
        "p",
    )
    assert parset.values == {
        "startpacket": 1217362088000000,
        "duration": 299.008,
        "proctrigger": True,
        "enable_iquv": False,
        "beams": (0, 1, 5, 6, 7),
        "beam": 3,
        "name": "a = b",
        "empty": "",
        "snrmin": 8.0,
        "tsamp": "8e-5",
    }
    assert parset.lines["startpacket"] == 3
    assert parset.warnings == ()


def test_a_line_that_is_none_is_skipped_with_a_warning() -> None:
    parset = parse_parset("beam=1\nwhat is this\n=3\nbeam=2", "p")
    assert parset.values == {"beam": 2}
    assert [warning.partition(" ")[0] for warning in parset.warnings] == ["p:2:", "p:3:"]


@pytest.mark.parametrize(
    ("line", "allowed"),
    [
        ("startpacket=1.5", "a whole number"),
        ("beam=", "a whole number"),
        ("beam=1_0", "a whole number"),
        ("ntabs=True", "a whole number"),
        ("nsynbeams=9999999999999999999", "a whole number"),
        ("network_port_event_i=x", "a whole number"),
        ("duration=nan", "a number"),
        ("min_freq=inf", "a number"),
        ("history_iquv=1_0", "a number"),
        ("proctrigger=yes", "True or False"),
        ("enable_iquv=1", "True or False"),
        ("beams=[0, x]", "a list of whole numbers"),
        ("beams=[3..1]", "a list of whole numbers"),
        ("beams=[0..99999999999]", "a list of whole numbers"),
    ],
)
def test_a_wrong_value_names_file_line_key_and_what_is_allowed(line: str, allowed: str) -> None:
    key, _, value = line.partition("=")
    for name, text in (("p", f"\n{line}"), ("y", f"a: b\n{key}: '{value}'")):
        parse = parse_parset if name == "p" else parse_yaml_observation
        with pytest.raises(ObservationError) as caught:
            parse(text, name)
        (problem,) = caught.value.problems
        found = (problem.file, problem.line, problem.key, problem.value, problem.allowed)
        assert found == (name, 2, key, value, allowed)
        assert str(problem).startswith(f"{name}:2: {key}: ")


def test_all_wrong_values_are_named() -> None:
    with pytest.raises(ObservationError) as caught:
        parse_parset("beam=x\nduration=y", "p")
    assert len(caught.value.problems) == 2


def test_yaml_has_the_same_keys() -> None:
    text = (
        "taskid: 0190518009\nbeam: 3\nduration: 300\nproctrigger: true\nbeams: [0, 1]\n"
        "utc_start: 2019-05-18-23:51:13\ndate: 2019-05-18\ntsamp: 8e-5\nnothing:\n"
        "task.telescopes: [RT2, RT3]"
    )
    parset = parse_yaml_observation(text, "y")
    assert parset.values == {
        "taskid": "0190518009",
        "beam": 3,
        "duration": 300.0,
        "proctrigger": True,
        "beams": (0, 1),
        "utc_start": "2019-05-18-23:51:13",
        "date": "2019-05-18",
        "tsamp": "8e-5",
        "task.telescopes": "[RT2, RT3]",
    }
    assert parset.lines["beam"] == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "y:1: file: not valid YAML"),
        ("- a", "y:1: file: a list of 1 is not a mapping"),
        ("", "y:1: file: null is not a mapping"),
        ("a: b\ntask: {x: 1}", "y:2: task: a mapping, or a nested list"),
        ("a: [[1]]", "y:1: a: a mapping, or a nested list"),
        ("a: 1\na: 2", "y:2: file: a: duplicate key"),
    ],
)
def test_what_is_no_such_yaml(text: str, message: str) -> None:
    with pytest.raises(ObservationError) as caught:
        parse_yaml_observation(text, "y")
    assert message in str(caught.value)


def _with_embedded(data: bytes) -> Parset:
    return parse_parset(f"\nparset={data.hex()}", "p")


def test_the_telescopes_parset_inside() -> None:
    embedded = embedded_parset(_with_embedded(bz2.compress("task.taskID = 7 # ü".encode())))
    assert embedded is not None
    assert embedded.values == {"task.taskID": "7"}
    assert embedded.name == "p:2 (parset)"
    assert embedded_parset(parse_parset("beam=1", "p")) is None
    assert embedded_parset(parse_parset("parset=", "p")) is None


@pytest.mark.parametrize(
    "data",
    [
        lambda: b"no bzip2",
        lambda: bz2.compress(b"task.taskID = 7")[:-4],
        lambda: bz2.compress(b"\xff\xfe"),
        lambda: bz2.compress(b"\n" * (MAX_EMBEDDED + 1)),
        # Made in the test: it takes half a second, and every test process collects all tests.
        lambda: bz2.compress(b"\n" * 200_000_000),
    ],
    ids=["other", "cut", "not UTF-8", "large", "bomb"],
)
def test_what_cannot_be_decoded_is_named(data: Callable[[], bytes]) -> None:
    with pytest.raises(ObservationError, match=r"p:2: parset: .*allowed: a parset, compressed"):
        embedded_parset(_with_embedded(data()))


def test_not_hexadecimal() -> None:
    with pytest.raises(ObservationError, match="p:1: parset: 'xyz' is invalid"):
        embedded_parset(parse_parset("parset=xyz", "p"))


def test_a_parset_of_the_largest_size_is_taken() -> None:
    assert embedded_parset(_with_embedded(bz2.compress(b"\n" * MAX_EMBEDDED))) is not None


def test_values() -> None:
    assert to_integers("4") == (4,)
    assert to_integers("[]") == ()
    assert to_angles("[293.948755deg,  16.277785deg]") == (293.948755, 16.277785)
    assert to_angles("[0.0deg,             +0.0          deg]") == (0.0, 0.0)
    for wrong in ("[1, 2]", "1deg", "[1rad]", "[nandeg]", "["):
        with pytest.raises(ValueError, match=r".*"):
            to_angles(wrong)
    for wrong in ("", ".", "..", "a/b", "a\nb", "a\0", "x" * 201):
        with pytest.raises(ValueError, match=r".*"):
            to_name(wrong)


@needs_data
def test_the_samples() -> None:
    worker, master, telescope = (
        parse_parset((DATA / name).read_text(), name)
        for name in ("darc_CB00.parset", "darc_master.parset", "input.parset")
    )
    assert worker.values["startpacket"] == 1217362088000000
    assert master.values["beams"] == tuple(range(40))
    assert master.warnings == worker.warnings == telescope.warnings == ()
    embedded = embedded_parset(master)
    assert embedded is not None
    assert {**embedded.values, **telescope.values} == embedded.values


_key = st.text("abcdefgh._0", min_size=1, max_size=8).filter(lambda key: key not in {"beam"})
_value = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Z"), exclude_characters="#"), max_size=10
)


@given(st.dictionaries(_key, _value, max_size=5), st.integers(0, 2))
def test_what_is_written_is_read(entries: dict[str, str], blanks: int) -> None:
    equals = " " * blanks + "=" + " " * blanks
    text = "\n".join(f"{key}{equals}{value} # note" for key, value in entries.items())
    assert parse_parset(text, "p").values == entries
    same = parse_yaml_observation(yaml.safe_dump(entries, default_style="'") or "{}", "y")
    assert same.values == entries


@given(
    st.text()
    | st.from_regex(r"(beam|duration|beams|proctrigger)\s?[=:] ?.*\n(a[=:] .*)?", fullmatch=True)
)
def test_any_text_is_taken_or_refused(text: str) -> None:
    for parse in (parse_parset, parse_yaml_observation):
        for message in _outcome(text, parse):
            assert message.startswith("x:")


def _outcome(text: str, parse: object) -> list[str]:
    assert callable(parse)
    try:
        return list(parse(text, "x").warnings)
    except ObservationError as error:
        return [str(problem) for problem in error.problems]


@given(st.binary(max_size=200))
def test_any_bytes_inside_are_taken_or_refused(data: bytes) -> None:
    for content in (data, bz2.compress(data)):
        try:
            embedded_parset(_with_embedded(content))
        except ObservationError as error:
            assert error.problems  # noqa: PT017 - most bytes are refused, some are not
