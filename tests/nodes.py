"""Real nodes for tests: supervisord and all services, in a temporary home, on a free port."""

from __future__ import annotations

import io
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
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any
from unittest import mock

import psutil
import yaml

from darc import control
from darc.cli import node_scripts
from darc.cli.darc_parser import make_parser
from darc.node.command_client import exchange_messages
from darc.node.node_identity import supervisord_pid
from darc.node.processes import kill_node, of_node
from darc.node.supervisor import ProcessState, Supervisor, SupervisorError
from darc.runtime.python_literals import literal_value

# The checkout has the simulator, which is not installed; last, as darc is what is installed.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from simulator.ports import ReservedPort

#: The checkout.
ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = Path(sysconfig.get_path("scripts"))
#: In the environment of every process of a test's nodes, so that none can be left unseen.
TEST_RUN = "DARC_TEST_RUN"


#: All that tests wait for may take this many times longer: for machines that others use, too.
TIME_FACTOR = float(os.environ.get("DARC_TEST_TIME") or 1.0)

#: Between two looks at what is waited for: at most this (s), and this part of the time so far.
LONGEST_PAUSE = 0.15
PAUSE_PART = 0.05

reserved: dict[int, ReservedPort] = {}


def patience(seconds: float) -> float:
    """How long to wait on this machine for what must come."""
    return seconds * TIME_FACTOR


def free_port() -> int:
    """A port where nobody listens, kept for who is told of it until the tests end.

    Not only found free, but reserved: see `ReservedPort`.
    """
    port = ReservedPort()
    reserved[port.number] = port
    return port.number


def send_signal(pid: int, number: int, _kill: Callable[[int, int], None] = os.kill) -> None:
    """`os.kill` of tests: a service that is between two processes has the pid 0.

    To the kernel that is the sender's own process group: SIGSTOP stops the whole test run, in the
    background of a shell without a word.
    """
    if pid <= 0:
        raise ValueError(f"{pid} is no process but a group: the service has no process now")
    _kill(pid, number)


def wait_for(condition: Callable[[], Any], timeout: float = 10.0, what: str = "") -> Any:
    """Wait until the condition gives something true, and return that.

    Looking takes no more than half of the time, and is rarer the longer it has taken: others need
    the processor for what is waited for, and a look at a node is work for two or three processes.

    :param timeout: s, of a machine that does nothing else
    """
    timeout = patience(timeout)
    began = time.monotonic()
    while True:
        before = time.monotonic()
        value = condition()
        if value:
            return value
        now = time.monotonic()
        assert now - began < timeout, f"not within {timeout} s: {what or condition}"
        time.sleep(max(0.02, now - before, min(LONGEST_PAUSE, (now - began) * PAUSE_PART)))


def only(*services: str) -> dict[str, Any]:
    """The section darc_master of a node on its own with these services, and no others."""
    return {"services_master_mix": list(services), "services_worker_mix": []}


def value_of(answer: str) -> Any:
    """The value in a service's answer to get_attr; None where it is the service's state."""
    return literal_value(answer.split(": ", 1)[1][:-1]) if answer.startswith("{") else None


class Node:
    """A node in a home of its own. It is stopped, and its home removed, by the fixture."""

    def __init__(self, run: str, hostname: str = "testnode", **config: dict[str, Any]) -> None:
        # Sockets' paths have to be short.
        self.home = Path(tempfile.mkdtemp(prefix="darc-", dir="/tmp"))
        self.hostname = hostname
        # Closed with the node: one test process makes hundreds of nodes.
        self._ports = [free_port() for _ in range(7)]
        self.port, port_i, port_iquv, lofar, lofar_udp, voevent, broker = self._ports
        self.run_dir = self.home / "run" / self.hostname
        self.environment = {
            **os.environ,
            "DARC_HOME": str(self.home),
            "DARC_HOSTNAME": self.hostname,
            "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}",
            TEST_RUN: run,
        }
        self.environment.pop("DARC_CONFIG", None)
        self._usual_environment = dict(self.environment)
        self.config: dict[str, Any] = {
            "darc_master": {
                "port": self.port,
                "setup_time": 0.2,
                # Deadlines of the node's own, as configured by default.
                "control_timeout": patience(5.0),
                "stop_timeout": patience(5.0),
            },
            "metrics": {"port": None},  # nodes of this machine would all have the same
            "status_website": {"interval": 2.0, "timeout": patience(2.0), "port": None},
            # Nobody is there: what leaves by mistake reaches nobody.
            "dada_trigger": {"port_i": port_i, "port_iquv": port_iquv, "buffer_length": 2.0},
            "lofar_trigger": {"server_port": lofar, "lofar_port": lofar_udp},
            "voevent_generator": {"server_port": voevent, "broker_port": broker},
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
            timeout=patience(timeout),
            check=check,
        )

    def call(self, script: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Do what `darc`, or a script that starts or ends a node, does in the process of the tests.

        To start a script takes a fifth of a second of processor time. Where the script is what is
        tested, or runs beside another thing, it is `run`; so it is here where the environment has
        something for all programs, and not for DARC alone.
        """
        own = {name for name, _ in self.environment.items() ^ self._usual_environment.items()}
        if any(not name.startswith("DARC_") for name in own):
            return self.run(script, *words)
        if script == "darc":
            function = control.main
        else:
            function = getattr(node_scripts, script.removeprefix("darc_"))
        printed, told = io.StringIO(), io.StringIO()
        with (
            mock.patch.dict(os.environ, self.environment, clear=True),
            mock.patch.object(sys, "argv", [script, *words]),
            redirect_stdout(printed),
            redirect_stderr(told),
        ):
            try:
                status = function()
            except SystemExit as error:
                status = error.code
        return subprocess.CompletedProcess(
            [script, *words], status, printed.getvalue(), told.getvalue()
        )

    def darc(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run("darc", *words)

    def reply(self, *words: str) -> dict[str, Any]:
        """The reply to a command, as `darc --json` prints it, without starting a program.

        :raises OSError: the master does not answer
        """
        options = make_parser().parse_args(words)
        request = {
            "command": f"{options.command} {options.attribute or ''}".strip(),
            "from": f"{self.environment.get('USER', '?')}@{socket.gethostname()}",
        }
        if options.service:
            request["service"] = options.service
        if file := options.parset or options.config:
            request["payload"] = str(Path(file).absolute())
        home = Path(self.environment["DARC_HOME"])
        endpoint = json.loads((home / "run" / self.hostname / "endpoint.json").read_text())
        secret = Path(endpoint["run_dir"]) / "secret"
        where = (endpoint["host"], endpoint["port"])
        return exchange_messages(*where, request, patience(10.0), secret)

    def ask(self, *words: str) -> Any:
        """The message of a command's reply, whatever its status."""
        return self.reply(*words)["message"]

    def value(self, service: str, attribute: str) -> Any:
        """The value of a service's attribute; None while it does not run."""
        return value_of(self.ask("--service", service, "get_attr", attribute)[service])

    def answers(self) -> bool:
        """Whether the master answers."""
        try:
            return bool(self.reply("--service", "all", "status")["status"] != "Error")
        except (OSError, ValueError):  # nobody is there, or a test has broken the endpoint's file
            return False

    def all_run(self) -> bool:
        """Whether the master answers, and all services run."""
        return self.answers() and set(self.states().values()) == {"running"}

    def start(self) -> None:
        """Start all services, and wait until they run."""
        result = self.call("darc_start_all_services")
        if "not started: " in result.stderr:  # in a time that knows no factor
            wait_for(self.all_run, 30.0, result.stderr)
        else:
            assert result.returncode == 0, result.stdout + result.stderr

    # -- what can be seen from outside -----------------------------------------------------------

    @property
    def node_id(self) -> str:
        return str(json.loads((self.run_dir / "node.json").read_text())["node_id"])

    def own_files(self) -> dict[Path, bytes]:
        """What an operator has written: the configuration, and sections of supervisord's."""
        paths = [self.home / "config.yaml", *self.home.glob("supervisor/*")]
        return {path: path.read_bytes() for path in paths if path.is_file()}

    def processes(self) -> list[psutil.Process]:
        return of_node(self.node_id) if (self.run_dir / "node.json").exists() else []

    def states(self) -> dict[str, str]:
        states: dict[str, str] = self.ask("--service", "all", "status")
        return states

    @property
    def supervisor(self) -> Supervisor:
        return Supervisor(self.run_dir / "supervisord.sock", timeout=patience(5.0))

    def pid(self, service: str) -> int:
        return self.supervisor.processes()[service].pid

    def runs_for_good(self, service: str) -> bool:
        """Whether supervisord counts it as started: it gives up what ends too often before."""
        return self.supervisor.processes()[service].state is ProcessState.RUNNING

    def log(self, service: str) -> str:
        """Its log, with all that it has said by now."""
        logs_are_written(self.run_dir)
        path = self.home / "log" / f"{service}.{self.hostname}.log"
        return path.read_text() if path.exists() else ""

    def run_key(self, task_id: str) -> str:
        """What the journal keeps the run of an observation under that is not over."""
        kept = (self.run_dir / "observations" / f"{task_id}.json").read_text()
        return f"{task_id}#{json.loads(kept)['observation']['run']}"

    def counts(self, service: str, task_id: str) -> dict[str, int]:
        """What a service has counted of an observation; nothing while it does not run."""
        books: dict[str, dict[str, int]] = self.value(service, "counts") or {}
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
                kill_node(self.node_id, supervisord_pid(self.run_dir), 0.0)
                left = self.processes()
        finally:
            shutil.rmtree(self.home, ignore_errors=True)
            for port in self._ports:
                reserved.pop(port).close()
        assert not left, f"left running: {left}"


def logs_are_written(run_dir: Path) -> None:
    """Wait until all that a node's services have said by now is in their logs.

    supervisord writes it, in turns of its own; before it answers, it looks at what they have said.
    """
    with suppress(SupervisorError):  # it is gone, or ends
        Supervisor(run_dir / "supervisord.sock", timeout=patience(5.0)).poke()


def supervisorctl(node: Node, *words: str) -> str:
    """As an operator types it, who has none of DARC's variables set."""
    environment = {name: text for name, text in os.environ.items() if "DARC" not in name}
    conf = node.run_dir / "supervisord.conf"
    return subprocess.run(
        [str(SCRIPTS / "supervisorctl"), "-c", str(conf), *words],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=patience(30),
        check=False,
    ).stdout


@contextmanager
def node(run: str, hostname: str = "testnode", **config: dict[str, Any]) -> Iterator[Node]:
    """A node that is not started yet, and gone afterwards."""
    made = Node(run, hostname, **config)
    try:
        yield made
    finally:
        made.remove()


def left_of_run(run: str) -> list[psutil.Process]:
    """Processes of this test run that still live.

    :param run: what their `TEST_RUN` begins with
    """
    left = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(TEST_RUN, "").startswith(run) and process.pid != os.getpid():
                left.append(process)
        except psutil.Error:
            continue
    return left


PYTHON = sys.executable
