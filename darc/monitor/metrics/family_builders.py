"""Builders of metric families: names, rows of labels and a number, and bounds on labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from darc.monitor.metrics.node_measurements import NodeMeasurements

Rows = Iterable[tuple[tuple[str, ...], float | None]]

#: Maximum number of values of a label; further ones are added up as OTHER.
MAX_VALUES = 64
MAX_CHARACTERS = 100
OTHER = "other"


def numbers_of(node: NodeMeasurements, what: str) -> dict[str, float]:
    """Return a number by service, for those that have it."""
    return {name: of.numbers[what] for name, of in node.services.items() if what in of.numbers}


def rows_of(node: NodeMeasurements, what: str) -> Rows:
    """Return a row for each service that has a number.

    :param what: name of the number
    """
    return [((name,), number) for name, number in numbers_of(node, what).items()]


def bounded(counted: Mapping[str, float]) -> Mapping[str, float]:
    """Limit the number of label values to MAX_VALUES, whatever a service counts."""
    if len(counted) <= MAX_VALUES:
        return counted
    kept: defaultdict[str, float] = defaultdict(float)
    for number, (what, count) in enumerate(counted.items()):
        kept[what if number < MAX_VALUES else OTHER] += count
    return kept


def label_text(value: str) -> str:
    """Return a label value that is short and can be encoded; prometheus-client escapes it."""
    return value[:MAX_CHARACTERS].encode(errors="backslashreplace").decode()


def _filled(
    family: GaugeMetricFamily | CounterMetricFamily, rows: Rows
) -> GaugeMetricFamily | CounterMetricFamily:
    for labels, value in rows:
        if value is not None:
            family.add_metric([label_text(label) for label in labels], float(value))
    return family


def gauges(name: str, text: str, labels: tuple[str, ...], rows: Rows) -> Metric:
    """Return a gauge with labels.

    :param name: without ``darc_``
    """
    return _filled(GaugeMetricFamily(f"darc_{name}", text, labels=labels), rows)


def counters(name: str, text: str, labels: tuple[str, ...], rows: Rows) -> Metric:
    """Return a counter with labels.

    :param name: without ``darc_``
    """
    return _filled(CounterMetricFamily(f"darc_{name}", text, labels=labels), rows)


def gauge(name: str, text: str, value: float | None) -> Metric:
    """Return a gauge without labels; None: it has no value.

    :param name: without ``darc_``
    """
    return gauges(name, text, (), [((), value)])


def counter(name: str, text: str, value: float | None) -> Metric:
    """Return a counter without labels; None: it has no value.

    :param name: without ``darc_``
    """
    return counters(name, text, (), [((), value)])
