"""A service's link to the queues, which is made again whenever the master comes back."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from darc.node.secret import SecretError, read_secret
from darc.node.supervisor import Supervisor, SupervisorError
from darc.queues.client import Holder, Notification, QueueClient, QueuesGoneError, listen
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
LISTEN_SECONDS = 0.5
BEAT_SECONDS = 1.0


class QueueLink:
    """Calls to the queues that wait for the master when it is away.

    The wait has no limit of its own: it ends with the process, which supervisord ends, or which
    ends itself when supervisord is gone.

    :param run_dir: the node's
    """

    def __init__(self, run_dir: Path, service: str, class_name: str) -> None:
        self._run_dir = run_dir
        self._service = service
        self._class_name = class_name
        self._holder: Holder | None = None
        self._client: QueueClient | None = None
        self._called = 0.0  # last, monotonic

    @property
    def number(self) -> int | None:
        """The number of this process's hold on its work."""
        return self._holder.number if self._holder else None

    def connect(self) -> QueueClient:
        """Open another connection to the queues.

        :raises QueuesGoneError: the master is away
        """
        key = read_secret(self._run_dir / "secret")
        return QueueClient(self._run_dir / "queues.sock", key, self._service)

    def attach(self) -> Holder:
        """Attach, waiting for the master where it is away."""
        said = False
        while True:
            try:
                self._client = self.connect()
                self._holder = Holder(
                    self._client, self._service, os.getpid(), self._class_name, self.number
                )
            except (QueuesGoneError, FullError) as error:
                if not said:
                    log.warning("waiting for the master: %s", error)
                    self._wake_supervisord()
                    said = True
                time.sleep(RETRY_SECONDS)
            else:
                log.info("attached as holder %d", self._holder.number)
                return self._holder

    def _wake_supervisord(self) -> None:
        """supervisord sleeps up to a second after a death; any call wakes it."""
        try:
            Supervisor(self._run_dir / "supervisord.sock", timeout=1.0).poke()
        except SupervisorError as error:
            log.warning("%s", error)

    def _again(self, action: Callable[[Holder], T]) -> T:
        """Do it, and once more after each return of the master, or when a full journal has room."""
        holder = self._holder or self.attach()
        full_said = False
        while True:
            self._called = time.monotonic()
            try:
                return action(holder)
            except FullError as error:
                if not full_said:
                    log.error("waiting for room: %s", error)
                full_said = True
                time.sleep(RETRY_SECONDS)
            except QueuesGoneError as error:
                log.warning("the master went: %s", error)
                if self._client:
                    self._client.close()
                holder = self.attach()

    def beat(self) -> None:
        self._again(lambda holder: holder.beat())

    def beat_if_due(self) -> None:
        """Beat while something long is worked on in pieces, unless a call has just done so."""
        if self._holder and time.monotonic() - self._called > BEAT_SECONDS:
            self.beat()

    def flush(self) -> None:
        """Wait until all that was committed outlives a loss of power."""
        self._again(lambda holder: holder.flush())

    def take(self, after: int, timeout: float) -> list[QueueEntry]:
        return self._again(lambda holder: holder.take(after, timeout))

    def recall(self, observation: str) -> dict[str, object]:
        return self._again(lambda holder: holder.recall(observation))

    def progress(self, observation: str) -> dict[str, int]:
        return self._again(lambda holder: holder.progress(observation))

    def finished(self, observation: str) -> None:
        self._again(lambda holder: holder.finished(observation))

    def commit(self, commit: Commit) -> None:
        """Do a step exactly once, whatever happens to the master meanwhile."""
        sequence = self._again(lambda holder: holder.next_sequence)
        self._again(lambda holder: holder.commit(commit, sequence))

    def orders(self, answer: Callable[[ServiceQuery], tuple[bool, Any]]) -> list[Order]:
        """The service's observations as they are now.

        :param answer: as for :class:`OrderListener`: a question may come along
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
    """A thread that hears orders and questions while the service's loop is at work.

    ``descriptor`` is an eventfd that can be read when orders have come. What they are the loop
    asks itself (:meth:`QueueLink.orders`): heard here, they may be older than what it knows.

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
        """Whether orders have come since the last call."""
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
                pass  # the loop says so, and brings the link back
            except FencedError as error:
                if self._link.number == number:
                    log.debug("no more questions: %s", error)
            except Exception as error:
                self._say(error)
            time.sleep(RETRY_SECONDS)

    def _say(self, error: Exception) -> None:
        """Say once of each kind what is wrong, as it may come again at each attempt."""
        if type(error) in self._said:
            return
        self._said.add(type(error))
        if isinstance(error, QueueError | SecretError):
            log.error("neither orders nor questions are heard: %s", error)
        else:
            log.exception("neither orders nor questions are heard")

    def _listen(self, client: QueueClient, number: int) -> None:
        version = 0
        while True:
            news: Notification = listen(client, self._service, number, version, LISTEN_SECONDS)
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
    """Answer a question; an attribute that cannot be told is one that is not found."""
    number, query = question
    try:
        found, value = answer(query)
    except Exception as error:
        log.error("%s cannot be told: %s: %s", query.name, type(error).__name__, error)
        found, value = False, None
    client.call("answer", number, found, value)
