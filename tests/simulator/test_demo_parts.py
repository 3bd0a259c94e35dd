"""The demo's parts: its bursts, whose is what that came, and the report."""

from __future__ import annotations

import math
from io import StringIO
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.console import Console

from darc.science.dispersion import delay
from darc.science.dump_window import dump_window
from simulator import demo_bursts, demo_receivers
from simulator.bursts import detections
from simulator.demo_bursts import (
    GATHER,
    SEARCH,
    SETTLE,
    WINDOW,
    BurstOutcomes,
    FoundTrigger,
    is_strong,
)
from simulator.demo_deliveries import ALERT_SETTLE, Arrival, Channel, deliver
from simulator.demo_receivers import Receivers
from simulator.demo_report import report
from simulator.demo_tables import Results
from simulator.generator import Burst, Truth
from simulator.player import WrittenLines

# -- bursts ----------------------------------------------------------------------------------------


def test_more_bursts_than_there_is_room_for_are_refused() -> None:
    with pytest.raises(ValueError, match="no room for 9 bursts"):
        demo_bursts.make(9, 8.0, 1)


@settings(max_examples=20, deadline=None)
@given(
    n=st.integers(1, 8),
    more=st.floats(0.0, 30.0),
    seed=st.integers(0, 2**32 - 1),
)
def test_each_burst_can_be_found_and_dumped(n: int, more: float, seed: int) -> None:
    duration = 6.0 * 1.03 * n + 4.0 + more
    truths = demo_bursts.make(n, duration, seed).truth
    read_to = 0.0
    for number, truth in enumerate(truths):
        burst = truth.burst
        assert is_strong(truth) == (number % 3 != 1)
        seen = [one for grid in SEARCH.grids for one in detections(burst, grid, SEARCH, duration)]
        # In one window, which closes before the observation ends.
        (window,) = {int(one.time(SEARCH) // WINDOW) for one in seen}
        assert (window + 1) * WINDOW + GATHER < duration
        if is_strong(truth):
            assert sum(one.snr >= 10 for one in seen) <= 100  # thresh_lofar.max_cands_per_cluster
        dump = dump_window(
            truth.time,
            delay(truth.dm, 1219.6, 1519.6),
            duration=duration,
            page=1.024,
            min_window_size=2.048,
            delay_end=2.048,
        )
        assert dump
        assert dump.start >= read_to
        read_to = dump.end
    dms = sorted(truth.dm for truth in truths)
    assert all(high - low > demo_bursts.DM_TOLERANCE for low, high in pairwise(dms))


def truth(time: float, dm: float, snr: float = 30.0) -> Truth:
    return Truth(Burst(time, dm, 10, snr, 5), 1, dm, 10, time, snr, 20)


def found(window: int, dm: float, snr: float = 30.0) -> FoundTrigger:
    return FoundTrigger(f"demo/{window}/3", window, dm, snr, 0.82, 5)


def test_triggers_are_told_apart() -> None:
    truths = [truth(2.5, 500.0), truth(7.5, 900.0)]
    own, echo, foreign = found(2, 500.4), found(2, 700.0, 12.0), found(5, 300.0)
    outcome = demo_bursts.match(truths, [echo, own, foreign])
    assert outcome.found == (own, None)
    assert outcome.echoes == (echo,)
    assert outcome.others == (foreign,)
    assert not outcome.complete
    assert outcome.triggers == 3


def test_one_trigger_is_not_two_bursts() -> None:
    outcome = demo_bursts.match([truth(2.3, 500.0), truth(2.6, 501.0)], [found(2, 500.5)])
    assert sum(map(bool, outcome.found)) == 1


def test_triggers_are_read_from_a_log() -> None:
    log = (
        "2026-11-22 17:11:53.780 INFO dada_trigger [demo]: trigger demo/4/8: candidate,"
        " DM 911.20, S/N 48.7, width 4.10 ms, beam 15\n"
        "2026-11-22 17:11:53.781 INFO dada_trigger [demo]: no dump requested\n"
        "2026-11-22 17:11:53.782 INFO dada_trigger [other]: trigger other/4/8: candidate,"
        " DM 911.20, S/N 48.7, width 4.10 ms, beam 15\n"
    )
    assert demo_bursts.triggers_in(log, "demo") == [
        FoundTrigger("demo/4/8", 4, 911.2, 48.7, 4.1, 15)
    ]


# -- deliveries ------------------------------------------------------------------------------------


STRONG, WEAK = truth(2.5, 500.0), truth(8.5, 900.0, 17.0)
ALL = tuple(Channel)


def written(batch: int, at: float) -> WrittenLines:
    return WrittenLines(Path("CB00_step1.trigger"), (batch + 1) * WINDOW, 3, 100, 0.0, at)


LINES = [written(2, 1000.1), written(2, 1000.0), written(8, 1006.0), written(3, 999.0)]


def came(channel: Channel, dm: float, at: float = 1003.0, *, good: bool = True) -> Arrival:
    return Arrival(channel, dm, at, "came", good)


def good_ones() -> list[Arrival]:
    strong = [came(channel, 500.3, 1002.5) for channel in ALL]
    return [*strong, came(Channel.IQUV, 900.0, 1007.25)]


def test_what_came_is_told_by_burst_with_its_latency() -> None:
    deliveries = deliver([STRONG, WEAK], LINES, good_ones(), ALL)
    assert deliveries.complete
    assert not deliveries.awaited
    strong, weak = deliveries.by_burst
    assert {one.latency for one in strong.values()} == {2.5}
    waits = [SETTLE, *[SETTLE + ALERT_SETTLE] * 3]
    assert [strong[channel].own_latency for channel in ALL] == [2.5 - wait for wait in waits]
    assert weak[Channel.IQUV].latency == 1.25
    assert [weak[channel].wanted for channel in ALL] == [True, False, False, False]
    assert math.isnan(weak[Channel.LOFAR].latency)


@pytest.mark.parametrize("channel", Channel)
def test_what_has_not_come_is_awaited(channel: Channel) -> None:
    rest = [one for one in good_ones() if one.channel is not channel]
    deliveries = deliver([STRONG, WEAK], LINES, rest, ALL)
    assert deliveries.awaited
    assert not deliveries.complete


@pytest.mark.parametrize(
    "more",
    [
        came(Channel.LOFAR, 500.0),  # twice
        came(Channel.VOEVENT, 900.0),  # too weak for it
        came(Channel.MAIL, 700.0),  # of no burst
        came(Channel.LOFAR, math.nan, good=False),
        came(Channel.IQUV, math.nan, good=False),
    ],
)
def test_what_is_too_much_is_not_complete(more: Arrival) -> None:
    deliveries = deliver([STRONG, WEAK], LINES, [*good_ones(), more], ALL)
    assert not deliveries.complete
    assert not deliveries.awaited


@pytest.mark.parametrize("bad", range(5))
def test_what_came_badly_is_not_complete(bad: int) -> None:
    arrivals = good_ones()
    arrivals[bad] = replace(arrivals[bad], good=False)
    assert not deliver([STRONG, WEAK], LINES, arrivals, ALL).complete


def test_the_dump_of_a_burst_at_a_wrong_dm_is_no_stray() -> None:
    deliveries = deliver([STRONG, WEAK], LINES, [*good_ones(), came(Channel.IQUV, 520.0)], ALL)
    assert deliveries.complete


# -- the report ------------------------------------------------------------------------------------


def printed(arrivals: list[Arrival], channels: tuple[Channel, ...] = ALL) -> str:
    truths = [STRONG, WEAK]
    outcome = BurstOutcomes((found(2, 500.0), None), (), ())
    console = Console(width=80, record=True, file=StringIO())
    report(console, Results(truths, outcome, deliver(truths, LINES, arrivals, channels)))
    return console.export_text()


def test_the_report_names_what_is_wrong() -> None:
    text = printed(
        [came(Channel.LOFAR, 500.0), came(Channel.LOFAR, 500.0), came(Channel.MAIL, 1.0)]
    )
    assert "1 of 2 bursts found. NOT as it should be" in text
    assert " NO " in text
    assert "2 times came" in text
    assert "e-mail of no burst, DM 1.0: came" in text
    assert max(map(len, text.splitlines())) <= 80


def test_without_a_mail_server_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_receivers, "find_spec", lambda name: None)
    receivers = Receivers()
    receivers.start()
    try:
        assert Channel.MAIL not in receivers.channels
        sections = receivers.sections
        assert "mail" not in sections
        assert sections["lofar_trigger"]["email_settings"] == {"to": []}
        assert receivers.arrivals() == []
        rest = [one for one in good_ones() if one.channel is not Channel.MAIL]
        text = printed(rest, receivers.channels)
    finally:
        receivers.close()
    assert "no mail server" in text
    assert "pip install 'darc[demo]'" in text
