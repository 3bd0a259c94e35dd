"""Deliveries to external systems with retries and back-off, in a thread of their own.

A service submits items, continues its loop, and collects the outcomes there::

    outbox = Outbox("e-mail", lambda message: mail.send(message, settings, 10.0))
    outbox.submit(trigger.identity, message, give_up_after=3600.0)
    for outcome in outbox.outcomes(): ...

Items are kept in memory only: a service acknowledges its queue entry once it has the outcome.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Generic, TypeVar

from darc.config.records import Struct, field
from darc.runtime.clock import Instant
from darc.runtime.vital_threads import vital

log = logging.getLogger(__name__)
T = TypeVar("T")


class DeliveryError(Exception):
    """A delivery attempt failed.

    :param permanent: a retry would not help
    :param wait: for how long the other side wants to be left alone, s
    """

    def __init__(self, reason: str, *, permanent: bool = False, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.permanent = permanent
        self.wait = wait


class DeliveryOutcome(Struct, frozen=True):
    """Outcome of an item.

    :param delivered_at: Unix s; None: given up
    :param attempts: number of attempts
    :param error: error of the last failed attempt; empty if none failed
    :param withdrawn: given up because it was withdrawn during its last attempt
    """

    key: str
    delivered_at: float | None
    attempts: int
    error: str
    withdrawn: bool = False


class PendingItem(Struct, frozen=True):
    """An undelivered item.

    :param error: error of the last attempt; empty if none was made
    """

    key: str
    attempts: int
    error: str


class Clock:
    """Clock of an outbox. Waiting uses the monotonic clock."""

    def monotonic(self) -> float:
        return Instant.now().seconds

    def unix(self) -> float:
        return time.time()

    def wait(self, changed: threading.Condition, timeout: float | None) -> None:
        changed.wait(timeout)


class _Held(Struct, Generic[T], eq=False):
    key: str
    item: T
    give_up_at: float  # monotonic s, likewise below
    began: float
    due: float
    delay: float  # after the next failure
    attempts: int = 0
    error: str = ""
    said: float | None = None  # time of the last log line about a failure
    withdrawn: bool = False
    # Log lines about it have the observation of the caller of submit.
    context: Context = field(default_factory=copy_context)


class Outbox(Generic[T]):
    """Queue of items that are delivered one at a time, the longest overdue first.

    Each submitted key either has one outcome, or is returned by :meth:`withdraw`.

    :param name: name in log lines
    :param attempt: delivers an item, in this outbox's thread; raises :class:`DeliveryError` if that
        fails. It blocks the other items, so it must have a time limit
    :param first_delay: s from the first failure to the next attempt; doubled with each failure
    :param longest_delay: upper limit of the delay, s
    :param on_outcome: called in this outbox's thread when there are outcomes
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
            raise ValueError(f"invalid delays: from {first_delay} to {longest_delay} s")
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

    # -- for the service's loop: none of these waits for an attempt ------------------------------

    def submit(self, key: str, item: T, *, give_up_after: float) -> None:
        """Submit an item; ignored if its key is pending, or has an outcome not yet collected.

        :param key: identity of the item
        :param give_up_after: s from now; no attempt starts later
        :raises ValueError: `give_up_after` is not finite
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
            if held and held.withdrawn:  # during its attempt: it is pending again
                held.item, held.give_up_at, held.withdrawn = item, give_up_at, False
            elif not held and all(outcome.key != key for outcome in self._outcomes):
                self._held[key] = _Held(key, item, give_up_at, now, now, self._first_delay)
                self._changed.notify()

    def withdraw(self) -> list[str]:
        """Drop all pending items.

        An item whose attempt is in progress is not returned: its outcome will say whether it was
        delivered; if not, there is no other attempt.

        :return: keys of the dropped items, in order of submission
        """
        with self._changed:
            dropped = [key for key, held in self._held.items() if held is not self._under_way]
            for key in dropped:
                del self._held[key]
            if self._under_way:
                self._under_way.withdrawn = True
        return dropped

    def drop(self, key: str) -> bool:
        """Drop a pending item; False if its attempt is in progress: see :meth:`withdraw`."""
        with self._changed:
            held = self._held.get(key)
            if held is not None and held is self._under_way:
                held.withdrawn = True
                return False
            return self._held.pop(key, None) is not None

    def outcomes(self) -> list[DeliveryOutcome]:
        """Return the outcomes since the last call."""
        with self._changed:
            outcomes, self._outcomes = self._outcomes, []
        return outcomes

    @property
    def waiting(self) -> tuple[PendingItem, ...]:
        """Return the undelivered items in order of their next attempt; one may be in progress."""
        with self._changed:
            return tuple(
                PendingItem(held.key, held.attempts, held.error)
                for held in sorted(self._held.values(), key=lambda held: held.due)
            )

    def close(self, timeout: float = 0.0) -> None:
        """Start no more attempts, and drop pending items.

        :param timeout: s to wait for an attempt in progress
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
                late = self._expired()
                for item in late:
                    item.context.run(self._give_up, item)
                held = None if late else self._due()
            if held:
                held.context.run(self._try, held)
            if late:
                self._notify()

    def _expired(self) -> list[_Held[T]]:
        now = self._clock.monotonic()
        return [held for held in self._held.values() if now >= held.give_up_at]

    def _due(self) -> _Held[T] | None:
        """Return the item that is due now; wait once if there is none."""
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
        # A defect must not end the thread: the other items would never be delivered.
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
            self._notify()

    def _deliver(self, held: _Held[T]) -> None:
        if held.attempts > 1:
            passed = self._clock.monotonic() - held.began
            text = "%s: %s delivered at attempt %d, after %.1f s"
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
        wanted = failure.wait if isinstance(failure, DeliveryError) else 0.0
        held.due = now + max(held.delay, wanted)
        held.delay = min(2 * held.delay, self._longest_delay)
        if held.said is None or now - held.said >= self._longest_delay:
            held.said = now
            text = "%s: %s not delivered (attempt %d), will be retried: %s"
            arguments = (self._name, held.key, held.attempts, held.error)
            log.warning(text, *arguments, exc_info=defect)

    def _give_up(self, held: _Held[T], defect: Exception | None = None) -> None:
        held.error = held.error or "it expired before the first attempt"
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

    def _notify(self) -> None:
        if self._on_outcome is None or self._closed:
            return
        try:
            self._on_outcome()
        # The outcomes are kept, and the other items must be delivered.
        except Exception:
            log.exception("%s: the callback for an outcome failed", self._name)
