"""Metric families of a node, built from its current measurements."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from darc.model.service_state import ServiceState
from darc.monitor.metrics import counter_families
from darc.monitor.metrics.family_builders import (
    OTHER,
    counters,
    gauge,
    gauges,
    label_text,
    numbers_of,
    rows_of,
)
from darc.monitor.metrics.node_measurements import NodeMeasurements
from darc.queues.names import SCRATCH

OBSERVATION_STATES = ("pending", "running", "in processing", "aborted")


class NodeCollector(Collector):
    """Collector for prometheus-client.

    :param measure: returns the current measurements
    """

    def __init__(self, measure: Callable[[], NodeMeasurements]) -> None:
        self._measure = measure

    def collect(self) -> Iterator[Metric]:
        """Yield all families of the node."""
        node = self._measure()
        yield from _node(node)
        yield from _services(node)
        yield from _queues(node)
        yield from _observations(node)
        yield from counter_families.service_families(node)
        yield from counter_families.triggers_of(node)


# -- the node --------------------------------------------------------------------------------------


def _node(node: NodeMeasurements) -> Iterator[Metric]:
    overview = node.overview
    info = InfoMetricFamily("darc_node", "The node and its version; always 1.")
    labels = {
        "version": overview.version,
        "hostname": overview.hostname,
        "role": overview.role,
        "mode": overview.mode,
        "master": overview.master or "",
    }
    info.add_metric([], {name: label_text(value) for name, value in labels.items()})
    yield info
    yield gauge("node_start_time_seconds", "When the node was started.", overview.started)
    yield gauge("clock_seconds", "The node's clock.", overview.time)
    yield gauge("stopping", "1: the node is ending.", float(overview.stopping))
    yield gauge("supervisord_up", "1: supervisord answers.", float(not overview.supervisord))
    polled = {"processes": overview.looked, "files": overview.read, "services": overview.asked}
    yield gauges(
        "last_look_timestamp_seconds",
        "When the node last polled processes and files, and asked the services; 0: never.",
        ("what",),
        (((what,), time) for what, time in polled.items()),
    )
    for name, text in (
        ("ended", "Threads of darc_master that have ended, and should not have."),
        ("hangs", "What darc_master or darc_monitor polls, and what does not answer."),
    ):
        number = sum(one.trouble == name for one in overview.threads)
        yield gauge(f"master_threads_{name}", text, float(number))
    yield gauge("journal_full", "1: nothing new is taken into the queues.", overview.journal_full)
    yield gauge("journal_max_bytes", "What the journal may hold.", node.journal_max_bytes)
    yield gauge("journal_size_bytes", "Size of the journal's files.", node.journal_bytes)
    for name, text, of in (
        ("disk_free_bytes", "Room that is left on the file system.", "free"),
        ("disk_size_bytes", "Size of the file system.", "total"),
    ):
        rows = [((disk.name,), float(getattr(disk, of))) for disk in node.disks]
        yield gauges(name, text, ("disk",), rows)
    refused = {
        **node.refused,
        **numbers_of(node, "refused_clients"),
        **numbers_of(node, "refused_pages"),
    }
    yield counters(
        "refused_connections",
        "Connections that were refused, by the port's owner.",
        ("port",),
        (((port,), number) for port, number in refused.items()),
    )
    yield gauges(
        "handover_reached",
        "Of a worker. 1: triggers can be handed in at the service on the master node.",
        ("service",),
        (((one.service,), float(one.reached)) for one in overview.handovers),
    )
    yield gauges(
        "handover_waiting",
        "Of a worker: entries of triggers that wait to be handed in.",
        ("service",),
        (((one.service,), one.waiting) for one in overview.handovers),
    )


# -- services and queues ---------------------------------------------------------------------------


def _services(node: NodeMeasurements) -> Iterator[Metric]:
    overview = node.overview
    services = (overview.itself, *overview.services)
    label = ("service",)
    yield gauges(
        "service_state",
        "1 for the state that the service is in, 0 for the others.",
        ("service", "state"),
        (
            ((one.name, state), float(one.state == state))
            for one in services
            for state in map(str, ServiceState)
        ),
    )
    yield gauges(
        "service_up",
        "1: the service is running, which means ready.",
        label,
        (((one.name,), float(one.state == str(ServiceState.RUNNING))) for one in services),
    )
    yield gauges(
        "service_since_timestamp_seconds",
        "When the service's process was started; when it ended, if there is none.",
        label,
        (((one.name,), one.since) for one in services),
    )
    yield counters(
        "service_restarts",
        "How often the service was restarted since the node was started.",
        label,
        (((one.name,), one.restarts) for one in services),
    )
    yield counters(
        "service_deaths",
        "How often it exited without being stopped, since the node was started.",
        label,
        (((one.name,), one.deaths) for one in services),
    )
    yield gauges(
        "service_resident_memory_bytes",
        "Resident memory of the service's process; 0 without one.",
        label,
        (((one.name,), one.memory) for one in services),
    )
    yield counters(
        "service_cpu_seconds",
        "CPU time that the service's process has taken.",
        label,
        (((one.name,), node.cpu_seconds.get(one.name)) for one in services),
    )
    yield counters(
        "service_entries_completed",
        "Entries of its queue that the service's process has completed.",
        label,
        rows_of(node, "entries_completed"),
    )
    dropped = {overview.itself.name: float(node.log_lines_dropped)}
    dropped |= numbers_of(node, "log_lines_dropped")
    yield counters(
        "log_lines_dropped",
        "Log lines that could not be written.",
        label,
        (((name,), number) for name, number in dropped.items()),
    )
    yield gauges(
        "sending_enabled",
        "1: the service may send to its external system.",
        label,
        (((one.name,), one.sending) for one in services),
    )


def _queues(node: NodeMeasurements) -> Iterator[Metric]:
    """Yield the families of queues; those of unknown names, which anyone may create, are summed."""
    overview = node.overview
    names = [one.name for one in overview.services]
    names += [one.service for one in overview.handovers if one.service not in names]
    entries = dict.fromkeys((*names, OTHER), 0)
    content = dict.fromkeys(entries, 0)
    age = dict.fromkeys(entries, 0.0)
    for depth in node.depths.values():
        name = depth.queue if depth.queue in names or depth.queue == SCRATCH else OTHER
        waited = 0.0 if depth.oldest is None else max(0.0, overview.time - depth.oldest)
        entries[name] = entries.get(name, 0) + depth.entries
        content[name] = content.get(name, 0) + depth.content_bytes
        age[name] = max(age.get(name, 0.0), waited)
    for metric, text, values in (
        ("queue_entries", "Entries that wait in the queue.", entries),
        ("queue_content_bytes", "Their content.", content),
        ("queue_oldest_age_seconds", "How long the oldest of them has waited; 0: none.", age),
    ):
        yield gauges(metric, text, ("queue",), (((name,), of) for name, of in values.items()))


def _observations(node: NodeMeasurements) -> Iterator[Metric]:
    states = dict.fromkeys(OBSERVATION_STATES, 0)
    for one in node.overview.observations:
        states[one.state] += 1
    yield gauges(
        "observations",
        "Observations that the node works on, by state.",
        ("state",),
        (((state,), number) for state, number in states.items()),
    )
