"""Real nodes for tests: supervisord and all services, in a temporary home, on a free port."""

from __future__ import annotations

import ast
import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import yaml

from darc.node.identity import supervisord_pid
from darc.node.processes import kill_node, of_node
from darc.node.supervisor import Supervisor

SCRIPTS = Path(sysconfig.get_path("scripts"))
#: In the environment of every process of a test's nodes, so that none can be left unseen.
TEST_RUN = "DARC_TEST_RUN"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], Any], timeout: float = 10.0, what: str = "") -> Any:
    """Wait until the condition gives something true, and return that."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {timeout} s: {what or condition}"
        time.sleep(0.02)


class Node:
    """A node in a home of its own. It is stopped, and its home removed, by the fixture."""

    def __init__(self, run: str, hostname: str = "testnode", **config: dict[str, Any]) -> None:
        # Sockets' paths have to be short.
        self.home = Path(tempfile.mkdtemp(prefix="darc-", dir="/tmp"))
        self.hostname = hostname
        self.port = free_port()
        self.run_dir = self.home / "run" / self.hostname
        self.environment = {
            **os.environ,
            "DARC_HOME": str(self.home),
            "DARC_HOSTNAME": self.hostname,
            "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}",
            TEST_RUN: run,
        }
        self.environment.pop("DARC_CONFIG", None)
        self.config: dict[str, Any] = {
            "darc_master": {"port": self.port, "setup_time": 0.2},
            "metrics": {"port": None},  # nodes of this machine would all have the same
            "status_website": {"interval": 0.5, "timeout": 2.0, "port": None},
            # Nobody is there: what leaves by mistake reaches nobody.
            "dada_trigger": {
                "port_i": free_port(),
                "port_iquv": free_port(),
                "buffer_length": 2.0,
            },
            "lofar_trigger": {"server_port": free_port(), "lofar_port": free_port()},
            "voevent_generator": {"server_port": free_port(), "broker_port": free_port()},
        }
        self.configure(**config)

    def configure(self, **sections: dict[str, Any]) -> None:
        """Lay sections over the configuration, and write it; nobody reads half of it."""
        for name, section in sections.items():
            self.config.setdefault(name, {}).update(section)
        written = self.home / "config.yaml.written"
        written.write_text(yaml.safe_dump(self.config))
        written.replace(self.home / "config.yaml")

    # -- commands --------------------------------------------------------------------------------

    def run(
        self, *command: str, timeout: float = 60.0, check: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run a script of DARC, as an operator would."""
        return subprocess.run(
            [str(SCRIPTS / command[0]), *command[1:]],
            env=self.environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=check,
        )

    def darc(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run("darc", *words)

    def ask(self, *words: str) -> Any:
        """The message of a command's reply, whatever its status."""
        result = self.darc("--json", *words)
        return json.loads(result.stdout)["message"]

    def start(self) -> None:
        """Start all services, and wait until they run."""
        result = self.run("darc_start_all_services")
        assert result.returncode == 0, result.stdout + result.stderr

    # -- what can be seen from outside -----------------------------------------------------------

    @property
    def node_id(self) -> str:
        return str(json.loads((self.run_dir / "node.json").read_text())["node_id"])

    def processes(self) -> list[psutil.Process]:
        return of_node(self.node_id) if (self.run_dir / "node.json").exists() else []

    def states(self) -> dict[str, str]:
        states: dict[str, str] = self.ask("--service", "all", "status")
        return states

    @property
    def supervisor(self) -> Supervisor:
        return Supervisor(self.run_dir / "supervisord.sock", timeout=5.0)

    def pid(self, service: str) -> int:
        return self.supervisor.processes()[service].pid

    def log(self, service: str) -> str:
        path = self.home / "log" / f"{service}.{self.hostname}.log"
        return path.read_text() if path.exists() else ""

    def counts(self, service: str, task_id: str) -> dict[str, int]:
        """What a service has counted of an observation."""
        answer = self.ask("--service", service, "get_attr", "counts")[service]
        books: dict[str, dict[str, int]] = ast.literal_eval(answer.split(": ", 1)[1][:-1])
        return books.get(task_id, {})

    def wait_until_over(self, task_id: str, timeout: float = 30.0) -> None:
        """Wait until no service has anything to do any more about an observation."""
        wait_for(
            lambda: task_id not in self.ask("get_attr", "observations"),
            timeout,
            f"observation {task_id} over",
        )

    def remove(self) -> None:
        """End whatever runs, by id, and remove the home: a stop takes longer, and has its tests."""
        left = []
        try:
            if self.processes():
                kill_node(self.node_id, supervisord_pid(self.run_dir), patience=0.0)
                left = self.processes()
        finally:
            shutil.rmtree(self.home, ignore_errors=True)
        assert not left, f"left running: {left}"


@contextmanager
def node(run: str, hostname: str = "testnode", **config: dict[str, Any]) -> Iterator[Node]:
    """A node that is not started yet, and gone afterwards."""
    made = Node(run, hostname, **config)
    try:
        yield made
    finally:
        made.remove()


def left_of_run(run: str) -> list[psutil.Process]:
    """Processes of this test run that still live."""
    left = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(TEST_RUN) == run and process.pid != os.getpid():
                left.append(process)
        except psutil.Error:
            continue
    return left


PYTHON = sys.executable
