"""What a node's master tells of its node in one answer, ``darc get_attr overview``.

docs/status_page.md has an example. All times are Unix seconds by the clock of the node that tells.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from darc.config import typed
from darc.config.typed import OneOf, Range
from darc.model.service_state import ServiceState

#: Of what `to_text` makes: another one for each change that a reader has to know of.
FORMAT = 3
#: Those that can be read: 1 told neither losses nor threads, 2 not how a process ended.
READABLE = (1, 2, FORMAT)
#: Of a log, at most; of an error, of which the end says why, more.
LOG_LINES = 10
LINE_CHARACTERS = 300
ERROR_CHARACTERS = 1000

_State = Annotated[str, OneOf(*map(str, ServiceState))]
_Count = Annotated[int, Range(0)]


class OverviewError(ValueError):
    """What a node has told is no overview that this version can read; the text says why."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of a log; `time` is None where the line has none."""

    time: float | None
    text: str


@dataclass(frozen=True, slots=True)
class StageLatency:
    """How long triggers took from the stage before to this one (ms): see docs/triggers.md."""

    name: str
    n: _Count
    median: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True)
class LossRecord:
    """Something that was lost for good; `observation` is empty where it belongs to none."""

    time: float
    observation: str
    what: str
    why: str


@dataclass(frozen=True, slots=True)
class LossSummary:
    """What a service has lost of one kind.

    :param kind: its identifier
    :param title: for people, as is what to do against it
    :param number: of all, also before the service's process was started
    :param recent: people are still to be told of the last one
    :param last: the last ones, the latest last
    """

    kind: str
    title: str
    to_do: str
    number: _Count
    recent: bool
    last: tuple[LossRecord, ...]


@dataclass(frozen=True, slots=True)
class ServiceOverview:
    """A service.

    :param since: of its process when it has one, otherwise when that ended; None: never started
    :param restarts: how often it was started anew since the node was started
    :param deaths: how many of these were not asked for
    :param died: when it last ended without being asked to; None: it has not
    :param pid: 0 when there is no process
    :param memory: resident (bytes)
    :param cpu: share of one core (%), over the last few seconds
    :param queue: entries that wait for it
    :param oldest: when the oldest of them was put there
    :param sending: whether it may tell the system outside; None: it tells none
    :param last_trigger: what it logged last about one
    :param last_error: what it logged last as ERROR or CRITICAL
    :param outcomes: how many triggers went which way
    :param losses: what it has lost for good, by kind
    :param how: how its last process ended that nobody had asked to; empty: somebody had, or it has
        not ended; None: not told
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
        """Its last process, without being asked to; as far as its node tells."""
        return self.deaths > 0 if self.how is None else bool(self.how)


@dataclass(frozen=True, slots=True)
class ObservationOverview:
    """An observation on a node.

    :param state: `in processing` is stopped, and not finished by `waits_for`
    :param results: where its results are, below those of all observations; empty: not told
    """

    id: str
    source: str
    state: Annotated[str, OneOf("pending", "running", "in processing", "aborted")]
    start: float
    end: float
    waits_for: tuple[str, ...]
    results: str = ""


@dataclass(frozen=True, slots=True)
class Handover:
    """How a worker's handing in of triggers for a service on the master node goes.

    :param since: since when that is not reached
    :param waiting: what is kept until it is
    :param text: why it is not
    """

    service: str
    reached: bool
    since: float | None
    waiting: _Count
    text: str


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system of a directory (bytes)."""

    name: str
    path: str
    total: _Count
    free: _Count


@dataclass(frozen=True, slots=True)
class ThreadTrouble:
    """Something that darc_master or darc_monitor does again and again, and does not do now.

    :param name: what it looks at, or does; `darc_monitor` where that itself does nothing
    :param trouble: it hangs, or its thread has ended
    :param text: what has ended it
    """

    name: str
    trouble: Annotated[str, OneOf("hangs", "ended")]
    since: float
    text: str


@dataclass(frozen=True, slots=True)
class NodeOverview:
    """A node.

    :param change: another text when more than numbers has changed
    :param time: now
    :param waited: how long the answer was kept back until something changed (s)
    :param started: when the node was, `master_started` when its darc_master was
    :param master: what it takes for the cluster's master; None: it stands alone
    :param supervisord: what is wrong with it; empty: nothing
    :param looked: when it last looked at processes, `read` at logs and disks, which may be on a
        network file system that hangs, `asked` at what the services know of themselves
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
    """As one line of JSON."""
    return json.dumps(typed.to_plain(overview), separators=(",", ":"))


def from_text(text: str) -> NodeOverview:
    """The way back.

    :raises OverviewError: it is none, or of another format
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
