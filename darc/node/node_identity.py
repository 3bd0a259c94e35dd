"""Which node lives in a run_dir: its id, its supervisord, and the lock against a second one."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from darc.node.directory_identity import place_of, this_machine
from darc.runtime.clock import wait_until
from darc.runtime.paths import write_whole


class NodeError(Exception):
    """Something stands in the way of a node; the text says what, and what to do."""


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """A start of a node. What has a default was not noted by earlier versions.

    :param machine: boot id of the kernel it runs on; another one is another machine, or a reboot
    :param computer: id of that machine that outlives a reboot; empty where it has none
    :param host: what that machine calls itself
    :param namespace: of its process ids: that of the machine, or a container's
    :param place: of the directory that this is kept in, as a copy of it is no node's
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
            this_machine(),
            time.time(),
            this_computer(),
            socket.gethostname(),
            this_namespace(),
        )


def this_computer() -> str:
    """Machine id of the system; empty where there is none, as in many containers."""
    try:
        return Path("/etc/machine-id").read_text().strip()
    except OSError:
        return ""


def this_namespace() -> int:
    """The namespace of this process's id, which a container has for itself."""
    return os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116 - what the link leads to is no file


def read_identity(directory: Path) -> NodeIdentity | None:
    """The node that was started last in a directory.

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


#: Held by supervisord, so as long as a node lives; and by its master.
LOCK = "node.lock"
MASTER_LOCK = "lock"
#: supervisord's, which takes it away when it ends as it should.
PID_FILE = "supervisord.pid"
#: Names the services that are meant to run.
WANTED = "wanted.json"
#: Of supervisord and of the queues.
SOCKETS = ("supervisord.sock", "queues.sock")


def kept_link(path: Path) -> Path:
    """The second link to a socket, by which it comes back when its path was removed."""
    return path.with_name(f".{path.name}.kept")


def remove_sockets(run_dir: Path) -> None:
    for name in SOCKETS:
        (run_dir / name).unlink(missing_ok=True)
        kept_link(run_dir / name).unlink(missing_ok=True)


def supervisord_pid(run_dir: Path) -> int | None:
    """What supervisord's pid file says; it may be out of date."""
    try:
        return int((run_dir / PID_FILE).read_text())
    except (FileNotFoundError, ValueError):
        return None


class LocklessError(NodeError):
    """A file system that has no locks; the text names the file."""


def try_lock(path: Path) -> int | None:
    """Take a lock until this process ends: its descriptor, or None when another has it.

    :raises LocklessError: there are no locks on that file system
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
    """Whether another process holds a lock. Nothing is made, and who else asks is not disturbed.

    :raises LocklessError: there are no locks on that file system
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


@contextmanager
def lock(path: Path, timeout: float) -> Iterator[None]:
    """Hold a lock; two commands that would get in each other's way come one after the other.

    :raises NodeError: another one held it all the time
    """
    held: list[int] = []

    def taken() -> bool:
        descriptor = try_lock(path)
        if descriptor is not None:
            held.append(descriptor)
        return descriptor is not None

    if not wait_until(taken, timeout):
        raise NodeError(f"another start or stop has held {path} for {timeout:.0f} s")
    try:
        yield
    finally:
        os.close(held[0])
