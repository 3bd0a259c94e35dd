"""Threads that run tasks periodically, and which of these do not."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator

from darc.model.overview import ThreadTrouble
from darc.node.supervisor import SupervisorError
from darc.runtime.clock import Instant
from darc.runtime.vital_threads import ended_threads, vital

log = logging.getLogger(__name__)

#: A round that takes longer hangs (s).
HANGS_SECONDS = 10.0


class PeriodicTask:
    """Thread that runs a task periodically, and at once when woken; a round that fails is logged.

    A task that hangs does not block others, and is not started a second time.

    :param seconds: between two rounds
    :param run: the task
    :param hangs_after: longest duration of a round (s) before it counts as hanging
    """

    def __init__(
        self, name: str, seconds: float, run: Callable[[], None], hangs_after: float = HANGS_SECONDS
    ) -> None:
        self.name = name
        self._seconds = seconds
        self._task = run
        self._hangs_after = hangs_after
        self._woken = threading.Event()
        self._ended = threading.Event()
        self._failing = ""
        self._began: Instant | None = None
        self._said = False

    def start(self) -> None:
        """Start the task's thread."""
        vital(self.name, self._run, stoppable=True)

    def wake(self) -> None:
        """Run the task at once."""
        self._woken.set()

    def end(self) -> None:
        """Stop after the current round."""
        self._ended.set()
        self.wake()

    @property
    def hangs_for(self) -> float | None:
        """Duration of the current round (s) if it is longer than `hangs_after`, otherwise None."""
        began = self._began
        age = 0.0 if began is None else began.age()
        return age if age > self._hangs_after else None

    def say_if_it_hangs(self) -> None:
        """Log once that the task hangs, and once that it responds again."""
        took = self.hangs_for
        if took is not None and not self._said:
            self._said = True
            log.error("%s: no answer for %.0f s: what it polls hangs", self.name, took)
        elif took is None and self._said:
            self._said = False
            log.info("%s: answers again", self.name)

    def _run(self) -> None:
        while not self._ended.is_set():
            self._began = Instant.now()
            self._do()
            self._began = None
            self._woken.wait(self._seconds)
            self._woken.clear()

    def _do(self) -> None:
        """Run the task; log a failure unless it is that of the last round."""
        try:
            self._task()
        except (OSError, SupervisorError, sqlite3.Error) as error:
            if str(error) != self._failing:
                log.error("%s: %s: %s", self.name, type(error).__name__, error)
            self._failing = str(error)
        # A defect must not end the thread.
        except Exception as error:
            if str(error) != self._failing:
                log.exception("%s failed", self.name)
            self._failing = str(error)
        else:
            self._failing = ""


def thread_troubles(tasks: Iterable[PeriodicTask]) -> Iterator[ThreadTrouble]:
    """Yield the threads of this process that have ended, and those of the tasks that hang."""
    for one in ended_threads():
        yield ThreadTrouble(one.name, "ended", one.at, one.error)
    now = time.time()
    for task in tasks:
        took = task.hangs_for
        if took is not None:
            # Rounded, as it would differ a little each time.
            yield ThreadTrouble(task.name, "hangs", round(now - took), "")
