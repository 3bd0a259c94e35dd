"""The object served on the master's queue socket: attached services, queues, questions.

State that must survive the master is in the journal; the rest is rebuilt when services attach
again.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from darc.config.records import Struct, field
from darc.queues.change_notifier import ChangeNotifier
from darc.queues.journal import Journal
from darc.queues.messages import (
    Commit,
    ContentKind,
    FencedError,
    Notification,
    Order,
    Put,
    QueueEntry,
    QueueError,
    ServiceQuery,
)
from darc.queues.names import SCRATCH
from darc.queues.plain_connection import pack, unpack
from darc.queues.queue_server import Session
from darc.runtime.fault_points import fault_point

log = logging.getLogger(__name__)

MAX_WAIT_SECONDS = 0.5
#: Of a listener, which is woken by all that concerns it.
MAX_LISTEN_SECONDS = 10.0
RECHECK_SECONDS = 0.1
EXPOSED = (
    "attach",
    "take",
    "commit",
    "flush",
    "recall",
    "progress",
    "beat",
    "finished",
    "listen",
    "answer",
    "depths",
    "put",
    "get",
)


class AttachedService(Struct):
    holder: int
    pid: int
    session: Session
    last_heartbeat: float  # monotonic
    class_name: str
    works: bool  # its work loop has started; until then its start may still fail


class Question(Struct):
    """Something asked of one service.

    :param taken_by: the process that has it in hand; None: it waits for one
    :param value: the answer: a plain value
    """

    number: int
    query: ServiceQuery
    taken_by: AttachedService | None = None
    answered: threading.Event = field(default_factory=threading.Event)
    found: bool = False
    value: Any = None


class Exchange:
    """The object behind the queue socket.

    :param on_change: called with a service's name after it has attached or detached
    :param on_finished: called with service and observation after a service has finished one
    """

    def __init__(
        self,
        journal: Journal,
        on_change: Callable[[str], None],
        on_finished: Callable[[str, str], None],
    ) -> None:
        self._journal = journal
        self._on_change = on_change
        self._on_finished = on_finished
        self._lock = threading.Lock()
        self._presences: dict[str, AttachedService] = {}
        self._questions: defaultdict[str, list[Question]] = defaultdict(list)
        self._asked: dict[int, Question] = {}
        self._numbers = itertools.count(1)
        self._orders: dict[str, list[Order]] = {}  # by service
        # It differs after each change, and from all that a client knows from an earlier master.
        self._orders_version = time.time_ns()
        #: By queue: it has another entry, or its service has other orders.
        self.work: defaultdict[str, ChangeNotifier] = defaultdict(ChangeNotifier)
        #: By service: it has other orders or a question, or another holder or none.
        self.control: defaultdict[str, ChangeNotifier] = defaultdict(ChangeNotifier)
        self._taking = threading.Lock()  # no two clients get the same value
        #: A service attached, began to work, or detached.
        self.services = ChangeNotifier()

    # -- for the master ------------------------------------------------------------------------

    def presence(self, service: str) -> AttachedService | None:
        with self._lock:
            return self._presences.get(service)

    def give_orders(self, by_service: dict[str, list[Order]]) -> None:
        """Publish the orders of each service."""
        with self._lock:
            self._orders = by_service
            self._orders_version += 1
            services = list(self._presences)
        for service in services:
            self.control[service].notify()
            self.work[service].notify()

    def wait_until(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Wait until the condition is true; checked whenever a service attaches or detaches.

        :param timeout: s
        :return: whether it became true
        """
        deadline = time.monotonic() + timeout
        while True:
            seen = self.services.changes()
            if condition():
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            # Changes by supervisord that no service notices are seen at the next check.
            self.services.wait(seen, min(left, RECHECK_SECONDS))

    def ask(self, service: str, query: ServiceQuery, timeout: float) -> Question | None:
        """Ask a service something; None when it does not answer in time.

        :param timeout: s
        """
        question = Question(next(self._numbers), query)
        with self._lock:
            self._questions[service].append(question)
            self._asked[question.number] = question
        self.control[service].notify()
        answered = question.answered.wait(timeout)
        with self._lock:
            del self._asked[question.number]
            if question in self._questions[service]:
                self._questions[service].remove(question)
        return question if answered else None

    def tell(self, service: str, query: ServiceQuery) -> None:
        """Tell a service something, and wait for no answer; what it has not heard yet once only."""
        with self._lock:
            untold = self._questions[service]
            if all(one.query != query for one in untold):
                untold.append(Question(next(self._numbers), query))
        self.control[service].notify()

    def remembered(self, service: str, key: str) -> object:
        """Return a value that a service has stored; None if there is none."""
        return self._journal.memory(service, "").get(key)

    def remember(self, service: str, key: str, value: object) -> None:
        """Store a value for a service, which reads it whenever it starts."""
        self._journal.remember(service, "", key, value)
        self._journal.flush()

    # -- for services --------------------------------------------------------------------------

    def attach(
        self, session: Session, service: str, pid: int, class_name: str, holder: int | None
    ) -> list[int]:
        """Become the holder of a service's queue, or continue as the holder `holder`.

        :return: holder number, sequence number of its last commit
        """
        worked = holder is not None  # it attaches again, after the master was restarted
        if holder is None:
            holder, sequence = self._journal.attach(service)
        else:
            sequence = self._journal.check_holder(service, holder)
        presence = AttachedService(holder, pid, session, time.monotonic(), class_name, worked)
        with self._taking, self._lock:  # no other client takes its entries from now on
            self._presences[service] = presence
        self.control[service].notify()  # the listener of another holder ends
        self.services.notify()
        session.on_gone(lambda: self._gone(service, presence))
        log.info("%s attached: process %d, holder %d", service, pid, holder)
        self._on_change(service)
        return [holder, sequence]

    def _gone(self, service: str, presence: AttachedService) -> None:
        with self._lock:
            current = self._presences.get(service) is presence
            if current:
                del self._presences[service]
            # What it took and did not answer is for the next one: who asks waits for that.
            unanswered = [one for one in self._asked.values() if one.taken_by is presence]
            self._questions[service][:0] = unanswered
            for one in unanswered:
                one.taken_by = None
        self.control[service].notify()  # its own listener ends
        if current:
            self.services.notify()
            log.info("%s detached: process %d", service, presence.pid)
            self._on_change(service)

    def _hold(self, service: str, holder: int) -> AttachedService:
        presence = self.presence(service)
        if presence is None or presence.holder != holder:
            raise FencedError(f"{service}: holder {holder} has been replaced")
        presence.last_heartbeat = time.monotonic()
        return presence

    def _works(self, presence: AttachedService) -> None:
        """Note a heartbeat of the work loop."""
        if not presence.works:
            presence.works = True
            self.services.notify()

    def beat(self, session: Session, service: str, holder: int, works: bool = True) -> None:
        """Note a heartbeat of the work loop, or of the start before it."""
        presence = self._hold(service, holder)
        if works:
            self._works(presence)

    def take(
        self,
        session: Session,
        service: str,
        holder: int,
        after: int,
        timeout: float,
        max_entries: int = 1000,
        max_bytes: int = 4 * 2**20,
    ) -> list[list[Any]]:
        """Wait for entries of the service's queue after ``after``, or for new orders.

        :param timeout: s
        :param max_bytes: of the entries' contents
        :raises FencedError: another process holds the queue
        """
        self._works(self._hold(service, holder))
        deadline = time.monotonic() + min(timeout, MAX_WAIT_SECONDS)
        seen = self.work[service].changes()
        entries = self._journal.take(service, after, max_entries, max_bytes)
        left = deadline - time.monotonic()
        if not entries and left > 0 and self.work[service].wait(seen, left):
            entries = self._journal.take(service, after, max_entries, max_bytes)
        return [entry.to_plain() for entry in entries]

    def commit(
        self, session: Session, service: str, holder: int, sequence: int, plain: list[Any]
    ) -> bool:
        """Do a step of a service; see :meth:`darc.queues.journal.Journal.commit`."""
        self._hold(service, holder)
        commit = Commit.from_plain(plain)
        fault_point(f"darc_master.before committing {service}")
        done = self._journal.commit(service, holder, sequence, commit)
        # In the order of the outputs, of which the most urgent one is first.
        for queue in dict.fromkeys(queue for put in commit.puts for queue in put.queues):
            self.work[queue].notify()
        if commit.durable:
            self._journal.flush()
        fault_point(f"darc_master.before replying {service}")
        return done

    def flush(self, session: Session) -> None:
        """Wait until all that was committed outlives a loss of power."""
        self._journal.flush()

    def recall(
        self, session: Session, service: str, observation: str, after: str | None
    ) -> list[list[Any]]:
        """Some of what a service committed to memory.

        See :meth:`darc.queues.journal.Journal.recall`.
        """
        return [[key, value] for key, value in self._journal.recall(service, observation, after)]

    def progress(self, session: Session, observation: str) -> dict[str, int]:
        return self._journal.progress(observation)

    def finished(self, session: Session, service: str, holder: int, observation: str) -> None:
        """Note that a service has finished a stopped observation."""
        self._hold(service, holder)
        self._on_finished(service, observation)

    def listen(
        self, session: Session, service: str, holder: int, version: int, timeout: float
    ) -> list[Any]:
        """Wait for a question, or for orders newer than the known version.

        Does not count as a heartbeat: it is called by a thread beside the work loop.

        :param timeout: s
        :return: a :class:`darc.queues.messages.Notification`
        :raises FencedError: another process holds the queue
        """
        deadline = time.monotonic() + min(timeout, MAX_LISTEN_SECONDS)
        while True:
            seen = self.control[service].changes()
            if session.has_gone():  # the question is for another listener
                raise QueueError(f"{service}: the listener has gone")
            with self._lock:
                presence = self._presences.get(service)
                if presence is None or presence.holder != holder:
                    raise FencedError(f"{service}: holder {holder} has been replaced")
                orders = None
                if self._orders_version != version:
                    version = self._orders_version
                    orders = self._orders.get(service, [])
                question = None
                if self._questions[service]:
                    asked = self._questions[service].pop(0)
                    asked.taken_by = presence
                    question = asked.number, asked.query
            left = deadline - time.monotonic()
            if orders is not None or question or left <= 0:
                return Notification(version, orders, question).to_plain()
            self.control[service].wait(seen, left)

    def answer(self, session: Session, number: int, found: bool, value: object) -> None:
        """Answer a question; one that nobody waits for any more is dropped."""
        with self._lock:
            question = self._asked.get(number)
            if question:
                question.found, question.value, question.taken_by = found, value, None
                question.answered.set()

    # -- for interactive clients ---------------------------------------------------------------

    def depths(self, session: Session) -> list[list[Any]]:
        return [depth.to_plain() for depth in self._journal.depths()]

    def put(self, session: Session, queue: str, value: object) -> None:
        """Put a plain value on any queue."""
        self.hand_in(queue, value)

    def hand_in(self, queue: str, value: object) -> None:
        """Put a plain value on a queue, and return when it is on the disk."""
        self._journal.put(Put((queue,), ContentKind.PLAIN, pack(value)))
        self.work[queue].notify()
        self._journal.flush()

    def get(self, session: Session, queue: str, timeout: float) -> list[Any]:
        """Take the oldest value: [value], or [] if none came within ``timeout`` s.

        :raises QueueError: it is the queue of a service
        """
        if queue != SCRATCH:
            raise QueueError(f"{queue} belongs to its service; use {SCRATCH!r} for tests")
        deadline = time.monotonic() + min(timeout, MAX_WAIT_SECONDS)
        while True:
            seen = self.work[queue].changes()
            entry = self.take_first(session, queue, lambda _: None)
            if entry is not None:
                return [unpack(entry.content)]
            left = deadline - time.monotonic()
            if left <= 0 or session.has_gone():
                return []
            self.work[queue].wait(seen, left)

    # -- for the queues by name ----------------------------------------------------------------

    @property
    def full(self) -> bool:
        """Whether the journal is full and refuses new entries."""
        return self._journal.full

    def names(self) -> set[str]:
        """Return the names of the queues that are not empty."""
        return {depth.queue for depth in self._journal.depths()}

    def entries(self, queue: str) -> int:
        """Return the number of entries on a queue."""
        return sum(depth.entries for depth in self._journal.depths() if depth.queue == queue)

    def first(self, queue: str, after: int) -> QueueEntry | None:
        """Return the oldest entry after ``after``, without taking it."""
        entries = self._journal.take(queue, after, 1, 1)
        return entries[0] if entries else None

    def take_first(
        self, session: Session, queue: str, check: Callable[[QueueEntry], None]
    ) -> QueueEntry | None:
        """Take the oldest entry of a queue, for an interactive client; None if it is empty.

        :param check: raises if the entry must stay
        :raises QueueError: the service is attached and takes its entries itself
        """
        with self._taking:
            if session.has_gone():
                return None  # the client has gone: the entry would be lost
            if self.presence(queue):
                raise QueueError(
                    f"{queue} is attached and takes its entries itself;"
                    f" stop it first: darc --service {queue} stop"
                )
            entry = self.first(queue, 0)
            if entry is not None:
                check(entry)
                self._journal.remove(queue, [entry.id])
            return entry
