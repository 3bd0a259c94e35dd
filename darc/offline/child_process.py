"""A process that does one piece of work beside the service, at a lower priority.

It ends with the service, however that ends.
"""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection

from darc.offline.offline_tasks import OfflineTask


@dataclass(frozen=True, slots=True)
class WorkResult:
    """What a piece of work has come to.

    :param error: why it was not done; empty if it was
    :param problems: what was wrong though the rest was done
    :param died: the process ended before it could answer
    """

    error: str
    problems: tuple[str, ...] = ()
    died: bool = False


class ChildProcess:
    """The process, at its work."""

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
            self._gone = True  # `answer` says so

    @property
    def pid(self) -> int:
        return self._process.pid

    def answer(self) -> WorkResult | None:
        """What it has come to; None: nothing yet."""
        try:
            if not self._gone and not self._connection.poll():
                return None
            error, problems = pickle.loads(self._connection.recv_bytes())
        except (EOFError, OSError):
            return WorkResult(f"the process died of {self.end()}", died=True)
        return WorkResult(error, tuple(problems))

    def end(self) -> str:
        """End it, and say how it ended if it had done so before."""
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
        """Whether the other end is closed."""
        try:
            return self._connection.poll()
        except OSError:
            return True
