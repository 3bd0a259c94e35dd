"""What amber_clustering knows of one observation, also over restarts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from darc.candidates.injections import Injections
from darc.candidates.time_windows import DueWindow, OpenWindows
from darc.config.records import Struct, field
from darc.config.settings import AmberClusteringSettings
from darc.model.counters import Counted, identified, plain_counts
from darc.model.memory_rows import rows_under
from darc.model.trigger import Trigger
from darc.services.amber_clustering.decisions import Decider, Decision
from darc.services.amber_clustering.deeper_search import DeeperSearch

LAST_DUMP = "last IQUV request"
LAST_DEEPER_DUMP = "last IQUV request below the usual threshold"
#: Prefix of a window's number in the memory of an observation.
WINDOW = "window "
#: Counters of triggers that were passed on before, by kind.
REPEATED = {"iquv": Counted.IQUV_REPEATED, "lofar": Counted.LOFAR_REPEATED}
PassedOn = dict[str, list[int]]  # kind of trigger → DM bins
#: In the memory of a window: the last entry when it closed, and when it had settled.
THROUGH, SETTLED_THROUGH = "through", "settled through"
PASSED_ON_NOW, PASSED_ON_BEFORE = "passed on", "passed on before"


class ClusteringObservation(Struct):
    """State of one observation."""

    settings: AmberClusteringSettings  # of the start of the observation
    windows: OpenWindows
    decider: Decider
    counts: Counter[str]
    passed_on: dict[int, PassedOn]  # by window
    #: Of open windows that have settled: what was passed on before they opened.
    passed_on_before: dict[int, PassedOn]
    last_dump: float | None  # data time of the window (s)
    injections: Injections
    last_deeper_dump: float | None  # likewise, of what only a lowered threshold has let through
    deeper: DeeperSearch
    #: Of open windows: the last entry of each, and the decision.
    decisions: dict[int, tuple[int, Decision]] = field(default_factory=dict)
    #: When to decide about windows that have not settled yet (monotonic clock, s); None: no lines
    #: have come since.
    decide_at: float | None = None
    #: Triggers that leave with the next commit and are logged after it, each with its kind.
    unsaid: list[tuple[str, Trigger]] = field(default_factory=list)

    @classmethod
    def recalled(
        cls,
        memory: Mapping[str, Any],
        settings: AmberClusteringSettings,
        decider: Decider,
        injections: Injections,
        deeper: DeeperSearch,
    ) -> ClusteringObservation:
        """Return the state that was committed; that of a new observation, if nothing was.

        :param memory: see :meth:`row` and :meth:`totals`
        """
        saved = {int(window): value for window, value in rows_under(memory, WINDOW).items()}
        settled = {n: value for n, value in saved.items() if SETTLED_THROUGH in value}
        windows = OpenWindows(
            settings.interval,
            settings.clustering_window,
            {window: value[THROUGH] for window, value in saved.items() if value[THROUGH]},
            settle=settings.settle,
            settled={window: value[SETTLED_THROUGH] for window, value in settled.items()},
        )
        return cls(
            settings,
            windows,
            decider,
            Counter(identified(memory.get("counts", {}))),
            {n: value[PASSED_ON_NOW] for n, value in saved.items() if value[PASSED_ON_NOW]},
            {n: value[PASSED_ON_BEFORE] for n, value in settled.items()},
            memory.get(LAST_DUMP),
            injections,
            memory.get(LAST_DEEPER_DUMP),
            deeper,
        )

    def totals(self) -> dict[str, Any]:
        """Return what is remembered of the observation."""
        memory = {"counts": plain_counts(self.counts), LAST_DUMP: self.last_dump}
        if self.last_deeper_dump is not None:
            memory[LAST_DEEPER_DUMP] = self.last_deeper_dump
        return memory

    def row(self, window: DueWindow) -> dict[str, Any]:
        """Return what is remembered of a window."""
        number = window.window
        row = {
            THROUGH: self.windows.closed_through(number),
            PASSED_ON_NOW: self.passed_on.get(number, {}),
        }
        if not window.closed:
            before = self.passed_on_before[number]
            row |= {SETTLED_THROUGH: window.through, PASSED_ON_BEFORE: before}
        return {f"{WINDOW}{number}": row}

    def count(self, window: DueWindow, decision: Decision) -> None:
        """Count what a window came to when it closes."""
        counts = self.counts
        counts[Counted.WINDOWS] += 1
        counts[Counted.CANDIDATES] += len(window.candidates)
        counts[Counted.CLUSTERS] += decision.clusters
        counts[Counted.CLUSTERED] += decision.clustered
        for reason, number in decision.rejected.items():
            counts[reason.counter] += number
        before = self.passed_on_before.pop(window.window)
        for kind, triggers in (("iquv", decision.iquv), ("lofar", decision.lofar_triggers)):
            repeated = sum(trigger.dm_bin in before.get(kind, ()) for trigger in triggers)
            if repeated:
                counts[REPEATED[kind]] += repeated

    def new_ones(self, kind: str, triggers: tuple[Trigger, ...]) -> list[Trigger]:
        """Return triggers not passed on before: a window may settle and open more than once."""
        return [
            trigger
            for trigger in triggers
            if trigger.dm_bin not in self.passed_on.get(trigger.window, {}).get(kind, [])
        ]

    def allows_dump(self, window: int, *, deeper: bool = False) -> bool:
        """Whether a request is due: one window per interval of data time, however lines arrive.

        What that window has found since its request is requested, too.

        :param deeper: nothing in it is above the usual threshold
        """
        data_time = window * self.settings.clustering_window
        interval = self.settings.thresh_iquv.interval
        last = (self.last_dump, self.last_deeper_dump) if deeper else (self.last_dump,)
        if any(one is not None and 0 < abs(data_time - one) < interval for one in last):
            return False
        if deeper:
            self.last_deeper_dump = data_time
        else:
            self.last_dump = data_time
        return True
