"""What leaves the house is switched by people, and by nothing else; and it is said by whom."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta

import alerts
import pytest
from alerts import (
    Outcomes,
    command,
    paused,
    put,
    put_values,
    told,
    trigger,
    wait_until_done,
)
from msgspec import Struct
from msgspec.structs import replace
from nodes import Node, node, only, patience, wait_for
from voevents import kept_copy

from darc.model.trigger import Trigger
from simulator.lofar import Lofar

LOFAR, VOEVENT = SERVICES = ("lofar_trigger", "voevent_generator")
PREFIX = {LOFAR: "lofar", VOEVENT: "voevent"}
LIGHT = only(*SERVICES)
WAIT = 20.0
TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}"
ORIGIN = rf"127\.0\.0\.1 \(observer@{re.escape(socket.gethostname())}\)"


class Site(Struct):
    """A node with both services, LOFAR, and a port that takes connections as a broker does."""

    node: Node
    lofar: Lofar
    broker: socket.socket

    def put(self, *triggers: Trigger) -> None:
        for service in SERVICES:
            put(self.node, service, *triggers)

    def wait_until_done(self) -> None:
        for service in SERVICES:
            wait_until_done(self.node, service)

    def switch(self, action: str) -> None:
        """At once, and without a word."""
        for prefix in PREFIX.values():
            command(self.node, f"{prefix}_{action}")

    def broker_was_called(self) -> bool:
        """Whether there was a connection since the last look."""
        called = False
        with suppress(BlockingIOError):
            while True:
                self.broker.accept()[0].close()
                called = True
        return called


@pytest.fixture(scope="module")
def module_site(test_run: str) -> Iterator[Site]:
    """Of what is told outside, the packaged defaults hold; it is never told where it is not."""
    with Lofar() as lofar, socket.create_server(("127.0.0.1", 0)) as broker:
        broker.setblocking(False)
        with node(test_run, darc_master=LIGHT) as made:
            made.configure(
                lofar_trigger={"lofar_host": "127.0.0.1", "lofar_port": lofar.port},
                voevent_generator={
                    "broker_host": "127.0.0.1",
                    "broker_port": broker.getsockname()[1],
                },
            )
            made.environment["USER"] = "observer"
            made.start()
            yield Site(made, lofar, broker)


@pytest.fixture
def site(module_site: Site) -> Iterator[Site]:
    """Switched off again once the test is over, and nothing waits."""
    yield module_site
    module_site.switch("disable")
    module_site.wait_until_done()
    wait_for(lambda: told(module_site.node, VOEVENT, "events_waiting") == [], WAIT)
    module_site.broker_was_called()


def test_nothing_leaves_by_default_and_all_are_tests(site: Site) -> None:
    outcomes = {service: Outcomes(site.node, service) for service in SERVICES}
    before = len(site.lofar.received)
    for service in SERVICES:
        assert told(site.node, service, "send_events") is False
        assert told(site.node, service, "test") is True
    real = trigger(test=False)
    site.put(real)
    site.wait_until_done()
    for service in SERVICES:
        outcomes[service].expect({"not sent: disabled": 1})
        said = f"not sent, as sending is disabled: {real.identity}"
        assert site.node.log(service).count(said) == 1
    # Switched on, they are tests still. What was not sent does not follow.
    site.switch("enable")
    sent = trigger(dm=401.0)
    site.put(sent)
    (packet,) = site.lofar.wait_for(before + 1, patience(WAIT))[before:]
    assert packet.freeze is not None
    assert (packet.freeze.test, packet.freeze.dm_tenths) == (True, 4010)
    wait_for(site.broker_was_called, WAIT)
    assert b'role="test"' in kept_copy(site.node.home / "voevents", f"{sent.utc}.xml")
    assert not (site.node.home / "voevents" / f"{real.utc}.xml").exists()
    outcomes[LOFAR].expect({"not sent: disabled": 1, "sent": 1})


def test_switched_off_between_gathering_and_sending(site: Site) -> None:
    outcomes = {service: Outcomes(site.node, service) for service in SERVICES}
    before = len(site.lofar.received)
    site.switch("enable")
    # Longer than that takes.
    slow = {"settle": patience(2.0), "interval": patience(2.0)}
    site.node.configure(
        lofar_trigger={"send_events": True}, voevent_generator={"send_events": True}
    )
    for service in SERVICES:
        alerts.reload(site.node, service, lofar_trigger=slow, voevent_generator=slow)
    received = {service: told(site.node, service, "triggers_received") for service in SERVICES}
    with paused(site.node, LOFAR), paused(site.node, VOEVENT):
        # Of which nothing is gathered, also where it is taken together with the trigger.
        for service in SERVICES:
            put_values(site.node, service, ["no list", "nor this"])
        site.put(trigger())
    for service, count in received.items():
        wait_for(lambda s=service, n=count: told(site.node, s, "triggers_received") == n + 1, WAIT)
    site.switch("disable")
    assert all(name in command(site.node, "get_attr queue_depths") for name in SERVICES)
    site.wait_until_done()
    for service in SERVICES:
        outcomes[service].expect({"not sent: disabled": 1, "unusable": 2})
    assert len(site.lofar.received) == before
    assert not site.broker_was_called()


def test_each_switch_is_logged_with_time_and_origin(site: Site) -> None:
    for service, prefix in PREFIX.items():
        for action, value in (("enable", "True"), ("disable", "False")):
            reply = site.node.darc(f"{prefix}_{action}")
            assert reply.returncode == 0, reply.stdout
            wait_for_line(
                site.node,
                service,
                rf"{TIME} WARNING {service}: send_events switched to {value} by {prefix}_{action}"
                rf" from {ORIGIN}",
            )
            said = reply.stdout.splitlines()[1].removeprefix("message: ")
            wait_for_line(
                site.node,
                "darc_master",
                rf"{TIME} INFO darc_master: {prefix}_{action}  ?from {ORIGIN}: Success in"
                rf" [\d.]+ s: {said}",
            )


def wait_for_line(node: Node, service: str, pattern: str) -> None:
    line = re.compile(rf"^{pattern}$", re.MULTILINE)
    wait_for(lambda: line.search(node.log(service)), WAIT, f"{pattern} in {service}'s log")


def test_a_reload_brings_settings_into_running_services(site: Site) -> None:
    site.node.configure(lofar_trigger={"send_events": True, "interval": 1.0, "test": True})
    alerts.reload(site.node, LOFAR)
    outcomes, before = Outcomes(site.node, LOFAR), len(site.lofar.received)
    pid = site.node.pid(LOFAR)

    def two_beams(dm: float) -> None:
        one = trigger(dm=dm)
        utc = datetime.fromisoformat(one.utc) + timedelta(seconds=0.5)
        other = replace(trigger(dm=dm, snr=10.0), utc=utc.isoformat(timespec="microseconds"))
        put(site.node, LOFAR, one, other)
        wait_until_done(site.node, LOFAR)

    two_beams(400.0)
    outcomes.expect({"sent": 1, "of a pulse with a better trigger": 1})
    reply = alerts.reload(site.node, LOFAR, lofar_trigger={"interval": 0.2, "test": False})
    assert reply == "Config reloaded"
    assert told(site.node, LOFAR, "test") is False
    two_beams(401.0)
    outcomes.expect({"sent": 3, "of a pulse with a better trigger": 1})
    packets = site.lofar.wait_for(before + 3, patience(WAIT))[before:]
    kinds = [received.datagram[-1:] for received in packets]
    assert kinds == [b"T", b"S", b"S"]
    assert site.node.pid(LOFAR) == pid
    mark = len(site.node.log(LOFAR))
    alerts.reload(site.node, LOFAR, lofar_trigger={"server_port": site.node.port})
    assert "server_port changes with a restart of lofar_trigger" in site.node.log(LOFAR)[mark:]


# -- remembered --------------------------------------------------------------------------------


def enabled(node: Node) -> dict[str, bool]:
    """As ``lofar_status`` and ``voevent_status`` tell, once both services run."""
    wait_for(lambda: all(alerts.is_running(node, service) for service in SERVICES), WAIT)
    words = {service: command(node, f"{PREFIX[service]}_status") for service in SERVICES}
    assert all(text.split()[-1] in ("enabled", "disabled") for text in words.values()), words
    return {service: text.endswith(" enabled") for service, text in words.items()}


def test_a_switch_is_remembered_until_people_decide_anew(
    make_node: Callable[..., Node],
) -> None:
    both = {"send_events": True}
    node = make_node(darc_master=LIGHT, lofar_trigger=both, voevent_generator=both)
    node.environment["USER"] = "observer"
    node.start()
    # The first start takes the configuration.
    assert enabled(node) == {LOFAR: True, VOEVENT: True}
    assert "send_events is True, as configured" in node.log(LOFAR)
    assert node.ask("lofar_disable") == "LOFAR triggering disabled"
    kept = {LOFAR: False, VOEVENT: True}
    for service in SERVICES:
        alerts.kill(node, service)
    assert enabled(node) == kept
    node.ask("--service", "all", "restart")
    assert enabled(node) == kept
    how = rf"False at \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ by lofar_disable from {ORIGIN}"
    wait_for_line(node, LOFAR, rf".*: send_events is False, as it was switched: {how}")
    # A later start does not, whatever stands there by now.
    node.configure(voevent_generator={"send_events": False})
    assert node.call("darc_kill_all").returncode == 0
    node.start()
    assert enabled(node) == kept
    # A reload does, and says what it changes; once.
    assert node.ask("reload") == (
        "Config reloaded; lofar_trigger.send_events is True as configured, it was False;"
        " voevent_generator.send_events is False as configured, it was True"
    )
    assert enabled(node) == {LOFAR: True, VOEVENT: False}
    wait_for_line(node, LOFAR, rf".*: send_events switched to True by reload from {ORIGIN}")
    wait_for_line(node, "darc_master", rf".*: reload +from {ORIGIN}: .* it was False; .*")
    assert node.ask("reload") == "Config reloaded"
    for service in SERVICES:
        alerts.kill(node, service)
    assert enabled(node) == {LOFAR: True, VOEVENT: False}
    # Also about a service that does not run just now.
    node.ask("--service", LOFAR, "stop")
    node.configure(lofar_trigger={"send_events": False})
    assert node.ask("reload") == (
        "Config reloaded; lofar_trigger.send_events is False as configured, it was True"
    )
    node.ask("--service", LOFAR, "start")
    assert enabled(node) == {LOFAR: False, VOEVENT: False}
    wait_for_line(node, LOFAR, rf".* as it was switched: False at \S+ by reload from {ORIGIN}")


@pytest.mark.parametrize("words", [("alerts", "disable", "kafka"), ("reload",)])
def test_what_is_said_reaches_a_process_that_a_new_master_does_not_know_yet(
    make_node: Callable[..., Node], words: tuple[str, ...]
) -> None:
    one = make_node(darc_master=only("voevent_generator"))
    one.start()
    service, master = one.pid("voevent_generator"), one.pid("darc_master")
    os.kill(service, signal.SIGSTOP)  # it does not look for the new one
    os.kill(master, signal.SIGKILL)
    wait_for(lambda: one.answers() and one.pid("darc_master") != master, 20.0, "a new master")
    said: list[str] = []
    asking = threading.Thread(target=lambda: said.append(one.darc(*words).stdout.strip()))
    asking.start()
    asking.join(1.0)  # that it is at the master
    os.kill(service, signal.SIGCONT)
    asking.join()
    assert one.pid("voevent_generator") == service
    if words == ("reload",):
        assert "send_events switched to False by reload" in one.log("voevent_generator")
    else:
        assert said == ["Alerts: kafka disabled"]
        assert one.value("voevent_generator", "send_kafka") is False
