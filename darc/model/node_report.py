"""What darc_monitor hands over to darc_master: its part of the node's overview.

All times are Unix seconds. What a field means is said in :mod:`darc.model.overview`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from darc.config.records import Struct, field
from darc.config.typed import Range
from darc.model.overview import Disk, Handover, LogLine, LossSummary, StageLatency, ThreadTrouble

_Count = Annotated[int, Range(0)]


class ServiceReport(Struct, frozen=True):
    """What is seen of a service, or of darc_master, from outside.

    :param ended: when its last process was seen to have ended; None: that lives, or none was seen
    :param pid: of the process that `memory` and `cpu` are of
    """

    name: str
    restarts: _Count = 0
    deaths: _Count = 0
    died: float | None = None
    ended: float | None = None
    how: str = ""
    pid: _Count = 0
    memory: _Count = 0
    cpu: float = 0.0
    sending: bool | None = None
    last_trigger: LogLine | None = None
    last_error: LogLine | None = None
    log_end: tuple[str, ...] = ()
    outcomes: Mapping[str, int] = field(default_factory=dict)
    latency: tuple[StageLatency, ...] = ()
    losses: tuple[LossSummary, ...] = ()


class NodeReport(Struct, frozen=True):
    """What darc_monitor has seen last.

    :param disks: those of `NodeOverview`, and that of the logs
    :param threads: what it looks at and what hangs, and its threads that have ended
    """

    read: float = 0.0
    asked: float = 0.0
    disks: tuple[Disk, ...] = ()
    services: tuple[ServiceReport, ...] = ()
    handovers: tuple[Handover, ...] = ()
    threads: tuple[ThreadTrouble, ...] = ()
