"""What travels between services and the journal, typed at both ends.

Where something here names an observation, it is by the key of its run (`Observation.key`).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from darc.runtime.clock import Since


class QueueError(Exception):
    """A request that the queues refuse; the text says why."""


class FencedError(QueueError):
    """Another process holds this service's work now; whoever gets this has to end."""


class OutOfStepError(QueueError):
    """A put does not go on where the last one held for its source ended."""


class FullError(QueueError):
    """The journal is full; what was asked can be done once there is room again."""


class CallError(TypeError):
    """A call from outside that does not fit, or a value that queues do not carry."""


class ContentKind(enum.StrEnum):
    """What an entry's content is."""

    CANDIDATES = "candidates"  # records of darc.model.candidate.CANDIDATE
    END = "end"  # nothing more comes for this observation
    TRIGGERS = "triggers"  # packed list of darc.model.trigger.Trigger
    PLAIN = "plain"  # packed plain value, put by a person


@dataclass(frozen=True, slots=True)
class Put:
    """An output: one content for one or more queues.

    :param stamp: Unix time; all that was written before it is in this entry or an earlier one
    :param written: Unix time at which its lines were written, 0 where that is not known
    :param read: Unix time at which they were read, likewise
    :param waited: how long it has waited already, on another node (s)
    """

    queues: tuple[str, ...]
    kind: ContentKind
    content: bytes = b""
    observation: str = ""
    stamp: float = 0.0
    written: float = 0.0
    read: float = 0.0
    waited: float = 0.0

    def to_plain(self) -> list[Any]:
        times = self.stamp, self.written, self.read, self.waited
        return [list(self.queues), str(self.kind), self.content, self.observation, *times]

    @classmethod
    def from_plain(cls, plain: list[Any]) -> Put:
        queues, kind, content, observation, *times = plain
        name = str(observation)
        return cls(tuple(queues), ContentKind(kind), bytes(content), name, *map(float, times))


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """An entry of a queue, not completed yet; its times are those of its :class:`Put`.

    :param held_at: Unix time at which the journal got it
    :param since: it waits since then; of what comes from another node, since it waited there
    :param sender: the opening of the journal in which it was put. Within one, no number is given
        twice; over a loss of power, numbers of what was lost are
    """

    id: int
    kind: ContentKind
    content: bytes
    observation: str
    stamp: float
    held_at: float
    written: float = 0.0
    read: float = 0.0
    since: Since = field(default_factory=Since.now)
    sender: str = ""

    def to_plain(self) -> list[Any]:
        times = self.stamp, self.held_at, self.written, self.read, self.since.to_plain()
        return [self.id, str(self.kind), self.content, self.observation, *times, self.sender]

    @classmethod
    def from_plain(cls, plain: list[Any]) -> QueueEntry:
        number, kind, content, observation, stamp, held_at, written, read, since, sender = plain
        times = stamp, held_at, written, read, Since.from_plain(since)
        return cls(int(number), ContentKind(kind), bytes(content), observation, *times, sender)


@dataclass(frozen=True, slots=True)
class ReadProgress:
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
    :param durable: it is on the disk, and outlives a loss of power, before this is answered: what
        is told to somebody outside rests on it
    """

    observation: str = ""
    completed: tuple[int, ...] = ()
    puts: tuple[Put, ...] = ()
    progress: tuple[ReadProgress, ...] = ()
    memory: Mapping[str, Any] = field(default_factory=dict)
    durable: bool = False

    def to_plain(self) -> list[Any]:
        return [
            self.observation,
            list(self.completed),
            [put.to_plain() for put in self.puts],
            [[step.source, step.start, step.end] for step in self.progress],
            dict(self.memory),
            self.durable,
        ]

    @classmethod
    def from_plain(cls, plain: list[Any]) -> Commit:
        observation, completed, puts, progress, memory, durable = plain
        return cls(
            str(observation),
            tuple(int(number) for number in completed),
            tuple(Put.from_plain(put) for put in puts),
            tuple(
                ReadProgress(str(source), int(start), int(end)) for source, start, end in progress
            ),
            dict(memory),
            bool(durable),
        )


@dataclass(frozen=True, slots=True)
class Depth:
    """How full a queue is."""

    queue: str
    entries: int
    content_bytes: int
    oldest: float | None  # Unix time at which the oldest entry was put


class QueryKind(enum.StrEnum):
    """What a service is asked, apart from its queue."""

    ATTRIBUTE = "attribute"
    SWITCH = "switch"
    RELOAD = "reload"  # read the configuration again


@dataclass(frozen=True, slots=True)
class ServiceQuery:
    """A question to one service.

    :param name: of an attribute or switch
    :param value: what a switch is to be
    :param origin: who wants that, for the log
    """

    kind: QueryKind
    name: str = ""
    value: bool = False
    origin: str = ""

    def to_plain(self) -> list[Any]:
        return [str(self.kind), self.name, self.value, self.origin]

    @classmethod
    def from_plain(cls, plain: list[Any]) -> ServiceQuery:
        kind, name, value, origin = plain
        return cls(QueryKind(kind), str(name), bool(value), str(origin))


class OrderState(enum.StrEnum):
    """What a service has to do about an observation."""

    RUNNING = "running"
    STOPPED = "stopped"  # finish what is there
    ABORTED = "aborted"  # drop it


@dataclass(frozen=True, slots=True)
class Order:
    """An observation, and what a service has to do about it.

    :param past: it had ended before it was started: what is on disk is all there will be
    """

    observation: Mapping[str, Any]  # Observation.to_plain()
    state: OrderState
    past: bool = False

    def to_plain(self) -> list[Any]:
        return [dict(self.observation), str(self.state), self.past]

    @classmethod
    def from_plain(cls, plain: list[Any]) -> Order:
        observation, state, past = plain
        return cls(observation, OrderState(state), past)
