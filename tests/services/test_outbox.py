"""Deliveries to systems that are away: real threads, a clock that runs as fast as it is asked."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from nodes import patience

from darc.delivery.outbox import Clock, DeliveryError, DeliveryOutcome, Outbox
from darc.runtime.log import LineFormatter, about

START = 1_558_223_480.0  # Unix s
WAIT = patience(20.0)  # s, for what has to come


class FastClock(Clock):
    """Waiting for a time takes none, unless the clock is held; it keeps how long was waited."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.unix_offset = START
        self.waits: list[float | None] = []
        self.waiting = threading.Semaphore(0)  # released before each wait
        self.running = threading.Event()
        self.running.set()

    def monotonic(self) -> float:
        return 1000.0 + self.passed

    def unix(self) -> float:
        return self.unix_offset + self.passed

    def wait(self, changed: threading.Condition, timeout: float | None) -> None:
        self.waits.append(timeout)
        self.waiting.release()
        if timeout is None or not self.running.is_set():
            changed.wait(WAIT)
        else:
            self.passed += timeout


class Remote:
    """The system outside: what reaches it, and when; ``answers`` says what comes of each item."""

    def __init__(self, clock: FastClock) -> None:
        self.clock = clock
        self.attempts: list[tuple[str, float]] = []
        self.answers: dict[str, Callable[[int], None]] = {}
        self.open = threading.Event()  # attempts end
        self.open.set()
        self.busy = threading.Semaphore(0)  # released when an attempt begins

    def attempt(self, item: str) -> None:
        self.attempts.append((item, self.clock.passed))
        self.busy.release()
        assert self.open.wait(WAIT)
        number = sum(name == item for name, _ in self.attempts)
        self.answers.get(item, lambda number: None)(number)

    def order(self) -> list[str]:
        return [item for item, _ in self.attempts]


def fails(times: float = float("inf"), error: Exception | None = None) -> Callable[[int], None]:
    def answer(number: int) -> None:
        if number <= times:
            raise error or DeliveryError("it is away")

    return answer


class Boxes:
    """Makes outboxes, which are closed when the test ends."""

    def __init__(self) -> None:
        self.clock = FastClock()
        self.remote = Remote(self.clock)
        self.told = threading.Semaphore(0)
        self._open = ExitStack()

    def make(self, **options: Any) -> Outbox[str]:
        settings: dict[str, Any] = {"on_outcome": self.told.release, "clock": self.clock, **options}
        box = Outbox("test", self.remote.attempt, **settings)
        self._open.callback(box.close, WAIT)
        return box

    def outcome(self, box: Outbox[str]) -> DeliveryOutcome:
        assert self.told.acquire(timeout=WAIT)
        (outcome,) = box.outcomes()
        return outcome

    def close(self) -> None:
        self.remote.open.set()
        self._open.close()


@pytest.fixture
def boxes() -> Iterator[Boxes]:
    made = Boxes()
    yield made
    made.close()
    names = [thread.name for thread in threading.enumerate()]
    assert "test outbox" not in names


@pytest.fixture
def remote(boxes: Boxes) -> Remote:
    return boxes.remote


@pytest.fixture
def clock(boxes: Boxes) -> FastClock:
    return boxes.clock


def test_what_goes_at_once_is_delivered_and_nothing_is_said(
    boxes: Boxes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    box = boxes.make()
    box.submit("a", "item", give_up_after=10)
    assert boxes.outcome(box) == DeliveryOutcome("a", START, 1, "")
    assert box.outcomes() == []
    assert box.waiting == ()
    assert caplog.messages == []


def test_back_off_doubles_up_to_the_longest_delay_and_ends_at_its_time(
    boxes: Boxes, remote: Remote
) -> None:
    box = boxes.make(first_delay=1.0, longest_delay=8.0)
    remote.answers["item"] = fails()
    box.submit("a", "item", give_up_after=30.5)
    assert boxes.outcome(box) == DeliveryOutcome("a", None, 6, "it is away")
    assert [passed for _, passed in remote.attempts] == [0.0, 1.0, 3.0, 7.0, 15.0, 23.0]
    assert boxes.clock.passed == 30.5


def test_each_item_has_a_back_off_of_its_own(boxes: Boxes, remote: Remote) -> None:
    box = boxes.make()
    remote.answers = {"first": fails(3), "second": fails(1)}
    box.submit("a", "first", give_up_after=100)
    assert boxes.outcome(box) == DeliveryOutcome("a", START + 7.0, 4, "it is away")
    box.submit("b", "second", give_up_after=100)
    assert boxes.outcome(box) == DeliveryOutcome("b", START + 8.0, 2, "it is away")


def test_a_delay_counts_from_the_end_of_the_attempt(boxes: Boxes, remote: Remote) -> None:
    def slow(number: int) -> None:
        boxes.clock.passed += 20.0
        if number == 1:
            raise DeliveryError("no answer")

    remote.answers["item"] = slow
    box = boxes.make(first_delay=2.0)
    box.submit("a", "item", give_up_after=100)
    assert boxes.outcome(box).delivered_at == START + 42.0
    assert [passed for _, passed in remote.attempts] == [0.0, 22.0]


def test_the_other_side_can_ask_for_a_longer_delay(boxes: Boxes, remote: Remote) -> None:
    def asked_too_often(number: int) -> None:
        if number < 4:
            raise DeliveryError("too often", wait=17.0 if number == 2 else 0.5)

    remote.answers["item"] = asked_too_often
    box = boxes.make(first_delay=1.0, longest_delay=8.0)
    box.submit("a", "item", give_up_after=100)
    assert boxes.outcome(box).attempts == 4
    # Its own delay goes on doubling meanwhile.
    assert [passed for _, passed in remote.attempts] == [0.0, 1.0, 18.0, 22.0]


def test_one_that_fails_holds_up_nobody_for_longer_than_its_attempt(
    boxes: Boxes, remote: Remote
) -> None:
    box = boxes.make()
    remote.answers["bad"] = fails(2)
    remote.open.clear()
    box.submit("1", "bad", give_up_after=100)
    assert remote.busy.acquire(timeout=WAIT)
    for key in ("2", "3", "4"):
        box.submit(key, f"good {key}", give_up_after=100)
    remote.open.set()
    for _ in range(4):
        assert boxes.told.acquire(timeout=WAIT)
    assert remote.order() == ["bad", "good 2", "good 3", "good 4", "bad", "bad"]
    assert [outcome.key for outcome in box.outcomes()] == ["2", "3", "4", "1"]


def test_what_is_due_longest_goes_first(boxes: Boxes, remote: Remote, clock: FastClock) -> None:
    box = boxes.make(first_delay=5.0)

    def take_a_minute(number: int) -> None:
        clock.passed = 60.0
        box.submit("late", "late", give_up_after=100)

    remote.answers = {"early": fails(1), "slow": take_a_minute}
    remote.open.clear()
    box.submit("early", "early", give_up_after=100)
    assert remote.busy.acquire(timeout=WAIT)
    box.submit("slow", "slow", give_up_after=100)
    remote.open.set()
    for _ in range(3):
        assert boxes.told.acquire(timeout=WAIT)
    assert remote.order() == ["early", "slow", "early", "late"]


def test_a_permanent_failure_is_given_up_at_once(
    boxes: Boxes, remote: Remote, caplog: pytest.LogCaptureFixture
) -> None:
    box = boxes.make()
    remote.answers["item"] = fails(error=DeliveryError("no such user", permanent=True))
    box.submit("a", "item", give_up_after=100)
    assert boxes.outcome(box) == DeliveryOutcome("a", None, 1, "no such user")
    assert caplog.messages == ["test: a given up after 1 attempts: no such user"]


def test_a_defect_is_shown_with_its_traceback_and_tried_again(
    boxes: Boxes, remote: Remote, caplog: pytest.LogCaptureFixture
) -> None:
    box = boxes.make()
    remote.answers["item"] = fails(2, ZeroDivisionError("nothing to divide by"))
    box.submit("a", "item", give_up_after=100)
    reason = "ZeroDivisionError: nothing to divide by"
    assert boxes.outcome(box) == DeliveryOutcome("a", START + 3.0, 3, reason)
    (record,) = (entry for entry in caplog.records if entry.levelno == logging.WARNING)
    assert record.getMessage() == f"test: a not delivered (attempt 1), will be retried: {reason}"
    assert record.exc_text
    assert "in answer" in record.exc_text


def test_what_is_too_late_when_handed_in_is_not_tried(boxes: Boxes, remote: Remote) -> None:
    box = boxes.make()
    box.submit("a", "item", give_up_after=-1)
    outcome = boxes.outcome(box)
    assert (outcome.delivered_at, outcome.attempts) == (None, 0)
    assert "expired before the first attempt" in outcome.error
    assert remote.attempts == []


def test_an_attempt_that_begins_in_time_counts_though_it_ends_late(
    boxes: Boxes, remote: Remote
) -> None:
    remote.answers["item"] = lambda number: setattr(boxes.clock, "passed", 30.0)
    box = boxes.make()
    box.submit("a", "item", give_up_after=10)
    assert boxes.outcome(box) == DeliveryOutcome("a", START + 30.0, 1, "")


@pytest.mark.parametrize("set_by", [-1000.0, 1000.0])
def test_a_time_of_day_that_is_set_moves_neither_the_end_nor_the_attempts(
    boxes: Boxes, remote: Remote, clock: FastClock, set_by: float
) -> None:
    def answer(number: int) -> None:
        if number == 2:
            clock.unix_offset += set_by
        raise DeliveryError("it is away")

    remote.answers["item"] = answer
    box = boxes.make(longest_delay=300.0)
    box.submit("a", "item", give_up_after=500)
    assert boxes.outcome(box).delivered_at is None
    passed = [passed for _, passed in remote.attempts]
    assert passed == [0, 1, 3, 7, 15, 31, 63, 127, 255]
    assert clock.passed == 500.0


def test_a_key_that_is_held_or_whose_outcome_was_not_taken_is_ignored(
    boxes: Boxes, remote: Remote
) -> None:
    box = boxes.make()
    remote.open.clear()
    box.submit("a", "item", give_up_after=100)
    assert remote.busy.acquire(timeout=WAIT)
    box.submit("a", "again", give_up_after=100)
    remote.open.set()
    assert boxes.told.acquire(timeout=WAIT)
    box.submit("a", "again", give_up_after=100)
    assert [outcome.key for outcome in box.outcomes()] == ["a"]
    box.submit("a", "anew", give_up_after=100)
    assert boxes.outcome(box).key == "a"
    assert remote.order() == ["item", "anew"]


def test_a_failure_that_comes_late_is_the_last(
    boxes: Boxes, remote: Remote, caplog: pytest.LogCaptureFixture
) -> None:
    def late(number: int) -> None:
        boxes.clock.passed = 30.0
        raise DeliveryError("it is away")

    remote.answers["item"] = late
    box = boxes.make()
    box.submit("a", "item", give_up_after=10)
    assert boxes.outcome(box) == DeliveryOutcome("a", None, 1, "it is away")
    assert caplog.messages == ["test: a given up after 1 attempts: it is away"]


@pytest.fixture
def under_way(boxes: Boxes, remote: Remote) -> Outbox[str]:
    """An outbox in which 'now' is being attempted, and 'b' and 'c' wait."""
    box = boxes.make()
    remote.open.clear()
    box.submit("now", "now", give_up_after=100)
    assert remote.busy.acquire(timeout=WAIT)
    box.submit("b", "b", give_up_after=100)
    box.submit("c", "c", give_up_after=100)
    return box


def test_a_key_that_waits_keeps_its_item(
    boxes: Boxes, remote: Remote, under_way: Outbox[str]
) -> None:
    under_way.submit("b", "another", give_up_after=100)
    remote.open.set()
    for _ in range(3):
        assert boxes.told.acquire(timeout=WAIT)
    assert remote.order() == ["now", "b", "c"]


def test_withdrawn_is_what_waits(boxes: Boxes, remote: Remote, under_way: Outbox[str]) -> None:
    assert under_way.withdraw() == ["b", "c"]
    assert [entry.key for entry in under_way.waiting] == ["now"]
    remote.open.set()
    assert boxes.outcome(under_way) == DeliveryOutcome("now", START, 1, "")
    under_way.submit("d", "d", give_up_after=100)
    assert boxes.outcome(under_way).key == "d"
    assert remote.order() == ["now", "d"]


def test_what_fails_once_it_is_withdrawn_is_not_tried_again(
    boxes: Boxes, remote: Remote, under_way: Outbox[str]
) -> None:
    remote.answers["now"] = fails()
    under_way.withdraw()
    remote.open.set()
    assert boxes.outcome(under_way) == DeliveryOutcome("now", None, 1, "it is away", withdrawn=True)
    assert remote.order() == ["now"]


def test_one_can_be_dropped(boxes: Boxes, remote: Remote, under_way: Outbox[str]) -> None:
    remote.answers["now"] = fails()
    assert under_way.drop("b")
    assert not under_way.drop("b")
    assert [entry.key for entry in under_way.waiting] == ["now", "c"]
    assert under_way.drop("c")
    assert not under_way.drop("now")  # it is being tried, for the last time
    remote.open.set()
    assert boxes.outcome(under_way) == DeliveryOutcome("now", None, 1, "it is away", withdrawn=True)
    assert remote.order() == ["now"]


def test_what_is_wanted_again_during_its_attempt_is_tried_again(
    boxes: Boxes, remote: Remote, under_way: Outbox[str]
) -> None:
    remote.answers["now"] = fails(1)
    assert under_way.withdraw() == ["b", "c"]
    under_way.submit("now", "anew", give_up_after=200)
    remote.open.set()
    assert boxes.outcome(under_way) == DeliveryOutcome("now", START + 1.0, 2, "it is away")
    assert remote.order() == ["now", "anew"]


def test_what_waits_for_another_attempt_is_told_and_can_be_withdrawn(
    boxes: Boxes, remote: Remote, clock: FastClock
) -> None:
    box = boxes.make(first_delay=4.0)
    remote.answers["item"] = fails()
    clock.running.clear()
    box.submit("a", "item", give_up_after=100)
    assert remote.busy.acquire(timeout=WAIT)
    assert clock.waiting.acquire(timeout=WAIT)
    while clock.waits[-1] is None:  # until it waits for the second attempt
        assert clock.waiting.acquire(timeout=WAIT)
    (entry,) = box.waiting
    assert (entry.key, entry.attempts, entry.error) == ("a", 1, "it is away")
    assert box.withdraw() == ["a"]
    assert box.waiting == ()


def test_failures_are_said_first_and_then_once_per_longest_delay(
    boxes: Boxes, remote: Remote, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    box = boxes.make(first_delay=1.0, longest_delay=10.0)
    remote.answers["item"] = fails(8)  # at 0, 1, 3, 7, 15, 25, 35, 45; goes at 55
    box.submit("a", "item", give_up_after=100)
    assert boxes.outcome(box).delivered_at == START + 55
    assert caplog.messages == [
        *(
            f"test: a not delivered (attempt {attempt}), will be retried: it is away"
            for attempt in (1, 5, 6, 7, 8)
        ),
        "test: a delivered at attempt 9, after 55.0 s",
    ]


def test_an_end_is_said_with_the_last_reason(
    boxes: Boxes, remote: Remote, caplog: pytest.LogCaptureFixture
) -> None:
    box = boxes.make()
    remote.answers["item"] = fails()
    box.submit("a", "item", give_up_after=2)
    boxes.outcome(box)
    assert caplog.records[-1].levelno == logging.ERROR
    assert caplog.messages[-1] == "test: a given up after 2 attempts: it is away"


def test_log_lines_carry_the_observation_it_was_handed_in_for(
    boxes: Boxes, remote: Remote, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.handler.setFormatter(LineFormatter("a_service"))
    box = boxes.make()
    remote.answers["item"] = fails()
    with about("190518009"):
        box.submit("a", "item", give_up_after=2)
    boxes.outcome(box)
    lines = caplog.text.splitlines()
    assert len(lines) == 2
    assert all("a_service [190518009]: test: a " in line for line in lines)


def test_it_sleeps_where_there_is_nothing_to_do(boxes: Boxes, clock: FastClock) -> None:
    box = boxes.make()
    assert clock.waiting.acquire(timeout=WAIT)
    box.submit("a", "item", give_up_after=100)
    boxes.outcome(box)
    assert clock.waiting.acquire(timeout=WAIT)
    assert clock.waits == [None, None]


def test_a_listener_that_raises_ends_nothing(
    boxes: Boxes, caplog: pytest.LogCaptureFixture
) -> None:
    told = threading.Semaphore(0)

    def broken() -> None:
        told.release()
        raise KeyError("nobody")

    box = boxes.make(on_outcome=broken)
    for key in ("a", "b"):
        box.submit(key, key, give_up_after=100)
        assert told.acquire(timeout=WAIT)
    assert [outcome.key for outcome in box.outcomes()] == ["a", "b"]
    assert "the callback for an outcome failed" in caplog.text


def test_once_closed_nothing_begins(boxes: Boxes, remote: Remote, under_way: Outbox[str]) -> None:
    under_way.close()
    with pytest.raises(RuntimeError, match="closed"):
        under_way.submit("d", "d", give_up_after=100)
    remote.open.set()
    under_way.close(WAIT)
    assert remote.order() == ["now"]
    assert not boxes.told.acquire(blocking=False)


@pytest.mark.parametrize("time", [float("inf"), float("nan")])
def test_everything_has_an_end(boxes: Boxes, time: float) -> None:
    with pytest.raises(ValueError, match="cannot be given up"):
        boxes.make().submit("a", "item", give_up_after=time)


@pytest.mark.parametrize("delays", [(0.0, 1.0), (2.0, 1.0), (1.0, float("inf"))])
def test_delays_that_are_none(boxes: Boxes, delays: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="invalid delays"):
        boxes.make(first_delay=delays[0], longest_delay=delays[1])


def test_by_the_real_clock(boxes: Boxes, remote: Remote) -> None:
    clock = Clock()
    box = boxes.make(clock=clock, first_delay=0.01, longest_delay=0.02)
    remote.answers = {"away": fails(3), "gone": fails()}
    before = clock.unix()
    box.submit("a", "away", give_up_after=WAIT)
    outcome = boxes.outcome(box)
    assert outcome.attempts == 4
    assert outcome.delivered_at is not None
    assert before <= outcome.delivered_at <= clock.unix()
    limit = patience(0.2)  # or it expires before the first attempt
    end = clock.monotonic() + limit
    box.submit("b", "gone", give_up_after=limit)
    outcome = boxes.outcome(box)
    assert (outcome.delivered_at, outcome.error) == (None, "it is away")
    assert clock.monotonic() >= end
