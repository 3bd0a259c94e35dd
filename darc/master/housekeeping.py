"""Periodic repairs by the master: directories, sockets, and services that do not respond."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from darc.model.service_state import ServiceState
from darc.node.node_identity import kept_link
from darc.node.supervisor import ProcessInfo, ProcessState, Supervisor, SupervisorError
from darc.runtime.clock import Instant
from darc.runtime.paths import write_whole
from darc.runtime.untrusted_files import MAX_TEXT, read_regular
from darc.runtime.vital_threads import vital

log = logging.getLogger(__name__)

#: Interval of the repairs (s).
PERIOD_SECONDS = 1.0


class SupervisorWaker:
    """Thread that wakes supervisord, which may notice the exit of a process up to 1 s late."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._wanted = threading.Event()
        vital("waker", self._run)

    def wake(self) -> None:
        """Wake supervisord soon."""
        self._wanted.set()

    def _run(self) -> None:
        while self._wanted.wait():
            self._wanted.clear()
            try:
                self._supervisor.poke()
            except SupervisorError as error:
                log.warning("%s", error)
            # A defect must not end the thread.
            except Exception:
                log.exception("supervisord not woken")


class KeptSocket:
    """Unix socket whose path is restored when it was removed.

    A second hard link to the socket is kept beside it; the server of both is the same.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept = kept_link(path)
        try:
            self.check()
        except OSError as error:  # file system without hard links: the node runs without this
            log.warning("%s could not be restored if somebody removed it: %s", path, error)

    def check(self) -> None:
        """Restore the path if it is missing.

        :raises OSError: it cannot be restored
        """
        if not self._path.exists():
            if self._kept.exists():
                os.link(self._kept, self._path)
                log.warning("%s had been removed, and is restored", self._path)
        elif not self._kept.exists() or not self._kept.samefile(self._path):
            self._kept.unlink(missing_ok=True)
            os.link(self._path, self._kept)


def keep_directory(directory: Path) -> None:
    """Create a directory if it is missing: supervisord needs one for a service's log."""
    if not directory.is_dir():
        directory.mkdir(parents=True, exist_ok=True)
        log.warning("%s had been removed, and is made again, empty", directory)


class WantedServices:
    """Record of the services that should run, for the start after supervisord was killed."""

    def __init__(self, path: Path, supervisor: Supervisor) -> None:
        self._path = path
        self._supervisor = supervisor
        self._known: list[str] | None = None
        self._lock = threading.Lock()
        self._forgotten = False

    def start_again(self) -> None:
        """Start services that ran under the previous supervisord and not yet under this one."""
        if not self._path.exists():
            return
        try:
            wanted = json.loads(read_regular(self._path, MAX_TEXT))
        except (OSError, ValueError) as error:
            log.error("%s: not readable, so nothing is started again: %s", self._path, error)
            return
        for name, process in self._supervisor.processes().items():
            if name in wanted and process.state is ProcessState.STOPPED and not process.started:
                log.info("%s ran before supervisord died: started again", name)
                self._supervisor.start(name)

    def check(self, processes: Mapping[str, ProcessInfo]) -> None:
        """Write which services run, if that has changed.

        :param processes: as supervisord has reported them; empty: it was not asked yet
        """
        if not processes:
            return
        wanted = [
            name
            for name, process in processes.items()
            if process.state not in {ProcessState.STOPPED, ProcessState.STOPPING}
        ]
        with self._lock:
            if wanted != self._known and not self._forgotten:
                # Synced to disk: it is needed after a loss of power, too.
                write_whole(self._path, json.dumps(wanted))
                self._known = wanted

    def forget(self) -> None:
        """Remove the record as the node stops: its next start starts no services."""
        with self._lock:
            self._forgotten = True
            self._path.unlink(missing_ok=True)


class UnresponsiveServices:
    """Log services that do not respond, and kill them for a restart if so configured.

    :param states: returns the state of each service
    :param kill: kills a service, which supervisord then restarts
    :param restart: whether services that do not respond are restarted
    """

    def __init__(
        self,
        states: Callable[[], dict[str, ServiceState]],
        kill: Callable[[str], None],
        restart: Callable[[], bool],
    ) -> None:
        self._states = states
        self._kill = kill
        self._restart = restart
        self._said: set[str] = set()
        self._last = Instant.now()

    def check(self) -> None:
        """Name the services without a heartbeat, and kill them where that is configured."""
        # If the master itself was suspended, give the services time for a heartbeat.
        if self._last.age() < 2 * PERIOD_SECONDS:
            self._check()
        self._last = Instant.now()

    def _check(self) -> None:
        states = self._states()
        hanging = {name for name, state in states.items() if state is ServiceState.UNRESPONSIVE}
        for name in hanging - self._said:
            log.error("%s does not respond%s", name, ": killed" if self._restart() else "")
        for name in self._said - hanging:
            log.info("%s is %s again", name, states.get(name, ServiceState.STOPPED))
        self._said = hanging
        if self._restart():
            for name in hanging:
                self._kill(name)
