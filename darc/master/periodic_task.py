"""A thread that looks at something again and again."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable

from darc.node.supervisor import SupervisorError
from darc.runtime.clock import Instant
from darc.runtime.vital_threads import vital

log = logging.getLogger(__name__)

#: A look that takes longer hangs (s).
HANGS_SECONDS = 10.0


class PeriodicTask:
    """A thread that looks every so often, and at once when woken; a look that fails is not the end.

    One that hangs holds up nobody else's, and is not begun again.

    :param seconds: between two looks
    :param patience: s that a look may take
    """

    def __init__(
        self,
        name: str,
        seconds: float,
        look: Callable[[], None],
        patience: float = HANGS_SECONDS,
    ) -> None:
        self.name = name
        self._seconds = seconds
        self._look = look
        self._patience = patience
        self._woken = threading.Event()
        self._ended = threading.Event()
        self._failing = ""
        self._began: Instant | None = None
        self._said = False

    def start(self) -> None:
        vital(self.name, self._run, stoppable=True)

    def wake(self) -> None:
        self._woken.set()

    def end(self) -> None:
        """Look no more."""
        self._ended.set()
        self.wake()

    @property
    def hangs_for(self) -> float | None:
        """How long the look that is under way has taken (s); None while that is not too long."""
        began = self._began
        age = 0.0 if began is None else began.age()
        return age if age > self._patience else None

    def say_if_it_hangs(self) -> None:
        """Log it, once."""
        took = self.hangs_for
        if took is not None and not self._said:
            self._said = True
            log.error("%s: no answer for %.0f s: what it looks at hangs", self.name, took)
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
        """Look; what fails is said once."""
        try:
            self._look()
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
