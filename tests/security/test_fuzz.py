"""Rubbish by the ten thousand: nothing changes that was not asked for with proof, no thread ends of
it, and what it takes stays bounded.

Everything follows from a seed, which a failure tells; DARC_FUZZ_SEED sets another one, and
DARC_FUZZ_SCALE=1 sends more than a hundred thousand messages. A quarter of them, which each run of
the tests sends, takes 7,545 of the 7,574 branches that all of them take.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pickle
import socket
import xmlrpc.client
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Client, Connection
from random import Random
from typing import Any

import pytest
import rubbish
import strangers
from msgspec import Struct
from nodes import wait_for
from targets import SERVICE, Targets, targets

from darc.node.secret import sign
from darc.queues import exchange
from darc.queues.client import Holder, QueueClient
from darc.queues.messages import Commit, ContentKind, Put
from darc.queues.plain_connection import PlainConnection, pack, plain_client, unpack
from darc.queues.xml_values import read_xml
from darc.services.base import intake

SEED = int(os.environ.get("DARC_FUZZ_SEED", "20261122"))
SCALE = float(os.environ.get("DARC_FUZZ_SCALE", "0.25"))
COMMANDS = int(22_000 * SCALE)
STRANGERS = int(6_000 * SCALE)  # at each of two servers, as is the next
REQUESTS = int(34_000 * SCALE)
BY_NAME = int(4_000 * max(1.0, SCALE))  # at each of two servers, in each of two dialects
CLIENTS = 4  # at a time
# What a process keeps for itself of what it once had.
MORE_BYTES = 48 * 2**20


@pytest.fixture
def served(tmp_path_factory: pytest.TempPathFactory, test_run: str) -> Iterator[Targets]:
    with targets(tmp_path_factory.mktemp("t"), test_run) as made:  # a short path, for a socket
        yield made


@contextlib.contextmanager
def unharmed(served: Targets) -> Iterator[None]:
    """Within it nothing ends a thread; afterwards the process is as large as before."""
    process = served.process
    threads, descriptors = process.num_threads(), process.num_fds()
    size = process.memory_info().rss
    yield
    wait_for(
        lambda: process.num_threads() <= threads, strangers.ANSWER_SECONDS, "threads as before"
    )
    wait_for(
        lambda: process.num_fds() <= descriptors, strangers.ANSWER_SECONDS, "descriptors as before"
    )
    assert served.report()["deaths"] == []
    grown = process.memory_info().rss - size
    assert grown < MORE_BYTES, f"{grown} bytes more than before"


def side_by_side(name: str, number: int, work: Callable[[Iterator[Random]], None]) -> None:
    """Have clients send so many messages, each of a randomness of its own."""
    progress: dict[int, int] = {}

    def send(part: int) -> None:
        def randoms() -> Iterator[Random]:
            for index in range(part, number, CLIENTS):
                progress[part] = index
                yield Random(f"{SEED} {name} {index}")

        try:
            work(randoms())
        except BaseException as error:
            error.add_note(f"DARC_FUZZ_SEED={SEED}: {name} {progress[part]}")
            raise

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(send, range(CLIENTS)))


# -- the command port ----------------------------------------------------------------------------


def signed_change(served: Targets, random: Random, client: socket.socket) -> str:
    """A change as it has to be; returns what was asked for."""
    service = f"s{random.getrandbits(60)}"
    line = json.dumps({"protocol": 1, "command": "restart", "service": service}).encode() + b"\n"
    client.sendall(line)
    challenge = json.loads(client.recv(1024))["challenge"]
    signature = sign(served.secret, challenge, line)
    client.sendall(json.dumps({"signature": signature}).encode() + b"\n")
    assert strangers.reply(strangers.rest(client))["status"] == "Success"
    return f"restart {service}"


def wrongly_signed_change(served: Targets, random: Random, client: socket.socket) -> None:
    line = b'{"protocol": 1, "command": "stop_master"}\n'
    client.sendall(line)
    challenge = json.loads(client.recv(1024))["challenge"]
    signature = random.choice(
        (
            sign(served.secret, challenge, line[:-1]),
            sign(served.secret, challenge[:-1], line),
            sign(served.secret[:-1], challenge, line),
            sign(b"", challenge, line),
            challenge,
        )
    )
    answer = json.dumps({"signature": signature}).encode() + b"\n"
    if random.random() < 0.5:
        answer = rubbish.mutated(random, answer, [line])
    reply = strangers.reply(strangers.say(client, answer))
    assert reply is None or reply["status"] == "Error", reply


def test_the_command_port(served: Targets) -> None:
    asked: list[str] = []

    def send(randoms: Iterator[Random]) -> None:
        for random in randoms:
            with strangers.connected(("127.0.0.1", served.command_port), random) as client:
                kind = random.random()
                if kind < 0.01:
                    asked.append(signed_change(served, random, client))
                elif kind < 0.05:
                    wrongly_signed_change(served, random, client)
                else:
                    reply = strangers.reply(strangers.say(client, rubbish.message(random)))
                    assert reply is None or set(reply) == {"status", "message"}, reply

    with unharmed(served):
        side_by_side("command", COMMANDS, send)
    assert asked
    assert sorted(served.report()["changes"]) == sorted(asked)
    assert served.refused("commands") > COMMANDS / 2
    assert "Traceback" not in served.log


# -- the queue servers, without the secret ---------------------------------------------------------


@pytest.mark.parametrize("name", ["queues", "intake"])
def test_the_queues_without_the_secret(served: Targets, name: str) -> None:
    address = served.address(name)
    old = strangers.proof(strangers.challenge_of(address), served.secret)

    def send(randoms: Iterator[Random]) -> None:
        for random in randoms:
            strangers.be_a_stranger(address, random, served.secret, old)

    wait_for(lambda: served.refused(name) == 1)
    with unharmed(served):
        side_by_side(f"stranger {name}", STRANGERS, send)
    assert served.refused(name) == 1 + STRANGERS
    assert served.log.count("no proof of the secret") == 1 + STRANGERS
    assert "Traceback" not in served.log


# -- the queue servers, with the secret ------------------------------------------------------------

NOT_EXPOSED = ("shutdown", "presence", "ask", "give_orders", "remember", "remembered", "_hold")
NOT_EXPOSED += ("_gone", "__class__", "__init__", "create", "accept_connection", "clients", "x")
GUARDED = "guarded"
_TIMES = (0.0, 0.001, -1.0)


class Hold(Struct):
    """What a client knows of its hold on a service."""

    service: str
    number: int = 1
    sequence: int = 0


def exchange_calls(random: Random, hold: Hold) -> list[list[Any]]:
    """What services and people ask of the queues."""
    service, holder = hold.service, hold.number
    put = Put((random.choice((service, "other")),), ContentKind.PLAIN, pack("x"))
    commit = Commit("o", (random.randrange(100),), (put,), (), {"key": rubbish.value(random)})
    time = random.choice(_TIMES)
    return [
        ["attach", service, 1, "Fuzz", random.choice((None, holder))],
        ["take", service, holder, random.randrange(50), time],
        ["commit", service, holder, hold.sequence + 1, commit.to_plain()],
        ["recall", random.choice((service, GUARDED)), "o"],
        ["progress", "o"],
        ["beat", random.choice((service, service, GUARDED)), holder],
        ["finished", service, holder, "o"],
        ["listen", service, holder, random.randrange(3), time],
        ["answer", random.randrange(1000), True, "x"],
        ["depths"],
        ["put", random.choice(("scratch", service)), rubbish.value(random)],
        ["get", random.choice(("scratch", GUARDED)), time],
        # Of one who does not hold it.
        ["take", GUARDED, random.choice((1, 2, 1000)), 0, 0.0],
        ["commit", GUARDED, random.choice((1, 2, 1000)), 2, Commit(completed=(1, 2)).to_plain()],
    ]


def intake_calls(random: Random) -> list[list[Any]]:
    """What workers and programs ask of the intake."""
    content = pack([rubbish.value(random)])
    host, source = random.choice(("worker01", "worker02")), f"s{random.randrange(300)}"
    number = random.choice((1, 2, 3, random.getrandbits(40)))
    waited = random.choice((0.0, 5.0, 1e8))
    return [
        ["deliver", host, source, number, "o", content, waited],
        ["deliver", host, source, number, "o", rubbish.random_bytes(random), waited],
        ["hello", host, source],
        ["put", [rubbish.value(random)]],
    ]


def answer_in(data: bytes) -> Any:
    """An answer, in the dialect that the request happened to be in."""
    if data[:1] == b"\x80":
        return pickle.loads(data)
    return read_xml(data) if data[:1] == b"<" else unpack(data)


class Insider:
    """A client with the secret, and nothing sensible to say."""

    def __init__(self, served: Targets, name: str) -> None:
        self._place = served.address(name)
        self._key = served.secret
        self._connection: PlainConnection | None = None

    def close(self) -> None:
        if self._connection:
            self._connection.close()
            self._connection = None

    def ask(self, data: bytes, *, at_once: bool = False) -> tuple[str, Any] | None:
        """The answer; None where the server has hung up.

        :param at_once: on a connection of its own, whose first request it is
        """
        if at_once:
            self.close()
        if self._connection is None:
            self._connection = plain_client(self._place, self._key, strangers.ANSWER_SECONDS)
            if not at_once:
                self._connection.send((None, "accept_connection", ("fuzz",), {}))
                assert self._connection.recv() == ("#RETURN", None)
        try:
            self._connection.send_bytes(data)
            kind, value = answer_in(self._connection.recv_bytes())
        except (EOFError, BrokenPipeError, ConnectionResetError):
            self.close()
            return None
        assert kind in {"#RETURN", "#TRACEBACK", "#ERROR"}
        return kind, value


def insiders(
    served: Targets, name: str, call: Callable[[Random, Hold], bytes]
) -> list[tuple[str, Any]]:
    """Have clients send requests; each is answered, or ends its connection alone.

    :return: method and answer of what was done
    """
    done: list[tuple[str, Any]] = []
    numbers = itertools.count()

    def send(randoms: Iterator[Random]) -> None:
        insider = Insider(served, name)
        hold = Hold(f"fuzz{next(numbers)}")
        for random in randoms:
            if random.random() < 0.05:
                insider.ask(rubbish.first_call(random), at_once=True)
                insider.close()
                continue
            data = call(random, hold) if random.random() < 0.98 else rubbish.other_frame(random)
            answer = insider.ask(data)
            if answer is None or answer[0] != "#RETURN":
                continue
            ident, method, arguments, _ = unpack(data)
            assert ident == "queues"
            assert method not in NOT_EXPOSED
            if method == "attach" and arguments[0] == hold.service:
                hold.number, hold.sequence = answer[1]
            elif method == "commit" and arguments[0] == hold.service:
                hold.sequence = arguments[2]
            done.append((method, answer[1]))
        insider.close()

    side_by_side(f"request {name}", REQUESTS, send)
    return done


def test_the_queues_with_the_secret(served: Targets) -> None:
    """What a service holds stays its own, whatever others ask for."""
    clients = [QueueClient(served.socket, served.secret, "guarded") for _ in range(5)]
    holder = [Holder(client, GUARDED, 1, "Guarded", None) for client in clients][-1]
    assert holder.number == 5  # in no call of the fuzz
    puts = tuple(Put((GUARDED,), ContentKind.PLAIN, pack(number)) for number in range(10))
    holder.commit(Commit(puts=puts, memory={"kept": 1}), 1)
    entries = holder.take(0, 0.0)

    def call(random: Random, hold: Hold) -> bytes:
        methods = (*exchange.EXPOSED, *NOT_EXPOSED)
        return rubbish.call(random, methods, exchange_calls(random, hold))

    with unharmed(served):
        done = insiders(served, "queues", call)
    assert {method for method, _ in done} == set(exchange.EXPOSED)
    assert holder.take(0, 0.0)[: len(entries)] == entries
    assert holder.recall("") == {"kept": 1}
    holder.commit(Commit(completed=tuple(entry.id for entry in entries)), 2)


IDENTS = ("scratch/take/1", f"{GUARDED}/look/1", f"{GUARDED}/take/1", f"{SERVICE}/put", "x/look/1")
NAMELESS = ("queues", "/", "//", "a/b", f"{GUARDED}/give/1", f"{GUARDED}/look/x", None, 1, ["x"])


def call_by_name(random: Random) -> tuple[Any, ...]:
    """What a client of the standard library asks, and what none would."""
    ident = random.choice(IDENTS) if random.random() < 0.95 else random.choice(NAMELESS)
    kind = random.random()
    if kind < 0.3:
        return ident, "put", (rubbish.value(random),), {}
    if kind < 0.6:
        return ident, random.choice(("get_nowait", "qsize", "empty", "depths", "__repr__")), (), {}
    if kind < 0.7:
        return ident, "get", (), {"timeout": random.choice((*_TIMES, "x", None, float("nan")))}
    methods = ("put", "qsize", "full", "#GETVALUE", "_take", "open", *NOT_EXPOSED)
    arguments = [rubbish.value(random) for _ in range(random.randrange(4))]
    keywords = {} if random.random() < 0.8 else rubbish.value(random)
    return ident, random.choice(methods), arguments, keywords


class Bomb:
    """Ends the process that unpickles it."""

    def __reduce__(self) -> Any:
        return os.abort, ()


def as_pickle(random: Random, request: tuple[Any, ...]) -> bytes:
    what: Any = request if random.random() < 0.9 else (*request[:2], (Bomb(),), {})
    data = pickle.dumps(what, random.randrange(2, 6))
    return data if random.random() < 0.5 else rubbish.mutated(random, data, [data])


def as_xml(random: Random, request: tuple[Any, ...]) -> bytes:
    try:
        data = xmlrpc.client.dumps((request,), allow_none=True).encode()
    except (TypeError, OverflowError):  # what no client could send
        data = b"<params><param><value>x</value></param></params>"
    return data if random.random() < 0.5 else rubbish.mutated(random, data, [data])


def attach(address: Any, key: bytes, write: Callable[[Any], bytes]) -> Connection[Any, Any]:
    place = address if isinstance(address, tuple) else str(address)
    client: Connection[Any, Any] = Client(place, authkey=key)
    client.send_bytes(write((None, "accept_connection", ("fuzz",), {})))
    client.recv_bytes()
    return client


@pytest.mark.parametrize("name", ["queues", "intake"])
@pytest.mark.parametrize("dialect", ["pickle", "xml"])
def test_the_queues_by_name(served: Targets, name: str, dialect: str) -> None:
    """Each request is answered, in the client's own words; nothing that is held is taken."""
    holder = Holder(QueueClient(served.socket, served.secret, "guarded"), GUARDED, 1, "G", None)
    puts = tuple(Put((GUARDED,), ContentKind.PLAIN, pack(number)) for number in range(10))
    holder.commit(Commit(puts=puts), 1)
    entries = holder.take(0, 0.0)
    first = QueueClient(("127.0.0.1", served.intake_port), served.secret, "test")
    first.call("put", [])  # it attaches to the queues then
    address = served.address(name)
    make = as_pickle if dialect == "pickle" else as_xml
    calm: Any = pickle.dumps if dialect == "pickle" else lambda one: as_xml(Calm(), one)
    done: list[str] = []

    def send(randoms: Iterator[Random]) -> None:
        client = attach(address, served.secret, calm)
        for random in randoms:
            try:
                client.send_bytes(make(random, call_by_name(random)))
                if client.poll(0.2):
                    data = client.recv_bytes()
                    read = pickle.loads if dialect == "pickle" else read_xml
                    done.append(read(data)[0])
                    continue
            except (EOFError, BrokenPipeError, ConnectionResetError):
                pass
            client.close()
            client = attach(address, served.secret, calm)
        client.close()

    with unharmed(served):
        side_by_side(f"by name {name} {dialect}", BY_NAME, send)
    assert set(done) == {"#RETURN", "#TRACEBACK", *(["#ERROR"] if dialect == "pickle" else [])}
    assert len(done) > BY_NAME * 0.9
    assert holder.take(0, 0.0)[: len(entries)] == entries


class Calm(Random):
    """Changes nothing."""

    def random(self) -> float:
        return 0.0


def test_the_intake_with_the_secret(served: Targets) -> None:
    """There is an entry for each delivery that was said to be taken over, and no other."""

    def call(random: Random, hold: Hold) -> bytes:
        return rubbish.call(random, (*intake.EXPOSED, *NOT_EXPOSED), intake_calls(random))

    first = QueueClient(("127.0.0.1", served.intake_port), served.secret, "test")
    assert first.call("deliver", "h", "s", 1, "", pack([]), 0.0)
    with unharmed(served):
        done = insiders(served, "intake", call)
    delivered = [method for method, answer in done if method == "deliver" and answer]
    put = [method for method, _ in done if method == "put"]
    assert delivered
    assert put
    client = QueueClient(served.socket, served.secret, "test")
    (depth,) = client.call("depths")
    assert depth[:2] == [SERVICE, 1 + len(delivered) + len(put)]
    assert not first.call("deliver", "h", "s", 1, "", pack([]), 0.0)
