"""AMBER's trigger format: every line is one thing, and reading fast changes nothing."""

from __future__ import annotations

import math
import re
from collections import Counter
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from darc.model.candidate import CANDIDATE
from darc.model.counters import in_words
from darc.trigger_files import amber
from darc.trigger_files.amber import Columns, ParsedLines, parse_lines
from simulator.amber_files import format_header, format_line

SAMPLES = Path(__file__).parents[3] / "shared/data/amber"
BATCH = 1.024
TSAMP = 81.92e-6
COLUMNS = Columns.from_header(format_header())
LINE = b"0 0 299 1 2 0.0244941 283 56.6 10 18.4666\n"


def parse(data: bytes, columns: Columns = COLUMNS) -> ParsedLines:
    parsed = parse_lines(data, columns, batch_length_s=BATCH, tsamp=TSAMP)
    assert parsed.lines == data.count(b"\n")
    assert parsed.lines == (len(parsed.candidates) + parsed.headers + sum(parsed.rejected.values()))
    return parsed


def obvious(data: bytes) -> tuple[list[tuple[float, ...]], int, dict[str, int], object]:
    """What parse_lines promises, a line at a time and with no thought of speed."""
    columns = COLUMNS
    candidates: list[tuple[float, ...]] = []
    headers = 0
    rejected: Counter[str] = Counter()
    first = None
    for index, raw in enumerate(data.split(b"\n")[:-1]):
        line = raw.removesuffix(b"\r")
        if line.startswith(b"#"):
            try:
                columns = Columns.from_header(line)
                headers += 1
                continue
            except ValueError:
                verdict: str | tuple[float, ...] = "bad header"
        else:
            verdict = obvious_line(line, columns)
        if isinstance(verdict, str):
            rejected[verdict] += 1
            first = first or (index, line)
        else:
            candidates.append(verdict)
    return candidates, headers, dict(rejected), first


def obvious_line(line: bytes, columns: Columns) -> str | tuple[float, ...]:  # noqa: PLR0911
    if any(byte != 9 and not 32 <= byte < 127 for byte in line):
        return "not text"
    words = line.decode("ascii").replace("\t", " ").split()
    if not words:
        return "empty"
    if len(words) != columns.count:
        return "wrong number of columns"
    for index, word in enumerate(words):
        if not re.fullmatch("[0-9.eE+-]+", word) and not re.match(r"[+-]?(nan|inf)", word.lower()):
            return "not a number"
        try:
            value = float(word.split("(")[0])
        except ValueError:
            return "not a number"
        if not math.isfinite(value):
            return "not finite"
        if index in (columns.beam, columns.downsampling):
            try:
                int(word)
            except ValueError:
                return "not an integer"
    values = [float(word) for word in words]
    beam, width, time = values[columns.beam], values[columns.downsampling], values[columns.time]
    dm, snr = values[columns.dm], values[columns.snr]
    if not (
        0 <= beam <= 1e6 and 1 <= width <= 1e6 and 0 <= time <= 8.64e6
    ) or not (0 <= dm <= 1e5 and 0 <= snr <= 1e5):  # fmt: skip
        return "out of range"
    if columns.batch is not None and columns.sample is not None:
        exact = values[columns.batch] * BATCH + values[columns.sample] * width * TSAMP
        unit = 10.0 ** (math.floor(math.log10(time)) - 5) if time else 0.0
        if abs(exact - time) <= unit and 0 <= exact <= 8.64e6:
            time = float(np.round(exact, 9))
    return beam, width, time, dm, snr


# The real files


@pytest.mark.parametrize(("step", "count"), [(1, 600), (2, 0), (3, 12)])
def test_the_sample_is_read_completely(step: int, count: int) -> None:
    path = SAMPLES / f"CB00_step{step}.trigger"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    header, _, body = path.read_bytes().partition(b"\n")
    parsed = parse(body, Columns.from_header(header))
    assert len(parsed.candidates) == count
    assert in_words(parsed.rejected) == {}
    assert parsed.first_rejected is None
    # Every time is exact: on the grid of samples, and prints as it stands in the file.
    samples = parsed.candidates["time"] / TSAMP
    np.testing.assert_allclose(samples, np.round(samples), atol=1e-5)
    printed = [float(line.split()[5]) for line in body.splitlines()]
    assert [float(f"{time:g}") for time in parsed.candidates["time"]] == printed


def test_lines_are_written_as_amber_writes_them() -> None:
    written = format_line(
        beam=0, batch=0, sample=299, integration_step=1, compacted_steps=2, time=299 * TSAMP,
        dm_id=283, dm=56.6, compacted_dms=10, snr=18.46663,
    )  # fmt: skip
    assert written == LINE
    path = SAMPLES / "CB00_step1.trigger"
    if path.exists():
        assert path.read_bytes().startswith(format_header())


def test_fields_land_in_their_places() -> None:
    (candidate,) = parse(LINE).candidates
    assert candidate.dtype == CANDIDATE
    assert candidate.item() == (0, 1, 0.02449408, 56.6, 18.4666)


# Headers


def test_columns_are_found_by_name_in_any_order() -> None:
    columns = Columns.from_header(b"#SNR time extra DM integration_step beam_id\r\n")
    (candidate,) = parse(b"20 1.5 7 56.6 5 3\n", columns).candidates
    assert candidate.item() == (3, 5, 1.5, 56.6, 20.0)


def test_a_header_names_what_is_missing() -> None:
    with pytest.raises(ValueError, match="without integration_step, SNR:"):
        Columns.from_header(b"# beam_id time DM")


@pytest.mark.parametrize("line", [b"beam_id integration_step time DM SNR", b"# \xff", b""])
def test_what_is_no_header_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match="not a header"):
        Columns.from_header(line)


def test_a_name_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="names DM twice"):
        Columns.from_header(b"# beam_id integration_step time DM SNR DM")


def test_a_header_between_lines_changes_the_columns_after_it() -> None:
    data = LINE + b"# SNR time DM integration_step beam_id\n" + b"20 1.5 56.6 5 3\n"
    parsed = parse(data)
    assert parsed.headers == 1
    assert parsed.candidates["snr"].tolist() == [18.4666, 20.0]
    assert parsed.columns.count == 5
    again = parse(b"20 1.5 56.6 5 3\n", parsed.columns)
    assert again.candidates.tolist() == [(3, 5, 1.5, 56.6, 20.0)]


def test_a_bad_header_is_rejected_and_the_columns_stay() -> None:
    parsed = parse(format_header() + b"# beam_id time\n" + LINE)
    assert (parsed.headers, in_words(parsed.rejected)) == (1, {"bad header": 1})
    assert parsed.first_rejected == (1, b"# beam_id time")
    assert len(parsed.candidates) == 1


# Lines that are none

BAD = [
    (b"", "empty"),
    (b" \t ", "empty"),
    (b"0 0 299 1 2 0.0244941 283 56.6 10", "wrong number of columns"),
    (b"0 0 299 1 2 0.0244941 283 56.6 10 18.4666 1", "wrong number of columns"),
    (b"0 0 299 1 2 0.0244941 283 56.6 10 ten", "not a number"),
    (b"0 0 299 1 2 0.0244941 283 56.6 10 0x10", "not a number"),
    (b"0 0 299 1 2 0.0244941 283 56.6 1_0 18.4666", "not a number"),
    (b"0 0 299 1 2 0.0244941 283 5.6.6 10 18.4666", "not a number"),
    (b"0 0 299 1 2 0.0244941 283 . 10 18.4666", "not a number"),
    (b"0 0 299 1 2 0.0244941 283 56-6 10 18.4666", "not a number"),
    (b"0.5 0 299 1 2 0.0244941 283 56.6 10 18.4666", "not an integer"),
    (b"0 0 299 1e5 2 0.0244941 283 56.6 10 18.4666", "not an integer"),
    (b"0 0 299 1. 2 0.0244941 283 56.6 10 18.4666", "not an integer"),
    (b"0 0 299 1 2 0.0244941 283 nan 10 18.4666", "not finite"),
    (b"0 0 299 1 2 -inf 283 56.6 10 18.4666", "not finite"),
    (b"0 0 299 1 2 0.0244941 283 56.6 10 1e999", "not finite"),
    (b"-1 0 299 1 2 0.0244941 283 56.6 10 18.4666", "out of range"),
    (b"0 0 299 0 2 0.0244941 283 56.6 10 18.4666", "out of range"),
    (b"0 0 299 99999999999999999999 2 0.0244941 283 56.6 10 18.4666", "out of range"),
    (b"0 0 299 1 2 -0.0244941 283 56.6 10 18.4666", "out of range"),
    (b"0 0 299 1 2 0.0244941 283 -56.6 10 18.4666", "out of range"),
    (b"0 0 299 1 2 0.0244941 283 56.6 10 9999999", "out of range"),
    (b"0 0 299 1 2 0.0244941 283 56.6 10 18.4666\0", "not text"),
    (b"\0" * 50, "not text"),
    (b"0 0 299 1 2 0.0244941\v283 56.6 10 18.4666", "not text"),
    (b"0 0 299 1 2 0.0244941 283 56.6\r10 18.4666", "not text"),
    (b"0 0 299 1 2 0.0244941 283 56.6 10 18\xb7466", "not text"),
]


@pytest.mark.parametrize(("line", "reason"), BAD)
def test_a_bad_line_is_rejected_by_reason_and_the_others_stay(line: bytes, reason: str) -> None:
    parsed = parse(LINE + line + b"\n" + LINE)
    assert in_words(parsed.rejected) == {reason: 1}
    assert parsed.first_rejected == (1, line)
    assert len(parsed.candidates) == 2


@pytest.mark.parametrize(
    "line",
    [
        LINE.replace(b"\n", b"\r\n"),
        LINE.replace(b" ", b"\t"),
        b"  " + LINE.replace(b" ", b"   "),
        b"+0 00 299. 1 2 2.44941e-02 283 56.60000000000000000000 10 184666E-4\n",
        b"0 0 299 1 2 0.0244941000000000000 283 0000000000000056.6 10 18.46660000000000\n",
    ],
)
def test_the_same_line_written_otherwise(line: bytes) -> None:
    assert parse(line).candidates.tolist() == parse(LINE).candidates.tolist()


def test_a_short_line_and_a_long_one_do_not_make_two() -> None:
    short, long = LINE.replace(b" 18.4666", b""), LINE.replace(b"\n", b" 18.4666\n")
    assert in_words(parse(short + long).rejected) == {"wrong number of columns": 2}


def test_half_a_line_is_left_to_the_caller() -> None:
    with pytest.raises(ValueError, match="half a line"):
        parse_lines(LINE + b"0 0 29", COLUMNS, batch_length_s=BATCH, tsamp=TSAMP)
    assert parse(b"").lines == 0


# Times


@pytest.mark.parametrize(
    ("printed", "time"),
    [
        (b"1025.72", 1025.72032),  # agrees: better than printed
        (b"1025.73", 1025.72032),  # within the last of six digits
        (b"1025.8", 1025.8),  # does not: as printed
        (b"99.9999", 99.9999),
    ],
)
def test_the_exact_time_is_used_where_it_agrees_with_the_printed_one(
    printed: bytes, time: float
) -> None:
    line = b"0 1001 850 10 2 %s 283 56.6 10 18.4666\n" % printed
    assert parse(line).candidates["time"].tolist() == [time]


def test_the_same_moment_is_the_same_number_whatever_the_integration_step() -> None:
    """The filter on synthesised beams looks for equal times."""
    steps = [(step, 85000 // step) for step in (1, 2, 5, 10, 50, 100, 250, 500, 1000)]
    lines = b"".join(b"0 7 %d %d 2 14.1312 283 56.6 10 18.4\n" % (n, step) for step, n in steps)
    assert set(parse(lines).candidates["time"].tolist()) == {14.1312}


def test_absurd_batch_numbers_leave_the_printed_time() -> None:
    lines = b"0 1e308 1e308 10 2 3.5 283 56.6 10 18.4\n0 1e308 -1e308 10 2 4.5 283 56.6 10 18.4\n"
    assert parse(lines).candidates["time"].tolist() == [3.5, 4.5]


# Fast is obvious

NASTY = (
    "0 1 -1 +1 1. .5 . - 1e5 1e999 nan -nan nan(1) inf INFINITY 1_000 0x1F 1.2.3 1..2 1e 12a "
    "123456789012345 1234567890123456 0.1234567890123 00012 99999 100000 100001 1000000 1000001 "
    "8640000 8640001 ٣ é #"
)
WORDS = st.sampled_from(NASTY.split()).map(str.encode)
GOOD_LINES = st.builds(
    lambda beam, batch, sample, step, dm, snr, shift: format_line(
        beam=beam, batch=batch, sample=sample, integration_step=step, dm_id=int(dm / 0.2), dm=dm,
        time=abs(batch * BATCH + sample * step * TSAMP + shift), snr=snr,
    )[:-1],
    st.integers(0, 70), st.integers(0, 20_000), st.integers(0, 12_499),
    st.sampled_from([1, 5, 10, 50, 1000]), st.floats(0, 3000), st.floats(8, 2000),
    st.sampled_from([0, 0, 1e-6, 1e-3, 0.5]),
)  # fmt: skip


@st.composite
def damaged_lines(draw: st.DrawFn) -> bytes:
    """Good lines with words replaced, dropped or added, bytes changed, blanks of other kinds."""
    words = draw(GOOD_LINES).split(b" ")
    index = draw(st.integers(0, len(words)))
    words[index : index + draw(st.integers(0, 2))] = draw(st.lists(WORDS, max_size=2))
    line = bytearray(draw(st.sampled_from([b" ", b" ", b"\t", b"  "])).join(words))
    if draw(st.booleans()) and line:
        line[draw(st.integers(0, len(line) - 1))] = draw(st.integers(0, 255))
    return bytes(line).replace(b"\n", b"")


LINES = st.one_of(
    GOOD_LINES,
    GOOD_LINES,
    damaged_lines(),
    st.lists(WORDS, min_size=10, max_size=10).map(b" ".join),
    st.binary(max_size=60).map(lambda line: line.replace(b"\n", b"")),
    st.sampled_from(
        [b"", format_header()[:-1], b"# time DM", b"# SNR time DM integration_step beam_id",
         b"18.5 1.5 56.6 10 3"]
    ),
)  # fmt: skip
FILES = st.lists(st.tuples(LINES, st.sampled_from([b"\n", b"\n", b"\r\n"])), max_size=30).map(
    lambda lines: b"".join(line + end for line, end in lines)
)


@settings(max_examples=500, deadline=None)
@given(data=FILES, block=st.sampled_from([1, 100, 1 << 18]))
@example(data=b"1 1 1 1 1 1 1 1 1\n1 1 1 1 1 1 1 1 1 1 1\n", block=1 << 18)
@example(data=b"1 1 1 1 1 1 1 1 1. 2 1\n1 1 1 1 1 1 1 1 .\n", block=1 << 18)
def test_fast_is_obvious(data: bytes, block: int) -> None:
    candidates, headers, rejected, first = obvious(data)
    with patch.object(amber, "BLOCK_BYTES", block):
        parsed = parse(data)
    assert parsed.headers == headers
    assert in_words(parsed.rejected) == rejected
    assert parsed.first_rejected == first
    assert parsed.candidates.tolist() == candidates


@settings(max_examples=200, deadline=None)
@given(lines=st.lists(GOOD_LINES, min_size=1, max_size=20))
def test_clean_lines_never_take_the_slow_way(lines: list[bytes]) -> None:
    plain = [line for line in lines if b"e" not in line]
    slow = patch.object(amber, "read_line", side_effect=AssertionError("slow"))
    with slow, patch.object(amber, "FEW_BYTES", 0):  # a few lines are read one by one
        assert len(parse(b"".join(line + b"\n" for line in plain)).candidates) == len(plain)
