"""Tasks on a Dask worker, and the serialisation of their results as plain values.

Dask pickles what a task returns. Only bytes are returned, and the service validates them like any
external input.
"""

from __future__ import annotations

from typing import Protocol

from darc.candidates.pool import Task
from darc.candidates.pool_process import run_task
from darc.queues.plain_connection import pack, unpack

#: Maximum size of an answer (bytes): an error text, or a candidate's numbers.
MAX_ANSWER = 2**20
MAX_ERROR = 10_000  # characters


class DaskTask(Task, Protocol):
    """Task whose result can be converted to plain values."""

    def to_plain(self, result: object) -> object:
        """Convert a result to plain values."""

    def from_plain(self, plain: object) -> object:
        """Convert plain values to a result.

        :raises ValueError: the values are not a result of this task
        """


def run_packed(task: DaskTask) -> bytes:
    """Run a task on a worker, and return its packed answer."""
    error, result = run_task(task)
    return pack([error[:MAX_ERROR], None if error else task.to_plain(result)])


def answer_of(task: DaskTask, data: object) -> tuple[str, object]:
    """Unpack an answer: an error text, empty on success, and the result.

    :raises ValueError: the data are not an answer
    """
    if not isinstance(data, bytes) or len(data) > MAX_ANSWER:
        raise ValueError("not an answer in packed bytes")
    plain = unpack(data)
    if not isinstance(plain, list) or len(plain) != 2 or not isinstance(plain[0], str):
        raise ValueError("not an error and a result")
    error, result = plain
    return error, None if error else task.from_plain(result)
