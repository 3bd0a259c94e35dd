"""Stop of a node: waiting for it, and killing what does not stop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from darc.config.config import Config
from darc.node import node_identity
from darc.node.endpoint import remove_endpoint
from darc.node.node_identity import NodeError
from darc.node.node_owner import (
    NodeOwner,
    find_owner,
    find_owner_unlocked,
    is_held,
    places,
    refuse_elsewhere,
)
from darc.node.node_probe import last_node_id, log_end, supervisor_of
from darc.node.process_names import MASTER
from darc.node.processes import kill_node, of_node
from darc.runtime.clock import wait_until
from darc.runtime.paths import this_boot

LOCK_SECONDS = 30.0
# Time that a stop may take beyond stop_timeout.
STOP_SECONDS = 3.0
# Time for an exiting process, no longer recognisable as the node's, to release its locks.
EXIT_SECONDS = 3.0
_NONE_STARTED = "DARC is not running: no node was started here"


@contextmanager
def alone(config: Config) -> Iterator[None]:
    """Hold the lock by which starts and stops of a node run one after the other.

    :raises NodeError: another start or stop takes too long
    """
    timeout = max(LOCK_SECONDS, config.master.stop_timeout + 2 * STOP_SECONDS)
    with node_identity.lock(Path(config.master.run_dir) / "start.lock", timeout):
        yield


def wait_for_stop(config: Config) -> None:
    """Wait until all processes of this host's node have exited.

    :raises NodeError: some are still running
    """
    run_dir = Path(config.master.run_dir)
    node_id = last_node_id(run_dir)
    timeout = config.master.stop_timeout + STOP_SECONDS
    if node_id and not wait_until(lambda: not of_node(node_id), timeout):
        names = ", ".join(f"{process.pid}" for process in of_node(node_id))
        raise NodeError(
            f"still running after {timeout:.0f} s: processes {names}; darc_kill_all kills them\n"
            + log_end(config, MASTER)
        )
    if node_id:
        clean(run_dir, node_id)
        forget_wanted(run_dir)


def stop_without_master(config: Config) -> None:
    """Stop a node whose master does not answer, through its supervisord.

    :raises SupervisorError: supervisord does not answer either
    """
    supervisor = supervisor_of(config)
    supervisor.call("supervisor.stopAllProcesses", False)
    supervisor.shut_down()


def kill_all(run_dir: Path, stop_timeout: float) -> str:
    """Kill all processes of the node that was started last in ``run_dir``; return a message.

    :param stop_timeout: s between SIGTERM and SIGKILL
    :raises NodeError: a process cannot be killed, or the node belongs to another machine
    """
    node_id = last_node_id(run_dir)
    if node_id is None:
        return _nothing_to_kill(run_dir) if run_dir.is_dir() else _NONE_STARTED
    # Without the lock: it also kills a start or stop that hangs.
    asked, killed = kill_node(node_id, node_identity.supervisord_pid(run_dir), stop_timeout)
    left = of_node(node_id)
    if left:
        raise NodeError(
            f"processes {', '.join(str(process.pid) for process in left)} cannot be killed"
        )
    with node_identity.lock(run_dir / "start.lock", LOCK_SECONDS):
        if last_node_id(run_dir) == node_id:  # not the files of a node that was started meanwhile
            clean(run_dir, node_id)
            forget_wanted(run_dir)
    if not asked:
        return "DARC is not running"
    return f"{asked} processes ended, {killed} of them by SIGKILL"


def _nothing_to_kill(run_dir: Path) -> str:
    """Remove the files of a node that ended with its machine or container; return a message."""
    with node_identity.lock(run_dir / "start.lock", LOCK_SECONDS):
        owner, node = find_owner_unlocked(run_dir)
        if owner is NodeOwner.ENDED and node is not None:
            clean(run_dir, node.node_id)
            forget_wanted(run_dir)
            return "DARC is not running"
    if owner is NodeOwner.COPIED and node is not None:
        return (
            "DARC is not running: this home is a copy of that of node"
            f" {node.node_id}, which is not touched"
        )
    return _NONE_STARTED


def forget(run_dir: Path) -> str:
    """Remove the files of a node whose machine is gone for good; return a message.

    :raises NodeError: the node runs on this machine
    """
    forgotten = []
    for directory in places(run_dir):
        owner, node = find_owner(directory)
        if node is None or owner is not NodeOwner.ELSEWHERE:
            continue
        if node.machine == this_boot():  # which knows all of its locks
            refuse_elsewhere(run_dir)
        for name in ("node.json", node_identity.LOCK, node_identity.MASTER_LOCK):
            (directory / name).unlink(missing_ok=True)  # and with it the locks held on it
        _remove_files(directory, node.node_id)
        forgotten.append(f"{directory}: node {node.node_id} of {node.host or node.hostname}")
    if not forgotten:
        return "nothing to forget: there is no node of another machine"
    return "\n".join(["forgotten:", *forgotten])


def forget_wanted(run_dir: Path) -> None:
    """Remove the list of services to run, so that a stopped node does not start them again."""
    (run_dir / node_identity.WANTED).unlink(missing_ok=True)


def clean(run_dir: Path, node_id: str) -> None:
    """Remove the files of a stopped node.

    :raises NodeError: a process still holds its locks
    """
    if not wait_until(lambda: not is_held(run_dir), EXIT_SECONDS):
        raise NodeError(
            f"{run_dir} is in use by a process that is not visible here, perhaps on another"
            " machine: nothing was removed"
        )
    _remove_files(run_dir, node_id)


def _remove_files(directory: Path, node_id: str) -> None:
    node_identity.remove_sockets(directory)
    (directory / node_identity.PID_FILE).unlink(missing_ok=True)
    remove_endpoint(node_id)
