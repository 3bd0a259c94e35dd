"""What travels between services and the journal, typed at both ends."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: A question that asks nothing: read the configuration again. No attribute has such a name.
RELOAD = "!reload"


class QueueError(Exception):
    """A request that the queues refuse; the text says why."""


class FencedError(QueueError):
    """Another process holds this service's work now; whoever gets this has to end."""


class OutOfStepError(QueueError):
    """A put does not go on where the last one held for its source ended."""


class FullError(QueueError):
    """The journal is full; what was asked can be done once there is room again."""


class Kind(enum.StrEnum):
    """What an entry's content is."""

    CANDIDATES = "candidates"  # records of darc.model.candidate.CANDIDATE
    END = "end"  # nothing more comes for this observation
    TRIGGERS = "triggers"  # packed list of darc.model.trigger.Trigger
    PLAIN = "plain"  # packed plain value, put by a person


@dataclass(frozen=True, slots=True)
class Put:
    """An output: one content for one or more queues.

    :param stamp: Unix time; all that was written before it is in this entry or an earlier one. Of
        triggers: since when they wait; 0: since they are here
    :param written: Unix time at which its lines were written, 0 where that is not known
    :param read: Unix time at which they were read, likewise
    """

    queues: tuple[str, ...]
    kind: Kind
    content: bytes = b""
    observation: str = ""
    stamp: float = 0.0
    written: float = 0.0
    read: float = 0.0

    def to_plain(self) -> list[Any]:
        times = self.stamp, self.written, self.read
        return [list(self.queues), str(self.kind), self.content, self.observation, *times]

    @classmethod
    def from_plain(cls, plain: list[Any]) -> Put:
        queues, kind, content, observation, *times = plain
        stamp, written, read = map(float, times)
        name = str(observation)
        return cls(tuple(queues), Kind(kind), bytes(content), name, stamp, written, read)


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a queue, not completed yet; its times are those of its :class:`Put`."""

    id: int
    kind: Kind
    content: bytes
    observation: str
    stamp: float
    held_at: float  # Unix time at which the journal got it
    written: float = 0.0
    read: float = 0.0

    def to_plain(self) -> list[Any]:
        times = self.stamp, self.held_at, self.written, self.read
        return [self.id, str(self.kind), self.content, self.observation, *times]

    @classmethod
    def from_plain(cls, plain: list[Any]) -> Entry:
        number, kind, content, observation, *times = plain
        return cls(int(number), Kind(kind), bytes(content), observation, *times)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a file has been read: bytes [start, end) of ``source`` are in the commit."""

    source: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Commit:
    """One step of a service, done as a whole or not at all.

    :param completed: entries of its own queue that it has dealt with
    :param puts: what comes out
    :param progress: which bytes of which files came in
    :param memory: what the service wants to find again after a death, by observation and key;
        None: what it need not find any more
    """

    observation: str = ""
    completed: tuple[int, ...] = ()
    puts: tuple[Put, ...] = ()
    progress: tuple[Progress, ...] = ()
    memory: Mapping[str, Any] = field(default_factory=dict)

    def to_plain(self) -> list[Any]:
        return [
            self.observation,
            list(self.completed),
            [put.to_plain() for put in self.puts],
            [[step.source, step.start, step.end] for step in self.progress],
            dict(self.memory),
        ]

    @classmethod
    def from_plain(cls, plain: list[Any]) -> Commit:
        observation, completed, puts, progress, memory = plain
        return cls(
            str(observation),
            tuple(int(number) for number in completed),
            tuple(Put.from_plain(put) for put in puts),
            tuple(Progress(str(source), int(start), int(end)) for source, start, end in progress),
            dict(memory),
        )


@dataclass(frozen=True, slots=True)
class Depth:
    """How full a queue is."""

    queue: str
    entries: int
    content_bytes: int
    oldest: float | None  # Unix time at which the oldest entry was put


class OrderState(enum.StrEnum):
    """What a service has to do about an observation."""

    RUNNING = "running"
    STOPPED = "stopped"  # finish what is there
    ABORTED = "aborted"  # drop it


@dataclass(frozen=True, slots=True)
class Order:
    """An observation, and what a service has to do about it.

    :param run: another one each time that an observation is started, also the same one again
    :param past: it had ended before it was started: what is on disk is all there will be
    """

    observation: Mapping[str, Any]  # Observation.to_plain()
    state: OrderState
    run: str = ""
    past: bool = False

    def to_plain(self) -> list[Any]:
        return [dict(self.observation), str(self.state), self.run, self.past]

    @classmethod
    def from_plain(cls, plain: list[Any]) -> Order:
        observation, state, run, past = plain
        return cls(observation, OrderState(state), run, past)
