"""Elapsed times, by a clock that cannot be set.

A time of day (Unix s, a plain ``float``) is for people and for the sky. Durations are never the
difference of two of these, as the system clock may be set. :class:`Instant` is a type of its own,
so that the two cannot be mixed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from darc.config.records import Struct, convert
from darc.runtime.paths import this_boot

#: Interval at which waiting for a time of day is checked, as the clock may be set meanwhile (s).
LOOK_AGAIN_SECONDS = 1.0
_LOOK_SECONDS = 0.05


class Instant(Struct, frozen=True, order=True):
    """Time since the boot of the machine (s), including sleep."""

    seconds: float

    @classmethod
    def now(cls) -> Instant:
        return cls(time.clock_gettime(time.CLOCK_BOOTTIME))

    def after(self, seconds: float) -> Instant:
        """Return the instant `seconds` later."""
        return Instant(self.seconds + seconds)

    def age(self) -> float:
        """Return how long ago it was (s); negative if in the future."""
        return Instant.now().seconds - self.seconds

    def left(self) -> float:
        """Return how long it is until then (s); negative if in the past."""
        return -self.age()


class Since(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A past time that can be stored across processes.

    Its age is measured by the monotonic clock, or after a reboot by the time of day.

    :param unix: time of day (Unix s)
    :param boot: boot id
    :param seconds: since that boot
    """

    unix: float
    boot: str
    seconds: float

    @classmethod
    def now(cls, ago: float = 0.0) -> Since:
        """Return the current time, or ``ago`` seconds before."""
        return cls(time.time() - ago, this_boot(), Instant.now().seconds - ago)

    def age(self) -> float:
        """Return how long ago it was (s), never negative."""
        is_of_now = self.boot == this_boot()
        age = Instant(self.seconds).age() if is_of_now else time.time() - self.unix
        return max(0.0, age)

    def time_of_day(self) -> float:
        """Return the present time of day (Unix s) by the clock as it was then."""
        return self.unix + self.age()

    def to_plain(self) -> list[Any]:
        return [self.unix, self.boot, self.seconds]

    @classmethod
    def from_plain(cls, plain: Any) -> Since:
        """Return a time from the output of `to_plain`; early versions stored only a time of day."""
        if isinstance(plain, int | float):
            return cls(float(plain), "", 0.0)
        return convert(plain, cls)


def least_age(unix: float, *clocks: Since) -> float:
    """Return how long ago something was that has happened (s), if at least one clock is right.

    A clock by which it is still to come is behind. Of the others the one that makes it youngest
    counts, so that a clock that is ahead makes nothing too late.

    :param unix: its time of day (Unix s)
    :param clocks: times at which the clock was read
    """
    ages = (clock.time_of_day() - unix for clock in clocks)
    return min((age for age in ages if age >= 0), default=0.0)


def wait_until(condition: Callable[[], bool], timeout: float) -> bool:
    """Look often until the condition holds; False when it did not in time."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_SECONDS)
    return True
