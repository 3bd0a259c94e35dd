"""Families of metrics, without a node: whatever services tell, the text can be read."""

from __future__ import annotations

import math
import sys
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from prometheus_client.exposition import generate_latest
from scrapes import Scrape

from darc.model.latency import EDGES, Latencies
from darc.model.overview import Handover, ObservationOverview
from darc.model.trigger import Stages
from darc.monitor.metrics.family_builders import MAX_VALUES, OTHER
from darc.monitor.metrics.node_families import NodeCollector
from darc.monitor.metrics.node_measurements import NodeMeasurements, ServiceMeasurements
from darc.monitor.service_answers import read_answer
from darc.queues.messages import Depth

sys.path.insert(0, str(Path(__file__).parents[1] / "monitor"))

import made_up

NASTY = 'quote " newline \n backslash \\ <script>alert(1)</script> \x00 \ud800 ü'


def measured(**changes: Any) -> NodeMeasurements:
    made = NodeMeasurements(
        overview=made_up.overview("arts003"),
        services={},
        depths={},
        cpu_seconds={},
        disks=(),
        journal_bytes=None,
        journal_max_bytes=10**10,
        refused={"commands": 0, "queues": 0},
        log_lines_dropped=0,
    )
    return replace(made, **changes)


def told(node: NodeMeasurements) -> Scrape:
    return Scrape(generate_latest(NodeCollector(lambda: node)).decode())


def test_labels_are_escaped() -> None:
    """An outcome whose name comes from outside stays one value of one label."""
    outcomes = {"outcomes": {NASTY: 3.0}}
    now = told(measured(services={"dada_trigger": ServiceMeasurements(counted=outcomes)}))
    (labels,) = now.find("darc_trigger_outcomes_total")
    assert dict(labels)["outcome"] == NASTY.replace("\ud800", "\\ud800")
    lines = [line for line in now.text.splitlines() if "script" in line]
    assert len(lines) == 1
    assert lines[0].startswith('darc_trigger_outcomes_total{outcome="quote \\" newline \\n ')
    assert lines[0].endswith(" 3.0")


@given(st.dictionaries(st.text(max_size=200), st.integers(0, 2**53), max_size=100))
def test_any_outcomes_can_be_read_and_are_bounded(outcomes: dict[str, int]) -> None:
    try:
        answer = read_answer("metrics", {"outcomes": outcomes})
    except ValueError:
        pytest.fail("a dictionary of numbers is what services tell")
    found = told(measured(services={"dada_trigger": answer})).find("darc_trigger_outcomes_total")
    assert len(found) <= MAX_VALUES + 1
    assert sum(found.values()) == pytest.approx(sum(outcomes.values()))


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ([1, 2], "AttributeError"),
        ({"outcomes": "many"}, "AttributeError"),
        ({"totals": {"lines": "many"}}, "many"),
        ({"latency_histograms": {"read": ([1, 2], 0.5)}}, "2 buckets where there are 16"),
        ({"latency_histograms": {"read": 3}}, "TypeError"),
        ("nothing at all", "AttributeError"),
    ],
)
def test_what_is_no_metric_is_refused(value: object, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        read_answer("metrics", value)


def test_queues_of_any_name_are_one_series() -> None:
    """Whoever may put may name a queue as he likes."""
    depths = {
        name: Depth(name, 2, 100, made_up.NOW - age)
        for name, age in (("processor", 5.0), ("scratch", 6.0), ("of mine", 7.0), ("odd", 8.0))
    }
    now = told(measured(depths=depths))
    assert now("darc_queue_entries", queue="processor") == 2
    assert now("darc_queue_oldest_age_seconds", queue="processor") == pytest.approx(5.0)
    assert now("darc_queue_entries", queue="scratch") == 2
    assert now("darc_queue_entries", queue=OTHER) == 4
    assert now("darc_queue_content_bytes", queue=OTHER) == 200
    assert now("darc_queue_oldest_age_seconds", queue=OTHER) == pytest.approx(8.0)
    assert now("darc_queue_entries", queue="amber_clustering") == 0


def test_states_observations_and_handovers() -> None:
    overview = made_up.overview(
        "arts003",
        [made_up.service("processor", "failed"), "amber_listener"],
        observations=(
            ObservationOverview("1", "B0531+21", "running", 0.0, 1.0, ()),
            ObservationOverview("2", "B0531+21", "in processing", 0.0, 1.0, ("processor",)),
        ),
        handovers=(Handover("lofar_trigger", False, 1.0, 3, "away"),),
    )
    now = told(measured(overview=overview))
    assert now("darc_service_up", service="processor") == 0
    assert now("darc_service_state", service="processor", state="failed") == 1
    assert now("darc_service_state", service="processor", state="running") == 0
    assert now("darc_service_up", service="amber_listener") == 1
    assert now("darc_observations", state="running") == 1
    assert now("darc_observations", state="in processing") == 1
    assert now("darc_observations", state="pending") == 0
    assert now("darc_handover_reached", service="lofar_trigger") == 0
    assert now("darc_handover_waiting", service="lofar_trigger") == 3
    assert "B0531" not in now.text


def test_what_a_new_service_counts() -> None:
    services = {"my_service": ServiceMeasurements(counted={"totals": {"pulses": 7.0}})}
    now = told(measured(services=services))
    assert now("darc_service_events_total", service="my_service", event="pulses") == 7


durations = st.floats(-5.0, 200.0) | st.sampled_from(EDGES)


@given(st.lists(durations, min_size=1, max_size=50))
def test_histograms_are_those_of_numpy(taken: list[float]) -> None:
    """A duration at an edge is inside; below 0, as clocks of hosts may differ, it is 0."""
    latencies = Latencies()
    for duration in taken:
        latencies.note(Stages(written=0.1), read=0.1 + duration, sent=None)
    exact = np.maximum(0.0, [(0.1 + duration) - 0.1 for duration in taken])
    counts, total = latencies.histograms()["read"]
    assert list(accumulate(counts)) == [*(int((exact <= edge).sum()) for edge in EDGES), len(taken)]
    assert total == pytest.approx(exact.sum())
    answer = read_answer("metrics", {"latency_histograms": latencies.histograms()})
    now = told(measured(services={"lofar_trigger": answer}))
    for edge in EDGES:
        inside = now("darc_trigger_latency_seconds_bucket", stage="read", le=str(edge))
        assert inside == (exact <= edge).sum()
    assert now("darc_trigger_latency_seconds_bucket", le="+Inf", stage="read") == len(taken)
    assert now("darc_trigger_latency_seconds_count", stage="read") == len(taken)
    assert math.isclose(
        now("darc_trigger_latency_seconds_sum", stage="read"), exact.sum(), abs_tol=1e-9
    )
