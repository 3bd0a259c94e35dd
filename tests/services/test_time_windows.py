"""Which windows settle and close, and with what, follows from lines and watermarks alone."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct, field

from darc.candidates.time_windows import DueWindow, OpenWindows
from darc.model.candidate import CANDIDATE, Records

INTERVAL = 1.0
LENGTH = 0.5
SETTLES = st.sampled_from([0.125, 0.5, math.inf])

Lines = list[tuple[float, int]]  # time and number of each


class Taken(NamedTuple):
    """A window that was taken, and the numbers of its lines."""

    window: int
    numbers: list[int]
    closed: bool = True


class Batch(Struct, frozen=True):
    """Lines that were written up to a watermark, cut into entries anyhow."""

    watermark: float
    entries: list[Lines]

    @property
    def lines(self) -> Lines:
        return [line for entry in self.entries for line in entry]


class Given(Struct, frozen=True):
    id: int
    watermark: float
    candidates: Records


def records(lines: Lines) -> Records:
    found = np.zeros(len(lines), CANDIDATE)
    found["time"] = [time for time, _ in lines]
    found["beam"] = [number for _, number in lines]
    return found


@st.composite
def batches(draw: st.DrawFn) -> list[Batch]:
    """Watermarks rise by eighths, so that many are just one interval apart."""
    made = []
    watermark, number = 1000.0, 0
    for _ in range(draw(st.integers(1, 12))):
        watermark += draw(st.integers(0, 12)) / 8
        entries = []
        for _ in range(draw(st.integers(1, 3))):
            times = draw(st.lists(st.integers(0, 12).map(lambda n: n / 4), max_size=4))
            entries.append([(time, number + place) for place, time in enumerate(times)])
            number += len(times)
        made.append(Batch(watermark, entries))
    return made


def entries_of(made: list[Batch]) -> list[Given]:
    """Only the last entry of a batch carries its watermark, as with the listener."""
    found = []
    for batch in made:
        for place, lines in enumerate(batch.entries, 1):
            watermark = batch.watermark if place == len(batch.entries) else 0.0
            found.append(Given(len(found) + 1, watermark, records(lines)))
    return found


def told(due: list[DueWindow]) -> list[Taken]:
    return [Taken(one.window, one.candidates["beam"].tolist(), one.closed) for one in due]


def add(windows: OpenWindows, entry: Given) -> list[DueWindow]:
    """Take an entry in; returns the windows that are due then."""
    windows.add(entry.id, entry.watermark, entry.candidates)
    return rest(windows)


def rest(windows: OpenWindows) -> list[DueWindow]:
    """The windows that are due."""
    return list(iter(windows.take_due, None))


def end(windows: OpenWindows) -> list[DueWindow]:
    windows.close_all()
    return rest(windows)


class Slow(Struct):
    """A window as the definition has it."""

    first: float
    last: float
    numbers: list[int] = field(default_factory=list)
    n_settled: int = 0

    def due(self, watermark: float, settle: float) -> bool | None:
        """Whether it closes; None where it is not due."""
        if self.first + INTERVAL <= watermark:
            return True
        settled = self.last + settle <= watermark and len(self.numbers) > self.n_settled
        return False if settled else None


def expected(made: list[Batch], settle: float = math.inf) -> list[Taken]:
    """By the definition: it settles so long after its last line, and closes after its first."""
    opened: dict[int, Slow] = {}
    taken: list[Taken] = []
    for batch in made:
        for time, number in batch.lines:
            window = opened.setdefault(
                math.floor(time / LENGTH), Slow(batch.watermark, batch.watermark)
            )
            window.numbers.append(number)
            window.last = batch.watermark
        for number, window in sorted(opened.items()):
            closed = window.due(batch.watermark, settle)
            if closed is None:
                continue
            taken.append(Taken(number, list(window.numbers), closed))
            window.n_settled = len(window.numbers)
            if closed:
                del opened[number]
    return taken + [Taken(number, window.numbers) for number, window in sorted(opened.items())]


@given(batches(), SETTLES)
@settings(deadline=None)
def test_what_is_taken_does_not_depend_on_how_lines_are_cut_into_entries(
    made: list[Batch], settle: float
) -> None:
    windows = OpenWindows(INTERVAL, LENGTH, {}, settle=settle)
    taken: list[Taken] = []
    for entry in entries_of(made):
        taken += told(add(windows, entry))
    assert taken + told(end(windows)) == expected(made, settle)


@given(batches(), SETTLES)
@settings(deadline=None)
def test_windows_close_with_the_same_lines_whether_they_settle_before_or_not(
    made: list[Batch], settle: float
) -> None:
    """So nothing is missing that the longest wait has."""
    windows = OpenWindows(INTERVAL, LENGTH, {}, settle=settle)
    taken = [one for entry in entries_of(made) for one in told(add(windows, entry))]
    taken += told(end(windows))
    assert [one for one in taken if one.closed] == expected(made)


@given(batches(), SETTLES)
@settings(deadline=None)
def test_an_entry_is_completed_once_and_not_while_an_open_window_needs_it(
    made: list[Batch], settle: float
) -> None:
    windows = OpenWindows(INTERVAL, LENGTH, {}, settle=settle)
    open_lines: dict[int, set[int]] = {}  # entry → its lines in open windows
    completed: list[int] = []
    entries = entries_of(made)

    def complete(due: list[DueWindow]) -> None:
        gone = {number for one in told(due) if one.closed for number in one.numbers}
        for lines in open_lines.values():
            lines.difference_update(gone)
        freed = windows.completed()
        assert not any(open_lines[entry] for entry in freed)
        completed.extend(freed)

    for entry in entries:
        open_lines[entry.id] = set(entry.candidates["beam"].tolist())
        complete(add(windows, entry))
    complete(end(windows))
    assert sorted(completed) == [entry.id for entry in entries]
    assert windows.completed() == ()


class Held(Struct):
    """What the journal keeps: entries until they are completed, and what was committed.

    That a window has settled is remembered of those with an even number, as of those with triggers.
    """

    settle: float
    waiting: dict[int, Given] = field(default_factory=dict)
    through: dict[int, int] = field(default_factory=dict)
    settled: dict[int, int] = field(default_factory=dict)
    taken: list[Taken] = field(default_factory=list)
    completed: list[int] = field(default_factory=list)

    def start(self) -> OpenWindows:
        return OpenWindows(INTERVAL, LENGTH, self.through, settle=self.settle, settled=self.settled)

    def commit(self, windows: OpenWindows) -> bool:
        """Deal with one window that is due; False: there was none."""
        window = windows.take_due()
        if window:
            self.taken += told([window])
            if window.closed:
                self.through[window.window] = window.through
            elif window.window % 2 == 0:
                self.settled[window.window] = window.through
        for entry in windows.completed():
            del self.waiting[entry]
            self.completed.append(entry)
        for number in windows.forgotten():
            del self.through[number]
        return window is not None


@given(batches(), SETTLES, st.data())
@settings(deadline=None)
def test_killed_at_any_moment_the_same_windows_are_taken_and_none_twice(
    made: list[Batch], settle: float, data: st.DataObject
) -> None:
    held = Held(settle)
    windows = held.start()
    entries = entries_of(made)
    for entry in entries:
        held.waiting[entry.id] = entry
        windows.add(entry.id, entry.watermark, entry.candidates)
        commits_before_death = data.draw(st.sampled_from([None, None, 0, 1, 2, 9]))
        if commits_before_death is None:
            while held.commit(windows):
                pass
            continue
        for _ in range(commits_before_death):
            held.commit(windows)
        windows = held.start()
        for again in list(held.waiting.values()):
            windows.add(again.id, again.watermark, again.candidates)
            while held.commit(windows):
                pass
    last = Given(len(entries) + 1, 0.0, records([]))  # says that nothing more comes
    held.waiting[last.id] = last
    windows.add(last.id, last.watermark, last.candidates)
    windows.close_all()
    while held.commit(windows):
        pass
    whole = expected(made, settle)
    assert [one for one in held.taken if _remembered(one)] == list(filter(_remembered, whole))
    others = [one for one in held.taken if not _remembered(one)]
    assert all(one in others for one in whole if not _remembered(one))
    assert all(one in whole for one in others)
    assert sorted(held.completed) == [entry.id for entry in [*entries, last]]
    assert not held.waiting
    assert not held.through


def _remembered(one: Taken) -> bool:
    return one.closed or one.window % 2 == 0


def test_a_window_of_unstamped_lines_closes_the_same_after_a_death() -> None:
    """The watermark that came in an entry of its own is needed as long as the window is open."""
    windows = OpenWindows(INTERVAL, LENGTH, {})
    windows.add(1, 0.0, records([(0.1, 0)]))
    windows.add(2, 1000.0, records([]))
    assert windows.completed() == ()
    again = OpenWindows(INTERVAL, LENGTH, {})
    again.add(1, 0.0, records([(0.1, 0)]))
    again.add(2, 1000.0, records([]))
    assert told(add(again, Given(3, 1000.0 + INTERVAL, records([])))) == [Taken(0, [0])]
    assert sorted(again.completed()) == [1, 2, 3]


def test_late_lines_open_a_window_once_more() -> None:
    windows = OpenWindows(INTERVAL, LENGTH, {})
    windows.add(1, 1000.0, records([(0.1, 0)]))
    assert told(add(windows, Given(2, 1001.0, records([])))) == [Taken(0, [0])]
    assert add(windows, Given(3, 1001.5, records([(0.2, 1)]))) == []
    assert told(add(windows, Given(4, 1002.5, records([])))) == [Taken(0, [1])]


def test_a_window_closes_no_earlier_than_its_interval() -> None:
    windows = OpenWindows(INTERVAL, LENGTH, {})
    windows.add(1, 1000.0, records([(0.1, 0)]))
    assert add(windows, Given(2, 1000.0 + INTERVAL - 1e-3, records([(0.6, 1)]))) == []
    assert told(add(windows, Given(3, 1000.0 + INTERVAL, records([])))) == [Taken(0, [0])]


def test_a_window_that_has_settled_settles_again_with_all_its_lines() -> None:
    windows = OpenWindows(INTERVAL, LENGTH, {}, settle=0.125)
    windows.add(1, 1000.0, records([(0.1, 0)]))
    assert told(add(windows, Given(2, 1000.125, records([])))) == [Taken(0, [0], closed=False)]
    assert add(windows, Given(3, 1000.25, records([(0.6, 1)]))) == []  # of another window
    assert add(windows, Given(4, 1000.25, records([(0.2, 2)]))) == []
    due = add(windows, Given(5, 1000.5, records([])))
    assert told(due) == [Taken(0, [0, 2], closed=False), Taken(1, [1], closed=False)]
    assert [one.waited for one in due] == [0.375, 0.125]
    assert told(add(windows, Given(6, 1001.0, records([])))) == [Taken(0, [0, 2])]


def test_windows_with_lines_since_they_settled_are_the_unsettled_ones() -> None:
    windows = OpenWindows(INTERVAL, LENGTH, {}, settle=0.125)

    def unsettled() -> list[tuple[int, int, int]]:
        return [(window, through, len(found)) for window, through, found in windows.unsettled()]

    add(windows, Given(1, 1000.0, records([(0.1, 0)])))
    assert unsettled() == [(0, 1, 1)]
    add(windows, Given(2, 1000.125, records([(0.6, 1)])))
    assert unsettled() == [(1, 2, 1)]
    add(windows, Given(3, 1000.125, records([(0.2, 2)])))
    assert unsettled() == [(0, 3, 2), (1, 2, 1)]
    add(windows, Given(4, 1001.125, records([])))
    assert unsettled() == []


@pytest.mark.parametrize("settle", [INTERVAL, 2 * INTERVAL])
def test_an_interval_that_is_not_longer_is_all_that_is_waited(settle: float) -> None:
    """As of a configuration that was written before windows settled."""
    windows = OpenWindows(INTERVAL, LENGTH, {}, settle=settle)
    windows.add(1, 1000.0, records([(0.1, 0)]))
    (closed,) = add(windows, Given(2, 1000.0 + 2 * INTERVAL, records([])))
    assert closed.closed
    assert closed.waited == INTERVAL
