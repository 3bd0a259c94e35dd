"""Switches of roads: attributes that commands set, and that outlive the service."""

from __future__ import annotations

from typing import Any, ClassVar

from darc.model.event import RoadName


class RoadSwitch:
    """Whether a road is used; what waits on one that is switched off is withdrawn, for good."""

    NAMES: ClassVar[tuple[str, ...]] = tuple(f"send_{road}" for road in RoadName)

    def __init__(self, road: RoadName) -> None:
        self._road = road

    def __get__(self, service: Any, kind: type) -> bool:
        """Return whether the road is on."""
        if service is None:
            raise AttributeError(f"{self._road}: of a service, not of its class")
        return bool(service.road_switches[self._road])

    def __set__(self, service: Any, enabled: bool) -> None:
        service.road_switches[self._road] = enabled
        # Withdrawn even if it is switched on again at once.
        if not enabled:
            service.roads_off.add(self._road)
