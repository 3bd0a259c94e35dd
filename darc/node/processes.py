"""Processes of a node, recognised by DARC_NODE_ID in their environment."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable

import psutil

from darc.runtime.clock import wait_until

NODE_ID = "DARC_NODE_ID"


def of_node(node_id: str) -> list[psutil.Process]:
    """Return the running processes with this node's id, except the caller's own."""
    found = []
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        try:
            if process.environ().get(NODE_ID) == node_id and process.is_running():
                found.append(process)
        except (psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied):
            continue  # exited meanwhile, or another user's, which cannot belong to this node
    return [process for process in found if not _is_zombie(process)]


def _is_zombie(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def kill_node(node_id: str, supervisord_pid: int | None, timeout: float) -> tuple[int, int]:
    """Kill every process of a node: SIGTERM, and SIGKILL after ``timeout`` seconds.

    supervisord is signalled first each time, so that it restarts nothing. It is not waited for
    alone, as it takes a second to notice the exit of each process.

    :return: number of processes that got SIGTERM, and SIGKILL (without supervisord)
    """

    def is_not_supervisord(process: psutil.Process) -> bool:
        return process.pid != supervisord_pid

    asked = sorted(of_node(node_id), key=is_not_supervisord)
    _signal(asked, signal.SIGTERM)
    wait_until(lambda: not any(map(is_not_supervisord, of_node(node_id))), timeout)
    killed = 0
    # A process that is started between listing and signalling is found in the next pass.
    for _ in range(10):
        left = sorted(of_node(node_id), key=is_not_supervisord)
        if not left:
            break
        killed += sum(map(is_not_supervisord, left))
        _signal(left, signal.SIGKILL)
        wait_until(lambda: not of_node(node_id), 1.0)
    return len(asked), killed


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)  # psutil checks that the PID was not reused
        except psutil.NoSuchProcess:
            continue
