"""YAML of others: bounded in size, in depth and in what aliases stand for; and quick to refuse."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from darc.candidates.results.trigger_lists import ResultFileError, read_summary
from darc.config.pyyaml import MAX_CHARACTERS, MAX_DEPTH, MAX_VALUES
from darc.config.yaml_error import YAMLTextError
from darc.config.yaml_tree import parse_yaml
from darc.model.counters import Rejection
from darc.model.observation import ObservationError
from darc.model.parset import MAX_KEYS, parse_parset, parse_yaml_observation
from darc.model.processing_outcome import ProcessingSummary
from darc.trigger_files.amber import Columns, parse_lines
from simulator.amber_files import format_header

#: Nine levels, each nine times the one before: 400 bytes for 400 million values.
BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{level}: &a{level} [{','.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (BOMB, "y:1: more than 20000 values, those behind aliases counted each time"),
        ("[" + "[]," * MAX_VALUES + "]", "y:1: more than 20000 values"),
        ("[" * 5000, "y:1: nested too deeply, more than 50 levels"),
        ("- " * 5000, "y:1: nested too deeply"),
        ("a" * (MAX_CHARACTERS + 1), "y: longer than 262144 characters"),
        ("a: &a {b: *a}", "y:1: an alias inside its own anchor"),
        ("a: 1\nb: 2\na: 3", "y:3: a: duplicate key, first in line 1"),
        ('a: "\\ud800"', "y:1: '\\ud800' is not valid Unicode"),
        ('"\\ud800": 1', "y:1: '\\ud800' is not valid Unicode"),
        (
            "a: " + "1:" * 50_000 + "1",
            "y:1: '1:1:1:1:1:1:1:1:1:1:'... is not a number: longer than 64",
        ),
        ("port: 061000", "y:1: '061000' starts with 0, which YAML reads as octal; write 61000"),
        ("a:\n- 1\n- -007", "y:3: '-007' starts with 0"),
        ("port: 12:30:00", "y:1: '12:30:00' has colons"),
        ("a: 1:30.5", "y:1: '1:30.5' has colons"),
        ("a: 0x" + "f" * 10_000, "is not a number: longer than 64"),
        ("a: " + "9" * 5000, "is not a number: longer than 64"),
        ("a: !!bool maybe", "y:1: 'maybe' is not bool"),
        ("a: !!int ''", "y:1: '' is not int"),
    ],
)
def test_what_is_too_much_is_told_at_once(text: str, what: str) -> None:
    begin = time.process_time()
    with pytest.raises(YAMLTextError) as caught:
        parse_yaml(text, "y")
    assert any(what in str(problem) for problem in caught.value.problems), caught.value
    assert time.process_time() - begin < 30.0


def test_a_few_anchors_are_fine() -> None:
    tree = parse_yaml("a: &all {x: 1, y: [1, 2]}\nb: *all\nc: *all", "y")
    assert tree.data["b"].data["y"].data[1].data == 2
    assert parse_yaml("[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1), "y")


def test_an_observation_of_aliases_is_refused() -> None:
    with pytest.raises(ObservationError, match="more than 20000 values"):
        parse_yaml_observation(BOMB, "y")


def test_a_summary_of_aliases_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "CB00_summary.yaml"
    path.write_text(BOMB)
    with pytest.raises(ResultFileError, match="more than 20000 values"):
        read_summary(path)
    path.write_text(
        "".join(f"{name}: {'9' * 50}\n" for name in ProcessingSummary.__struct_fields__)
    )
    assert read_summary(path)


# -- time grows as the length does -----------------------------------------------------------------

COLUMNS = Columns.from_header(format_header())
_OTHER = b"# beam_id integration_step time DM SNR\n"


def amber(part: bytes) -> Callable[[int], object]:
    return lambda size: parse_lines(
        part * (size // len(part)), COLUMNS, batch_length_s=1.0, tsamp=1e-4
    )


def yaml_of(head: str, part: str) -> Callable[[int], object]:
    return lambda size: parse_yaml(head + part * (size // len(part)), "y")


def parset_of(head: str, part: str) -> Callable[[int], object]:
    return lambda size: parse_parset(head + part * (size // len(part)), "p")


def seconds(parse: Callable[[int], object], size: int) -> float:
    """The best of a few: others are at work here, too."""
    found = []
    for _ in range(2):
        begin = time.thread_time()
        with contextlib.suppress(ValueError):
            parse(size)
        found.append(time.thread_time() - begin)
    return min(found)


@pytest.mark.parametrize(
    ("parse", "size"),
    [
        *((amber(part), 2**15) for part in (b"1\n#\n", b"#\n", b"x\n", b"1 2\n" + _OTHER, b"1\n")),
        *((amber(part), 2**16) for part in (format_header() + _OTHER, b"9", b"1\r\n#\r\n")),
        *((yaml_of("a: ", part), 2**13) for part in ("x", "x ", "1:", "\n\n x", "'")),
        *((yaml_of(head, part), 2**12) for head, part in (("", "#\n"), ("[", "a: b,"), ("", "\n"))),
        *((parset_of(head, part), 2**17) for head, part in (("", "1\n#\n"), ("beams=[", "0,"))),
        *((parset_of(head, part), 2**18) for head, part in (("", "="), ("duration=", "9"))),
    ],
)
def test_twice_as_much_takes_twice_as_long(parse: Callable[[int], object], size: int) -> None:
    """And not four times: generously, as clocks are coarse and machines busy."""
    once = seconds(parse, size)
    assert seconds(parse, 4 * size) < 11 * once + 0.05
    assert once / size < 40e-6  # s per byte: no 63 s for 1 MiB


def test_headers_between_all_lines_change_no_candidate() -> None:
    """Short runs are read one by one, long ones at once: with the same result."""
    line = b"3 0 0 10 1 12.5 0 300 1 30\n"
    bad = b"3 0 0 10 1 12.5 0 300 1 1e6\n"
    for between in (b"#\n", format_header()):
        mixed = parse_lines(
            (line + bad + between) * 200 + line * 500, COLUMNS, batch_length_s=1.0, tsamp=1e-4
        )
        plain = parse_lines(line * 700, COLUMNS, batch_length_s=1.0, tsamp=1e-4)
        assert mixed.candidates.tolist() == plain.candidates.tolist()
        assert mixed.rejected[Rejection.OUT_OF_RANGE] == 200
        assert mixed.lines == 1100
    swapped = _OTHER + b"3 10 12.5 300 30\n" + format_header() + line
    found = parse_lines(swapped, COLUMNS, batch_length_s=1.0, tsamp=1e-4)
    assert found.candidates.tolist() == [plain.candidates.tolist()[0]] * 2


def test_a_parset_is_bounded() -> None:
    with pytest.raises(ObservationError, match="too many keys"):
        parse_parset("".join(f"k{number}=1\n" for number in range(MAX_KEYS + 1)), "p")
    warnings = parse_parset("x\n" * 1000, "p").warnings
    assert len(warnings) == 21
    assert warnings[-1] == "p: 980 more lines are not key = value"
