"""Deliveries to systems outside that may be away: tried with back-off, in a thread of their own.

A service hands in what has to go, goes on with its loop, and asks there what came of it::

    outbox = Outbox("e-mail", lambda message: mail.send(message, settings, 10.0))
    outbox.submit(trigger.identity, message, give_up_after=3600.0)
    for outcome in outbox.outcomes(): ...

What waits is held in memory alone: a service completes its entry when the outcome is there.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from darc.runtime.clock import Instant
from darc.runtime.vital_threads import vital

log = logging.getLogger(__name__)
T = TypeVar("T")


class DeliveryError(Exception):
    """An attempt did not get through.

    :param permanent: another attempt would not help
    """

    def __init__(self, reason: str, *, permanent: bool = False) -> None:
        super().__init__(reason)
        self.permanent = permanent


@dataclass(frozen=True, slots=True)
class DeliveryOutcome:
    """What came of an item.

    :param delivered_at: Unix s; None: given up
    :param error: of the last attempt that failed; empty if none did
    :param withdrawn: given up because it was withdrawn while its last attempt was under way
    """

    key: str
    delivered_at: float | None
    attempts: int
    error: str
    withdrawn: bool = False


@dataclass(frozen=True, slots=True)
class PendingItem:
    """An item that has not gone yet.

    :param since: when it was handed in, Unix s; likewise next_try
    :param error: of the last attempt; empty before there was one
    """

    key: str
    attempts: int
    since: float
    next_try: float
    error: str


class Clock:
    """The time, and waiting for it. What waits follows no clock that is set."""

    def monotonic(self) -> float:
        return Instant.now().seconds

    def unix(self) -> float:
        return time.time()

    def wait(self, changed: threading.Condition, timeout: float | None) -> None:
        changed.wait(timeout)


@dataclass(slots=True, eq=False)
class _Held(Generic[T]):
    key: str
    item: T
    since: float  # Unix s
    give_up_at: float  # monotonic s, likewise below
    began: float
    due: float
    delay: float  # after the next failure
    attempts: int = 0
    error: str = ""
    said: float | None = None  # when a failure was last logged
    withdrawn: bool = False
    # Log lines about it carry the observation that it was handed in for.
    context: Context = field(default_factory=copy_context)


class Outbox(Generic[T]):
    """Tries to deliver items one at a time, that which is due longest first.

    For each key that is handed in, there is either one outcome, or it is among those that
    :meth:`withdraw` returns.

    :param name: what log lines call it
    :param attempt: delivers an item, in this outbox's thread; an item that fails holds up the
        others for as long as this takes, so it must end by itself. It raises
        :class:`DeliveryError` when the item did not go
    :param first_delay: s from the first failure to the next attempt; doubled with each failure
    :param longest_delay: s, the most that it is doubled to
    :param on_outcome: called in this outbox's thread when outcomes are there
    """

    def __init__(
        self,
        name: str,
        attempt: Callable[[T], None],
        *,
        first_delay: float = 1.0,
        longest_delay: float = 60.0,
        on_outcome: Callable[[], None] | None = None,
        clock: Clock | None = None,
    ) -> None:
        if not 0 < first_delay <= longest_delay < math.inf:
            raise ValueError(f"no delays: from {first_delay} to {longest_delay} s")
        self._name = name
        self._attempt = attempt
        self._first_delay = first_delay
        self._longest_delay = longest_delay
        self._on_outcome = on_outcome
        self._clock = clock or Clock()
        self._changed = threading.Condition()
        self._held: dict[str, _Held[T]] = {}
        self._under_way: _Held[T] | None = None
        self._outcomes: list[DeliveryOutcome] = []
        self._closed = False
        self._thread = vital(f"{name} outbox", self._run, or_exit=True, stoppable=True)

    # -- for the service's loop: nothing of this waits for an attempt ------------------------------

    def submit(self, key: str, item: T, *, give_up_after: float) -> None:
        """Have an item delivered; nothing, if its key is held or has an outcome not taken yet.

        :param give_up_after: s from now; no attempt begins later
        :raises ValueError: it would never be given up
        :raises RuntimeError: the outbox is closed
        """
        if not math.isfinite(give_up_after):
            raise ValueError(f"{self._name}: {key} cannot be given up after {give_up_after} s")
        with self._changed:
            if self._closed:
                raise RuntimeError(f"{self._name}: closed, {key} cannot be delivered")
            held = self._held.get(key)
            now = self._clock.monotonic()
            give_up_at = now + give_up_after
            if held and held.withdrawn:  # but its attempt is still under way: it is wanted again
                held.item, held.give_up_at, held.withdrawn = item, give_up_at, False
            elif not held and all(outcome.key != key for outcome in self._outcomes):
                self._held[key] = _Held(
                    key, item, self._clock.unix(), give_up_at, now, now, self._first_delay
                )
                self._changed.notify()

    def withdraw(self) -> list[str]:
        """Drop all that waits.

        What is being attempted right now is not returned: its outcome will say whether it went,
        and if it did not, there is no other attempt.

        :return: keys of what was dropped, in the order in which they were handed in
        """
        with self._changed:
            dropped = [key for key, held in self._held.items() if held is not self._under_way]
            for key in dropped:
                del self._held[key]
            if self._under_way:
                self._under_way.withdrawn = True
        return dropped

    def outcomes(self) -> list[DeliveryOutcome]:
        """The outcomes since the last call."""
        with self._changed:
            outcomes, self._outcomes = self._outcomes, []
        return outcomes

    @property
    def waiting(self) -> tuple[PendingItem, ...]:
        """What has not gone yet, in the order of the next attempts; one may be under way."""
        with self._changed:
            unix_origin = self._clock.unix() - self._clock.monotonic()
            return tuple(
                PendingItem(held.key, held.attempts, held.since, unix_origin + held.due, held.error)
                for held in sorted(self._held.values(), key=lambda held: held.due)
            )

    def close(self, timeout: float = 0.0) -> None:
        """Begin no more attempts; what waits is dropped.

        :param timeout: s to wait for an attempt that is under way
        """
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout)

    # -- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._closed:
                    return
                late = self._late()
                for item in late:
                    item.context.run(self._give_up, item)
                held = None if late else self._due()
            if held:
                held.context.run(self._try, held)
            if late:
                self._tell()

    def _late(self) -> list[_Held[T]]:
        now = self._clock.monotonic()
        return [held for held in self._held.values() if now >= held.give_up_at]

    def _due(self) -> _Held[T] | None:
        """The item to try now; where there is none, wait once."""
        held = min(self._held.values(), key=lambda held: held.due, default=None)
        if held is None:
            self._clock.wait(self._changed, None)
            return None
        delay = held.due - self._clock.monotonic()
        if delay <= 0:
            self._under_way = held
            return held
        over = min(held.give_up_at for held in self._held.values()) - self._clock.monotonic()
        self._clock.wait(self._changed, max(min(delay, over), 0.0))
        return None

    def _try(self, held: _Held[T]) -> None:
        failure: Exception | None = None
        try:
            self._attempt(held.item)
        # A defect must not end the thread: the other items would never go.
        except Exception as error:
            failure = error
        with self._changed:
            self._under_way = None
            held.attempts += 1
            if failure is None:
                self._deliver(held)
            else:
                self._fail(held, failure)
            over = held.key not in self._held
        if over:
            self._tell()

    def _deliver(self, held: _Held[T]) -> None:
        if held.attempts > 1:
            passed = self._clock.monotonic() - held.began
            text = "%s: %s went at attempt %d, after %.1f s"
            log.info(text, self._name, held.key, held.attempts, passed)
        self._conclude(held, self._clock.unix())

    def _fail(self, held: _Held[T], failure: Exception) -> None:
        defect = None if isinstance(failure, DeliveryError) else failure
        held.error = str(failure) if defect is None else f"{type(defect).__name__}: {defect}"
        permanent = isinstance(failure, DeliveryError) and failure.permanent
        if held.withdrawn or permanent or self._clock.monotonic() >= held.give_up_at:
            self._give_up(held, defect)
            return
        now = self._clock.monotonic()
        held.due, held.delay = now + held.delay, min(2 * held.delay, self._longest_delay)
        if held.said is None or now - held.said >= self._longest_delay:
            held.said = now
            text = "%s: %s did not go (attempt %d), it is tried again: %s"
            arguments = (self._name, held.key, held.attempts, held.error)
            log.warning(text, *arguments, exc_info=defect)

    def _give_up(self, held: _Held[T], defect: Exception | None = None) -> None:
        held.error = held.error or "its time was over before it could be tried"
        what = "withdrawn" if held.withdrawn else "given up"
        level = logging.INFO if held.withdrawn else logging.ERROR
        arguments = (self._name, held.key, what, held.attempts, held.error)
        log.log(level, "%s: %s %s after %d attempts: %s", *arguments, exc_info=defect)
        self._conclude(held, None)

    def _conclude(self, held: _Held[T], delivered_at: float | None) -> None:
        del self._held[held.key]
        withdrawn = held.withdrawn and delivered_at is None
        self._outcomes.append(
            DeliveryOutcome(held.key, delivered_at, held.attempts, held.error, withdrawn)
        )

    def _tell(self) -> None:
        if self._on_outcome is None or self._closed:
            return
        try:
            self._on_outcome()
        # The outcomes are there all the same, and the other items have to go.
        except Exception:
            log.exception("%s: nobody could be told of an outcome", self._name)
