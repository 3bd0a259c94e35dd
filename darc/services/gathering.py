"""Candidates are gathered by time window, on data time, until a window closes.

What closes when follows from the entries alone, from their order and their stamps, and not from
the clock: an amber_clustering that was killed or stopped comes to the same windows.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from darc.model.candidate import CANDIDATE, Records


@dataclass(frozen=True, slots=True)
class Times:
    """When an entry's lines were written, read and queued, Unix s; 0 where not known."""

    written: float = 0.0
    read: float = 0.0
    queued: float = 0.0


@dataclass(frozen=True, slots=True)
class Closed:
    """A window that has closed.

    :param through: the last entry that has candidates in it
    :param first: the times of the entry that opened it
    """

    window: int
    candidates: Records
    through: int
    first: Times


@dataclass(slots=True)
class _Open:
    first: Times
    parts: list[Records] = field(default_factory=list)
    first_stamp: float | None = None
    through: int = 0


class Gathering:
    """The open windows of one observation.

    Window n holds the data time from n to n + 1 times its length. It closes ``interval`` after its
    first line arrived; lines that come later open it once more.

    :param interval: s
    :param window_length: s, on data time
    :param closed: the windows that an earlier process has closed, and their last entries
    """

    def __init__(self, interval: float, window_length: float, closed: dict[int, int]) -> None:
        self._interval = interval
        self._window_length = window_length
        self._closed = dict(closed)
        self._open: dict[int, _Open] = {}
        # entry → open windows that it has candidates in, or gave the first stamp
        self._needed: dict[int, set[int]] = {}
        self._free: list[int] = []

    def add(
        self, entry: int, stamp: float, candidates: Records, times: Times | None = None
    ) -> list[Closed]:
        """Take an entry in; returns the windows that its stamp closes.

        :param stamp: Unix time; all lines written before it are in this entry or an earlier one.
            0: the entry says nothing about that
        """
        windows = self._windows(entry, candidates)
        for window, part in windows:
            opened = self._open.setdefault(window, _Open(times or Times()))
            opened.parts.append(part)
            opened.through = entry
        needed_by = {window for window, _ in windows}
        if stamp:
            needed_by |= self._stamp(stamp)
        if needed_by:
            self._needed[entry] = needed_by
        else:
            self._free.append(entry)
        return self._close(stamp) if stamp else []

    def _windows(self, entry: int, candidates: Records) -> list[tuple[int, Records]]:
        """Split by window; what an earlier process has clustered is left out."""
        if not len(candidates):
            return []
        window = np.floor(candidates["time"] / self._window_length).astype(np.int64)
        parts = [(int(number), candidates[window == number]) for number in np.unique(window)]
        return [part for part in parts if self._closed.get(part[0], 0) < entry]

    def _stamp(self, stamp: float) -> set[int]:
        """Stamp the windows that have none yet; returns which."""
        fresh = {window for window, opened in self._open.items() if opened.first_stamp is None}
        for window in fresh:
            self._open[window].first_stamp = stamp
        return fresh

    def _close(self, stamp: float) -> list[Closed]:
        due = [
            window
            for window, opened in self._open.items()
            if opened.first_stamp is not None and opened.first_stamp + self._interval <= stamp
        ]
        return [self._take(window) for window in sorted(due)]

    def close_all(self) -> list[Closed]:
        """Close what is open: no more lines will come."""
        return [self._take(window) for window in sorted(self._open)]

    def _take(self, window: int) -> Closed:
        opened = self._open.pop(window)
        self._closed[window] = opened.through
        for entry in [entry for entry, windows in self._needed.items() if window in windows]:
            self._needed[entry].remove(window)
            if not self._needed[entry]:
                del self._needed[entry]
                self._free.append(entry)
        candidates = np.concatenate(opened.parts) if opened.parts else np.empty(0, CANDIDATE)
        return Closed(window, candidates, opened.through, opened.first)

    def completed(self) -> tuple[int, ...]:
        """The entries that nothing needs any more; each is given once."""
        free, self._free = tuple(self._free), []
        return free
