"""The broker of tests and the demo leaves nothing behind; its subscriber keeps to the protocol."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import comet
import psutil
import pytest
from comet.protocol import messages
from comet.utility import broker_test_message
from lxml import etree
from nodes import free_port, patience, wait_for

from simulator.comet_broker import BrokerError, CometBroker, Subscriber

PATIENCE = patience(20.0)
SCHEMA = Path(comet.__file__).with_name("schema") / "transport-1.1.xsd"
OWNER = """
import sys
from simulator.comet_broker import CometBroker

broker = CometBroker()
broker.start()
if "paused" in sys.argv:
    broker.pause()
print(broker.pid, broker.directory, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("state", ["running", "paused"])
def test_it_ends_when_its_owner_is_killed(state: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, state],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout
        number, _, directory = owner.stdout.readline().strip().partition(" ")
        broker = psutil.Process(int(number))
        try:
            assert Path(directory).is_dir()
            owner.kill()
            wait_for(lambda: not broker.is_running() or broker.status() == psutil.STATUS_ZOMBIE)
            assert not Path(directory).exists()
        finally:
            if broker.is_running():
                broker.kill()


@pytest.mark.parametrize("paused", [False, True])
def test_it_ends_in_order_when_it_is_closed(paused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.comet_broker.STOP_SECONDS", 1000.0)
    with CometBroker() as broker:
        process = psutil.Process(broker.pid)
        assert broker.directory.is_dir()
        if paused:
            broker.pause()
    assert not process.is_running()
    assert not broker.directory.exists()
    with pytest.raises(BrokerError, match="not running"):
        broker.pause()


def test_one_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    def only_kill(process: subprocess.Popen[bytes], number: int) -> None:
        if number == signal.SIGKILL:
            os.kill(process.pid, number)

    monkeypatch.setattr("simulator.comet_broker.STOP_SECONDS", 0.1)
    monkeypatch.setattr(subprocess.Popen, "send_signal", only_kill)
    with CometBroker() as broker:
        process = psutil.Process(broker.pid)
    assert not process.is_running()


def test_one_that_cannot_start_says_why_and_leaves_nothing() -> None:
    with socket.create_server(("", 0)) as taken:
        broker = CometBroker(port=taken.getsockname()[1])
        with pytest.raises(BrokerError, match="Address already in use"), broker:
            pass
    assert not broker.directory.exists()


@contextmanager
def broadcaster(greeting: bytes) -> Iterator[tuple[Subscriber, socket.socket]]:
    """A subscriber, and the broker's end of its connection."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        ThreadPoolExecutor(1) as pool,
    ):
        accepted = pool.submit(listener.accept)
        subscriber = Subscriber(listener.getsockname()[1])
        greeted = pool.submit(lambda: say(accepted.result()[0], greeting))
        with subscriber:
            greeted.result()
            with accepted.result()[0] as connection:
                yield subscriber, connection


def say(connection: socket.socket, message: bytes) -> None:
    connection.sendall(struct.pack(">I", len(message)) + message)


def hear(connection: socket.socket, count: int) -> list[etree._Element]:
    connection.settimeout(PATIENCE)
    with connection.makefile("rb") as stream:
        lengths = (struct.unpack(">I", stream.read(4))[0] for _ in range(count))
        return [etree.fromstring(stream.read(length)) for length in lengths]


@pytest.fixture
def connected() -> Iterator[tuple[Subscriber, socket.socket]]:
    with broadcaster(messages.authenticate("ivo://broker").raw_bytes) as both:
        yield both


def test_the_subscriber_answers_by_the_schema(connected: tuple[Subscriber, socket.socket]) -> None:
    subscriber, connection = connected
    event = broker_test_message("ivo://org.example/events")
    schema = etree.XMLSchema(etree.parse(SCHEMA))
    say(connection, messages.iamalive("ivo://broker").raw_bytes)
    say(connection, event.raw_bytes)
    answers = hear(connection, 3)
    for answer in answers:
        schema.assertValid(answer)
        assert answer.findtext("Response") == "ivo://darc.example/subscriber"
    assert [(answer.get("role"), answer.findtext("Origin")) for answer in answers] == [
        ("authenticate", "ivo://broker"),
        ("iamalive", "ivo://broker"),
        ("ack", event.element.get("ivorn")),
    ]
    assert [received.event for received in subscriber.received] == [event.raw_bytes]


def test_the_subscriber_says_what_it_waits_for(
    connected: tuple[Subscriber, socket.socket],
) -> None:
    subscriber, connection = connected
    assert subscriber.wait_for(0, 0.0) == ()
    with pytest.raises(TimeoutError, match=r"0 of 1 events within 0.01 s"):
        subscriber.wait_for(1, 0.01)
    connection.shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionError, match="0 of 1 events, then: EOFError: the broker has"):
        subscriber.wait_for(1, PATIENCE)


@pytest.mark.parametrize(
    ("message", "what"),
    [
        (b"no XML", "ValueError: not XML"),
        (b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "ValueError: a document type"),
        (messages.nak("ivo://a", "ivo://b").raw_bytes, "ValueError: a message of role 'nak'"),
    ],
)
def test_the_subscriber_ends_with_what_it_does_not_know(
    connected: tuple[Subscriber, socket.socket], message: bytes, what: str
) -> None:
    subscriber, connection = connected
    say(connection, message)
    with pytest.raises(ConnectionError, match=what):
        subscriber.wait_for(1, PATIENCE)


def test_a_subscriber_needs_a_broker() -> None:
    with pytest.raises(ConnectionError), Subscriber(free_port()):
        pass
    with pytest.raises(ConnectionError, match="no greeting"), broadcaster(b"no XML"):
        pass
