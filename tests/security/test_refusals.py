"""What a real node refuses: with a line in a log and a count, and without a change."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import resource
import select
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import psutil
import pytest
import rubbish
import strangers
from msgspec import Struct
from nodes import Node, free_port, node, patience, wait_for

from darc.master.command_port import CommandPort
from darc.model.message import Reply
from darc.node.command_client import exchange_messages
from darc.node.secret import make_secret, read_secret, sign
from darc.queues.client import QueueClient
from darc.queues.messages import QueueError
from darc.queues.plain_connection import PlainListener, pack, plain_client
from darc.queues.queue_server import MAX_CONNECTIONS

SERVICE = "lofar_trigger"
MAX_COMMANDS = 16
SILENCE_SECONDS = 3.0
CONNECTIONS = 10_000
# A thread and its connection; what the log takes meanwhile.
MORE_BYTES = 64 * 2**20
MORE_DESCRIPTORS = 20


@pytest.fixture(scope="module")
def target(test_run: str) -> Iterator[Node]:
    """A node whose only service takes in triggers."""
    with node(test_run) as made:
        made.configure(
            darc_master={
                "services_master_mix": [SERVICE],
                "services_worker_mix": [],
                "socket_timeout": SILENCE_SECONDS,
            },
            control={"max_connections": MAX_COMMANDS},
        )
        made.start()
        yield made


def ask(target: Node, command: str, service: str = "") -> Any:
    """The message of the reply to a question; it may have to be asked again for that."""
    request = {"command": command, "service": service}

    def reply() -> dict[str, Any] | None:
        with contextlib.suppress(ConnectionError):
            answer = exchange_messages("127.0.0.1", target.port, request, patience(20.0), None)
            return None if answer["status"] == "Error" else answer
        return None

    return wait_for(reply, 20.0, command)["message"]


class Place(Struct, frozen=True):
    """Something that listens.

    :param service: whose process and log it is
    :param count: the attribute with its refusals, of the service or the master
    :param limit: of connections
    """

    address: strangers.Address
    service: str
    count: str
    limit: int

    def refused(self, target: Node) -> int:
        answer = ask(target, f"get_attr {self.count}", SERVICE if self.service == SERVICE else "")
        text = answer[SERVICE] if isinstance(answer, dict) else answer
        return int(text.rstrip("}").split()[-1])

    def process(self, target: Node) -> psutil.Process:
        return psutil.Process(target.pid(self.service))


NAMES = ("commands", "queues", "intake")


def place_of(target: Node, name: str) -> Place:
    host = "127.0.0.1"
    if name == "commands":
        return Place((host, target.port), "darc_master", "refused_commands", MAX_COMMANDS)
    if name == "queues":
        count = "refused_queue_connections"
        return Place(target.run_dir / "queues.sock", "darc_master", count, MAX_CONNECTIONS)
    port = target.config[SERVICE]["server_port"]
    return Place((host, port), SERVICE, "refused_clients", MAX_CONNECTIONS)


@pytest.fixture(params=NAMES)
def place(target: Node, request: pytest.FixtureRequest) -> Place:
    return place_of(target, request.param)


def state(target: Node) -> list[Any]:
    """What a change would change."""
    asked = ["lofar_status", "get_attr observations", "get_attr queue_depths", "get_attr node_id"]
    answers = [ask(target, command) for command in asked]
    pids = [target.pid(name) for name in ("darc_master", SERVICE)]
    return [*answers, ask(target, "status", SERVICE), *pids]


@pytest.fixture(autouse=True)
def unchanged(target: Node) -> Iterator[None]:
    """The node is as it was."""
    before = state(target)
    yield
    assert state(target) == before


def logged(target: Node, service: str, text: str, times: int) -> None:
    """Lines come by way of supervisord."""
    wait_for(lambda: target.log(service).count(text) == times, 10.0, text)


def test_what_listens(target: Node) -> None:
    """The command port and the intake, and on a host of its own for this host alone."""
    found = {
        tuple(one.laddr)
        for process in target.processes()
        for one in process.net_connections("inet")
        if one.status in (psutil.CONN_LISTEN, psutil.CONN_NONE) and not one.raddr  # TCP, and UDP
    }
    assert found == {place_of(target, name).address for name in ("commands", "intake")}
    assert target.run_dir.stat().st_mode & 0o777 == 0o700


# -- changes ---------------------------------------------------------------------------------------

LINE = b'{"protocol": 1, "command": "lofar_enable"}\n'


def signed(
    target: Node, line: bytes, key: bytes, signature: bytes | None = None
) -> tuple[Any, bytes]:
    """Ask for a change; the reply, and what it was signed with."""
    with strangers.connected(("127.0.0.1", target.port), Random(0)) as client:
        client.sendall(line)
        challenge = json.loads(client.recv(1024))["challenge"]
        if signature is None:
            signature = json.dumps({"signature": sign(key, challenge, line)}).encode() + b"\n"
        client.sendall(signature)
        return strangers.reply(strangers.rest(client)), signature


def test_changes_that_are_not_proven(target: Node, tmp_path: Path) -> None:
    commands = place_of(target, "commands")
    before = commands.refused(target)
    key = read_secret(target.run_dir / "secret")
    make_secret(tmp_path / "secret")  # of another cluster
    other = tmp_path / "secret"
    refused = "lofar_enable refused: the signature does not hold"
    with strangers.connected(commands.address, Random(0)) as client:
        client.sendall(b"{'service': 'None', 'command': 'lofar_enable'}")
        assert "has to be signed" in strangers.reply(strangers.rest(client))["message"]["error"]
    assert signed(target, LINE, read_secret(other))[0]["message"] == {"error": refused}
    reply = exchange_messages(
        "127.0.0.1", target.port, {"command": "lofar_enable"}, patience(10.0), other
    )
    assert reply["message"] == {"error": refused}
    # One that was good once: of something that changes nothing here.
    harmless = LINE.replace(b"enable", b"disable")
    reply, recorded = signed(target, harmless, key)
    assert reply["status"] == "Success"
    for line in (harmless, LINE):
        assert "does not hold" in signed(target, line, key, recorded)[0]["message"]["error"]
    assert commands.refused(target) == before + 5
    logged(target, "darc_master", "unsigned 'lofar_enable' from 127.0.0.", 1)
    logged(target, "darc_master", "wrongly signed 'lofar_enable' from 127.0.0.", 3)
    logged(target, "darc_master", "wrongly signed 'lofar_disable' from 127.0.0.", 1)
    assert "lofar_enable  from" not in target.log("darc_master")


@pytest.mark.parametrize("question", ["send_events=True", "!reload", "test=False x"])
def test_a_question_changes_nothing(target: Node, question: str) -> None:
    request = {"command": f"get_attr {question}", "service": SERVICE}
    reply = exchange_messages("127.0.0.1", target.port, request, patience(20.0), None)
    assert reply == {"status": "Error", "message": {SERVICE: f"No such attribute: {question}"}}


@pytest.mark.parametrize("name", ["queues", "intake"])
def test_another_clusters_secret(target: Node, name: str, tmp_path: Path) -> None:
    place = place_of(target, name)
    before = place.refused(target)
    make_secret(tmp_path / "secret")
    with pytest.raises(QueueError, match="the secret was not accepted"):
        QueueClient(place.address, read_secret(tmp_path / "secret"), "stranger", patience(10.0))
    wait_for(lambda: place.refused(target) == before + 1)
    text = "refused, no proof of the secret: digest received was wrong"
    logged(target, place.service, text, 1)


# -- pickles, and rubbish --------------------------------------------------------------------------


class Bomb:
    """Makes a directory when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self._path),)


def test_a_pickle_is_not_run(target: Node, place: Place) -> None:
    before = place.refused(target)
    mark = target.home / "ran"
    data = pickle.dumps((None, "accept_connection", (Bomb(mark),), {}))
    with strangers.connected(place.address, Random(0)) as client:
        strangers.say(client, len(data).to_bytes(4, "big") + data)
    with strangers.connected(place.address, Random(0)) as client:
        strangers.say(client, data)
    wait_for(lambda: place.refused(target) == before + 2)
    if place.service == SERVICE or isinstance(place.address, Path):  # and with the secret
        made = plain_client(place.address, read_secret(target.run_dir / "secret"), 10.0)
        made.send_bytes(data)
        kind, error = pickle.loads(made.recv_bytes())  # what this node says of it
        assert (kind, type(error)) == ("#ERROR", TypeError)
        made.close()
        logged(target, place.service, "refused: an object, made by posix.mkdir", 1)
    assert not mark.exists()
    pickle.loads(data)
    assert mark.exists(), "the bomb is none"
    mark.rmdir()


def test_megabytes_of_rubbish(target: Node, place: Place) -> None:
    before = place.refused(target)
    process = place.process(target)
    size = process.memory_info().rss
    data = Random(1).randbytes(2**20)
    first = b"" if place.service == "darc_master" else (2**24).to_bytes(4, "big")
    for begin in (first, b'{"protocol": 1, "command": "', b"{'command': '", b"\xff\xff\xff\xff"):
        hung_up = contextlib.suppress(OSError)
        with strangers.connected(place.address, Random(2)) as client, hung_up:
            client.sendall(begin)
            for _ in range(64):
                client.sendall(data)
        assert process.memory_info().rss < size + MORE_BYTES
    wait_for(lambda: place.refused(target) == before + 4)


def test_rubbish(target: Node, place: Place) -> None:
    """A little of what test_fuzz sends to the same parts."""
    before = place.refused(target)
    key = read_secret(target.run_dir / "secret")
    if isinstance(place.address, tuple) and place.address[1] == target.port:
        for number in range(1000):
            random = Random(number)
            with strangers.connected(place.address, random) as client:
                strangers.say(client, rubbish.message(random))
        assert place.refused(target) > before + 500
        return
    old = strangers.proof(strangers.challenge_of(place.address), key)
    for number in range(500):
        strangers.be_a_stranger(place.address, Random(number), key, old)
    wait_for(lambda: place.refused(target) == before + 501)


# -- silence ---------------------------------------------------------------------------------------


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < CONNECTIONS + 1000:
        pytest.skip(f"no more than {hard} descriptors may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, CONNECTIONS + 1000), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def connect_all(address: strangers.Address, stack: contextlib.ExitStack) -> None:
    """Open as many connections as that, without a word."""
    for number in range(CONNECTIONS):
        family = socket.AF_UNIX if isinstance(address, Path) else socket.AF_INET
        client = stack.enter_context(socket.socket(family))
        if isinstance(address, Path):
            client.connect(str(address))
        else:
            client.bind((f"127.0.0.{1 + number % 200}", 0))
            client.connect(address)


def test_connections_that_say_nothing(target: Node, place: Place, many_descriptors: None) -> None:
    """They take the places there are for some seconds, and nothing else; services work on."""
    before = place.refused(target)
    process = place.process(target)
    size, descriptors = process.memory_info().rss, process.num_fds()
    threads = process.num_threads()
    key = read_secret(target.run_dir / "secret")
    attached = QueueClient(target.run_dir / "queues.sock", key, "test")
    with contextlib.ExitStack() as silent:
        connect_all(place.address, silent)
        assert process.num_fds() <= descriptors + place.limit + MORE_DESCRIPTORS
        assert process.num_threads() <= threads + place.limit + MORE_DESCRIPTORS
        assert process.memory_info().rss < size + MORE_BYTES
        attached.call("put", "scratch", "works on")
        assert attached.call("get", "scratch", 0.5) == ["works on"]
        attached.close()
        wait_for(lambda: process.num_fds() <= descriptors + MORE_DESCRIPTORS, 30.0, "the places")
        # While all of them are still open at this end.
        if place.service == SERVICE or isinstance(place.address, Path):
            QueueClient(place.address, key, "test", patience(10.0)).close()
        # Questions may have to wait for a place, too, and are counted then.
        wait_for(lambda: place.refused(target) >= before + CONNECTIONS, 20.0, "a count of all")
    text = f"{place.limit} connections are" if place.limit == MAX_COMMANDS else f"{place.limit} are"
    wait_for(lambda: f"refused: {text} open" in target.log(place.service))


# -- what costs more than it should ----------------------------------------------------------------


def test_a_literal_is_not_parsed_for_ever(tmp_path: Path) -> None:
    """Each part may be its end, and parsing it takes time that all others wait for."""
    make_secret(tmp_path / "secret")
    address = "127.0.0.1", free_port()
    patience = 600.0
    port = CommandPort(
        address, lambda: b"", lambda _: Reply.success(""), lambda _: True, (), patience, 8
    )
    for begin, end in ((b"{'a': [", b"}"), (b"{'a': [", b"} "), (b'{"a": [', b"\n")):
        with strangers.connected(address, Random(0)) as client:
            client.sendall(begin + b"1," * 2000)
            for _ in range(1000):
                client.sendall(end)
                if select.select([client], [], [], 0.01)[0]:
                    break
            assert b"Cannot parse message" in strangers.rest(client)
    with strangers.connected(address, Random(0)) as client:  # of any length, with its line end
        client.sendall(b'{"a": [' + b"1," * 10_000 + b"\n")
        assert b"Cannot parse message" in strangers.rest(client)
    port.close()


RUBBISH = [b"\xc1", pack(5), pack(("#ERROR", "x")), pack(("#TRACEBACK", 5))]


def answer_rubbish(listener: PlainListener, key: bytes, asked: list[Any]) -> None:
    """Take connections, and answer what is asked with the next rubbish."""
    while len(asked) < len(RUBBISH):
        with contextlib.suppress(EOFError, OSError), contextlib.closing(listener.accept()) as made:
            made.prove(key)
            made.recv()
            made.send(("#RETURN", None))
            asked.append(made.recv())
            made.send_bytes(RUBBISH[len(asked) - 1])


def test_answers_that_are_rubbish(make_node: Callable[..., Node]) -> None:
    """Who proves the secret may still say anything: nothing is lost for it, and nobody ends."""
    place = "127.0.0.1", free_port()
    worker = make_node("worker01", control={"bind": "127.0.0.1"})
    worker.configure(
        cluster={"master": "localhost", "workers": ["worker01"]},
        lofar_trigger={"server_port": place[1]},
        darc_master={"services_worker_mix": ["amber_clustering"]},
    )
    worker.start()
    key = read_secret(worker.run_dir / "secret")
    pid = worker.pid("amber_clustering")
    asked: list[Any] = []
    with contextlib.closing(PlainListener(place)) as listener:
        thread = threading.Thread(target=answer_rubbish, args=(listener, key, asked), daemon=True)
        thread.start()
        thread.join(patience(60.0))
        assert len(asked) == len(RUBBISH)
    asked_for = ("--service", "amber_clustering", "get_attr", "forwarding")
    wait_for(lambda: "NOT REACHED since" in str(worker.ask(*asked_for)), 20.0, "it says so")
    assert worker.pid("amber_clustering") == pid
