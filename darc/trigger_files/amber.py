"""The text format of AMBER's trigger files: a header naming the columns, a line per candidate.

Columns are found by name. Lines are read many at a time, straight from their bytes; what does
not look like AMBER's plain decimals goes through :func:`read_line`, which decides and names the
reason. Both accept the same language: whitespace-separated ASCII decimals, LF or CRLF line ends.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from darc.config import ranges
from darc.config.file_kinds import BYTE_ORDER_MARK_BYTES
from darc.config.records import Struct, asdict
from darc.model.candidate import CANDIDATE, Records
from darc.model.counters import Rejection
from darc.science.arrays import Doubles, Ints, Mask
from darc.trigger_files.line_reader import LineReader, LinesBeforeHeader, ReadLines

#: Per field of CANDIDATE: AMBER's name, and the valid range.
FIELDS = {
    "beam": ("beam_id", ranges.BEAM),
    "downsampling": ("integration_step", ranges.DOWNSAMPLING),
    "time": ("time", ranges.TIME),
    "dm": ("DM", ranges.DM),
    "snr": ("SNR", ranges.SNR),
}

_SHORTEST_HEADER = sum(len(name) + 1 for name, _ in FIELDS.values())
#: So little between two headers, some tens of lines, is read line by line.
FEW_BYTES = 2000
#: Read at a time: what they expand to stays in the processor's cache.
BLOCK_BYTES = 1 << 18
_MAX_DIGITS = 15  # up to here, digits / 10**n is the correctly rounded number
_PLAIN = b"0123456789. \n"
_IS_ODD = np.ones(256, bool)
_IS_ODD[list(_PLAIN)] = False
_POWERS = 10.0 ** np.arange(_MAX_DIGITS + 1)
_DECADES = 10.0 ** np.arange(-9, 9)

CONTROL = re.compile(rb"[^\t -~]")
NUMBER = re.compile(rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INTEGER = re.compile(rb"[+-]?[0-9]+")
INFINITE = re.compile(rb"[+-]?(?:nan(?:\([0-9a-z]*\))?|inf|infinity)", re.IGNORECASE)


class BadLineError(ValueError):
    """A line is no candidate."""

    def __init__(self, reason: Rejection) -> None:
        super().__init__(reason.words)
        self.reason = reason


class Columns(Struct, frozen=True):
    """Column of each field of a candidate; `batch` and `sample` may be missing."""

    count: int
    beam: int
    downsampling: int
    time: int
    dm: int
    snr: int
    batch: int | None = None
    sample: int | None = None

    @classmethod
    def from_header(cls, line: bytes) -> Columns:
        """Parse a header line, with or without its line end.

        :raises ValueError: not a header, or a required column is missing or duplicate
        """
        line = line.removeprefix(BYTE_ORDER_MARK_BYTES)
        if not line.startswith(b"#") or not line.isascii():
            raise ValueError(f"not a header: {line[:80]!r}")
        names = line.decode("ascii").lstrip("#").split()
        missing = [name for name, _ in FIELDS.values() if name not in names]
        if missing:
            raise ValueError(f"header without {', '.join(missing)}: {line[:200]!r}")
        twice = sorted(name for name, n in Counter(names).items() if n > 1)
        if twice:
            raise ValueError(f"header names {', '.join(twice)} twice: {line[:200]!r}")
        return cls(
            count=len(names),
            batch=names.index("batch_id") if "batch_id" in names else None,
            sample=names.index("sample_id") if "sample_id" in names else None,
            **{field: names.index(name) for field, (name, _) in FIELDS.items()},
        )


class ParsedLines(ReadLines, Struct, frozen=True):
    """Result of parsing lines of AMBER."""

    columns: Columns  # in force after the last line


class AmberLines(LineReader):
    """Reader of a trigger file of AMBER, which needs a header.

    :param batch_length_s: length of an AMBER batch (s)
    :param tsamp: sampling time (s)
    :param state: result of :meth:`state`
    """

    def __init__(
        self, batch_length_s: float, tsamp: float, state: Mapping[str, Any] | None = None
    ) -> None:
        self._batch_length_s = batch_length_s
        self._tsamp = tsamp
        columns = (state or {}).get("columns")
        self._columns = Columns(**columns) if columns else None

    def parse(self, data: bytes) -> ReadLines:
        assert self._columns is not None  # the first line is a header
        parsed = parse_lines(
            data, self._columns, batch_length_s=self._batch_length_s, tsamp=self._tsamp
        )
        self._columns = parsed.columns
        return parsed

    def before_header(self, data: bytes) -> LinesBeforeHeader | None:
        if self._columns is not None:
            return None
        rejected: Counter[Rejection] = Counter()
        first = b""
        begin = 0
        while begin < len(data):
            end = data.find(b"\n", begin) + 1 or len(data)
            text = data[begin:end]
            reason = Rejection.NO_HEADER
            if text.removeprefix(BYTE_ORDER_MARK_BYTES).startswith(b"#"):
                try:
                    self._columns = Columns.from_header(text)
                    break
                except ValueError as error:
                    reason, text = Rejection.UNUSABLE_HEADER, str(error).encode()
            first = first or text
            rejected[reason] += 1
            begin = end
        return LinesBeforeHeader(begin, dict(rejected), first) if begin else None

    def begin(self, first_lines: bytes) -> None:
        for line in first_lines.split(b"\n")[:1]:
            with contextlib.suppress(ValueError):  # then a header must follow
                self._columns = Columns.from_header(line)

    def reset(self) -> None:
        self._columns = None

    def state(self) -> dict[str, Any]:
        return {"columns": asdict(self._columns) if self._columns else None}


def parse_lines(
    data: bytes, columns: Columns, *, batch_length_s: float, tsamp: float
) -> ParsedLines:
    """Parse whole lines. Invalid lines are counted, and raise no error.

    The time is computed from batch and sample numbers if these are present and agree with the
    printed time to its six digits; else it is the printed one.

    :param data: lines, each with its newline
    :param columns: in force at the start; a header between the lines changes them
    :param batch_length_s: length of an AMBER batch (s)
    :param tsamp: sampling time (s)
    :raises ValueError: the last line is incomplete
    """
    if data and not data.endswith(b"\n"):
        raise ValueError("data end in half a line")
    lines = headers = 0
    rejected: Counter[Rejection] = Counter()
    first: tuple[int, bytes] | None = None
    found: list[Records] = []
    few: list[list[float]] = []  # from short runs, parsed one by one; all with the same columns

    def flush() -> None:
        if few:
            numbers = np.array(few)
            found.append(_records(numbers, {}, columns, batch_length_s, tsamp))
            few.clear()

    data = data.removeprefix(BYTE_ORDER_MARK_BYTES)
    for run in _runs(data.replace(b"\r\n", b"\n") if b"\r" in data else data):
        bad: dict[int, Rejection] = {}
        count = 1
        if run.startswith(b"#"):
            new = _header(run)
            if new is None:
                bad[0] = Rejection.BAD_HEADER
            else:
                headers += 1
                if new != columns:
                    flush()
                    columns = new
        elif len(run) <= FEW_BYTES:
            count, bad = _read_few(run, columns, few)
        else:
            flush()
            numbers, bad = _read(run, columns)
            count = len(numbers)
            found.append(_records(numbers, bad, columns, batch_length_s, tsamp))
        if bad and first is None:
            first = lines + min(bad), run.split(b"\n", min(bad) + 1)[min(bad)]
        rejected.update(bad.values())
        lines += count
    flush()
    candidates = np.concatenate(found) if found else np.empty(0, CANDIDATE)
    return ParsedLines(candidates, lines, headers, dict(rejected), first, columns)


def _header(line: bytes) -> Columns | None:
    if len(line) < _SHORTEST_HEADER:  # a comment: there may be millions
        return None
    try:
        return Columns.from_header(line)
    except ValueError:
        return None


def _runs(data: bytes) -> Iterator[bytes]:
    """Split lines into single '#' lines and blocks without any."""
    start = 0
    while start < len(data):
        stop = data.index(b"\n", start) + 1
        if not data.startswith(b"#", start):
            stop = max(stop, data.rfind(b"\n", stop, start + BLOCK_BYTES) + 1)
            header = data.find(b"\n#", start, stop)
            stop = stop if header < 0 else header + 1
        yield data[start:stop]
        start = stop


def _read(run: bytes, columns: Columns) -> tuple[Doubles, dict[int, Rejection]]:
    """All numbers of the lines (lines, columns), and the reasons of those that are not valid."""
    text = np.frombuffer(run + bytes(_MAX_DIGITS), np.uint8)
    blanks = np.flatnonzero(text[: len(run)] <= ord(" "))
    # Of each line, the index of its newline among the blanks.
    last = np.flatnonzero(text[blanks] == ord("\n"))
    ends = blanks[last]
    begins = np.concatenate(([0], ends[:-1] + 1))
    plain = np.diff(last, prepend=-1) == columns.count
    if run.translate(None, _PLAIN):
        odd = np.flatnonzero(_IS_ODD[text[: len(run)]])
        plain[np.searchsorted(ends, odd)] = False

    # Parse column by column, for all lines that are valid so far.
    numbers = np.zeros((len(ends), columns.count))
    rows = np.flatnonzero(plain)
    start = begins[rows]
    good = np.ones(len(rows), bool)
    for column in range(columns.count):
        stop = blanks[last[rows] - (columns.count - 1 - column)]
        whole = column in (columns.beam, columns.downsampling)
        numbers[rows, column], valid = _decimals(text, start, stop - start, whole)
        good &= valid
        start = stop + 1
    plain[rows] = good

    bad: dict[int, Rejection] = {}
    for row in np.flatnonzero(~plain).tolist():
        try:
            numbers[row] = read_line(run[begins[row] : ends[row]], columns)
        except BadLineError as error:
            bad[row] = error.reason
    return numbers, bad


def _read_few(
    run: bytes, columns: Columns, few: list[list[float]]
) -> tuple[int, dict[int, Rejection]]:
    """Read lines one by one, which for a few is quicker; adds the good ones to `few`."""
    bad: dict[int, Rejection] = {}
    lines = run.split(b"\n")[:-1]
    for row, line in enumerate(lines):
        try:
            numbers = read_line(line, columns)
        except BadLineError as error:
            bad[row] = error.reason
            continue
        fields = FIELDS.items()
        if all(valid.allows(numbers[getattr(columns, field)]) for field, (_, valid) in fields):
            few.append(numbers)
        else:
            bad[row] = Rejection.OUT_OF_RANGE
    return len(lines), bad


def _decimals(
    text: npt.NDArray[np.uint8], start: Ints, width: Ints, whole: bool
) -> tuple[Doubles, Mask]:
    """Return the numbers of words of digits and dots, and which are valid (one dot, ...)."""
    digits, dots, decimals = np.zeros((3, len(start)), np.int64)
    for place in range(min(int(width.max(initial=0)), _MAX_DIGITS)):
        inside = width > place
        char = text[start + place]
        digit = char - np.uint8(ord("0"))  # a dot wraps round to more than 9
        np.copyto(digits, digits * 10 + digit, where=inside & (digit < 10))
        dot = inside & (char == ord("."))
        if dot.any():
            dots += dot
            np.copyto(decimals, width - 1 - place, where=dot)
    valid = (width > dots) & (width <= _MAX_DIGITS) & (dots <= (0 if whole else 1))
    return digits / _POWERS[np.minimum(decimals, _MAX_DIGITS)], valid


def read_line(line: bytes, columns: Columns) -> list[float]:
    """The numbers of one line.

    :raises BadLineError: it is no candidate
    """
    if CONTROL.search(line):
        raise BadLineError(Rejection.NOT_TEXT)
    words = line.split()
    if not words:
        raise BadLineError(Rejection.EMPTY)
    if len(words) != columns.count:
        raise BadLineError(Rejection.WRONG_COUNT)
    for column, word in enumerate(words):
        if INFINITE.fullmatch(word) or (NUMBER.fullmatch(word) and math.isinf(float(word))):
            raise BadLineError(Rejection.NOT_FINITE)
        if not NUMBER.fullmatch(word):
            raise BadLineError(Rejection.NOT_NUMBER)
        if column in (columns.beam, columns.downsampling) and not _INTEGER.fullmatch(word):
            raise BadLineError(Rejection.NOT_INTEGER)
    return [float(word) for word in words]


def _records(
    numbers: Doubles,
    bad: dict[int, Rejection],
    columns: Columns,
    batch_length_s: float,
    tsamp: float,
) -> Records:
    """Return the candidates of valid lines; add those out of range to `bad`."""
    good = np.ones(len(numbers), bool)
    good[list(bad)] = False
    inside = np.ones(len(numbers), bool)
    for field, (_, valid) in FIELDS.items():
        value = numbers[:, getattr(columns, field)]
        inside &= (valid.low <= value) & (value <= valid.high)
    bad.update((int(row), Rejection.OUT_OF_RANGE) for row in np.flatnonzero(good & ~inside))
    good &= inside

    records = np.empty(int(good.sum()), CANDIDATE)
    for field in FIELDS:
        records[field] = numbers[good, getattr(columns, field)]
    if columns.batch is not None and columns.sample is not None:
        batch, sample = numbers[good, columns.batch], numbers[good, columns.sample]
        printed = records["time"]
        # Overflowing numbers count as disagreement.
        with np.errstate(over="ignore", invalid="ignore"):
            exact = batch * batch_length_s + sample * records["downsampling"] * tsamp
            agrees = np.abs(exact - printed) <= _last_digit(printed)
            agrees &= (exact >= ranges.TIME.low) & (exact <= ranges.TIME.high)
        # Rounded to 1 ns: the same time is the same number, whatever its integration step.
        records["time"] = np.where(agrees, np.round(exact, 9), printed)
    return records


def _last_digit(value: Doubles) -> Doubles:
    """Return the unit of the last of six significant digits."""
    decade = np.maximum(np.searchsorted(_DECADES, value, side="right") - 1, 0)
    return np.asarray(_DECADES[decade] * 1e-5)
