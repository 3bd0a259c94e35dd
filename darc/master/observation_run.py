"""A run of an observation on this node, and what services have to do about it."""

from __future__ import annotations

import enum
import uuid
from dataclasses import dataclass, field, replace
from typing import Any

from darc.model.observation import Observation
from darc.queues.messages import Order, OrderState
from darc.runtime.clock import Instant, Since


class RunState(enum.StrEnum):
    """Where an observation is in its life."""

    PENDING = "pending"  # the services do not know of it yet
    RUNNING = "running"
    STOPPED = "stopped"  # the services finish what is there
    ABORTED = "aborted"  # the services drop it


_ORDERS = {
    RunState.RUNNING: OrderState.RUNNING,
    RunState.STOPPED: OrderState.STOPPED,
    RunState.ABORTED: OrderState.ABORTED,
}


@dataclass(slots=True)
class ObservationRun:
    """An observation on this node.

    :param services: those that take part
    :param not_stopped: those of them that a stop does not concern
    :param partial: some services only, by an operator's wish: it leaves the queues alone
    :param stopped: services that were stopped before the others
    :param ended_at: when it was stopped or aborted
    :param to_start: services that are to be started for it, and have not been yet
    :param end_passed: when its end by the time of day was behind us
    """

    observation: Observation
    services: tuple[str, ...]
    state: RunState = RunState.PENDING
    not_stopped: tuple[str, ...] = ()
    partial: bool = False
    stopped: set[str] = field(default_factory=set)
    finished: set[str] = field(default_factory=set)
    ended_at: Since | None = None
    past: bool = False
    to_start: set[str] = field(default_factory=set)
    end_passed: Instant | None = None

    def __post_init__(self) -> None:
        if not self.observation.run:
            self.observation = replace(self.observation, run=uuid.uuid4().hex)

    @property
    def key(self) -> str:
        """Tells this run from all others, also from those of the same observation."""
        return self.observation.key

    def order(self, service: str) -> Order | None:
        """What a service has to do; None when nothing."""
        if (
            self.state is RunState.PENDING
            or service not in self.services
            or service in self.finished
        ):
            return None
        state = _ORDERS[self.state]
        if state is OrderState.STOPPED and service in self.not_stopped:
            state = OrderState.RUNNING
        if state is OrderState.RUNNING and service in self.stopped:
            state = OrderState.STOPPED
        return Order(self.observation.to_plain(), state, self.past)

    def to_plain(self) -> dict[str, Any]:
        return {
            "observation": self.observation.to_plain(),
            "services": list(self.services),
            "state": str(self.state),
            "not_stopped": list(self.not_stopped),
            "partial": self.partial,
            "stopped": sorted(self.stopped),
            "finished": sorted(self.finished),
            "ended_at": self.ended_at and self.ended_at.to_plain(),
            "past": self.past,
            "to_start": sorted(self.to_start),
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> ObservationRun:
        observation = Observation.from_plain(plain["observation"])
        if not observation.run:  # kept by an earlier version
            observation = replace(observation, run=str(plain["number"]))
        return cls(
            observation,
            tuple(plain["services"]),
            RunState(plain["state"]),
            tuple(plain["not_stopped"]),
            plain["partial"],
            set(plain["stopped"]),
            set(plain["finished"]),
            None if plain["ended_at"] is None else Since.from_plain(plain["ended_at"]),
            plain["past"],
            set(plain.get("to_start", ())),  # earlier versions had none
        )
