"""Elapsed times do not follow a clock that is set."""

from __future__ import annotations

import time

import pytest

from darc.runtime import clock
from darc.runtime.clock import Instant, Since, least_age

HOUR = 3600.0
AGE = 5.0


@pytest.mark.parametrize("step", [HOUR, -HOUR, 10 * 365 * 24 * HOUR])
def test_how_long_ago_it_was_does_not_follow_a_clock_that_is_set(
    step: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    since = Since.from_plain(Since.now(ago=2.0).to_plain())
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + step)
    assert 2.0 <= since.age() < HOUR / 2


def test_over_a_start_of_the_machine_the_time_of_day_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    since = Since.now(ago=2.0)
    monkeypatch.setattr(clock, "this_boot", lambda: "another start")
    assert 2.0 <= since.age() < HOUR / 2


def test_a_time_of_day_alone_is_what_an_earlier_version_kept() -> None:
    assert 10.0 <= Since.from_plain(time.time() - 10.0).age() < HOUR
    assert Since.from_plain(time.time() + HOUR).age() == 0.0


def test_an_instant_is_before_and_behind() -> None:
    instant = Instant.now()
    assert instant.after(100.0).left() > 99.0 - instant.age()
    assert instant.age() >= 0.0
    assert instant < instant.after(1.0)


@pytest.mark.parametrize(
    ("ahead", "expected"),
    [
        ((0.0, 0.0), AGE),
        ((0.0, HOUR), AGE),
        ((HOUR, 0.0), AGE),
        ((0.0, 2.0), AGE),
        ((-HOUR, 0.0), AGE),  # by the first it is still to come
        ((0.0, -HOUR), AGE),
        ((HOUR, HOUR), AGE + HOUR),
        ((-HOUR, -HOUR), 0.0),
    ],
)
def test_one_right_clock_of_two_tells_how_long_ago_something_was(
    ahead: tuple[float, float], expected: float
) -> None:
    now = Since.now(ago=1.0)
    clocks = [Since(now.unix + seconds, now.boot, now.seconds) for seconds in ahead]
    assert least_age(now.time_of_day() - AGE, *clocks) == pytest.approx(expected, abs=1.0)
