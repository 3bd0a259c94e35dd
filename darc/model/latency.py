"""How long triggers took from stage to stage."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict, deque

from darc.model.trigger import Stages

KEPT = 1000
#: Each is the time since the one before it that is known.
STAGES = (
    *("written", "read", "queued", "closed", "clustered", "decided"),
    *("taken", "gathered", "sent", "accepted"),
)
#: From the trigger's line to what was sent, gather windows taken off.
RESPONSE = "line to sent"
ACCEPTANCE = "line to accepted"
_ORDER = (*STAGES, RESPONSE, ACCEPTANCE)
#: Upper edges of the histograms' buckets, inclusive (s); the last one has no edge.
EDGES = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)


class Histogram:
    """How many durations fell into each bucket, and their sum (s)."""

    def __init__(self) -> None:
        self.counts = [0] * (len(EDGES) + 1)
        self.sum = 0.0

    def add(self, duration: float) -> None:
        """Take in a duration (s); one below 0, between two hosts' clocks, counts as 0."""
        duration = max(0.0, duration)
        self.counts[bisect_left(EDGES, duration)] += 1
        self.sum += duration


class Latencies:
    """The durations of triggers' stages: of the last ones, and counted of all."""

    def __init__(self) -> None:
        self._kept: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=KEPT))
        self._histograms: defaultdict[str, Histogram] = defaultdict(Histogram)

    def note(self, stages: Stages, waited: float = 0.0, **later: float) -> dict[str, float]:
        """Take in a trigger.

        :param waited: in a gather window that came behind ``stages`` (s)
        :param later: Unix times of the stages behind those
        :return: what is known of its times, Unix s
        """
        times = {name: getattr(stages, name, None) or later.get(name) for name in STAGES}
        known = {name: time for name, time in times.items() if time is not None}
        previous: float | None = None
        for name, time in known.items():
            if previous is not None:
                self._add(name, time - previous)
            previous = time
        off = stages.waited + waited
        for what, name in ((RESPONSE, "sent"), (ACCEPTANCE, "accepted")):
            if "written" in known and name in known:
                self._add(what, known[name] - known["written"] - off)
        return known

    def _add(self, name: str, duration: float) -> None:
        self._kept[name].append(duration)
        self._histograms[name].add(duration)

    def histograms(self) -> dict[str, tuple[list[int], float]]:
        """By stage, over all triggers since the start: durations in each bucket, their sum (s)."""
        return {
            name: (list(histogram.counts), histogram.sum)
            for name, histogram in list(self._histograms.items())
        }

    def summary(self) -> dict[str, dict[str, float]]:
        """By stage: how many, and the distribution in ms."""
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
    """The nearest of the durations, in ms."""
    ordered = sorted(durations)
    return round(1e3 * ordered[max(0, -(-len(ordered) * percent // 100) - 1)], 3)
