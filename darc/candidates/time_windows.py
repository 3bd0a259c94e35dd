"""Collection of candidates in time windows, on data time, until a window closes.

When a window closes depends only on the entries, their order and their watermarks, and not on the
clock: after a restart of amber_clustering the windows are the same.
"""

from __future__ import annotations

import itertools
from collections import defaultdict, deque
from dataclasses import dataclass, field

import numpy as np

from darc.model.candidate import CANDIDATE, Records

#: Maximum number of entries acknowledged in one step.
MOST_COMPLETED = 10_000


@dataclass(frozen=True, slots=True)
class EntryTimes:
    """Times at which an entry's lines were written, read and queued, Unix s; 0 if unknown."""

    written: float = 0.0
    read: float = 0.0
    queued: float = 0.0


@dataclass(frozen=True, slots=True)
class ClosedWindow:
    """Closed window.

    :param through: last entry with candidates in it
    :param first: times of the entry that opened it
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
    """Open windows of one observation.

    Window n covers the data time from n to n + 1 times its length. It closes when a watermark is at
    least ``interval`` after its first one; late lines open it again.

    Closed windows are taken one by one (:meth:`close_one`), so that any number of them can be
    processed in portions.

    :param interval: s
    :param window_length: s, on data time
    :param closed: windows that an earlier process has closed, and their last entries
    """

    def __init__(self, interval: float, window_length: float, closed: dict[int, int]) -> None:
        self._interval = interval
        self._window_length = window_length
        self._closed = dict(closed)
        self._open: dict[int, _Open] = {}
        self._due: deque[int] = deque()  # windows to be taken, in order
        # entry → open windows in which it has candidates, or whose watermark it set
        self._needed: dict[int, set[int]] = {}
        self._needed_by: defaultdict[int, list[int]] = defaultdict(list)  # window → entries
        self._free: deque[int] = deque()
        self._last_entry = 0

    def add(
        self, entry: int, stamp: float, candidates: Records, times: EntryTimes | None = None
    ) -> None:
        """Add an entry; its watermark may close windows.

        :param entry: number of the entry
        :param stamp: watermark, Unix s: all lines written before it are in this entry or an earlier
            one; 0: none
        :param candidates: CANDIDATE records
        :param times: times of the entry; None: unknown
        """
        windows = self._windows(entry, candidates)
        for window, part in windows:
            opened = self._open.setdefault(window, _Open(times or EntryTimes()))
            opened.parts.append(part)
            opened.through = entry
        needed_by = {window for window, _ in windows}
        if stamp:
            # The windows it closes need it until they are processed, in case of a crash before.
            needed_by |= self._stamp(stamp) | self._close(stamp)
        if needed_by:
            self._needed[entry] = needed_by
            for window in needed_by:
                self._needed_by[window].append(entry)
        else:
            self._free.append(entry)
        self._last_entry = max(self._last_entry, entry)

    def _windows(self, entry: int, candidates: Records) -> list[tuple[int, Records]]:
        """Split candidates by window, without windows that an earlier process has clustered."""
        if not len(candidates):
            return []
        window = np.floor(candidates["time"] / self._window_length).astype(np.int64)
        order = np.argsort(window, kind="stable")  # keeps the order of lines within a window
        numbers, begins = np.unique(window[order], return_index=True)
        parts = zip(numbers.tolist(), np.split(candidates[order], begins[1:]), strict=True)
        return [part for part in parts if self._closed.get(part[0], 0) < entry]

    def _stamp(self, stamp: float) -> set[int]:
        """Set the first watermark of windows without one; return these windows."""
        fresh = {window for window, opened in self._open.items() if opened.first_stamp is None}
        for window in fresh:
            self._open[window].first_stamp = stamp
        return fresh

    def _close(self, stamp: float) -> set[int]:
        """Close windows that are due; return them."""
        due = [
            window
            for window, opened in self._open.items()
            if opened.first_stamp is not None and opened.first_stamp + self._interval <= stamp
        ]
        self._due = deque(sorted(due))
        return set(due)

    def close_all(self) -> None:
        """Close all windows: no more lines will come."""
        self._due = deque(sorted(self._open))

    def close_one(self) -> ClosedWindow | None:
        """Take the next closed window; None if there are no more."""
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
        """Return entries that can be acknowledged, each once, a limited number at a time."""
        return tuple(self._free.popleft() for _ in range(min(MOST_COMPLETED, len(self._free))))

    def forgotten(self) -> tuple[int, ...]:
        """Return windows whose closing need not be remembered, each once.

        At most a limited number at a time. All entries with candidates in them are acknowledged, or
        were returned as such: they are not delivered again.
        """
        first = min(self._needed, default=self._last_entry + 1)
        first = min(first, min(self._free, default=first))
        past = (window for window, through in self._closed.items() if through < first)
        over = list(itertools.islice(past, MOST_COMPLETED))
        for window in over:
            del self._closed[window]
        return tuple(over)
