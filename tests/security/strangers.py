"""Clients of a node that have no business there."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import connection
from pathlib import Path
from random import Random
from typing import Any

import rubbish
from nodes import patience

from darc.queues.plain_connection import pack

Address = Path | tuple[str, int]
ANSWER_SECONDS = patience(20.0)


@contextmanager
def connected(address: Address, random: Random) -> Iterator[socket.socket]:
    """A connection to a Unix socket, or to a port of this machine, from any of its addresses.

    From one address alone the kernel would run out of ports.
    """
    with socket.socket(socket.AF_UNIX if isinstance(address, Path) else socket.AF_INET) as client:
        client.settimeout(ANSWER_SECONDS)
        if isinstance(address, Path):
            client.connect(str(address))
        else:
            client.bind((f"127.0.0.{random.randint(1, 200)}", 0))
            client.connect(address)
        yield client


def rest(client: socket.socket) -> bytes:
    """All that still comes."""
    data = b""
    with contextlib.suppress(ConnectionResetError):  # it had not read all when it closed
        while part := client.recv(65536):
            data += part
    return data


def say(client: socket.socket, data: bytes) -> bytes:
    """Send all there is to say; the answer."""
    with contextlib.suppress(OSError):  # refused before all was sent
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
    return rest(client)


# -- at the command port ---------------------------------------------------------------------------


def reply(data: bytes) -> Any:
    """The last thing that was said, in either dialect; None where that was nothing."""
    lines = data.decode().rstrip("\n").split("\n") if data else []
    if not lines:
        return None
    return json.loads(lines[-1]) if data.endswith(b"\n") else ast.literal_eval(lines[-1])


# -- at a queue server -----------------------------------------------------------------------------


class _Script:
    """Stands in for the other side of a handshake: says two things, and keeps what it is told."""

    def __init__(self, challenge: bytes) -> None:
        self._says = [challenge, b"#WELCOME#"]
        self.told: list[bytes] = []

    def recv_bytes(self, limit: int) -> bytes:
        return self._says.pop(0)

    def send_bytes(self, data: bytes) -> None:
        self.told.append(data)


def proof(challenge: bytes, key: bytes) -> bytes:
    """The answer of one who has the key."""
    script = _Script(challenge)
    connection.answer_challenge(script, key)  # type: ignore[arg-type]
    return script.told[0]


def challenge_of(address: Address) -> bytes:
    """What a server wants to have signed."""
    with connected(address, Random(0)) as client, _framed(client) as framed:
        return framed.recv_bytes(256)


def be_a_stranger(address: Address, random: Random, key: bytes, old: bytes) -> None:
    """Answer the challenge with anything but the proof; nobody says more than that it failed.

    :param old: a proof that was good for another challenge
    """
    hung_up = contextlib.suppress(OSError, EOFError)
    with connected(address, random) as client, _framed(client) as framed, hung_up:
        challenge = framed.recv_bytes(256)
        client.sendall(_answers(random, challenge, key, old))
        client.shutdown(socket.SHUT_WR)
        while True:
            assert framed.recv_bytes() == b"#FAILURE#"


@contextmanager
def _framed(client: socket.socket) -> Iterator[connection.Connection[Any, Any]]:
    client.setblocking(True)
    with connection.Connection(os.dup(client.fileno())) as framed:
        yield framed


def _answers(random: Random, challenge: bytes, key: bytes, old: bytes) -> bytes:
    wrong = proof(challenge, key[:-1])
    almost = proof(challenge, key)[:-2]
    request = pack((None, "accept_connection", ("stranger",), {}))
    value = pack(rubbish.value(random))
    pieces = [challenge, old, wrong, almost, random.randbytes(16), b"#WELCOME#", request, value]
    pieces += [rubbish.random_bytes(random), rubbish.nested(random), b""]
    sent = b""
    for _ in range(random.randint(0, 4)):
        data = random.choice(pieces)
        if random.random() < 0.4:
            data = rubbish.mutated(random, data, pieces)
        sent += rubbish.frame(random, data)
    return sent
