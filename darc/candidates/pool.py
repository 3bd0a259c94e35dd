"""Worker processes for tasks, which keep the service small and its loop responsive.

If a process crashes, its task is retried once; a task that crashes two processes is given up.
Worker processes exit with the service, however that exits.
"""

from __future__ import annotations

import logging
import os
import pickle
import socket
import subprocess
import sys
import time
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for_any
from typing import Protocol

from darc.config.records import Struct
from darc.runtime.thread_limits import ONE_THREAD

log = logging.getLogger(__name__)

#: Maximum number of attempts of a task whose processes crash.
TRIES = 2
#: Time limit of a task (s).
TASK_SECONDS = 900.0
#: A process that is idle for this long is stopped (s).
IDLE_SECONDS = 60.0


class Task(Protocol):
    """Task of a pool.

    Tasks are idempotent: a task is repeated if its process crashes before it has answered.
    """

    @property
    def observation(self) -> str:
        """Key of the observation's run, as used by `abort`."""

    def run(self) -> object:
        """Run the task; the return value can be pickled."""


class DoneTask(Struct, frozen=True):
    """Finished task.

    :param error: why there is no result; empty on success
    """

    task: Task
    result: object = None
    error: str = ""


class Pool(Protocol):
    """Pool that runs several tasks at a time."""

    def free(self) -> int:
        """Return the number of tasks that can start at once."""

    def submit(self, task: Task) -> None:
        """Start a task; call only if `free` is positive."""

    def outcomes(self) -> list[DoneTask]:
        """Return the tasks finished since the last call, without blocking."""

    def wait(self, seconds: float) -> None:
        """Wait until there may be an outcome, up to so long (s)."""

    def abort(self, observation: str) -> None:
        """Stop all tasks of an observation, without outcomes."""

    def close(self) -> None:
        """Stop all tasks."""


class _Process:
    """One process, and its current task.

    :param service: name under which it logs
    :param nice: by which its priority is lower
    """

    def __init__(self, service: str, nice: int) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            words = ["-P", "-m", "darc.candidates.pool_process"]
            words += map(str, (theirs.fileno(), os.getpid(), service, nice))
            self._popen = subprocess.Popen(
                [sys.executable, *words],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={**ONE_THREAD, **os.environ},
            )
        #: Readable when the task is finished or the process has exited.
        self.connection = Connection(ours.detach())
        self.task: Task | None = None
        self.tries = 0
        self.since = time.monotonic()

    def begin(self, task: Task, tries: int) -> None:
        """Send a task to the process.

        :raises OSError: the process has exited
        """
        self.task, self.tries, self.since = task, tries, time.monotonic()
        self.connection.send_bytes(pickle.dumps(task))

    def result(self) -> DoneTask | None:
        """Return the outcome of the task; None while it runs.

        :raises EOFError: the process has exited
        :raises OSError: the process has exited
        """
        if self.task is None or not self.connection.poll():
            return None
        error, result = pickle.loads(self.connection.recv_bytes())
        done = DoneTask(self.task, result, error)
        self.task, self.since = None, time.monotonic()
        return done

    def end(self) -> str:
        """Stop the process; return how it exited if it had done so before."""
        code = self._popen.poll()
        self._popen.kill()
        self._popen.wait()
        self.connection.close()
        code = self._popen.returncode if code is None else code
        return f"signal {-code}" if code < 0 else f"exit status {code}"


class LocalPool:
    """Pool of processes on this host.

    :param size: number of processes
    :param service: name under which they log
    :param nice: by which their priority is lower
    :param time_limit: of a task, s; None: `TASK_SECONDS`
    """

    def __init__(
        self,
        size: int,
        service: str = "processor",
        *,
        nice: int = 0,
        time_limit: float | None = None,
    ) -> None:
        self._size = size
        self._service, self._nice = service, nice
        self._time_limit = time_limit
        self._processes: list[_Process] = []
        self._failed: list[DoneTask] = []

    def free(self) -> int:
        return self._size - sum(process.task is not None for process in self._processes)

    def submit(self, task: Task) -> None:
        self._begin(task, 1)

    def _begin(self, task: Task, tries: int) -> None:
        idle = next((process for process in self._processes if process.task is None), None)
        if idle is None:
            idle = _Process(self._service, self._nice)
            self._processes.append(idle)
        try:
            idle.begin(task, tries)
        except OSError:
            self._died(idle)

    def outcomes(self) -> list[DoneTask]:
        done: list[DoneTask] = []
        now = time.monotonic()
        limit = TASK_SECONDS if self._time_limit is None else self._time_limit
        for process in list(self._processes):
            try:
                result = process.result()
            except (EOFError, OSError):
                self._died(process)
                continue
            if result:
                done.append(result)
            elif process.task and now - process.since > limit:
                self._remove(process)
                error = f"no answer within {limit:.0f} s, ended"
                done.append(DoneTask(process.task, error=error))
            elif process.task is None and now - process.since > IDLE_SECONDS:
                self._remove(process)
        done += self._failed
        self._failed = []
        return done

    def wait(self, seconds: float) -> None:
        if not self._failed:
            busy = [process.connection for process in self._processes if process.task]
            wait_for_any(busy, seconds)

    def _remove(self, process: _Process) -> str:
        self._processes.remove(process)
        return process.end()

    def _died(self, process: _Process) -> None:
        """Retry the task of a crashed process, unless it has been retried."""
        how = self._remove(process)
        if process.task is None:
            return
        if process.tries < TRIES:
            log.warning("a process crashed (%s) at %s; trying again", how, process.task)
            self._begin(process.task, process.tries + 1)
            return
        error = f"the process died {process.tries} times, the last one of {how}"
        self._failed.append(DoneTask(process.task, error=error))

    def abort(self, observation: str) -> None:
        for process in list(self._processes):
            if process.task and process.task.observation == observation:
                self._remove(process)
        self._failed = [done for done in self._failed if done.task.observation != observation]

    def close(self) -> None:
        for process in list(self._processes):
            self._remove(process)
