"""Threads that must not end: one that does is a fact, and no silence.

What a process can do without is noted, for the node's overview; without the rest the process ends
at once, and supervisord starts it anew.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EndedThread:
    """A thread that should not have ended.

    :param error: what ended it
    :param at: Unix s
    """

    name: str
    error: str
    at: float


_lock = threading.Lock()
_ended: list[EndedThread] = []


def vital(
    name: str, target: Callable[[], None], *, or_exit: bool = False, stoppable: bool = False
) -> threading.Thread:
    """Start a daemon thread that must not end.

    :param or_exit: the process is of no use without it, and ends with it
    :param stoppable: that it returns is no mishap: somebody has asked it to
    """
    thread = threading.Thread(
        target=_watched, args=(name, target, or_exit, stoppable), name=name, daemon=True
    )
    thread.start()
    return thread


def ended_threads() -> tuple[EndedThread, ...]:
    """Those of this process that have ended and should not have."""
    with _lock:
        return tuple(_ended)


def _watched(name: str, target: Callable[[], None], or_exit: bool, stoppable: bool) -> None:
    try:
        target()
    # Also what is no Exception: nobody else hears of it.
    except BaseException as error:
        text = f"{type(error).__name__}: {error}"
        log.critical("thread %s ended: %s", name, text, exc_info=True)
    else:
        if stoppable:
            return
        text = "it returned"
        log.critical("thread %s ended: %s", name, text)
    if or_exit:
        log.critical("nothing is done without it: the process ends, and is started anew")
        os._exit(1)
    with _lock:
        _ended.append(EndedThread(name, text, time.time()))
