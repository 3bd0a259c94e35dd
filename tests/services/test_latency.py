"""How long stages took: the figures are those of the durations that went in."""

from __future__ import annotations

from itertools import accumulate, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.model.latency import ACCEPTANCE, KEPT, RESPONSE, STAGES, Latencies
from darc.model.trigger import Stages

START = 1_558_223_473.0  # Unix s
EARLY = STAGES[:6]  # those that come with a trigger
#: A duration before each stage in whole milliseconds, or None where the stage is not known.
steps = st.fixed_dictionaries({name: st.none() | st.integers(0, 10_000) for name in STAGES})


def moments(durations: dict[str, int | None]) -> dict[str, float]:
    """When each stage was passed; what is not known takes no time."""
    passed = accumulate(durations[name] or 0 for name in STAGES)
    return {
        name: START + total / 1000
        for name, total in zip(STAGES, passed, strict=True)
        if durations[name] is not None
    }


def note(latencies: Latencies, times: dict[str, float], waited: float = 0.0) -> dict[str, float]:
    early = {name: time for name, time in times.items() if name in EARLY}
    later = {name: time for name, time in times.items() if name not in EARLY}
    return latencies.note(Stages(**early, waited=waited), **later)


@given(st.lists(steps, min_size=1, max_size=30))
def test_the_figures_are_those_of_numpy(triggers: list[dict[str, int | None]]) -> None:
    latencies = Latencies()
    durations: dict[str, list[float]] = {name: [] for name in (*STAGES, RESPONSE, ACCEPTANCE)}
    for trigger in triggers:
        times = moments(trigger)
        assert note(latencies, times) == times
        for before, after in pairwise(times):
            durations[after].append(1e3 * (times[after] - times[before]))
        for what, last in ((RESPONSE, "sent"), (ACCEPTANCE, "accepted")):
            if "written" in times and last in times:
                durations[what].append(1e3 * (times[last] - times["written"]))
    summary = latencies.summary()
    assert list(summary) == [name for name in durations if durations[name]]
    for name, figures in summary.items():
        taken = durations[name]
        percentiles = np.percentile(taken, (50, 90, 99, 100), method="inverted_cdf")
        assert figures.pop("n") == len(taken)
        assert list(figures) == ["median", "p90", "p99", "max"]
        assert list(figures.values()) == pytest.approx(list(percentiles), abs=0.001)


def test_what_windows_wait_for_is_no_response_time() -> None:
    latencies = Latencies()
    times = {"written": START, "decided": START + 1.2, "taken": START + 1.3, "sent": START + 2.5}
    note(latencies, times, waited=2.0)
    summary = latencies.summary()
    assert summary[RESPONSE]["max"] == pytest.approx(500.0, abs=0.01)
    assert summary["sent"]["max"] == pytest.approx(1200.0, abs=0.01)
    assert ACCEPTANCE not in summary


def test_a_trigger_of_which_nothing_is_known() -> None:
    latencies = Latencies()
    assert latencies.note(Stages()) == {}
    assert latencies.summary() == {}
    assert latencies.note(Stages(), sent=START) == {"sent": START}
    assert latencies.summary() == {}


def test_the_last_ones_count() -> None:
    latencies = Latencies()
    for number in range(KEPT + 200):
        latencies.note(Stages(written=START), read=START + number)
    (figures,) = latencies.summary().values()
    assert figures["n"] == KEPT
    assert figures["max"] == 1e3 * (KEPT + 199)
    assert figures["median"] == 1e3 * (200 + KEPT // 2 - 1)
