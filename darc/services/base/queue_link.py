"""Connection of a service to the queues, which reconnects when the master restarts."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from darc.node.secret import SecretError, read_secret
from darc.queues.client import Holder, QueueClient, QueuesGoneError, listen
from darc.queues.messages import (
    Commit,
    FencedError,
    FullError,
    Order,
    QueueEntry,
    QueueError,
    ServiceQuery,
)
from darc.runtime.vital_threads import vital

log = logging.getLogger(__name__)
T = TypeVar("T")

RETRY_SECONDS = 0.05
LISTEN_SECONDS = 10.0
BEAT_SECONDS = 1.0


class QueueLink:
    """Calls to the queues, which wait for the master while it is away.

    The wait has no timeout: it ends with the process, which supervisord stops, or which exits by
    itself when supervisord has exited.

    :param run_dir: of the node
    :param service: name of the service
    :param class_name: name of its class, as ``get_attr`` shows it
    """

    def __init__(self, run_dir: Path, service: str, class_name: str) -> None:
        self._run_dir = run_dir
        self._service = service
        self._class_name = class_name
        self._holder: Holder | None = None
        self._client: QueueClient | None = None
        self._called = 0.0  # last call, monotonic (s)
        #: How often it has attached: again after each restart of the master.
        self.attachments = 0

    @property
    def number(self) -> int | None:
        """Number of this process's lease on its queue; None: not attached."""
        return self._holder.number if self._holder else None

    def connect(self) -> QueueClient:
        """Open another connection to the queues.

        :raises QueuesGoneError: the master is away
        """
        key = read_secret(self._run_dir / "secret")
        return QueueClient(self._run_dir / "queues.sock", key, self._service)

    def attach(self) -> Holder:
        """Attach to the queue; wait for the master while it is away."""
        said = False
        while True:
            try:
                self._client = self.connect()
                self._holder = Holder(
                    self._client, self._service, os.getpid(), self._class_name, self.number
                )
            except (QueuesGoneError, FullError) as error:
                if not said:
                    log.warning("waiting for darc_master: %s", error)
                    self._wake_supervisord()
                    said = True
                time.sleep(RETRY_SECONDS)
            else:
                self.attachments += 1
                log.info("attached as holder %d", self._holder.number)
                return self._holder

    def _wake_supervisord(self) -> None:
        """Wake supervisord, which may notice the exit of a process up to 1 s late."""
        # With xmlrpc.client and ssl: 3 MB in each process, for when the master is away.
        from darc.node.supervisor import Supervisor, SupervisorError  # noqa: PLC0415

        try:
            Supervisor(self._run_dir / "supervisord.sock", timeout=1.0).poke()
        except SupervisorError as error:
            log.warning("%s", error)

    def _again(self, action: Callable[[Holder], T]) -> T:
        """Call an action; retry it after restarts of the master, and while the journal is full."""
        holder = self._holder or self.attach()
        full_said = False
        while True:
            self._called = time.monotonic()
            try:
                return action(holder)
            except FullError as error:
                if not full_said:
                    log.error("waiting until the journal has room: %s", error)
                full_said = True
                time.sleep(RETRY_SECONDS)
            except QueuesGoneError as error:
                log.warning("connection to darc_master lost, connecting again: %s", error)
                if self._client:
                    self._client.close()
                holder = self.attach()

    def heartbeat(self) -> None:
        self._again(lambda holder: holder.heartbeat())

    def heartbeat_if_due(self) -> None:
        """Send a heartbeat between parts of long work, unless there was a call just before."""
        if self._holder and time.monotonic() - self._called > BEAT_SECONDS:
            self.heartbeat()

    def flush(self) -> None:
        """Wait until all commits are synced to disk."""
        self._again(lambda holder: holder.flush())

    def take(self, after: int, timeout: float) -> list[QueueEntry]:
        """Return the entries behind one.

        :param after: number of the last entry seen
        :param timeout: to wait for the first one (s)
        """
        return self._again(lambda holder: holder.take(after, timeout))

    def recall(self, observation: str) -> dict[str, object]:
        """Return the service's memory of an observation.

        :param observation: its key; empty: what concerns none
        """
        return self._again(lambda holder: holder.recall(observation))

    def progress(self, observation: str) -> dict[str, int]:
        """Return how far each file of an observation was read (bytes), by file."""
        return self._again(lambda holder: holder.progress(observation))

    def finished(self, observation: str) -> None:
        """Report that the service is done with an observation."""
        self._again(lambda holder: holder.finished(observation))

    def commit(self, commit: Commit) -> None:
        """Commit a step exactly once, also if the master restarts meanwhile."""
        sequence = self._again(lambda holder: holder.next_sequence)
        self._again(lambda holder: holder.commit(commit, sequence))

    def orders(self, answer: Callable[[ServiceQuery], tuple[bool, Any]]) -> list[Order]:
        """Return the current orders of the service.

        :param answer: as for :class:`OrderListener`, as a question may arrive at the same time
        :raises QueuesGoneError: not attached
        """

        def ask(_: Holder) -> list[Order]:
            if self._client is None or self.number is None:
                raise QueuesGoneError("not attached")
            news = listen(self._client, self._service, self.number, 0, 0.0)
            if news.question:
                _reply(self._client, news.question, answer)
            return news.orders or []

        return self._again(ask)


class OrderListener:
    """Thread that receives orders and questions while the service's loop works.

    ``descriptor`` is an eventfd that becomes readable when orders have arrived. The loop requests
    the orders themselves (:meth:`QueueLink.orders`), as those received here may be older.

    :param answer: answers a question: (found, plain value)
    """

    def __init__(
        self, link: QueueLink, service: str, answer: Callable[[ServiceQuery], tuple[bool, Any]]
    ) -> None:
        self._link = link
        self._service = service
        self._answer = answer
        self._said: set[type[Exception]] = set()
        self.descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        vital("ear", self._hear, or_exit=True)

    def has_orders(self) -> bool:
        """Whether orders have arrived since the last call."""
        try:
            return os.eventfd_read(self.descriptor) > 0
        except BlockingIOError:
            return False

    def _hear(self) -> None:
        while True:
            number = self._link.number
            try:
                if number is not None:
                    self._listen(self._link.connect(), number)
            except QueuesGoneError:
                pass  # the loop logs that, and reconnects
            except FencedError as error:
                if self._link.number == number:
                    log.debug("no more questions: %s", error)
            except Exception as error:
                self._say(error)
            time.sleep(RETRY_SECONDS)

    def _say(self, error: Exception) -> None:
        """Log an error once per kind, as each attempt may repeat it."""
        if type(error) in self._said:
            return
        self._said.add(type(error))
        if isinstance(error, QueueError | SecretError):
            log.error("cannot receive orders and questions, trying again: %s", error)
        else:
            log.exception("cannot receive orders and questions, trying again")

    def _listen(self, client: QueueClient, number: int) -> None:
        version = 0
        while True:
            news = listen(client, self._service, number, version, LISTEN_SECONDS)
            version = news.version
            if news.orders is not None:
                os.eventfd_write(self.descriptor, 1)
            if news.question:
                _reply(client, news.question, self._answer)


def _reply(
    client: QueueClient,
    question: tuple[int, ServiceQuery],
    answer: Callable[[ServiceQuery], tuple[bool, Any]],
) -> None:
    number, query = question
    client.call("answer", number, *answer_of(query, answer))


def answer_of(
    query: ServiceQuery, answer: Callable[[ServiceQuery], tuple[bool, Any]]
) -> tuple[bool, Any]:
    """Return the answer to a question; an attribute whose value fails is reported as not found."""
    try:
        return answer(query)
    except Exception as error:
        log.error("%s: no answer: %s: %s", query.name, type(error).__name__, error)
        return False, None
