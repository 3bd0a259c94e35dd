"""Identity of the node in a run_dir: its id, its supervisord, and the lock against a second."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from darc.config.records import Struct, asdict, replace
from darc.node.directory_identity import place_of
from darc.runtime.clock import wait_until
from darc.runtime.paths import this_boot, write_whole


class NodeError(Exception):
    """A node cannot be started or stopped; the message says why, and what to do."""


class NodeIdentity(Struct, frozen=True):
    """Identity of a started node. Fields with a default are missing in files of earlier versions.

    :param machine: boot id of the kernel; differs between machines and after a reboot
    :param computer: id of the machine that survives a reboot; empty if it has none
    :param host: host name of the machine
    :param namespace: PID namespace: of the machine, or of a container
    :param place: identity of the directory of this file, to detect copies
    """

    node_id: str
    hostname: str
    machine: str
    started: float
    computer: str = ""
    host: str = ""
    namespace: int = 0
    place: str = ""

    @classmethod
    def new(cls, hostname: str) -> NodeIdentity:
        return cls(
            uuid.uuid4().hex,
            hostname,
            this_boot(),
            time.time(),
            this_computer(),
            socket.gethostname(),
            this_namespace(),
        )


def this_computer() -> str:
    """Return the system's machine id; empty if there is none, as in many containers."""
    try:
        return Path("/etc/machine-id").read_text().strip()
    except OSError:
        return ""


def this_namespace() -> int:
    """Return the PID namespace of this process, which differs in a container."""
    return os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116 - the link's target is not a path


def read_identity(directory: Path) -> NodeIdentity | None:
    """Return the node that was started last in a directory; None if none was.

    :raises NodeError: the file is damaged
    """
    path = directory / "node.json"
    try:
        return NodeIdentity(**json.loads(path.read_text()))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError) as error:
        raise NodeError(f"{path}: damaged: {error}") from error


def write_identity(directory: Path, identity: NodeIdentity) -> None:
    here = replace(identity, place=place_of(directory))
    write_whole(directory / "node.json", json.dumps(asdict(here)) + "\n", mode=0o600)


#: Held by supervisord as long as the node runs; the other by its master.
LOCK = "node.lock"
MASTER_LOCK = "lock"
#: Written by supervisord, which removes it when it stops normally.
PID_FILE = "supervisord.pid"
#: Lists the services that are to run.
WANTED = "wanted.json"
#: Sockets of supervisord and of the queues.
SOCKETS = ("supervisord.sock", "queues.sock")


def kept_link(path: Path) -> Path:
    """Return the path of a socket's second link, from which a removed one is restored."""
    return path.with_name(f".{path.name}.kept")


def remove_sockets(run_dir: Path) -> None:
    for name in SOCKETS:
        (run_dir / name).unlink(missing_ok=True)
        kept_link(run_dir / name).unlink(missing_ok=True)


def supervisord_pid(run_dir: Path) -> int | None:
    """Return the PID in supervisord's pid file, which may be out of date."""
    try:
        return int((run_dir / PID_FILE).read_text())
    except (FileNotFoundError, ValueError):
        return None


class LocklessError(NodeError):
    """A file system does not support locks; the message names the file."""


def try_lock(path: Path) -> int | None:
    """Take a lock until this process exits; return its descriptor, or None if it is held.

    :raises LocklessError: the file system does not support locks
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    taken = False
    try:
        taken = _flock(path, descriptor, fcntl.LOCK_EX)
    finally:
        if not taken:
            os.close(descriptor)
    return descriptor if taken else None


def is_locked(path: Path) -> bool:
    """Whether another process holds a lock. Creates no file, and allows concurrent checks.

    :raises LocklessError: the file system does not support locks
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        return not _flock(path, descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _flock(path: Path, descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise LocklessError(
            f"{path}: cannot be locked: {error.strerror}; set darc_master.run_dir to a directory"
            " on a local disk"
        ) from error
    return True


def wait_for_lock(path: Path, timeout: float) -> int | None:
    """Take a lock as :func:`try_lock` does, once it is released.

    :param timeout: s
    """
    held: int | None = None

    def taken() -> bool:
        nonlocal held
        held = try_lock(path)
        return held is not None

    wait_until(taken, timeout)
    return held


@contextmanager
def lock(path: Path, timeout: float) -> Iterator[None]:
    """Hold a lock, so that conflicting commands run one after the other.

    :param timeout: s
    :raises NodeError: it was not released in time
    """
    held = wait_for_lock(path, timeout)
    if held is None:
        raise NodeError(f"another start or stop has held {path} for {timeout:.0f} s")
    try:
        yield
    finally:
        os.close(held)
