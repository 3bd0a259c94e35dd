"""FREDDA, the search of CRAFT: growing files of all beams, with a header."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from darc.model.arrival import mjd_of
from darc.model.candidate import Records
from darc.trigger_files.candidate_source import CandidateSource
from darc.trigger_files.line_reader import LineReader
from darc.trigger_files.number_lines import (
    Floats,
    NumberColumn,
    NumberLines,
    TimeReference,
    make_records,
    time_reference,
)

#: The header's names, which further columns may follow.
HEADER = ("S/N", "sampno", "secs from file start", "boxcar", "idt", "dm", "beamno", "mjd")
COLUMNS = (
    NumberColumn("snr", 0),
    NumberColumn("boxcar", 3, whole=True),
    NumberColumn("dm", 5),
    NumberColumn("beam", 6, whole=True),
    NumberColumn("mjd", 7),
)
_DAY = 86400.0


class FreddaLines(NumberLines):
    """Reader of a file. The time is that of the MJD, good to 1 µs.

    :param start: of the observation, Unix s
    """

    def __init__(self, start: float, first_beam: int, reference: TimeReference) -> None:
        super().__init__(COLUMNS, len(HEADER))
        self._start_mjd = mjd_of(start)
        self._first_beam = first_beam
        self._reference = reference

    def is_header(self, line: bytes) -> bool:
        """Whether a line is a remark, or a header that names the columns as they are read."""
        names = tuple(name.strip() for name in line.lstrip(b"# ").decode("latin-1").split(","))
        return len(names) < len(HEADER) or names[: len(HEADER)] == HEADER

    def candidates(self, values: dict[str, Floats]) -> Records:
        time = np.round((values["mjd"] - self._start_mjd) * _DAY, 6)
        return make_records(
            beam=values["beam"] - self._first_beam,
            downsampling=values["boxcar"] + 1,  # it counts from 0: a single sample
            time=self._reference.converted(time, values["dm"]),
            dm=values["dm"],
            snr=values["snr"],
        )


class FreddaSource(CandidateSource):
    """Files of FREDDA in a directory."""

    def accepts(self, name: str) -> bool:
        return fnmatchcase(name, self.context.settings.pattern)

    def line_reader(self, path: Path, state: Mapping[str, Any] | None) -> LineReader:
        context = self.context
        start, first = context.observation.start, context.settings.first_beam
        return FreddaLines(start, first, time_reference(context))


SOURCE = FreddaSource
