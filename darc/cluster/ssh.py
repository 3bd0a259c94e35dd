"""Access to nodes with the system's OpenSSH and the user's configuration, keys and jump hosts."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import threading
from collections.abc import Sequence

from darc.cluster.remote import RemoteOrder, RemoteResult
from darc.config import typed
from darc.config.config import Config

# Interval of ssh's keep-alive messages; a node that misses several is given up (s).
ALIVE_SECONDS = 3
ALIVE_TIMES = 3
SSH = "ssh"
_ORDERS = ("darc.cluster.remote",)


class UnreachedError(Exception):
    """A node is unreachable, or does not answer in time; the message says why."""


def command(config: Config, host: str, module: Sequence[str] = _ORDERS) -> list[str]:
    """Return the command that runs a module on a node.

    :param module: its name and arguments; default: the one that carries out orders
    """
    cluster = config.cluster
    # -P: a directory named darc in the working directory is not taken for the package.
    words = ("-P", "-m", *module)
    if config.is_here(host):
        return [sys.executable, *words]
    there = [cluster.python or sys.executable, *words]
    if cluster.darc_home:
        there = ["env", f"DARC_HOME={cluster.darc_home}", *there]
    options = ["BatchMode=yes", f"ConnectTimeout={max(1, round(cluster.connect_timeout))}"]
    options += [f"ServerAliveInterval={ALIVE_SECONDS}", f"ServerAliveCountMax={ALIVE_TIMES}"]
    # A persistent master connection of ssh would keep our pipe open.
    options += ["ControlMaster=no"]
    return [
        SSH,
        *cluster.ssh_options,  # first, as the first value of an option counts
        *(word for option in options for word in ("-o", option)),
        *(("-p", str(cluster.ssh_port)) if cluster.ssh_port else ()),
        *(("-l", cluster.user) if cluster.user else ()),
        "--",
        host,
        shlex.join(there),
    ]


def popen(words: Sequence[str]) -> subprocess.Popen[str]:
    """Start a client with pipes, in a session of its own: Ctrl-C is for this program alone.

    :param words: as from :func:`command`
    :raises OSError: it cannot be started
    """
    return subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )


class SshClients:
    """The ssh clients of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: set[subprocess.Popen[str]] = set()
        self._hung_up = False

    def start(self, words: list[str]) -> subprocess.Popen[str]:
        with self._lock:
            if self._hung_up:
                raise UnreachedError("interrupted")
            client = popen(words)
            # An interrupt must not end what runs on this host, as on the others.
            if words[0] == SSH:
                self._open.add(client)
            return client

    def ended(self, client: subprocess.Popen[str]) -> None:
        with self._lock:
            self._open.discard(client)

    def hang_up(self) -> None:
        """Close all connections and open no more, before this program exits.

        Orders that have started on a node continue there; other nodes receive nothing.
        """
        with self._lock:
            self._hung_up = True
            for client in self._open:
                client.terminate()


clients = SshClients()


def carry_out(config: Config, host: str, order: RemoteOrder, timeout: float) -> RemoteResult:
    """Carry out an order on a node, which may be this one.

    :param timeout: total time, s
    :raises UnreachedError: the order was not carried out, or its result is unknown
    """
    line = json.dumps(typed.to_plain(order)) + "\n"
    words = command(config, host)
    try:
        client = clients.start(words)
    except OSError as error:
        raise UnreachedError(f"{words[0]}: {error.strerror}") from error
    with client:
        try:
            out, err = client.communicate(line, timeout)
        except subprocess.TimeoutExpired:
            client.kill()
            raise UnreachedError(f"{host}: no answer within {timeout:g} s") from None
        finally:
            clients.ended(client)
    try:
        result = RemoteResult.from_output(out)
    except ValueError as error:
        raise UnreachedError(f"{host}: its reply cannot be read: {error}") from None
    if result is None:
        raise UnreachedError(_last_line(err) or _last_line(out) or f"status {client.returncode}")
    return result


def _last_line(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1] if lines else ""
