"""supervisord, as the master uses it: what it has started and ended on purpose is noted."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path

from darc.node.supervisor import ProcessInfo, Supervisor, SupervisorError


class NotingSupervisor(Supervisor):
    """supervisord, for a master that notes which services it has had stopped.

    Once the node is being stopped, it starts nothing any more, whoever was about to.
    """

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__(path, timeout)
        # Each replaced as a whole: they are told in other threads.
        self._pids: Mapping[str, int] = {}
        self._stops: Mapping[str, int] = {}
        self._starts: Mapping[str, float] = {}
        self._starting = threading.Lock()
        self._closed = False

    @property
    def asked_for(self) -> tuple[Mapping[str, int], Mapping[str, float]]:
        """By service, which process was asked to end last, and the last start (Unix s)."""
        return self._stops, self._starts

    def processes(self) -> dict[str, ProcessInfo]:
        found = super().processes()
        self._pids = {name: process.pid for name, process in found.items()}
        return found

    def start(self, name: str) -> bool:
        with self._starting:
            if self._closed:
                raise SupervisorError(f"{name} is not started: the node is being stopped")
            started = super().start(name)
        if started:
            self._starts = {**self._starts, name: time.time()}
        return started

    def start_no_more(self) -> None:
        """Returns when no start is under way; there is none afterwards."""
        with self._starting:
            self._closed = True

    def stop(self, name: str) -> bool:
        self._stops = {**self._stops, name: self._pids.get(name, 0)}
        return super().stop(name)
