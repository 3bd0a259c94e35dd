"""Deliveries of each burst to the receivers, and their latencies."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from darc.config.records import Struct
from simulator.demo_bursts import DM_TOLERANCE, SETTLE, WINDOW, is_strong
from simulator.generator import Truth
from simulator.player import WrittenLines

#: lofar_trigger and voevent_generator send when no trigger of another beam came for so long (s):
#: their default.
ALERT_SETTLE = 0.1


class Channel(StrEnum):
    """Destination of triggers."""

    IQUV = "IQUV dump"
    LOFAR = "LOFAR packet"
    VOEVENT = "VOEvent"
    MAIL = "e-mail"


#: How long each waits on purpose, s.
WAITS = {
    Channel.IQUV: SETTLE,
    Channel.LOFAR: SETTLE + ALERT_SETTLE,
    Channel.VOEVENT: SETTLE + ALERT_SETTLE,
    Channel.MAIL: SETTLE + ALERT_SETTLE,
}


class Arrival(Struct, frozen=True):
    """A message that arrived at a receiver.

    :param dm: DM, which identifies the burst, pc cm-3; NaN if unreadable
    :param time: Unix s
    :param what: outcome, in a word
    :param good: whether the outcome is the expected one
    """

    channel: Channel
    dm: float
    time: float
    what: str
    good: bool


class Delivery(Struct, frozen=True):
    """Deliveries of a burst to a receiver.

    :param wanted: whether a delivery is expected
    :param written: time at which the burst's first line was written, Unix s; None: not yet
    :param waited: time on purpose, until windows have settled (s)
    """

    wanted: bool
    arrivals: tuple[Arrival, ...]
    written: float | None
    waited: float

    @property
    def good(self) -> bool:
        """Whether there is one good delivery if expected, else none."""
        if not self.wanted:
            return not self.arrivals
        return len(self.arrivals) == 1 and self.arrivals[0].good

    @property
    def latency(self) -> float:
        """Time from the line to the first arrival, s; NaN if there is none."""
        if not self.arrivals or self.written is None:
            return math.nan
        return self.arrivals[0].time - self.written

    @property
    def own_latency(self) -> float:
        """Latency without what is waited on purpose, s."""
        return self.latency - self.waited


class BurstDeliveries(Struct, frozen=True):
    """Deliveries of all bursts.

    :param strays: arrivals of no burst, except dumps of bursts at wrong DMs
    """

    by_burst: tuple[Mapping[Channel, Delivery], ...]
    strays: tuple[Arrival, ...]

    @property
    def awaited(self) -> bool:
        """Whether an expected delivery is missing."""
        return any(one.wanted and not one.arrivals for row in self.by_burst for one in row.values())

    @property
    def complete(self) -> bool:
        """Whether all expected deliveries arrived, once, and nothing else."""
        return not self.strays and all(one.good for row in self.by_burst for one in row.values())


def deliver(
    truths: Sequence[Truth],
    written: Iterable[WrittenLines],
    arrivals: Iterable[Arrival],
    channels: Sequence[Channel],
) -> BurstDeliveries:
    """Assign arrivals to bursts by their DMs.

    :param written: by the player
    :param channels: those that have a receiver
    """
    batches = _first_writes(written)
    lines = [batches.get(int(truth.time // WINDOW)) for truth in truths]
    of: dict[tuple[int, Channel], list[Arrival]] = {}
    strays = []
    for arrival in arrivals:
        number = _nearest(truths, arrival.dm)
        if number is not None:
            of.setdefault((number, arrival.channel), []).append(arrival)
        elif arrival.channel is not Channel.IQUV or not arrival.good:
            strays.append(arrival)
    rows = tuple(
        {
            channel: Delivery(
                channel is Channel.IQUV or is_strong(truth),
                tuple(of.get((number, channel), ())),
                line,
                WAITS[channel],
            )
            for channel in channels
        }
        for number, (truth, line) in enumerate(zip(truths, lines, strict=True))
    )
    return BurstDeliveries(rows, tuple(strays))


def _first_writes(written: Iterable[WrittenLines]) -> dict[int, float]:
    """Return by batch when its first lines were written, Unix s."""
    first: dict[int, float] = {}
    for group in written:
        batch = round(group.due / WINDOW) - 1
        first[batch] = min(group.unix, first.get(batch, math.inf))
    return first


def _nearest(truths: Sequence[Truth], dm: float) -> int | None:
    near = [
        (abs(truth.dm - dm), number)
        for number, truth in enumerate(truths)
        if abs(truth.dm - dm) <= DM_TOLERANCE
    ]
    return min(near)[1] if near else None
