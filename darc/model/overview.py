"""Overview of a node, as ``darc get_attr overview`` returns it.

docs/status_page.md has an example. All times are Unix seconds by the node's own clock.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from darc.config import typed
from darc.config.records import Struct
from darc.config.typed import OneOf, Range
from darc.model.service_state import ServiceState

#: Version of the output of `to_text`; it changes whenever a reader has to adapt.
FORMAT = 3
#: Formats that can be read: 1 had neither losses nor threads, 2 no reason of a process's exit.
READABLE = (1, 2, FORMAT)
#: Characters of a log line, at most; of an error more, as the reason is at its end.
LOG_LINES = 10
LINE_CHARACTERS = 300
ERROR_CHARACTERS = 1000

_State = Annotated[str, OneOf(*map(str, ServiceState))]
_Count = Annotated[int, Range(0)]


class OverviewError(ValueError):
    """A text is not an overview that this version can read; the message says why."""


class LogLine(Struct, frozen=True):
    """A line of a log; `time` is None if the line has none."""

    time: float | None
    text: str


class StageLatency(Struct, frozen=True):
    """Latency of triggers from the previous stage to this one (ms), see docs/triggers.md."""

    name: str
    n: _Count
    median: float
    p99: float
    max: float


class LossRecord(Struct, frozen=True):
    """A permanent loss; `observation` is empty if it belongs to none."""

    time: float
    observation: str
    what: str
    why: str


class LossSummary(Struct, frozen=True):
    """Losses of one kind in a service.

    :param kind: identifier
    :param title: description for people
    :param to_do: what an operator can do about it
    :param number: total, including those of earlier processes of the service
    :param recent: the last one is recent enough to be reported
    :param last: the most recent ones, oldest first
    """

    kind: str
    title: str
    to_do: str
    number: _Count
    recent: bool
    last: tuple[LossRecord, ...]


def read_losses(plain: Mapping[str, Mapping[str, Any]]) -> tuple[LossSummary, ...]:
    """Return the losses by kind that a service tells.

    :raises ValueError: they are none
    """
    return tuple(
        typed.from_plain(LossSummary, {"kind": str(kind), **of}, "losses")
        for kind, of in plain.items()
    )


class ServiceOverview(Struct, frozen=True):
    """State of a service.

    :param since: when its process was started, or exited if it has none; None: never started
    :param restarts: number of restarts since the node was started
    :param deaths: how many of these followed an unexpected exit
    :param died: time of the last unexpected exit; None: there was none
    :param pid: 0 if there is no process
    :param memory: resident (bytes)
    :param cpu: share of one core (%), over the last few seconds
    :param queue: entries that wait for it
    :param oldest: when the oldest of them was put there
    :param sending: whether it may send to the system outside; None: it sends to none
    :param last_trigger: what it logged last about one
    :param last_error: what it logged last as ERROR or CRITICAL
    :param outcomes: how many triggers went which way
    :param losses: what it has lost for good, by kind
    :param how: how its last process ended that nobody had asked to; empty: somebody had, or it has
        not ended; None: unknown
    """

    name: str
    state: _State
    since: float | None
    restarts: _Count
    deaths: _Count
    died: float | None
    pid: _Count
    memory: _Count
    cpu: float
    queue: _Count
    oldest: float | None
    sending: bool | None
    last_trigger: LogLine | None
    last_error: LogLine | None
    log_file: str
    log_end: tuple[str, ...]
    outcomes: Mapping[str, int]
    latency: tuple[StageLatency, ...]
    losses: tuple[LossSummary, ...] = ()
    how: str | None = None

    @property
    def ended_by_itself(self) -> bool:
        """Whether its last process exited unexpectedly, as far as the node reports it."""
        return self.deaths > 0 if self.how is None else bool(self.how)


class ObservationOverview(Struct, frozen=True):
    """State of an observation on a node.

    :param state: `in processing`: stopped, but the services in `waits_for` have not finished
    :param results: directory of its results, below that of all observations; empty: unknown
    """

    id: str
    source: str
    state: Annotated[str, OneOf("pending", "running", "in processing", "aborted")]
    start: float
    end: float
    waits_for: tuple[str, ...]
    results: str = ""


class Handover(Struct, frozen=True):
    """Handover of triggers from a worker to a service on the master node.

    :param since: since when the master node is unreachable
    :param waiting: number of triggers kept until it is reachable
    :param text: why it is unreachable
    """

    service: str
    reached: bool
    since: float | None
    waiting: _Count
    text: str


class Disk(Struct, frozen=True):
    """Size and free space of a directory's file system (bytes)."""

    name: str
    path: str
    total: _Count
    free: _Count


class ThreadTrouble(Struct, frozen=True):
    """Something that darc_master or darc_monitor does again and again, and does not do now.

    :param name: what it looks at, or does; `darc_monitor` where that itself does nothing
    :param trouble: it hangs, or its thread has ended
    :param text: the error that ended it
    """

    name: str
    trouble: Annotated[str, OneOf("hangs", "ended")]
    since: float
    text: str


class NodeOverview(Struct, frozen=True):
    """State of a node.

    :param change: token that differs whenever something other than numbers has changed
    :param time: time of the overview
    :param waited: how long the reply was held back until something changed (s)
    :param started: start of the node
    :param master_started: start of its darc_master
    :param master: configured master of the cluster; None: the node is standalone
    :param supervisord: problem with supervisord; empty: none
    :param looked: time of the last check of processes
    :param read: time of the last check of logs and disks, which may be on a network file system
        that hangs
    :param asked: time of the last query of the services
    :param itself: darc_master
    :param threads: those of darc_master and darc_monitor that do not do their work
    """

    format: int
    change: str
    hostname: str
    role: Annotated[str, OneOf("master", "worker", "standalone")]
    version: str
    node_id: str
    time: float
    waited: float
    started: float
    master_started: float
    master: str | None
    mode: str
    stopping: bool
    supervisord: str
    looked: float
    read: float
    asked: float
    journal_full: bool
    disks: tuple[Disk, ...]
    itself: ServiceOverview
    services: tuple[ServiceOverview, ...]
    observations: tuple[ObservationOverview, ...]
    handovers: tuple[Handover, ...]
    threads: tuple[ThreadTrouble, ...] = ()


def to_text(overview: NodeOverview) -> str:
    """Return the overview as one line of JSON."""
    return json.dumps(typed.to_plain(overview), separators=(",", ":"))


def from_text(text: str) -> NodeOverview:
    """Return the overview in the output of `to_text`.

    :raises OverviewError: not an overview, or of an unsupported format
    """
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise OverviewError(f"not an overview: {text[:60]!r}") from error
    known = plain.get("format") if isinstance(plain, dict) else None
    if known not in READABLE:
        raise OverviewError(f"an overview of format {known!r}, not {FORMAT}"[:200])
    try:
        return typed.from_plain(NodeOverview, plain, "overview")
    except ValueError as error:
        raise OverviewError(str(error)[:500]) from error


def shortened(text: str) -> str:
    """An error's text, of which both ends count."""
    if len(text) <= ERROR_CHARACTERS:
        return text
    return f"{text[: ERROR_CHARACTERS // 2]} … {text[-ERROR_CHARACTERS // 2 + 3 :]}"
