"""Triggers of any search, as a text table: recognised by its header, or by its columns.

- AMBER's trigger files: `darc.model.amber`
- DARC's own lists: ``#snr dm time downsamp sb``, further columns beside these
- PRESTO's ``.singlepulse``: ``# DM Sigma Time (s) Sample Downfact``
- Heimdall's ``.cand``, without a header: S/N, sample, time (s), log2 of the width in samples, index
  of the DM, DM, and further columns

Times are s since the file's first sample, at the top of the band; widths are samples of the file. A
bad line is counted and skipped.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from darc.model.amber import FIELDS, Columns
from darc.model.candidate import CANDIDATE, Records
from darc.model.typed import shown

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?", re.ASCII)
_WHOLE = re.compile(r"[0-9]{1,18}", re.ASCII)
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
#: Of Heimdall: the places of S/N, time, log2 of the width, and DM, and of all whole numbers.
_HEIMDALL = {"snr": 0, "time": 2, "downsampling": 3, "dm": 5}
_HEIMDALL_WHOLE, _HEIMDALL_LEAST = (1, 3, 4), 9
_MOST_LOG2_WIDTH = 19


class TriggerTableError(ValueError):
    """A file is no table of triggers; the text names file, line and value."""


@dataclass(frozen=True, slots=True, eq=False)
class TriggerTable:
    """What a file holds.

    :param rejected: lines that were skipped, by reason
    :param problems: the first of them: file, line and value
    """

    candidates: Records
    rejected: dict[str, int]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Layout:
    places: dict[str, int]
    n_columns: int  # at least
    log2_width: bool = False


class _BadLineError(ValueError):
    def __init__(self, reason: str, what: str) -> None:
        super().__init__(what)
        self.reason = reason


def is_amber(path: Path) -> bool:
    """Whether the first line that says anything is a header of AMBER's.

    :raises OSError: it cannot be read
    """
    with path.open("rb") as file:
        while line := file.readline(_LONGEST_LINE):
            if line.strip():
                break
    try:
        Columns.from_header(line)
    except ValueError:
        return False
    return True


def read_table(path: Path) -> TriggerTable:
    """Read a table that is not AMBER's.

    :raises TriggerTableError: it is none, or has no usable line
    :raises OSError: it cannot be read
    """
    layout: _Layout | None = None
    rows: list[tuple[float, ...]] = []
    rejected: Counter[str] = Counter()
    problems: list[str] = []
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            text = line.strip()
            if not text:
                continue
            place = f"{path}:{number}"
            header = _header(text)
            if header is not None:
                layout = header
                continue
            if text.startswith("#"):
                if layout is None:
                    raise TriggerTableError(f"{place}: {shown(text[:100])}: {_allowed()}")
                continue
            layout = layout or _by_columns(text, place)
            try:
                rows.append(_row(text, layout))
            except _BadLineError as error:
                rejected[error.reason] += 1
                if len(problems) < _TOLD:
                    problems.append(f"{place}: {error}")
    if rejected and not rows:
        raise TriggerTableError("\n".join(["no line is usable:", *problems]))
    if layout is None:
        raise TriggerTableError(f"{path}:1: '': {_allowed()}")
    return TriggerTable(np.array(rows, dtype=CANDIDATE), dict(rejected), tuple(problems))


def _allowed() -> str:
    return (
        "no header of triggers; allowed: AMBER's, '#snr dm time downsamp sb',"
        " '# DM Sigma Time (s) Sample Downfact' (PRESTO), or the columns of Heimdall"
    )


def _header(text: str) -> _Layout | None:
    words = _IN_BRACKETS.sub(" ", text.lstrip("# ")).lower().split()
    places = {_NAMES[word]: place for place, word in enumerate(words) if word in _NAMES}
    if not set(_NEEDED) <= set(places):
        return None
    return _Layout(places, len(words))


def _by_columns(text: str, place: str) -> _Layout:
    """Heimdall's has no header, but whole numbers at certain places."""
    words = text.split()
    if (
        len(words) < _HEIMDALL_LEAST
        or not all(_NUMBER.fullmatch(words[column]) for column in _HEIMDALL.values())
        or not all(_WHOLE.fullmatch(words[column]) for column in _HEIMDALL_WHOLE)
    ):
        raise TriggerTableError(f"{place}: {shown(text[:100])}: {_allowed()}")
    return _Layout(_HEIMDALL, _HEIMDALL_LEAST, log2_width=True)


def _row(text: str, layout: _Layout) -> tuple[float, ...]:
    words = text.split()
    if len(words) < layout.n_columns or len(text) > _LONGEST_LINE:
        raise _BadLineError(
            "wrong number of columns", f"{len(words)} columns; wanted: {layout.n_columns}"
        )
    values: dict[str, float] = {"beam": 0}
    for field, column in layout.places.items():
        name, low, high = FIELDS[field]
        word = words[column]
        is_whole = field in ("beam", "downsampling")
        if not (_WHOLE if is_whole else _NUMBER).fullmatch(word):
            kind = "a whole number" if is_whole else "a number"
            raise _BadLineError(f"not {kind}", f"{name}: {shown(word)} is not {kind}")
        value = float(word)
        if field == "downsampling" and layout.log2_width:
            value = 2.0**value if value <= _MOST_LOG2_WIDTH else math.inf
        if not low <= value <= high:
            raise _BadLineError(
                "out of range", f"{name}: {shown(word)}; allowed: {low} to {high:g}"
            )
        values[field] = value
    return tuple(values[name] for name in CANDIDATE.names or ())
