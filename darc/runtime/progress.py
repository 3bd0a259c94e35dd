"""What is said while something takes its time."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator

#: Nothing is said of what is over by then (s).
QUIET_SECONDS = 1.0
#: Between two lines (s).
AGAIN_SECONDS = 3.0


@contextlib.contextmanager
def waiting(what: str, left: Callable[[], str] = str) -> Iterator[None]:
    """Say on standard error what is waited for, from when it has taken a second.

    :param what: as "starting the services"
    :param left: tells what of it is not done yet; empty: that is not known
    """
    over = threading.Event()
    began = time.monotonic()

    def tell() -> None:
        patience = QUIET_SECONDS
        while not over.wait(patience):
            which = left()
            if over.is_set():
                return
            took = time.monotonic() - began
            print(f"{what}: {took:.0f} s{which and f', not yet {which}'}", file=sys.stderr)
            patience = AGAIN_SECONDS

    teller = threading.Thread(target=tell, name=what, daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join(QUIET_SECONDS)
