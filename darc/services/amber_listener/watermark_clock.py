"""Clock for watermarks: Unix time that never decreases."""

from __future__ import annotations

import time


class WatermarkClock:
    """Clock that starts at the Unix time and continues with the monotonic clock.

    After the time of day is set back, windows would stay open until it has caught up; after it is
    set forward, they would close too early. Watermarks are only compared with each other.

    :param not_before: last watermark of an earlier process (Unix s)
    """

    def __init__(self, not_before: float = 0.0) -> None:
        self._start = max(time.time(), not_before)
        self._started = time.monotonic()

    def now(self) -> float:
        """Return the time (Unix s), which never goes back."""
        return self._start + (time.monotonic() - self._started)
