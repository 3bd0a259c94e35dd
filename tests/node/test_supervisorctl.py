"""supervisord is an operator's own tool: supervisorctl works on a node, and logs are rotated."""

from __future__ import annotations

import configparser
import os
import signal
import socket
from collections.abc import Callable

import pytest
from nodes import Node, only, patience, supervisorctl, wait_for

SERVICES = ["lofar_trigger", "voevent_generator"]
SMALL = only(*SERVICES)


@pytest.fixture
def small(make_node: Callable[..., Node]) -> Node:
    """A node of two services, not started."""
    return make_node(darc_master=SMALL)


def test_what_is_stopped_with_supervisorctl_stays_stopped(small: Node) -> None:
    small.start()
    status = supervisorctl(small, "status")
    names = {line.split()[0] for line in status.splitlines()}
    assert names == {"darc_master", "darc_monitor", *SERVICES}
    assert status.count("RUNNING") + status.count("STARTING") == 4

    assert supervisorctl(small, "stop", "lofar_trigger") == "lofar_trigger: stopped\n"
    expected = {"lofar_trigger": "stopped", "voevent_generator": "running"}
    wait_for(lambda: small.states() == expected, 5.0)  # the master hears of it
    # The master's death and return change nothing about that.
    master = small.pid("darc_master")
    os.kill(master, signal.SIGKILL)
    wait_for(lambda: small.pid("darc_master") not in (0, master), what="another master")
    wait_for(small.answers)
    wait_for(lambda: small.states()["voevent_generator"] == "running")
    assert small.states() == {"lofar_trigger": "stopped", "voevent_generator": "running"}

    assert supervisorctl(small, "start", "lofar_trigger") == "lofar_trigger: started\n"
    wait_for(lambda: small.states()["lofar_trigger"] == "running")


def test_what_is_started_with_darc_is_seen_by_supervisorctl(small: Node) -> None:
    assert small.call("darc_start_master").returncode == 0
    assert supervisorctl(small, "status", "lofar_trigger").split()[1] == "STOPPED"
    small.darc("--service", "lofar_trigger", "start")
    assert supervisorctl(small, "status", "lofar_trigger").split()[1] in {"STARTING", "RUNNING"}


def test_logs_are_rotated_at_10_mb_and_ten_are_kept_by_default(small: Node) -> None:
    assert small.call("darc_start_master").returncode == 0
    for service in ("darc_master", "darc_monitor", *SERVICES):
        parser = configparser.RawConfigParser()
        parser.read(small.run_dir / "supervisor.d" / f"{service}.conf")
        section = parser[f"program:{service}"]
        log = f"{small.home}/log/{service}.{small.hostname}.log"
        assert section["stdout_logfile"] == log
        assert section["stdout_logfile_maxbytes"] == str(10 * 1024 * 1024)
        assert section["stdout_logfile_backups"] == "10"
        assert section["redirect_stderr"] == "true"
    parser = configparser.RawConfigParser()
    parser.read(small.run_dir / "supervisord.conf")
    assert parser["supervisord"]["logfile_maxbytes"] == str(10 * 1024 * 1024)
    assert parser["supervisord"]["logfile_backups"] == "10"
    assert parser["supervisord"]["logfile"] == f"{small.home}/log/supervisord.testnode.log"


def test_a_log_that_has_grown_is_rotated_and_only_so_many_are_kept(
    make_node: Callable[..., Node],
) -> None:
    node = make_node(darc_master={**SMALL, "log_max_bytes": 10_000, "log_backups": 2})
    assert node.call("darc_start_master").returncode == 0
    directory = node.home / "log"
    log = directory / f"darc_master.{node.hostname}.log"

    def sizes() -> dict[str, int]:
        return {path.name: path.stat().st_size for path in directory.glob(f"{log.name}*")}

    def complain() -> bool:
        """Each bad command is a line of the log."""
        for _ in range(50):
            with socket.create_connection(
                ("127.0.0.1", node.port), timeout=patience(5)
            ) as connection:
                connection.sendall(b"nonsense")
                connection.recv(1024)
        node.log("darc_master")  # supervisord has written these, and not more at once
        return len(sizes()) >= 3

    wait_for(complain, 30.0, "two rotations")
    # What was rotated first has to go for the third.
    oldest = (directory / f"{log.name}.2").read_text()
    wait_for(lambda: complain() and (directory / f"{log.name}.2").read_text() != oldest, 30.0)
    assert set(sizes()) == {log.name, f"{log.name}.1", f"{log.name}.2"}
    # supervisord looks after each write of its own, which is some lines.
    assert all(size < 20_000 for size in sizes().values())
    assert node.darc("reload").stdout == "status: Success\nmessage: Config reloaded\n"
    wait_for(
        lambda: "reload from 127.0.0.1" in node.log("darc_master"), what="newest line in place"
    )
