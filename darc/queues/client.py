"""Clients of a node's queues, for services and for interactive use from Python.

>>> from darc.queues.client import attach
>>> queues = attach()
>>> queues.depths()
"""

from __future__ import annotations

import time
from multiprocessing import AuthenticationError
from pathlib import Path
from typing import Any

from darc.node.endpoint import read_endpoint
from darc.node.secret import read_secret
from darc.queues import messages
from darc.queues.messages import (
    Commit,
    Depth,
    Notification,
    OutOfStepError,
    QueueEntry,
    QueueError,
)
from darc.queues.names import OBJECT, SCRATCH
from darc.queues.plain_connection import plain_client

_ERRORS: dict[str, type[QueueError]] = {
    "FencedError": messages.FencedError,
    "FullError": messages.FullError,
    "OutOfStepError": OutOfStepError,
}


class QueuesGoneError(ConnectionError):
    """The master is unreachable, or the connection to it was lost."""


class QueueClient:
    """A connection to a node's queues, to be used by one thread.

    :param address: path of a Unix socket, or host and port
    :param key: the secret of the node or cluster
    :param timeout: s to connect, and for each answer; None: no limit
    :param served: the object whose methods are called
    :raises QueuesGoneError: nobody serves there
    :raises QueueError: the key was not accepted
    """

    def __init__(
        self,
        address: Path | tuple[str, int],
        key: bytes,
        name: str,
        timeout: float | None = None,
        served: str = OBJECT,
    ) -> None:
        self._served = served
        self._place = f"{address[0]}:{address[1]}" if isinstance(address, tuple) else str(address)
        try:
            #: What is sent here directly is no call, and is refused.
            self.connection = plain_client(address, key, timeout)
        except AuthenticationError as error:
            raise QueueError(f"{self._place}: the secret was not accepted") from error
        except (OSError, EOFError) as error:
            raise self._gone(error) from error
        try:
            self._ask(None, "accept_connection", (name,))
        except BaseException:
            self.connection.close()
            raise

    def _gone(self, error: OSError | EOFError) -> QueuesGoneError:
        why = "no reply in time" if isinstance(error, BlockingIOError) else str(error) or "closed"
        return QueuesGoneError(f"{self._place}: {why}")

    def close(self) -> None:
        self.connection.close()

    def _ask(self, served: str | None, method: str, arguments: tuple[object, ...]) -> Any:
        """Call as ``multiprocessing.managers.dispatch``, whose module is 0.5 MB in each service."""
        try:
            self.connection.send((served, method, arguments, {}))
            kind, result = self.connection.recv()
        except (OSError, EOFError) as error:
            raise self._gone(error) from error
        if kind == "#RETURN":
            return result
        name, _, text = str(result).partition(": ")
        raise _ERRORS.get(name, QueueError)(text or name)

    def call(self, method: str, *arguments: object) -> Any:
        """Call a method of what is served, such as :class:`darc.queues.exchange.Exchange`.

        :raises QueuesGoneError: the connection to the master was lost
        :raises QueueError: the request was refused; the class says the reason
        """
        return self._ask(self._served, method, arguments)


class Holder:
    """A service's lease on its queue, which survives a lost connection.

    :param previous: holder number of this process before the connection was lost, if any
    """

    def __init__(
        self, client: QueueClient, service: str, pid: int, class_name: str, previous: int | None
    ) -> None:
        self._client = client
        self._service = service
        self.number: int
        self._sequence: int
        self.number, self._sequence = client.call("attach", service, pid, class_name, previous)

    def heartbeat(self, works: bool = True) -> None:
        """Send a heartbeat.

        :param works: the work loop has started
        """
        self._client.call("beat", self._service, self.number, works)

    def take(self, after: int, timeout: float) -> list[QueueEntry]:
        """Return entries after ``after``, waiting up to ``timeout`` s; counts as a heartbeat."""
        entries = self._client.call("take", self._service, self.number, after, timeout)
        return [QueueEntry.from_plain(entry) for entry in entries]

    def commit(self, commit: Commit, sequence: int) -> None:
        """Commit a step atomically; repeating it with the same number has no effect."""
        self._client.call("commit", self._service, self.number, sequence, commit.to_plain())
        self._sequence = sequence

    @property
    def next_sequence(self) -> int:
        """Sequence number of the next step."""
        return self._sequence + 1

    def flush(self) -> None:
        """Wait until all commits are safe against a loss of power."""
        self._client.call("flush")

    def recall(self, observation: str) -> dict[str, Any]:
        """Return what the service has stored for an observation; counts as a heartbeat."""
        remembered: dict[str, Any] = {}
        after = None
        while page := self._client.call("recall", self._service, observation, after):
            remembered.update(page)
            after = page[-1][0]
            self.heartbeat(works=False)
        return remembered

    def progress(self, observation: str) -> dict[str, int]:
        """Return the committed position in each file of an observation, bytes."""
        held: dict[str, int] = self._client.call("progress", observation)
        return held

    def finished(self, observation: str) -> None:
        self._client.call("finished", self._service, self.number, observation)


def listen(
    client: QueueClient, service: str, holder: int, version: int, timeout: float
) -> Notification:
    """Wait for orders newer than ``version``, or a question; does not count as a heartbeat.

    :param version: version of the known orders
    :param timeout: s
    """
    return Notification.from_plain(client.call("listen", service, holder, version, timeout))


class Queues:
    """Queues of a node, for interactive use."""

    def __init__(self, client: QueueClient) -> None:
        self._client = client

    def depths(self) -> list[Depth]:
        """Return the depth of each queue that is not empty."""
        return [Depth.from_plain(row) for row in self._client.call("depths")]

    def ages(self) -> dict[str, float]:
        """Return the age of each queue's oldest entry, s."""
        now = time.time()
        return {depth.queue: now - depth.oldest for depth in self.depths() if depth.oldest}

    def put(self, value: object, queue: str = SCRATCH) -> None:
        """Put a plain value on a queue; a service's queue delivers it to the service."""
        self._client.call("put", queue, value)

    def get(self, timeout: float = 0.0) -> Any:
        """Take the oldest value from the scratch queue.

        :param timeout: s to wait for a value
        :raises TimeoutError: no value in time
        """
        deadline = time.monotonic() + timeout
        while True:
            left = max(0.0, deadline - time.monotonic())
            values = self._client.call("get", SCRATCH, left)
            if values:
                return values[0]
            if left <= 0:
                raise TimeoutError(f"nothing on {SCRATCH!r} within {timeout} s")

    def close(self) -> None:
        self._client.close()


def attach() -> Queues:
    """Attach to the queues of this host's running node.

    :raises QueuesGoneError: no node is running
    """
    endpoint = read_endpoint()
    if endpoint is None:
        raise QueuesGoneError("no node has been started on this host (no endpoint file)")
    key = read_secret(Path(endpoint.secret))
    return Queues(QueueClient(Path(endpoint.queues), key, "person"))
