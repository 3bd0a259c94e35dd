"""Ctrl-C at any moment: the first one interrupts, further ones do not disturb the clean-up."""

from __future__ import annotations

import signal
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruptible:
    """Context in which the first SIGINT or SIGTERM raises KeyboardInterrupt; others are ignored."""

    def __enter__(self) -> None:
        for number in SIGNALS:
            signal.signal(number, self._interrupt)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self._ignore()
        raise KeyboardInterrupt

    def _ignore(self) -> None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    def __exit__(self, *error: object) -> None:
        self._ignore()
