"""Latencies of triggers between the stages of the pipeline."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict, deque

from darc.model.trigger import Stages

KEPT = 1000
#: Stages; the latency of each counts from the previous known one.
STAGES = (
    "written",
    "read",
    "queued",
    "closed",
    "clustered",
    "decided",
    "taken",
    "gathered",
    "sent",
    "accepted",
)
#: From the trigger's line to the message sent, without what windows waited for on purpose.
RESPONSE = "line to sent"
ACCEPTANCE = "line to accepted"
_ORDER = (*STAGES, RESPONSE, ACCEPTANCE)
#: Upper edges of the histograms' buckets, inclusive (s); the last one has no edge.
EDGES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Histogram:
    """Number of durations in each bucket, and their sum (s)."""

    def __init__(self) -> None:
        self.counts = [0] * (len(EDGES) + 1)
        self.sum = 0.0

    def add(self, duration: float) -> None:
        """Add a duration (s); a negative one (clocks of two hosts differ) counts as 0."""
        duration = max(0.0, duration)
        self.counts[bisect_left(EDGES, duration)] += 1
        self.sum += duration


class Latencies:
    """Durations of the stages: those of recent triggers, and histograms of all triggers."""

    def __init__(self) -> None:
        self._kept: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=KEPT))
        self._histograms: defaultdict[str, Histogram] = defaultdict(Histogram)

    def note(self, stages: Stages, **later: float) -> dict[str, float]:
        """Record the times of a trigger.

        :param later: Unix times of later stages, by name
        :return: the known times by stage, Unix s
        """
        times = {name: getattr(stages, name, None) or later.get(name) for name in STAGES}
        known = {name: time for name, time in times.items() if time is not None}
        previous: float | None = None
        for name, time in known.items():
            if previous is not None:
                self._add(name, time - previous)
            previous = time
        for what, name in ((RESPONSE, "sent"), (ACCEPTANCE, "accepted")):
            if "written" in known and name in known:
                self._add(what, known[name] - known["written"] - stages.waited)
        return known

    def _add(self, name: str, duration: float) -> None:
        self._kept[name].append(duration)
        self._histograms[name].add(duration)

    def histograms(self) -> dict[str, tuple[list[int], float]]:
        """Return by stage, over all triggers since the start: bucket counts, sum (s)."""
        return {
            name: (list(histogram.counts), histogram.sum)
            for name, histogram in list(self._histograms.items())
        }

    def summary(self) -> dict[str, dict[str, float]]:
        """Return by stage the number of recent triggers, and percentiles in ms."""
        return {
            name: {
                "n": len(durations),
                "median": _percentile(durations, 50),
                "p90": _percentile(durations, 90),
                "p99": _percentile(durations, 99),
                "max": _percentile(durations, 100),
            }
            for name, durations in sorted(
                self._kept.items(), key=lambda item: _ORDER.index(item[0])
            )
        }


def _percentile(durations: deque[float], percent: int) -> float:
    """Return a percentile of the durations (nearest rank), in ms."""
    ordered = sorted(durations)
    return round(1e3 * ordered[max(0, -(-len(ordered) * percent // 100) - 1)], 3)
