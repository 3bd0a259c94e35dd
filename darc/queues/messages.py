"""Messages between services and the journal, typed at both ends.

Observations are identified by the key of their run (`Observation.key`).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, Self

from darc.config.records import Struct, astuple, convert, field
from darc.runtime.clock import Since


class QueueError(Exception):
    """A request was refused by the queues; the message says why."""


class FencedError(QueueError):
    """Another process has become the holder; the receiver of this error must exit."""


class OutOfStepError(QueueError):
    """A commit does not continue where the previous one of its source or holder ended."""


class FullError(QueueError):
    """The journal is full; retry once there is room."""


class CallError(TypeError):
    """A call by a client has invalid arguments, or a value that queues do not carry."""


class ContentKind(enum.StrEnum):
    """Type of an entry's content."""

    CANDIDATES = "candidates"  # records of darc.model.candidate.CANDIDATE
    END = "end"  # no more entries follow for this observation
    TRIGGERS = "triggers"  # packed list of darc.model.trigger.Trigger
    PLAIN = "plain"  # packed plain value of an interactive client


class _Message(Struct, frozen=True, array_like=True):
    """What travels as a list of its values, in their order."""

    def to_plain(self) -> list[Any]:
        return [_plain(value) for value in astuple(self)]

    @classmethod
    def from_plain(cls, plain: list[Any]) -> Self:
        """Return the message in the output of `to_plain`.

        :raises ValueError: it is something else
        """
        return convert(plain, cls, builtin_types=(bytes,))


def _plain(value: Any) -> Any:
    """Return a value of a message as it travels; what a mapping holds is plain already."""
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    if isinstance(value, Struct):
        return [_plain(one) for one in astuple(value)]
    if isinstance(value, Mapping):
        return dict(value)
    return str(value) if isinstance(value, enum.Enum) else value


class Put(_Message, frozen=True):
    """An output: one content for one or more queues.

    :param watermark: Unix s: all lines written before it are in this entry or earlier
    :param written: Unix time at which its lines were written, 0 if unknown
    :param read: Unix time at which they were read, 0 if unknown
    :param waited: time it has spent on the queue of another node (s)
    """

    queues: tuple[str, ...]
    kind: ContentKind
    content: bytes = b""
    observation: str = ""
    watermark: float = 0.0
    written: float = 0.0
    read: float = 0.0
    waited: float = 0.0


class QueueEntry(_Message, frozen=True):
    """An entry of a queue, not yet acknowledged; its times are those of its :class:`Put`.

    :param held_at: Unix time at which it was put into the journal
    :param since: time since which it waits, including on the queue of another node
    :param sender: id of the opening of the journal in which it was put; numbers are unique within
        one, but numbers lost with a loss of power are used again
    """

    id: int
    kind: ContentKind
    content: bytes
    observation: str
    watermark: float
    held_at: float
    written: float = 0.0
    read: float = 0.0
    since: Since = field(default_factory=Since.now)
    sender: str = ""


class ReadProgress(_Message, frozen=True):
    """Progress in a file: bytes [start, end) of ``source`` are in the commit."""

    source: str
    start: int
    end: int


class Commit(_Message, frozen=True):
    """One atomic step of a service.

    :param completed: entries of its own queue to acknowledge
    :param puts: outputs
    :param progress: bytes of files that were read
    :param memory: values to store for the service across restarts, by key; None: delete it
    :param durable: reply only when it is safe against a loss of power, as messages to external
        systems depend on it
    """

    observation: str = ""
    completed: tuple[int, ...] = ()
    puts: tuple[Put, ...] = ()
    progress: tuple[ReadProgress, ...] = ()
    memory: Mapping[str, Any] = field(default_factory=dict)
    durable: bool = False


class Depth(_Message, frozen=True):
    """Depth of a queue."""

    queue: str
    entries: int
    content_bytes: int
    oldest: float | None  # Unix time at which the oldest entry was put


class QueryKind(enum.StrEnum):
    """What a service is asked, apart from its queue."""

    ATTRIBUTE = "attribute"
    SWITCH = "switch"
    RELOAD = "reload"  # read the configuration again


class ServiceQuery(_Message, frozen=True):
    """A question to one service.

    :param name: of an attribute or switch
    :param value: what a switch is to be
    :param origin: who wants that, for the log
    """

    kind: QueryKind
    name: str = ""
    value: bool = False
    origin: str = ""


class OrderState(enum.StrEnum):
    """State of an observation, as ordered to a service."""

    RUNNING = "running"
    STOPPED = "stopped"  # finish the existing entries
    ABORTED = "aborted"  # drop all entries


class Order(_Message, frozen=True):
    """An observation, and what a service has to do with it.

    :param past: it had ended before it was started: the files on disk are complete
    """

    observation: Mapping[str, Any]  # Observation.to_plain()
    state: OrderState
    past: bool = False


class Notification(_Message, frozen=True):
    """What a service that listens is told.

    :param version: of its orders
    :param orders: all of its observations, or None when nothing changed
    :param question: its number, and what is asked
    """

    version: int
    orders: list[Order] | None
    question: tuple[int, ServiceQuery] | None
