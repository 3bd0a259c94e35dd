"""Notices about bursts that are not acknowledged in time: said once, while they are tried on."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from darc.model.event import RoadName
from darc.model.memory_rows import rows_under
from darc.queues.messages import Commit
from darc.runtime.log import about
from darc.services.base.service import Service
from darc.services.voevent_generator.alert_losses import NOTICE_LATE
from darc.services.voevent_generator.pending_event import PendingEvent

log = logging.getLogger(__name__)

#: Prefix of keys in the memory of the service: what was counted, and is not acknowledged yet.
LATE = "late "


class LateNotices:
    """Which notices of a service are late: nobody hears of a burst there."""

    def __init__(self, service: Service[Any]) -> None:
        self._service = service
        self._said: frozenset[str] = frozenset()  # keys

    def recover(self, memory: Mapping[str, Any]) -> None:
        """Count nothing again that an earlier process has counted."""
        self._said = frozenset(rows_under(memory, LATE))

    def look(self, waiting: Iterable[tuple[PendingEvent, str]], limit: float) -> None:
        """Count what is late since the last call as a loss, once for each road.

        :param waiting: what is not acknowledged yet, and the error of the last attempt
        :param limit: s
        """
        late = {
            item.key: (item, error)
            for item, error in waiting
            if item.is_burst and item.made.age() > limit
        }
        new: dict[RoadName, list[tuple[PendingEvent, str]]] = {}
        changed: dict[str, Any] = {f"{LATE}{key}": None for key in self._said - late.keys()}
        for key in late.keys() - self._said:
            new.setdefault(late[key][0].road, []).append(late[key])
            changed[f"{LATE}{key}"] = True
        for road, some in new.items():
            item, error = min(some, key=lambda one: one[0].key)
            why = f"not acknowledged within {limit:g} s by {road}: {error or 'no answer yet'}"
            with about(item.observation):
                log.error("notice of trigger %s: %s", item.identity, why)
                self._service.lost(NOTICE_LATE, item.identity, why, len(some))
        self._said = frozenset(late)
        if changed:
            self._service.commit(Commit(memory=changed))
