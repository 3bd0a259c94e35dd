"""How a process of a node ends: by SIGTERM, or by itself when supervisord is gone."""

from __future__ import annotations

import logging
import os
import signal
import threading
from types import FrameType

log = logging.getLogger(__name__)


def end_on_sigterm() -> None:
    """Ending at any line is safe: what is not committed comes again."""
    signal.signal(signal.SIGTERM, _end)


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


def end_with_supervisord() -> None:
    """Watch standard input, whose other end supervisord holds where it started this process."""
    if "SUPERVISOR_ENABLED" in os.environ:
        threading.Thread(target=_watch, name="supervisord watcher", daemon=True).start()


def _watch() -> None:
    while os.read(0, 1024):
        pass
    log.critical("supervisord is gone: ends")
    os._exit(1)
