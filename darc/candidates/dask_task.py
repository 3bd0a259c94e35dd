"""What a Dask worker runs, and how its answer comes back: as plain values, packed.

Dask pickles what a task returns. Bytes are all that it is given, and what the service makes of them
is checked as anything that comes from outside.
"""

from __future__ import annotations

from typing import Protocol

from darc.candidates.pool_process import run_task
from darc.candidates.pool_tasks import Task
from darc.queues.plain_connection import pack, unpack

#: Of an answer: an error in words, or a candidate's numbers (bytes).
MAX_ANSWER = 2**20
MAX_ERROR = 10_000  # characters


class DaskTask(Task, Protocol):
    """A task whose result can be told in plain values."""

    def to_plain(self, result: object) -> object:
        """The result as plain values."""

    def from_plain(self, plain: object) -> object:
        """The way back.

        :raises ValueError: it is no result of this task
        """


def run_packed(task: DaskTask) -> bytes:
    """Run a task on a worker; its answer, packed."""
    error, result = run_task(task)
    return pack([error[:MAX_ERROR], None if error else task.to_plain(result)])


def answer_of(task: DaskTask, data: object) -> tuple[str, object]:
    """An error in words, empty if there is none, and the result.

    :raises ValueError: this is no answer
    """
    if not isinstance(data, bytes) or len(data) > MAX_ANSWER:
        raise ValueError("not an answer in packed bytes")
    plain = unpack(data)
    if not isinstance(plain, list) or len(plain) != 2 or not isinstance(plain[0], str):
        raise ValueError("not an error and a result")
    error, result = plain
    return error, None if error else task.from_plain(result)
