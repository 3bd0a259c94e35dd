"""Temporary node for the demo and the benchmarks, with its own home and free ports."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from darc.config.yaml_tree import yaml_text
from darc.node.command_client import exchange_messages
from darc.node.node_identity import read_identity
from darc.node.processes import of_node
from darc.runtime.python_literals import literal_value
from simulator.ports import ReservedPort

HOSTNAME = "demo"
PATIENCE_SECONDS = 25.0
ASK_SECONDS = 30.0
SCRIPT_SECONDS = 60.0
# Paths of Unix sockets are short: what a home needs beside its own path fits in these.
LONGEST_HOME = 60


class DemoError(Exception):
    """The demo failed; the message says why."""


class TemporaryNode:
    """A standalone node that shares nothing with others; initially not running.

    It only uses ports of its own, so it does not affect a real node on this machine.

    :param home: a directory that is empty or not there; by default a new temporary one
    :param sections: laid over the configuration
    """

    def __init__(
        self, home: Path | None = None, sections: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        self.home = (home or _temporary_home()).absolute()
        self.home.mkdir(parents=True, exist_ok=True)
        if any(self.home.iterdir()):
            raise DemoError(f"{self.home} is not empty")
        self.run_dir = self.home / "run" / HOSTNAME
        self._ports = [ReservedPort() for _ in range(7)]
        numbers = (port.number for port in self._ports)
        self.port, port_i, port_iquv, lofar, voevent, udp, broker = numbers
        config: dict[str, dict[str, Any]] = {
            # A busy machine may be slow.
            "darc_master": {"port": self.port, "control_timeout": PATIENCE_SECONDS},
            "metrics": {"port": None},
            "status_website": {"port": None},
            "dada_trigger": {"port_i": port_i, "port_iquv": port_iquv},
            "lofar_trigger": {
                "send_events": False,
                "server_port": lofar,
                "lofar_host": "127.0.0.1",
                "lofar_port": udp,
            },
            "voevent_generator": {
                "send_events": False,
                "server_port": voevent,
                "broker_host": "127.0.0.1",
                "broker_port": broker,
            },
        }
        self._config = config
        self.configure(sections or {})
        self.environment = {
            **{name: value for name, value in os.environ.items() if name != "DARC_CONFIG"},
            "DARC_HOME": str(self.home),
            "DARC_HOSTNAME": HOSTNAME,
        }

    def configure(self, sections: Mapping[str, Mapping[str, Any]]) -> None:
        """Override sections of the configuration, for services that start later."""
        for name, section in sections.items():
            self._config.setdefault(name, {}).update(section)
        written = self.home / "config.yaml.written"
        written.write_text(yaml_text(self._config))
        written.replace(self.home / "config.yaml")

    @property
    def server_ports(self) -> dict[str, dict[str, Any]]:
        """Sections of the configuration by which workers find its queue servers."""
        names = ("lofar_trigger", "voevent_generator")
        return {name: {"server_port": self._config[name]["server_port"]} for name in names}

    # -- scripts and commands ----------------------------------------------------------------------

    def run(self, function: str, timeout: float = SCRIPT_SECONDS) -> str:
        """Run a script of bin/, and return its output.

        :param function: its function in darc.cli.node_scripts
        :raises DemoError: it failed
        """
        code = f"import sys; from darc.cli.node_scripts import {function} as run; sys.exit(run())"
        # In a session of its own: Ctrl-C is for the caller alone, who stops what it started.
        with subprocess.Popen(
            [sys.executable, "-c", code],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as script:
            try:
                output, _ = script.communicate(timeout=timeout)
            except subprocess.TimeoutExpired as error:
                script.kill()
                raise DemoError(f"darc_{function}: not done after {timeout:.0f} s") from error
            except BaseException:
                # Half a start is harder to clear up than a whole one.
                script.wait(timeout)
                raise
        if script.returncode != 0:
            raise DemoError(f"darc_{function} failed:\n{output.strip()}")
        return output

    def script(self, name: str) -> str:
        """Return the path of an installed command.

        :raises DemoError: it is not installed beside this Python
        """
        path = shutil.which(name, path=sysconfig.get_path("scripts"))
        if path is None:
            raise DemoError(f"{name} is not installed beside {sys.executable}")
        return path

    def start(self) -> None:
        """Start all services, and wait until they are running."""
        self.run("start_all_services")

    def ask(self, command: str, service: str = "", payload: Path | None = None) -> Any:
        """Send a command, and return the message of its reply.

        :raises DemoError: it was an error, or there was no reply
        """
        request = {"command": command}
        if service:
            request["service"] = service
        if payload:
            request["payload"] = str(payload)
        try:
            reply = exchange_messages(
                "127.0.0.1", self.port, request, ASK_SECONDS, self.run_dir / "secret"
            )
        except (OSError, ValueError) as error:
            raise DemoError(f"{command}: no answer from the master: {error}") from error
        if reply.get("status") == "Error":
            raise DemoError(f"{command}: {reply.get('message')}")
        return reply.get("message")

    def states(self) -> dict[str, str]:
        """Return the state of each service."""
        states: dict[str, str] = self.ask("status", "all")
        return states

    def counts(self, task_id: str) -> dict[str, dict[str, int]]:
        """Return the counts of each service for an observation."""
        counts = {}
        for service, answer in self.ask("get_attr counts", "all").items():
            if answer.startswith("{"):
                (books,) = literal_value(answer).values()
                counts[service] = books.get(task_id, {})
        return counts

    def master_attribute(self, name: str) -> Any:
        """Return an attribute of the master that is a plain value."""
        return literal_value(str(self.ask(f"get_attr {name}")).partition(" = ")[2])

    # -- what can be seen from outside -------------------------------------------------------------

    @property
    def status_page(self) -> Path:
        return self.home / "status" / "index.html"

    @property
    def log_dir(self) -> Path:
        return self.home / "log"

    def log(self, service: str) -> str:
        """Return a service's log; empty if there is none."""
        path = self.log_dir / f"{service}.{HOSTNAME}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def processes(self) -> list[psutil.Process]:
        """Return all processes with this node's id."""
        node = read_identity(self.run_dir)
        return of_node(node.node_id) if node else []

    # -- the end -----------------------------------------------------------------------------------

    def stop(self) -> list[psutil.Process]:
        """Stop everything; return processes that are left."""
        if self.processes() and (self.run_dir / "endpoint.json").exists():
            try:
                self.run("stop_master")
            except DemoError as error:
                print(error, file=sys.stderr)
        if self.processes():
            try:
                self.run("kill_all")
            except DemoError as error:
                print(error, file=sys.stderr)
        return self.processes()

    def remove(self) -> None:
        """Remove the home, and release the ports."""
        for port in self._ports:
            port.close()
        shutil.rmtree(self.home, ignore_errors=True)


def _temporary_home() -> Path:
    place = tempfile.gettempdir()
    short = len(place) < LONGEST_HOME
    return Path(tempfile.mkdtemp(prefix="darc-", dir=place if short else "/tmp"))
