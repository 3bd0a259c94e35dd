"""Heimdall: growing files ``<utc>_<beam>.cand`` in a directory, without a header."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from darc.model.candidate import Records
from darc.model.counters import Counted
from darc.trigger_files.candidate_source import CandidateSource, SourceContext, SourceEvent
from darc.trigger_files.line_reader import LineReader
from darc.trigger_files.number_lines import (
    Floats,
    NumberColumn,
    NumberLines,
    TimeReference,
    make_records,
    time_reference,
    width_of_log2,
)

#: S/N, sample, time, log2 of the width, index of the DM, DM, members, first and last sample.
COLUMNS = (
    NumberColumn("snr", 0),
    NumberColumn("sample", 1, whole=True),
    NumberColumn("time", 2),
    NumberColumn("log2_width", 3, whole=True),
    NumberColumn("dm", 5),
)
N_COLUMNS = 9
_NAME = re.compile(r"(?:(.*)_)?(\d{1,7})\.\w+", re.ASCII)
_UTC = re.compile(r"(\d{4})-(\d\d)-(\d\d)[-T_](\d\d):(\d\d):(\d\d)(?:\.\d+)?", re.ASCII)
#: The start in a file's name is to the whole second; it is the observation's if it is so close (s).
SAME_START_SECONDS = 1.0
#: Heimdall prints times with at least so many significant digits.
_RELATIVE = 1e-5


class HeimdallLines(NumberLines):
    """Reader of a file.

    The time is that of the sample's number, if the printed one agrees with it to its digits.

    :param tsamp: sampling time (s)
    :param beam: of the file; None: it is in a column
    :param beam_column: its index
    :param first_beam: number of the first beam
    :param offset: start of the file since that of the observation (s)
    :param reference: of its times
    """

    def __init__(
        self,
        *,
        tsamp: float,
        beam: int | None,
        beam_column: int,
        first_beam: int,
        offset: float,
        reference: TimeReference,
    ) -> None:
        self._tsamp = tsamp
        self._beam = beam
        self._first_beam = first_beam
        self._offset = offset
        self._reference = reference
        of_beam = () if beam is not None else (NumberColumn("beam", beam_column, whole=True),)
        super().__init__((*COLUMNS, *of_beam), N_COLUMNS)

    def candidates(self, values: dict[str, Floats]) -> Records:
        printed, exact = values["time"], values["sample"] * self._tsamp
        agrees = np.abs(exact - printed) <= np.maximum(self._tsamp, _RELATIVE * np.abs(printed))
        time = np.where(agrees, exact, printed) + self._offset
        beam = values.get("beam", np.full(len(time), float(self._beam or 0)))
        return make_records(
            beam=beam - self._first_beam,
            downsampling=width_of_log2(values["log2_width"]),
            time=self._reference.converted(time, values["dm"]),
            dm=values["dm"],
            snr=values["snr"],
        )


class HeimdallSource(CandidateSource):
    """Files of Heimdall in a directory, of one or of many beams."""

    def __init__(self, context: SourceContext) -> None:
        super().__init__(context)
        self._names: dict[int, str] = {}  # by beam
        self._said: set[int] = set()
        self._events: list[SourceEvent] = []

    def accepts(self, name: str) -> bool:
        return fnmatchcase(name, self.context.settings.pattern)

    def line_reader(self, path: Path, state: Mapping[str, Any] | None) -> LineReader:
        settings = self.context.settings
        match = _NAME.fullmatch(path.name)
        beam: int | None = None
        if settings.beam_from == "name":
            if match is None:
                raise ValueError("its name has no beam (<utc>_<beam>.cand); see beam_from")
            beam = int(match[2])
            self._note(beam, path.name)
            if beam < settings.first_beam:
                raise ValueError(f"beam {beam} is below first_beam, {settings.first_beam}")
        elif settings.beam_from == "none":
            beam = settings.first_beam
        return HeimdallLines(
            tsamp=self.context.observation.tsamp,
            beam=beam,
            beam_column=settings.beam_column - 1,
            first_beam=settings.first_beam,
            offset=file_offset(path.name, self.context.observation.start),
            reference=time_reference(self.context),
        )

    def _note(self, beam: int, name: str) -> None:
        """Tell once of a beam that two files have: two searches, or one that was started again."""
        first = self._names.setdefault(beam, name)
        if first == name or beam in self._said:
            return
        self._said.add(beam)
        text = f"beam {beam} is in two files, which are both read: {first} and {name}"
        self._events.append(SourceEvent(Counted.BEAMS_CLAIMED_TWICE, text))

    def events(self) -> list[SourceEvent]:
        events, self._events = self._events, []
        return events


def file_offset(name: str, start: float) -> float:
    """Return when a file begins, by the UTC in its name, since the observation's start (s).

    :param start: of the observation, Unix s
    """
    match = _UTC.match(name)
    if match is None:
        return 0.0
    try:
        moment = datetime(*map(int, match.groups()), tzinfo=UTC)  # type: ignore[misc, arg-type]
    except ValueError:
        return 0.0
    offset = moment.timestamp() - start
    return 0.0 if abs(offset) <= SAME_START_SECONDS else round(offset, 6)


SOURCE = HeimdallSource
