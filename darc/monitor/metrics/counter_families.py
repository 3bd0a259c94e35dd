"""Families of the services' counters: candidates and triggers, with their outcomes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

from prometheus_client.core import HistogramMetricFamily, Metric

from darc.model.counters import Counted, Rejection, in_words
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

_LE = (*map(str, EDGES), "+Inf")
#: Counters of amber_listener and amber_clustering whose families have no labels.
_OF_LISTENER = {
    Counted.LINES: ("amber_lines", "Lines of AMBER's trigger files that were read."),
    Counted.HEADERS: ("amber_headers", "Header lines among them."),
    Counted.CANDIDATES: ("amber_candidates", "Candidates among them."),
    Counted.FILES_GIVEN_UP: ("amber_files_given_up", "Files of which the rest could not be read."),
}
_OF_CLUSTERING = {
    Counted.WINDOWS: ("clustering_windows", "Gather windows that were closed."),
    Counted.CANDIDATES: ("clustering_candidates", "Candidates in these windows."),
    Counted.CLUSTERED: ("clustering_candidates_clustered", "Candidates that went into clusters."),
    Counted.CLUSTERS: ("clustering_clusters", "Clusters that were found."),
}
#: Counters of amber_clustering for each kind of trigger.
_OF_TRIGGERS: Sequence[tuple[str, str, Mapping[str, Counted]]] = (
    (
        "triggers",
        "Triggers that were passed on, by kind.",
        {"iquv": Counted.IQUV_TRIGGERS, "lofar": Counted.LOFAR_TRIGGERS},
    ),
    (
        "triggers_repeated",
        "Triggers left out, as they had left before.",
        {"iquv": Counted.IQUV_REPEATED, "lofar": Counted.LOFAR_REPEATED},
    ),
    (
        "triggers_held_back",
        "Triggers left out for the time between dumps.",
        {"iquv": Counted.IQUV_HELD_BACK},
    ),
    (
        "triggers_not_passed_on",
        "Triggers nobody is there to take.",
        {"lofar": Counted.LOFAR_NOT_PASSED_ON},
    ),
)
#: Numbers of processor; it may lack some.
_OF_PROCESSOR = {
    "candidates_received": ("processor_candidates", "Candidates that processor has taken."),
    "clusters_done": ("processor_clusters_done", "Clusters that processor has dealt with."),
}
_NOW_IN_PROCESSOR = {
    "clusters_waiting": ("processor_clusters_waiting", "Clusters that wait for data or a process."),
    "clusters_in_work": ("processor_clusters_in_work", "Clusters that are being worked on."),
}


def candidates_of(node: NodeMeasurements) -> Iterator[Metric]:
    """Yield the families of lines and candidates, and of further counters of services."""
    totals = {name: dict(of.counted.get("totals", {})) for name, of in node.services.items()}
    for service, families, rejected, text in (
        ("amber_listener", _OF_LISTENER, "amber_lines_rejected", "Lines that are no candidates"),
        (
            "amber_clustering",
            _OF_CLUSTERING,
            "clustering_candidates_rejected",
            "Candidates left out of clustering",
        ),
    ):
        counted = totals.pop(service, {})
        for what, (name, help_text) in families.items():
            yield counter(name, help_text, counted.get(what))
        reasons = {
            reason.words: counted[reason.counter]
            for reason in Rejection
            if reason.counter in counted
        }
        rows = [((reason,), number) for reason, number in bounded(reasons).items()]
        yield counters(rejected, f"{text}, by reason.", ("reason",), rows)
        if service == "amber_clustering":
            yield from _decided(counted)
    yield counter(
        "amber_found_by_recheck",
        "Looks that found lines of which the file system had not notified.",
        numbers_of(node, "found_by_recheck").get("amber_listener"),
    )
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


def _decided(counted: Mapping[str, float]) -> Iterator[Metric]:
    for name, text, kinds in _OF_TRIGGERS:
        rows = [((kind,), counted.get(one)) for kind, one in kinds.items()]
        yield counters(name, text, ("kind",), rows)


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
    for what, name, text in (
        ("packets_waiting", "lofar_packets_waiting", "Packets that LOFAR could not be sent yet."),
        ("mails_waiting", "mails_waiting", "E-mails that the server has not taken yet."),
        ("events_waiting", "voevents_waiting", "VOEvents that the broker has not taken yet."),
    ):
        numbers = numbers_of(node, what).values()
        yield gauge(name, text, sum(numbers) if numbers else None)
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


def processed_of(node: NodeMeasurements) -> Iterator[Metric]:
    """Yield the families of processor."""
    for what, (name, text) in _OF_PROCESSOR.items():
        yield counter(name, text, numbers_of(node, what).get("processor"))
    for what, (name, text) in _NOW_IN_PROCESSOR.items():
        yield gauge(name, text, numbers_of(node, what).get("processor"))
