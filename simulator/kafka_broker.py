"""A Kafka broker on loopback for tests, benchmarks and the demo, and a consumer of its topics.

It is the mock cluster of librdkafka, which confluent-kafka brings along: other processes produce to
it and consume from it over the wire. Nothing of it is on a disk. It is used through the library's
own C interface, as Python's has no means to take the broker away and bring it back.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import confluent_kafka

from darc.config.records import Struct
from darc.data_files.closed_on_exit import ClosedOnExit

_PRODUCER = 0  # RD_KAFKA_PRODUCER
_BROKER = 1  # the id of the only one
_NONE = -1
_OK = 0


class KafkaBroker(ClosedOnExit):
    """A broker of its own port."""

    def __init__(self) -> None:
        self._library = _library()
        conf = self._library.rd_kafka_conf_new()
        text = ctypes.create_string_buffer(512)
        for name, value in ((b"test.mock.num.brokers", b"1"), (b"log_level", b"2")):
            if self._library.rd_kafka_conf_set(conf, name, value, text, len(text)) != _OK:
                raise RuntimeError(f"no broker: {text.value!r}")
        self._handle: int | None = self._library.rd_kafka_new(_PRODUCER, conf, text, len(text))
        if not self._handle:
            raise RuntimeError(f"no broker: {text.value!r}")
        self._cluster = self._library.rd_kafka_handle_mock_cluster(self._handle)
        #: host:port
        self.address: str = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def stop(self) -> None:
        """Close connections, and refuse others."""
        self._call("rd_kafka_mock_broker_set_down", _BROKER)

    def start(self) -> None:
        """Take connections again; what was acknowledged before is still there."""
        self._call("rd_kafka_mock_broker_set_up", _BROKER)

    def lead(self, topic: str, partition: int, *, leads: bool) -> None:
        """Lead a partition of a topic, or leave it without a leader, so that none can read it."""
        broker = _BROKER if leads else _NONE
        self._call("rd_kafka_mock_partition_set_leader", topic.encode(), partition, broker)

    def answer_after(self, seconds: float) -> None:
        """Answer each request so late."""
        self._call("rd_kafka_mock_broker_set_rtt", _BROKER, int(seconds * 1e3))

    def close(self) -> None:
        """End the broker."""
        handle, self._handle = self._handle, None
        if handle:
            self._library.rd_kafka_destroy(handle)

    def _call(self, name: str, *arguments: int | bytes) -> None:
        if error := getattr(self._library, name)(self._cluster, *arguments):
            raise RuntimeError(f"{name}: error {error}")


class ConsumedMessage(Struct, frozen=True):
    """A message as it was consumed.

    :param time: when that was, Unix s
    """

    topic: str
    key: str
    value: bytes
    time: float


class TopicReader:
    """A consumer of topics from their beginning, with confluent-kafka's own client."""

    def __init__(self, address: str, topics: Sequence[str]) -> None:
        self.received: list[ConsumedMessage] = []
        self._consumer: Any = confluent_kafka.Consumer(
            {
                "bootstrap.servers": address,
                "group.id": uuid4().hex,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 10,
                "allow.auto.create.topics": True,
                "topic.metadata.refresh.interval.ms": 500,
                "reconnect.backoff.max.ms": 200,
                "log_level": 2,
            }
        )
        # Without a group: it has no part in what is tested, and takes seconds to form.
        self._consumer.assign(
            [
                confluent_kafka.TopicPartition(topic, partition, confluent_kafka.OFFSET_BEGINNING)
                for topic in topics
                for partition in range(_partitions(self._consumer, topic))
            ]
        )

    def look(self, seconds: float = 0.05) -> list[ConsumedMessage]:
        """Return all that came so far, after a wait for more."""
        message = self._consumer.poll(seconds)
        while message is not None:
            if message.error() is None:
                key = (message.key() or b"").decode()
                self.received.append(
                    ConsumedMessage(message.topic(), key, message.value(), time.time())
                )
            message = self._consumer.poll(0)
        return self.received

    def wait_for(self, count: int, timeout: float) -> list[ConsumedMessage]:
        """Return all that came, once it is so many.

        :raises TimeoutError: they did not come
        """
        deadline = time.monotonic() + timeout
        while len(self.look()) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"{len(self.received)} of {count} messages came: {self.received}"
                )
        return self.received

    def is_at_end(self) -> bool:
        """Whether all that the topics hold now was received."""
        places = self._consumer.position(self._consumer.assignment())
        return all(
            max(place.offset, 0) >= self._consumer.get_watermark_offsets(place, 10.0)[1]
            for place in places
        )

    def close(self) -> None:
        """Leave."""
        self._consumer.close()


def _partitions(consumer: Any, topic: str) -> int:
    """Return how many partitions a topic has; a broker for tests makes it when it is asked."""
    deadline = time.monotonic() + 30.0
    while not (found := consumer.list_topics(topic, 10.0).topics[topic].partitions):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the topic {topic} was not made")
        time.sleep(0.05)
    return len(found)


def _library() -> Any:
    """Load the library that confluent-kafka's wheel holds, with the types of its functions."""
    package = Path(confluent_kafka.__file__).parent
    places = [package.with_name("confluent_kafka.libs"), package]
    found = [file for place in places for file in place.glob("librdkafka*.so*")]
    library = ctypes.CDLL(str(found[0]) if found else "librdkafka.so.1")
    pointer, text, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t
    functions: dict[str, tuple[Any, list[Any]]] = {
        "rd_kafka_conf_new": (pointer, []),
        "rd_kafka_conf_set": (ctypes.c_int, [pointer, text, text, text, size]),
        "rd_kafka_new": (pointer, [ctypes.c_int, pointer, text, size]),
        "rd_kafka_handle_mock_cluster": (pointer, [pointer]),
        "rd_kafka_mock_cluster_bootstraps": (text, [pointer]),
        "rd_kafka_mock_broker_set_down": (ctypes.c_int, [pointer, ctypes.c_int32]),
        "rd_kafka_mock_broker_set_up": (ctypes.c_int, [pointer, ctypes.c_int32]),
        "rd_kafka_mock_broker_set_rtt": (ctypes.c_int, [pointer, ctypes.c_int32, ctypes.c_int]),
        "rd_kafka_mock_partition_set_leader": (
            ctypes.c_int,
            [pointer, text, ctypes.c_int32, ctypes.c_int32],
        ),
        "rd_kafka_destroy": (None, [pointer]),
    }
    for name, (result, arguments) in functions.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
