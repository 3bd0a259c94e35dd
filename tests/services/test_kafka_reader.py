"""Notices read from a real broker, which goes away, comes back, and floods."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import confluent_kafka
import pytest
from msgspec.structs import replace
from nodes import free_port, patience, wait_for

from darc.delivery import kafka_sender
from darc.delivery.kafka_reader import KafkaReader
from darc.delivery.kafka_reading import BATCH, BATCHES, KafkaReading, ReadLimits, ReadSource
from darc.delivery.kafka_sender import KafkaClient, KafkaSender
from simulator.kafka_broker import KafkaBroker

_numbers = itertools.count()
LIMITS = ReadLimits(max_bytes=10_000, max_per_second=1000.0)
SECRET = "s3cr3t-of-the-client-0123456789"


@pytest.fixture(scope="module")
def module_broker() -> Iterator[KafkaBroker]:
    with KafkaBroker() as made:
        yield made


@pytest.fixture
def broker(module_broker: KafkaBroker) -> Iterator[KafkaBroker]:
    yield module_broker
    module_broker.start()


@pytest.fixture
def topic(broker: KafkaBroker) -> str:
    """One of the test's own, with a message of before."""
    name = f"gcn.notices.{next(_numbers)}.read"
    send(broker, name, b"before")
    return name


def client(broker: KafkaBroker) -> KafkaClient:
    settings = {"bootstrap.servers": broker.address, "security.protocol": "plaintext"}
    return KafkaClient("gcn.nasa.gov", patience(10.0), settings)


def send(broker: KafkaBroker, topic: str, *contents: bytes) -> None:
    """Send messages of one key, so that they keep their order."""
    sender = KafkaSender(client(broker))
    for content in contents:
        sender.send(topic, "key", content)
    sender.close()


@pytest.fixture
def reader(broker: KafkaBroker) -> Iterator[Callable[..., KafkaReader]]:
    made: list[KafkaReader] = []
    before = {*threading.enumerate()}

    def make(*topics: str, limits: ReadLimits = LIMITS) -> KafkaReader:
        made.append(KafkaReader(ReadSource(client(broker), topics, "darc.test", limits)))
        wait_for(lambda: made[-1].connected and not made[-1].error, 20.0)
        return made[-1]

    yield make
    for one in made:
        one.close(patience(5.0))
    left = {*threading.enumerate()} - before
    assert not [thread for thread in left if thread.name == "notices"]


def came(one: KafkaReader, count: int, *, done: bool = True) -> list[bytes]:
    """What came, once it is so much."""
    found: list[bytes] = []

    def enough() -> bool:
        while batch := one.take():
            found.extend(message.content for message in batch.messages)
            if done:
                one.done(batch)
        return len(found) >= count

    wait_for(enough, 20.0)
    return found


def test_from_now_on_and_after_a_death_from_where_it_had_got_to(broker, topic, reader) -> None:
    first = reader(topic)
    send(broker, topic, b"1", b"2")
    assert came(first, 2) == [b"1", b"2"]  # not the one of before
    time.sleep(1.0)  # until the broker is told
    send(broker, topic, b"3")
    assert came(first, 1, done=False) == [b"3"]
    first.close(patience(5.0))
    send(broker, topic, b"4")
    second = reader(topic)
    assert came(second, 2) == [b"3", b"4"]


def test_nothing_is_missed_where_it_dies_before_the_first_message(broker, topic, reader) -> None:
    reader(topic).close(patience(5.0))
    send(broker, topic, b"meanwhile")
    assert came(reader(topic), 1) == [b"meanwhile"]


def test_a_position_that_is_gone_skips_nothing_that_is_there(broker, topic, reader) -> None:
    """A topic that was made anew, or old messages that the broker has deleted."""
    other = confluent_kafka.Consumer({"bootstrap.servers": broker.address, "group.id": "darc.test"})
    numbers = other.list_topics(topic, patience(10.0)).topics[topic].partitions
    gone = [confluent_kafka.TopicPartition(topic, number, 1000) for number in numbers]
    other.commit(offsets=gone, asynchronous=False)
    other.close()
    assert came(reader(topic), 1) == [b"before"]


def test_a_broker_that_goes_away_and_comes_back(broker, topic, reader, caplog) -> None:
    one = reader(topic)
    with caplog.at_level(logging.ERROR):
        broker.stop()
        wait_for(lambda: not one.connected, 20.0)
        time.sleep(2.0)
    assert broker.address in one.error
    assert len(caplog.records) == 1  # not one for each attempt
    broker.start()
    send(broker, topic, b"back")
    assert came(one, 1) == [b"back"]
    wait_for(lambda: one.connected and not one.error, 20.0)


def test_what_was_read_ahead_is_not_read_again_by_another_consumer(
    broker, topic, reader, monkeypatch
) -> None:
    monkeypatch.setattr("darc.delivery.kafka_reading.ASK_SECONDS", patience(1.0))
    monkeypatch.setattr("darc.delivery.kafka_reading.AWAY_SECONDS", 5.0)
    made: list[str] = []

    def make_client(kind: str, *arguments: Any) -> Any:
        made.append(kind)
        return kafka_sender.make_client(kind, *arguments)

    monkeypatch.setattr("darc.delivery.kafka_reading.make_client", make_client)
    one = reader(topic)
    send(broker, topic, b"1", b"2", b"x" * 10_001)
    wait_for(lambda: one.dropped["too large"] == 1, 20.0)  # it has read so far
    broker.stop()
    wait_for(lambda: len(made) > 1, 30.0)
    broker.start()
    send(broker, topic, b"3")
    assert came(one, 3) == [b"1", b"2", b"3"]
    assert one.dropped["too large"] == 1


def test_a_topic_that_is_not_there_holds_up_no_other(broker, topic, reader, monkeypatch) -> None:
    monkeypatch.setattr("darc.delivery.kafka_reading.SOON_SECONDS", 0.5)
    missing = f"{topic}.missing"
    one = KafkaReader(ReadSource(client(broker), (missing, topic), "darc.test", LIMITS))
    wait_for(lambda: missing in one.error, 20.0)
    send(broker, topic, b"1")
    assert came(one, 1) == [b"1"]
    send(broker, missing, b"the first of it")
    assert came(one, 1) == [b"the first of it"]
    wait_for(lambda: not one.error, 20.0)
    one.close(patience(5.0))


def test_a_partition_without_a_leader_holds_up_no_other(broker, topic, monkeypatch) -> None:
    monkeypatch.setattr("darc.delivery.kafka_reading.SOON_SECONDS", 0.5)
    other = f"{topic}.other"
    send(broker, other, b"before")
    numbers = sorted(
        confluent_kafka.Consumer({"bootstrap.servers": broker.address, "group.id": "none"})
        .list_topics(other, patience(10.0))
        .topics[other]
        .partitions
    )
    for number in numbers:
        broker.lead(other, number, leads=False)
    one = KafkaReader(ReadSource(client(broker), (other, topic), "darc.test", LIMITS))
    wait_for(lambda: one.connected and "no broker has partition 0, 1" in one.error, 20.0)
    assert other in one.error
    send(broker, topic, b"1")
    assert came(one, 1) == [b"1"]
    for number in numbers:
        broker.lead(other, number, leads=True)
    assert came(one, 1) == [b"before"]
    wait_for(lambda: not one.error, 20.0)
    one.close(patience(5.0))


def test_what_is_too_large_is_dropped_and_counted(broker, topic, reader) -> None:
    one = reader(topic)
    send(broker, topic, b"x" * 10_001, b"x" * 900_000, b"small")
    assert came(one, 1) == [b"small"]
    assert one.dropped["too large"] == 2


def test_a_flood_is_bounded_and_holds_up_no_other_topic(broker, topic, reader) -> None:
    other = f"{topic}.other"
    send(broker, other, b"before")
    one = reader(topic, other, limits=replace(LIMITS, max_per_second=20.0))
    producer = confluent_kafka.Producer(
        {
            "bootstrap.servers": broker.address,
            "linger.ms": 5,
            "queue.buffering.max.messages": 50_000,
        }
    )
    for number in range(30_000):
        producer.produce(topic, b"flood %d" % number)
        producer.poll(0)
    producer.flush(patience(20.0))
    began, cpu = time.monotonic(), time.process_time()
    send(broker, other, b"true")
    found: list[bytes] = []

    def read() -> bool:
        while batch := one.take():
            found.extend(message.content for message in batch.messages)
            one.done(batch)
        return b"true" in found and one.dropped["too many"] > 25_000

    wait_for(read, 5.0)
    floods = len(found) - found.count(b"true")
    assert 20 <= floods <= 20 * (time.monotonic() - began + 5.0)
    assert floods + one.dropped["too many"] <= 30_000
    assert time.process_time() - cpu < patience(3.0)
    send(broker, topic, b"after")
    wait_for(lambda: read() and b"after" in found, 5.0)


def test_what_is_read_ahead_is_bounded(broker, topic, reader) -> None:
    """Where the service does not take it: the rest waits at the broker, and none is lost."""
    one = reader(topic, limits=replace(LIMITS, max_per_second=10_000.0))
    producer = confluent_kafka.Producer({"bootstrap.servers": broker.address})
    ahead, total = BATCH * (BATCHES + 1), BATCH * (BATCHES + 5)
    # How far it has read is seen by what is dropped when it is read: every tenth is too large.
    large = b"x" * (LIMITS.max_bytes + 1)
    for number in range(total):
        producer.produce(topic, b"%d" % number if number % 10 else large, key="key")
    producer.flush(patience(20.0))
    read: list[int] = []

    def rests() -> bool:
        read.append(one.dropped["too large"])
        time.sleep(0.1)
        return read[-1] > 0 and len(read) > 10 and len({*read[-10:]}) == 1

    wait_for(rests, 20.0)
    assert one.dropped["too large"] <= ahead // 10
    wanted = [b"%d" % number for number in range(total) if number % 10]
    assert came(one, len(wanted)) == wanted
    assert one.dropped == {"too many": 0, "too large": total // 10}


def test_a_reader_without_client_or_credentials_says_so_and_tries_again(
    broker, topic, tmp_path: Path, monkeypatch, caplog
) -> None:
    monkeypatch.setattr("darc.delivery.kafka_reading.FIRST_RETRY_SECONDS", 0.2)
    monkeypatch.setattr("darc.delivery.kafka_reading.LONGEST_RETRY_SECONDS", 0.2)
    path = tmp_path / "gcn"
    path.write_text(f"client_secret = {SECRET}\n")
    path.chmod(0o644)
    of = replace(client(broker), credentials=str(path))
    one = KafkaReader(ReadSource(of, (topic,), "darc.test", LIMITS))
    wait_for(lambda: "others can read it (mode 0644)" in one.error, 20.0)
    path.chmod(0o600)
    wait_for(lambda: one.connected and not one.error, 20.0)
    one.close(patience(5.0))
    wrong = replace(of, settings={**of.settings, "no.such.setting": "1"})
    one = KafkaReader(ReadSource(wrong, (topic,), "darc.test", LIMITS))
    wait_for(lambda: "a setting of the client" in one.error, 20.0)
    assert "no.such.setting" in one.error
    one.close(patience(5.0))
    assert SECRET not in caplog.text


def test_a_secret_is_in_no_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the log-in server and the broker are away."""
    monkeypatch.setattr("darc.delivery.kafka_reading.ASK_SECONDS", 1.0)
    path = tmp_path / "kafka"
    path.write_text(f"client_id = me\nclient_secret = {SECRET}\n")
    path.chmod(0o600)
    settings = {
        "bootstrap.servers": f"127.0.0.1:{free_port()}",
        "security.protocol": "sasl_plaintext",
        "sasl.oauthbearer.token.endpoint.url": f"http://127.0.0.1:{free_port()}/token",
        "debug": "security",
    }
    caplog.set_level(logging.DEBUG)
    one = KafkaReading(ReadSource(KafkaClient("x", 1.0, settings, str(path)), ("t",), "g", LIMITS))
    wait_for(lambda: "OAUTHBEARER" in caplog.text or one.error != "not connected yet", 20.0)
    time.sleep(1.0)
    one.end(patience(12.0))
    assert SECRET not in caplog.text + one.error + repr(vars(one))
