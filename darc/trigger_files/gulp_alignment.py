"""Which gulps of several searches may be passed on: all of a gulp together, or after a limit.

Only numbers and times: no sockets, files or clocks.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence

from darc.config.records import Struct, field
from darc.model.counters import Counted
from darc.node.losses import LossKind
from darc.trigger_files.candidate_source import SourceEvent

#: Gulps passed on that are remembered, by which a late one is known.
KEPT_GULPS = 10_000
#: Larger steps of a gulp number are no number of missing gulps.
LARGEST_STEP = 100_000

SEARCH_BEHIND = LossKind(
    "search_behind",
    "a search is not on the same gulp as the others: its candidates come late or not at all",
    "See the search process that is named. The others are passed on without it.",
)
GULPS_MISSED = LossKind(
    "gulps_missed",
    "gulps of a search never came, and it does not send them again",
    "See the search process that is named, and the log of that time.",
)


class _Gulp(Struct):
    first: float  # when its first part came, monotonic (s)
    searches: set[str] = field(default_factory=set)
    #: Those that have reported a gulp of this number before they, or others, began anew.
    before: set[str] = field(default_factory=set)
    is_done: bool = False


class GulpAlignment:
    """State of the gulps of all searches.

    A part is what one search reports of a gulp. Parts are passed on in the order in which they
    came, each when its gulp is complete or has waited long enough. A search that was missing is not
    waited for until it is back. One that begins anew, with numbers that it has reported before,
    does not lag, unless the others go on.

    Searches of one host that come to one port cannot be distinguished: they are counted. Each
    report has a place of the host, `host`, `host (2)` and so on; none is a search's own.

    :param names: of the searches; fewer than `n_searches`: they are named as they come
    :param wait: for the other searches (s)
    """

    def __init__(self, names: Sequence[str], n_searches: int, wait: float) -> None:
        self._n_searches = n_searches
        self._wait = wait
        self._gulps: dict[int, _Gulp] = {}  # not done
        self._done: OrderedDict[int, set[str]] = OrderedDict()
        self._parts: deque[_Gulp] = deque()
        self._absent: set[str] = set()
        self._late: set[str] = set()
        self._events: list[SourceEvent] = []
        self.last: dict[str, int] = dict.fromkeys(names, -1)  # last gulp by search; -1: none yet

    def take_events(self) -> list[SourceEvent]:
        """Return the events since the last call."""
        events, self._events = self._events, []
        return events

    def name_for(self, host: str, gulp: int) -> str:
        """Return the place of a report of which only the host is known."""
        reported = self._done.get(gulp, set())
        if gulp in self._gulps:
            reported = self._gulps[gulp].searches
        places = [name for name in self.last if host_of(name) == host]
        free = [name for name in places if name not in reported]
        if not free and len(self.last) < self._n_searches:
            return f"{host} ({len(places) + 1})" if places else host
        # Whoever reported the gulp before, else as few steps as may be: none is made up.
        return min(free or places or [host], key=lambda name: abs(gulp - 1 - self.last[name]))

    def _called(self, search: str) -> str:
        """Return what a search is called: one of several of a host has no name of its own."""
        host = host_of(search)
        return f"a search of {host}" if f"{host} (2)" in self.last else search

    def add(self, search: str, gulp: int, now: float) -> None:
        """Note a part; it is the last one in the order.

        :param now: monotonic (s)
        """
        self._check_number(search, gulp)
        is_same = gulp == self.last.get(search)
        self.last[search] = gulp
        before = self._done.get(gulp, set())
        if gulp in self._done and (is_same or search not in before or search in self._late):
            before.add(search)
            self._parts.append(_Gulp(now, is_done=True))
            self._lags(search, gulp)
            return
        if search in self._absent:
            self._absent.discard(search)
            text = f"{self._called(search)} is back, with gulp {gulp}"
            self._events.append(SourceEvent(text=text))
        if before:
            del self._done[gulp]
        else:
            self._late.discard(search)
        one = self._gulps.setdefault(gulp, _Gulp(now, before=before))
        one.searches.add(search)
        self._parts.append(one)

    def _lags(self, search: str, gulp: int) -> None:
        text = ""
        if search not in self._late:
            self._late.add(search)
            called = self._called(search)
            text = f"{called} lags: its gulp {gulp} came after the others were passed on"
        self._events.append(SourceEvent(Counted.GULPS_LATE, text))

    def _check_number(self, search: str, gulp: int) -> None:
        last = self.last.get(search, -1)
        if last < 0 or gulp == last + 1:
            return
        search = self._called(search)
        if gulp <= last:
            what = "came again" if gulp == last else f"follows {last}: the number went back"
            self._events.append(SourceEvent(Counted.GULP_BACK, f"{search}: gulp {gulp} {what}"))
            return
        missed = gulp - last - 1
        text = f"{search}: gulp {gulp} follows {last}"
        number = missed if missed <= LARGEST_STEP else 1
        what = f"{search}, gulps {last + 1} to {gulp - 1}"
        self._events.append(SourceEvent(Counted.GULPS_MISSED, text, GULPS_MISSED, what, number))

    def pass_on(self, now: float, *, everything: bool = False) -> int:
        """Return how many parts, from the oldest on, may be passed on now; each once.

        :param now: monotonic (s)
        :param everything: no more will come
        """
        for number, gulp in list(self._gulps.items()):
            missing = self._missing(gulp)
            is_over = everything or now - gulp.first >= self._wait
            if is_over or not missing - self._absent:
                self._finish(number, gulp, missing)
        count = 0
        while self._parts and self._parts[0].is_done:
            self._parts.popleft()
            count += 1
        while len(self._done) > KEPT_GULPS:
            self._done.popitem(last=False)
        return count

    def _missing(self, gulp: _Gulp) -> set[str]:
        """Return the searches that have not reported a gulp."""
        missing = set(self.last) - gulp.searches
        unnamed = self._n_searches - len(self.last)
        if unnamed > 0:
            missing.add(f"{unnamed} of {self._n_searches} searches, never heard of")
        return missing

    def _finish(self, number: int, gulp: _Gulp, missing: set[str]) -> None:
        del self._gulps[number]
        gulp.is_done = True
        self._done[number] = gulp.searches | gulp.before
        self._events.append(SourceEvent(Counted.GULPS))
        # They have reported this number long ago, and go on: who began anew is alone with it.
        ahead = {one for one in (missing & gulp.before) - self._absent if self.last[one] > number}
        if ahead:
            for search in sorted(gulp.searches):
                self._lags(search, number)
        missing -= ahead
        if not missing:
            return
        new = sorted(missing - self._absent)
        self._absent |= missing
        self._events.append(SourceEvent(Counted.GULPS_INCOMPLETE))
        for host in sorted({host_of(search) for search in new if self._called(search) != search}):
            n_missing = sum(host_of(search) == host for search in missing)
            n_new = sum(host_of(search) == host for search in new)
            n_all = sum(host_of(search) == host for search in self.last)
            what = f"{n_missing} of {n_all} searches of {host}, gulp {number}"
            text = f"{n_missing} of the {n_all} searches of {host} missing in gulp {number}"
            self._events.append(SourceEvent("", text, SEARCH_BEHIND, what, n_new))
        for search in new:
            if self._called(search) != search:
                continue
            last = self.last.get(search, -1)
            seen = f"its last one was {last}" if last >= 0 else "it has reported none"
            text = f"{search} is missing in gulp {number}: {seen}"
            self._events.append(SourceEvent("", text, SEARCH_BEHIND, f"{search}, gulp {number}"))

    def due(self, now: float) -> float:
        """Return after how long the next gulp has waited long enough (s); infinite: none waits."""
        first = min((gulp.first for gulp in self._gulps.values()), default=float("inf"))
        return first + self._wait - now


def host_of(search: str) -> str:
    """Return the host of a search that is named by it, and any other name as it is."""
    return search.partition(" (")[0]
