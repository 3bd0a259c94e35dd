"""The end of a node: waiting for it, and killing what does not stop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from darc.model.config import Config
from darc.node import identity, render
from darc.node.endpoint import remove_endpoint
from darc.node.identity import NodeError
from darc.node.look import last_node_id, log_end, supervisor_of
from darc.node.processes import kill_node, of_node, wait_until

LOCK_SECONDS = 30.0
# What a stop may take beyond stop_timeout.
STOP_SECONDS = 3.0


@contextmanager
def alone(config: Config) -> Iterator[None]:
    """Starts and stops of a node come one after the other.

    :raises NodeError: another one takes too long
    """
    patience = max(LOCK_SECONDS, config.master.stop_timeout + 2 * STOP_SECONDS)
    with identity.lock(Path(config.master.run_dir) / "start.lock", patience):
        yield


def wait_for_stop(config: Config) -> None:
    """Wait until nothing of this host's node is left.

    :raises NodeError: something is
    """
    run_dir = Path(config.master.run_dir)
    node_id = last_node_id(run_dir)
    patience = config.master.stop_timeout + STOP_SECONDS
    if node_id and not wait_until(lambda: not of_node(node_id), patience):
        names = ", ".join(f"{process.pid}" for process in of_node(node_id))
        raise NodeError(
            f"still running after {patience:.0f} s: processes {names}; darc_kill_all ends them\n"
            + log_end(config, render.MASTER)
        )
    clean(run_dir)
    forget_wanted(run_dir)


def stop_without_master(config: Config) -> None:
    """End a node whose master does not answer, by way of its supervisord.

    :raises SupervisorError: that does not answer either
    """
    supervisor = supervisor_of(config)
    supervisor.call("supervisor.stopAllProcesses", False)
    supervisor.shut_down()


def kill_all(run_dir: Path, stop_timeout: float) -> str:
    """End everything of the node that was started last in ``run_dir``; says what was done."""
    node_id = last_node_id(run_dir)
    if node_id is None:
        return "DARC is not running: no node was started here"
    # Without the lock: it also ends a start or stop that hangs.
    asked, killed = kill_node(node_id, identity.supervisord_pid(run_dir), stop_timeout)
    left = of_node(node_id)
    if left:
        raise NodeError(
            f"processes {', '.join(str(process.pid) for process in left)} cannot be killed"
        )
    with identity.lock(run_dir / "start.lock", LOCK_SECONDS):
        if last_node_id(run_dir) == node_id:  # not the files of one that was started meanwhile
            clean(run_dir)
            forget_wanted(run_dir)
    if not asked:
        return "DARC is not running"
    return f"{asked} processes ended, {killed} of them by SIGKILL"


def forget_wanted(run_dir: Path) -> None:
    """A node that was stopped does not come up again with its services by itself."""
    (run_dir / identity.WANTED).unlink(missing_ok=True)


def clean(run_dir: Path) -> None:
    """Remove what a node leaves that has ended."""
    identity.remove_sockets(run_dir)
    (run_dir / "supervisord.pid").unlink(missing_ok=True)
    remove_endpoint()
