"""Elapsed times, told by a clock that nobody sets.

A time of day (Unix s, a plain ``float``) says when something was, for people and for the sky. How
long something took, or has waited, is never told from two of these, as clocks are set. An
:class:`Instant` is a type of its own, so that the two cannot be mixed.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Whoever waits for a time of day looks again so often: the clock may be set meanwhile (s).
LOOK_AGAIN_SECONDS = 1.0
_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True, order=True)
class Instant:
    """A reading of the machine's clock since its start, which goes on while it sleeps."""

    seconds: float

    @classmethod
    def now(cls) -> Instant:
        return cls(time.clock_gettime(time.CLOCK_BOOTTIME))

    def after(self, seconds: float) -> Instant:
        """The instant so much later."""
        return Instant(self.seconds + seconds)

    def age(self) -> float:
        """How long ago it was (s); negative before it."""
        return Instant.now().seconds - self.seconds

    def left(self) -> float:
        """How long it is until then (s); negative behind it."""
        return -self.age()


@dataclass(frozen=True, slots=True)
class Since:
    """A moment in the past that outlives processes.

    How long ago it was is told by the clock that nobody sets; only over a start of the machine, by
    the time of day.

    :param unix: time of day (Unix s)
    :param boot: the start of the machine in which it was
    :param instant: by the clock of that start
    """

    unix: float
    boot: str
    instant: Instant

    @classmethod
    def now(cls, ago: float = 0.0) -> Since:
        """This moment, or one that was ``ago`` seconds before."""
        return cls(time.time() - ago, this_boot(), Instant(Instant.now().seconds - ago))

    def age(self) -> float:
        """How long ago it was (s), never negative."""
        age = self.instant.age() if self.boot == this_boot() else time.time() - self.unix
        return max(0.0, age)

    def to_plain(self) -> list[Any]:
        return [self.unix, self.boot, self.instant.seconds]

    @classmethod
    def from_plain(cls, plain: Any) -> Since:
        """The way back from `to_plain`; earlier versions kept a time of day alone."""
        if isinstance(plain, int | float):
            return cls(float(plain), "", Instant(0.0))
        unix, boot, seconds = plain
        return cls(float(unix), str(boot), Instant(float(seconds)))


@functools.cache
def this_boot() -> str:
    """Another one after each start of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def wait_until(condition: Callable[[], bool], timeout: float) -> bool:
    """Look often until the condition holds; False when it did not in time."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_SECONDS)
    return True
