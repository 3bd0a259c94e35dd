"""A run of an observation on this node, and the orders that follow from it for services."""

from __future__ import annotations

import enum
import uuid
from typing import Any

from darc.config.records import Struct, field, replace
from darc.model.observation import Observation
from darc.queues.messages import Order, OrderState
from darc.runtime.clock import Instant, Since


class RunState(enum.StrEnum):
    """State of an observation in its life cycle."""

    PENDING = "pending"  # the services have not received it yet
    RUNNING = "running"
    STOPPED = "stopped"  # the services finish the data that have arrived
    ABORTED = "aborted"  # the services discard their data


_ORDERS = {
    RunState.RUNNING: OrderState.RUNNING,
    RunState.STOPPED: OrderState.STOPPED,
    RunState.ABORTED: OrderState.ABORTED,
}


class ObservationRun(Struct):
    """An observation on this node.

    :param services: services that take part
    :param not_stopped: those of them that ignore a stop
    :param partial: an operator started it for some services only: the queues are not cleared
    :param stopped: services that were stopped before the others
    :param finished: services that have finished the run
    :param ended_at: when it was stopped or aborted
    :param past: it is of a time that has passed, and is not stopped by time alone
    :param to_start: services that are still to be started for it
    :param end_passed: when its end by the time of day had passed
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
        """Identifier of this run, which differs from other runs of the same observation."""
        return self.observation.key

    @property
    def shown_state(self) -> str:
        """State for people: beside those of `RunState`, `in processing`."""
        is_past = self.state is RunState.RUNNING and self.past
        return "in processing" if is_past or self.state is RunState.STOPPED else str(self.state)

    def order(self, service: str) -> Order | None:
        """Return the order for a service; None where there is nothing to do."""
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
        """Return the run as a dict, for its file; `from_plain` reads it."""
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
        """Return the run in the output of `to_plain`, that of earlier versions too.

        :raises ValueError: it is invalid; KeyError and TypeError likewise
        """
        observation = Observation.from_plain(plain["observation"])
        if not observation.run:  # saved by an earlier version
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
            set(plain.get("to_start", ())),  # missing in earlier versions
        )
