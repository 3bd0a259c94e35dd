"""Changes that threads wait for."""

from __future__ import annotations

import threading


class ChangeNotifier:
    """Counter of changes that threads can wait for without missing one."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._changes = 0
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """Number of threads that wait now."""
        with self._condition:
            return self._waiting

    def notify(self) -> None:
        with self._condition:
            self._changes += 1
            self._condition.notify_all()

    def changes(self) -> int:
        with self._condition:
            return self._changes

    def wait(self, seen: int, timeout: float) -> bool:
        """Return whether there are more changes than ``seen``; wait up to ``timeout`` s."""
        with self._condition:
            self._waiting += 1
            try:
                return self._condition.wait_for(lambda: self._changes != seen, timeout)
            finally:
                self._waiting -= 1
