"""Families of the services' counters: what each declares, and triggers with their outcomes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client.core import HistogramMetricFamily, Metric

from darc.model.counters import in_words
from darc.model.latency import EDGES
from darc.monitor.metrics.family_builders import (
    bounded,
    counter,
    counters,
    gauge,
    label_text,
    numbers_of,
    rows_of,
)
from darc.monitor.metrics.node_measurements import NodeMeasurements
from darc.runtime.service_traits import known_traits

_LE = (*map(str, EDGES), "+Inf")


def service_families(node: NodeMeasurements) -> Iterator[Metric]:
    """Yield the families that services declare in their traits, and the counters of the others."""
    totals = {name: dict(of.counted.get("totals", {})) for name, of in node.services.items()}
    for service, traits in known_traits().items():
        counted = totals.pop(service, {}) if traits.counted else {}
        for series in traits.counted:
            label = (series.label,) if series.label else ()
            rows = [
                ((value,) if label else (), counted.get(what))
                for value, what in series.counters.items()
            ]
            yield counters(series.name, series.text, label, rows)
        for measured in traits.measured:
            make = gauge if measured.is_level else counter
            number = numbers_of(node, measured.attribute).get(service)
            yield make(measured.name, measured.text, number)
    yield counters(
        "service_events",
        "What other services count in their attribute `totals`.",
        ("service", "event"),
        (
            ((service, what), number)
            for service, counted in totals.items()
            for what, number in bounded(in_words(counted)).items()
        ),
    )
    yield counters(
        "bad_entries",
        "Entries of queues that were no candidates or triggers, and dropped.",
        ("service",),
        rows_of(node, "bad_entries"),
    )


def triggers_of(node: NodeMeasurements) -> Iterator[Metric]:
    """Yield the families of triggers: outcomes and latencies."""
    yield counters(
        "triggers_received",
        "Triggers that the service has taken.",
        ("service",),
        rows_of(node, "triggers_received"),
    )
    yield counters(
        "trigger_outcomes",
        "What became of triggers: docs/triggers.md.",
        ("service", "outcome"),
        (
            ((service, outcome), number)
            for service, of in node.services.items()
            for outcome, number in bounded(in_words(of.counted.get("outcomes", {}))).items()
        ),
    )
    yield counters(
        "losses",
        "What was lost for good, by kind: docs/alarms.md.",
        ("service", "kind"),
        (
            ((service, kind), number)
            for service, of in node.services.items()
            for kind, number in bounded(of.counted.get("losses", {})).items()
        ),
    )
    mails = numbers_of(node, "mails_waiting").values()
    text = "E-mails that the server has not taken yet."
    yield gauge("mails_waiting", text, sum(mails) if mails else None)
    latency = HistogramMetricFamily(
        "darc_trigger_latency_seconds",
        "How long triggers took from the stage before to this one: docs/triggers.md.",
        labels=("service", "stage"),
    )
    for service, of in node.services.items():
        for stage, durations in of.latency.items():
            buckets = list(zip(_LE, accumulate(durations.counts), strict=True))
            latency.add_metric([label_text(service), label_text(stage)], buckets, durations.sum)
    yield latency
