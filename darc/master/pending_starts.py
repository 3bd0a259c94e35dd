"""Starts of services for observations, recorded on disk so that they survive a crash."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection

from darc.master.observation_run import ObservationRun
from darc.master.service_control import StartResult
from darc.runtime.clock import LOOK_AGAIN_SECONDS
from darc.runtime.vital_threads import vital

log = logging.getLogger(__name__)


class PendingStarts:
    """Starts of services for the observations that need them.

    :param changed: held while runs are read or changed, and notified of changes
    :param runs: returns all runs that need services
    :param save: saves a run on disk
    :param start: starts those services that do not run; may take a while
    """

    def __init__(
        self,
        changed: threading.Condition,
        runs: Callable[[], Collection[ObservationRun]],
        save: Callable[[ObservationRun], None],
        start: Callable[[Collection[str]], StartResult],
    ) -> None:
        self._lock = threading.RLock()  # acquired before `changed`
        self._changed = changed
        self._runs = runs
        self._save = save
        self._start = start
        self._said: dict[str, str] = {}

    def start_thread(self) -> None:
        """Start the thread that starts missing services, including those of an earlier master."""
        vital("services of observations", self._keep_starting, or_exit=True)

    def start_missing(self) -> list[str]:
        """Start the services that observations still need; return which were started.

        :raises SupervisorError: supervisord cannot be asked; this is retried
        """
        with self._lock:
            with self._changed:
                wanted = [(run, set(run.to_start)) for run in self._lacking()]
            names = sorted({name for _, services in wanted for name in services})
            if not names:
                return []
            started, failed = self._start(names)
            with self._changed:
                for run, services in wanted:
                    run.to_start -= services - set(failed)
                    if any(run is one for one in self._runs()):
                        self._save(run)
            for name, why in failed.items():
                self._say(name, f"{name} cannot be started yet: {why}")
            return started

    def start_again(self, task_id: str, services: Collection[str]) -> list[str]:
        """Start those services of an observation that do not run; return which were started.

        :raises SupervisorError: supervisord cannot be asked; this is retried
        """
        with self._lock:
            with self._changed:
                for run in self._runs():
                    if run.observation.task_id == task_id:
                        left = set(run.services) - run.finished - run.stopped
                        run.to_start |= left & set(services)
                        self._save(run)
            return self.start_missing()

    def leave_stopped(self, services: Collection[str]) -> None:
        """Leave services stopped that an operator stops: they are not started for current runs."""
        with self._lock, self._changed:
            for run in self._runs():
                if run.to_start & set(services):
                    run.to_start -= set(services)
                    self._save(run)

    def _lacking(self) -> list[ObservationRun]:
        return [run for run in self._runs() if run.to_start]

    def _keep_starting(self) -> None:
        """Retry starts that a crash of the master or an error of supervisord has prevented."""
        while True:
            with self._changed:
                self._changed.wait_for(self._lacking)
            try:
                self.start_missing()
            # Retried as long as an observation needs the services.
            except Exception as error:
                self._say("", f"services of observations cannot be started yet: {error}")
            time.sleep(LOOK_AGAIN_SECONDS)

    def _say(self, what: str, text: str) -> None:
        """Log an error, unless it is the last one logged about this subject."""
        if self._said.get(what) != text:
            log.error("%s", text)
        self._said[what] = text
