"""Candidates are gathered by time window, on data time, until a window closes.

What closes when follows from the entries alone, from their order and their stamps, and not from
the clock: an amber_clustering that was killed or stopped comes to the same windows.
"""

from __future__ import annotations

import itertools
from collections import defaultdict, deque
from dataclasses import dataclass, field

import numpy as np

from darc.model.candidate import CANDIDATE, Records

#: Entries that are completed in one step.
MOST_COMPLETED = 10_000


@dataclass(frozen=True, slots=True)
class EntryTimes:
    """When an entry's lines were written, read and queued, Unix s; 0 where not known."""

    written: float = 0.0
    read: float = 0.0
    queued: float = 0.0


@dataclass(frozen=True, slots=True)
class ClosedWindow:
    """A window that has closed.

    :param through: the last entry that has candidates in it
    :param first: the times of the entry that opened it
    """

    window: int
    candidates: Records
    through: int
    first: EntryTimes


@dataclass(slots=True)
class _Open:
    first: EntryTimes
    parts: list[Records] = field(default_factory=list)
    first_stamp: float | None = None
    through: int = 0


class OpenWindows:
    """The open windows of one observation.

    Window n holds the data time from n to n + 1 times its length. It closes ``interval`` after its
    first line arrived; lines that come later open it once more.

    What has closed is taken window by window (:meth:`close_one`), so that however much there is, it
    can be dealt with in portions.

    :param interval: s
    :param window_length: s, on data time
    :param closed: the windows that an earlier process has closed, and their last entries
    """

    def __init__(self, interval: float, window_length: float, closed: dict[int, int]) -> None:
        self._interval = interval
        self._window_length = window_length
        self._closed = dict(closed)
        self._open: dict[int, _Open] = {}
        self._due: deque[int] = deque()  # open windows that have closed
        # entry → open windows that it has candidates in, or gave the first stamp
        self._needed: dict[int, set[int]] = {}
        self._needed_by: defaultdict[int, list[int]] = defaultdict(list)  # the other way round
        self._free: deque[int] = deque()
        self._last_entry = 0

    def add(
        self, entry: int, stamp: float, candidates: Records, times: EntryTimes | None = None
    ) -> None:
        """Take an entry in; its stamp may close windows.

        :param stamp: Unix time; all lines written before it are in this entry or an earlier one.
            0: the entry says nothing about that
        """
        windows = self._windows(entry, candidates)
        for window, part in windows:
            opened = self._open.setdefault(window, _Open(times or EntryTimes()))
            opened.parts.append(part)
            opened.through = entry
        needed_by = {window for window, _ in windows}
        if stamp:
            # What it closes needs it until that is dealt with, as a death may come before.
            needed_by |= self._stamp(stamp) | self._close(stamp)
        if needed_by:
            self._needed[entry] = needed_by
            for window in needed_by:
                self._needed_by[window].append(entry)
        else:
            self._free.append(entry)
        self._last_entry = max(self._last_entry, entry)

    def _windows(self, entry: int, candidates: Records) -> list[tuple[int, Records]]:
        """Split by window; what an earlier process has clustered is left out."""
        if not len(candidates):
            return []
        window = np.floor(candidates["time"] / self._window_length).astype(np.int64)
        order = np.argsort(window, kind="stable")  # in a window, the order is that of the lines
        numbers, begins = np.unique(window[order], return_index=True)
        parts = zip(numbers.tolist(), np.split(candidates[order], begins[1:]), strict=True)
        return [part for part in parts if self._closed.get(part[0], 0) < entry]

    def _stamp(self, stamp: float) -> set[int]:
        """Stamp the windows that have none yet; returns which."""
        fresh = {window for window, opened in self._open.items() if opened.first_stamp is None}
        for window in fresh:
            self._open[window].first_stamp = stamp
        return fresh

    def _close(self, stamp: float) -> set[int]:
        """Have windows close; returns which."""
        due = [
            window
            for window, opened in self._open.items()
            if opened.first_stamp is not None and opened.first_stamp + self._interval <= stamp
        ]
        self._due = deque(sorted(due))
        return set(due)

    def close_all(self) -> None:
        """Close what is open: no more lines will come."""
        self._due = deque(sorted(self._open))

    def close_one(self) -> ClosedWindow | None:
        """The next window that has closed; None: there is no more."""
        if not self._due:
            return None
        window = self._due.popleft()
        opened = self._open.pop(window)
        self._closed[window] = opened.through
        for entry in self._needed_by.pop(window, ()):
            self._needed[entry].discard(window)
            if not self._needed[entry]:
                del self._needed[entry]
                self._free.append(entry)
        candidates = np.concatenate(opened.parts) if opened.parts else np.empty(0, CANDIDATE)
        return ClosedWindow(window, candidates, opened.through, opened.first)

    def completed(self) -> tuple[int, ...]:
        """Entries that nothing needs any more, some at a time; each is given once."""
        return tuple(self._free.popleft() for _ in range(min(MOST_COMPLETED, len(self._free))))

    def forgotten(self) -> tuple[int, ...]:
        """Windows that need not be known to have closed any more, some at a time; each once.

        All entries with candidates in them are completed, or were given as such: none of them
        comes again.
        """
        first = min(self._needed, default=self._last_entry + 1)
        first = min(first, min(self._free, default=first))
        past = (window for window, through in self._closed.items() if through < first)
        over = list(itertools.islice(past, MOST_COMPLETED))
        for window in over:
            del self._closed[window]
        return tuple(over)
