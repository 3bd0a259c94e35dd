"""Collection of candidates in time windows, on data time, until a window settles, and closes.

When that is depends only on the entries, their order and their watermarks, and not on the clock:
after a restart of amber_clustering the windows are the same. docs/triggers.md draws it.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping

import numpy as np

from darc.config.records import Struct, field
from darc.model.candidate import Records

#: Maximum number of entries acknowledged in one step.
MOST_COMPLETED = 10_000


class EntryTimes(Struct, frozen=True):
    """Times at which an entry's lines were written, read and queued, Unix s; 0 if unknown."""

    written: float = 0.0
    read: float = 0.0
    queued: float = 0.0


class DueWindow(Struct, frozen=True):
    """Window that has settled or closed, with all candidates since it opened.

    :param through: last entry with candidates in it
    :param first: times of the entry that opened it
    :param waited: for how long it had to be open (s)
    :param closed: False: it has settled, and may come again
    """

    window: int
    candidates: Records
    through: int
    first: EntryTimes
    waited: float
    closed: bool


class _Open(Struct):
    first: EntryTimes
    parts: list[Records] = field(default_factory=list)
    first_watermark: float | None = None
    last_watermark: float | None = None  # None: no watermark since its last line
    through: int = 0
    settled_through: int = 0  # as it was when it settled last

    def joined(self) -> Records:
        """Return all candidates; what was joined before is not joined again."""
        if len(self.parts) > 1:
            self.parts = [np.concatenate(self.parts)]
        return self.parts[0]


class OpenWindows:
    """Open windows of one observation.

    Window n covers the data time from n to n + 1 times its length. It settles when a watermark is
    at least ``settle`` after that of its last line, and again after further lines. It closes when a
    watermark is at least ``interval`` after its first one; late lines open it again, without those
    of before.

    What is due is taken one by one (:meth:`take_due`), so that any number of windows can be
    processed in portions.

    :param interval: s
    :param window_length: s, on data time
    :param closed: windows that an earlier process has closed, and their last entries
    :param settle: s; not less than `interval`: windows close without settling before
    :param settled: windows that an earlier process has dealt with when they had settled, and their
        last entries then
    """

    def __init__(
        self,
        interval: float,
        window_length: float,
        closed: Mapping[int, int],
        *,
        settle: float = math.inf,
        settled: Mapping[int, int] | None = None,
    ) -> None:
        self._interval = interval
        self._settle = settle
        self._window_length = window_length
        self._closed = dict(closed)
        self._settled = dict(settled or {})
        self._open: dict[int, _Open] = {}
        self._due: deque[tuple[int, float, bool]] = deque()  # window, how long it waited, closed
        # entry → open windows in which it has candidates, or whose watermark it set
        self._needed: dict[int, set[int]] = {}
        self._needed_by: defaultdict[int, list[int]] = defaultdict(list)  # window → entries
        self._free: deque[int] = deque()
        self._last_entry = 0

    def add(
        self, entry: int, watermark: float, candidates: Records, times: EntryTimes | None = None
    ) -> None:
        """Add an entry; its watermark may settle and close windows.

        :param entry: number of the entry
        :param watermark: Unix s: all lines written before it are in this entry or an earlier
            one; 0: none
        :param candidates: CANDIDATE records
        :param times: times of the entry; None: unknown
        """
        windows = self._windows(entry, candidates)
        for window, part in windows:
            opened = self._open.setdefault(window, _Open(times or EntryTimes()))
            opened.parts.append(part)
            opened.through = entry
            opened.last_watermark = None
        needed_by = {window for window, _ in windows}
        if watermark:
            # The windows that it settles or closes need it, in case of a crash before they close.
            needed_by |= self._note_watermark(watermark) | self._find_due(watermark)
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

    def _note_watermark(self, watermark: float) -> set[int]:
        """Set the watermark of windows with lines since the last one; return these windows."""
        fresh = {window for window, opened in self._open.items() if opened.last_watermark is None}
        for window in fresh:
            opened = self._open[window]
            opened.last_watermark = watermark
            if opened.first_watermark is None:
                opened.first_watermark = watermark
        return fresh

    def _find_due(self, watermark: float) -> set[int]:
        """Find windows that have settled or close; return them."""
        self._due = deque(
            (window, due[0], due[1])
            for window, opened in sorted(self._open.items())
            if (due := self._is_due(window, opened, watermark))
        )
        return {window for window, _, _ in self._due}

    def _is_due(self, window: int, opened: _Open, watermark: float) -> tuple[float, bool] | None:
        """Return for how long a window had to be open (s), and whether it closes; None: not due."""
        first, last = opened.first_watermark, opened.last_watermark
        if first is None or last is None:
            return None
        if first + self._interval <= watermark:
            return self._interval, True
        if last + self._settle <= watermark and opened.through > self._dealt_with(window, opened):
            return last + self._settle - first, False
        return None

    def unsettled(self) -> Iterator[tuple[int, int, Records]]:
        """Return open windows with lines since they settled last.

        :return: number of each, the last entry with candidates in it, and all its candidates
        """
        for window, opened in self._open.items():
            if opened.through > self._dealt_with(window, opened):
                yield window, opened.through, opened.joined()

    def _dealt_with(self, window: int, opened: _Open) -> int:
        """Return the last entry of a window as it was when it settled last; 0: it has not."""
        return max(opened.settled_through, self._settled.get(window, 0))

    def close_all(self) -> None:
        """Close all windows: no more lines will come."""
        self._due = deque((window, self._interval, True) for window in sorted(self._open))

    def take_due(self) -> DueWindow | None:
        """Take the next window that has settled or closed; None if there are no more."""
        if not self._due:
            return None
        window, waited, closed = self._due.popleft()
        opened = self._open[window]
        candidates = opened.joined()
        if closed:
            self._close(window)
        else:
            opened.settled_through = opened.through
        return DueWindow(window, candidates, opened.through, opened.first, waited, closed)

    def _close(self, window: int) -> None:
        self._closed[window] = self._open.pop(window).through
        self._settled.pop(window, None)
        for entry in self._needed_by.pop(window, ()):
            self._needed[entry].discard(window)
            if not self._needed[entry]:
                del self._needed[entry]
                self._free.append(entry)

    def closed_through(self, window: int) -> int:
        """Return the last entry of a window when it closed; 0 if it has not, or was forgotten."""
        return self._closed.get(window, 0)

    def completed(self) -> tuple[int, ...]:
        """Return entries that can be acknowledged, each once, a limited number at a time."""
        return tuple(self._free.popleft() for _ in range(min(MOST_COMPLETED, len(self._free))))

    def open_entries(self) -> tuple[int, ...]:
        """Return entries that were not returned by :meth:`completed`."""
        return *self._free, *self._needed

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
