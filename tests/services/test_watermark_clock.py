"""Watermarks go on, whatever is done to the clock."""

from __future__ import annotations

import time

import pytest
from msgspec import Struct

from darc.services.amber_listener.watermark_clock import WatermarkClock


class Clocks(Struct):
    unix: float = 1_700_000_000.0
    monotonic: float = 500.0


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    made = Clocks()
    monkeypatch.setattr(time, "time", lambda: made.unix)
    monkeypatch.setattr(time, "monotonic", lambda: made.monotonic)
    return made


def test_it_begins_at_the_unix_time(clocks: Clocks) -> None:
    assert WatermarkClock().now() == clocks.unix


@pytest.mark.parametrize("step", [-3600.0, 3600.0])
def test_a_clock_that_is_set_does_not_matter(clocks: Clocks, step: float) -> None:
    clock = WatermarkClock()
    before = clock.now()
    clocks.unix += step
    assert clock.now() == before
    clocks.monotonic += 2.0
    assert clock.now() == before + 2.0


def test_it_goes_on_from_the_last_stamp_of_before(clocks: Clocks) -> None:
    last = WatermarkClock().now()
    clocks.unix -= 3600.0
    clock = WatermarkClock(last)
    assert clock.now() == last
    clocks.monotonic += 2.0
    assert clock.now() == last + 2.0
    clocks.unix += 7200.0
    assert WatermarkClock(last).now() == clocks.unix
