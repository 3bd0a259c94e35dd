"""The small server, without a node."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from msgspec import Struct, field
from nodes import patience, wait_for
from scrapes import Scrape
from test_families import measured

from darc.monitor.metrics import metrics_server as server
from darc.monitor.metrics.metrics_server import MAX_CONNECTIONS, MetricsServer
from darc.monitor.metrics.node_measurements import NodeMeasurements


class Source(Struct):
    """What is measured; waits at the gate."""

    gate: threading.Event = field(default_factory=threading.Event)
    asked: int = 0

    def __call__(self) -> NodeMeasurements:
        self.asked += 1
        assert self.gate.wait(patience(30.0))
        return measured()


@pytest.fixture
def source() -> Iterator[Source]:
    made = Source()
    made.gate.set()
    yield made
    made.gate.set()


@pytest.fixture
def start(source: Source) -> Iterator[Callable[[], MetricsServer]]:
    started: list[MetricsServer] = []

    def make() -> MetricsServer:
        made = MetricsServer(("127.0.0.1", 0), source)
        started.append(made)
        made.start()
        return made

    yield make
    for one in started:
        one.stop()


def ask(of: MetricsServer, path: str = "/metrics", method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", of.server_port, timeout=patience(30.0))
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_those_who_ask_at_once_share_one_look(
    start: Callable[[], MetricsServer], source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "SHARED_SECONDS", 3600.0)
    source.gate.clear()
    asked = start()
    answers: list[tuple[int, str]] = []
    clients = [
        threading.Thread(target=lambda: answers.append(ask(asked)))
        for _ in range(MAX_CONNECTIONS - 1)
    ]
    for client in clients:
        client.start()
    wait_for(lambda: len(asked.connections()) == len(clients))
    source.gate.set()
    for client in clients:
        client.join()
    assert source.asked == 1
    assert {status for status, _ in answers} == {200}
    assert len({text for _, text in answers}) == 1
    monkeypatch.setattr(server, "SHARED_SECONDS", 0.0)
    assert ask(asked)[0] == 200
    assert source.asked == 2


def test_what_cannot_be_made_is_not_waited_for(
    start: Callable[[], MetricsServer], source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "ANSWER_SECONDS", 0.1)
    source.gate.clear()
    asked = start()
    first = threading.Thread(target=ask, args=(asked,))
    first.start()
    wait_for(lambda: source.asked)
    assert ask(asked) == (503, "not made within 0.1 s\n")
    source.gate.set()
    first.join()
    assert ask(asked)[0] == 200


def test_who_dawdles_is_cut_off(
    start: Callable[[], MetricsServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "REQUEST_SECONDS", 0.2)
    asked = start()
    clients = []
    for _ in range(MAX_CONNECTIONS):
        client = socket.create_connection(("127.0.0.1", asked.server_port), timeout=patience(30.0))
        clients.append(client)
        client.sendall(b"GET /met")

    def all_are_cut_off() -> bool:
        for client in clients:
            with contextlib.suppress(OSError):  # a letter now and then keeps none of them alive
                client.sendall(b"r")
        return not asked.connections()

    wait_for(all_are_cut_off, 20.0)
    for client in clients:
        client.close()
    assert ask(asked)[0] == 200
    assert asked.refused == 0


def test_too_many_are_refused_and_counted(
    start: Callable[[], MetricsServer], source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "SHARED_SECONDS", 0.0)
    asked = start()
    address = ("127.0.0.1", asked.server_port)
    held = [socket.create_connection(address) for _ in range(MAX_CONNECTIONS)]
    wait_for(lambda: len(asked.connections()) == MAX_CONNECTIONS)
    with socket.create_connection(address, timeout=patience(30.0)) as one_more:
        assert one_more.recv(100) == b""
    for client in held:
        client.close()
    wait_for(lambda: not asked.connections())
    told = Scrape(ask(asked)[1])
    assert told("darc_refused_connections_total", port="metrics") == 1
    assert told("darc_refused_connections_total", port="commands") == 0


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/metrics?x=1", 200),
        ("HEAD", "/metrics", 200),
        ("GET", "/", 404),
        ("GET", "/metrics/../../etc/passwd", 404),
        ("POST", "/metrics", 405),
        ("BREW", "/metrics", 501),
    ],
)
def test_only_the_metrics_are_there(
    start: Callable[[], MetricsServer], method: str, path: str, status: int
) -> None:
    answered, text = ask(start(), path, method)
    assert answered == status
    assert bool(text) is (method != "HEAD")


def test_an_address_that_cannot_be_had(source: Source) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(OSError, match="in use"):
            MetricsServer(("127.0.0.1", taken.getsockname()[1]), source)
        with pytest.raises(OSError, match="assign"):
            MetricsServer(("192.0.2.1", 0), source)
