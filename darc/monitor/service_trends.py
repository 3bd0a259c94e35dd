"""Trends that need several snapshots: services that exit often, queues that grow."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from darc.config.records import Struct, field
from darc.model.overview import ServiceOverview
from darc.monitor.cluster_watch import NodeStatus
from darc.monitor.findings import FAILED, STOPPED

#: So many exits within this time (s) are too many; over after the same time without one.
OFTEN_DEATHS, OFTEN_SECONDS = 3, 600.0
#: A queue has a backlog if it has grown for this time (s), has more entries than this, and its
#: oldest entry is that old.
GROWTH_SECONDS, GROWTH_ENTRIES = 600.0, 1000
SAMPLE_SECONDS = 15.0


class Trend(Struct, frozen=True):
    """Trends of a service. Times are Unix s by this host's clock.

    :param deaths: number of unrequested exits in the last ten minutes
    :param dies_often: since when it exits too often; None: it does not
    :param grows: since when its queue grows; None: it does not
    """

    deaths: int = 0
    dies_often: float | None = None
    grows: float | None = None


class _Record(Struct):
    counted: int  # unrequested exits, as the node counts them
    times: list[float] = field(default_factory=list)  # of the last ones (Unix s)
    dies_often: float | None = None
    grows: float | None = None
    samples: deque[tuple[float, int]] = field(default_factory=deque)


class ServiceTrends:
    """Trends of all services; one thread updates them, any thread may read them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: dict[tuple[str, str], _Record] = {}

    def note(self, nodes: Iterable[NodeStatus], now: float) -> None:
        """Update the trends from the nodes' status (now: Unix s)."""
        with self._lock:
            for node in nodes:
                if node.reached and node.overview:
                    for service in (node.overview.itself, *node.overview.services):
                        self._note(node, service, now)

    def trend(self, host: str, service: str) -> Trend:
        with self._lock:
            record = self._records.get((host, service))
            if record is None:
                return Trend()
            return Trend(len(record.times), record.dies_often, record.grows)

    def _note(self, node: NodeStatus, service: ServiceOverview, now: float) -> None:
        died = now if service.died is None else service.died - node.clock
        record = self._records.get((node.name, service.name))
        if record is None:
            lately = service.deaths > 0 and now - died < OFTEN_SECONDS
            record = _Record(service.deaths - lately)
            self._records[node.name, service.name] = record
        if service.deaths < record.counted:  # the node was restarted
            record.times, record.dies_often, record.counted = [], None, 0
        record.times += [died] * (service.deaths - record.counted)
        record.counted = service.deaths
        record.times = [time for time in record.times if now - time < OFTEN_SECONDS]
        # One that has just died is stopped, too, until supervisord has started it again.
        by_hand = service.state == STOPPED and not service.ended_by_itself
        if by_hand or service.state == FAILED:  # after a manual start the count starts at 0
            record.times = []
        if not record.times:
            record.dies_often = None
        elif record.dies_often is None and len(record.times) >= OFTEN_DEATHS:
            record.dies_often = record.times[0]
        self._sample(record, service, node.heard, node.clock)

    def _sample(
        self, record: _Record, service: ServiceOverview, heard: float, clock: float
    ) -> None:
        samples = record.samples
        if samples and 0 <= heard - samples[-1][0] < SAMPLE_SECONDS:
            return
        samples.append((heard, service.queue))
        while samples[0][0] < heard - GROWTH_SECONDS - SAMPLE_SECONDS:
            samples.popleft()
        if service.queue <= GROWTH_ENTRIES or service.oldest is None:
            record.grows = None
            return
        if heard - samples[0][0] < GROWTH_SECONDS - SAMPLE_SECONDS:
            return  # not known yet: keep the last result
        middle = heard - GROWTH_SECONDS / 2
        # A reader takes many entries at once, so the least depth is compared.
        before = min((depth for time, depth in samples if time < middle), default=0)
        lately = min(depth for time, depth in samples if time >= middle)
        waited = heard + clock - service.oldest
        if lately < before:
            record.grows = None
        elif lately > before and waited > GROWTH_SECONDS and record.grows is None:
            record.grows = samples[0][0]

    # -- memory across restarts --------------------------------------------------------------------

    def to_plain(self) -> dict[str, Any]:
        """Return the state to save, by host and service."""
        with self._lock:
            return {
                f"{host} {service}": [one.counted, list(one.times), one.dies_often, one.grows]
                for (host, service), one in self._records.items()
                if one.times or one.grows is not None
            }

    def recall(self, plain: Mapping[str, Any]) -> None:
        """Restore a saved state."""
        with self._lock:
            for name, (counted, times, dies_often, grows) in plain.items():
                host, _, service = name.partition(" ")
                self._records[host, service] = _Record(counted, list(times), dies_often, grows)
