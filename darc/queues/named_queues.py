"""The queues by name, as a `BaseManager` of the standard library knows them.

``manager.amber_clustering()`` gives a proxy with the methods of :class:`queue.Queue`. Who is no
service looks: `get` shows the entries in their order and takes none. Each proxy, in each thread
that uses it, begins at the oldest. ``manager.amber_clustering(take=True)`` takes, as long as the
service itself is not attached. `scratch`, the queue for trying out, is always taken from.
"""

from __future__ import annotations

import difflib
import inspect
import itertools
import queue
import struct
import time
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, NamedTuple

from darc.queues.exchange import MAX_WAIT_SECONDS, RECHECK_SECONDS, Exchange
from darc.queues.messages import CallError, ContentKind, FullError, QueueEntry, QueueError
from darc.queues.names import SCRATCH
from darc.queues.plain_connection import unpack
from darc.queues.queue_server import Session

METHODS = (
    *("qsize", "empty", "full", "put", "put_nowait", "get", "get_nowait"),
    *("depths", "ages"),
)
#: Of one connection: what it looked at longest ago begins anew.
MAX_CURSORS = 1000
#: darc.model.candidate.CANDIDATE, without numpy, which the master does not load.
CANDIDATE_LAYOUT = "<iiddd"
CANDIDATE_FIELDS = ("beam", "downsampling", "time", "dm", "snr")


class QueueView(NamedTuple):
    """What a client holds; its name is all that the server keeps of it.

    :param number: tells views of one queue apart
    """

    queue: str
    takes: bool
    number: int

    @property
    def ident(self) -> str:
        return f"{self.queue}/{'take' if self.takes else 'look'}/{self.number}"

    @classmethod
    def of(cls, ident: str) -> QueueView:
        """:raises QueueError: nothing is known by that identity"""
        name, how, number = ["", "", *ident.rsplit("/", 2)][-3:]
        if not name or how not in ("take", "look") or not number.isdecimal():
            raise QueueError(f"no such object: {ident!r:.80}")
        return cls(name, how == "take", int(number[:40]))


class NamedQueues:
    """What clients of the standard library see of the exchange.

    :param names: the queues that there are, beside those that hold something
    """

    def __init__(self, exchange: Exchange, names: Callable[[], Collection[str]]) -> None:
        self._exchange = exchange
        self._names = names
        self._numbers = itertools.count(time.time_ns())  # no number of the master before this one

    # -- for the server ----------------------------------------------------------------------------

    def open(self, name: str, /, *arguments: Any, **options: Any) -> tuple[str, tuple[str, ...]]:
        """What ``manager.<name>(…)`` asks for: an identity, and the methods that it has.

        :raises QueueError: there is no such queue
        :raises CallError: other options than ``take``
        """
        take = options.pop("take", name == SCRATCH)
        if arguments or options or type(take) is not bool:
            raise CallError(f"{name}() is opened with take=True, or without anything, to look")
        known = {*self._names(), *self._exchange.names(), SCRATCH}
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1)
            near += sorted(one for one in known if one.startswith(str(name)))
            meant = f", did you mean {near[0]!r}?" if near else "."
            there_are = ", ".join(sorted(known))
            raise QueueError(f"there is no queue {name!r:.80} here{meant} There are: {there_are}")
        return QueueView(name, take, next(self._numbers)).ident, METHODS

    def call(self, session: Session, ident: str, method: str, arguments: Any, keywords: Any) -> Any:
        """Do what a proxy asks.

        :raises CallError: there is no such method, or it takes other arguments
        :raises queue.Empty, queue.Full: as :class:`queue.Queue` does
        """
        view = QueueView.of(ident)
        if method in ("__repr__", "__str__"):
            return f"<queue {view.queue}: {self._exchange.entries(view.queue)} entries>"
        if method not in METHODS:
            raise CallError(f"no such request: {method!r:.80}; a queue has {', '.join(METHODS)}")
        do = partial(getattr(self, f"_{method}"), session, view)
        return call_method(do, method, arguments, keywords)

    # -- what a queue does -------------------------------------------------------------------------

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
                    text = f"{error}: nothing new is taken in until it has room"
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
            heard = self._exchange.heard(view.queue)
            entry = self._take(session, view) if view.takes else self._look(session, view)
            if entry is not None:
                return shown(entry)
            left = deadline - time.monotonic()
            if left <= 0 or session.has_gone():
                raise queue.Empty(f"nothing{'' if view.takes else ' more'} on {view.queue}")
            self._exchange.wait_for_entry(view.queue, heard, min(left, MAX_WAIT_SECONDS))

    def _get_nowait(self, session: Session, view: QueueView) -> Any:
        return self._get(session, view, block=False)

    def _depths(self, session: Session, view: QueueView) -> dict[str, int]:
        """Entries of each queue that is not empty."""
        return {row[0]: row[1] for row in self._exchange.depths(session)}

    def _ages(self, session: Session, view: QueueView) -> dict[str, float]:
        """Age of each queue's oldest entry, s."""
        now = time.time()
        return {row[0]: now - row[3] for row in self._exchange.depths(session) if row[3]}

    def _take(self, session: Session, view: QueueView) -> QueueEntry | None:
        def can_be_told(entry: QueueEntry) -> None:
            try:
                session.connection.dialect.answer(shown(entry))
            except (TypeError, ValueError) as error:
                text = f"{view.queue}: not taken, as it cannot be sent: {error}"
                raise QueueError(text) from error

        return self._exchange.take_first(session, view.queue, can_be_told)

    def _look(self, session: Session, view: QueueView) -> QueueEntry | None:
        cursors = session.cursors
        entry = self._exchange.first(view.queue, cursors.get(view.ident, 0))
        if entry is not None:
            cursors.pop(view.ident, None)
            cursors[view.ident] = entry.id
            while len(cursors) > MAX_CURSORS:
                del cursors[next(iter(cursors))]
        return entry


def call_method(method: Callable[..., Any], name: str, arguments: Any, keywords: Any) -> Any:
    """Call a method with what came from outside; a call that does not fit says so."""
    try:
        bound = inspect.signature(method).bind(*arguments, **keywords)
    except TypeError as error:
        raise CallError(f"{name}(): {error}") from None
    return method(*bound.args, **bound.kwargs)


def shown(entry: QueueEntry) -> Any:
    """What an entry is outside: what was put as it was, and a dict of what a service made."""
    if entry.kind is ContentKind.PLAIN:
        return unpack(entry.content)
    told: dict[str, Any] = {"kind": str(entry.kind), "observation": entry.observation}
    if entry.kind is ContentKind.TRIGGERS:
        told["triggers"] = unpack(entry.content)
    elif entry.kind is ContentKind.CANDIDATES:
        told["candidates"] = [_candidate(row) for row in _rows(entry.content)]
    return told


def _rows(content: bytes) -> Collection[tuple[Any, ...]]:
    try:
        return list(struct.iter_unpack(CANDIDATE_LAYOUT, content))
    except struct.error as error:
        raise QueueError(f"an entry that holds no candidates: {error}") from error


def _candidate(row: tuple[Any, ...]) -> Mapping[str, Any]:
    return dict(zip(CANDIDATE_FIELDS, row, strict=True))


def _deadline(block: Any, timeout: Any) -> float:
    """Monotonic time until which to wait, as :class:`queue.Queue` understands its arguments."""
    if not block:
        return 0.0
    if timeout is None:
        return float("inf")
    if type(timeout) not in (int, float) or not timeout >= 0:
        raise CallError(f"timeout: a number of seconds from 0 on, or None, not {timeout!r:.60}")
    return float(time.monotonic() + timeout)
