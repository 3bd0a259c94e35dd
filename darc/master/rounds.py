"""A thread that looks at something again and again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)


class Rounds:
    """A thread that looks every so often, and at once when woken; a look that fails is not the end.

    :param seconds: between two looks
    """

    def __init__(self, name: str, seconds: float, look: Callable[[], None]) -> None:
        self._name = name
        self._seconds = seconds
        self._look = look
        self._woken = threading.Event()
        self._failing = ""

    def start(self) -> None:
        threading.Thread(target=self._run, name=self._name, daemon=True).start()

    def wake(self) -> None:
        self._woken.set()

    def _run(self) -> None:
        while True:
            try:
                self._look()
                self._failing = ""
            # A defect, or a disk that fails, must not end the thread; it is said once.
            except Exception as error:
                if str(error) != self._failing:
                    log.warning("%s: %s: %s", self._name, type(error).__name__, error)
                self._failing = str(error)
            self._woken.wait(self._seconds)
            self._woken.clear()
