"""darc_monitor of a real node: what it costs the master when it hangs or ends, and who says so."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from nodes import Node, node, only, patience, supervisorctl
from nodes import wait_for as wait_for_seconds
from shares import Share, missing

from darc.config.typed import from_plain, to_plain
from darc.master.monitor_link import MAX_REPORT_BYTES
from darc.model.node_report import NodeReport
from darc.model.overview import NodeOverview, ServiceOverview, from_text
from darc.node.process_names import MONITOR
from darc.node.secret import read_secret
from darc.queues.client import QueueClient
from darc.queues.messages import QueueError
from darc.queues.names import OF_MONITOR

#: Others may be at work on the same cores.
wait_for = partial(wait_for_seconds, timeout=40.0)

SERVICES = ["lofar_trigger", "voevent_generator"]
SMALL = only(*SERVICES)
#: For an answer of the master, s.
QUICK = 1.0


@pytest.fixture(scope="module")
def watched(test_run: str) -> Iterator[Node]:
    """A node with two services, shared by the tests: leave it as you found it."""
    with node(test_run, darc_master=SMALL) as made:
        made.start()
        wait_for(lambda: seen(made, "lofar_trigger").memory)
        yield made


def answer(of: Node, command: str, service: str = "", old: bool = False) -> tuple[str, float]:
    """The line that the master answers, and how long that took (s); no file is touched here."""
    request = {"command": command, "service": service}
    line = str(request) if old else json.dumps({"protocol": 1, **request})
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", of.port), timeout=patience(30.0)) as connection:
        connection.sendall(line.encode() + b"\n")
        data = b""
        while not data.endswith(b"\n") and (part := connection.recv(65536)):
            data += part
    return data.decode(), time.monotonic() - began


def overview(of: Node) -> NodeOverview:
    line, _ = answer(of, "get_attr overview")
    return from_text(json.loads(line)["message"].partition(" = ")[2])


def seen(of: Node, service: str) -> ServiceOverview:
    told = overview(of)
    return next(one for one in (told.itself, *told.services) if one.name == service)


def troubles(of: Node) -> dict[str, str]:
    return {one.name: one.trouble for one in overview(of).threads}


def assert_quick(of: Node) -> None:
    """Whatever is asked, in either dialect, is answered at once."""
    asked = (("status", "all"), ("get_attr overview", ""), ("get_attr queue_depths", ""))
    for _ in range(10):
        for command, service in asked:
            for old in (False, True):
                text, took = answer(of, command, service, old)
                assert "Success" in text or "use the darc command" in text
                assert took < patience(QUICK)


# -- what hangs ------------------------------------------------------------------------------------


@pytest.fixture
def on_a_share(test_run: str) -> Iterator[tuple[Node, Share]]:
    """A node whose home is on a share; what it works with is on a disk of this machine."""
    if missing():
        pytest.skip(missing())
    local, served = (Path(tempfile.mkdtemp(prefix="darc-", dir="/tmp")) for _ in range(2))
    made = Node(test_run)
    (made.home / "config.yaml").unlink()
    share = Share(served, made.home)
    try:
        made.run_dir = local / "run"
        places = {"log_dir": local / "log", "parset_dir": local / "p", "run_dir": made.run_dir}
        made.configure(darc_master={**SMALL, **{key: str(places[key]) for key in places}})
        for name in ("darc_master", *SERVICES):  # supervisord writes them, and would hang as well
            made.configure(**{name: {"log_file": str(local / "log" / f"{name}.log")}})
        yield made, share
    finally:
        share.answer()
        made.remove()
        share.stop()
        for directory in (local, served, made.home):
            shutil.rmtree(directory, ignore_errors=True)


def test_a_disk_that_hangs_costs_the_master_nothing(on_a_share: tuple[Node, Share]) -> None:
    of, share = on_a_share
    of.start()
    wait_for(lambda: {"home", "run_dir"} == {disk.name for disk in overview(of).disks})
    threads = Path(f"/proc/{of.pid('darc_master')}/task")
    before = len(list(threads.iterdir()))
    share.hang()
    wait_for(lambda: troubles(of).get("disk of home") == "hangs")
    assert_quick(of)
    assert MONITOR not in troubles(of)
    # It looks on at all else,
    os.kill(of.pid("lofar_trigger"), signal.SIGKILL)
    wait_for(lambda: seen(of, "lofar_trigger").deaths)
    wait_for(lambda: seen(of, "lofar_trigger").how == "terminated by SIGKILL")
    # and the thread that hangs is the monitor's.
    wait_for(lambda: len(list(threads.iterdir())) <= before + 2)
    share.answer()
    wait_for(lambda: "disk of home" not in troubles(of))


def test_a_monitor_that_hangs_costs_the_master_nothing(watched: Node) -> None:
    wait_for(lambda: troubles(watched) == {})
    monitor = watched.pid(MONITOR)
    os.kill(monitor, signal.SIGSTOP)
    try:
        wait_for(lambda: troubles(watched) == {MONITOR: "hangs"})
        assert_quick(watched)
        # What the master knows itself is as fresh as ever.
        killed = watched.pid("lofar_trigger")
        os.kill(killed, signal.SIGKILL)

        def is_known() -> bool:
            now = seen(watched, "lofar_trigger")
            return now.state != "running" or now.pid != killed

        wait_for(is_known, timeout=1.5)
        wait_for(lambda: seen(watched, "lofar_trigger").state == "running")
    finally:
        os.kill(monitor, signal.SIGCONT)
    wait_for(lambda: troubles(watched) == {})
    wait_for(lambda: seen(watched, "lofar_trigger").deaths >= 1)
    assert watched.pid(MONITOR) == monitor


def test_the_master_reads_no_log_however_large(watched: Node) -> None:
    """Gigabytes, as far as their length tells."""

    def has_read(service: str) -> int:
        text = Path(f"/proc/{watched.pid(service)}/io").read_text()
        return int(text.split("rchar: ")[1].split()[0])

    path = watched.home / "log" / f"voevent_generator.{watched.hostname}.log"
    size = path.stat().st_size
    master, monitor = has_read("darc_master"), has_read(MONITOR)
    slowest = 0.0
    with path.open("a") as log:
        for number in range(60):
            log.truncate(log.tell() + 2**28)
            log.seek(0, os.SEEK_END)
            log.write(f"\nflood {number}\n")
            log.flush()
            slowest = max(slowest, answer(watched, "status", "all")[1])
            if has_read(MONITOR) - monitor > 2**19:
                break
            time.sleep(0.1)
    wait_for(lambda: any("flood" in line for line in seen(watched, "voevent_generator").log_end))
    assert path.stat().st_size > size + 2**30
    assert slowest < patience(QUICK)
    assert has_read(MONITOR) - monitor > 2**18
    assert has_read("darc_master") - master < 2**18
    os.truncate(path, 0)


# -- what ends -------------------------------------------------------------------------------------


def test_one_that_dies_is_started_again_and_counts_on(watched: Node) -> None:
    os.kill(watched.pid("voevent_generator"), signal.SIGKILL)
    wait_for(lambda: seen(watched, "voevent_generator").deaths)
    wait_for(lambda: seen(watched, "voevent_generator").state == "running")
    before = seen(watched, "voevent_generator")
    monitor = watched.pid(MONITOR)
    os.kill(monitor, signal.SIGKILL)
    wait_for(lambda: watched.pid(MONITOR) not in (0, monitor))
    # Of an overview nothing is lost meanwhile.
    assert seen(watched, "voevent_generator").deaths == before.deaths
    os.kill(watched.pid("voevent_generator"), signal.SIGKILL)
    wait_for(lambda: seen(watched, "voevent_generator").deaths == before.deaths + 1)
    wait_for(lambda: seen(watched, "voevent_generator").state == "running")
    # A restart by command is no death, however quick.
    restarts = seen(watched, "voevent_generator").restarts
    watched.ask("--service", "voevent_generator", "restart")
    wait_for(lambda: seen(watched, "voevent_generator").restarts == restarts + 1)
    assert seen(watched, "voevent_generator").deaths == before.deaths + 1
    assert seen(watched, "voevent_generator").how == ""


def test_everybody_says_that_it_does_not_run_and_what_to_do(watched: Node) -> None:
    listed = watched.darc("--service", "all", "status")
    assert listed.stderr == ""
    assert watched.ask("get_attr", "monitor") == "DARCMaster.monitor = runs"
    supervisorctl(watched, "stop", MONITOR)
    try:
        wait_for(lambda: troubles(watched) == {MONITOR: "ended"})
        assert_quick(watched)
        assert {one.name for one in overview(watched).services} == set(SERVICES)
        assert "does not run since" in watched.ask("get_attr", "monitor")
        status = watched.darc("--service", "all", "status")
        assert status.stdout == listed.stdout
        assert status.stderr.startswith("darc: darc_monitor does not run since")
        assert "darc_start_master" in status.stderr
        for words in (("doctor",), ("watch", "--once")):
            said = " ".join(watched.darc(*words).stdout.split())
            assert "darc_monitor" in said, words
            assert "does not run" in said, words
            assert "darc logs darc_monitor" in said, words
        # Somebody who has stopped it wants it so, until he starts it.
        assert watched.pid(MONITOR) == 0
    finally:
        started = watched.call("darc_start_master")
    assert "darc_monitor started" in started.stdout
    wait_for(lambda: troubles(watched) == {})
    assert watched.darc("--service", "all", "status").stderr == ""


def test_a_supervisord_of_the_version_before_gets_it_by_reload(watched: Node) -> None:
    supervisorctl(watched, "stop", MONITOR)
    supervisorctl(watched, "remove", MONITOR)
    (watched.run_dir / "supervisor.d" / f"{MONITOR}.conf").unlink()
    supervisorctl(watched, "reread")
    assert MONITOR not in watched.supervisor.processes()
    assert watched.ask("reload") == "Config reloaded; added: darc_monitor"
    wait_for(lambda: watched.pid(MONITOR))
    assert watched.ask("reload") == "Config reloaded"


# -- what it may tell ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plain", "why"),
    [
        ([], "not a mapping"),
        ({"services": [{"name": 3}]}, "services"),
        ({"surprise": 1}, "surprise"),
        ({"services": [{"name": "x" * MAX_REPORT_BYTES}]}, "bytes"),
    ],
)
def test_what_is_no_report_is_refused_and_changes_nothing(
    watched: Node, plain: object, why: str
) -> None:
    client = QueueClient(
        watched.run_dir / "queues.sock",
        read_secret(watched.run_dir / "secret"),
        "test",
        served=OF_MONITOR,
    )
    with pytest.raises(QueueError, match=why):
        client.call("report", plain, 0.0, 0.0)
    with pytest.raises(QueueError, match="Unix s"):
        client.call("report", None, None, 0.0)
    with pytest.raises(QueueError, match="no attribute"):
        client.call("ask", "lofar_trigger", "send_events=True me", 1.0)
    client.close()
    assert seen(watched, "lofar_trigger").log_end


def test_a_report_travels() -> None:
    assert from_plain(NodeReport, to_plain(NodeReport()), "report") == NodeReport()
