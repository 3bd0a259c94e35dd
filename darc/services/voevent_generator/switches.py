"""Switches of what leaves: attributes that commands set, and that outlive the service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from darc.model.event import RoadName

#: Reports to the Transient Name Server, beside the roads.
TNS = "tns"


class LeavingSwitch:
    """Whether something leaves by a way; what waits there when it is switched off is withdrawn.

    :param way: a road, or `TNS`
    """

    WAYS: ClassVar[Sequence[str]] = (*map(str, RoadName), TNS)
    NAMES: ClassVar[tuple[str, ...]] = tuple(f"send_{way}" for way in WAYS)

    def __init__(self, way: str) -> None:
        self._way = way

    def __get__(self, service: Any, kind: type) -> bool:
        """Return whether the way is on."""
        if service is None:
            raise AttributeError(f"{self._way}: of a service, not of its class")
        return bool(service.ways.is_on(self._way))

    def __set__(self, service: Any, enabled: bool) -> None:
        service.ways.switch(self._way, enabled=enabled)


class WaySwitches:
    """State of the switches of a service; the listener's thread sets them, and others ask."""

    def __init__(self) -> None:
        self._on = dict.fromkeys(LeavingSwitch.WAYS, True)
        self._to_withdraw: set[str] = set()

    def switch(self, way: str, *, enabled: bool) -> None:
        """Switch a way on or off."""
        self._on[way] = enabled
        # Withdrawn even if it is switched on again at once.
        if not enabled:
            self._to_withdraw.add(way)

    def is_on(self, way: str) -> bool:
        return self._on[way]

    def may_leave_by(self, way: str) -> bool:
        """Whether what waits may leave: it is on, and nothing is to be withdrawn any more."""
        return self._on[way] and way not in self._to_withdraw

    def to_withdraw(self) -> frozenset[str]:
        """Return the ways on which what waits is to be withdrawn."""
        return frozenset(self._to_withdraw)

    def withdrawn(self, ways: frozenset[str]) -> None:
        """Note that it was."""
        self._to_withdraw -= ways
