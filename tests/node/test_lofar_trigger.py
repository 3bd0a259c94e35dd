"""What reaches LOFAR of the triggers that reach its service, and when it does not."""

from __future__ import annotations

import os
import re
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import alerts
import pytest
from alerts import (
    Outcomes,
    any_triggers,
    of_same_pulse,
    paused,
    put,
    put_values,
    told,
    wait_until_done,
)
from hypothesis import given, settings
from msgspec import Struct
from msgspec.structs import replace
from nodes import Node, free_port, node, only, patience, wait_for

from darc.model.trigger import Trigger
from darc.node.node_config import load_config
from darc.runtime.clock import Since
from darc.runtime.paths import packaged
from darc.services.base.alerts import ArrivedTrigger
from darc.services.base.mails import MAIL
from darc.services.lofar_trigger import lofar_email
from darc.services.lofar_trigger.lofar_packet import MAX_DM, parse
from darc.services.lofar_trigger.service import LOFARTrigger, PendingPacket
from simulator.lofar import Lofar
from simulator.mailbox import Mailbox

SERVICE = "lofar_trigger"
WAIT = 20.0
TO = "somebody@example.org"
#: s: what is put in one entry is gathered.
INTERVAL = 0.3
#: What a datagram of the tests' own begins with.
MARK = b"mark "


class Site(Struct):
    """A node with nothing but the service, and LOFAR."""

    node: Node
    lofar: Lofar
    points: Path

    def put(self, *triggers: Trigger) -> None:
        put(self.node, SERVICE, *triggers)

    def reload(self, **settings: Any) -> None:
        """Change settings of the service."""
        alerts.reload(self.node, SERVICE, lofar_trigger=settings)

    def outcomes(self) -> Outcomes:
        return Outcomes(self.node, SERVICE)

    def log_since(self, mark: int) -> str:
        return self.node.log(SERVICE)[mark:]

    @property
    def mark(self) -> int:
        return len(self.node.log(SERVICE))


@pytest.fixture(scope="module")
def module_site(test_run: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    points = tmp_path_factory.mktemp("points")
    with Lofar() as lofar:
        services = only(SERVICE)
        ours = {"send_events": True, "interval": INTERVAL, "lofar_host": "127.0.0.1"}
        with node(test_run, darc_master=services, lofar_trigger=ours) as made:
            made.configure(lofar_trigger={"lofar_port": lofar.port})
            made.environment["DARC_FAULT_POINTS"] = str(points)
            made.start()
            yield Site(made, lofar, points)


@pytest.fixture
def site(module_site: Site) -> Iterator[Site]:
    """The module's, with the settings of before once the test is over."""
    with alerts.settings_kept(module_site.node, SERVICE):
        yield module_site


@pytest.fixture
def datagrams(site: Site) -> Datagrams:
    return Datagrams(site)


class Datagrams:
    """What comes from now on."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._before = len(site.lofar.received)

    def all(self) -> list[bytes]:
        """Also what has come and is not read yet: it is read before a mark that comes now."""
        mark = MARK + os.urandom(8)
        with socket.socket(type=socket.SOCK_DGRAM) as sender:
            sender.sendto(mark, ("127.0.0.1", self._site.lofar.port))
        wait_for(lambda: mark in self._read())
        return self._packets()

    def wait(self, count: int) -> list[bytes]:
        wait_for(lambda: len(self._packets()) >= count, WAIT)
        return self.all()

    def _read(self) -> list[bytes]:
        return [one.datagram for one in self._site.lofar.received[self._before :]]

    def _packets(self) -> list[bytes]:
        return [datagram for datagram in self._read() if not datagram.startswith(MARK)]

    def of_all_that_was_put(self) -> list[bytes]:
        wait_until_done(self._site.node, SERVICE)
        return self.all()


def trigger(**changes: Any) -> Trigger:
    """A trigger whose freeze time is no half of a millisecond: the service is right to 1 µs."""
    one = alerts.trigger(**changes)
    if 0 <= one.dm <= MAX_DM and abs((microseconds(one) + delay_us(one)) % 1000 - 500) < 2:
        utc = datetime.fromisoformat(one.utc) + timedelta(microseconds=10)
        return replace(one, utc=utc.isoformat(timespec="microseconds"))
    return one


def expected(one: Trigger, kind: str) -> bytes:
    """The bytes of the specification, by other arithmetic than the service's."""
    freeze_us = microseconds(one) + Fraction(2_500_000) + delay_us(one)
    milliseconds = int((Decimal(str(float(freeze_us / 1000)))).to_integral_value(ROUND_HALF_EVEN))
    tenths = int((Decimal(str(one.dm)) * 10).to_integral_value(ROUND_HALF_EVEN))
    numbers = (milliseconds // 1000, 4), (milliseconds % 1000, 2), (tenths, 2)
    packed = b"".join(number.to_bytes(size, "big") for number, size in numbers)
    return b"\x99\xa0" + packed + kind.encode()


def microseconds(one: Trigger) -> int:
    return (datetime.fromisoformat(one.utc) - datetime(1970, 1, 1)) // timedelta(microseconds=1)


def delay_us(one: Trigger) -> Fraction:
    """From the centre of the band to 200 MHz."""
    centre = Fraction(str(one.nu_GHz)) * 1000
    constant = Fraction("4148.808")
    return constant * Fraction(str(one.dm)) * (Fraction(1, 200**2) - 1 / centre**2) * 1_000_000


def frozen_at(fraction_of_second: str, **changes: Any) -> Trigger:
    """A trigger whose freeze time has such a fraction of a second."""
    one = trigger(**changes)
    freeze = microseconds(one) + 2_500_000 + delay_us(one)
    off = round(freeze) % 1_000_000 - int(Fraction(fraction_of_second) * 1_000_000)
    utc = datetime.fromisoformat(one.utc) - timedelta(microseconds=off)
    return replace(one, utc=utc.isoformat(timespec="microseconds"))


# -- the packet --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fraction", "milliseconds"), [("0.5012", 501), ("0.9994", 999), ("0.9996", 0)]
)
def test_the_bytes_are_those_of_the_specification(
    site: Site, datagrams: Datagrams, fraction: str, milliseconds: int
) -> None:
    one = frozen_at(fraction, dm=56.77)
    site.put(one)
    (datagram,) = datagrams.wait(1)
    assert datagram == expected(one, "T")
    assert len(datagram) == 11
    assert int.from_bytes(datagram[6:8], "big") == milliseconds
    assert int.from_bytes(datagram[8:10], "big") == 568


@pytest.mark.parametrize(("configured", "said", "kind"), [(True, False, "S"), (False, True, "T")])
def test_what_a_trigger_says_of_being_a_test_wins(
    site: Site, datagrams: Datagrams, configured: bool, said: bool, kind: str
) -> None:
    if not configured:
        site.reload(test=False)
    assert told(site.node, SERVICE, "test") is configured
    says_so, says_nothing = trigger(test=said), trigger()
    site.put(says_so, says_nothing)
    assert sorted(datagrams.wait(2)) == sorted(
        [expected(says_so, kind), expected(says_nothing, "T" if configured else "S")]
    )


def test_the_best_of_a_pulse_leaves(site: Site, datagrams: Datagrams) -> None:
    outcomes = site.outcomes()
    first = trigger(cb=0, snr=30.0, dm=400.0)
    known = {"name": "frb", "src_name": "FRB20121102A"}
    best = of_same_pulse(first, cb=2, snr=15.0, dm=402.0, **known)
    site.put(
        first,
        of_same_pulse(first, cb=1, snr=12.0, dm=401.0, **known),
        best,
        of_same_pulse(first, cb=3, snr=90.0, dm=403.0),
    )
    assert datagrams.of_all_that_was_put() == [expected(best, "T")]
    # Of new sources, the strongest; those that come in other entries too.
    strong = trigger(snr=31.0, dm=300.0)
    with paused(site.node, SERVICE):
        site.put(of_same_pulse(strong, snr=30.9, dm=299.0))
        site.put(strong)
    assert datagrams.of_all_that_was_put()[1:] == [expected(strong, "T")]
    outcomes.expect({"sent": 2, "of a pulse with a better trigger": 4})


def test_each_pulse_of_a_gather_window_leaves_once(site: Site, datagrams: Datagrams) -> None:
    outcomes = site.outcomes()
    one = trigger(dm=400.0)
    # Just beyond the interval, and seen before the other.
    other = replace(trigger(), dm=401.0, utc=_later(one.utc, INTERVAL + 0.001))
    site.put(other, one)
    assert sorted(datagrams.of_all_that_was_put()) == sorted(
        [expected(one, "T"), expected(other, "T")]
    )
    # Later beams of the first pulse bring nothing up again, nor hide a new one behind them.
    late = replace(of_same_pulse(one, snr=99.0), utc=_later(one.utc, -0.9 * INTERVAL))
    new = replace(trigger(), dm=402.0, utc=_later(one.utc, -1.1 * INTERVAL))
    site.put(late, new)
    assert datagrams.of_all_that_was_put()[2:] == [expected(new, "T")]
    outcomes.expect({"sent": 3, "of a pulse announced before": 1})


def _later(utc: str, seconds: float) -> str:
    time = datetime.fromisoformat(utc) + timedelta(seconds=seconds)
    return time.isoformat(timespec="microseconds")


def test_a_test_hides_no_observation(site: Site, datagrams: Datagrams) -> None:
    outcomes = site.outcomes()
    one = trigger(dm=400.0, test=True, snr=90.0)
    site.put(one)
    assert datagrams.wait(1) == [expected(one, "T")]
    real = of_same_pulse(one, dm=401.0, test=False)
    site.put(real, of_same_pulse(one))
    assert datagrams.of_all_that_was_put()[1:] == [expected(real, "S")]
    both = trigger(dm=300.0, snr=90.0, test=True)
    site.put(both, of_same_pulse(both, dm=301.0, snr=10.0, test=False))
    assert {datagram[-1:] for datagram in datagrams.of_all_that_was_put()[2:]} == {b"T", b"S"}
    outcomes.expect({"sent": 4, "of a pulse announced before": 1})


# -- bad input ---------------------------------------------------------------------------------


def test_a_dm_that_lofar_cannot_be_told(site: Site, datagrams: Datagrams) -> None:
    outcomes, mark = site.outcomes(), site.mark
    too_high = trigger(dm=7000.0, snr=50.0)
    good = of_same_pulse(too_high, dm=6553.5)
    site.put(too_high, good)
    assert datagrams.of_all_that_was_put() == [expected(good, "T")]
    outcomes.expect({"sent": 1, "cannot be told": 1})
    assert (
        f"trigger {too_high.identity}: DM 7000.0 does not fit into LOFAR's packet;"
        " allowed: 0 to 6553.5" in site.log_since(mark)
    )


@given(any_triggers())
@settings(max_examples=80, deadline=None)
def test_whatever_a_trigger_holds_there_is_a_packet_or_a_reason(
    service: LOFARTrigger, one: Trigger
) -> None:
    if not service.why_not(one):
        arrived = ArrivedTrigger(Since.now(), 0.0)
        packet = PendingPacket(one, True, arrived, 0.0, service.freeze_at(one))
        assert PendingPacket.from_plain(packet.to_plain()) == packet
        assert isinstance(packet.why_useless(60.0, 5.0, Since.now()), str)
        assert parse(packet.datagram).dm_tenths == round(Fraction(one.dm) * 10)
        assert lofar_email.compose(one, packet.freeze_at, test=True, sent_at=0.0)


@pytest.fixture(scope="module")
def service() -> Iterator[LOFARTrigger]:
    """One that serves nobody."""
    made = LOFARTrigger(load_config(packaged("conf/default.yaml")))
    yield made
    made.lofar.close()


BAD: dict[str, tuple[Any, str]] = {
    "NaN": ({"dm": float("nan")}, "dm: nan"),
    "infinite": ({"width": float("inf")}, "width: inf"),
    "a negative DM": ({"dm": -1.0}, "dm: -1.0"),
    "an S/N of a million": ({"snr": 1e6}, "snr: 1000000.0"),
    "a text": ({"dm": "many"}, "dm: 'many'"),
    "no time": ({"utc": "yesterday"}, "utc: 'yesterday'"),
    "what nobody knows": ({"colour": "red"}, "colour: unknown"),
}


def test_what_is_no_trigger_is_named_and_the_rest_goes(site: Site, datagrams: Datagrams) -> None:
    outcomes, mark = site.outcomes(), site.mark
    before = told(site.node, SERVICE, "bad_entries")
    good = trigger(name="frb", src_name="<b>&\n2026-01-01 ERROR </b>\x1b[2J", dm=400.0)
    for changes, _ in BAD.values():
        put_values(site.node, SERVICE, [[trigger().to_plain() | changes]])
    incomplete = trigger().to_plain()
    del incomplete["nu_GHz"]
    rubbish = [None, 7, "no list", b"\x80\xff" * 9, {}, [7], [None], [incomplete], [[]]]
    put_values(site.node, SERVICE, rubbish)
    odd = trigger(nu_GHz=1e-300)  # of which no delay can be made
    put_values(site.node, SERVICE, [[{}, good.to_plain(), odd.to_plain()], []])
    assert datagrams.of_all_that_was_put() == [expected(good, "T")]
    outcomes.expect({"sent": 1, "unusable": len(BAD) + len(rubbish) + 2})
    assert told(site.node, SERVICE, "bad_entries") - before == len(BAD) + len(rubbish) + 1
    log = site.log_since(mark)
    for _, text in BAD.values():
        assert text in log
    assert "nu_GHz: missing" in log
    assert good.identity in log
    assert "\n2026-01-01 ERROR" not in log
    assert "\x1b" not in log
    assert alerts.is_running(site.node, SERVICE)


def test_ten_thousand_triggers_of_a_pulse(site: Site, datagrams: Datagrams) -> None:
    outcomes = site.outcomes()
    best = trigger(dm=400.0, snr=60.0)
    others = [of_same_pulse(best, snr=59.0, dm=395.0 + number / 50) for number in range(500)]
    entry = [one.to_plain() for one in others]
    pid = site.node.pid(SERVICE)
    put_values(site.node, SERVICE, [[*entry[:-1], best.to_plain()]] + 19 * [entry])
    while SERVICE in alerts.command(site.node, "get_attr queue_depths"):
        assert site.node.pid(SERVICE) == pid
    assert alerts.is_running(site.node, SERVICE)
    assert datagrams.all() == [expected(best, "T")]
    counted = outcomes.of_all(10_000)
    assert counted.pop("sent") == 1
    assert sum(counted.values()) == 9999
    assert set(counted) <= {"of a pulse with a better trigger", "of a pulse announced before"}


def test_five_thousand_triggers_of_many_pulses(site: Site, datagrams: Datagrams) -> None:
    """As interference makes them: only so many at a time leave, the strongest."""
    outcomes, mark = site.outcomes(), site.mark
    pulses = [trigger(snr=20.0 + number, dm=10.0 + number) for number in range(120)]
    entries = [[of_same_pulse(one).to_plain() for one in pulses] for _ in range(42)]
    put_values(site.node, SERVICE, entries)
    while SERVICE in alerts.command(site.node, "get_attr queue_depths"):
        assert alerts.is_running(site.node, SERVICE)
    counted = outcomes.of_all(42 * 120)
    packets = datagrams.all()
    strongest = [expected(one, "T") for one in pulses[20:]]
    assert set(packets[:100]) == set(strongest)
    assert len(packets) == len(set(packets)), "a pulse left twice"
    assert counted["sent"] == len(packets)
    assert counted["too many at once"] >= 20
    assert sum(counted.values()) == 42 * 120
    assert "120 pulses within 0.3 s: the 20 weakest are not sent" in site.log_since(mark)


# -- deaths ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("point", "packets", "expected_outcomes"),
    [
        ("before sending", 1, {"sent again": 1, "of a pulse announced before": 1}),
        ("after sending", 2, {"sent again": 1, "of a pulse announced before": 1}),
        ("before committing", 1, {}),
        ("after committing", 1, {"sent again": 1, "of a pulse announced before": 1}),
    ],
)
def test_a_death_loses_no_pulse_and_counts_what_may_be_sent_twice(
    site: Site, datagrams: Datagrams, point: str, packets: int, expected_outcomes: dict[str, int]
) -> None:
    outcomes = site.outcomes()
    pid = site.node.pid(SERVICE)
    (site.points / f"{SERVICE}.{point}").touch()
    one = trigger()
    site.put(one)
    alerts.wait_for_successor(site.node, SERVICE, pid)
    assert datagrams.of_all_that_was_put() == packets * [expected(one, "T")]
    outcomes.expect({"sent": 1, **expected_outcomes})
    # Nor is it forgotten that it was sent.
    site.put(of_same_pulse(one, snr=99.0))
    assert datagrams.of_all_that_was_put() == packets * [expected(one, "T")]


# -- LOFAR away --------------------------------------------------------------------------------


def test_a_host_that_does_not_resolve(site: Site, datagrams: Datagrams) -> None:
    outcomes, mark = site.outcomes(), site.mark
    site.reload(lofar_host="nowhere.invalid")
    one = trigger()
    site.put(one)
    wait_until_done(site.node, SERVICE)
    assert told(site.node, SERVICE, "packets_waiting") == 1
    site.reload(age_limit=0.5)
    outcomes.expect({"given up": 1})
    assert alerts.is_running(site.node, SERVICE)
    log = site.log_since(mark)
    assert "ERROR lofar_trigger: LOFAR's host name nowhere.invalid cannot be resolved: " in log
    packet = rf"packet of {one.identity}"
    assert (
        len(re.findall(rf"{packet} not sent to LOFAR, trying again: nowhere.invalid: ", log)) == 1
    )
    assert len(re.findall(rf"{packet} given up: nowhere.invalid: ", log)) == 1
    wait_for(lambda: told(site.node, SERVICE, "packets_waiting") == 0)
    assert datagrams.all() == []


def test_a_port_where_nobody_listens_yet(site: Site) -> None:
    outcomes, mark = site.outcomes(), site.mark
    port = free_port()
    site.reload(lofar_port=port)
    one = trigger()
    site.put(one)
    wait_until_done(site.node, SERVICE)
    assert told(site.node, SERVICE, "packets_waiting") == 1
    alerts.kill(site.node, SERVICE)  # what waits outlives the process
    with Lofar(port) as late:
        assert [came.datagram for came in late.wait_for(1, patience(WAIT))] == [expected(one, "T")]
    outcomes.expect({"sent": 1, "sent again": 1})
    assert f"packet of {one.identity} not sent to LOFAR, trying again: " in site.log_since(mark)
    assert "Connection refused" in site.log_since(mark)


def test_a_port_where_nobody_listens_at_all(site: Site) -> None:
    outcomes = site.outcomes()
    site.reload(lofar_port=free_port(), age_limit=0.5)
    site.put(trigger())
    outcomes.expect({"given up": 1})
    assert alerts.is_running(site.node, SERVICE)


BUFFER, LIMIT = 5.0, 60.0  # s


def packet(
    freezes_in: float, ago: float = 0.0, waited: float = 0.0, *, test: bool
) -> PendingPacket:
    """One whose trigger arrived so long ago, and which freezes so long after that (s)."""
    taken = Since.now(ago)
    return PendingPacket(
        trigger(), test, ArrivedTrigger(taken, waited), 0.0, taken.unix + freezes_in
    )


@pytest.mark.parametrize("test", [True, False])
@pytest.mark.parametrize(
    ("freezes_in", "ago", "waited", "why"),
    [
        (20.0, 0.0, 0.0, ""),
        (20.0, 22.0, 0.0, ""),  # the pulse was in the middle of the buffer, and still is there
        (20.0, 23.0, 0.0, "has left LOFAR's buffers"),
        (20.0, 57.0, 0.0, "has left LOFAR's buffers"),
        (1e3, 59.0, 0.0, ""),
        (1e3, 61.0, 0.0, "it has waited for 61 s"),
        (1e3, 31.0, 30.0, "it has waited for 61 s"),  # the half of it on a worker
        (1e6, 36000.0, 0.0, "it has waited for 36000 s"),
    ],
)
def test_how_long_a_packet_is_of_use(
    freezes_in: float, ago: float, waited: float, why: str, test: bool
) -> None:
    one = packet(freezes_in, ago, waited, test=test)
    said = one.why_useless(LIMIT, BUFFER, Since.now())
    assert why in said
    assert bool(why) is bool(said)
    assert PendingPacket.from_plain(one.to_plain()).why_useless(LIMIT, BUFFER, Since.now()) == said


def test_a_test_of_an_old_pulse_tries_the_way_all_the_same() -> None:
    assert not packet(-1e6, test=True).why_useless(LIMIT, BUFFER, Since.now())
    assert packet(-1e6, test=False).why_useless(LIMIT, BUFFER, Since.now())


@pytest.mark.parametrize("set_by", [-3600.0, 3600.0])
def test_a_clock_that_is_set_makes_no_packet_older(
    monkeypatch: pytest.MonkeyPatch, set_by: float
) -> None:
    young, old = packet(20.0, test=False), packet(20.0, 25.0, test=False)
    now, begun = time.time(), Since.now()
    monkeypatch.setattr("darc.runtime.clock.time.time", lambda: now + set_by)
    assert not young.why_useless(LIMIT, BUFFER, begun)
    assert old.why_useless(LIMIT, BUFFER, begun)


@pytest.mark.parametrize("ahead", [10.0, 3600.0])
def test_a_clock_that_is_ahead_when_a_trigger_comes_loses_no_packet(ahead: float) -> None:
    """Before, it was right; or it was ahead before, and is right since."""
    right = Since.now()
    wrong = Since(right.unix + ahead, right.boot, right.seconds)
    for begun, taken in ((right, wrong), (wrong, right)):
        one = packet(0.0, test=False)
        one.arrived = ArrivedTrigger(taken, 0.0)
        assert not one.why_useless(LIMIT, BUFFER, begun)


def test_a_packet_that_an_earlier_version_remembered() -> None:
    """It kept times of day alone."""
    one = trigger()
    now = time.time()
    old = PendingPacket.from_plain([one.to_plain(), False, now - 37.0, now - 36.0, now - 33.0])
    assert "has left LOFAR's buffers" in old.why_useless(LIMIT, BUFFER, Since.now())
    assert not PendingPacket.from_plain(
        [one.to_plain(), False, now - 5.0, now - 4.0, now + 30.0]
    ).why_useless(LIMIT, BUFFER, Since.now())


def losses(site: Site, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = told(site.node, SERVICE, "losses") or {}
    return found.get(kind, {"number": 0, "last": []})


def test_what_would_freeze_nothing_any_more_does_not_leave_at_the_next_start(site: Site) -> None:
    """Its freeze time is over before LOFAR's port can be reached again."""
    outcomes, mark = site.outcomes(), site.mark
    before = losses(site, "freeze_lost")["number"]
    port = free_port()
    site.reload(lofar_port=port, lofar_tbb_buffer_size=2.0)
    one = trigger(test=False, dm=0.0, utc=_later("1970-01-01T00:00:00.000000", time.time() + 3.0))
    site.put(one)
    wait_until_done(site.node, SERVICE)
    freezes_at = parse(expected(one, "S")).time_ms / 1e3 - 2.5 + 1.0  # of a shorter buffer
    pid = site.node.pid(SERVICE)
    os.kill(pid, signal.SIGSTOP)  # until it is too late
    wait_for(lambda: time.time() > freezes_at + 1.5, WAIT)
    with Lofar(port) as back:
        os.kill(pid, signal.SIGKILL)
        alerts.wait_for_successor(site.node, SERVICE, pid)
        outcomes.expect({"expired": 1})
        assert told(site.node, SERVICE, "packets_waiting") == 0
        site.put(trigger(test=False, dm=321.0))  # the way is free
        (came,) = back.wait_for(1, patience(WAIT))
        assert parse(came.datagram).dm_tenths == 3210
        outcomes.expect({"expired": 1, "sent": 1})  # noted: the next process has nothing to do
    assert "sent again" not in site.log_since(mark)
    lost = losses(site, "freeze_lost")
    assert lost["number"] == before + 1
    assert lost["recent"]
    last = lost["last"][-1]
    assert (last["observation"], last["what"]) == (one.observation, one.identity)
    assert "the pulse has left LOFAR's buffers" in last["why"]
    # It is not forgotten with the process, and not counted again.
    alerts.kill(site.node, SERVICE)
    assert losses(site, "freeze_lost") == lost
    outcomes.expect({"expired": 1, "sent": 1})


def test_switched_off_while_packets_wait(site: Site) -> None:
    """They are dropped, also if it is on again before anybody looks."""
    outcomes = site.outcomes()
    port = free_port()
    site.reload(lofar_port=port)
    site.put(trigger())
    wait_until_done(site.node, SERVICE)
    alerts.command(site.node, "lofar_disable")
    alerts.command(site.node, "lofar_enable")
    with Lofar(port) as late:
        outcomes.expect({"not sent: disabled": 1})
        one = trigger()
        site.put(one)
        assert [came.datagram for came in late.wait_for(1, patience(WAIT))] == [expected(one, "T")]


# -- e-mail ------------------------------------------------------------------------------------


@pytest.fixture
def mailbox(site: Site) -> Iterator[Mailbox]:
    with Mailbox(free_port()) as made:
        site.node.configure(mail={"port": made.port})
        site.reload(email_settings={"to": [TO]})
        yield made


def rows(text: str) -> dict[str, str]:
    return dict(re.findall(r"^(.{12})  (.*)$", text, re.MULTILINE))


def test_an_email_follows_the_packet(site: Site, datagrams: Datagrams, mailbox: Mailbox) -> None:
    one = trigger(name="frb", src_name="FRB20121102A", dm=557.0, cb=7, test=False)
    site.put(one)
    (datagram,) = datagrams.wait(1)
    (received,) = mailbox.wait_for(1, patience(WAIT))
    message = received.message
    assert received.recipients == (TO,)
    assert message["Subject"] == "LOFAR trigger: FRB20121102A, DM 557, S/N 20"
    table = {name.strip(): value for name, value in rows(message.get_content()).items()}
    milliseconds = parse(datagram).time_ms
    seconds = datetime.fromtimestamp(milliseconds // 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    assert table.pop("Sent")
    assert table == {
        "Observation": one.datetimesource,
        "Task id": one.observation,
        "Source": "FRB20121102A (frb)",
        "DM": "557 ± 1.25 pc cm-3, of the catalogue",
        "DM as found": "557 ± 1.25 pc cm-3",
        "S/N": "20",
        "Arrival time": f"{one.utc.replace('T', ' ')} UTC at 1369.603 MHz, centre of the band,"
        " topocentric",
        "Width": "0.8192 ms",
        "Flux density": "4.037 Jy",
        "CB": "07",
        "SB or TAB": "35",
        "RA (ICRS)": "83.63308 deg  05:34:31.94",
        "Dec (ICRS)": "-22.01450 deg  -22:00:52.2",
        "Freeze time": f"{seconds}.{milliseconds % 1000:03d} UTC",
        "Test": "no",
    }
    # Nobody to send it to: none.
    site.reload(email_settings={"to": []})
    site.put(trigger())
    datagrams.wait(2)
    wait_until_done(site.node, SERVICE)
    assert told(site.node, SERVICE, "mails_waiting") == []
    assert len(mailbox.received) == 1


def test_a_mail_server_that_hangs_holds_up_no_packet(
    site: Site, datagrams: Datagrams, mailbox: Mailbox
) -> None:
    mailbox.never_answer = True
    one, other = trigger(), trigger()
    site.put(one)
    assert datagrams.wait(1) == [expected(one, "T")]
    wait_until_done(site.node, SERVICE)
    site.put(other)
    assert datagrams.wait(2) == [expected(one, "T"), expected(other, "T")]
    wait_until_done(site.node, SERVICE)
    wait_for(lambda: len(told(site.node, SERVICE, "mails_waiting") or ()) == 2)
    mailbox.close()
    with Mailbox(mailbox.port) as back:
        back.wait_for(2, patience(WAIT))
    wait_for(lambda: told(site.node, SERVICE, "mails_waiting") == [], WAIT)


def test_an_email_outlives_the_service_and_its_server(site: Site, datagrams: Datagrams) -> None:
    port = free_port()
    site.node.configure(mail={"port": port})
    site.reload(email_settings={"to": [TO]})
    one = trigger()
    site.put(one)
    assert datagrams.of_all_that_was_put() == [expected(one, "T")]
    alerts.kill(site.node, SERVICE)
    (waiting,) = wait_for(lambda: told(site.node, SERVICE, "mails_waiting"))
    assert waiting.startswith(one.identity)
    # It dies again once the server has it, before that is noted, and once more when it is.
    mark = site.mark
    for point in ("before committing", "after committing"):
        (site.points / f"{SERVICE}.{point}").touch()
    with Mailbox(port) as mailbox:
        first, second = mailbox.wait_for(2, patience(WAIT))
        wait_for(lambda: site.log_since(mark).count("started: process") == 2, WAIT)
        wait_for(lambda: site.node.runs_for_good(SERVICE), WAIT)
        wait_for(lambda: told(site.node, SERVICE, "mails_waiting") == [], WAIT)
        assert first.message["Message-ID"] == second.message["Message-ID"]
        assert first.message.get_content() == second.message.get_content()
    assert len(mailbox.received) == 2
    assert datagrams.all() == [expected(one, "T")]


def test_two_pulses_of_one_identity_have_an_email_each(
    site: Site, datagrams: Datagrams, mailbox: Mailbox
) -> None:
    """As a program may put them, which numbers nothing."""
    site.put(trigger(window=1, dm=400.0), trigger(window=1, dm=401.0))
    datagrams.wait(2)
    first, second = mailbox.wait_for(2, patience(WAIT))
    assert first.message["Message-ID"] != second.message["Message-ID"]


def test_a_mail_server_that_refuses(site: Site, datagrams: Datagrams, mailbox: Mailbox) -> None:
    mark = site.mark
    mailbox.refused = None
    one = trigger()
    site.put(one)
    assert datagrams.of_all_that_was_put() == [expected(one, "T")]
    log = wait_for(lambda: (text := site.log_since(mark)).count("given up") and text, WAIT)
    assert re.search(rf"e-mail: .*{one.identity}.* given up after 1 attempts: .* 550 ", log)
    wait_for(lambda: told(site.node, SERVICE, "mails_waiting") == [], WAIT)
    assert alerts.is_running(site.node, SERVICE)


def kept_mails(of: Node) -> int:
    """How many e-mails the service has committed and not deleted."""
    with closing(sqlite3.connect(of.run_dir / "journal.sqlite")) as database:
        query = "SELECT count(*) FROM memory WHERE service = ? AND key LIKE ?"
        return int(database.execute(query, (SERVICE, f"{MAIL}%")).fetchone()[0])


def test_an_address_that_is_none(site: Site, datagrams: Datagrams, mailbox: Mailbox) -> None:
    mark = site.mark
    site.reload(email_settings={"to": ["nobody at all"]})
    site.put(trigger())
    datagrams.of_all_that_was_put()
    wait_for(lambda: "no e-mail: the e-mail " in site.log_since(mark))
    wait_for(lambda: kept_mails(site.node) == 0)
    alerts.kill(site.node, SERVICE)
    assert site.log_since(mark).count("no e-mail: ") == 1
