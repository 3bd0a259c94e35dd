"""Tasks that may hang, as on network file systems: each in a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, TypeVar

from darc.config.records import Struct
from darc.runtime.clock import Instant

log = logging.getLogger(__name__)

T = TypeVar("T")
#: Concurrent tasks; further ones are refused, as those are probably hanging.
PLACES = 32


class HangsError(OSError):
    """A task did not finish in time; the message names it."""

    def __str__(self) -> str:
        return str(self.args[0])


class PendingWork(Struct, frozen=True, eq=False):
    """A task that has not finished."""

    name: str
    began: Instant


class DetachedWork:
    """Tasks in threads of their own; a task that hangs is not started a second time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: set[PendingWork] = set()

    def begin(self, name: str, work: Callable[[], None]) -> bool:
        """Start a task; False if it is running already, or too many are."""
        try:
            self._start(name, work, at_most=1, timeout=0.0)
        except HangsError as error:
            log.error("%s: not started: %s", name, error)
            return False
        return True

    def result(self, name: str, work: Callable[[], T], timeout: float) -> T:
        """Run a task, and return its result.

        :param name: description of the task and what it works on
        :param timeout: s to wait; if a task of this name has hung for longer, none is started
        :raises HangsError: it takes longer; it may still finish later
        :raises Exception: any exception of the task
        """
        came: list[T] = []
        failed: list[Exception] = []

        def do() -> None:
            try:
                came.append(work())
            except Exception as error:
                failed.append(error)

        if not self._start(name, do, at_most=PLACES, timeout=timeout).wait(timeout):
            raise HangsError(f"{name}: not finished within {timeout:g} s: it hangs")
        if failed:
            raise failed[0]
        return came[0]

    def longer_than(self, seconds: float) -> list[PendingWork]:
        """Return the tasks that have been running for longer than `seconds`, oldest first."""
        with self._lock:
            late = [one for one in self._under_way if one.began.age() > seconds]
        return sorted(late, key=lambda one: one.began)

    def _start(
        self, name: str, work: Callable[[], Any], at_most: int, timeout: float
    ) -> threading.Event:
        this = PendingWork(name, Instant.now())
        with self._lock:
            same = [one for one in self._under_way if one.name == name]
            if same and (len(same) >= at_most or max(one.began.age() for one in same) > timeout):
                age = max(one.began.age() for one in same)
                raise HangsError(f"{name}: started {age:.0f} s ago and not finished: it hangs")
            if len(self._under_way) >= PLACES:
                raise HangsError(f"{name}: {PLACES} other tasks hang; the log names them")
            self._under_way.add(this)
        done = threading.Event()
        context = copy_context()  # log lines keep their observation

        def run() -> None:
            try:
                context.run(work)
            except Exception:
                log.exception("%s failed", name)
            finally:
                with self._lock:
                    self._under_way.discard(this)
                done.set()

        try:
            threading.Thread(target=run, name=name, daemon=True).start()
        except RuntimeError as error:  # the limit of threads is reached
            with self._lock:
                self._under_way.discard(this)
            raise HangsError(f"{name}: {error}") from error
        return done
