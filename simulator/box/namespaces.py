"""Kernel namespaces: creating, entering, and ending them with all their processes."""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from enum import IntFlag
from pathlib import Path
from typing import IO, TypeVar

import psutil

T = TypeVar("T")
Stream = int | IO[str] | None

END_SECONDS = 10.0
TOOL_SECONDS = 30.0
_LOOK_SECONDS = 0.002
# Where the system's tools are, which need not be on everybody's path.
_TOOLS_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])

_libc = ctypes.CDLL(None, use_errno=True)


class BoxError(Exception):
    """A box cannot be created or removed; the message says why."""


class NamespaceKind(IntFlag):
    """Kind of a namespace: the CLONE_NEW… flags of <linux/sched.h>."""

    MOUNTS = 0x00020000
    HOSTNAME = 0x04000000
    IPC = 0x08000000
    PROCESSES = 0x20000000
    NETWORK = 0x40000000


#: What a machine has for itself.
MACHINE = (
    NamespaceKind.MOUNTS
    | NamespaceKind.HOSTNAME
    | NamespaceKind.IPC
    | NamespaceKind.PROCESSES
    | NamespaceKind.NETWORK
)
_CLONE_FS = 0x00000200


def tools_environment() -> dict[str, str]:
    """Return an environment in which the system's tools are found, and use English."""
    return {**os.environ, "PATH": _TOOLS_PATH, "LC_ALL": "C"}


class Space:
    """New namespaces, which live as long as their keeper: a process that waits for its input's end.

    The keeper ends with this program, however that ends. Where processes have a namespace it is
    the first one in it, with which the kernel ends all others at once.

    :raises BoxError: the kernel refuses
    """

    def __init__(self, kinds: NamespaceKind) -> None:
        self._kinds = kinds
        self._lock = threading.Lock()
        self._started: list[subprocess.Popen[str]] = []
        try:
            self._keeper = _in_thread(lambda: _start_keeper(kinds))
        except OSError as error:
            raise BoxError(f"namespaces cannot be made here: {error.strerror}") from error
        self._descriptor = os.pidfd_open(self._keeper.pid)
        self._processes = _process_namespace(self._keeper.pid)

    @property
    def pid(self) -> int:
        """PID of the keeper."""
        return self._keeper.pid

    def popen(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        stdin: Stream = subprocess.DEVNULL,
        stdout: Stream = None,
        stderr: Stream = None,
        new_session: bool = True,
    ) -> subprocess.Popen[str]:
        """Start a process in the namespaces; its PID is the one outside.

        :raises BoxError: the namespaces have ended
        :raises OSError: the command cannot be started
        """

        def start() -> None:
            # A thread alone may enter, and its children start where it is.
            _enter(self._descriptor, self._kinds)
            with self._lock:
                self._started = [process for process in self._started if process.poll() is None]
                self._started.append(
                    subprocess.Popen(
                        command,
                        env=environment,
                        cwd="/",
                        stdin=stdin,
                        stdout=stdout,
                        stderr=stderr,
                        text=True,
                        start_new_session=new_session,
                    )
                )
                started.append(self._started[-1])

        started: list[subprocess.Popen[str]] = []
        _in_thread(start)
        return started[0]

    def run(self, *command: str, text: str | None = None) -> str:
        """Run a system tool in the namespaces, and return its output.

        :param text: its standard input
        :raises BoxError: it failed
        """
        process = self.popen(
            command,
            environment=tools_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        return finish(process, text)

    def processes(self) -> list[psutil.Process]:
        """Return the running processes except the keeper; their PIDs are those outside.

        :raises ValueError: processes have no namespace in here
        """
        if NamespaceKind.PROCESSES not in self._kinds:
            raise ValueError("processes have no namespace in here")
        found = []
        for process in psutil.process_iter():
            try:
                inside = _process_namespace(process.pid) == self._processes
                if inside and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (FileNotFoundError, ProcessLookupError, PermissionError, psutil.NoSuchProcess):
                continue  # gone meanwhile, or above us, which nothing in here can be
        return [process for process in found if process.pid != self._keeper.pid]

    def begin_end(self) -> None:
        """Kill the keeper, and with it every process in its namespace."""
        self._keeper.kill()

    def end(self) -> None:
        """Kill the keeper, and with it every process in its namespace; wait until all are gone.

        :raises BoxError: a process cannot be killed
        """
        self.begin_end()
        deadline = time.monotonic() + END_SECONDS
        # The kernel holds the first process until each of the others is reaped, ours too.
        while self._keeper.poll() is None:
            self._reap()
            if time.monotonic() > deadline:
                left = NamespaceKind.PROCESSES in self._kinds and self.processes()
                raise BoxError(f"not ended {END_SECONDS:.0f} s after SIGKILL: {left}")
            time.sleep(_LOOK_SECONDS)
        self._reap()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        assert self._keeper.stdin
        self._keeper.stdin.close()

    def _reap(self) -> None:
        with self._lock:
            self._started = [process for process in self._started if process.poll() is None]


def finish(process: subprocess.Popen[str], text: str | None = None) -> str:
    """Wait for a tool to exit, and return its output.

    :raises BoxError: it failed
    """
    arguments = process.args if isinstance(process.args, list | tuple) else [process.args]
    words = " ".join(str(word) for word in arguments if "\n" not in str(word))  # no scripts
    try:
        output, _ = process.communicate(text, TOOL_SECONDS)
    except subprocess.TimeoutExpired as error:
        process.kill()
        raise BoxError(f"{words}: not done after {TOOL_SECONDS:.0f} s") from error
    if process.returncode != 0:
        raise BoxError(f"{words}: {output.strip() or f'status {process.returncode}'}")
    return output


def _start_keeper(kinds: NamespaceKind) -> subprocess.Popen[str]:
    _check(_libc.unshare(kinds))
    # As nobody waits for the orphans it inherits, the kernel is told to forget them.
    return subprocess.Popen(
        ["env", "--ignore-signal=CHLD", "cat"],
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def _enter(descriptor: int, kinds: NamespaceKind) -> None:
    try:
        # Mounts can only be changed by one who shares its working directory with nobody.
        _check(_libc.unshare(_CLONE_FS))
        _check(_libc.setns(descriptor, kinds))
    except OSError as error:
        raise BoxError(f"the node is gone: {error.strerror}") from error


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _process_namespace(pid: int) -> str:
    return str(Path(f"/proc/{pid}/ns/pid").readlink())


def _in_thread(work: Callable[[], T]) -> T:
    """Run a function in a new thread, whose namespaces end with it."""
    results: list[T] = []
    errors: list[Exception] = []

    def attempt() -> None:
        try:
            results.append(work())
        except Exception as error:  # raised again by the caller
            errors.append(error)

    thread = threading.Thread(target=attempt, name="namespace")
    thread.start()
    try:
        thread.join()
    except BaseException:
        thread.join()  # the clean-up must know what it has started
        raise
    if errors:
        raise errors[0]
    return results[0]
