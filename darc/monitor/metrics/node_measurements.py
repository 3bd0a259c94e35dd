"""Measurements that a node's metrics are built from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from darc.config.records import Struct, field
from darc.model.latency import EDGES
from darc.model.overview import Disk, NodeOverview
from darc.queues.messages import Depth

#: Key of the latency histograms in a service's `metrics`.
HISTOGRAMS = "latency_histograms"


class DurationCounts(Struct, frozen=True):
    """Number of durations in each bucket of darc.model.latency, and their sum (s)."""

    counts: tuple[int, ...]
    sum: float


class ServiceMeasurements(Struct, frozen=True):
    """Content of a service's attribute `metrics`; empty where it counts nothing.

    :param numbers: single numbers, by name
    :param counted: `totals`, `outcomes` and `losses`, each by what was counted
    :param latency: durations by stage
    """

    numbers: Mapping[str, float] = field(default_factory=dict)
    counted: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    latency: Mapping[str, DurationCounts] = field(default_factory=dict)


class NodeMeasurements(Struct, frozen=True):
    """Measurements of a node.

    :param services: their measurements, by name
    :param depths: of queues that are not empty, by name
    :param cpu_seconds: CPU time of processes, by service (s)
    :param disks: file systems that the node uses
    :param journal_bytes: size of the journal's files; None: not read yet
    :param refused: number of refused connections to the ports of the master
    :param log_lines_dropped: of the master
    """

    overview: NodeOverview
    services: Mapping[str, ServiceMeasurements]
    depths: Mapping[str, Depth]
    cpu_seconds: Mapping[str, float]
    disks: tuple[Disk, ...]
    journal_bytes: int | None
    journal_max_bytes: int
    refused: Mapping[str, int]
    log_lines_dropped: int


def read_measured(plain: Mapping[str, Any]) -> ServiceMeasurements:
    """Parse a service's attribute `metrics`.

    :raises ValueError: the value is invalid; TypeError and AttributeError likewise
    """
    numbers: dict[str, float] = {}
    counted: dict[str, dict[str, float]] = {}
    latency: dict[str, DurationCounts] = {}
    for name, value in plain.items():
        if name == HISTOGRAMS:
            latency = {str(stage): _durations(*of) for stage, of in value.items()}
        elif isinstance(value, int | float):
            numbers[str(name)] = value
        else:
            counted[str(name)] = {str(what): float(number) for what, number in value.items()}
    return ServiceMeasurements(numbers, counted, latency)


def _durations(counts: list[int], total: float) -> DurationCounts:
    if len(counts) != len(EDGES) + 1:
        raise ValueError(f"{len(counts)} buckets where there are {len(EDGES) + 1}")
    return DurationCounts(tuple(map(int, counts)), float(total))
