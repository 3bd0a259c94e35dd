"""What the tests themselves rest on: ports that stay theirs, deadlines with one factor, signals."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import nodes
import psutil
import pytest
from nodes import Node, free_port, only, patience, wait_for

from simulator import ports
from simulator.ports import ReservedPort

HERE = "127.0.0.1"


def test_a_port_is_nobody_elses_until_a_server_has_it_and_while_it_is_restarted() -> None:
    port = free_port()
    for _ in range(2):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HERE, port))
        # A connection's own end gets no port that a socket is bound to; nor does who asks for it.
        for stranger in (socket.socket(), socket.socket(socket.AF_INET6)):
            with stranger, pytest.raises(OSError, match="Address already in use"):
                stranger.bind(("", port))
        with (
            socket.create_server((HERE, port)) as server,
            socket.create_connection((HERE, port)) as client,
        ):
            accepted, _ = server.accept()
            with accepted:
                accepted.sendall(b"here")
                assert client.recv(4) == b"here"
    datagrams = socket.socket(type=socket.SOCK_DGRAM)
    with datagrams:
        datagrams.bind((HERE, port))


def test_no_two_have_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    one = ReservedPort()
    numbers = iter([one.number, one.number, one.number + 1])
    monkeypatch.setattr(ports.secrets, "choice", lambda _: next(numbers))
    try:
        other = ReservedPort()
    except StopIteration:
        pytest.skip("somebody has the port above")
    assert other.number == one.number + 1
    monkeypatch.setattr(ports.secrets, "choice", lambda _: one.number)
    with pytest.raises(OSError, match="are all in use"):
        ReservedPort()
    one.close()
    other.close()


def test_it_is_none_that_connections_get_by_chance() -> None:
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    if low <= 10_000 and high == 65_535:
        pytest.skip("all ports of this machine are ephemeral")
    assert not low <= free_port() <= high


def test_a_node_that_is_removed_keeps_no_port(test_run: str) -> None:
    before = set(nodes.reserved)
    made = Node(test_run)
    assert len(set(nodes.reserved) - before) == 7
    made.remove()
    assert set(nodes.reserved) == before
    with socket.socket() as anybody:
        anybody.bind((HERE, made.port))


def test_all_deadlines_have_one_factor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "TIME_FACTOR", 3.0)
    assert patience(2.0) == 6.0
    with pytest.raises(AssertionError, match=r"not within 0\.3.* s: never"):
        wait_for(lambda: False, 0.1, "never")


@pytest.fixture
def other_run(tmp_path: Path) -> Callable[[str], subprocess.Popen[str]]:
    """Run a test with this directory's fixtures, in another pytest with one worker."""
    environment = {name: text for name, text in os.environ.items() if "PYTEST" not in name}
    environment["DARC_TEST_TIME"] = "3"
    for name in ("conftest.py", "nodes.py"):
        (tmp_path / name).symlink_to(Path(__file__).with_name(name))

    def start(text: str) -> subprocess.Popen[str]:
        (tmp_path / "test_it.py").write_text(text)
        return subprocess.Popen(
            [sys.executable, "-m", "pytest", "-n", "1", "-rP", str(tmp_path)],
            env=environment,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )

    return start


def test_whole_tests_have_it_too_in_workers_as_well(
    other_run: Callable[[str], subprocess.Popen[str]],
) -> None:
    text = (
        "import pytest\n"
        "def test_usual(request):\n"
        "    print('usual', request.config.option.timeout)\n"
        "@pytest.mark.timeout(7)\n"
        "def test_marked(request):\n"
        "    print('marked', request.node.get_closest_marker('timeout').args)\n"
    )
    with other_run(text) as run:
        said, _ = run.communicate(timeout=patience(110))
    assert run.returncode == 0, said
    assert "usual 360.0" in said
    assert "marked (21.0,)" in said


def ctrl_c(run: subprocess.Popen[str]) -> None:
    os.killpg(run.pid, signal.SIGINT)


@pytest.mark.parametrize("end", [ctrl_c, subprocess.Popen.terminate])
def test_a_run_that_is_ended_leaves_nothing_running(
    other_run: Callable[[str], subprocess.Popen[str]],
    tmp_path: Path,
    end: Callable[[subprocess.Popen[str]], None],
) -> None:
    # What was started, and the worker that would have ended it, are gone.
    text = (
        "import os, pathlib, signal, subprocess, nodes\n"
        "def test_it(test_run):\n"
        "    words = [nodes.PYTHON, '-c', 'import signal; signal.pause()']\n"
        "    environment = {**os.environ, nodes.TEST_RUN: test_run}\n"
        "    child = subprocess.Popen(words, env=environment, start_new_session=True)\n"
        "    pathlib.Path('new').write_text(f'{child.pid} {os.getpid()}')\n"
        "    pathlib.Path('new').rename('pids')\n"
        "    signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "    signal.pause()\n"
    )
    with other_run(text) as run:
        wait_for((tmp_path / "pids").exists, 110.0, "a test that runs")
        child, worker = map(int, (tmp_path / "pids").read_text().split())
        end(run)
        said, _ = run.communicate(timeout=patience(60))
    assert run.returncode == pytest.ExitCode.INTERRUPTED, said
    assert f"left running by the tests: {child} " in said
    wait_for(lambda: not psutil.pid_exists(child) and not psutil.pid_exists(worker))


def test_no_signal_goes_to_the_tests_themselves() -> None:
    for pid in (0, -1, -os.getpgrp()):
        with pytest.raises(ValueError, match="the service has no process now"):
            os.kill(pid, 0)
    os.kill(os.getpid(), 0)


def test_a_script_that_is_called_leaves_this_process_as_it_was(
    fresh_node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dict(os.environ), list(sys.argv), sys.stdout, sys.stderr
    run = Mock()
    monkeypatch.setattr(Node, "run", run)
    stopped = fresh_node.call("darc_stop_master")
    assert (stopped.returncode, stopped.stdout, stopped.stderr) == (0, "DARC is not running\n", "")
    wrong = fresh_node.call("darc_kill_all", "--now")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "darc_kill_all: error: unrecognized arguments: --now" in wrong.stderr
    with pytest.raises(subprocess.CalledProcessError):
        wrong.check_returncode()
    assert fresh_node.call("darc", "--help").stdout.startswith("usage: ")
    assert (dict(os.environ), list(sys.argv), sys.stdout, sys.stderr) == before
    # What is for all programs would be for this one, too.
    run.assert_not_called()
    monkeypatch.setitem(fresh_node.environment, "PYTHONPATH", "/nowhere")
    assert fresh_node.call("darc_stop_master") is run.return_value


def test_a_log_has_all_that_a_service_has_said_by_now(make_node: Callable[..., Node]) -> None:
    """Though supervisord, which writes it, has not come to that yet."""
    node = make_node(darc_master=only())
    assert node.call("darc_start_master").returncode == 0
    supervisord = int((node.run_dir / "supervisord.pid").read_text())
    later = threading.Timer(1.0, os.kill, (supervisord, signal.SIGCONT))
    os.kill(supervisord, signal.SIGSTOP)
    later.start()
    with socket.create_connection((HERE, node.port), timeout=patience(10.0)) as client:
        client.sendall(b"rubbish")
        assert b"Cannot parse" in client.recv(1024)
    assert "Cannot parse" in node.log("darc_master")
    later.join()
    # Of what has ended it is read as it is.
    assert node.call("darc_stop_master").returncode == 0
    assert "Cannot parse" in node.log("darc_master")
