"""How long triggers took from stage to stage."""

from __future__ import annotations

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


class Latencies:
    """The durations of the last triggers' stages."""

    def __init__(self) -> None:
        self._kept: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=KEPT))

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
                self._kept[name].append(time - previous)
            previous = time
        off = stages.waited + waited
        for what, name in ((RESPONSE, "sent"), (ACCEPTANCE, "accepted")):
            if "written" in known and name in known:
                self._kept[what].append(known[name] - known["written"] - off)
        return known

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
