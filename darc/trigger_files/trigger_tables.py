"""Tables of triggers of any search program, recognised by their header or columns.

- AMBER's trigger files: `darc.trigger_files.amber`
- DARC's own lists: ``#snr dm time downsamp sb``, further columns beside these
- PRESTO's ``.singlepulse``: ``# DM Sigma Time (s) Sample Downfact``
- Heimdall's ``.cand``, without a header: S/N, sample, time (s), log2 of the width in samples, index
  of the DM, DM, and further columns

Times are s since the file's first sample, at the centre of the highest channel, which all of these
programs use. Widths are samples of the file. An invalid line is counted and skipped.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections import Counter
from pathlib import Path

import numpy as np

from darc.config.file_kinds import known_kind
from darc.config.records import Struct
from darc.config.typed import shown
from darc.model.candidate import CANDIDATE, Records
from darc.model.counters import Rejection
from darc.trigger_files.amber import FIELDS, Columns

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?", re.ASCII)
_WHOLE = re.compile(r"[0-9]{1,18}", re.ASCII)
#: A width, also in the notation of a float.
_NEARLY_WHOLE = re.compile(r"[0-9]{1,18}(?:\.0*)?", re.ASCII)
_IN_BRACKETS = re.compile(r"\([^)]*\)")

_NAMES = {
    "snr": "snr",
    "sigma": "snr",
    "dm": "dm",
    "time": "time",
    "downsamp": "downsampling",
    "downfact": "downsampling",
    "sb": "beam",
}
_NEEDED = ("snr", "dm", "time", "downsampling")
_TOLD = 5
_LONGEST_LINE = 4096  # characters
#: Heimdall: columns of S/N, time, log2 of the width, and DM, and of all whole numbers.
_HEIMDALL = {"snr": 0, "time": 2, "downsampling": 3, "dm": 5}
_HEIMDALL_WHOLE, _HEIMDALL_LEAST = (1, 3, 4, 6, 7, 8), 9
#: Relative agreement of its times with its numbers of samples.
_TIME_AGREES = 0.01
_MOST_LOG2_WIDTH = 19


class TriggerTableError(ValueError):
    """A file is not a table of triggers; the message names file, line and value."""


class TriggerTable(Struct, frozen=True, eq=False):
    """Content of a table.

    :param rejected: number of skipped lines, by reason
    :param problems: the first of them, with file, line and value
    """

    candidates: Records
    rejected: dict[Rejection, int]
    problems: tuple[str, ...]


class _Layout(Struct, frozen=True):
    places: dict[str, int]
    n_columns: int  # at least
    names: dict[str, str]  # as in the file's header
    log2_width: bool = False


class _BadLineError(ValueError):
    def __init__(self, reason: Rejection, what: str) -> None:
        super().__init__(what)
        self.reason = reason


def is_amber(path: Path) -> bool:
    """Whether the first line that is neither empty nor a comment is a header of AMBER's.

    :raises TriggerTableError: a file of another format
    :raises OSError: it cannot be read
    """
    with path.open("rb") as file:
        if kind := known_kind(file.read(32)):
            raise TriggerTableError(f"{path}: {kind}")
        file.seek(0)
        while line := file.readline(_LONGEST_LINE):
            with contextlib.suppress(ValueError):
                Columns.from_header(line)
                return True
            if line.strip() and not line.startswith(b"#"):
                break
    return False


def read_table(path: Path, tsamp: float) -> TriggerTable:
    """Read a table that is not AMBER's.

    :param tsamp: sampling time of the filterbank file, s
    :raises TriggerTableError: not a table, or without a usable line
    :raises OSError: it cannot be read
    """
    layout: _Layout | None = None
    remark = ""
    rows: list[tuple[float, ...]] = []
    rejected: Counter[Rejection] = Counter()
    problems: list[str] = []
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(file, 1):
            text = line.strip()
            if not text:
                continue
            place = f"{path}:{number}"
            header = _header(text, place)
            if header is not None:
                layout = header
                continue
            if text.startswith("#"):
                # The last comment before the first candidate may be an unknown header.
                remark = f"{place}: {shown(text[:100])}: {_allowed()}"
                continue
            if layout is None and not (layout := _by_columns(text, tsamp)):
                wrong = remark or f"{place}: {shown(text[:100])}: {_allowed()}"
                raise TriggerTableError(wrong)
            try:
                rows.append(_row(text, layout))
            except _BadLineError as error:
                rejected[error.reason] += 1
                if len(problems) < _TOLD:
                    problems.append(f"{place}: {error}")
    if rejected and not rows:
        raise TriggerTableError("\n".join(["no line is usable:", *problems]))
    if layout is None:
        raise TriggerTableError(remark or f"{path}:1: '': {_allowed()}")
    return TriggerTable(np.array(rows, dtype=CANDIDATE), dict(rejected), tuple(problems))


def _allowed() -> str:
    return (
        "not a header of triggers; allowed: AMBER's, '#snr dm time downsamp sb',"
        " '# DM Sigma Time (s) Sample Downfact' (PRESTO), or the columns of Heimdall"
    )


def _header(text: str, place: str) -> _Layout | None:
    """
    :raises TriggerTableError: a duplicate column
    """
    words = _IN_BRACKETS.sub(" ", text.lstrip("# ")).split()
    names = [_NAMES.get(word.lower(), "") for word in words]
    places = {name: place for place, name in enumerate(names) if name}
    if not set(_NEEDED) <= set(places):
        return None
    twice = [
        word for word, name in zip(words, names, strict=True) if name and names.count(name) > 1
    ]
    if twice:
        raise TriggerTableError(
            f"{place}: {shown(text[:100])}: columns {' and '.join(twice)} are equal: keep one"
        )
    return _Layout(places, len(words), {field: words[place] for field, place in places.items()})


def _by_columns(text: str, tsamp: float) -> _Layout | None:
    """Recognise Heimdall's format by its whole numbers, and its time in seconds and samples."""
    words = text.split()
    if (
        len(words) < _HEIMDALL_LEAST
        or not all(_NUMBER.fullmatch(words[column]) for column in _HEIMDALL.values())
        or not all(_WHOLE.fullmatch(words[column]) for column in _HEIMDALL_WHOLE)
        or not _is_heimdall([float(word) for word in words[:_HEIMDALL_LEAST]], tsamp)
    ):
        return None
    return _Layout(_HEIMDALL, _HEIMDALL_LEAST, {}, log2_width=True)


def _is_heimdall(numbers: list[float], tsamp: float) -> bool:
    """Whether values fit Heimdall's columns: a line of AMBER's has the same shape."""
    snr, sample, time, log2_width, _, _, members, begin, end = numbers
    return (
        snr > 0
        and log2_width <= _MOST_LOG2_WIDTH
        and members >= 1
        and begin <= sample <= end
        and abs(time - sample * tsamp) <= _TIME_AGREES * time + 2 * tsamp
    )


def _row(text: str, layout: _Layout) -> tuple[float, ...]:
    words = text.split()
    if len(words) < layout.n_columns or len(text) > _LONGEST_LINE:
        raise _BadLineError(
            Rejection.WRONG_COUNT, f"{len(words)} columns; wanted: {layout.n_columns}"
        )
    values: dict[str, float] = {"beam": 0}
    for field, column in layout.places.items():
        valid = FIELDS[field][1]
        name = layout.names.get(field, FIELDS[field][0])
        word = words[column]
        is_whole = field in ("beam", "downsampling")
        if not (_NEARLY_WHOLE if is_whole else _NUMBER).fullmatch(word):
            reason = Rejection.NOT_WHOLE if is_whole else Rejection.NOT_NUMBER
            raise _BadLineError(reason, f"{name}: {shown(word)} is {reason.words}")
        value = float(word)
        if field == "downsampling" and layout.log2_width:
            value = 2.0**value if value <= _MOST_LOG2_WIDTH else math.inf
        if not valid.allows(value):
            raise _BadLineError(
                Rejection.OUT_OF_RANGE,
                f"{name}: {shown(word)}; allowed: {valid.low} to {valid.high:g}",
            )
        values[field] = value
    return tuple(values[name] for name in CANDIDATE.names or ())
