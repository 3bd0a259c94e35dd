"""What reaches a VOEvent broker of the triggers that reach their service, and when it does not."""

from __future__ import annotations

import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    trigger,
    wait_until_done,
)
from comet.protocol import messages
from hypothesis import given, settings
from msgspec import Struct
from msgspec.structs import replace
from nodes import Node, free_port, node, only, patience, wait_for
from voevents import kept_copy, params, read_event

from darc.model.event import RoadName, Tense
from darc.model.trigger import Trigger
from darc.node.node_config import load_config
from darc.runtime.clock import Since
from darc.runtime.paths import packaged
from darc.services.base.alerts import Alerts, ArrivedTrigger, ChosenTrigger
from darc.services.voevent_generator.pending_event import PendingEvent
from darc.services.voevent_generator.service import VOEventGenerator
from simulator.comet_broker import CometBroker, Subscriber

SERVICE = "voevent_generator"
WAIT = 30.0
STREAM = "nl.example/alert"


class Site(Struct):
    """A node with nothing but the service, and the broker."""

    node: Node
    broker: CometBroker
    points: Path

    def put(self, *triggers: Trigger) -> None:
        put(self.node, SERVICE, *triggers)

    def reload(self, **settings: Any) -> None:
        """Change settings of the service."""
        alerts.reload(self.node, SERVICE, **{SERVICE: settings})

    def outcomes(self) -> Outcomes:
        return Outcomes(self.node, SERVICE)

    def waiting(self) -> list[str]:
        """Why events wait."""
        found: list[str] = wait_for(lambda: told(self.node, SERVICE, "events_waiting"), WAIT)
        return found

    def file(self, one: Trigger) -> bytes:
        return kept_copy(self.node.home / "voevents", f"{one.utc}.xml")

    def log_since(self, mark: int) -> str:
        return self.node.log(SERVICE)[mark:]

    @property
    def mark(self) -> int:
        return len(self.node.log(SERVICE))


@pytest.fixture(scope="module")
def module_site(test_run: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    points = tmp_path_factory.mktemp("points")
    with CometBroker(free_port(), free_port()) as broker:
        services = only(SERVICE)
        ours = {"send_events": True, "interval": 0.3, "broker_timeout": 1.0, "stream": STREAM}
        with node(test_run, darc_master=services, voevent_generator=ours) as made:
            made.configure(
                voevent_generator={"broker_host": "127.0.0.1", "broker_port": broker.port}
            )
            made.environment["DARC_FAULT_POINTS"] = str(points)
            made.start()
            yield Site(made, broker, points)


@pytest.fixture
def site(module_site: Site) -> Iterator[Site]:
    """The module's, with the settings of before once the test is over."""
    with alerts.settings_kept(module_site.node, SERVICE):
        yield module_site
    wait_for(lambda: told(module_site.node, SERVICE, "events_waiting") == [], WAIT)


@pytest.fixture
def subscriber(site: Site) -> Iterator[Subscriber]:
    with Subscriber(site.broker.broadcast_port) as made:
        yield made


def events(subscriber: Subscriber, count: int) -> list[bytes]:
    """All that came, once it is that many."""
    return [one.event for one in subscriber.wait_for(count, patience(WAIT))]


def dm(event: bytes) -> float:
    """Which of a test's triggers it is."""
    return float(params(read_event(event))["event parameters"]["dm"].get("value"))


# -- the event ---------------------------------------------------------------------------------


def test_what_arrives_is_what_was_kept(site: Site, subscriber: Subscriber) -> None:
    outcomes = site.outcomes()
    one = trigger(snr=30.0)
    site.put(of_same_pulse(one, name="frb", snr=29.0, dm=499.0), one)
    (event,) = events(subscriber, 1)
    assert event == site.file(one)
    parsed = read_event(event)
    assert parsed.get("role") == "test"
    minute = re.sub(r"\D", "", one.utc[2:16])
    assert re.fullmatch(rf"ivo://{STREAM}#FRB{minute}/\d{{5}}\.\d+", parsed.get("ivorn"))
    found = params(parsed)["event parameters"]
    assert (found["dm"].get("value"), found["snr"].get("value")) == ("500.0", "30.0")
    # Other beams of the same pulse come late, and bring nothing up again.
    site.put(of_same_pulse(one, snr=99.0))
    wait_until_done(site.node, SERVICE)
    outcomes.expect(
        {
            "accepted": 1,
            "of a pulse with a better trigger": 1,
            "of a pulse announced before": 1,
        }
    )
    assert len(subscriber.received) == 1


@pytest.mark.parametrize(("configured", "said"), [(True, False), (False, True)])
def test_the_role(site: Site, subscriber: Subscriber, configured: bool, said: bool) -> None:
    if not configured:
        site.reload(test=False)
    roles = {True: "test", False: "observation"}
    first = trigger(dm=400.0, test=said)
    # In one gather window with the other, which is neither better nor worse but of another kind.
    site.put(first, of_same_pulse(first, dm=401.0, test=None))
    came = {dm(event): read_event(event).get("role") for event in events(subscriber, 2)}
    assert came == {400.0: roles[said], 401.0: roles[configured]}


def test_each_pulse_has_an_event_of_its_own(site: Site, subscriber: Subscriber) -> None:
    """Even where a program gives all the same identity."""
    pulses = [trigger(window=1, dm=400.0 + number) for number in range(3)]
    site.put(*pulses)
    came = events(subscriber, 3)
    assert {dm(event) for event in came} == {400.0, 401.0, 402.0}
    assert len({read_event(event).get("ivorn") for event in came}) == 3
    for event in came:
        assert event == site.file(pulses[int(dm(event)) - 400])


def test_what_other_roads_need_is_not_loaded(site: Site, subscriber: Subscriber) -> None:
    site.put(trigger(dm=400.0))
    events(subscriber, 1)
    loaded = Path(f"/proc/{site.node.pid(SERVICE)}/maps").read_text()
    assert "lxml" in loaded
    assert not re.search("rdkafka|rpds|confluent", loaded)


# -- bad input ---------------------------------------------------------------------------------


def test_what_cannot_be_told_is_named_and_the_rest_goes(site: Site, subscriber: Subscriber) -> None:
    outcomes, mark = site.outcomes(), site.mark
    before = told(site.node, SERVICE, "bad_entries")
    entries = [
        [
            *(trigger(dm=float("nan")).to_plain(), {}, trigger(snr=1e6).to_plain()),
            trigger().to_plain() | {"utc": "9999-12-31T23:59:59-12:00"},
        ],
        "no list",
        b"\x80\xff",
        [trigger(dm=-1.0).to_plain(), trigger(flux=float("inf")).to_plain()],
    ]
    put_values(site.node, SERVICE, entries)
    beyond = trigger(src_name="\x00", dm=300.0)
    markup = trigger(name="frb", src_name="<Param name='x'/>&\n]]>", dm=301.0)
    # LOFAR cannot be told this; and what one may write for a time.
    high = trigger(dm=7000.0)
    odd = replace(trigger(dm=302.0), utc=trigger().utc.replace("T", "\x00"))
    site.put(beyond, markup, high, odd)
    came = {dm(event): event for event in events(subscriber, 3)}
    assert set(came) == {301.0, 302.0, 7000.0}
    name = read_event(came[301.0]).Why.Name
    assert name.text == "<Paramname='x'/>&]]>"
    outcomes.expect({"accepted": 3, "unusable": 8, "cannot be told": 1})
    assert told(site.node, SERVICE, "bad_entries") - before == 4
    log = site.log_since(mark)
    for text in ("dm: nan", "str where a list of triggers is expected", "dm: -1.0"):
        assert text in log
    assert f"no VOEvent of {beyond.identity}: " in log
    assert "no file of the VOEvent kept: embedded null" in log
    # That pulse was not announced: one who can be told of it is not hidden.
    site.put(of_same_pulse(beyond, src_name=None))
    assert dm(events(subscriber, 4)[-1]) == 300.0
    outcomes.expect({"accepted": 4, "unusable": 8, "cannot be told": 1})
    assert alerts.is_running(site.node, SERVICE)


@given(any_triggers())
@settings(max_examples=40, deadline=None)
def test_whatever_a_trigger_holds_there_is_an_event_or_a_reason(
    generator: VOEventGenerator, one: Trigger
) -> None:
    made = generator.compose(ChosenTrigger(one, True, ArrivedTrigger(Since.now(), 0.0), 0.0))
    assert made is None or read_event(made.xml) is not None


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> VOEventGenerator:
    """One that serves nobody, and has no master to commit to."""
    config = load_config(packaged("conf/default.yaml"))
    directory = str(tmp_path_factory.mktemp("voevents"))
    own = replace(config.voevent_generator, voevent_dir=directory)
    made = VOEventGenerator(
        replace(config, of_services={**config.of_services, "voevent_generator": own})
    )
    made.commit = lambda commit: None  # type: ignore[method-assign]
    return made


def test_an_event_that_was_remembered_is_given_up_when_it_would_have_been() -> None:
    """Also by earlier versions, which knew no roads, or kept the time of day of that."""
    one = trigger()
    road = RoadName.KAFKA, "20261122T193908-aaaaaa", 2, Tense.CURRENT
    times = 1.0, 2.0, Since.now(), 600.0
    event = PendingEvent(one.identity, one.observation, b"<xml/>", one.stages, *times, *road)
    plain = event.to_plain()
    assert PendingEvent.from_plain(plain) == event
    assert PendingEvent.from_plain(plain[:8]) == replace(
        event, road=RoadName.VTP, event_id="", number=1, tense=Tense.TEST
    )
    now = time.time()
    old = PendingEvent.from_plain([*plain[:4], now - 100.0, now - 99.0, now + 500.0])
    assert old.give_up_after - old.made.age() == pytest.approx(500.0, abs=5.0)


def test_what_a_version_before_left_goes_on_being_sent_as_a_voevent(
    generator: VOEventGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had one road, and remembered no events; here sending is disabled, so it is withdrawn."""
    monkeypatch.setattr(Alerts, "recover", lambda self, memory: None)
    one = trigger()
    times = 1.0, 2.0, Since.now(), 600.0
    item = PendingEvent(one.identity, one.observation, b"<xml/>", one.stages, *times)
    key = f"event {one.identity} {one.utc} test"
    before = generator.outcomes.get("withdrawn", 0)
    generator.recover({key: item.to_plain()[:8], "send_events": False})

    def withdrawn() -> bool:
        generator.idle()
        return generator.outcomes.get("withdrawn", 0) == before + 1

    wait_for(withdrawn)
    assert generator.events_waiting == []
    assert generator.notices == {"vtp withdrawn": 1}


def test_ten_thousand_triggers(site: Site, subscriber: Subscriber) -> None:
    """Of twenty pulses, the best first."""
    outcomes = site.outcomes()
    pulses = [trigger(snr=50.0, dm=400.0 + number) for number in range(20)]
    others = [of_same_pulse(one, snr=49.0, dm=one.dm + 4) for one in pulses for _ in range(25)]
    entry = [one.to_plain() for one in others]
    first = entry[:480] + [one.to_plain() for one in pulses]
    pid = site.node.pid(SERVICE)
    put_values(site.node, SERVICE, [first] + 19 * [entry])
    alerts.wait_until_done(site.node, SERVICE, 60.0)
    assert site.node.pid(SERVICE) == pid
    came = events(subscriber, 20)
    assert sorted(map(dm, came)) == [400.0 + number for number in range(20)]
    wait_for(lambda: told(site.node, SERVICE, "events_waiting") == [], WAIT)
    counted = outcomes.of_all(10_000)
    assert counted.pop("accepted") == 20
    assert sum(counted.values()) == 9980
    assert set(counted) <= {"of a pulse with a better trigger", "of a pulse announced before"}


def test_a_directory_that_cannot_be_written_to(site: Site, subscriber: Subscriber) -> None:
    mark = site.mark
    file = site.node.home / "a_file"
    file.write_text("")
    site.reload(voevent_dir=str(file / "voevents"))
    one = trigger(dm=400.0)
    site.put(one)
    assert dm(events(subscriber, 1)[0]) == 400.0
    why = "no file of the VOEvent kept: [Errno 20] Not a directory"
    wait_for(lambda: why in site.log_since(mark), WAIT)


def test_files_of_old_events_go(site: Site, subscriber: Subscriber) -> None:
    directory = site.node.home / "few"
    directory.mkdir()
    for day in range(10, 20):
        (directory / f"2001-01-{day}T00:00:00.xml").write_text("")
    site.reload(voevent_dir=str(directory), files_kept=3)
    site.put(trigger(dm=400.0))
    assert dm(events(subscriber, 1)[0]) == 400.0
    wait_for(lambda: len(list(directory.glob("*.xml"))) == 3, WAIT)
    assert len(list(directory.glob("2001-01-1[89]*.xml"))) == 2


# -- deaths and brokers that are away ----------------------------------------------------------


def test_a_death_does_not_double_an_event(site: Site, subscriber: Subscriber) -> None:
    """The broker knows that it has it."""
    outcomes = site.outcomes()
    pid = site.node.pid(SERVICE)
    (site.points / f"{SERVICE}.after sending").touch()
    one = trigger()
    site.put(one)
    alerts.wait_for_successor(site.node, SERVICE, pid)
    wait_until_done(site.node, SERVICE)
    outcomes.expect({"accepted": 1})
    assert events(subscriber, 1) == [site.file(one)]


def test_a_broker_that_is_not_there_yet(site: Site) -> None:
    outcomes, mark = site.outcomes(), site.mark
    site.broker.stop()
    one = trigger()
    try:
        site.put(one)
        wait_until_done(site.node, SERVICE)
        kept = site.file(one)
        alerts.kill(site.node, SERVICE)
        wait_for(lambda: "connection failed" in site.waiting()[0], WAIT)
        assert site.waiting()[0].startswith(one.identity)
    finally:
        with paused(site.node, SERVICE):  # until all is there to see the event come
            site.broker.start()
            subscriber = Subscriber(site.broker.broadcast_port).__enter__()
    try:
        assert events(subscriber, 1) == [kept]
        outcomes.expect({"accepted": 1})
        assert len(subscriber.received) == 1
    finally:
        subscriber.__exit__(None, None, None)
    log = site.log_since(mark)
    assert "not delivered (attempt 1), will be retried: 127.0.0.1:" in log
    assert f"goes on being sent: {one.identity}" in log


@pytest.mark.parametrize("again_at_once", [False, True])
def test_switched_off_while_events_wait(site: Site, again_at_once: bool) -> None:
    """They never leave, also not when it is on again, and be it before anybody looks."""
    outcomes = site.outcomes()
    broker_port = site.broker.port
    site.reload(broker_port=free_port())
    dropped = trigger(dm=300.0)
    site.put(dropped)
    wait_for(lambda: "connection failed" in site.waiting()[0], WAIT)
    assert alerts.command(site.node, "voevent_disable") == "VOEvent sending disabled"
    if not again_at_once:
        outcomes.expect({"withdrawn": 1})
    assert alerts.command(site.node, "voevent_enable") == "VOEvent sending enabled"
    if not again_at_once:
        alerts.kill(site.node, SERVICE)
    with Subscriber(site.broker.broadcast_port) as subscriber:
        site.reload(broker_port=broker_port)
        site.put(trigger(dm=301.0))
        assert dm(events(subscriber, 1)[0]) == 301.0
        outcomes.expect({"withdrawn": 1, "accepted": 1})
        wait_for(lambda: told(site.node, SERVICE, "events_waiting") == [], WAIT)
        assert len(subscriber.received) == 1


def test_a_broker_that_never_answers(site: Site, subscriber: Subscriber) -> None:
    outcomes, mark = site.outcomes(), site.mark
    one = trigger()
    site.broker.pause()
    try:
        site.put(one)
        wait_for(lambda: "did not reply within 1 s" in site.waiting()[0], WAIT)
        assert alerts.is_running(site.node, SERVICE)
    finally:
        site.broker.resume()
    assert events(subscriber, 1) == [site.file(one)]
    outcomes.expect({"accepted": 1})
    assert len(subscriber.received) == 1
    assert "did not reply within 1 s" in site.log_since(mark)


@contextmanager
def broker(answer: Callable[[bytes], bytes]) -> Iterator[int]:
    """A port at which an event is answered so."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                connection, _ = listener.accept()
                with connection:
                    head = connection.recv(4, socket.MSG_WAITALL)
                    if len(head) == 4:
                        event = connection.recv(struct.unpack(">I", head)[0], socket.MSG_WAITALL)
                        connection.sendall(answer(event))

        thread = threading.Thread(target=serve)
        thread.start()
        port = listener.getsockname()[1]
        try:
            yield port
        finally:
            ended.set()
            socket.create_connection(("127.0.0.1", port)).close()
            thread.join()


def refusal(event: bytes) -> bytes:
    ivorn = read_event(event).get("ivorn")
    nak = messages.nak("ivo://a.broker/here", ivorn, "not one of ours").raw_bytes
    return struct.pack(">I", len(nak)) + nak


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda event: b"", "closed the connection without a reply"),
        (refusal, "refused the event: not one of ours"),
    ],
    ids=["closes", "refuses"],
)
def test_a_broker_that_does_not_take_it(
    site: Site, subscriber: Subscriber, answer: Callable[[bytes], bytes], why: str
) -> None:
    outcomes, mark = site.outcomes(), site.mark
    one = trigger()
    with broker(answer) as port:
        site.reload(broker_port=port)
        site.put(one)
        wait_for(lambda: why in site.waiting()[0], WAIT)
        assert alerts.is_running(site.node, SERVICE)
    assert why in site.log_since(mark)
    site.reload(broker_port=site.broker.port)
    assert events(subscriber, 1) == [site.file(one)]
    outcomes.expect({"accepted": 1})


def test_a_broker_that_never_takes_it(site: Site) -> None:
    outcomes, mark = site.outcomes(), site.mark
    site.reload(broker_port=free_port(), give_up_after=patience(0.5))
    site.put(trigger())
    outcomes.expect({"given up": 1})
    assert re.search(
        r"ERROR .* given up after \d attempts: .* connection failed", site.log_since(mark)
    )
    assert alerts.is_running(site.node, SERVICE)
