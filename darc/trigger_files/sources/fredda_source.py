"""FREDDA, the search of CRAFT: growing files of all beams, with a header."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from darc.trigger_files.candidate_source import CandidateSource, SourceContext, SourceEvent
from darc.trigger_files.line_reader import LineReader
from darc.trigger_files.number_lines import (
    Floats,
    NumberColumn,
    SourceLines,
    sample_times,
)

#: The header's names, which further columns may follow.
HEADER = ("S/N", "sampno", "secs from file start", "boxcar", "idt", "dm", "beamno", "mjd")
COLUMNS = (
    NumberColumn("snr", 0),
    NumberColumn("sample", 1, whole=True),
    NumberColumn("seconds", 2),
    NumberColumn("boxcar", 3, whole=True),
    NumberColumn("dm", 5),
    NumberColumn("beam", 6, whole=True),
    NumberColumn("mjd", 7),
)
#: An MJD that is so far from the observation is none of it (s): offline runs print 0 or 40587.
NO_TIME_SECONDS = 86400.0
#: MJD and seconds since the file's start agree if they differ by less (s).
AGREE_SECONDS = 1.0


class FreddaLines(SourceLines):
    """Reader of a file.

    The time is that of the MJD, where it is a time of the observation; else the seconds since the
    file's start, which is then that of the observation.

    :param ahead: how much the clock of the MJDs is ahead of UTC (s)
    :param warn: gets what is odd: a word for its kind, and a text
    """

    def __init__(
        self, context: SourceContext, ahead: float, warn: Callable[[str, str], None]
    ) -> None:
        super().__init__(context, COLUMNS, len(HEADER))
        self._ahead = ahead
        self._warn = warn

    def is_header(self, line: bytes) -> bool:
        """Whether a line is a remark, or a header that names the columns as they are read."""
        names = tuple(name.strip() for name in line.lstrip(b"# ").decode("latin-1").split(","))
        return len(names) < len(HEADER) or names[: len(HEADER)] == HEADER

    def widths(self, values: dict[str, Floats]) -> Floats:
        return values["boxcar"] + 1  # it counts from 0: a single sample

    def times(self, values: dict[str, Floats]) -> Floats:
        since_file = sample_times(values["sample"], values["seconds"], self._tsamp)
        by_mjd = self.since_start(values["mjd"], self._ahead)
        is_time = np.abs(by_mjd) < NO_TIME_SECONDS
        if not is_time.all():
            mjd = values["mjd"][~is_time][0]
            text = f"MJD {mjd:.10g} is no time of the observation: the time is that since the"
            self._warn("no time", f"{text} start of the file, taken for the observation's")
        differ = is_time & (np.abs(by_mjd - since_file) >= AGREE_SECONDS)
        if differ.any():
            by = float((by_mjd - since_file)[differ][0])
            text = f"MJDs are {by:+.3f} s from the observation's start and the seconds since the"
            text += " file's: the file began at another time, or their clock is another one than"
            self._warn("differ", f"{text} instrument.source.mjd_scale says; MJDs are used")
        return np.where(is_time, by_mjd, since_file)


class FreddaSource(CandidateSource):
    """Files of FREDDA in a directory."""

    def __init__(self, context: SourceContext) -> None:
        super().__init__(context)
        self._ahead = 0.0
        if context.settings.mjd_scale == "tai":
            from darc.science.leap_seconds import tai_minus_utc  # noqa: PLC0415 - ERFA is for few

            self._ahead = tai_minus_utc(context.observation.start)
        self._said: set[str] = set()

    def line_reader(self, path: Path, state: Mapping[str, Any] | None) -> LineReader:
        def warn(kind: str, text: str) -> None:
            if kind not in self._said:
                self._said.add(kind)
                self.happened.append(SourceEvent(text=f"{path}: {text}"))

        return FreddaLines(self.context, self._ahead, warn)


SOURCE = FreddaSource
