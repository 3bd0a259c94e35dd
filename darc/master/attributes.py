"""What ``get_attr`` without a service may ask: the master's own declared attributes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from darc import __version__
from darc.master.observations import Observations
from darc.master.overview import Overviews
from darc.model.config import Config


class Described(Protocol):
    """What the attributes are read from; the master."""

    config: Config
    node_id: str
    observations: Observations
    overviews: Overviews

    @property
    def stopping(self) -> bool: ...
    @property
    def refused(self) -> tuple[int, int]: ...
    @property
    def queue_depths(self) -> dict[str, int]: ...
    @property
    def journal_full(self) -> bool: ...


class Attributes:
    """The master's attributes by name.

    :param started: Unix time
    """

    def __init__(self, master: Described, started: float) -> None:
        config = master.config
        self._overviews = master.overviews
        self._found: dict[str, Callable[[], object]] = {
            "node_id": lambda: master.node_id,
            "version": lambda: __version__,
            "hostname": lambda: config.hostname,
            "log_file": lambda: master.config.master.log_file,
            "mode": lambda: master.config.master.mode,
            "role": lambda: master.config.role.value,
            "uptime": lambda: round(time.time() - started, 1),
            "stopping": lambda: master.stopping,
            "observations": lambda: master.observations,
            "queue_depths": lambda: master.queue_depths,
            "journal_full": lambda: master.journal_full,
            "refused_commands": lambda: master.refused[0],
            "refused_queue_connections": lambda: master.refused[1],
        }

    def find(self, name: str) -> str | None:
        """An attribute as text; None when there is none of that name."""
        name, _, arguments = name.partition(" ")
        if name == "overview":
            return self._overviews.find(arguments)
        if arguments:
            return None
        read = self._found.get(name)
        return None if read is None else str(read())
