"""Player of trigger files: appends their lines when they are due, as AMBER does.

python -m simulator.player --from DIR --to DIR --beam 0 [--speed 1]
"""

from __future__ import annotations

import argparse
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from darc.config.records import Struct
from darc.runtime.program import number, whole
from darc.trigger_files.amber import Columns


class TimedFile(Struct, frozen=True):
    """A trigger file and when each of its lines is due (s since the start, never decreasing)."""

    name: str
    header: bytes
    lines: Sequence[tuple[float, bytes]]


class WrittenLines(Struct, frozen=True):
    """A group of lines written to a file at once."""

    path: Path
    due: float  # s since the start
    lines: int
    end: int  # length of the file after it (bytes)
    monotonic: float  # just before the write (s)
    unix: float


class Player:
    """Writer of timed files into a directory.

    Lines of one file that are due at the same time are one write to a file opened for appending.

    :param directory: created if missing; the files must not exist in it
    :param speed: seconds of the observation per second; infinity writes at once, in order
    :param late: the files appear so many seconds after the start, and nothing is written before
    :param split_pause: every group is written in two halves, cut within its last line, so many
        real seconds apart; None: never half lines
    :param log: gets an entry per group
    :param monotonic: the clock
    :param wait: sleeps up to so many seconds, true if it was woken to stop; the default is
        the wait of the event that is given to `play`
    """

    def __init__(
        self,
        directory: Path,
        files: Sequence[TimedFile],
        *,
        speed: float = 1.0,
        late: float = 0.0,
        split_pause: float | None = None,
        log: list[WrittenLines] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        if not speed > 0:
            raise ValueError(f"speed must be above zero, not {speed}")
        self._directory = directory
        self._files = files
        self._speed = speed
        self._late = late
        self._split_pause = split_pause
        self._log = log
        self._monotonic = monotonic
        self._wait = wait

    def play(self, stop: threading.Event | None = None, *, start: float | None = None) -> bool:
        """Write everything, in order of time.

        :param stop: when set, the rest is not written
        :param start: the observation's start on the clock; now, if it is not given
        :returns: whether all was written
        :raises FileExistsError: a file exists already
        :raises OSError: a file cannot be written
        """
        start = self._monotonic() if start is None else start
        wait = self._wait or (stop or threading.Event()).wait
        self._directory.mkdir(parents=True, exist_ok=True)
        opened: list[int] = []
        try:
            if not self._wait_until(start, self._late, wait):
                return False
            for file in self._files:
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
                opened.append(os.open(self._directory / file.name, flags, 0o644))
                _write(opened[-1], file.header)
            for due, number, lines in self._groups():
                if (stop and stop.is_set()) or not self._wait_until(start, due, wait):
                    return False
                if not self._append(opened[number], self._files[number], due, lines, wait):
                    return False
            return True
        finally:
            for descriptor in opened:
                os.close(descriptor)

    def _groups(self) -> list[tuple[float, int, list[bytes]]]:
        """Lines of one file and due time, in order of time: (due, number of the file, lines)."""
        groups = [
            (due, number, [line for _, line in group])
            for number, file in enumerate(self._files)
            for due, group in groupby(file.lines, key=itemgetter(0))
        ]
        return sorted(groups, key=itemgetter(0))

    def _wait_until(self, start: float, due: float, wait: Callable[[float], bool]) -> bool:
        target = start + due / self._speed
        while (remaining := target - self._monotonic()) > 0:
            if wait(remaining):
                return False
        return True

    def _append(
        self,
        descriptor: int,
        file: TimedFile,
        due: float,
        lines: list[bytes],
        wait: Callable[[float], bool],
    ) -> bool:
        data = b"".join(lines)
        monotonic, unix = self._monotonic(), time.time()
        if self._split_pause is not None:
            half = len(data) - (len(lines[-1]) + 1) // 2
            _write(descriptor, data[:half])
            if wait(self._split_pause):
                return False
            # A group counts as written when its last line is whole.
            monotonic, unix = self._monotonic(), time.time()
            data = data[half:]
        _write(descriptor, data)
        if self._log is not None:
            end = os.fstat(descriptor).st_size
            path = self._directory / file.name
            self._log.append(WrittenLines(path, due, len(lines), end, monotonic, unix))
        return True


def _write(descriptor: int, data: bytes) -> None:
    while data:  # a full disk or a signal may cut a write short
        data = data[os.write(descriptor, data) :]


def read_recorded(path: Path) -> TimedFile:
    """Read a recorded trigger file, byte for byte.

    A line is due at its time, or with the line before it if that is later or it has no time: so
    the order stays.

    :raises ValueError: its first line is not a header
    """
    with path.open("rb") as file:
        lines = file.readlines()
    try:
        columns = Columns.from_header(lines[0] if lines else b"")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return TimedFile(path.name, lines[0], list(_timed(lines[1:], columns)))


def _timed(lines: list[bytes], columns: Columns) -> Iterator[tuple[float, bytes]]:
    due = 0.0
    for line in lines:
        try:
            if line.startswith(b"#"):
                columns = Columns.from_header(line)
            else:
                printed = float(line.split()[columns.time])
                due = max(due, printed) if math.isfinite(printed) else due
        except (ValueError, IndexError):
            pass  # a bad line goes with the one before it
        yield due, line


def main(arguments: Sequence[str] | None = None) -> None:
    """Play the recorded trigger files of one compound beam."""
    parser = argparse.ArgumentParser(description="Play recorded AMBER trigger files.")
    parser.add_argument("--from", dest="source", type=Path, required=True, metavar="DIR")
    parser.add_argument("--to", dest="target", type=Path, required=True, metavar="DIR")
    parser.add_argument("--beam", type=whole(0, 999), default=0, help="compound beam")
    parser.add_argument(
        "--speed", type=number(1e-3, math.inf), default=1.0, help="inf: all at once"
    )
    args = parser.parse_args(arguments)
    pattern = f"CB{args.beam:02d}_step*.trigger"
    try:
        files = [read_recorded(path) for path in sorted(args.source.glob(pattern))]
        if not files:
            raise FileNotFoundError(f"no {pattern} in {args.source}")
        Player(args.target, files, speed=args.speed).play()
    except (OSError, ValueError) as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
