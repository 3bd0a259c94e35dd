"""Lines of plain numbers separated by blanks, as most search engines write them."""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from collections import Counter

import numpy as np
import numpy.typing as npt

from darc.config import ranges
from darc.config.file_kinds import BYTE_ORDER_MARK_BYTES
from darc.config.records import Struct
from darc.model.candidate import CANDIDATE, Records
from darc.model.counters import Rejection
from darc.science.dispersion import delay
from darc.trigger_files.amber import CONTROL, FIELDS, INFINITE, NUMBER, BadLineError
from darc.trigger_files.candidate_source import SourceContext
from darc.trigger_files.line_reader import LineReader, ReadLines

Floats = npt.NDArray[np.float64]

_PLAIN = re.compile(rb"[0-9eE.+\- \t]*")
_WHOLE = re.compile(rb"[0-9]{1,18}")
#: Times are printed with at least so many significant digits.
_PRINTED = 1e-5
#: Larger boxcars are out of range in samples.
MOST_LOG2_WIDTH = math.log2(ranges.DOWNSAMPLING.high)


class NumberColumn(Struct, frozen=True):
    """A column that is used.

    :param index: from 0
    :param whole: it holds whole numbers, not below zero
    """

    name: str
    index: int
    whole: bool = False


class TimeReference(Struct, frozen=True):
    """Conversion of arrival times to the centre of the highest channel, DARC's reference.

    :param f_from: frequency that the engine's times refer to (MHz)
    :param f_to: centre of the highest channel (MHz)
    """

    f_from: float
    f_to: float

    def converted(self, time: Floats, dm: Floats) -> Floats:
        """Return times at the centre of the highest channel (s), rounded to 1 ns.

        :param dm: pc cm-3
        """
        if self.f_from == self.f_to:
            return np.round(time, 9)
        return np.round(time + delay(dm, self.f_to, self.f_from), 9)


def time_reference(context: SourceContext) -> TimeReference:
    """Return the reference of a source's times."""
    observation = context.observation
    top_of_band = context.settings.time_reference == "top_of_band"
    f_from = observation.f_high if top_of_band else observation.f_reference
    return TimeReference(f_from, observation.f_reference)


class NumberLines(LineReader):
    """Reader of lines of numbers.

    A subclass says which columns there are, and makes candidates of their values.

    :param columns: that are used
    :param least: smallest number of columns of a line
    """

    def __init__(self, columns: tuple[NumberColumn, ...], least: int) -> None:
        self._columns = columns
        self._least = max(least, 1 + max(column.index for column in columns))
        self._places = {column.name: place for place, column in enumerate(columns)}

    @abstractmethod
    def candidates(self, values: dict[str, Floats]) -> Records:
        """Return the candidates of values by column, each of shape (lines,).

        Values out of range may be anything; they are rejected afterwards.
        """

    def is_header(self, line: bytes) -> bool:
        """Whether a line that begins with ``#`` is a header or a remark, and no invalid line."""
        return True

    def check(self, line: bytes) -> bytes:
        """Return the line itself, where a stream adds something of its own.

        :raises BadLineError: it is no candidate
        """
        return line

    def parse(self, data: bytes) -> ReadLines:
        data = data.removeprefix(BYTE_ORDER_MARK_BYTES)
        rejected: dict[int, Rejection] = {}
        rows: list[list[float]] = []
        places: list[int] = []
        headers = 0
        lines = data.split(b"\n")[:-1]
        for number, text in enumerate(lines):
            line = text.removesuffix(b"\r")
            if line.startswith(b"#"):
                if self.is_header(line):
                    headers += 1
                else:
                    rejected[number] = Rejection.BAD_HEADER
                continue
            try:
                rows.append(self._row(self.check(line)))
                places.append(number)
            except BadLineError as error:
                rejected[number] = error.reason
        found = self._usable(rows, places, rejected) if rows else np.empty(0, CANDIDATE)
        first = min(rejected, default=None)
        return ReadLines(
            found,
            len(lines),
            headers,
            dict(Counter(rejected.values())),
            None if first is None else (first, lines[first]),
        )

    def _row(self, line: bytes) -> list[float]:
        """Return the values of a line's columns.

        :raises BadLineError: it is no candidate
        """
        words = line.split()
        is_plain = _PLAIN.fullmatch(line)
        if len(words) < self._least or not (is_plain or self._has_plain(line, words)):
            raise BadLineError(self._reason(line, words))
        row = []
        for column in self._columns:
            word = words[column.index]
            if column.whole and not _WHOLE.fullmatch(word):
                raise BadLineError(self._reason_of_word(word, Rejection.NOT_WHOLE))
            try:
                value = float(word)
            except ValueError:
                raise BadLineError(Rejection.NOT_NUMBER) from None
            if not math.isfinite(value):
                raise BadLineError(Rejection.NOT_FINITE)
            row.append(value)
        return row

    def _has_plain(self, line: bytes, words: list[bytes]) -> bool:
        """Whether a line is text, and the columns that are used are plain."""
        used = (words[column.index] for column in self._columns)
        return not CONTROL.search(line) and all(map(_PLAIN.fullmatch, used))

    def _reason(self, line: bytes, words: list[bytes]) -> Rejection:
        if CONTROL.search(line):
            return Rejection.NOT_TEXT
        if not words:
            return Rejection.EMPTY
        if len(words) < self._least:
            return Rejection.WRONG_COUNT
        used = (words[column.index] for column in self._columns)
        odd = next((word for word in used if not _PLAIN.fullmatch(word)), b"")
        return self._reason_of_word(odd, Rejection.NOT_NUMBER)

    @staticmethod
    def _reason_of_word(word: bytes, otherwise: Rejection) -> Rejection:
        if INFINITE.fullmatch(word):
            return Rejection.NOT_FINITE
        return otherwise if NUMBER.fullmatch(word) else Rejection.NOT_NUMBER

    def _usable(
        self, rows: list[list[float]], places: list[int], rejected: dict[int, Rejection]
    ) -> Records:
        """Return the candidates of rows; add those out of range to `rejected`."""
        numbers = np.array(rows)
        values = {name: numbers[:, place] for name, place in self._places.items()}
        # Huge numbers are out of range below; as whole numbers they would wrap round.
        with np.errstate(over="ignore", invalid="ignore"):
            found: Records = self.candidates(values)
        good = np.isfinite(found["time"])
        for field, (_, valid) in FIELDS.items():
            if field != "time":  # outside the observation, which is another reason
                good &= (valid.low <= found[field]) & (found[field] <= valid.high)
        good &= np.abs(found["time"]) <= ranges.TIME.high
        for row in np.flatnonzero(~good).tolist():
            rejected[places[row]] = Rejection.OUT_OF_RANGE
        usable: Records = found[good]
        return usable


def make_records(
    *, beam: Floats, downsampling: Floats, time: Floats, dm: Floats, snr: Floats
) -> Records:
    """Return CANDIDATE records; what does not fit a whole number becomes -1, which is invalid."""
    records = np.empty(len(time), CANDIDATE)
    for name, values in (("beam", beam), ("downsampling", downsampling)):
        fits = (values >= 0) & (values <= 1e9)
        records[name] = np.where(fits, values, -1).astype(np.int32)
    records["time"], records["dm"], records["snr"] = time, dm, snr
    return records


def sample_times(sample: Floats, printed: Floats, tsamp: float) -> Floats:
    """Return times of samples (s), if the printed ones agree with them to five digits; else those.

    :param tsamp: sampling time (s)
    """
    exact = sample * tsamp
    agrees = np.abs(exact - printed) <= np.maximum(tsamp, _PRINTED * np.abs(printed))
    return np.asarray(np.where(agrees, exact, printed), np.float64)


def width_of_log2(log2_width: Floats) -> Floats:
    """Return widths of their logarithms to base 2 (samples); 0, which is invalid, if too wide."""
    fits = (log2_width >= 0) & (log2_width <= MOST_LOG2_WIDTH)
    return np.asarray(np.where(fits, np.exp2(np.where(fits, log2_width, 0)), 0), np.float64)
