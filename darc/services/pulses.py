"""Triggers of the same pulse: a bright one shows in several compound beams (triggers.md)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from darc.model.trigger import Trigger

# Pulses that are remembered, so that what comes late of them is known.
KEPT = 1000


@dataclass(frozen=True, slots=True)
class Pulse:
    """A pulse that was dealt with.

    :param arrival: of the trigger that was chosen, Unix s
    """

    arrival: float
    identity: str
    test: bool

    def to_plain(self) -> list[Any]:
        return [self.arrival, self.identity, self.test]

    @classmethod
    def from_plain(cls, plain: list[Any]) -> Pulse:
        arrival, identity, test = plain
        return cls(float(arrival), str(identity), bool(test))


def by_pulse(triggers: Iterable[Trigger], interval: float) -> list[list[Trigger]]:
    """Group triggers whose arrival times are within an interval from the group's first.

    :param interval: s
    """
    groups: list[list[Trigger]] = []
    first = 0.0
    for arrival, trigger in sorted(
        ((trigger.arrival, trigger) for trigger in triggers), key=lambda item: item[0]
    ):
        if not groups or arrival > first + interval:
            groups.append([])
            first = arrival
        groups[-1].append(trigger)
    return groups


class Known:
    """The last pulses that were dealt with.

    :param interval: triggers that arrived so near to one of them are of the same pulse (s)
    """

    def __init__(self, interval: float, pulses: Iterable[Pulse] = ()) -> None:
        self.interval = interval
        self._pulses = list(pulses)

    def find(self, trigger: Trigger, *, test: bool) -> Pulse | None:
        """The pulse that a trigger is of, if it was dealt with; a test hides no observation."""
        arrival = trigger.arrival
        for pulse in self._pulses:
            if pulse.test is test and abs(pulse.arrival - arrival) <= self.interval:
                return pulse
        return None

    def add(self, trigger: Trigger, *, test: bool) -> None:
        self._pulses.append(Pulse(trigger.arrival, trigger.identity, test))
        del self._pulses[:-KEPT]

    def to_plain(self) -> list[list[Any]]:
        return [pulse.to_plain() for pulse in self._pulses]
