"""Progress messages of commands that take time."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator

#: No message before this time (s).
QUIET_SECONDS = 1.0
#: Interval between messages (s).
AGAIN_SECONDS = 3.0


@contextlib.contextmanager
def waiting(what: str, left: Callable[[], str] = str) -> Iterator[None]:
    """Print on standard error what is being waited for, if it takes more than a second.

    :param what: activity, such as "starting the services"
    :param left: returns what is not done yet; empty if unknown
    """
    over = threading.Event()
    began = time.monotonic()

    def report() -> None:
        timeout = QUIET_SECONDS
        while not over.wait(timeout):
            which = left()
            if over.is_set():
                return
            took = time.monotonic() - began
            print(f"{what}: {took:.0f} s{which and f', not yet {which}'}", file=sys.stderr)
            timeout = AGAIN_SECONDS

    reporter = threading.Thread(target=report, name=what, daemon=True)
    reporter.start()
    try:
        yield
    finally:
        over.set()
        reporter.join(QUIET_SECONDS)
