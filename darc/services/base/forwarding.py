"""Handover of a worker's triggers to the master node, in one thread for each service there.

It reads the queue that is named after the service. Triggers that the master node has not
acknowledged stay in this node's journal until they expire.
"""

from __future__ import annotations

import logging
import queue
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from darc.model.handover import HandoverState
from darc.node.secret import SecretError, read_secret
from darc.queues.client import QueueClient, QueuesGoneError
from darc.queues.messages import Commit, QueueEntry, QueueError
from darc.queues.plain_connection import pack, unpack
from darc.runtime.fault_points import fault_point
from darc.runtime.log import ABOUT_TRIGGER, about
from darc.runtime.vital_threads import vital
from darc.services.base.intake import MAX_CONTENT_BYTES
from darc.services.base.queue_link import QueueLink
from darc.services.base.trigger_consumer import has_findings, triggers_of

log = logging.getLogger(__name__)

SOURCE = "source"
TAKE_SECONDS = 0.5
# Timeout for an answer of the master node (s).
ANSWER_SECONDS = 3.0
FIRST_RETRY_SECONDS = 0.25
LONGEST_RETRY_SECONDS = 2.0
# Heartbeat interval (s), so that a broken connection is found before a trigger needs it.
HELLO_SECONDS = 2.0
#: Findings that are handed in at once.
MOST_TOGETHER = 100


class Forwarder:
    """Handover of the triggers of one queue.

    :param run_dir: of this node
    :param service: name of the service on the master node, and of the queue here
    :param address: host and port of its queue server
    :param host: name of this host
    :param age_limit: after so long a trigger expires (s)
    """

    def __init__(
        self, run_dir: Path, service: str, address: tuple[str, int], host: str, age_limit: float
    ) -> None:
        self.service = service
        self.age_limit = age_limit
        self.delivered = 0
        self.expired = 0
        self._run_dir = run_dir
        self._address = address
        self._host = host
        self._link = QueueLink(run_dir, service, type(self).__name__)
        self._client: QueueClient | None = None
        self._source = ""
        self._waiting = 0
        self._gone_since: float | None = time.time()  # Unix s
        self._error = "not reached yet"
        self._delay = 0.0
        self._next_try = 0.0  # monotonic (s), as is the next
        self._next_hello = 0.0
        self.failure: Exception | None = None
        #: Expired triggers, reason and number; the service's loop counts them as lost.
        self.lost: queue.SimpleQueue[tuple[str, str, int]] = queue.SimpleQueue()
        # The service's loop raises its error again, with a better message.
        vital(f"to {service}", self._run, or_exit=True, stoppable=True)

    @property
    def state(self) -> HandoverState:
        place = f"{self._address[0]}:{self._address[1]}"
        counts = self.delivered, self._waiting, self.expired
        return HandoverState(place, self._gone_since, self._error, *counts)

    def _run(self) -> None:
        try:
            self._forward()
        # Raised again in the service's loop, which ends the process.
        except Exception as error:
            self.failure = error

    def _forward(self) -> None:
        self._link.attach()
        memory = self._link.recall("")
        self._source = str(memory.get(SOURCE) or "")
        if not self._source:
            self._source = uuid.uuid4().hex
            self._link.commit(Commit(memory={SOURCE: self._source}))
        pending: list[QueueEntry] = []
        cursor = 0
        while True:
            wait = self._next_try - time.monotonic() if pending else TAKE_SECONDS
            new = self._link.take(cursor, max(0.0, min(wait, TAKE_SECONDS)))
            pending += new
            cursor = pending[-1].id if new else cursor
            pending = self._hand_in(pending)
            self._waiting = len(pending)
            self._say_hello()

    def _hand_in(self, pending: list[QueueEntry]) -> list[QueueEntry]:
        """Hand in entries in order as long as that succeeds; return the rest."""
        while pending and time.monotonic() >= self._next_try:
            some = pending[:1]
            with about(some[0].observation):
                expired = self._is_expired(some[0])
                some = some if expired else together(pending)
                if expired or self._deliver(some):
                    done = tuple(entry.id for entry in some)
                    self._link.commit(Commit(some[0].observation, completed=done))
                    pending = pending[len(some) :]
        return pending

    def _is_expired(self, entry: QueueEntry) -> bool:
        """Whether an entry has expired, is too long, or contains no trigger."""
        if len(entry.content) > MAX_CONTENT_BYTES:
            text = "entry %d dropped, which would hold up all others: %d bytes, %d are taken"
            log.error(text, entry.id, len(entry.content), MAX_CONTENT_BYTES)
            self.lost.put((f"entry {entry.id}", f"{len(entry.content)} bytes are too many", 1))
            return True
        triggers, problems = triggers_of(entry)
        if not triggers and has_findings(entry):
            # A measurement that comes late is of no use, and no loss.
            return entry.since.age() > self.age_limit
        if not triggers:
            log.error("entry %d dropped: no valid trigger: %s", entry.id, "; ".join(problems))
            return True
        if entry.since.age() <= self.age_limit:
            return False
        self.expired += len(triggers)
        names = ", ".join(trigger.identity for trigger in triggers)
        log.error("expired before %s could be reached: %s", self.service, names)
        self.lost.put((names, f"{self.service}: {self._error}", len(triggers)))
        return True

    def _deliver(self, some: Sequence[QueueEntry]) -> bool:
        """Deliver a trigger's entry, or those of some findings, under the number of the last."""
        entry = some[-1]
        content = entry.content
        if len(some) > 1:
            content = pack([finding for one in some for finding in unpack(one.content)])
        # Synced first, so that its number stays the same once the master node has the entry.
        self._link.flush()
        fault_point(f"amber_clustering.before handing in to {self.service}")
        arguments = entry.id, entry.observation, content, some[0].since.age()
        new = self._call("deliver", entry.sender or self._source, *arguments)
        if new is None:
            return False
        fault_point(f"amber_clustering.after handing in to {self.service}")
        self.delivered += len(some)
        names = ", ".join(trigger.identity for trigger in triggers_of(entry)[0])
        if not names:
            text = "%d findings handed in at %s%s"
            log.debug(text, len(some), self.service, "" if new else " again")
            return True
        known = "" if new else ", which had it already"
        log.info("trigger %s handed in at %s%s", names, self.service, known, extra=ABOUT_TRIGGER)
        return True

    def _say_hello(self) -> None:
        now = time.monotonic()
        if now >= self._next_hello and now >= self._next_try:
            self._next_hello = now + HELLO_SECONDS
            self._call("hello", self._source)

    def _call(self, method: str, source: str, *arguments: object) -> bool | None:
        """Call the server; None when that fails and has to be retried.

        :param source: identifier of the journal that the entry's number belongs to
        """
        try:
            if self._client is None:
                key = read_secret(self._run_dir / "secret")
                self._client = QueueClient(self._address, key, self._host, ANSWER_SECONDS)
            answer = self._client.call(method, self._host, source, *arguments)
        # The server has proven the secret, but its answers are not signed and may be invalid.
        except (QueuesGoneError, QueueError, SecretError, ValueError, TypeError) as error:
            self._failed(error)
            return None
        self._next_hello = time.monotonic() + HELLO_SECONDS
        self._delay = 0.0
        if self._gone_since is not None:
            log.info("%s reached at %s:%d", self.service, *self._address)
            self._gone_since = None
        return bool(answer)

    def _failed(self, error: Exception) -> None:
        if self._client:
            self._client.close()
            self._client = None
        if self._gone_since is None or str(error) != self._error:
            log.error("%s: not reached, triggers are kept: %s", self.service, error)
        self._gone_since = self._gone_since or time.time()
        self._error = str(error)
        self._delay = min(max(FIRST_RETRY_SECONDS, 2 * self._delay), LONGEST_RETRY_SECONDS)
        self._next_try = time.monotonic() + self._delay


def together(pending: Sequence[QueueEntry]) -> list[QueueEntry]:
    """Return what is handed in at once: the first entry; if it is a finding, those behind it, too.

    A master node that was away finds thousands, which must not hold up the triggers behind them.
    One that comes twice, as an acknowledgement was lost and others have joined it, changes nothing.
    """
    first = pending[0]
    if not has_findings(first):
        return [first]
    some, size = [first], len(first.content)
    for entry in pending[1:MOST_TOGETHER]:
        size += len(entry.content)
        is_alike = (entry.observation, entry.sender) == (first.observation, first.sender)
        if not is_alike or size > MAX_CONTENT_BYTES // 2 or not has_findings(entry):
            break
        some.append(entry)
    return some
