"""Reader of topics of a Kafka broker, such as those of GCN, with bounded rate and memory.

A thread reads (`KafkaReading`), and hands over batches. Where we have got to is told to the broker
by `done` alone, which the caller calls once it has committed what follows from a batch: after a
death the messages come again. A thread that hangs is replaced by another one, which goes on after
what was done; what the first had read ahead is dropped with it, and read again.
"""

from __future__ import annotations

import logging
from collections import Counter

from darc.delivery.kafka_reading import HANG_SECONDS, KafkaReading, ReadBatch, ReadSource

log = logging.getLogger(__name__)

#: So many threads may hang beside the one that reads.
MOST_HANGING = 4


class KafkaHangsError(Exception):
    """Too many threads hang. They end with the process, which is started anew."""


class KafkaReader:
    """Reader of topics; the first time from what comes now, later from where it had got to."""

    def __init__(self, source: ReadSource) -> None:
        self._source = source
        self._done: dict[tuple[str, int], int] = {}
        self._hanging: list[KafkaReading] = []
        self._reading = KafkaReading(source)

    @property
    def connected(self) -> bool:
        """Whether a broker is connected."""
        return self._reading.connected

    @property
    def error(self) -> str:
        """Why something is not read."""
        return self._reading.error

    @property
    def dropped(self) -> Counter[str]:
        """Number of messages that were dropped unread, by reason."""
        return self._reading.dropped

    def take(self) -> ReadBatch | None:
        """Return the next batch, if one has come. To be called each second or so, by one thread.

        :raises KafkaHangsError: nothing can be read any more by this process
        """
        if self._reading.hangs:
            self._replace()
        return self._reading.take()

    def done(self, batch: ReadBatch) -> None:
        """Tell the broker that a batch is dealt with; what follows from it has been committed."""
        self._done |= batch.positions
        self._reading.done(batch.positions)

    def close(self, timeout: float = 2.0) -> None:
        """End the thread."""
        self._reading.end(timeout)

    def _replace(self) -> None:
        self._hanging = [one for one in self._hanging if one.is_alive]
        if len(self._hanging) >= MOST_HANGING:
            raise KafkaHangsError(f"{MOST_HANGING + 1} threads that read notices hang")
        why = f"the Kafka client has not answered for {HANG_SECONDS:g} s"
        log.warning("%s: notices are read by another connection", why)
        self._reading.end()
        self._hanging.append(self._reading)
        self._reading = KafkaReading(self._source, self._reading, self._done)
