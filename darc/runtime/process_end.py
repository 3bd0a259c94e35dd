"""How a process of a node ends: by SIGTERM, or with supervisord or whoever has started it."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
from types import FrameType

from darc.runtime.vital_threads import vital

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1


def end_on_sigterm() -> None:
    """Ending at any line is safe: what is not committed comes again."""
    signal.signal(signal.SIGTERM, _end)


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


def end_with_supervisord() -> None:
    """Watch standard input, whose other end supervisord holds where it started this process."""
    if "SUPERVISOR_ENABLED" in os.environ:
        vital("supervisord watcher", _watch, or_exit=True)


def _watch() -> None:
    while os.read(0, 1024):
        pass
    log.critical("supervisord is gone: ends")
    os._exit(1)


def end_with(parent: int) -> None:
    """Have the kernel end this process with the one that has started it.

    :param parent: its process ID; the thread that has started this process has to live on
    :raises OSError: the kernel does not do that
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        sys.exit(1)  # it was gone before
