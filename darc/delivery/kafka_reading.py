"""One thread that reads topics of a Kafka broker, with one consumer after the other.

A call of the Kafka client may hang: its waits end at a time of day, so where the clock was ahead
for a moment, up to so much later. `hangs` tells that, and `end` gives the thread up. As whatever it
writes is its own, it can do no harm when it wakes: it asks for nothing any more, and ends.
"""

from __future__ import annotations

import json
import logging
import math
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from darc.config.records import Struct
from darc.delivery.credentials import Credentials
from darc.delivery.kafka_sender import KafkaClient, KafkaClientError, kafka, make_client
from darc.runtime.vital_threads import vital

log = logging.getLogger(__name__)

#: Messages in a batch, and batches that wait: what is read ahead of the caller is no more.
BATCH, BATCHES = 200, 4
#: After a batch of which some was dropped, so that a flood is read at a bounded rate (s).
PAUSE_SECONDS = 0.1
POLL_SECONDS = 0.1
#: Why a message is dropped.
TOO_MANY, TOO_LARGE = "too many", "too large"
ASK_SECONDS = 5.0
#: A consumer that has heard of no broker for so long is replaced by another one, which connects at
#: once: its wait before it connects again may end much later (s).
AWAY_SECONDS = 20.0
#: A thread that has not gone on for so long hangs (s).
HANG_SECONDS = 20.0
#: Between two looks for topics and partitions, and where some are missing (s).
LOOK_SECONDS, SOON_SECONDS = 60.0, 5.0
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 1.0, 60.0
#: What a configuration may change: limits of what the client itself keeps.
DEFAULTS = {
    "fetch.max.bytes": "8388608",
    "max.partition.fetch.bytes": "1048576",
    "queued.max.messages.kbytes": "8192",
    "reconnect.backoff.ms": "100",
    "reconnect.backoff.max.ms": "10000",
    "socket.keepalive.enable": "true",
    "allow.auto.create.topics": "false",
}
#: Where each partition has got to: the next offset, by topic and number.
Positions = Mapping[tuple[str, int], int]


class ReadLimits(Struct, frozen=True):
    """What is taken of what comes.

    :param max_bytes: of a message
    :param max_per_second: messages of a topic, on average; as many may come at once
    """

    max_bytes: int
    max_per_second: float


class ReadMessage(Struct, frozen=True):
    """A message as it came."""

    topic: str
    content: bytes


class ReadBatch(Struct, frozen=True):
    """Messages in order, and where each partition has got to with them."""

    messages: tuple[ReadMessage, ...]
    positions: Positions


class ReadSource(Struct, frozen=True):
    """What is read.

    :param group: name under which the broker keeps where we have got to
    """

    client: KafkaClient
    topics: tuple[str, ...]
    group: str
    limits: ReadLimits


class KafkaReading:
    """A thread that reads from where we had got to; the first time from what comes now.

    :param before: the one that it replaces
    :param done: where those before have got to
    """

    def __init__(
        self, source: ReadSource, before: KafkaReading | None = None, done: Positions | None = None
    ) -> None:
        self._client = source.client
        self._topics = source.topics
        self._group = source.group
        self._limits = source.limits
        self._budgets: dict[str, _Budget] = {}
        self._batches: queue.Queue[ReadBatch] = queue.Queue(BATCHES)
        #: Where it goes on with another consumer: after what it has handed over.
        self._positions = dict(done or {})
        self._done: queue.SimpleQueue[Positions] = queue.SimpleQueue()
        self._done.put(dict(self._positions))
        self._credentials: Credentials | None = None
        self._ended = threading.Event()
        self._said: str = before._said if before else ""
        #: Topics whose partitions were not there when we looked first.
        self._awaited: frozenset[str] = before._awaited if before else frozenset()
        self._is_well = False
        #: When a broker was heard of, and until when the thread goes on, unless it hangs; by the
        #: monotonic clock (s).
        self._heard = self._due = math.inf
        #: Messages that were dropped unread, by reason.
        self.dropped: Counter[str] = Counter(
            before.dropped if before else {TOO_MANY: 0, TOO_LARGE: 0}
        )
        self.connected = False
        self.error: str = (before.error if before else "") or "not connected yet"
        self._thread = vital("notices", self._run, or_exit=True, stoppable=True)

    @property
    def hangs(self) -> bool:
        """Whether a call of the Kafka client has not come back in time."""
        return time.monotonic() > self._due

    @property
    def is_alive(self) -> bool:
        """Whether the thread has not ended."""
        return self._thread.is_alive()

    def take(self) -> ReadBatch | None:
        """Return the next batch, if one has come."""
        try:
            return self._batches.get_nowait()
        except queue.Empty:
            return None

    def done(self, positions: Positions) -> None:
        """Tell the broker that what came up to there is dealt with."""
        self._done.put(positions)

    def end(self, timeout: float = 0.0) -> None:
        """Have the thread close its consumer, and end, once it can."""
        self._ended.set()
        self._thread.join(timeout)

    # -- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        delay = FIRST_RETRY_SECONDS
        while not self._ended.is_set():
            consumer = None
            try:
                consumer = self._made()
                delay = FIRST_RETRY_SECONDS
                self._read(consumer)
            except _ReaderError as error:
                self.connected = False
                self._failed(str(error))
            finally:
                if consumer is not None:
                    self._go_on()
                    consumer.close()
            self._pause(delay)
            delay = min(2 * delay, LONGEST_RETRY_SECONDS)

    def _made(self) -> Any:
        """Return a consumer. It joins no group: that takes seconds, and after a death a minute.

        :raises _ReaderError: it cannot be made
        """
        ours = {
            "statistics.interval.ms": "2000",
            "group.id": self._group,  # of the positions
            "enable.auto.commit": "false",
            # Where our position is gone, by retention or as a topic was made anew: what there is.
            "auto.offset.reset": "earliest",
            "error_cb": self._note_error,
            "stats_cb": self._note_state,
        }
        self._due = math.inf  # where the disk with the credentials hangs, it does for all
        try:
            consumer, self._credentials = make_client("Consumer", self._client, DEFAULTS, ours)
        except KafkaClientError as error:
            raise _ReaderError(str(error)) from None
        return consumer

    def _read(self, consumer: Any) -> None:
        """Read until the end.

        :raises _ReaderError: the consumer fails
        """
        assigned: set[tuple[str, int]] = set()
        next_look = 0.0
        self._heard = time.monotonic()
        while not self._ended.is_set():
            self._go_on()
            try:
                if time.monotonic() >= next_look:
                    is_whole = self._assign(consumer, assigned)
                    next_look = time.monotonic() + (LOOK_SECONDS if is_whole else SOON_SECONDS)
                self._tell(consumer)
                found = consumer.consume(BATCH, 0.0)
            except kafka().KafkaException as error:
                raise _ReaderError(self._told(error.args[0].str())) from None
            if found:
                self._hand_over(self._batch(consumer, found))
            elif assigned and time.monotonic() > self._heard + AWAY_SECONDS:
                raise _ReaderError(self.error or self._told(f"silent for {AWAY_SECONDS:g} s"))
            else:
                self._pause(POLL_SECONDS)

    def _assign(self, consumer: Any, assigned: set[tuple[str, int]]) -> bool:
        """Read further partitions, if there are any, each from where we had got to.

        The first time that is the end of what there is: it is noted, as otherwise what comes
        before the first commit would be skipped after a death. Of a topic or partition that came
        into being since, it is the beginning.

        :param assigned: topics and partitions that are read
        :return: whether all topics are there
        """
        library = kafka()
        missing: dict[str, str] = {}
        new = []
        for topic in self._topics:
            found = self._ask(consumer.list_topics, topic, ASK_SECONDS).topics.get(topic)
            if found is None or found.error or not found.partitions:
                missing[topic] = found.error.str() if found and found.error else "no such topic"
                continue
            partitions = sorted(found.partitions.values(), key=lambda one: one.id)
            unread = [one for one in partitions if (topic, one.id) not in assigned]
            if away := [str(one.id) for one in unread if one.leader < 0]:
                missing[topic] = f"no broker has partition {', '.join(away)}"
            new += [library.TopicPartition(topic, one.id) for one in unread if one.leader >= 0]
        if new:
            known = self._ask(consumer.committed, new, ASK_SECONDS)
            for one in known:
                if one.offset >= 0:  # else it was made anew
                    one.offset = self._positions.get((one.topic, one.partition), one.offset)
            begun = [one for one in known if one.offset < 0]
            for one in begun:
                low, high = self._ask(consumer.get_watermark_offsets, one, ASK_SECONDS)
                one.offset = low if one.topic in self._awaited else high
            if begun:
                self._ask(consumer.commit, offsets=begun, asynchronous=False)
            consumer.incremental_assign(known)
            assigned |= {(one.topic, one.partition) for one in known}
            log.info("read: %s", ", ".join(f"{one.topic} [{one.partition}]" for one in known))
        self._awaited = frozenset(self._topics)
        self.connected = True
        if missing:
            told = ", ".join(f"{topic}: {why}" for topic, why in missing.items())
            self._failed(self._told(told))
        elif not self._is_well or self.error:
            log.info("notices are read from %s", self._client.where)
            self._said = self.error = ""
        self._is_well = not missing
        return not missing

    def _ask(self, call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Call what waits for a broker's answer, and so may hang.

        :raises _ReaderError: the thread was to end meanwhile
        """
        self._go_on()
        answer = call(*arguments, **named)
        if self._ended.is_set():
            raise _ReaderError("it was to end")
        return answer

    def _tell(self, consumer: Any) -> None:
        """Tell the broker where we have got to."""
        library = kafka()
        positions: dict[tuple[str, int], int] = {}
        while not self._done.empty():
            positions |= self._done.get()
        if positions:
            offsets = [
                library.TopicPartition(topic, partition, offset)
                for (topic, partition), offset in positions.items()
            ]
            consumer.commit(offsets=offsets, asynchronous=True)

    def _batch(self, consumer: Any, found: list[Any]) -> ReadBatch:
        """Return what is taken of the messages; what is not is counted."""
        messages: list[ReadMessage] = []
        positions: dict[tuple[str, int], int] = {}
        flooded: set[tuple[str, int]] = set()
        for one in found:
            if error := one.error():
                self._failed(self._told(error.str()))
                continue
            topic, content = one.topic(), one.value() or b""
            place = topic, one.partition()
            positions[place] = one.offset() + 1
            budget = self._budgets.setdefault(topic, _Budget(self._limits.max_per_second))
            if not budget.take():
                self.dropped[TOO_MANY] += 1
                flooded.add(place)
            elif len(content) > self._limits.max_bytes:
                self.dropped[TOO_LARGE] += 1
            else:
                messages.append(ReadMessage(topic, content))
        for place in flooded:
            positions[place] = self._skip(consumer, place, positions[place])
        if flooded:
            self._pause(PAUSE_SECONDS)
        return ReadBatch(tuple(messages), positions)

    def _skip(self, consumer: Any, place: tuple[str, int], offset: int) -> int:
        """Skip to the end of a partition that floods, as other topics wait behind it.

        :param offset: of the next message; returned is that of the next one then
        """
        library = kafka()
        end = consumer.get_watermark_offsets(library.TopicPartition(*place), cached=True)[1]
        if end <= offset:
            return offset
        try:
            consumer.seek(library.TopicPartition(*place, end))
        except library.KafkaException as error:  # it is read on, and dropped one by one
            self._failed(self._told(error.args[0].str()))
            return offset
        self.dropped[TOO_MANY] += end - offset
        return int(end)

    def _hand_over(self, batch: ReadBatch) -> None:
        while batch.positions and not self._ended.is_set():
            self._go_on()
            try:
                self._batches.put(batch, timeout=POLL_SECONDS)
            except queue.Full:
                continue
            self._positions |= batch.positions
            self._heard = time.monotonic()
            return

    def _go_on(self, seconds: float = 0.0) -> None:
        """Note that the thread goes on, and will again so much later."""
        self._due = time.monotonic() + seconds + HANG_SECONDS

    def _pause(self, seconds: float) -> None:
        self._go_on(seconds)
        self._ended.wait(seconds)

    # -- the state -------------------------------------------------------------------------------

    def _note_error(self, error: Any) -> None:
        self._failed(self._told(error.str()))

    def _note_state(self, text: str) -> None:
        """Note whether a broker is connected; the client tells that in its statistics alone."""
        brokers = [*json.loads(text).get("brokers", {}).values()]
        up = any(one.get("state") == "UP" and one.get("nodeid", -1) >= 0 for one in brokers)
        if up and not self.connected and self._is_well:
            log.info("notices are read from %s again", self._client.where)
            self.error = self._said = ""
        self.connected = up
        leaders = [one for one in brokers if one.get("toppars")]
        if leaders and all(one.get("state") == "UP" for one in leaders):
            self._heard = time.monotonic()

    def _failed(self, text: str) -> None:
        """Keep an error, and log it where it is another one than last."""
        if self._ended.is_set():
            return  # another one may read instead
        self.error = text
        if not self._said:
            log.error("notices cannot be read: %s", text)
        self._said = text

    def _told(self, text: str) -> str:
        return self._client.told(text, self._credentials)


class _ReaderError(Exception):
    """The consumer is of no use; another is made later."""


class _Budget:
    """Messages that may be taken of a topic: so many a second, and as many at once."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._most = max(1.0, rate)
        self._left = self._most
        self._at = time.monotonic()

    def take(self) -> bool:
        now = time.monotonic()
        self._left = min(self._most, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
