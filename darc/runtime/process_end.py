"""End of a process of a node: by SIGTERM, or together with supervisord."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from darc.runtime.vital_threads import vital

log = logging.getLogger(__name__)

#: Whether a SIGTERM was heard is looked at so often (s).
AGAIN_SECONDS = 1.0


@contextmanager
def end_on_sigterm() -> Iterator[None]:
    """Exit on SIGTERM, at any line within: what is not committed is delivered again.

    A SIGTERM after that, while the interpreter shuts down, changes nothing.
    """
    signal.signal(signal.SIGTERM, _end)
    try:
        yield
    finally:
        # an exception in the interpreter's shutdown would leave a traceback in the log
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if signal.getsignal(signal.SIGALRM) is _end:
            signal.signal(signal.SIGALRM, signal.SIG_IGN)


def _end(number: int, frame: FrameType | None) -> None:
    # Python drops an exception in a destructor, or in a callback as imports have: it comes again.
    signal.signal(signal.SIGALRM, _end)
    signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS)
    if number == signal.SIGTERM or not _is_ending(sys.exception()):
        raise SystemExit(0)


def _is_ending(handled: BaseException | None) -> bool:
    """Whether what is done now is done because of the exit, such as closing what was open."""
    while handled is not None and not isinstance(handled, SystemExit):
        handled = handled.__context__
    return handled is not None


def end_with_supervisord() -> None:
    """Exit when supervisord does, which holds the other end of standard input if it started us."""
    if "SUPERVISOR_ENABLED" in os.environ:
        vital("supervisord watcher", _watch, or_exit=True)


def _watch() -> None:
    while os.read(0, 1024):
        pass
    log.critical("supervisord has exited: this process exits, too")
    os._exit(1)
