"""Process that runs one task beside the service, at lower priority.

It exits with the service, however that exits.
"""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
import time
from multiprocessing.connection import Connection

from darc.config.records import Struct
from darc.offline.offline_tasks import OfflineTask


class WorkResult(Struct, frozen=True):
    """Outcome of a task.

    :param error: why the task failed; empty on success
    :param problems: partial failures of a successful task
    :param died: the process exited before it could answer
    """

    error: str
    problems: tuple[str, ...] = ()
    died: bool = False


class ChildProcess:
    """Process that runs a task."""

    def __init__(self, task: OfflineTask) -> None:
        self.task = task
        self.began = time.monotonic()
        ours, theirs = socket.socketpair()
        with theirs:
            words = ["-P", "-m", "darc.offline.process", str(theirs.fileno()), str(os.getpid())]
            self._process = subprocess.Popen(
                [sys.executable, *words],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        self._connection = Connection(ours.detach())
        self._gone = False
        try:
            self._connection.send_bytes(pickle.dumps(task))
        except OSError:
            self._gone = True  # reported by `answer`

    @property
    def pid(self) -> int:
        return self._process.pid

    def answer(self) -> WorkResult | None:
        """Return the outcome of the task; None while it runs."""
        try:
            if not self._gone and not self._connection.poll():
                return None
            error, problems = pickle.loads(self._connection.recv_bytes())
        except (EOFError, OSError):
            return WorkResult(f"the process died of {self.end()}", died=True)
        return WorkResult(error, tuple(problems))

    def end(self) -> str:
        """Stop the process; return how it exited if it had done so before."""
        try:
            code = self._process.wait(0.5) if self._gone or self._at_end() else None
        except subprocess.TimeoutExpired:
            code = None
        self._process.kill()
        self._process.wait()
        self._connection.close()
        code = self._process.returncode if code is None else code
        return f"signal {-code}" if code < 0 else f"exit status {code}"

    def _at_end(self) -> bool:
        """Whether the other end of the connection is closed."""
        try:
            return self._connection.poll()
        except OSError:
            return True
