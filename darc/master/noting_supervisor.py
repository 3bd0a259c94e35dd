"""supervisord client that records the starts and stops that the master requested."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path

from darc.node.supervisor import ProcessInfo, Supervisor, SupervisorError


class NotingSupervisor(Supervisor):
    """supervisord client that records which services the master has started and stopped.

    Once the node is stopping, it starts nothing, whichever thread tries to.
    """

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__(path, timeout)
        # Each is replaced as a whole, as other threads read them.
        self._pids: Mapping[str, int] = {}
        self._stops: Mapping[str, int] = {}
        self._starts: Mapping[str, float] = {}
        self._starting = threading.Lock()
        self._closed = False

    @property
    def asked_for(self) -> tuple[Mapping[str, int], Mapping[str, float]]:
        """By service, the id of the process that was stopped last, and the last start (Unix s)."""
        return self._stops, self._starts

    def processes(self) -> dict[str, ProcessInfo]:
        """Return the processes by name, and note their PIDs."""
        found = super().processes()
        self._pids = {name: process.pid for name, process in found.items()}
        return found

    def start(self, name: str) -> bool:
        """Start a process.

        :return: whether it was not running
        :raises SupervisorError: the node is being stopped, or it cannot be started
        """
        with self._starting:
            if self._closed:
                raise SupervisorError(f"{name} is not started: the node is being stopped")
            started = super().start(name)
        if started:
            self._starts = {**self._starts, name: time.time()}
        return started

    def start_no_more(self) -> None:
        """Refuse further starts; return when none is in progress."""
        with self._starting:
            self._closed = True

    def stop(self, name: str) -> bool:
        """Stop a process, and note that this was asked for.

        :return: whether it was running
        """
        self._stops = {**self._stops, name: self._pids.get(name, 0)}
        return super().stop(name)
