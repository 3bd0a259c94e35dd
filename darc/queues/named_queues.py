"""Queues by name, for a `BaseManager` of the standard library.

``manager.amber_clustering()`` returns a proxy with the methods of :class:`queue.Queue`. Its `get`
returns the entries in order without taking them; each proxy, in each thread, starts with the
oldest. ``manager.amber_clustering(take=True)`` takes entries, unless the service is attached. `get`
on `scratch`, the queue for tests, always takes.
"""

from __future__ import annotations

import itertools
import queue
import struct
import time
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, NamedTuple

from darc.queues.exchange import MAX_WAIT_SECONDS, RECHECK_SECONDS, Exchange
from darc.queues.messages import CallError, ContentKind, FullError, QueueEntry, QueueError
from darc.queues.method_call import call_method
from darc.queues.names import SCRATCH
from darc.queues.plain_connection import unpack
from darc.queues.queue_server import Session

METHODS = ("qsize", "empty", "full", "put", "put_nowait", "get", "get_nowait", "depths", "ages")
#: Most read positions of a connection; the least recently used one is reset.
MAX_CURSORS = 1000
#: darc.model.candidate.CANDIDATE, without numpy, which the master does not load.
CANDIDATE_LAYOUT = "<iiddd"
CANDIDATE_FIELDS = ("beam", "downsampling", "time", "dm", "snr")


class QueueView(NamedTuple):
    """A client's view of a queue; the server keeps no other state of it.

    :param number: distinguishes views of one queue
    """

    queue: str
    takes: bool
    number: int

    @property
    def ident(self) -> str:
        return f"{self.queue}/{'take' if self.takes else 'look'}/{self.number}"

    @classmethod
    def parse(cls, ident: str) -> QueueView:
        """Return the view of an identifier.

        :raises QueueError: unknown identifier
        """
        name, how, number = ["", "", *ident.rsplit("/", 2)][-3:]
        if not name or how not in ("take", "look") or not number.isdecimal():
            raise QueueError(f"no such object: {ident!r:.80}")
        return cls(name, how == "take", int(number[:40]))


class NamedQueues:
    """Interface of the exchange for clients of the standard library.

    :param names: existing queues, besides those that have entries
    """

    def __init__(self, exchange: Exchange, names: Callable[[], Collection[str]]) -> None:
        self._exchange = exchange
        self._names = names
        self._numbers = itertools.count(time.time_ns())  # never a number of an earlier master

    # -- for the server ------------------------------------------------------------------------

    def open(self, name: str, /, *arguments: Any, **options: Any) -> tuple[str, tuple[str, ...]]:
        """Open the queue that ``manager.<name>(…)`` requests; return its identifier and methods.

        :raises QueueError: there is no such queue
        :raises CallError: other options than ``take``
        """
        take = options.pop("take", name == SCRATCH)
        if arguments or options or type(take) is not bool:
            raise CallError(
                f"{name}() takes no argument but take=True; without it, get() only reads"
            )
        known = {*self._names(), *self._exchange.names(), SCRATCH}
        if name not in known:
            import difflib  # noqa: PLC0415 - for who has mistyped it

            near = difflib.get_close_matches(str(name), known, 1)
            near += sorted(entry for entry in known if entry.startswith(str(name)))
            meant = f", did you mean {near[0]!r}?" if near else "."
            there_are = ", ".join(sorted(known))
            raise QueueError(f"there is no queue {name!r:.80} here{meant} There are: {there_are}")
        return QueueView(name, take, next(self._numbers)).ident, METHODS

    def call(self, session: Session, ident: str, method: str, arguments: Any, keywords: Any) -> Any:
        """Call a method for a proxy.

        :raises CallError: there is no such method, or the arguments are invalid
        :raises queue.Empty, queue.Full: as :class:`queue.Queue` does
        """
        view = QueueView.parse(ident)
        if method in ("__repr__", "__str__"):
            return f"<queue {view.queue}: {self._exchange.entries(view.queue)} entries>"
        if method not in METHODS:
            raise CallError(f"no such request: {method!r:.80}; a queue has {', '.join(METHODS)}")
        do = partial(getattr(self, f"_{method}"), session, view)
        return call_method(do, method, arguments, keywords)

    # -- methods of a queue --------------------------------------------------------------------

    def _qsize(self, session: Session, view: QueueView) -> int:
        return self._exchange.entries(view.queue)

    def _empty(self, session: Session, view: QueueView) -> bool:
        """Whether `get` would wait."""
        after = 0 if view.takes else session.cursors.get(view.ident, 0)
        return self._exchange.first(view.queue, after) is None

    def _full(self, session: Session, view: QueueView) -> bool:
        return self._exchange.full

    def _put(
        self, session: Session, view: QueueView, item: Any, block: Any = True, timeout: Any = None
    ) -> None:
        deadline = _deadline(block, timeout)
        while True:
            try:
                return self._exchange.put(session, view.queue, item)
            except FullError as error:
                left = deadline - time.monotonic()
                if left <= 0 or session.has_gone():
                    text = f"{error}: it refuses new entries until there is room"
                    raise queue.Full(text) from None
                session.gone.wait(min(left, RECHECK_SECONDS))
            except (QueueError, TypeError) as error:
                raise CallError(f"the item: {error}") from error

    def _put_nowait(self, session: Session, view: QueueView, item: Any) -> None:
        self._put(session, view, item, block=False)

    def _get(
        self, session: Session, view: QueueView, block: Any = True, timeout: Any = None
    ) -> Any:
        deadline = _deadline(block, timeout)
        while True:
            seen = self._exchange.work[view.queue].changes()
            entry = self._take(session, view) if view.takes else self._read_next(session, view)
            if entry is not None:
                return client_value(entry)
            left = deadline - time.monotonic()
            if left <= 0 or session.has_gone():
                raise queue.Empty(f"nothing{'' if view.takes else ' more'} on {view.queue}")
            self._exchange.work[view.queue].wait(seen, min(left, MAX_WAIT_SECONDS))

    def _get_nowait(self, session: Session, view: QueueView) -> Any:
        return self._get(session, view, block=False)

    def _depths(self, session: Session, view: QueueView) -> dict[str, int]:
        """Return the number of entries of each queue that is not empty."""
        return {row[0]: row[1] for row in self._exchange.depths(session)}

    def _ages(self, session: Session, view: QueueView) -> dict[str, float]:
        """Return the age of each queue's oldest entry, s."""
        now = time.time()
        return {row[0]: now - row[3] for row in self._exchange.depths(session) if row[3]}

    def _take(self, session: Session, view: QueueView) -> QueueEntry | None:
        def check_sendable(entry: QueueEntry) -> None:
            try:
                session.connection.dialect.answer(client_value(entry))
            except (TypeError, ValueError) as error:
                text = f"{view.queue}: not taken, as it cannot be sent: {error}"
                raise QueueError(text) from error

        return self._exchange.take_first(session, view.queue, check_sendable)

    def _read_next(self, session: Session, view: QueueView) -> QueueEntry | None:
        cursors = session.cursors
        entry = self._exchange.first(view.queue, cursors.get(view.ident, 0))
        if entry is not None:
            cursors.pop(view.ident, None)
            cursors[view.ident] = entry.id
            while len(cursors) > MAX_CURSORS:
                del cursors[next(iter(cursors))]
        return entry


def client_value(entry: QueueEntry) -> Any:
    """Return an entry's value for clients: a value put by one as it was, else a dict."""
    if entry.kind is ContentKind.PLAIN:
        return unpack(entry.content)
    value: dict[str, Any] = {"kind": str(entry.kind), "observation": entry.observation}
    if entry.kind is ContentKind.TRIGGERS:
        value["triggers"] = unpack(entry.content)
    elif entry.kind is ContentKind.CANDIDATES:
        try:
            rows = [*struct.iter_unpack(CANDIDATE_LAYOUT, entry.content)]
        except struct.error as error:
            raise QueueError(f"an entry without valid candidates: {error}") from error
        value["candidates"] = [dict(zip(CANDIDATE_FIELDS, row, strict=True)) for row in rows]
    return value


def _deadline(block: Any, timeout: Any) -> float:
    """Return the monotonic time until which to wait, by the arguments of :class:`queue.Queue`."""
    if not block:
        return 0.0
    if timeout is None:
        return float("inf")
    if type(timeout) not in (int, float) or not timeout >= 0:
        raise CallError(f"timeout: a number of seconds, at least 0, or None; not {timeout!r:.60}")
    return float(time.monotonic() + timeout)
