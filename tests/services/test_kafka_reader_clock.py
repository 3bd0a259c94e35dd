"""A broker that is away while the machine's clock is ahead for a moment, and notices read from it.

Waits of the Kafka client's library that begin then end at that time of day: an hour later.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import confluent_kafka
import pytest
from clocks import SetClock
from nodes import patience, wait_for

from darc.delivery.kafka_sender import KafkaClient, KafkaSender
from simulator.kafka_broker import KafkaBroker

_numbers = itertools.count()
GROUP = "darc.test"
ANOTHER = "notices are read by another connection"

#: Reads, and says what came, and its state. Topics are looked for once, so that this mends nothing.
READING = f"""
import logging
import sys
import threading
import time

from darc.delivery import kafka_reader, kafka_reading
from darc.delivery.kafka_sender import KafkaClient

address, topic = sys.argv[1:]
kafka_reading.ASK_SECONDS = 1.0
kafka_reading.AWAY_SECONDS = 5.0
kafka_reading.HANG_SECONDS = 4.0
kafka_reading.LOOK_SECONDS = 1e6
kafka_reader.MOST_HANGING = 2
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="log: %(message)s")
client = KafkaClient("", 0.0, {{"bootstrap.servers": address, "security.protocol": "plaintext"}})
limits = kafka_reading.ReadLimits(max_bytes=1000, max_per_second=1000.0)
source = kafka_reading.ReadSource(client, (topic,), "{GROUP}", limits)
reader = kafka_reader.KafkaReader(source)
said = None
while True:
    while batch := reader.take():
        for message in batch.messages:
            print("came:", message.content.decode(), flush=True)
        reader.done(batch)
    threads = sum(thread.name == "notices" for thread in threading.enumerate())
    state = f"connected: {{reader.connected}}, threads: {{threads}}"
    if state != said:
        print(state, flush=True)
    said = state
    time.sleep(0.1)
"""


class ReadingProcess:
    """A process that reads a topic, by a clock of its own."""

    def __init__(self, broker: KafkaBroker, topic: str, directory: Path) -> None:
        self.broker = broker
        self.topic = topic
        self.clock = SetClock(directory)
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-c", READING, broker.address, topic],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | self.clock.environment,
        )
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._thread.join()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def wait_for_state(self, text: str, timeout: float = 20.0) -> None:
        def is_so() -> bool:
            states = [line for line in self.lines if line.startswith("connected")]
            return text in "".join(states[-1:])

        wait_for(is_so, timeout, text)

    def wait_for_another(self) -> None:
        """Wait until a thread that hangs was replaced."""
        wait_for(lambda: any(ANOTHER in line for line in self.lines), 30.0, ANOTHER)

    def wait_for_message(self, text: str, timeout: float = 20.0) -> None:
        wait_for(lambda: text in self.came, timeout, text)

    @property
    def came(self) -> list[str]:
        return [line.removeprefix("came: ") for line in self.lines if line.startswith("came: ")]

    def send(self, text: str) -> None:
        send(self.broker, self.topic, text)

    def _follow(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())


def send(broker: KafkaBroker, topic: str, text: str) -> None:
    settings = {"bootstrap.servers": broker.address, "security.protocol": "plaintext"}
    sender = KafkaSender(KafkaClient("", patience(10.0), settings))
    sender.send(topic, "key", text.encode())
    sender.close()


def told(broker: KafkaBroker, topic: str) -> int:
    """How many messages the broker was told to be dealt with."""
    other = confluent_kafka.Consumer({"bootstrap.servers": broker.address, "group.id": GROUP})
    numbers = other.list_topics(topic, patience(10.0)).topics[topic].partitions
    places = [confluent_kafka.TopicPartition(topic, number) for number in numbers]
    found = other.committed(places, patience(10.0))
    other.close()
    return sum(max(0, one.offset) for one in found)


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaBroker]:
    with KafkaBroker() as made:
        yield made


@pytest.fixture
def reading(broker: KafkaBroker, tmp_path: Path) -> Iterator[ReadingProcess]:
    """It has read a message, and told the broker so."""
    topic = f"gcn.notices.{next(_numbers)}.clock"
    send(broker, topic, "before")
    made = ReadingProcess(broker, topic, tmp_path)
    try:
        made.wait_for_state("connected: True, threads: 1")
        made.send("first")
        made.wait_for_message("first")
        wait_for(lambda: told(broker, topic) == 2, 10.0)
        yield made
    finally:
        made.close()
        broker.start()


def test_a_broker_that_goes_away_and_comes_back(reading: ReadingProcess) -> None:
    reading.broker.stop()
    reading.wait_for_state("connected: False")
    reading.broker.start()
    reading.send("second")
    reading.wait_for_message("second")
    reading.wait_for_state("connected: True, threads: 1")
    assert reading.came == ["first", "second"]
    assert not any(ANOTHER in line for line in reading.lines)


def test_a_broker_that_is_away_while_the_clock_is_ahead(reading: ReadingProcess) -> None:
    reading.broker.stop()
    reading.clock.set(3600)
    time.sleep(2.0)  # the library waits, for a few 0.1 s, before it connects again
    reading.clock.set(0)
    reading.broker.start()
    reading.send("second")
    reading.wait_for_message("second")
    reading.wait_for_state("connected: True")
    assert reading.came == ["first", "second"]


def test_a_call_that_hangs_as_the_clock_was_ahead(reading: ReadingProcess) -> None:
    reading.broker.stop()
    reading.clock.set(3600)
    reading.wait_for_another()  # what it asked after it had made a connection anew hangs
    reading.clock.set(0)
    reading.broker.start()
    reading.send("second")
    reading.wait_for_message("second", 30.0)
    reading.wait_for_state("connected: True")
    wait_for(lambda: told(reading.broker, reading.topic) == 3, 10.0)
    assert reading.came == ["first", "second"]


def test_a_call_that_comes_back_does_no_harm(reading: ReadingProcess) -> None:
    reading.broker.stop()
    reading.clock.set(25)
    reading.wait_for_another()
    reading.clock.set(0)
    reading.broker.start()
    reading.send("second")
    reading.wait_for_message("second", 30.0)
    reading.wait_for_state("connected: True, threads: 1", 40.0)
    reading.send("third")
    reading.wait_for_message("third")
    wait_for(lambda: told(reading.broker, reading.topic) == 4, 10.0)
    assert reading.came == ["first", "second", "third"]


def test_a_process_of_which_too_many_threads_hang_ends(reading: ReadingProcess) -> None:
    """It is started anew, and goes on where the broker was told that it has got to."""
    reading.broker.stop()
    reading.clock.set(3600)
    assert reading.process.wait(patience(40.0)) == 1
    wait_for(lambda: "3 threads that read notices hang" in "".join(reading.lines[-1:]), 5.0)
