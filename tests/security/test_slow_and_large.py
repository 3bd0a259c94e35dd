"""Who sends slowly, without end, or little that stands for much: others are served meanwhile.

DARC_FUZZ_SCALE=1 (or more) attacks for longer, as it makes test_fuzz.py send more.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from multiprocessing.connection import Client
from pathlib import Path
from random import Random
from typing import Any

import msgpack
import pytest
import strangers
from committer import Committer, committing
from nodes import patience, wait_for
from targets import MAX_COMMANDS, Targets, targets

from darc.queues.dialects import dialect_of
from darc.queues.plain_connection import MAX_MESSAGE_BYTES, MAX_VALUES, pack, plain_client, unpack
from darc.queues.xml_values import MAX_XML_BYTES, write_xml

SECONDS = 1.0 + 2.0 * float(os.environ.get("DARC_FUZZ_SCALE", "0.25"))
SLOW = 32  # connections
#: Of what a large message stands for, while it is refused.
MOST_BYTES = 256 * 2**20
#: Others' commits (ms); on a machine that is busy, so many times what they take at the same time at
#: a server that nobody attacks.
COMMIT_MS, TIMES = patience(50.0), 10.0


@pytest.fixture
def served(tmp_path_factory: pytest.TempPathFactory, test_run: str) -> Iterator[Targets]:
    with targets(tmp_path_factory.mktemp("t"), test_run) as made:
        yield made


@pytest.fixture(scope="module")
def spared(tmp_path_factory: pytest.TempPathFactory, test_run: str) -> Iterator[Targets]:
    """Another, which nobody attacks."""
    with targets(tmp_path_factory.mktemp("t"), test_run) as made:
        yield made


def commits(at: Targets) -> AbstractContextManager[Committer]:
    return committing(at.socket, at.secret_file)


@contextmanager
def attacked(attack: Callable[[threading.Event], None], clients: int) -> Iterator[None]:
    """Have clients attack again and again, until the end.

    :param attack: is told when it is over: what comes later costs the processor, and nobody sees it
    """
    over = threading.Event()

    def go() -> None:
        while not over.is_set():
            with contextlib.suppress(OSError, EOFError):
                attack(over)

    threads = [threading.Thread(target=go, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(60.0)


def peak(served: Targets) -> int:
    """Bytes, the most that the process ever had."""
    status = Path(f"/proc/{served.process.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) << 10


def judge(name: str, served: Targets, elsewhere: Committer, here: Committer, size: int) -> None:
    print(f"{name}: elsewhere {elsewhere}; here {here}; +{(peak(served) - size) >> 20} MiB at most")
    assert served.report()["deaths"] == []
    for share in (0.5, 0.99):
        assert here.at(share) < max(COMMIT_MS, TIMES * elsewhere.at(share)), (name, share)
    assert peak(served) - size < MOST_BYTES, name


def byte_by_byte(address: strangers.Address, data: bytes, over: threading.Event) -> None:
    """As quickly as the other side takes them."""
    with strangers.connected(address, Random()) as client:
        if not isinstance(address, str | os.PathLike):
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for place in range(len(data)):
            if over.is_set():
                return
            client.sendall(data[place : place + 1])


ENDLESS = [b'{"protocol": 1, "command": "' + b"x" * 2**20, b"{'a': '" + b"}" * 2**20, b" " * 2**20]


@pytest.mark.parametrize("data", ENDLESS, ids=["ours", "literal", "blanks"])
def test_lines_that_never_end(served: Targets, spared: Targets, data: bytes) -> None:
    address = "127.0.0.1", served.command_port
    size = served.process.memory_info().rss
    times = served.process.cpu_times()
    begin = time.monotonic()
    with (
        commits(spared) as elsewhere,
        commits(served) as here,
        attacked(partial(byte_by_byte, address, data), SLOW),
    ):
        time.sleep(SECONDS)
        with strangers.connected(address, Random(0)) as client:  # who asks is answered
            answer = strangers.say(client, b'{"protocol": 1, "command": "status"}\n')
            assert b"Success" in answer or b"too many" in answer
    judge("endless lines", served, elsewhere, here, size)
    now = served.process.cpu_times()
    used = (now.user + now.system - times.user - times.system) / (time.monotonic() - begin)
    print(f"{100 * used:.0f} % of a core")
    assert used < 0.7


def test_what_a_slow_message_costs_grows_as_its_length(served: Targets) -> None:
    """A whole one is answered, though it comes in a thousand pieces."""
    line = b'{"protocol": 1, "command": "status", "payload": "' + b"x" * 60_000 + b'"}\n'
    with strangers.connected(("127.0.0.1", served.command_port), Random(0)) as client:
        for place in range(0, len(line), 61):
            client.sendall(line[place : place + 61])
        assert b"Success" in strangers.rest(client)


@pytest.mark.parametrize("name", ["queues", "intake"])
def test_handshakes_that_never_end(served: Targets, spared: Targets, name: str) -> None:
    size = served.process.memory_info().rss
    frames = [b"\0\0\0\xff" + b"x" * 200, b"\x7f\xff\xff\xff" + b"x" * 4096, b"\xff" * 5]

    def attack(over: threading.Event) -> None:
        byte_by_byte(served.address(name), Random().choice(frames), over)

    with (
        commits(spared) as elsewhere,
        commits(served) as here,
        attacked(attack, SLOW),
    ):
        time.sleep(SECONDS)
    judge(f"slow handshakes at {name}", served, elsewhere, here, size)


def array(count: int) -> bytes:
    return b"\xdd" + count.to_bytes(4, "big")


def large() -> list[bytes]:
    """Requests of 16 MiB, or nearly, that stand for much more."""
    head, most = b"\x94\xa6queues\xa4take", MAX_MESSAGE_BYTES - 64
    return [
        head + array(most) + b"\x80" * most + b"\x80",
        head + b"".join(array(10**6) + b"\x80" * (10**6 - 1) for _ in range(16)),
        head + b"".join(array(200_000) + b"\x81\x00\x00" * 199_999 for _ in range(27)),
        head + b"".join(array(1_500_000) + b"\xa2ab" * 1_499_999 for _ in range(3)),
        head + array(most // 4) + msgpack.packb(msgpack.ExtType(1, b"\x90")) * (most // 4),
        head + array(2**31) * 1000,
        b"\x91" * most,
    ]


def test_little_that_stands_for_much(served: Targets, spared: Targets) -> None:
    """With the secret; each is refused, and ends its connection alone."""
    requests = large()
    for data in requests:
        with pytest.raises(ValueError, match="not a packed plain value"):
            unpack(data)
    size = served.process.memory_info().rss
    sent: list[int] = []

    def attack(_: threading.Event) -> None:
        client = plain_client(served.socket, served.secret)
        try:
            client.send((None, "accept_connection", ("fuzz",), {}))
            client.recv()
            sent.append(len(sent) % len(requests))
            client.send_bytes(requests[sent[-1]])
            client.recv()
        finally:
            client.close()

    with (
        commits(spared) as elsewhere,
        commits(served) as here,
        attacked(attack, 2),
    ):
        time.sleep(SECONDS)
        wait_for(lambda: len(sent) > len(requests), 60.0, "each request was sent")
    judge("empty maps by the million", served, elsewhere, here, size)
    wait_for(lambda: served.log.count("sent an invalid message") > 0)


def large_for_others() -> list[bytes]:
    """The same as pickles and XML, and what is held in many places."""
    most = MAX_MESSAGE_BYTES - 64
    value: Any = [0]
    for _ in range(40):
        value = [value, value]
    return [
        pickle.dumps(value),
        pickle.dumps(["x" * 2**20] * 1000),
        b"\x80\x04" + b"}" * most,
        b"\x80\x04" + b"N" * most,
        b"\x80\x04K\x01" + b"\x94" * most,
        b"\x80\x04" + b"]" * (most // 2) + b"a" * (most // 2),
        b"\x80\x02K\x07" + b"r\xff\xff\xff\xff" * (most // 5),
        b"<params><param><value><array><data>" + b"<value/>" * (MAX_XML_BYTES // 9),
        b"<value>" * (MAX_XML_BYTES // 7),
        b"<!--" + b"x" * (MAX_XML_BYTES - 4),
        b"<!--" + b"x" * most,
    ]


def test_little_that_stands_for_much_elsewhere(served: Targets, spared: Targets) -> None:
    requests = large_for_others()
    for data in requests:
        with pytest.raises(ValueError, match=r"more than|not a "):
            dialect_of(data).read(data)
    size = served.process.memory_info().rss
    sent: list[int] = []

    def attack(_: threading.Event) -> None:
        sent.append(len(sent) % len(requests))
        data = requests[sent[-1]]
        with Client(str(served.socket), authkey=served.secret) as client:
            if data[:1] == b"<":
                client.send_bytes(write_xml((None, "accept_connection", ("fuzz",), {})))
            else:
                client.send((None, "accept_connection", ("fuzz",), {}))
            client.recv_bytes()
            client.send_bytes(data)
            client.recv_bytes()

    with (
        commits(spared) as elsewhere,
        commits(served) as here,
        attacked(attack, 2),
    ):
        time.sleep(SECONDS)
        wait_for(lambda: len(sent) > len(requests), 60.0, "each request was sent")
    judge("pickles and XML", served, elsewhere, here, size)
    wait_for(lambda: served.log.count("sent an invalid message") > 0)


def test_the_largest_that_makes_sense_is_taken() -> None:
    entry = ["candidates", b"x" * 100, "190518009", 1.0, 2.0, 3.0]
    entries = [[number, *entry] for number in range(80_000)]
    assert unpack(pack(entries)) == entries
    numbers = list(range(MAX_VALUES - 5))
    assert unpack(pack(numbers)) == numbers
    with pytest.raises(ValueError, match="not a packed plain value"):
        unpack(pack([*numbers, *range(9)]))
    assert unpack(pack([*numbers, *range(9)]), None)


def test_places_come_back(served: Targets) -> None:
    """Connections that sent a part of a message are gone after the time that they have."""
    address = "127.0.0.1", served.command_port
    with contextlib.ExitStack() as stack:
        for number in range(MAX_COMMANDS):
            client = stack.enter_context(strangers.connected(address, Random(number)))
            client.sendall(b'{"protocol"')
        wait_for(lambda: served.refused("commands") >= MAX_COMMANDS, strangers.ANSWER_SECONDS)

        def answered() -> bool:
            with strangers.connected(address, Random(0)) as client:
                line = b'{"protocol": 1, "command": "status"}\n'
                return b"Success" in strangers.say(client, line)

        wait_for(answered, strangers.ANSWER_SECONDS)
