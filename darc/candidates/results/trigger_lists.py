"""Trigger lists and summaries, one of each per compound beam.

Source: the project's specification, processing.md (files of an observation).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from darc.candidates.results.result_text_files import (
    ResultFileError,
    read_rows,
    read_text,
    read_yaml,
)
from darc.config.records import asdict
from darc.model.arrival import ArrivalReference
from darc.model.processing_outcome import ListedCandidate, ProcessedCandidate, ProcessingSummary
from darc.runtime.paths import write_whole

HEADER = "#cb snr dm time downsamp sb p"
_WHOLE = re.compile(r"\d{1,18}", re.ASCII)
_NUMBER = re.compile(r"-?\d{1,18}(\.\d{1,18})?", re.ASCII)


def listed(candidate: ProcessedCandidate) -> ListedCandidate:
    """Return a candidate's entry in lists."""
    measured = candidate.measured
    return ListedCandidate(
        cb=candidate.cb,
        snr=measured.snr,
        dm=candidate.pulse.dm,
        time=measured.time,
        downsampling=measured.downsampling,
        beam=candidate.pulse.beam,
        probability=candidate.score.freq_time,
    )


def trigger_line(row: ListedCandidate) -> str:
    """Format a candidate as a line, without the line end.

    :raises ValueError: a number is not finite
    """
    if not all(map(math.isfinite, (row.snr, row.dm, row.time, row.probability))):
        raise ValueError(f"a number is not finite: {row}")
    return (
        f"{row.cb:02d} {row.snr:.2f} {row.dm:.2f} {row.time:.4f}"
        f" {row.downsampling:d} {row.beam:d} {row.probability:.2f}"
    )


def write_triggers(path: Path, rows: Iterable[ListedCandidate]) -> None:
    """Write a trigger list, in the given order.

    :raises ValueError: a number is not finite
    :raises OSError: the file cannot be written
    """
    lines = [HEADER, *map(trigger_line, rows)]
    write_whole(path, "\n".join(lines) + "\n")


def read_triggers(path: Path) -> list[ListedCandidate]:
    """Read a trigger list.

    :raises ResultFileError: the file is invalid
    :raises OSError: the file cannot be read
    """
    return [_row(words, place) for place, words in read_rows(path, HEADER)]


def _row(words: Mapping[str, str], place: str) -> ListedCandidate:
    for name, word in words.items():
        is_whole = name in ("cb", "downsamp", "sb")
        if not (_WHOLE if is_whole else _NUMBER).fullmatch(word):
            kind = "whole number" if is_whole else "number"
            raise ResultFileError(f"{place}: {name}: {word[:60]!r} is no {kind}")
    if not 0 <= float(words["p"]) <= 1:
        raise ResultFileError(f"{place}: p: {words['p']} is not from 0 to 1")
    return ListedCandidate(
        cb=int(words["cb"]),
        snr=float(words["snr"]),
        dm=float(words["dm"]),
        time=float(words["time"]),
        downsampling=int(words["downsamp"]),
        beam=int(words["sb"]),
        probability=float(words["p"]),
    )


def write_summary(path: Path, summary: ProcessingSummary, arrival: ArrivalReference) -> None:
    """Write a summary, the last of a beam's files: it marks the beam as finished.

    :param arrival: reference of times and widths in the lists, for a comment
    :raises OSError: the file cannot be written
    """
    text = "".join(f"{name}: {count}\n" for name, count in asdict(summary).items())
    write_whole(path, f"{text}# {arrival}\n")  # an empty file means that the beam failed


def read_summary(path: Path) -> ProcessingSummary | None:
    """Read a summary; None for an empty file, by which an operator marks a beam as failed.

    :raises ResultFileError: the file is invalid
    :raises OSError: the file cannot be read
    """
    text = read_text(path)
    if not text.strip():
        return None
    summary, values = read_yaml(ProcessingSummary, text, path)
    for name, value in values.items():
        if value.data < -1:
            raise ResultFileError(
                f"{value.place}: {name}: {value.data}; allowed: -1 (not known) or more"
            )
    return summary
