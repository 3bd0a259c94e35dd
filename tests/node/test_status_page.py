"""The status page of a cluster, on a real master node whose workers do not all answer."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from nodes import Node, free_port, node, patience, supervisorctl
from nodes import wait_for as wait_for_seconds

from darc.model.overview import NodeOverview, ServiceOverview, from_text
from darc.node.secret import read_secret
from darc.queues.client import QueueClient

sys.path.insert(0, str(Path(__file__).parents[1] / "monitor"))

from browsing import Browser, browser

__all__ = ["browser"]

#: Others may be at work on the same cores.
wait_for = partial(wait_for_seconds, timeout=40.0)

SILENT = tuple(f"127.0.0.{number}" for number in range(2, 6))
NOWHERE = "no-such-host.invalid"
SERVICES = {
    *("offline_processing", "status_website", "voevent_generator"),
    *("lofar_trigger", "processor"),
}


@pytest.fixture(scope="module")
def master(test_run: str) -> Iterator[Node]:
    """A master node with workers that take connections and say nothing, and one that is nowhere.

    What it shows within the time of a test it has not seen by asking once an hour.
    """
    with node(
        test_run,
        darc_master={"control_timeout": 30},
        cluster={"master": "testnode", "workers": [*SILENT, NOWHERE]},
        control={"bind": "127.0.0.1"},
        status_website={"timeout": 1.0, "interval": 3600, "port": free_port()},
    ) as made:
        servers = [socket.create_server((host, made.port)) for host in SILENT]
        made.start()
        yield made
        for server in servers:
            server.close()


def status(of: Node) -> dict[str, Any]:
    """What is on disk for programs."""
    path = of.home / "status" / "status.json"
    return json.loads(path.read_text()) if path.exists() else {"nodes": []}


def verdicts(of: Node) -> dict[str, str]:
    return {one["name"]: one["verdict"] for one in status(of)["nodes"]}


def states(of: Node) -> dict[str, str]:
    """Of the services of the master node."""
    found: dict[str, str] = next(
        (one["states"] for one in status(of)["nodes"] if one["name"] == "testnode"), {}
    )
    return found


def page(of: Node) -> str:
    return (of.home / "status" / "index.html").read_text()


def overview(of: Node, arguments: str = "") -> NodeOverview:
    """Also of a node whose master was killed a moment ago."""

    def told() -> str:
        try:
            reply = str(of.ask("get_attr", f"overview {arguments}".strip()))
        except OSError:
            return ""
        return reply.partition(" = ")[2]

    return from_text(wait_for(told))


def of_service(told: NodeOverview, name: str) -> ServiceOverview:
    return next(one for one in told.services if one.name == name)


def url(of: Node) -> str:
    said = wait_for(
        lambda: re.search(
            r"http://[^'}]+", str(of.ask("--service", "status_website", "get_attr", "url"))
        )
    )
    return str(said[0])


@contextlib.contextmanager
def open_page(of: Node) -> Iterator[Callable[[], bytes]]:
    """What a page that is open has been told so far."""
    port = int(url(of).rsplit(":", 1)[1].rstrip("/"))
    version = page(of).split('data-version="')[1].split('"')[0]
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(f"GET /events?after={version} HTTP/1.1\r\n\r\n".encode())
        client.setblocking(False)
        told = b""

        def so_far() -> bytes:
            nonlocal told
            with contextlib.suppress(BlockingIOError):
                told += client.recv(2**20)
            return told

        yield so_far


def test_every_node_is_shown_grey_where_it_cannot_be_reached(master: Node) -> None:
    grey = dict.fromkeys((*SILENT, NOWHERE), "unknown")
    wait_for(lambda: verdicts(master) == {"testnode": "good", **grey})

    def reasons() -> dict[str, str]:
        return {one["name"]: one["reason"] for one in status(master)["nodes"]}

    wait_for(lambda: {reasons()[host] for host in SILENT} == {"no answer within 1 s"})
    wait_for(lambda: reasons()[NOWHERE])  # in the resolver's words
    wait_for(lambda: page(master).count('<tr class="unknown"') == 5)
    text = page(master)
    assert text.count('<tr class="good"') == 1
    assert "ping -c 3 127.0.0.2" in text


def test_a_service_that_is_stopped_is_red(master: Node) -> None:
    wait_for(lambda: verdicts(master).get("testnode") == "good")
    assert set(states(master)) == SERVICES
    assert master.ask("--service", "lofar_trigger", "stop") == {"lofar_trigger": "stopped"}
    wait_for(lambda: states(master)["lofar_trigger"] == "stopped")
    assert verdicts(master)["testnode"] == "bad"
    wait_for(lambda: "darc --host testnode --service lofar_trigger start" in page(master))
    assert of_service(overview(master), "lofar_trigger").deaths == 0
    master.ask("--service", "lofar_trigger", "start")
    wait_for(lambda: verdicts(master)["testnode"] == "good")


def test_a_service_that_is_killed_is_red_on_an_open_page(master: Node) -> None:
    """Although supervisord has it running again at once, and nobody asks for an hour."""
    wait_for(lambda: verdicts(master).get("testnode") == "good")
    with open_page(master) as told:
        wait_for(lambda: b"event: tick" in told())
        for service in ("processor", "offline_processing"):
            os.kill(master.pid(service), signal.SIGKILL)
            state = f'data-state=\\"died\\"><a data-label=\\"{service}\\"'.encode()
            wait_for(lambda state=state: state in told())
    wait_for(lambda: of_service(overview(master), "processor").state == "running")
    killed = of_service(overview(master), "processor")
    assert (killed.restarts, killed.deaths) == (1, 1)
    wait_for(lambda: of_service(overview(master), "processor").how == "terminated by SIGKILL")
    wait_for(lambda: "processor on testnode died" in page(master))
    assert "It was ended with SIGKILL by somebody, or by the kernel" in page(master)
    wait_for(lambda: verdicts(master)["testnode"] == "good")


def test_in_a_browser(master: Node, browser: Browser) -> None:
    wait_for(lambda: verdicts(master).get("testnode") == "good")
    browser.show(url(master))
    wait_for(lambda: "live" in browser.text("#link"))
    cell = "#c-testnode-voevent_generator"
    assert browser.text(cell) == "running"
    os.kill(master.pid("voevent_generator"), signal.SIGKILL)
    wait_for(lambda: browser.text(cell) == "died")
    assert browser.attribute("td:has(" + cell + ")", "class").startswith("bad")
    browser.one(cell).click()
    wait_for(lambda: "1 after it died" in browser.text("#details"))
    wait_for(lambda: browser.text(cell) == "running")
    wait_for(lambda: "running since" in browser.text("#details"))
    assert browser.complaints() == []


def test_a_service_that_hangs_is_red(master: Node) -> None:
    wait_for(lambda: verdicts(master).get("testnode") == "good")
    pid = master.pid("lofar_trigger")
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_for(lambda: states(master)["lofar_trigger"] == "unresponsive")
        told = overview(master)  # although one of its services does not answer
        assert of_service(told, "lofar_trigger").since is not None
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_for(lambda: states(master)["lofar_trigger"] == "running")


def test_a_service_that_crashes_at_import_is_given_its_reason(master: Node) -> None:
    """Before it has a log of its own."""
    conf = master.run_dir / "supervisor.d" / "voevent_generator.conf"
    before = conf.read_text()
    wanted = "-m darc.services.voevent_generator"
    assert before.count(wanted) == 1
    conf.write_text(before.replace(wanted, "-c 'import lacking'"))
    try:
        supervisorctl(master, "update", "voevent_generator")
        supervisorctl(master, "start", "voevent_generator")
        wait_for(lambda: "voevent_generator on testnode" in page(master))
        wait_for(lambda: "ModuleNotFoundError: No module named" in page(master))
        wait_for(lambda: of_service(overview(master), "voevent_generator").how == "exit status 1")
    finally:
        conf.write_text(before)
        supervisorctl(master, "update", "voevent_generator")
        supervisorctl(master, "start", "voevent_generator")
    wait_for(lambda: states(master)["voevent_generator"] == "running")


def test_a_service_that_somebody_stopped_has_no_error_for_a_reason(master: Node) -> None:
    wait_for(lambda: verdicts(master).get("testnode") == "good")
    with (master.home / "log" / "lofar_trigger.testnode.log").open("a") as log:
        moment = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}.000"
        log.write(f"{moment} ERROR lofar_trigger: another matter\n")
    supervisorctl(master, "restart", "lofar_trigger")  # a process that runs is asked itself
    wait_for(lambda: of_service(overview(master), "lofar_trigger").last_error)
    supervisorctl(master, "stop", "lofar_trigger")
    wait_for(lambda: "Somebody stopped it." in page(master))
    assert "another matter" not in page(master)
    supervisorctl(master, "start", "lofar_trigger")
    wait_for(lambda: verdicts(master)["testnode"] == "good")


def test_the_overview_of_a_node(master: Node) -> None:
    told = overview(master)
    assert (told.hostname, told.role, told.master) == ("testnode", "master", "testnode")
    assert {one.name for one in told.services} == SERVICES
    assert {disk.name for disk in told.disks} == {"run_dir", "home"}
    assert all(disk.total >= disk.free > 0 for disk in told.disks)
    assert told.started <= told.master_started <= told.time
    wait_for(lambda: of_service(overview(master), "lofar_trigger").sending is False)
    wait_for(lambda: of_service(overview(master), "lofar_trigger").memory > 2**20)
    service = of_service(overview(master), "lofar_trigger")
    assert service.pid == master.pid("lofar_trigger")

    def its_log() -> str:
        return "\n".join(of_service(overview(master), "lofar_trigger").log_end)

    wait_for(lambda: "triggers are taken in" in its_log())
    assert overview(master).itself.name == "darc_master"


def test_the_overview_counts_what_waits(master: Node) -> None:
    """Of a service that does not take it."""
    master.ask("--service", "voevent_generator", "stop")
    try:
        put(master, "voevent_generator", [])
        wait_for(lambda: of_service(overview(master), "voevent_generator").queue == 1)
        assert of_service(overview(master), "voevent_generator").oldest
    finally:
        master.ask("--service", "voevent_generator", "start")
    wait_for(lambda: of_service(overview(master), "voevent_generator").queue == 0)


def put(of: Node, queue: str, value: object) -> None:
    client = QueueClient(of.run_dir / "queues.sock", read_secret(of.run_dir / "secret"), "test")
    client.call("put", queue, value)
    client.close()


def test_an_overview_with_other_arguments_is_none(master: Node) -> None:
    for arguments in ("x", "after=1", "after=1 within=x", "after=1 within=1 x", "after= within=1"):
        said = master.ask("get_attr", f"overview {arguments}")
        assert said == {"error": f"No such attribute: overview {arguments}"}


def test_an_overview_is_kept_back_until_something_changes(master: Node) -> None:
    before = overview(master)

    def nothing_changes() -> bool:
        nonlocal before
        before = overview(master)
        return overview(master, f"after={before.change} within=0.3").waited >= 0.3

    wait_for(nothing_changes)
    assert overview(master, "after=another within=30").waited < 30
    os.kill(master.pid("processor"), signal.SIGKILL)
    after = overview(master, f"after={before.change} within=30")
    assert after.change != before.change


def test_only_so_many_wait_for_a_change(master: Node) -> None:
    """Others have to reach the command port, too."""
    change = overview(master).change
    line = json.dumps({"protocol": 1, "command": f"get_attr overview after={change} within=30"})
    clients = [socket.create_connection(("127.0.0.1", master.port)) for _ in range(12)]
    for client in clients:
        client.sendall(line.encode() + b"\n")
        client.settimeout(patience(20.0))
    answered = 0
    for client in clients:
        client.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            answered += bool(client.recv(10))
    # status_website is one of those who wait
    assert answered >= 12 - 8
    assert master.states()["lofar_trigger"] == "running"
    for client in clients:
        client.close()


def test_supervisord_that_hangs_holds_up_no_overview(master: Node) -> None:
    pid = int((master.run_dir / "supervisord.pid").read_text())
    os.kill(pid, signal.SIGSTOP)
    try:
        for _ in range(3):
            assert {one.name for one in overview(master).services} == SERVICES
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_for(lambda: verdicts(master)["testnode"] == "good")


def test_the_masters_death_is_seen_and_over_and_counts_nothing_twice(master: Node) -> None:
    before = {one.name: one.deaths for one in overview(master).services}
    with open_page(master) as told:
        wait_for(lambda: b"event: tick" in told())
        deaths = overview(master).itself.deaths
        os.kill(master.pid("darc_master"), signal.SIGKILL)
        # The next one may be there before anybody has asked.
        wait_for(
            lambda: (
                b"testnode: no answer" in told()
                or b"nothing runs there" in told()
                or overview(master).itself.deaths > deaths
            )
        )
    wait_for(lambda: verdicts(master)["testnode"] == "good")
    wait_for(lambda: overview(master).itself.deaths > deaths)
    assert {one.name: one.deaths for one in overview(master).services} == before


def test_the_end_is_said_on_the_page(master: Node) -> None:
    with open_page(master) as told:
        wait_for(lambda: b"event: tick" in told())
        master.ask("--service", "status_website", "stop")
        assert "The status website was stopped." in page(master)
        assert status(master)["stopped"] == "The status website was stopped."
        wait_for(lambda: b"event: stopped" in told())
    master.ask("--service", "status_website", "start")
    wait_for(lambda: "The status website was stopped." not in page(master))
    wait_for(lambda: verdicts(master).get("testnode") == "good")


def test_a_worker_that_comes_and_dies_and_goes(make_node: Callable[..., Node]) -> None:
    """Told by the worker itself: the master node asks of its own accord once an hour."""
    master = make_node(
        "localhost",
        cluster={"master": "localhost", "workers": ["127.0.0.2"]},
        control={"bind": "127.0.0.1"},
        darc_master={"services_master_mix": ["status_website"]},
        status_website={"interval": 3600, "timeout": 2.0, "port": None},
    )
    worker = make_node(
        "worker01",
        cluster={"master": "localhost", "workers": ["worker01"]},
        control={"bind": "127.0.0.2"},
        darc_master={"port": master.port, "services_worker_mix": ["dada_trigger", "processor"]},
    )
    worker.port = master.port
    master.start()
    wait_for(lambda: verdicts(master) == {"localhost": "good", "127.0.0.2": "unknown"})
    wait_for(lambda: "start_full_pipeline --nodes 127.0.0.2" in page(master))
    worker.start()
    # A node that does not answer is asked again and again, though not often.
    wait_for_seconds(lambda: verdicts(master)["127.0.0.2"] == "good", 60.0)
    os.kill(worker.pid("dada_trigger"), signal.SIGKILL)
    wait_for(lambda: "dada_trigger on 127.0.0.2 died" in page(master))
    wait_for(lambda: verdicts(master)["127.0.0.2"] == "good")
    worker.call("darc_kill_all")
    wait_for(lambda: verdicts(master)["127.0.0.2"] == "unknown")
    wait_for(lambda: re.search("Connection refused|closed the connection", page(master)))
