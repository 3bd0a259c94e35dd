"""AMBER's trigger files under faults: written as it writes them, written anew, with wild values."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from simulator.amber_files import format_line
from simulator.player import TimedFile

#: For what was written to be read, before the file is replaced (s).
READ_SECONDS = 20.0
POLL_SECONDS = 0.05
REMOVED_SECONDS = 0.3


def wild_lines(time_s: float) -> list[bytes]:
    """Lines that nothing comes of: a burst's, each with one value beyond belief.

    :param time_s: of the burst, s
    """
    usual = {"beam": 3, "step": 10, "time": f"{time_s:g}", "dm": "1234", "snr": "30"}
    wild: list[dict[str, object]] = [
        *({"snr": value} for value in ("1e30", "5e5", "nan", "inf", "-inf", "-30", "1e400")),
        *({"time": value} for value in ("-5", "-1e-3", "1e6", "1e12", "1e300", "nan")),
        *({"dm": value} for value in ("1e9", "-50", "nan", "inf")),
        *({"step": value} for value in (0, -1, 2**40, "1e3")),
        *({"beam": value} for value in (-3, 10**9, "0.5")),
    ]
    # Batch and sample agree with no printed time, so that it is this one that holds.
    return [
        "{beam} 0 0 {step} 1 {time} 10 {dm} 1 {snr}\n".format(**(usual | one)).encode()
        for one in wild
    ]


def dim_lines(count: int) -> list[bytes]:
    """Candidates that are too weak for anything to come of them."""
    return [
        format_line(
            beam=number % 12,
            batch=0,
            sample=number,
            integration_step=10,
            time=number * 10 * 81.92e-6,
            dm_id=number,
            dm=100.0 + number,
            snr=7.0,
        )
        for number in range(count)
    ]


class TriggerFiles:
    """The files of one observation while they are written.

    :param lines_read: how many lines the node has read, as far as it tells
    """

    def __init__(
        self, directory: Path, files: Sequence[TimedFile], lines_read: Callable[[], int]
    ) -> None:
        self._files = files
        self._paths = [directory / file.name for file in files]
        self._lines_read = lines_read
        self._between_batches = threading.Condition()
        self._wishes: list[Callable[[float], None]] = []
        self._ended = False
        self.lines = 0  # that were written so far, in all files there ever were

    def play(self, until: float = float("inf")) -> None:
        """Make the files, and write the lines when they are due.

        :param until: s since the start: what is due later is not written
        """
        for path, file in zip(self._paths, self._files, strict=True):
            with path.open("xb") as made:
                made.write(file.header)
            self.lines += 1
        groups = [
            (due, number, [line for _, line in group])
            for number, file in enumerate(self._files)
            for due, group in groupby(file.lines, key=itemgetter(0))
        ]
        began = time.monotonic()
        for due, batch in groupby(sorted(groups, key=itemgetter(0)), key=itemgetter(0)):
            if due > until:
                break
            time.sleep(max(0.0, began + due - time.monotonic()))
            for _, number, lines in batch:
                self._append(number, lines)
            # A window's lines are written at once: what holds this up does so between windows.
            held = time.monotonic()
            self._fulfil(due)
            began += time.monotonic() - held
        with self._between_batches:
            self._ended = True
        self._fulfil(until)

    def _append(self, number: int, lines: list[bytes]) -> None:
        with self._paths[number].open("ab", buffering=0) as file:
            file.write(b"".join(lines))
        self.lines += len(lines)

    def _fulfil(self, due: float) -> None:
        with self._between_batches:
            wishes, self._wishes = self._wishes, []
        for wish in wishes:
            wish(due)

    def _wish(self, wish: Callable[[float], None]) -> None:
        """Have something done between two batches, or now if there are no more."""
        with self._between_batches:
            if not self._ended:
                self._wishes.append(wish)
                return
        wish(float(self._files[0].lines[-1][0]))

    # -- faults --------------------------------------------------------------------------------

    def write_wild_values(self) -> None:
        """Among the lines of a batch to come."""
        self._wish(lambda due: self._append(0, wild_lines(max(0.0, due - 0.1))))

    def replace(self, number: int, how: str) -> None:
        """Go on in a new file of the same name, as an AMBER does that is started again.

        All that was written has been read before: what nobody has read is lost with the file.

        :param number: of the file, from 1
        """
        self._wish(lambda _: self._replace(number - 1, how))

    def _replace(self, number: int, how: str) -> None:
        deadline = time.monotonic() + READ_SECONDS
        while self._lines_read() < self.lines:
            if time.monotonic() > deadline:
                raise AssertionError(f"{self._lines_read()} of {self.lines} lines were read")
            time.sleep(POLL_SECONDS)
        path, header = self._paths[number], self._files[number].header
        match how:
            case "renamed over":
                new = path.with_suffix(".written")
                new.write_bytes(header)
                new.replace(path)
            case "truncated":
                with path.open("r+b", buffering=0) as file:
                    os.ftruncate(file.fileno(), 0)
                    file.write(header)
            case "removed":
                path.unlink()
                time.sleep(REMOVED_SECONDS)
                path.write_bytes(header)
            case _:
                raise ValueError(how)
        self.lines += 1
