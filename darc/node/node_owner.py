"""Owner of the node in a directory: this machine, a stopped machine, or another machine.

Every command checks this before it stops a node or removes its files. A held lock means that a node
is running, on whatever machine. A free lock means that it has stopped, except on file systems whose
locks may not reach other machines.
"""

from __future__ import annotations

import enum
import os
import re
import time
from pathlib import Path

import psutil

from darc.node.directory_identity import is_same_place
from darc.node.endpoint import endpoint_file
from darc.node.node_identity import (
    LOCK,
    MASTER_LOCK,
    PID_FILE,
    LocklessError,
    NodeError,
    NodeIdentity,
    is_locked,
    read_identity,
    this_computer,
    this_namespace,
)
from darc.node.processes import of_node
from darc.runtime.paths import darc_home, this_boot

# Network file systems: their locks may hold on one machine only. FUSE types have a prefix.
_SHARED = {
    "9p",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "gfs2",
    "glusterfs",
    "gpfs",
    "lustre",
    "nfs",
    "nfs4",
    "ocfs2",
    "orangefs",
    "pvfs2",
    "smb3",
    "virtiofs",
}


class ElsewhereError(NodeError):
    """The node runs out of reach of this process; the message says where, and what to do."""


class NodeOwner(enum.Enum):
    """Owner of the node that was started last in a directory."""

    NONE = "none was started"
    HERE = "this machine's, whether it still runs or not"
    ENDED = "one before a reboot, or on a machine or in a container that is gone"
    COPIED = "that of another directory, of which this is a copy"
    ELSEWHERE = "another machine's or container's, and it runs"


def find_owner(directory: Path) -> tuple[NodeOwner, NodeIdentity | None]:
    """Return owner and identity of the node that was started last in a directory.

    :raises NodeError: node.json is damaged
    """
    node = read_identity(directory)
    if node is None:
        return NodeOwner.NONE, None
    return _find_owner(directory, node), node


def find_owner_unlocked(directory: Path) -> tuple[NodeOwner, NodeIdentity | None]:
    """Return the same if no lock is held; a damaged node.json then counts as no node."""
    try:
        return find_owner(directory)
    except NodeError:
        return NodeOwner.NONE, None


def _find_owner(directory: Path, node: NodeIdentity) -> NodeOwner:
    if _is_copy(directory, node):
        return NodeOwner.COPIED
    same_kernel = node.machine == this_boot()
    if same_kernel and node.namespace in {0, this_namespace()}:
        return NodeOwner.HERE
    lockless = False
    try:
        if is_held(directory):
            return NodeOwner.ELSEWHERE
    except LocklessError:
        lockless = True
    # A stopped node has removed its locks. One kernel knows the locks of all its containers.
    left = any((directory / name).exists() for name in (PID_FILE, endpoint_file().name))
    if same_kernel or not left:
        return NodeOwner.ENDED
    # An identity without computer was written by an earlier version.
    other = node.computer and this_computer() and node.computer != this_computer()
    lockless = lockless or _may_lack_locks(directory)
    return NodeOwner.ELSEWHERE if other and lockless else NodeOwner.ENDED


def is_held(directory: Path) -> bool:
    """Whether a supervisord or master uses this directory, on any machine that shares it.

    :raises LocklessError: the file system does not support locks
    """
    return any(is_locked(directory / name) for name in (LOCK, MASTER_LOCK))


def _is_copy(directory: Path, node: NodeIdentity) -> bool:
    try:
        if node.place:
            return not is_same_place(node.place, directory)
    except ValueError as error:
        raise NodeError(f"{directory / 'node.json'}: damaged: place: {error}") from error
    # Without a place (earlier versions), the environment of its processes decides.
    homes = [_home(process) for process in of_node(node.node_id)]
    return bool(homes) and not any(home and _is_home(home) for home in homes)


def _home(process: psutil.Process) -> str:
    try:
        return str(process.environ().get("DARC_HOME", ""))
    except psutil.Error:
        return ""


def _is_home(path: str) -> bool:
    try:
        return darc_home().samefile(path)
    except OSError:
        return False


def _may_lack_locks(directory: Path) -> bool:
    """It is on a file system whose locks may not reach other machines."""
    kind = file_system(directory)
    return kind in _SHARED or kind.startswith("fuse.")


def file_system(directory: Path) -> str:
    """The kind of file system that a directory is on, as the kernel calls it; empty: unknown."""
    path = os.path.realpath(directory)
    kinds: dict[str, str] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, after = line.split(" - ", 1)
        point = re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), before.split()[4])
        if path == point or path.startswith(point.rstrip("/") + "/"):
            kinds[point] = after.split()[
                0
            ]  # of several mounts on one mount point, the last is visible
    return kinds[max(kinds, key=len)] if kinds else ""


def refuse_elsewhere(run_dir: Path) -> None:
    """Check that no node of this home and name runs out of reach of this process.

    :raises ElsewhereError: there is one
    :raises NodeError: node.json is damaged
    """
    for directory in places(run_dir):
        owner, node = find_owner(directory)
        if owner is NodeOwner.ELSEWHERE and node is not None:
            raise ElsewhereError(_refusal(directory, node))


def places(run_dir: Path) -> list[Path]:
    """Return the directories that belong to a node: run_dir, and that of the endpoint."""
    return list(dict.fromkeys([endpoint_file().parent, run_dir]))


def _refusal(directory: Path, node: NodeIdentity) -> str:
    container = node.machine == this_boot()
    where = "in another container of this machine" if container else "on another machine"
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(node.started))
    gone = "" if container else "; if that machine is gone for good: darc_kill_all --forget"
    return (
        f"{directory} is in use by a node named {node.hostname} {where}"
        f" ({node.host or 'unknown host'}, boot id {node.machine}, since {since} UTC,"
        f" id {node.node_id}): stop it there; a second node of the same name on one home is"
        f" refused, so set DARC_HOSTNAME to another name for one here{gone}"
    )
