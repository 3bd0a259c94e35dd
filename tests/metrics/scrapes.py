"""Asking a node for its metrics, and the series that are in the answer."""

from __future__ import annotations

import math
import socket
import urllib.request

from msgspec import Struct
from nodes import Node
from prometheus_client.parser import text_string_to_metric_families

TASK_ID = "metrics1"
#: Who takes triggers, and of which kind.
TAKERS = {"dada_trigger": "iquv", "lofar_trigger": "lofar", "voevent_generator": "lofar"}


class Series(Struct, frozen=True):
    """A sample: its full name, its labels and its value."""

    name: str
    labels: frozenset[tuple[str, str]]
    value: float

    @property
    def key(self) -> tuple[str, frozenset[tuple[str, str]]]:
        return self.name, self.labels


class Scrape:
    """What a node has told; ``scrape("name", label="value")`` is the one value that fits."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families = {one.name: one for one in text_string_to_metric_families(text)}
        self.series = [
            Series(sample.name, frozenset(sample.labels.items()), sample.value)
            for family in self.families.values()
            for sample in family.samples
        ]

    def find(self, name: str, **labels: str) -> dict[frozenset[tuple[str, str]], float]:
        """Of that name, those with these labels among theirs."""
        return {
            one.labels: one.value
            for one in self.series
            if one.name == name and labels.items() <= one.labels
        }

    def __call__(self, name: str, **labels: str) -> float:
        """The one that fits; NaN where there is none."""
        found = list(self.find(name, **labels).values())
        assert len(found) <= 1, (name, labels, found)
        return found[0] if found else math.nan

    def counters(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """All that may only rise while a process lives."""
        counters = {one.name for one in self.families.values() if one.type == "counter"}
        return {
            one.key: one.value
            for one in self.series
            if one.name.removesuffix("_total") in counters
            or one.name.endswith(("_bucket", "_count", "_sum"))
        }


def port_of(node: Node) -> int:
    return int(node.config["metrics"]["port"])


def scrape(node: Node, timeout: float = 20.0) -> Scrape:
    url = f"http://127.0.0.1:{port_of(node)}/metrics"
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return Scrape(answer.read().decode())


def is_served(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
