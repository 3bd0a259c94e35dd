"""Work on places that may hang, such as network file systems: each piece in a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, TypeVar

from darc.runtime.clock import Instant

log = logging.getLogger(__name__)

T = TypeVar("T")
#: Pieces of work at a time: further ones are refused, as whatever these wait for hangs.
PLACES = 32


class HangsError(OSError):
    """Somebody waited long enough; the text says what for."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, slots=True, eq=False)
class PendingWork:
    """A piece of work that has not ended."""

    name: str
    began: Instant


class DetachedWork:
    """Pieces of work in threads of their own; what hangs is not begun again.

    :param places: for so many at a time
    """

    def __init__(self, places: int = PLACES) -> None:
        self._places = places
        self._lock = threading.Lock()
        self._under_way: set[PendingWork] = set()

    def begin(self, name: str, work: Callable[[], None]) -> bool:
        """Have it done; False where it is under way already, or there is no place for it."""
        try:
            self._start(name, work, at_most=1, patience=0.0)
        except HangsError as error:
            log.error("%s: not begun: %s", name, error)
            return False
        return True

    def result(self, name: str, work: Callable[[], T], patience: float) -> T:
        """Have it done, and wait for what comes of it.

        :param name: what it is, and on what
        :param patience: s; one of this name that took longer, and has no end, is enough
        :raises HangsError: it takes longer; it may come to its end later
        :raises Exception: whatever the work raises
        """
        came: list[T] = []
        failed: list[Exception] = []

        def do() -> None:
            try:
                came.append(work())
            except Exception as error:
                failed.append(error)

        if not self._start(name, do, at_most=self._places, patience=patience).wait(patience):
            raise HangsError(f"{name}: no answer within {patience:g} s: what it is on hangs")
        if failed:
            raise failed[0]
        return came[0]

    def longer_than(self, seconds: float) -> list[PendingWork]:
        """What has been under way for longer, the oldest first."""
        with self._lock:
            late = [one for one in self._under_way if one.began.age() > seconds]
        return sorted(late, key=lambda one: one.began)

    def _start(
        self, name: str, work: Callable[[], Any], at_most: int, patience: float
    ) -> threading.Event:
        this = PendingWork(name, Instant.now())
        with self._lock:
            same = [one for one in self._under_way if one.name == name]
            if same and (len(same) >= at_most or max(one.began.age() for one in same) > patience):
                age = max(one.began.age() for one in same)
                raise HangsError(f"{name}: begun {age:.0f} s ago, and not at its end: it hangs")
            if len(self._under_way) >= self._places:
                raise HangsError(f"{name}: {self._places} others hang; see which in the log")
            self._under_way.add(this)
        done = threading.Event()
        context = copy_context()  # log lines carry what they are about

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
        except RuntimeError as error:  # the limit of threads
            with self._lock:
                self._under_way.discard(this)
            raise HangsError(f"{name}: {error}") from error
        return done
