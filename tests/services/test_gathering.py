"""Gathering: which windows close, and with what, follows from lines and stamps alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from darc.candidates.time_windows import ClosedWindow, OpenWindows
from darc.model.candidate import CANDIDATE, Records

INTERVAL = 1.0
LENGTH = 0.5

Lines = list[tuple[float, int]]  # time and number of each
Closings = list[tuple[int, list[int]]]  # window, numbers of its lines


@dataclass(frozen=True)
class Batch:
    """Lines that were written up to a stamp, cut into entries anyhow."""

    stamp: float
    entries: list[Lines]

    @property
    def lines(self) -> Lines:
        return [line for entry in self.entries for line in entry]


@dataclass(frozen=True)
class Given:
    id: int
    stamp: float
    candidates: Records


def records(lines: Lines) -> Records:
    found = np.zeros(len(lines), CANDIDATE)
    found["time"] = [time for time, _ in lines]
    found["beam"] = [number for _, number in lines]
    return found


@st.composite
def batches(draw: st.DrawFn) -> list[Batch]:
    """Stamps rise by eighths, so that many are just one interval apart."""
    made = []
    stamp, number = 1000.0, 0
    for _ in range(draw(st.integers(1, 12))):
        stamp += draw(st.integers(0, 12)) / 8
        entries = []
        for _ in range(draw(st.integers(1, 3))):
            times = draw(st.lists(st.integers(0, 12).map(lambda n: n / 4), max_size=4))
            entries.append([(time, number + place) for place, time in enumerate(times)])
            number += len(times)
        made.append(Batch(stamp, entries))
    return made


def entries_of(made: list[Batch]) -> list[Given]:
    """Only the last entry of a batch carries its stamp, as with the listener."""
    found = []
    for batch in made:
        for place, lines in enumerate(batch.entries, 1):
            stamp = batch.stamp if place == len(batch.entries) else 0.0
            found.append(Given(len(found) + 1, stamp, records(lines)))
    return found


def told(closed: list[ClosedWindow]) -> Closings:
    return [(one.window, one.candidates["beam"].tolist()) for one in closed]


def add(gathering: OpenWindows, entry: Given) -> list[ClosedWindow]:
    """Take an entry in; returns the windows that it closes."""
    gathering.add(entry.id, entry.stamp, entry.candidates)
    return rest(gathering)


def rest(gathering: OpenWindows) -> list[ClosedWindow]:
    """The windows that have closed."""
    return list(iter(gathering.close_one, None))


def end(gathering: OpenWindows) -> list[ClosedWindow]:
    gathering.close_all()
    return rest(gathering)


def expected(made: list[Batch]) -> Closings:
    """By the definition alone: a window closes an interval after its first line."""
    opened: dict[int, tuple[float, list[int]]] = {}
    closings: Closings = []
    for batch in made:
        for time, number in batch.lines:
            opened.setdefault(math.floor(time / LENGTH), (batch.stamp, []))[1].append(number)
        due = [window for window, (first, _) in opened.items() if first + INTERVAL <= batch.stamp]
        closings += [(window, opened.pop(window)[1]) for window in sorted(due)]
    return closings + [(window, opened[window][1]) for window in sorted(opened)]


@given(batches())
@settings(deadline=None, max_examples=200)
def test_closings_do_not_depend_on_how_lines_are_cut_into_entries(made: list[Batch]) -> None:
    gathering = OpenWindows(INTERVAL, LENGTH, {})
    closings: Closings = []
    for entry in entries_of(made):
        closings += told(add(gathering, entry))
    assert closings + told(end(gathering)) == expected(made)


@given(batches())
@settings(deadline=None, max_examples=200)
def test_an_entry_is_completed_once_and_not_while_an_open_window_needs_it(
    made: list[Batch],
) -> None:
    gathering = OpenWindows(INTERVAL, LENGTH, {})
    open_lines: dict[int, set[int]] = {}  # entry → its lines in open windows
    completed: list[int] = []
    entries = entries_of(made)

    def settle(closed: list[ClosedWindow]) -> None:
        gone = {number for _, numbers in told(closed) for number in numbers}
        for lines in open_lines.values():
            lines.difference_update(gone)
        freed = gathering.completed()
        assert not any(open_lines[entry] for entry in freed)
        completed.extend(freed)

    for entry in entries:
        open_lines[entry.id] = set(entry.candidates["beam"].tolist())
        settle(add(gathering, entry))
    settle(end(gathering))
    assert sorted(completed) == [entry.id for entry in entries]
    assert gathering.completed() == ()


@dataclass
class Held:
    """What the journal keeps: entries until they are completed, and what was committed."""

    waiting: dict[int, Given] = field(default_factory=dict)
    through: dict[int, int] = field(default_factory=dict)
    closings: Closings = field(default_factory=list)
    completed: list[int] = field(default_factory=list)

    def commit(self, gathering: OpenWindows) -> bool:
        """Deal with one window that has closed; False: there was none."""
        window = gathering.close_one()
        if window:
            self.closings += told([window])
            self.through[window.window] = window.through
        for entry in gathering.completed():
            del self.waiting[entry]
            self.completed.append(entry)
        for number in gathering.forgotten():
            del self.through[number]
        return window is not None


@given(batches(), st.data())
@settings(deadline=None, max_examples=300)
def test_killed_at_any_moment_the_same_windows_close_and_nothing_twice(
    made: list[Batch], data: st.DataObject
) -> None:
    held = Held()
    gathering = OpenWindows(INTERVAL, LENGTH, {})
    entries = entries_of(made)
    for entry in entries:
        held.waiting[entry.id] = entry
        gathering.add(entry.id, entry.stamp, entry.candidates)
        commits_before_death = data.draw(st.sampled_from([None, None, 0, 1, 2, 9]))
        if commits_before_death is None:
            while held.commit(gathering):
                pass
            continue
        for _ in range(commits_before_death):
            held.commit(gathering)
        gathering = OpenWindows(INTERVAL, LENGTH, held.through)
        for again in list(held.waiting.values()):
            gathering.add(again.id, again.stamp, again.candidates)
            while held.commit(gathering):
                pass
    last = Given(len(entries) + 1, 0.0, records([]))  # says that nothing more comes
    held.waiting[last.id] = last
    gathering.add(last.id, last.stamp, last.candidates)
    gathering.close_all()
    while held.commit(gathering):
        pass
    assert held.closings == expected(made)
    assert sorted(held.completed) == [entry.id for entry in [*entries, last]]
    assert not held.waiting
    assert not held.through


def test_a_window_of_unstamped_lines_closes_the_same_after_a_death() -> None:
    """The stamp that came in an entry of its own is needed as long as the window is open."""
    gathering = OpenWindows(INTERVAL, LENGTH, {})
    gathering.add(1, 0.0, records([(0.1, 0)]))
    gathering.add(2, 1000.0, records([]))
    assert gathering.completed() == ()
    again = OpenWindows(INTERVAL, LENGTH, {})
    again.add(1, 0.0, records([(0.1, 0)]))
    again.add(2, 1000.0, records([]))
    assert told(add(again, Given(3, 1000.0 + INTERVAL, records([])))) == [(0, [0])]
    assert sorted(again.completed()) == [1, 2, 3]


def test_late_lines_open_a_window_once_more() -> None:
    gathering = OpenWindows(INTERVAL, LENGTH, {})
    gathering.add(1, 1000.0, records([(0.1, 0)]))
    assert told(add(gathering, Given(2, 1001.0, records([])))) == [(0, [0])]
    assert add(gathering, Given(3, 1001.5, records([(0.2, 1)]))) == []
    assert told(add(gathering, Given(4, 1002.5, records([])))) == [(0, [1])]


def test_a_window_closes_no_earlier_than_its_interval() -> None:
    gathering = OpenWindows(INTERVAL, LENGTH, {})
    gathering.add(1, 1000.0, records([(0.1, 0)]))
    assert add(gathering, Given(2, 1000.0 + INTERVAL - 1e-3, records([(0.6, 1)]))) == []
    assert told(add(gathering, Given(3, 1000.0 + INTERVAL, records([])))) == [(0, [0])]
