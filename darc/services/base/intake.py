"""Queue server of a service on the master node, where workers hand in triggers.

Triggers are in this node's journal before they are acknowledged. A worker numbers its deliveries;
duplicates, which it sends when an acknowledgement was lost, are dropped.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darc.config.records import Struct
from darc.model.finding import is_order
from darc.model.memory_rows import rows_under
from darc.queues.messages import CallError, Commit, ContentKind, Put, QueueError
from darc.queues.method_call import call_method
from darc.queues.plain_connection import pack, unpack
from darc.runtime.fault_points import fault_point
from darc.services.base.queue_link import QueueLink

if TYPE_CHECKING:  # amber_clustering, which serves nobody, needs a limit of this module
    from darc.queues.queue_server import Session

log = logging.getLogger(__name__)

EXPOSED = ("hello", "deliver", "put")
FROM = "handed in by "
MAX_CONTENT_BYTES = 2**20
MAX_NAME = 300
#: Only this node's master can say that a person gave an order.
NO_ORDERS = "orders of people are taken by the commands of darc alerts"
# Timeout while this node's master is away; the worker then retries (s).
BUSY_SECONDS = 2.0
KEPT_CLIENTS = 1000
#: Sources that are remembered; a node has a new one with each new journal.
KEPT_SOURCES = 1000


class WorkerClient(Struct):
    """Worker that has connected.

    :param heard: time of its last call (Unix s)
    """

    host: str
    heard: float
    entries: int = 0


class Intake:
    """Methods of the queue server.

    :param service: name of the service, and of the queue that triggers are put on
    """

    def __init__(self, run_dir: Path, service: str) -> None:
        self._service = service
        self._link = QueueLink(run_dir, f"{service} intake", type(self).__name__)
        self._lock = threading.Lock()
        self._known: dict[str, tuple[int, float]] | None = None  # see _sources
        self._clients: dict[str, WorkerClient] = {}
        self._clients_lock = threading.Lock()  # a thread per connection enters them

    @property
    def clients(self) -> dict[str, str]:
        """By host, the time since its last call and the number of its deliveries."""
        now = time.time()
        with self._clients_lock:
            return {
                client.host: f"heard {now - client.heard:.1f} s ago, {client.entries} handed in"
                for client in self._clients.values()
            }

    def hello(self, session: Session, host: str, source: str) -> str:
        """Answer the heartbeat of a worker with the service's name."""
        _check_names(host, source)
        self._heard(host, source, 0)
        return self._service

    def deliver(
        self,
        session: Session,
        host: str,
        source: str,
        number: int,
        observation: str,
        content: bytes,
        waited: float,
    ) -> bool:
        """Put triggers on the queue, unless they are duplicates.

        :param source: identifier of the worker's journal
        :param number: number of the delivery; it increases for each source
        :param observation: key of the run; empty: none
        :param content: packed list of triggers
        :param waited: how long they have waited (s), as clocks of hosts are not compared
        :return: False where they are duplicates
        :raises QueueError: an argument is invalid, or the master of this node is away
        """
        plain = _check(content)
        _check_names(host, source, observation)
        # Also false for NaN.
        if not isinstance(number, int) or not isinstance(waited, float) or not 0 <= waited < 1e9:
            raise QueueError(f"not a delivery: number {number!r:.50}, waited {waited!r:.50}")
        if any(map(is_order, plain)):
            # Refused, it would come again for ever, and hold up the triggers behind it.
            log.error("dropped what %s handed in: %s", host, NO_ORDERS)
            content = pack([one for one in plain if not is_order(one)])
        with self._locked():
            return self._hold(host, source, number, observation, content, waited)

    def put(self, session: Session, triggers: list[dict[str, object]]) -> None:
        """Put triggers of a program that does not number them on the queue.

        :raises QueueError: they are invalid, or the master of this node is away
        """
        content = pack(triggers)
        if any(map(is_order, _check(content))):
            raise QueueError(f"{NO_ORDERS} only")
        put = Put((self._service,), ContentKind.TRIGGERS, content)
        with self._locked():
            self._link.commit(Commit(puts=(put,), durable=True))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if not self._lock.acquire(timeout=BUSY_SECONDS):
            raise QueueError(f"the master of {self._service}'s node is away")
        try:
            yield
        finally:
            self._lock.release()

    def _hold(
        self, host: str, source: str, number: int, observation: str, content: bytes, waited: float
    ) -> bool:
        if self._known is None:
            self._known = _sources(self._link.recall(""))
        known = self._known
        if number <= known.get(source, (0, 0.0))[0]:
            log.info("handed in by %s, but known already: %d", host, number)
            return False
        put = Put((self._service,), ContentKind.TRIGGERS, content, observation, waited=waited)
        last = number, time.time()
        longest_silent = sorted(known, key=lambda one: known[one][1])
        dropped = longest_silent[: max(0, len(longest_silent) - KEPT_SOURCES)]
        memory = {FROM + source: list(last)} | {FROM + one: None for one in dropped}
        self._link.commit(Commit(puts=(put,), memory=memory, durable=True))
        known[source] = last
        for one in dropped:
            del known[one]
        self._heard(host, source, 1)
        fault_point(f"{self._service}.after taking over")
        return True

    def _heard(self, host: str, source: str, entries: int) -> None:
        with self._clients_lock:
            client = self._clients.pop(source, None) or WorkerClient(host, 0.0)
            client.heard = time.time()
            client.entries += entries
            self._clients[source] = client
            while len(self._clients) > KEPT_CLIENTS:
                del self._clients[next(iter(self._clients))]


class NamedIntake:
    """The intake by its service's name, for a `BaseManager` of the standard library.

    Usage: ``manager.lofar_trigger().put(triggers)``. It can put triggers only, not get any.
    """

    METHODS = ("put", "put_nowait")

    def __init__(self, intake: Intake, service: str) -> None:
        self._intake = intake
        self._service = service

    def open(self, name: str, /, *arguments: Any, **options: Any) -> tuple[str, tuple[str, ...]]:
        """Open the queue of this service.

        :raises QueueError: it has another name
        :raises CallError: it is opened with arguments
        """
        if name != self._service:
            raise QueueError(f"there is no queue {name!r:.80} here, only {self._service!r}")
        if arguments or options:
            raise CallError(f"{name}() is opened without anything: triggers are put here")
        return f"{name}/put", self.METHODS

    def call(self, session: Session, ident: str, method: str, arguments: Any, keywords: Any) -> Any:
        """Put triggers.

        :raises QueueError: another object or method, or no triggers
        :raises CallError: another method
        """
        if ident != f"{self._service}/put":
            raise QueueError(f"no such object: {ident!r:.80}")
        if method not in self.METHODS:
            raise CallError(
                f"no such request: {method!r:.80}; triggers are put here, and the queue itself is"
                " at run_dir/queues.sock of this node"
            )

        def put(item: Any, block: Any = True, timeout: Any = None) -> None:
            self._intake.put(session, item)

        call_method(put, method, arguments, keywords)


def _sources(memory: Mapping[str, Any]) -> dict[str, tuple[int, float]]:
    """Return the last number by source, and its time (Unix s; earlier versions did not save it)."""
    return {
        source: (value, 0.0) if isinstance(value, int) else (int(value[0]), float(value[1]))
        for source, value in rows_under(memory, FROM).items()
    }


def _check_names(*names: str) -> None:
    if not all(isinstance(name, str) and len(name) <= MAX_NAME for name in names):
        raise QueueError(f"host, source and observation are texts of up to {MAX_NAME} characters")


def _check(content: bytes) -> list[Any]:
    """Return the list; refuse what cannot be triggers. Each is checked when it is used."""
    if not isinstance(content, bytes) or len(content) > MAX_CONTENT_BYTES:
        raise QueueError(f"triggers are at most {MAX_CONTENT_BYTES} bytes")
    try:
        plain = unpack(content)
    except ValueError as error:
        raise QueueError(f"not triggers: {error}") from error
    if not isinstance(plain, list):
        raise QueueError(f"{type(plain).__name__} where a list of triggers is expected")
    return plain
