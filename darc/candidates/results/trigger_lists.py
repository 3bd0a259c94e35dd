"""Trigger lists and summaries, one of each per compound beam.

Source: the project's specification, processing.md (files of an observation).
"""

from __future__ import annotations

import errno
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from darc.config.records import asdict
from darc.config.typed import read_strictly
from darc.config.yaml_tree import parse_yaml
from darc.model.arrival import ArrivalReference
from darc.model.processing_outcome import ListedCandidate, ProcessedCandidate, ProcessingSummary
from darc.runtime.paths import write_whole
from darc.runtime.untrusted_files import NotRegularError, read_regular

#: Maximum size of a file (bytes); a list with 50,000 candidates has some MB.
MAX_FILE = 16 * 2**20
HEADER = "#cb snr dm time downsamp sb p"
_WHOLE = re.compile(r"\d{1,18}", re.ASCII)
_NUMBER = re.compile(r"-?\d{1,18}(\.\d{1,18})?", re.ASCII)


class ResultFileError(ValueError):
    """A result file is invalid; the text names the file, the line and the value."""


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

    :raises ResultFileError: the file is invalid, or its last line incomplete
    :raises OSError: the file cannot be read
    """
    lines = _read_text(path).split("\n")
    if lines[0] != HEADER:
        raise ResultFileError(f"{path}:1: {lines[0][:100]!r} is not the header {HEADER!r}")
    if lines.pop():
        raise ResultFileError(f"{path}:{len(lines) + 1}: the line has no end")
    names = HEADER.lstrip("#").split(" ")
    rows = []
    for number, line in enumerate(lines[1:], 2):
        words = line.split(" ")
        if len(words) != len(names):
            what = f"{line[:100]!r} has {len(words)} columns, not {len(names)}"
            raise ResultFileError(f"{path}:{number}: {what}")
        rows.append(_row(dict(zip(names, words, strict=True)), f"{path}:{number}"))
    return rows


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
    text = _read_text(path)
    if not text.strip():
        return None
    try:
        tree = parse_yaml(text, str(path))
        summary = read_strictly(ProcessingSummary, tree)
    except ValueError as error:
        raise ResultFileError(str(error)) from error
    for name, value in tree.data.items():
        if value.data < -1:
            raise ResultFileError(
                f"{value.place}: {name}: {value.data}; allowed: -1 (not known) or more"
            )
    return summary


def _read_text(path: Path) -> str:
    """Read a text file, keeping its line ends.

    :raises ResultFileError: the file is not text, not a regular file, or too large
    :raises OSError: the file cannot be read
    """
    try:
        data = read_regular(path, MAX_FILE, path.parent)
    except OSError as error:
        if isinstance(error, NotRegularError) or error.errno == errno.EFBIG:
            raise ResultFileError(f"{path}: {error.strerror}") from error
        raise
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ResultFileError(f"{path}:{line}: byte {data[error.start]:#04x} is no text") from error
