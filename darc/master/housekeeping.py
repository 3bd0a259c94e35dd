"""What the master looks after once a second: nothing that was taken away stays away."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from darc.model.state import ServiceState
from darc.node.identity import kept_link
from darc.node.supervisor import ProcessState, Supervisor, SupervisorError

log = logging.getLogger(__name__)

ROUND_SECONDS = 1.0


class Waker:
    """Wakes supervisord, which sleeps up to a second after a death; never waits for it."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._wanted = threading.Event()
        threading.Thread(target=self._run, name="waker", daemon=True).start()

    def wake(self) -> None:
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
    """A Unix socket whose path comes back when somebody removes it.

    A second link to it is kept beside it: the server behind both is the same.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept = kept_link(path)
        try:
            self.look()
        except OSError as error:  # a file system without such links: the node runs all the same
            log.warning("%s would not come back if it were removed: %s", path, error)

    def look(self) -> None:
        """Put the path back if it is gone.

        :raises OSError: it cannot be
        """
        if not self._path.exists():
            if self._kept.exists():
                os.link(self._kept, self._path)
                log.warning("%s was removed: it is back", self._path)
        elif not self._kept.exists() or not self._kept.samefile(self._path):
            self._kept.unlink(missing_ok=True)
            os.link(self._path, self._kept)


class Directories:
    """Directories that have to be there: supervisord cannot start a service without its log's."""

    def __init__(self, directories: Sequence[Path]) -> None:
        self._directories = directories

    def look(self) -> None:
        for directory in self._directories:
            if not directory.is_dir():
                directory.mkdir(parents=True, exist_ok=True)
                log.warning("%s was removed: it is back, empty", directory)


class Wanted:
    """Which services are meant to run, for the start after a supervisord that was killed."""

    def __init__(self, path: Path, supervisor: Supervisor) -> None:
        self._path = path
        self._supervisor = supervisor
        self._known: list[str] | None = None

    def start_again(self) -> None:
        """Start what ran under the supervisord before, and was never started under this one."""
        if not self._path.exists():
            return
        try:
            wanted = json.loads(self._path.read_text())
        except ValueError as error:
            log.error("%s: damaged, so nothing is started again: %s", self._path, error)
            return
        for name, process in self._supervisor.processes().items():
            if name in wanted and process.state is ProcessState.STOPPED and not process.started:
                log.info("%s ran before supervisord died: started again", name)
                self._supervisor.start(name)

    def look(self) -> None:
        processes = self._supervisor.processes()
        wanted = [
            name
            for name, process in processes.items()
            if process.state not in {ProcessState.STOPPED, ProcessState.STOPPING}
        ]
        if wanted != self._known:
            temporary = self._path.with_suffix(".new")
            temporary.write_text(json.dumps(wanted))
            temporary.replace(self._path)
            self._known = wanted

    def forget(self) -> None:
        """The node is being stopped: nothing is meant to run after its next start."""
        self._path.unlink(missing_ok=True)


class Unresponsive:
    """Says which services hang, and by configuration has them started anew."""

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

    def look(self) -> None:
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


class Housekeeping:
    """A thread that has each of its tasks look once a second.

    :param tasks: each looks, and mends what it finds; one that fails does not keep the others
    """

    def __init__(self, tasks: Sequence[Callable[[], None]]) -> None:
        self._tasks = tasks
        self._failing: dict[Callable[[], None], str] = {}
        self._ended = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="housekeeping", daemon=True).start()

    def end(self) -> None:
        self._ended.set()

    def _run(self) -> None:
        last = time.monotonic()
        while not self._ended.wait(ROUND_SECONDS):
            now = time.monotonic()
            # The master was stopped itself: give the services time to be heard again.
            if now - last < 2 * ROUND_SECONDS:
                for task in self._tasks:
                    self._do(task)
            last = time.monotonic()

    def _do(self, task: Callable[[], None]) -> None:
        try:
            task()
        except (OSError, SupervisorError, sqlite3.Error) as error:
            if self._failing.get(task) != str(error):
                log.error("%s", error)
            self._failing[task] = str(error)
        # A defect in one task must not end the thread, on which the others depend.
        except Exception as error:
            if self._failing.get(task) != str(error):
                log.exception("housekeeping failed")
            self._failing[task] = str(error)
        else:
            self._failing.pop(task, None)
