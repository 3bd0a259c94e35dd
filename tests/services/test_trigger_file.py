"""Trigger files: whatever is in them, and however it got there, every line is accounted for."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from amber_lines import line as amber_line
from hypothesis import given, settings
from hypothesis import strategies as st

from darc.model.counters import Rejection
from darc.trigger_files.amber import AmberLines
from darc.trigger_files.trigger_file import (
    CHUNK_BYTES,
    Chunk,
    Replaced,
    TriggerFile,
    count_chunks,
)
from simulator.amber_files import format_header

HEADER = format_header()


def line(number: int) -> bytes:
    """Each of a DM of its own."""
    return amber_line(number, dm=100.0 + number)


def opened(path: Path, progress: dict[str, int] | None = None, state: object = None) -> TriggerFile:
    lines = AmberLines(1.024, 81.92e-6, state if isinstance(state, dict) else None)
    return TriggerFile(path, lines, progress=progress, state=state)


class Reader:
    """Reads a file as the listener does, and keeps the books."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = opened(path)
        self.chunks: list[Chunk] = []

    def read(self) -> None:
        limit = self.file.size()
        while chunk := self.file.read(limit):
            self.chunks.append(chunk)

    def restart(self) -> None:
        """A new process knows what was committed."""
        progress: dict[str, int] = {}
        for chunk in self.chunks:
            step = chunk.progress
            assert step.start == progress.get(step.source, 0)  # as the journal wants it
            progress[step.source] = step.end
        self.file = opened(self.path, progress, self.file.state())

    def end(self) -> None:
        self.read()
        if chunk := self.file.read_rest(self.file.size()):
            self.chunks.append(chunk)

    @property
    def counts(self) -> dict[str, int]:
        counts: Counter[str] = Counter()
        count_chunks(self.chunks, counts)
        rejected = sum(number for key, number in counts.items() if key.startswith("rejected"))
        assert counts["lines"] == counts["headers"] + counts["candidates"] + rejected
        return {key: number for key, number in counts.items() if number}

    @property
    def dms(self) -> list[float]:
        return [dm for chunk in self.chunks for dm in chunk.candidates["dm"].tolist()]

    def check_steps(self) -> None:
        """Each chunk goes on where the last one ended."""
        ends = [0, *(chunk.progress.end for chunk in self.chunks)]
        assert [chunk.progress.start for chunk in self.chunks] == ends[:-1]
        assert ends[-1] == self.file.offset


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "CB00_step1.trigger"


def read_whole(path: Path, data: bytes) -> Reader:
    path.write_bytes(data)
    reader = Reader(path)
    reader.end()
    reader.check_steps()
    assert reader.file.offset == len(data)
    return reader


def test_whole_lines_are_read_and_half_a_line_waits(path: Path) -> None:
    path.write_bytes(HEADER + line(1) + line(2)[:-5])
    reader = Reader(path)
    reader.read()
    assert reader.dms == [101.0]
    with path.open("ab") as file:
        file.write(line(2)[-5:])
    reader.read()
    assert reader.dms == [101.0, 102.0]
    assert reader.counts == {"lines": 3, "headers": 1, "candidates": 2}


def test_half_a_line_at_the_end_is_counted(path: Path) -> None:
    reader = read_whole(path, HEADER + line(1) + b"0 0 29")
    assert reader.counts == {
        "lines": 3,
        "headers": 1,
        "candidates": 1,
        Rejection.HALF_LINE.counter: 1,
    }
    assert "0 0 29" in reader.chunks[-1].first_rejected


def test_a_file_that_is_not_there_has_nothing_to_read(path: Path) -> None:
    reader = Reader(path)
    reader.end()
    assert reader.counts == {}
    path.write_bytes(HEADER + line(1))
    reader.end()
    assert reader.dms == [101.0]


def test_lines_before_a_late_header_are_counted(path: Path) -> None:
    reader = read_whole(path, line(1) + line(2) + HEADER + line(3))
    assert reader.dms == [103.0]
    assert reader.counts == {
        "lines": 4,
        "headers": 1,
        "candidates": 1,
        Rejection.NO_HEADER.counter: 2,
    }


def test_without_a_header_no_line_is_believed(path: Path) -> None:
    reader = read_whole(path, line(1) + line(2))
    assert reader.counts == {"lines": 2, Rejection.NO_HEADER.counter: 2}
    assert str(path) in reader.chunks[0].first_rejected


def test_a_later_header_with_other_columns_counts_from_there_on(path: Path) -> None:
    other = b"# SNR DM time integration_step beam_id\n12.5 103 3.5 10 4\n"
    reader = read_whole(path, HEADER + line(1) + HEADER + line(2) + other)
    assert reader.dms == [101.0, 102.0, 103.0]
    last = reader.chunks[-1].candidates[-1]
    assert (last["beam"], last["downsampling"], last["time"], last["snr"]) == (4, 10, 3.5, 12.5)
    assert reader.counts == {"lines": 6, "headers": 3, "candidates": 3}


def test_other_columns_are_in_force_after_a_restart_too(path: Path) -> None:
    path.write_bytes(b"# SNR DM time integration_step beam_id\n")
    reader = Reader(path)
    reader.read()
    reader.restart()
    with path.open("ab") as file:
        file.write(b"12.5 103 3.5 10 4\n")
    reader.end()
    assert reader.dms == [103.0]


def test_a_header_without_needed_columns_is_named(path: Path) -> None:
    reader = read_whole(path, b"# beam_id time DM\n1 2 3\n" + HEADER + line(1))
    assert reader.counts == {
        "lines": 4,
        "headers": 1,
        "candidates": 1,
        Rejection.UNUSABLE_HEADER.counter: 1,
        Rejection.NO_HEADER.counter: 1,
    }
    assert "SNR" in reader.chunks[0].first_rejected


def test_lines_with_wrong_columns_are_counted(path: Path) -> None:
    reader = read_whole(path, HEADER + b"1 2 3\n" + line(1) + line(2).replace(b" 7 ", b" x "))
    assert reader.counts == {
        "lines": 4,
        "headers": 1,
        "candidates": 1,
        Rejection.WRONG_COUNT.counter: 1,
        Rejection.NOT_NUMBER.counter: 1,
    }


def test_crlf_is_a_line_end(path: Path) -> None:
    reader = read_whole(path, (HEADER + line(1) + line(2)).replace(b"\n", b"\r\n"))
    assert reader.counts == {"lines": 3, "headers": 1, "candidates": 2}


def test_a_carriage_return_alone_ends_no_line(path: Path) -> None:
    reader = read_whole(path, b"rubbish\r# beam_id\rmore\n" + HEADER + line(1))
    assert reader.counts == {
        "lines": 3,
        "headers": 1,
        "candidates": 1,
        Rejection.NO_HEADER.counter: 1,
    }


@pytest.mark.parametrize("length", [CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 17])
@pytest.mark.parametrize("header", [HEADER, b""])
def test_a_line_of_over_a_mebibyte_is_one_bad_line(path: Path, length: int, header: bytes) -> None:
    """Its end is no line of its own, even where it looks like one."""
    long = b"x" * (length - len(line(9))) + b" " + line(9)
    reader = read_whole(path, header + long + HEADER + line(1))
    assert reader.dms == [101.0]
    counts = reader.counts
    assert counts["lines"] == (4 if header else 3)
    assert sum(number for key, number in counts.items() if key.startswith("rejected")) == 1


def test_a_long_line_is_passed_over_across_a_restart(path: Path) -> None:
    path.write_bytes(HEADER + b"x" * (CHUNK_BYTES + 5000))
    reader = Reader(path)
    reader.read()
    reader.restart()
    with path.open("ab") as file:
        file.write(b" \n" + line(1))
    reader.end()
    assert reader.counts == {
        "lines": 3,
        "headers": 1,
        "candidates": 1,
        Rejection.LONG_LINE.counter: 1,
    }


def replace_by_rename(path: Path, content: bytes) -> None:
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.replace(path)


def write_in_place(path: Path, content: bytes) -> None:
    with path.open("r+b") as file:
        file.truncate(0)
        file.write(content)


def remove_and_write(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


ANEW = st.sampled_from([replace_by_rename, write_in_place, remove_and_write])


@pytest.mark.parametrize("write", [replace_by_rename, write_in_place, remove_and_write])
@pytest.mark.parametrize("n_lines", [1, 2, 3, 100])  # shorter, as long, and longer than before
def test_a_file_that_is_written_anew_is_read_from_its_start(
    path: Path, write: Callable[[Path, bytes], None], n_lines: int
) -> None:
    path.write_bytes(HEADER + line(1) + line(2) + b"half a li")
    reader = Reader(path)
    reader.read()
    write(path, HEADER + b"".join(line(50 + number) for number in range(n_lines)))
    reader.read()
    assert reader.counts["candidates"] == 2 + n_lines
    assert reader.file.replaced == Replaced(len(HEADER + line(1) + line(2)), len(b"half a li"))


@pytest.mark.parametrize("is_same_file", [True, False])
def test_a_file_of_the_same_content_goes_on(path: Path, is_same_file: bool) -> None:
    content = HEADER + line(1) + line(2)
    path.write_bytes(content)
    reader = Reader(path)
    reader.read()
    reader.restart()
    (write_in_place if is_same_file else replace_by_rename)(path, content + line(3))
    reader.read()
    assert reader.counts["candidates"] == 3
    assert reader.file.replaced is None


@pytest.mark.parametrize("left", [len(HEADER + line(1)) - 3, len(HEADER + line(1)), 5000])
def test_a_file_that_was_only_cut_goes_on_at_its_end(path: Path, left: int) -> None:
    content = HEADER + b"".join(line(number % 9 + 1) for number in range(200))
    path.write_bytes(content)
    reader = Reader(path)
    reader.read()
    os.truncate(path, left)
    reader.read()
    assert reader.file.replaced == Replaced(len(content), 0)
    with path.open("ab") as file:
        file.write(b"\n" + line(3))
    reader.restart()
    reader.read()
    assert reader.counts["candidates"] == 201


def test_a_new_file_that_has_only_its_header_yet_is_no_cut_one(path: Path) -> None:
    path.write_bytes(HEADER + line(1))
    reader = Reader(path)
    reader.read()
    replace_by_rename(path, HEADER)
    reader.read()
    with path.open("ab") as file:
        file.write(line(2))
    reader.read()
    assert reader.counts == {"lines": 4, "headers": 2, "candidates": 2}


def test_a_time_outside_the_observation_is_no_candidate(path: Path) -> None:
    path.write_bytes(HEADER + line(1) + line(900) + line(2))
    file = TriggerFile(path, AmberLines(1.024, 81.92e-6), latest=100.0)
    chunk = file.read(file.size())
    assert chunk is not None
    assert len(chunk.candidates) == 2
    assert chunk.rejected == {Rejection.OUTSIDE: 1}
    assert chunk.lines == len(chunk.candidates) + chunk.headers + sum(chunk.rejected.values())


def test_what_an_earlier_version_remembers_of_a_file_is_enough_to_go_on(path: Path) -> None:
    path.write_bytes(HEADER + line(1))
    reader = Reader(path)
    reader.read()
    state = {key: reader.file.state()[key] for key in ("columns", "in long line")}
    reader.file = opened(path, {path.name: len(HEADER + line(1))}, state)
    with path.open("ab") as file:
        file.write(line(2))
    reader.read()
    assert reader.counts["candidates"] == 2


def test_what_is_no_file_is_not_waited_for(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(OSError, match="not a regular file"):
        opened(path).read(10)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.integers(1, 3)),
            st.tuples(ANEW, st.integers(0, 5)),
            st.just("restart"),
        ),
        max_size=8,
    )
)
def test_every_line_of_every_version_is_read_once(steps: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "CB00_step1.trigger"
        path.write_bytes(HEADER)
        reader = Reader(path)
        written = 0

        def lines(number: int) -> bytes:
            nonlocal written
            written += number
            return b"".join(line(written - place) for place in range(number))

        for step in steps:
            if step == "restart":
                reader.restart()
            elif step[0] == "append":
                with path.open("ab") as file:
                    file.write(lines(step[1]))
            else:
                step[0](path, HEADER + lines(step[1]))
            reader.read()
        assert reader.counts.get("candidates", 0) == written


def test_headers_that_are_none_take_no_time_to_speak_of(path: Path) -> None:
    """They are passed over together, not each with a look at a mebibyte."""
    path.write_bytes(b"#\n" * 20_000)
    reader = Reader(path)
    reader.end()
    assert reader.counts == {"lines": 20_000, Rejection.UNUSABLE_HEADER.counter: 20_000}
    assert len(reader.chunks) == 1


PIECES = st.one_of(
    st.integers(1, 50).map(line),
    st.sampled_from([HEADER, b"# SNR DM time integration_step beam_id\n", b"# beam_id\n"]),
    st.sampled_from([b"\n", b"\r\n", b"# \n", b"1 2 3\n", b"12.5 103 3.5 10 4\n"]),
    st.binary(max_size=20),
)


@given(st.lists(PIECES, max_size=12), st.lists(st.integers(0, 600), max_size=6), st.data())
@settings(deadline=None, max_examples=200)
def test_the_books_do_not_depend_on_how_a_file_is_written_and_who_reads_it(
    tmp_path_factory: pytest.TempPathFactory,
    pieces: list[bytes],
    cuts: list[int],
    data: st.DataObject,
) -> None:
    directory = tmp_path_factory.mktemp("pieces")
    content = b"".join(pieces)
    whole = read_whole(directory / "whole", content)
    reader = Reader(directory / "cut")
    reader.path.touch()
    places = sorted({min(cut, len(content)) for cut in cuts} | {len(content)})
    for start, end in zip([0, *places], places, strict=False):
        with reader.path.open("ab") as file:
            file.write(content[start:end])
        reader.read()
        if data.draw(st.booleans()):
            reader.restart()
    reader.end()
    reader.check_steps()
    assert reader.counts == whole.counts
    found = [chunk.candidates for chunk in reader.chunks]
    expected = [chunk.candidates for chunk in whole.chunks]
    if found or expected:
        assert np.concatenate(found).tolist() == np.concatenate(expected).tolist()
    n_lines = content.count(b"\n") + (not content.endswith(b"\n") and bool(content))
    assert reader.counts.get("lines", 0) == n_lines
