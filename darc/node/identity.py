"""Which node lives in a run_dir: its id, its supervisord, and the lock against a second one."""

from __future__ import annotations

import fcntl
import json
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from darc.node.processes import wait_until


class NodeError(Exception):
    """Something stands in the way of a node; the text says what, and what to do."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A start of a node.

    :param machine: boot id of the kernel it runs on; another one is another machine, or a reboot
    """

    node_id: str
    hostname: str
    machine: str
    started: float

    @classmethod
    def new(cls, hostname: str) -> Identity:
        return cls(uuid.uuid4().hex, hostname, this_machine(), time.time())


def this_machine() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def read_identity(run_dir: Path) -> Identity | None:
    """The node that was started last in a run_dir."""
    try:
        return Identity(**json.loads((run_dir / "node.json").read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise NodeError(f"{run_dir / 'node.json'}: damaged: {error}") from error


def write_identity(run_dir: Path, identity: Identity) -> None:
    temporary = run_dir / "node.json.new"
    temporary.write_text(json.dumps(asdict(identity)) + "\n")
    temporary.replace(run_dir / "node.json")


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
        return int((run_dir / "supervisord.pid").read_text())
    except (FileNotFoundError, ValueError):
        return None


def try_lock(path: Path) -> int | None:
    """Take a lock until this process ends: its descriptor, or None when another has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def is_locked(path: Path) -> bool:
    """Whether another process holds a lock."""
    descriptor = try_lock(path)
    if descriptor is None:
        return True
    os.close(descriptor)
    return False


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
