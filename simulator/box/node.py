"""A node of a box, which looks like a separate machine to its processes."""

from __future__ import annotations

import subprocess
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from darc.config.records import Struct
from simulator.box import ssh_keys as ssh
from simulator.box.hosts import Host
from simulator.box.namespaces import MACHINE, BoxError, Space, Stream, finish, tools_environment
from simulator.box.network import (
    INTERFACE,
    LinkState,
    Network,
    link_down,
    link_up,
    slow_down,
    speed_up,
)

SSHD_SECONDS = 20.0
RUN_SECONDS = 60.0
_LOOK_SECONDS = 0.005

# $1: the box's directory, $2: the node's name. What the first line says holds for all that follow:
# that no mount is seen outside.
_SET_UP = """
mount --make-rprivate /
mount -t proc proc /proc
mount --bind "$1/boot_id.$2" /proc/sys/kernel/random/boot_id
mount --bind "$1/hosts" /etc/hosts
mount --bind "$1/passwd" /etc/passwd
mount --bind "$1/ssh" /etc/ssh
if [ -e /etc/shadow ]; then mount --bind "$1/shadow" /etc/shadow; fi
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/sshd
echo "$2" > /proc/sys/kernel/hostname
# The ports that nodes listen on are no other connection's.
echo 5200-5201,51000-51099 > /proc/sys/net/ipv4/ip_local_reserved_ports
ip link set lo up
ip -batch -
"""


class BoxPlace(Struct, frozen=True):
    """Common parts of the nodes of a box.

    :param changed: called when there is a new keeper
    """

    directory: Path
    network: Network
    changed: Callable[[], None]


class BoxNode:
    """A node. Box makes it, and takes it down.

    Its processes see nobody else's, and have pids of their own: one that is found in there, as in
    a pid file, is signalled from in there, as in ``node.run("kill", str(pid))``. The pids of
    `processes` and `popen` are those out here.

    :param home: its DARC_HOME
    :param environment: of every process that is started in it
    """

    def __init__(
        self, host: Host, home: Path, environment: Mapping[str, str], place: BoxPlace
    ) -> None:
        self.name = host.name
        self.address = host.address
        self.home = home
        self.environment = dict(environment)
        self._host = host
        self._place = place
        self._space: Space | None = None
        self._is_slow = False

    def __repr__(self) -> str:
        return f"<BoxNode {self.name}>"

    # -- commands ----------------------------------------------------------------------------------

    def run(
        self, *command: str, timeout: float = RUN_SECONDS, check: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the node, as subprocess.run does.

        :param timeout: s
        :param check: whether to raise CalledProcessError unless its status is 0
        :raises BoxError: the node is killed
        :raises subprocess.TimeoutExpired: it was not done in time; it has been killed
        """
        process = self.popen(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            process.wait()
            raise
        if check and process.returncode != 0:
            raise subprocess.CalledProcessError(process.returncode, command, out, err)
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def popen(
        self,
        *command: str,
        stdin: Stream = subprocess.DEVNULL,
        stdout: Stream = None,
        stderr: Stream = None,
        new_session: bool = True,
    ) -> subprocess.Popen[str]:
        """Start a command in the node, as subprocess.Popen does.

        :param new_session: False for what has to have this program's terminal
        :raises BoxError: the node is killed
        """
        return self._running.popen(
            command,
            environment=self.environment,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            new_session=new_session,
        )

    # -- processes ---------------------------------------------------------------------------------

    def processes(self) -> list[psutil.Process]:
        """Return the running processes of the node, including sshd; none if it was killed."""
        return self._space.processes() if self._space else []

    @property
    def keeper(self) -> int | None:
        """PID by which nsenter finds the node; None if it was killed."""
        return self._space.pid if self._space else None

    # -- disturbances ------------------------------------------------------------------------------

    def cut_off(self) -> None:
        """Take the link down: the network is unreachable here, and others have no route."""
        self._place.network.decide(self._host, LinkState.REFUSED)
        self._ip(link_down())

    def drop_packets(self) -> None:
        """Silently drop packets from and to the node."""
        self._place.network.decide(self._host, LinkState.DROPPED)

    def slow_down(self, bytes_per_second: float, queue_seconds: float = 0.5) -> None:
        """Limit the rate of packets to and from the node.

        :param bytes_per_second: each way
        :param queue_seconds: what would have to wait for longer is dropped
        """
        command = slow_down(INTERFACE, bytes_per_second, queue_seconds)
        self._running.run(*command)
        self._place.network.slow_down(self._host, bytes_per_second, queue_seconds)
        self._is_slow = True

    def restore(self) -> None:
        """Undo cut_off, drop_packets and slow_down."""
        self._ip(link_up(self._host))
        self._place.network.decide(self._host, LinkState.PASSED)
        if self._is_slow:
            self._running.run(*speed_up(INTERFACE))
            self._place.network.speed_up(self._host)
            self._is_slow = False

    def kill(self) -> None:
        """Kill every process at once, as in a power cut; connections are not closed."""
        if self._space is None:
            return
        self._place.network.decide(self._host, LinkState.REFUSED)
        self._space.end()
        self._space = None
        # Sockets that the kernel has not done with would keep it for a while.
        self._place.network.disconnect(self._host)
        self._place.changed()

    def revive(self) -> None:
        """Boot the node after a kill, with its old disk; only sshd is running.

        :raises BoxError: it is not killed
        """
        if self._space is not None:
            raise BoxError(f"{self.name} has not been killed")
        process = self.begin_boot()
        self._place.changed()
        self.wait_for_sshd(self.start_sshd(process))

    # -- boot, in steps so that many nodes do it side by side --------------------------------------

    def begin_boot(self) -> subprocess.Popen[str]:
        """Create the namespaces, and start their set-up."""
        directory = self._place.directory
        (directory / f"boot_id.{self.name}").write_text(f"{uuid.uuid4()}\n")
        self._space = Space(MACHINE)
        self._is_slow = False
        self._place.network.connect(self._host, self._space)
        return self._space.popen(
            ["sh", "-ec", _SET_UP, "sh", str(directory), self.name],
            environment=tools_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def start_sshd(self, set_up: subprocess.Popen[str]) -> subprocess.Popen[str]:
        """Wait until the namespaces are set up, and start sshd."""
        try:
            finish(set_up, link_up(self._host))
        except BoxError as error:
            raise BoxError(f"{self.name}: {error}") from error
        # What an operator would have set for every session on the machine.
        session = {
            name: text
            for name, text in self.environment.items()
            if name.startswith("DARC_") or name == "PATH"
        }
        config = ssh.write_sshd_config(self._place.directory / "ssh", self._host, session)
        return self.popen(*ssh.sshd_command(config, self._sshd_log))

    def wait_for_sshd(self, sshd: subprocess.Popen[str]) -> None:
        """Wait until it listens.

        :raises BoxError: it does not
        """
        deadline = time.monotonic() + SSHD_SECONDS
        while not ssh.listens(self._running.pid):
            if sshd.poll() is not None or time.monotonic() > deadline:
                log = self._sshd_log.read_text() if self._sshd_log.exists() else ""
                raise BoxError(f"{self.name}: sshd does not listen: {log.strip()}")
            time.sleep(_LOOK_SECONDS)

    def begin_end(self) -> None:
        """Kill every process, without waiting."""
        if self._space:
            self._space.begin_end()

    def end(self) -> None:
        """Kill every process, and wait until they are gone."""
        if self._space:
            self._space.end()
            self._space = None

    # ----------------------------------------------------------------------------------------------

    @property
    def _running(self) -> Space:
        if self._space is None:
            raise BoxError(f"{self.name} has been killed")
        return self._space

    @property
    def _sshd_log(self) -> Path:
        return self._place.directory / "log" / f"sshd.{self.name}.log"

    def _ip(self, commands: str) -> None:
        self._running.run("ip", "-batch", "-", text=commands)
