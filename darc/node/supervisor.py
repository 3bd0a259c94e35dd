"""Typed client of a node's supervisord (XML-RPC)."""

from __future__ import annotations

import enum
import http.client
import re
import socket
import xmlrpc.client
from pathlib import Path
from typing import Any

from darc.config.records import Struct
from darc.model.service_state import GAVE_UP

# The kernel allows 107; supervisord first creates its socket with ".<pid>" appended.
MAX_SOCKET_PATH = 99
_EXITED = re.compile(r" exited: (\S+) \((.*); (?:not )?expected\)$", re.MULTILINE)


class SupervisorError(Exception):
    """supervisord refused a call; the message says why."""

    def __str__(self) -> str:
        return str(self.args[0])  # without the fault's number


class SupervisorGoneError(SupervisorError):
    """supervisord is unreachable, or did not answer in time."""


class ProcessState(enum.IntEnum):
    """States of a process, as in supervisord's documentation."""

    STOPPED = 0
    STARTING = 10
    RUNNING = 20
    BACKOFF = 30
    STOPPING = 40
    EXITED = 100
    FATAL = 200
    UNKNOWN = 1000

    @property
    def alive(self) -> bool:
        """Whether there is a process."""
        return self in {ProcessState.STARTING, ProcessState.RUNNING, ProcessState.STOPPING}

    @property
    def ended(self) -> bool:
        """Whether there is no process, and supervisord will not start one."""
        return self in {ProcessState.STOPPED, ProcessState.EXITED, ProcessState.FATAL}


class Fault(enum.IntEnum):
    """Faults of supervisord that callers distinguish."""

    SHUTDOWN_STATE = 6
    ALREADY_STARTED = 60
    NOT_RUNNING = 70


class ProcessInfo(Struct, frozen=True):
    """State of a process, as supervisord reports it.

    :param started: Unix time of the last start; 0 if never started
    :param stopped: Unix time of the last exit; 0 if never exited
    """

    name: str
    state: ProcessState
    pid: int
    started: float
    spawn_error: str
    stopped: float = 0.0


class Reread(Struct, frozen=True):
    """Changes of the configuration on disk since it was last applied."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__()
        self._path = path
        self._timeout = timeout

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        made = _UnixConnection(self._path, self._timeout)
        self._connection = host, made  # which closes it
        return made


def exits(log: str) -> dict[str, str]:
    """Return how each process last exited by itself, by name, from supervisord's log.

    Its XML-RPC reports the exit status of some processes, and signals of none.
    """
    return {match[1]: match[2] for match in _EXITED.finditer(log)}


def _state(info: dict[str, Any]) -> ProcessState:
    """Return the state of a process; one that gave up starting by itself counts as FATAL."""
    state = ProcessState(info["state"])
    gave_up = state is ProcessState.EXITED and info["exitstatus"] == GAVE_UP
    return ProcessState.FATAL if gave_up else state


class Supervisor:
    """Calls to supervisord, each over a connection of its own; may be shared between threads.

    :param path: supervisord's Unix socket
    :param timeout: s for each call
    """

    def __init__(self, path: Path, timeout: float) -> None:
        self._path = path
        self._timeout = timeout

    def call(self, method: str, *arguments: Any) -> Any:
        """Call an XML-RPC method.

        :raises SupervisorGoneError: no reply in time
        :raises SupervisorError: refused; ``args[1]`` is the :class:`Fault`'s number
        """
        transport = _UnixTransport(self._path, self._timeout)
        with xmlrpc.client.ServerProxy("http://localhost/RPC2", transport) as proxy:
            function = getattr(proxy, method)
            try:
                return function(*arguments)
            except xmlrpc.client.Fault as fault:
                raise SupervisorError(fault.faultString, fault.faultCode) from fault
            except (OSError, http.client.HTTPException, xmlrpc.client.Error) as error:
                raise SupervisorGoneError(f"supervisord at {self._path}: {error}") from error

    def processes(self) -> dict[str, ProcessInfo]:
        """Return all processes by name."""
        return {
            info["name"]: ProcessInfo(
                info["name"],
                _state(info),
                info["pid"],
                info["start"],
                info["spawnerr"],
                info["stop"],
            )
            for info in self.call("supervisor.getAllProcessInfo")
        }

    def start(self, name: str) -> bool:
        """Start a process without waiting for it; False if it is running already."""
        return self._changed(Fault.ALREADY_STARTED, "supervisor.startProcess", name)

    def stop(self, name: str) -> bool:
        """Stop a process without waiting for it; False if it is not running."""
        return self._changed(Fault.NOT_RUNNING, "supervisor.stopProcess", name)

    def _changed(self, already: Fault, method: str, name: str) -> bool:
        try:
            self.call(method, name, False)
        except SupervisorGoneError:
            raise
        except SupervisorError as error:
            if error.args[1:] == (already,):
                return False
            raise
        return True

    def kill(self, name: str) -> None:
        """Send SIGKILL to a process, which supervisord then restarts."""
        self.call("supervisor.signalProcess", name, "KILL")

    def is_shutting_down(self) -> bool:
        """Whether supervisord is shutting down: it still answers, but starts nothing."""
        try:
            self.poke()
        except SupervisorGoneError:
            return False
        except SupervisorError as error:
            return error.args[1:] == (Fault.SHUTDOWN_STATE,)
        return False

    def poke(self) -> None:
        """Wake supervisord up, so that it notices at once that a process has exited."""
        self.call("supervisor.getState")

    def log_end(self, size: int) -> str:
        """Return the last `size` bytes of supervisord's own log."""
        return str(self.call("supervisor.readLog", -size, 0))

    def reread(self) -> Reread:
        """Read the configuration on disk without applying it.

        :raises SupervisorError: it is invalid; running processes are not affected
        """
        added, changed, removed = self.call("supervisor.reloadConfig")[0]
        return Reread(tuple(added), tuple(changed), tuple(removed))

    def add(self, name: str) -> None:
        self.call("supervisor.addProcessGroup", name)

    def remove(self, name: str) -> None:
        self.call("supervisor.removeProcessGroup", name)

    def shut_down(self) -> None:
        self.call("supervisor.shutdown")
