"""A box: a master and workers, each in its own namespaces, on their own network."""

from __future__ import annotations

import os
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from darc.config.yaml_tree import yaml_text
from darc.runtime.paths import this_boot
from simulator.box.check import unavailable
from simulator.box.hosts import configuration, hosts_file, make_hosts, worker_names
from simulator.box.namespaces import BoxError
from simulator.box.network import Network
from simulator.box.node import BoxNode, BoxPlace
from simulator.box.record import Process, Record
from simulator.box.ssh_keys import write_keys

# Paths of Unix sockets are short: what a home needs beside the box's own path fits in these.
LONGEST_DIRECTORY = 40
# Who has no password cannot log in with one; but is not locked out either, as "!" would have it.
_SHADOW = "root:*:19000:0:99999:7:::\nsshd:*:19000:0:99999:7:::\n"


class Box:
    """A cluster on this machine: ``with Box(nodes=5) as box: box.master.run("hostname")``.

    :param nodes: with the master; the workers are called `worker01` and so on
    :param master: its name
    :param workers: names or ranges such as `arts[001-040]`, instead of `nodes`
    :param shared_home: whether all nodes have one DARC_HOME
    :param config: sections laid over the configuration of every node
    :param directory: where the homes are, new or empty; it stays. By default a temporary one
    :param environment: variables of every process, beside this program's own
    :raises ValueError: names or numbers that do not make a box
    """

    def __init__(
        self,
        nodes: int | None = None,
        *,
        master: str = "master",
        workers: Sequence[str] | None = None,
        shared_home: bool = False,
        config: Mapping[str, Mapping[str, Any]] | None = None,
        directory: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        if nodes is not None and workers is None:
            self._workers = worker_names(nodes)
        elif workers is not None and nodes is None:
            self._workers = list(workers)
        else:
            raise ValueError("a box is made of a number of nodes, or of workers by name")
        self._hosts = make_hosts(master, self._workers)
        self._shared_home = shared_home
        self._config = configuration(master, self._workers, config or {})
        self._given = directory.absolute() if directory else None
        self._directory: Path | None = None
        self._environment = _environment(environment or {})
        self._network: Network | None = None
        self._record: Record | None = None
        self._nodes: list[BoxNode] = []

    def __enter__(self) -> Box:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def name(self) -> str:
        """Unique name of the box, and of its record."""
        return self._running.name

    @property
    def directory(self) -> Path:
        """Where all its files are.

        :raises BoxError: it has not been made
        """
        if self._directory is None:
            raise BoxError("the box has not been made")
        return self._directory

    @property
    def ssh_config(self) -> Path:
        """Configuration for ``ssh -F``; ssh within the nodes uses it by default."""
        return self.directory / "ssh" / "ssh_config"

    @property
    def nodes(self) -> tuple[BoxNode, ...]:
        """All nodes, the master first."""
        return tuple(self._nodes)

    @property
    def master(self) -> BoxNode:
        return self._nodes[0]

    @property
    def workers(self) -> tuple[BoxNode, ...]:
        return tuple(self._nodes[1:])

    def node(self, name: str) -> BoxNode:
        """Return a node by its name.

        :raises KeyError: there is none of this name
        """
        return {node.name: node for node in self._nodes}[name]

    def start(self) -> None:
        """Create the box: afterwards every node is reachable, by ssh as well.

        :raises BoxError: it cannot be created; nothing is left of it
        """
        if self._record:
            raise BoxError("the box is there already")
        reason = unavailable()
        if reason:
            raise BoxError(reason)
        try:
            self._prepare()
            self._boot()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Remove the box, whatever its state.

        :raises BoxError: something could not be killed or removed; retry with ``--clean``
        """
        for node in self._nodes:
            node.begin_end()
        for node in self._nodes:
            node.end()
        self._nodes = []
        if self._network:
            self._network.end()
            self._network = None
        if self._record:
            self._record.forget()
            self._record = None

    def _prepare(self) -> None:
        directory = self._make_directory()
        (directory / "hosts").write_text(hosts_file(self._hosts))
        (directory / "root").mkdir(mode=0o700)
        (directory / "passwd").write_bytes(_accounts(directory / "root"))
        (directory / "shadow").write_text(_SHADOW)
        (directory / "shadow").chmod(0o600)
        (directory / "log").mkdir()
        write_keys(directory / "ssh", self._hosts)
        self._network = Network()
        place = BoxPlace(directory, self._network, self._note_keepers)
        for host in self._hosts:
            home = directory / "home" if self._shared_home else directory / "homes" / host.name
            home.mkdir(parents=True, exist_ok=True)
            (home / "config.yaml").write_text(yaml_text(self._config))
            environment = {**self._environment, "DARC_HOME": str(home)}
            self._nodes.append(BoxNode(host, home, environment, place))

    def _make_directory(self) -> Path:
        """Create the directory, and record it before it has any content."""
        directory = self._given or _temporary_directory()
        if directory.is_relative_to("/run"):
            raise BoxError(f"{directory}: every node has a /run of its own; take another directory")
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise BoxError(f"{directory} is not empty")
        if len(str(directory)) > LONGEST_DIRECTORY:
            raise BoxError(
                f"{directory}: sockets' paths would be too long; take one of"
                f" {LONGEST_DIRECTORY} characters at the most"
            )
        self._directory = directory
        # Of a directory that was given the keys alone go.
        self._record = Record(
            name=f"box-{os.getpid()}-{os.urandom(4).hex()}",
            machine=this_boot(),
            program=Process.of(os.getpid()),
            keepers=(),
            remove=(str(directory / "ssh" if self._given else directory),),
        )
        self._record.write()
        return directory

    def _boot(self) -> None:
        set_up = [node.begin_boot() for node in self._nodes]
        self._note_keepers()
        sshds = [
            node.start_sshd(process) for node, process in zip(self._nodes, set_up, strict=True)
        ]
        for node, sshd in zip(self._nodes, sshds, strict=True):
            node.wait_for_sshd(sshd)

    def _note_keepers(self) -> None:
        keepers = [node.keeper for node in self._nodes]
        if self._network:
            keepers.append(self._network.pid)
        known = tuple(Process.of(pid) for pid in keepers if pid is not None)
        before = self._running
        self._record = Record(before.name, before.machine, before.program, known, before.remove)
        self._record.write()

    @property
    def _running(self) -> Record:
        if self._record is None:
            raise BoxError("the box is not there")
        return self._record


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return this program's environment without variables of another node, with DARC's scripts."""
    own = {name: text for name, text in os.environ.items() if not name.startswith("DARC_")}
    path = os.pathsep.join([sysconfig.get_path("scripts"), own.get("PATH", os.defpath)])
    return {**own, "PATH": path, **more}


def _accounts(home: Path) -> bytes:
    """The machine's accounts, where root has another home and the plain shell.

    What this machine's root has in the files that a shell or ssh reads at its start is no part of
    the box: it may take a minute, or name other hosts.
    """
    root = os.fsencode(f"root:x:0:0:root:{home}:/bin/sh")
    machine = Path("/etc/passwd").read_bytes().splitlines()
    return b"\n".join([root, *(line for line in machine if not line.startswith(b"root:")), b""])


def _temporary_directory() -> Path:
    place = tempfile.gettempdir()
    short = len(place) < LONGEST_DIRECTORY // 2
    return Path(tempfile.mkdtemp(prefix="darc-box-", dir=place if short else "/tmp"))
