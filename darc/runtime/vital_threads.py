"""Threads that must not end; if one does, that is reported.

The end of a dispensable thread appears in the node's overview; the end of any other exits the
process, and supervisord restarts it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable

from darc.config.records import Struct

log = logging.getLogger(__name__)


class EndedThread(Struct, frozen=True):
    """A thread that has ended unexpectedly.

    :param error: error that ended it
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

    :param name: name of the thread
    :param target: its function
    :param or_exit: exit the process if the thread ends
    :param stoppable: a normal return is not an error
    """
    thread = threading.Thread(
        target=_watched, args=(name, target, or_exit, stoppable), name=name, daemon=True
    )
    thread.start()
    return thread


def ended_threads() -> tuple[EndedThread, ...]:
    """Return the threads of this process that have ended unexpectedly."""
    with _lock:
        return tuple(_ended)


def _watched(name: str, target: Callable[[], None], or_exit: bool, stoppable: bool) -> None:
    try:
        target()
    # BaseException as well: nothing else would report it.
    except BaseException as error:
        text = f"{type(error).__name__}: {error}"
        log.critical("thread %s ended: %s", name, text, exc_info=True)
    else:
        if stoppable:
            return
        text = "it returned"
        log.critical("thread %s ended: %s", name, text)
    if or_exit:
        log.critical("the process cannot work without it: it exits and is restarted")
        os._exit(1)
    with _lock:
        _ended.append(EndedThread(name, text, time.time()))
