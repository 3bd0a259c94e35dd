"""The scripts that start and stop a node: each waits for what it promises, and may be repeated."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from nodes import SCRIPTS, Node, only, patience, wait_for

from darc.node.processes import of_node
from darc.node.supervisor import ProcessState
from darc.runtime.progress import waiting
from simulator.write_parsets import write_observation

SERVICES = ["lofar_trigger"]
SMALL = only(*SERVICES)
TWO = ["lofar_trigger", "voevent_generator"]
IGNORES_SIGTERM = "import signal; signal.signal(15, signal.SIG_IGN)\nwhile True: signal.pause()"


@pytest.fixture
def small(make_node: Callable[..., Node]) -> Node:
    """A node of one service, not started."""
    return make_node(darc_master=SMALL)


def replace_command(node: Node, service: str, command: str) -> None:
    """An operator's own section for a service."""
    directory = node.home / "supervisor"
    directory.mkdir(exist_ok=True)
    text = f"[program:{service}]\ncommand={command}\n"
    if service == "darc_master":
        text += "autostart=true\nstartretries=1\n"
    (directory / f"{service}.conf").write_text(text)


def begin(node: Node, script: str) -> subprocess.Popen[str]:
    """Start a script, and do not wait for its end."""
    return subprocess.Popen(
        [str(SCRIPTS / script)],
        env=node.environment,
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def outcomes(printed: str) -> dict[str, str]:
    rows = [line.split(maxsplit=1) for line in printed.splitlines()]
    return {row[0]: row[1] for row in rows if row[0] in TWO}


def assert_nothing_left(node: Node, node_id: str) -> None:
    assert of_node(node_id) == []
    left = {path.name for path in node.run_dir.iterdir()}
    assert not left & {"supervisord.sock", "supervisord.pid", "queues.sock", "endpoint.json"}


def test_start_master_returns_when_the_master_answers(small: Node) -> None:
    result = small.run("darc_start_master")
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"DARC master started (127.0.0.1:{small.port})\n"
    assert small.ask("get_attr", "node_id") == f"DARCMaster.node_id = {small.node_id}"
    assert small.states() == dict.fromkeys(SERVICES, "stopped")

    pid = small.pid("darc_master")
    again = small.run("darc_start_master")
    assert again.returncode == 0
    assert again.stdout == f"DARC master is already running (127.0.0.1:{small.port})\n"
    assert small.pid("darc_master") == pid


def test_start_all_services_returns_when_all_run(small: Node) -> None:
    small.configure(darc_master=only(*TWO))
    result = small.run("darc_start_all_services")
    assert result.returncode == 0, result.stderr
    assert "DARC master started" in result.stdout
    assert outcomes(result.stdout) == dict.fromkeys(TWO, "started")
    assert small.states() == dict.fromkeys(TWO, "running")

    pids = {name: small.pid(name) for name in TWO}
    again = small.run("darc_start_all_services")
    assert again.returncode == 0
    assert outcomes(again.stdout) == dict.fromkeys(TWO, "already running")
    assert {name: small.pid(name) for name in TWO} == pids


@pytest.mark.parametrize("script", ["darc_start_stop_all_services", "darc_stop_all_services"])
def test_stop_all_services_returns_when_all_but_the_master_have_ended(
    small: Node, script: str
) -> None:
    small.configure(darc_master=only(*TWO))
    small.start()
    master = small.pid("darc_master")
    processes = [small.pid(name) for name in TWO]
    for _ in range(2):
        result = small.run(script)
        assert result.returncode == 0, result.stderr
        assert outcomes(result.stdout) == dict.fromkeys(TWO, "stopped")
        assert not any(Path(f"/proc/{pid}").exists() for pid in processes)
    assert small.states() == dict.fromkeys(TWO, "stopped")
    assert small.pid("darc_master") == master


def test_stop_master_leaves_nothing(small: Node) -> None:
    small.start()
    node_id = small.node_id
    result = small.run("darc_stop_master")
    assert result.returncode == 0, result.stderr
    assert result.stdout == "DARC master and all services stopped\n"
    assert_nothing_left(small, node_id)


@pytest.mark.parametrize(
    "script", ["darc_stop_master", "darc_stop_all_services", "darc_start_stop_all_services"]
)
def test_a_stop_of_what_does_not_run_is_no_error(small: Node, script: str) -> None:
    result = small.run(script)
    assert (result.returncode, result.stdout, result.stderr) == (0, "DARC is not running\n", "")


def test_the_stop_master_command_leaves_nothing_either(small: Node) -> None:
    small.start()
    node_id = small.node_id
    assert small.darc("stop_master").stdout == "status: Success\nmessage: Stopping master\n"
    wait_for(lambda: not of_node(node_id), what="end of the node")
    assert not (small.run_dir / "endpoint.json").exists()
    assert not (small.run_dir / "supervisord.sock").exists()


def observe(node: Node) -> str:
    """Start an observation that lasts; returns its id."""
    made = write_observation(
        node.home / "made", task_id="190518009", source="test", start=time.time() - 5, duration=600
    )
    result = node.darc("--parset", str(made.parset), "start_observation")
    assert result.returncode == 0, result.stdout
    return made.task_id


@pytest.mark.parametrize("script", ["darc_stop_master", "darc_stop_all_services"])
def test_a_stop_aborts_the_observations_that_run(
    make_node: Callable[..., Node], script: str
) -> None:
    services = only("offline_processing")
    node = make_node(darc_master=services)
    node.start()
    task_id = observe(node)
    assert task_id in node.ask("get_attr", "observations")
    assert node.run(script).returncode == 0
    assert node.call("darc_start_all_services").returncode == 0
    node.wait_until_over(task_id)


@pytest.mark.parametrize("script", ["darc_start_master", "darc_start_all_services"])
def test_two_starts_at_once_make_one_node(small: Node, script: str) -> None:
    starts = [begin(small, script) for _ in range(2)]
    printed = [start.communicate(timeout=patience(60))[0] for start in starts]
    assert [start.returncode for start in starts] == [0, 0], printed
    # A slow start says before that it goes on.
    assert sorted("is already running" in text for text in printed) == [False, True], printed
    running = 2 + len(SERVICES) * (script == "darc_start_all_services")
    assert len(small.processes()) == 1 + running  # supervisord too
    log = (small.home / "log" / f"supervisord.{small.hostname}.log").read_text()
    assert log.count("supervisord started with pid") == 1


def test_two_stops_at_once_both_succeed(small: Node) -> None:
    small.start()
    node_id = small.node_id
    stops = [begin(small, "darc_stop_master") for _ in range(2)]
    printed = [stop.communicate(timeout=patience(60))[0] for stop in stops]
    assert [stop.returncode for stop in stops] == [0, 0], printed
    assert_nothing_left(small, node_id)


@pytest.mark.parametrize("stop", ["darc_stop_master", "darc stop_master"])
def test_a_start_during_a_stop_makes_a_new_node(small: Node, stop: str) -> None:
    # The stop takes its whole stop_timeout.
    small.configure(darc_master={"stop_timeout": 1.0})
    script = small.home / "stubborn.py"
    script.write_text(IGNORES_SIGTERM)
    replace_command(small, "lofar_trigger", f"${{python}} {script}")
    assert small.call("darc_start_master").returncode == 0
    small.supervisor.start("lofar_trigger")
    before = small.node_id
    stopping = begin(small, "darc_stop_master") if stop == "darc_stop_master" else None
    if not stopping:
        small.darc("stop_master")
    wait_for(lambda: "stopping all services" in small.log("darc_master"))

    result = small.run("darc_start_master")

    assert result.returncode == 0, result.stderr
    assert small.node_id != before
    assert of_node(before) == []
    if stopping:
        printed, _ = stopping.communicate(timeout=patience(30))
        assert stopping.returncode == 0, printed
    # The stop has not taken the new node's files away.
    assert small.ask("get_attr", "node_id") == f"DARCMaster.node_id = {small.node_id}"
    assert set(small.supervisor.processes()) == {"darc_master", "darc_monitor", *SERVICES}


def test_a_service_that_cannot_start_is_told_with_the_end_of_its_log(small: Node) -> None:
    small.configure(darc_master=only(*TWO))
    replace_command(small, "lofar_trigger", '/bin/sh -c "echo the reason stands here; exit 3"')
    result = small.run("darc_start_all_services")
    assert result.returncode == 1
    assert outcomes(result.stdout) == {"lofar_trigger": "failed", "voevent_generator": "started"}
    assert "not started: lofar_trigger\n" in result.stderr
    assert "  the reason stands here\n" in result.stderr
    assert f"lofar_trigger.{small.hostname}.log" in result.stderr
    assert small.states()["voevent_generator"] == "running"


def test_a_service_without_a_program_is_told_in_supervisords_words(small: Node) -> None:
    replace_command(small, "lofar_trigger", "/nowhere/program")
    result = small.call("darc_start_all_services")
    assert result.returncode == 1
    assert "can't find command '/nowhere/program'" in result.stderr


def test_a_master_that_does_not_come_up_leaves_nothing_and_is_told(small: Node) -> None:
    replace_command(small, "darc_master", '/bin/sh -c "echo no luck today; exit 1"')
    result = small.run("darc_start_master")
    assert result.returncode == 1
    assert "DARC master did not start\n" in result.stderr
    assert "  no luck today\n" in result.stderr
    assert_nothing_left(small, small.node_id)

    # Once the cause is gone the next start works: nothing of the failed one is used again.
    (small.home / "supervisor" / "darc_master.conf").unlink()
    assert small.call("darc_start_master").returncode == 0


def test_taken_ports_of_page_and_metrics_are_said(make_node: Callable[..., Node]) -> None:
    """The node works without them; who starts it is told who has them."""
    with (
        socket.create_server(("127.0.0.1", 0)) as page,
        socket.create_server(("127.0.0.1", 0)) as metrics,
    ):
        ports = [one.getsockname()[1] for one in (page, metrics)]
        node = make_node(
            darc_master=only("status_website"),
            status_website={"port": ports[0]},
            metrics={"port": ports[1]},
        )
        result = node.call("darc_start_all_services")
        assert result.returncode == 0, result.stderr
        for what, port in zip(("the status page", "metrics"), ports, strict=True):
            assert f"warning: {what}: cannot listen on 127.0.0.1:{port}: " in result.stdout
        assert result.stdout.count(f"used by process {os.getpid()} (") == 2


def test_a_start_that_takes_its_time_says_what_it_waits_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("darc.runtime.progress.QUIET_SECONDS", 0.05)
    monkeypatch.setattr("darc.runtime.progress.AGAIN_SECONDS", 0.05)
    asked = threading.Semaphore(0)

    def left() -> str:
        asked.release()
        return "processor"

    with waiting("starting the services", left):
        for _ in range(3):  # the third: two lines are out
            assert asked.acquire(timeout=patience(20.0))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 2
    for line in lines:
        assert re.fullmatch(r"starting the services: \d+ s, not yet processor", line)
    with waiting("something quick"):
        pass
    assert capsys.readouterr().err == ""


def test_a_start_tries_at_once_what_supervisord_tries_later(small: Node) -> None:
    assert small.call("darc_start_master").returncode == 0
    os.kill(small.pid("darc_master"), signal.SIGKILL)

    def state() -> ProcessState:
        return small.supervisor.processes()["darc_master"].state

    def squatter() -> socket.socket | None:
        with contextlib.suppress(OSError):
            return socket.create_server(("127.0.0.1", small.port))
        return None

    with wait_for(squatter):
        wait_for(lambda: "Address already in use" in small.log("darc_master"), 30.0)
        # The process that has just said so is still there for a moment.
        wait_for(lambda: state() is ProcessState.BACKOFF)
    result = small.call("darc_start_master")
    assert result.returncode == 0, result.stderr


def test_files_that_a_power_cut_left_half_written_go_at_a_start(small: Node) -> None:
    assert small.call("darc_start_master").returncode == 0
    assert small.call("darc_stop_master").returncode == 0
    directories = small.run_dir, small.run_dir / "observations", small.run_dir / "supervisor.d"
    left = [directory / ".kept.json.0123456789ab.new" for directory in directories]
    for path in left:
        path.write_text("{")
        os.utime(path, (time.time() - 7200.0,) * 2)
    young = left[0].with_name(".kept.json.0123456789ac.new")
    young.write_text("{")
    assert small.call("darc_start_master").returncode == 0
    assert [path for path in (*left, young) if path.exists()] == [young]


def test_pipes_in_the_place_of_what_is_kept_hold_up_no_start(small: Node) -> None:
    assert small.call("darc_start_master").returncode == 0
    assert small.call("darc_stop_master").returncode == 0
    for name in ("observations/a.json", "restarts.json", "wanted.json"):
        path = small.run_dir / name
        path.unlink(missing_ok=True)
        os.mkfifo(path)
    result = small.call("darc_start_master")
    assert result.returncode == 0, result.stderr
    assert f"{small.run_dir}/observations/a.json" in small.log("darc_master")


def test_a_stop_that_leaves_a_process_says_so(small: Node) -> None:
    small.configure(darc_master={"stop_timeout": 0.5})
    child = IGNORES_SIGTERM.replace("\n", "; print('up', flush=True)\n")
    script = small.home / "leaver.py"
    script.write_text(
        "import signal, subprocess, sys\n"
        f"subprocess.Popen([sys.executable, '-c', {child!r}], start_new_session=True)\n"
        "while True: signal.pause()\n"
    )
    replace_command(small, "lofar_trigger", f"${{python}} {script}")
    assert small.call("darc_start_master").returncode == 0
    small.supervisor.start("lofar_trigger")
    # One that does not ignore it yet would end.
    wait_for(lambda: "up\n" in small.log("lofar_trigger"))
    result = small.run("darc_stop_master")
    assert result.returncode == 1
    assert "still running after" in result.stderr
    assert "darc_kill_all" in result.stderr
    assert small.call("darc_kill_all").returncode == 0
    assert small.processes() == []


@pytest.mark.parametrize(
    "script",
    [
        *("darc_start_master", "darc_stop_master", "darc_start_all_services"),
        *("darc_start_stop_all_services", "darc_stop_all_services", "darc_kill_all"),
    ],
)
def test_arguments_that_a_script_does_not_know_do_nothing(small: Node, script: str) -> None:
    wrong = small.run(script, "--now")
    assert wrong.returncode == 2
    assert "unrecognized arguments" in wrong.stderr
    assert not small.run_dir.exists()
    assert small.run(script, "-h").returncode == 0
