"""The master's own attributes: ``get_attr`` without a service."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Protocol

from darc import __version__
from darc.config.config import Config
from darc.master.master_losses import MasterLosses
from darc.master.monitor_link import MonitorLink
from darc.master.node_overview import Overviews
from darc.master.observation_life import Observations


class AttributeSource(Protocol):
    """Object that the attributes are read from, as the master implements it."""

    config: Config
    node_id: str
    observations: Observations
    overviews: Overviews
    losses: MasterLosses
    monitor: MonitorLink

    @property
    def stopping(self) -> bool: ...
    @property
    def refused(self) -> tuple[int, int]: ...
    @property
    def queue_depths(self) -> dict[str, int]: ...
    @property
    def journal_full(self) -> bool: ...


_READ: Mapping[str, Callable[[AttributeSource, float], object]] = {
    "node_id": lambda master, _: master.node_id,
    "version": lambda _, __: __version__,
    "hostname": lambda master, _: master.config.hostname,
    "log_file": lambda master, _: master.config.master.log_file,
    "mode": lambda master, _: master.config.master.mode,
    "role": lambda master, _: master.config.role.value,
    "uptime": lambda _, started: round(time.time() - started, 1),
    "stopping": lambda master, _: master.stopping,
    "observations": lambda master, _: master.observations,
    "queue_depths": lambda master, _: master.queue_depths,
    "journal_full": lambda master, _: master.journal_full,
    "losses": lambda master, _: master.losses.shown(),
    "monitor": lambda master, _: master.monitor.state,
    "refused_commands": lambda master, _: master.refused[0],
    "refused_queue_connections": lambda master, _: master.refused[1],
}
_OVERVIEW = "overview"
#: Names of all attributes.
NAMES = (*_READ, _OVERVIEW)


class MasterAttributes:
    """The master's attributes by name.

    :param started: start of the master (Unix s)
    """

    def __init__(self, master: AttributeSource, started: float) -> None:
        self._master = master
        self._started = started

    def find(self, name: str) -> object | None:
        """Return the value of an attribute; None where the name is unknown."""
        name, _, arguments = name.partition(" ")
        if name == _OVERVIEW:
            return self._master.overviews.find(arguments)
        if arguments:
            return None
        read = _READ.get(name)
        return None if read is None else read(self._master, self._started)
