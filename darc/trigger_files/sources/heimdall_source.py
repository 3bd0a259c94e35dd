"""Heimdall: files ``<utc>_<beam>.cand`` in a directory, without a header.

Heimdall itself begins a file per gulp, whose times count from the start of the observation; others
append all gulps to one file, whose times count from that file's start.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from darc.model.counters import Counted
from darc.node.losses import LossKind
from darc.trigger_files.candidate_source import (
    CandidateSource,
    FileOfSeries,
    SourceContext,
    SourceEvent,
)
from darc.trigger_files.files_of_beam import FilesOfBeam
from darc.trigger_files.line_reader import LineReader, ReadLines
from darc.trigger_files.number_lines import (
    Floats,
    NumberColumn,
    SourceLines,
    sample_times,
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
_UTC = re.compile(r"(\d{4})-(\d\d)-(\d\d)[-T_](\d\d):(\d\d):(\d\d)(\.\d+)?", re.ASCII)
#: A whole second in a file's name is the observation's start if it is so close (s).
SAME_START_SECONDS = 1.0
#: What times count from.
OBSERVATION, FILE = "observation", "file"

SEARCH_BEGAN_EARLIER = LossKind(
    "search_began_earlier",
    "times of a search count from before its observation: its candidates have wrong times",
    "Start the observation when the search starts, or the search anew with each observation.",
)


class HeimdallLines(SourceLines):
    """Reader of a file.

    The time is that of the sample's number, if the printed one agrees with it to its digits.

    :param beam: of the file; None: it is in a column
    :param offset: start of the file since that of the observation (s)
    :param note: gets the last time of each part that is read, and the first of the file (s); None:
        it does not count from the observation, or is not known
    :param differs: is called when the first line shows that times count from the other one
    """

    def __init__(
        self,
        context: SourceContext,
        *,
        beam: int | None,
        offset: float,
        note: Callable[[float, float | None], None],
        differs: Callable[[], None],
        state: Mapping[str, Any] | None,
    ) -> None:
        column = NumberColumn("beam", context.settings.beam_column - 1, whole=True)
        super().__init__(context, COLUMNS if beam is not None else (*COLUMNS, column), N_COLUMNS)
        self._times_from = context.settings.times_from  # where the first line leaves that open
        self._note = note
        self._differs = differs
        # Empty: no line has come. An earlier version read all files so, and has said nothing.
        self._found: str = "" if state is None else state.get("times from", FILE)
        # Of the file, also where an earlier process has read its beginning; None: not known.
        self._first: float | None = None if state is None else state.get("first time")
        self._beam = beam
        self._offset = offset

    def times(self, values: dict[str, Floats]) -> Floats:
        time = sample_times(values["sample"], values["time"], self._tsamp)
        if not self._found and len(time):
            self._found = self._decided(float(time[0]))
        return time + self._offset if self._found == FILE else time

    def widths(self, values: dict[str, Floats]) -> Floats:
        return width_of_log2(values["log2_width"])

    def beams(self, values: dict[str, Floats]) -> Floats:
        if self._beam is None:
            return values["beam"]
        return np.full(len(values["dm"]), float(self._beam))

    def _decided(self, first: float) -> str:
        """Return what times count from, by the first one.

        Before the start of its own file is nothing that counts from the observation's; and the
        observation's start is none of a file that was begun before it.
        """
        if self._times_from == OBSERVATION and (
            self._offset < 0 or first < self._offset - SAME_START_SECONDS
        ):
            if self._offset > 0:
                self._differs()
            return FILE
        return self._times_from

    def parse(self, data: bytes) -> ReadLines:
        is_begun = bool(self._found)
        found = super().parse(data)
        if len(found.candidates):
            times = found.candidates["time"]
            if not is_begun:
                self._first = float(times.min())
            first = self._first if self._found == OBSERVATION else None
            self._note(float(times.max()), first)
        return found

    def begin(self, first_lines: bytes) -> None:
        found = super().parse(first_lines[: first_lines.rfind(b"\n") + 1])  # for the first line
        if len(found.candidates):
            self._first = float(found.candidates["time"].min())

    def reset(self) -> None:
        self._found, self._first = "", None

    def state(self) -> dict[str, Any]:
        return {"times from": self._found, "first time": self._first}


class HeimdallSource(CandidateSource):
    """Files of Heimdall in a directory, of one or of many beams."""

    loss_kinds = (SEARCH_BEGAN_EARLIER,)

    def __init__(self, context: SourceContext) -> None:
        super().__init__(context)
        self._files: dict[int, FilesOfBeam] = {}  # by beam
        self._differs_said = False
        self._said: set[int] = set()

    def line_reader(self, path: Path, state: Mapping[str, Any] | None) -> LineReader:
        settings = self.context.settings
        match = _NAME.fullmatch(path.name)
        beam: int | None = None
        if settings.beam_from == "name":
            if match is None:
                raise ValueError("its name has no beam (<utc>_<beam>.cand); see beam_from")
            beam = int(match[2])
            if beam < settings.first_beam:
                raise ValueError(f"beam {beam} is below first_beam, {settings.first_beam}")
        elif settings.beam_from == "none":
            beam = settings.first_beam
        return HeimdallLines(
            self.context,
            beam=beam,
            offset=file_offset(path.name, self.context.observation.start) or 0.0,
            note=self._noting(beam, path.name),
            differs=lambda: self._tell_of_times(path.name),
            state=state,
        )

    def series(self, name: str) -> FileOfSeries | None:
        offset = file_offset(name, self.context.observation.start)
        if offset is None:
            return None
        match = _UTC.match(name)
        return FileOfSeries(name[match.end() :] if match else name, offset)

    def _noting(self, beam: int | None, name: str) -> Callable[[float, float | None], None]:
        """Note a file of a beam; return what notes its times."""
        if beam is None or self.context.settings.beam_from != "name":
            return lambda last, first: None
        files = self._files.setdefault(beam, FilesOfBeam())
        offset = file_offset(name, self.context.observation.start)
        self._claim(beam, files.add(name, offset))

        def note(last: float, first: float | None) -> None:
            self._claim(beam, files.note(name, last, first))

        return note

    def _claim(self, beam: int, names: tuple[str, str] | None) -> None:
        """Report once a beam that two files have at the same time: of two searches.

        One whose first time is after the next one has begun is no second search's: its times count
        from before the observation.
        """
        if names is None or beam in self._said:
            return
        self._said.add(beam)
        if early := self._files[beam].counted_from(names):
            text = (
                f"{names[0]}: its first time is {early:.1f} s after {names[1]} begins: times count"
            )
            text += " from so long before the observation, or longer, and are all too late"
            what = f"beam {beam}"
            self.happened.append(SourceEvent("", text, SEARCH_BEGAN_EARLIER, what))
            return
        text = f"beam {beam} is in two files, which are both read: {names[0]} and {names[1]}"
        self.happened.append(SourceEvent(Counted.BEAMS_CLAIMED_TWICE, text))

    def _tell_of_times(self, name: str) -> None:
        if self._differs_said:
            return
        self._differs_said = True
        text = f"{name}: its first time is before the UTC in its name, so times count from there;"
        text += " instrument.source.times_from: file says so for every file"
        self.happened.append(SourceEvent(text=text))


def file_offset(name: str, start: float) -> float | None:
    """Return when a file begins, by the UTC in its name, since the observation's start (s).

    None: its name has no UTC.

    :param start: of the observation, Unix s
    """
    match = _UTC.match(name)
    if match is None:
        return None
    *parts, fraction = match.groups(default="")
    try:
        moment = datetime(*map(int, parts), tzinfo=UTC)  # type: ignore[misc, arg-type]
    except ValueError:
        return None
    part = float(f"0{fraction}")
    offset = round(moment.timestamp() - start + part, 6)
    return 0.0 if not part and abs(offset) <= SAME_START_SECONDS else offset


SOURCE = HeimdallSource
