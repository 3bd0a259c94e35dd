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
from darc.model.arrival import mjd_of
from darc.model.candidate import CANDIDATE, Records
from darc.model.counters import Rejection
from darc.science.dispersion import delay
from darc.trigger_files.amber import CONTROL, FIELDS, INFINITE, NUMBER, BadLineError
from darc.trigger_files.candidate_source import SourceContext
from darc.trigger_files.line_reader import LineReader, ReadLines

Floats = npt.NDArray[np.float64]

_PLAIN = re.compile(rb"[0-9eE.+\- \t]*")
_WHOLE = re.compile(rb"[0-9]{1,18}")
_DAY = 86400.0  # s
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
        if not is_plain and CONTROL.search(line):
            raise BadLineError(Rejection.NOT_TEXT)
        if len(words) < self._least:
            raise BadLineError(Rejection.WRONG_COUNT if words else Rejection.EMPTY)
        if not is_plain:  # columns that are not used may be anything
            for column in self._columns:
                if not _PLAIN.fullmatch(word := words[column.index]):
                    raise BadLineError(self._reason_of_word(word, Rejection.NOT_NUMBER))
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


class SourceLines(NumberLines):
    """Reader of lines of numbers, of beams and times as a source's settings say.

    Values are by column, each of shape (lines,).
    """

    def __init__(
        self, context: SourceContext, columns: tuple[NumberColumn, ...], least: int
    ) -> None:
        super().__init__(columns, least)
        observation, settings = context.observation, context.settings
        self._tsamp = observation.tsamp
        self._start_mjd = mjd_of(observation.start)
        self._first_beam = settings.first_beam
        # Frequencies of the engine's times, and of DARC's: the centre of the highest channel (MHz).
        top_of_band = settings.time_reference == "top_of_band"
        self._f_from = observation.f_high if top_of_band else observation.f_reference
        self._f_to = observation.f_reference

    @abstractmethod
    def times(self, values: dict[str, Floats]) -> Floats:
        """Return times since the observation's start (s), at the frequency of the engine's."""

    @abstractmethod
    def widths(self, values: dict[str, Floats]) -> Floats:
        """Return widths (samples)."""

    def beams(self, values: dict[str, Floats]) -> Floats:
        """Return beams, as the engine numbers them."""
        return values["beam"]

    def candidates(self, values: dict[str, Floats]) -> Records:
        time, dm = self.times(values), values["dm"]
        if self._f_from != self._f_to:
            time = time + delay(dm, self._f_to, self._f_from)
        return make_records(
            beam=self.beams(values) - self._first_beam,
            downsampling=self.widths(values),
            time=np.round(time, 9),
            dm=dm,
            snr=values["snr"],
        )

    def since_start(self, mjd: Floats, ahead: float = 0.0) -> Floats:
        """Return times of MJDs since the observation's start (s), rounded to 1 µs.

        :param ahead: how much their clock is ahead of UTC (s)
        """
        return np.asarray(np.round((mjd - self._start_mjd) * _DAY - ahead, 6))


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
