"""Unix time for stamps, which never goes back."""

from __future__ import annotations

import time


class StampClock:
    """Begins at the Unix time, and goes on with the monotonic clock.

    A clock that is set back would keep windows open until it is where it was, and one that is set
    forward would close them too early. Stamps are compared with stamps only.

    :param not_before: the last stamp of an earlier process
    """

    def __init__(self, not_before: float = 0.0) -> None:
        self._start = max(time.time(), not_before)
        self._started = time.monotonic()

    def now(self) -> float:
        return self._start + (time.monotonic() - self._started)
