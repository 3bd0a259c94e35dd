"""darc_kill_all: all of one node goes, whatever state it is in, and nothing else does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import psutil
import pytest
from nodes import Node, only, patience, wait_for

from darc.node.processes import of_node

SERVICES = ["lofar_trigger"]
SMALL = only(*SERVICES) | {"stop_timeout": 1.0}
# Where all end by themselves, on a machine as busy as may be.
LENT = {"darc_master": only(*SERVICES) | {"stop_timeout": 30.0}}
# A service that does not end, with a child that has left its process group.
STUBBORN = """
import signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = "import signal; signal.signal(15, 1); print('child is up', flush=True); signal.pause()"
subprocess.Popen([sys.executable, "-c", child], start_new_session=True)
while True:
    signal.pause()
"""
WAIT = "import signal; print('up', flush=True); signal.pause()"


@pytest.fixture
def small(make_node: Callable[..., Node]) -> Node:
    """A node of one service, not started, with a short stop_timeout."""
    return make_node(darc_master=SMALL)


def supervisord(node: Node) -> int:
    return int((node.run_dir / "supervisord.pid").read_text())


def start_stubborn_service(node: Node) -> None:
    """A node on which nothing but that runs."""
    script = node.home / "stubborn.py"
    script.write_text(STUBBORN)
    (node.home / "supervisor").mkdir()
    section = f"[program:lofar_trigger]\ncommand=${{python}} {script}\n"
    (node.home / "supervisor" / "lofar_trigger.conf").write_text(section)
    assert node.call("darc_start_master").returncode == 0
    node.supervisor.start("lofar_trigger")
    # With its end: of a half line, what follows would meet a pipe that nobody reads.
    wait_for(lambda: "child is up\n" in node.log("lofar_trigger"))


def assert_all_gone_and_startable(node: Node, node_id: str) -> None:
    assert of_node(node_id) == []
    left = {path.name for path in node.run_dir.iterdir()}
    assert not left & {"supervisord.sock", "supervisord.pid", "queues.sock", "endpoint.json"}
    node.start()
    assert node.states() == dict.fromkeys(SERVICES, "running")


def test_kill_all_ends_a_healthy_node_gently(lent_node: Node) -> None:
    small = lent_node
    node_id = small.node_id
    result = small.run("darc_kill_all")
    assert result.returncode == 0, result.stderr
    assert result.stdout == "4 processes ended, 0 of them by SIGKILL\n"
    assert_all_gone_and_startable(small, node_id)


def test_kill_all_of_what_does_not_run_is_no_error(small: Node) -> None:
    for said in ("DARC is not running: no node was started here\n", "DARC is not running\n"):
        result = small.run("darc_kill_all")
        assert (result.returncode, result.stdout, result.stderr) == (0, said, "")
        assert small.call("darc_start_master").returncode == 0
        assert small.call("darc_stop_master").returncode == 0


def test_kill_all_with_a_supervisord_that_hangs(lent_node: Node) -> None:
    small = lent_node
    node_id = small.node_id
    os.kill(supervisord(small), signal.SIGSTOP)
    result = small.run("darc_kill_all")
    assert result.returncode == 0, result.stderr
    assert result.stdout == "4 processes ended, 0 of them by SIGKILL\n"
    assert_all_gone_and_startable(small, node_id)


def test_kill_all_with_children_that_a_dead_supervisord_left(small: Node) -> None:
    start_stubborn_service(small)
    node_id = small.node_id
    os.kill(supervisord(small), signal.SIGKILL)
    wait_for(lambda: len(of_node(node_id)) == 2, what="end of all but the stubborn")
    result = small.call("darc_kill_all")
    assert result.returncode == 0, result.stderr
    assert result.stdout == "2 processes ended, 2 of them by SIGKILL\n"
    (small.home / "supervisor" / "lofar_trigger.conf").unlink()
    assert_all_gone_and_startable(small, node_id)


def test_everything_ends_by_itself_when_supervisord_is_gone(lent_node: Node) -> None:
    small = lent_node
    node_id = small.node_id
    os.kill(supervisord(small), signal.SIGKILL)
    wait_for(lambda: not of_node(node_id), 3.0, "end of the processes")
    # A start finds its way without a kill.
    result = small.call("darc_start_all_services")
    assert result.returncode == 0, result.stderr
    assert small.node_id != node_id


def test_a_start_replaces_what_a_dead_supervisord_left(small: Node) -> None:
    start_stubborn_service(small)
    node_id = small.node_id
    os.kill(supervisord(small), signal.SIGKILL)
    wait_for(lambda: len(of_node(node_id)) == 2, what="end of all but the stubborn")
    (small.home / "supervisor" / "lofar_trigger.conf").unlink()
    result = small.call("darc_start_all_services")
    assert result.returncode == 0, result.stderr
    assert "replacing 2 processes left by a crashed supervisord" in result.stdout
    assert of_node(node_id) == []
    assert len(small.processes()) == 4


def test_kill_all_ends_what_ignores_sigterm_and_what_left_its_process_group(small: Node) -> None:
    start_stubborn_service(small)
    node_id = small.node_id
    assert len(of_node(node_id)) == 5
    began = time.monotonic()
    result = small.run("darc_kill_all")
    assert result.returncode == 0, result.stderr
    assert time.monotonic() - began < patience(1.0 + 3.0)  # stop_timeout, and more
    assert of_node(node_id) == []
    (small.home / "supervisor" / "lofar_trigger.conf").unlink()
    assert_all_gone_and_startable(small, node_id)


@pytest.fixture
def bystanders(small: Node) -> Iterator[dict[str, psutil.Process]]:
    """Processes that have to do with a node, and are not of it."""
    small.start()
    log = small.home / "log" / f"darc_master.{small.hostname}.log"
    wait = [sys.executable, "-c", WAIT]
    plain = {name: text for name, text in os.environ.items() if "DARC" not in name}
    with log.open() as reads_log:
        started = {
            "reads the log": subprocess.Popen(
                wait, stdin=reads_log, stdout=subprocess.PIPE, env=plain
            ),
            "has DARC_HOME": subprocess.Popen(wait, stdout=subprocess.PIPE, env=small.environment),
            "is called darc_service": subprocess.Popen(
                ["darc_service", *wait[1:]], executable=wait[0], stdout=subprocess.PIPE, env=plain
            ),
            "works in the home": subprocess.Popen(
                wait, stdout=subprocess.PIPE, env=plain, cwd=small.run_dir
            ),
        }
    for process in started.values():
        assert process.stdout
        process.stdout.readline()
    yield {name: psutil.Process(process.pid) for name, process in started.items()}
    for process in started.values():
        process.kill()
        process.communicate()


def test_kill_all_leaves_bystanders_alone(
    small: Node, bystanders: dict[str, psutil.Process], make_node: Callable[..., Node]
) -> None:
    beside = make_node(darc_master=SMALL)
    beside.start()
    before = {process.pid for process in beside.processes()}
    assert small.call("darc_kill_all").returncode == 0
    assert small.processes() == []
    dead = {
        name
        for name, process in bystanders.items()
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    }
    assert dead == set()
    assert {process.pid for process in beside.processes()} == before
    assert beside.states() == dict.fromkeys(SERVICES, "running")


@pytest.mark.parametrize("broken", ["config.yaml", "node.json", "endpoint.json", "all"])
def test_kill_all_works_with_broken_files(lent_node: Node, broken: str) -> None:
    small = lent_node
    node_id = small.node_id
    files = {
        "config.yaml": small.home / "config.yaml",
        "node.json": small.run_dir / "node.json",
        "endpoint.json": small.run_dir / "endpoint.json",
    }
    good = (small.home / "config.yaml").read_text()
    # Of node.json and the endpoint one has to tell the node's id.
    for name in ("config.yaml", "endpoint.json") if broken == "all" else (broken,):
        files[name].write_text("{ broken")
    if broken == "all":
        (small.run_dir / "last_good_config.json").unlink()
    result = small.call("darc_kill_all")
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout.startswith("4 processes ended")
    files["config.yaml"].write_text(good)
    assert_all_gone_and_startable(small, node_id)
