"""The port of dada_dbevent: what is taken, and what is not, on real connections."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from nodes import free_port, patience

from darc.services.dada_trigger import dump_port
from darc.services.dada_trigger.dump_port import HOST, request_dump
from simulator.dbevent import DadaDbevent

TEXT = """N_EVENTS 1
2019-05-18-23:51:13
2019-05-18-23:51:20 793 2019-05-18-23:51:26 937 1056.6 28.4666 10 35
"""
TIMEOUT = patience(10.0)  # s, for what has to come
NOT_TAKEN = r"reset|pipe|not connected"


@pytest.fixture
def dada() -> Iterator[DadaDbevent]:
    with DadaDbevent() as made:
        yield made


Peer = Callable[[Callable[[socket.socket], None]], int]


@pytest.fixture
def peer() -> Iterator[Peer]:
    """Start a peer that does something with each connection; returns its port."""
    listener = socket.create_server((HOST, 0))
    threads = []

    def start(handle: Callable[[socket.socket], None]) -> int:
        def serve() -> None:
            with suppress(OSError):  # closed
                while True:
                    handle(listener.accept()[0])

        threads.append(threading.Thread(target=serve))
        threads[0].start()
        return int(listener.getsockname()[1])

    yield start
    listener.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join()
    listener.close()


def test_it_is_read(dada: DadaDbevent) -> None:
    before = time.time()
    handed_in = request_dump(dada.port, TEXT)
    assert handed_in.unread is None
    assert before <= handed_in.sent <= time.time()
    assert [received.text for received in dada.received] == [TEXT]


def test_several_after_each_other(dada: DadaDbevent) -> None:
    for _ in range(5):
        assert request_dump(dada.port, TEXT).unread is None
    assert [received.text for received in dada.received] == [TEXT] * 5


def test_nobody_is_there(dada: DadaDbevent) -> None:
    dada.refuse()
    with pytest.raises(ConnectionRefusedError):
        request_dump(dada.port, TEXT)
    dada.accept()
    assert request_dump(dada.port, TEXT).unread is None
    with pytest.raises(ConnectionRefusedError):
        request_dump(free_port(), TEXT)


def test_one_that_does_not_read_may_still_do_so(dada: DadaDbevent) -> None:
    dada.never_read = True
    assert request_dump(dada.port, TEXT).unread is not None
    assert dada.received == []
    dada.never_read = False
    assert [received.text for received in dada.wait_for(1, TIMEOUT)] == [TEXT]


def test_one_that_resets(dada: DadaDbevent) -> None:
    dada.close_at_once = True
    for _ in range(20):
        with pytest.raises(OSError, match=NOT_TAKEN):
            request_dump(dada.port, TEXT)


def test_one_that_closes_before_there_is_anything_to_read(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that is seen of that is an end-of-file, as from one that has read everything."""
    closed = threading.Event()

    def close(connection: socket.socket) -> None:
        connection.close()
        closed.set()

    connect = dump_port.connect_tcp

    def connect_and_wait(address: tuple[str, int], timeout: float) -> socket.socket:
        connection = connect(address, timeout)
        assert closed.wait(TIMEOUT)
        closed.clear()
        return connection

    monkeypatch.setattr(dump_port, "connect_tcp", connect_and_wait)
    port = peer(close)
    for _ in range(20):
        with pytest.raises(OSError, match=NOT_TAKEN):
            request_dump(port, TEXT)


@pytest.mark.parametrize("reads", [0, 20])
def test_one_that_closes_before_the_end(peer: Peer, reads: int) -> None:
    def read_some(connection: socket.socket) -> None:
        with connection:
            connection.recv(1, socket.MSG_PEEK)
            connection.recv(reads, socket.MSG_WAITALL)

    port = peer(read_some)
    for _ in range(20):
        with pytest.raises(OSError, match=NOT_TAKEN):
            request_dump(port, TEXT)


def test_one_that_talks_without_end(peer: Peer) -> None:
    """It does not read either; whether it does so later is not waited for."""

    def talk(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while True:
                connection.sendall(b"ok\n" * 10_000)

    assert request_dump(peer(talk), TEXT).unread is not None


def test_when_it_left_is_not_when_it_was_read(peer: Peer) -> None:
    closed = []

    def hold(connection: socket.socket) -> None:
        with connection:
            while connection.recv(1000):
                pass
            # No longer than is waited for, and far longer than a step of the program takes.
            threading.Event().wait(dump_port.READ_SECONDS / 2)
            closed.append(time.time())

    handed_in = request_dump(peer(hold), TEXT)
    assert handed_in.unread is None
    assert handed_in.sent < closed[0]


def test_one_that_says_something_and_reads(peer: Peer) -> None:
    read = []

    def answer(connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            connection.sendall(b"welcome\n" * 2000)
            read.append(lines.read())
            connection.sendall(b"thanks\n")

    assert request_dump(peer(answer), TEXT).unread is None
    assert read == [TEXT.encode()]


def test_one_that_takes_no_more_connections() -> None:
    """What does not get in does not wait for long, and has not left."""
    with socket.create_server((HOST, 0), backlog=0) as full:
        port = full.getsockname()[1]
        waiting = []
        try:
            while True:
                waiting.append(socket.create_connection((HOST, port), 0.2))
        except TimeoutError:
            pass
        with pytest.raises(TimeoutError):
            request_dump(port, TEXT)
        for connection in waiting:
            connection.close()
