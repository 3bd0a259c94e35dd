"""Rubbish to send: random bytes, mutated valid messages, and values nobody asked for."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import msgpack

from darc.queues.plain_connection import pack

COMMANDS = (
    *("status", "start", "stop", "restart", "get_attr queue_depths", "start_observation"),
    *("stop_observation", "abort_observation", "abort_all", "reload", "stop_master"),
    *("lofar_status", "lofar_enable", "lofar_disable", "voevent_enable", "voevent_disable"),
    *("get_attr send_events=True", "get_attr !reload", "get_attr __class__", "", "x", "\ud800"),
)
SERVICES = ("all", "None", "", "processor", "lofar_trigger", "../x", "a\nb", "\0", "é" * 50)
_TEXTS = (*SERVICES, *COMMANDS, "x" * 5000, "{}", "]" * 100)
#: What breaks a parser that trusts what it reads.
_PIECES = (
    *(b"\0", b"\n", b"}", b"{", b'"', b"'", b"\\", b"[" * 300, b"(" * 300, b"{'a':" * 100),
    *(b'{"a":' * 2000, b"-" * 3000, b"9" * 5000, b"1e999", b"\xff\xfe", b"\xed\xa0\x80", b"\\u"),
    *(b"__import__('os')", b"lambda: 0", b"...", b"0x", b"1_0", b"b''", b"f'{1}'", b"# \n"),
    *(b'"protocol"', b'"signature"', b'"challenge"', b"null", b"None", b" " * 1000),
    *(b"#CHALLENGE#", b"#WELCOME#", b"#FAILURE#", b"cos\nsystem\n(S'x'\ntR.", b"\x80\x05"),
)


def random_bytes(random: Random) -> bytes:
    return random.randbytes(random.choice((0, 1, 2, 4, 20, 300, 3000)))


def mutated(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """The same, with one to four things changed."""
    for _ in range(random.randint(1, 4)):
        data = random.choice(_MUTATIONS)(random, data, others)
    return data


def _flip(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    place = random.randrange(len(data) + 1)
    return data[:place] + bytes([random.randrange(256)]) + data[place + 1 :]


def _cut(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _leave_out(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    place = random.randrange(len(data) + 1)
    return data[:place] + data[place + random.randint(1, 8) :]


def _insert(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    place = random.randrange(len(data) + 1)
    return data[:place] + random.choice(_PIECES) + data[place:]


def _splice(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    other = random.choice(others)
    place = random.randrange(len(other) + 1)
    return data[: random.randrange(len(data) + 1)] + other[place:]


def _repeat(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    return data * random.randint(2, 5) if len(data) < 10_000 else data


_MUTATIONS: tuple[Callable[[Random, bytes, Sequence[bytes]], bytes], ...] = (
    *(_flip, _flip, _cut, _leave_out, _insert, _insert, _splice, _repeat),
)


# -- of the command port -----------------------------------------------------------------------


def command(random: Random) -> bytes:
    """A valid message, in either dialect."""
    plain: dict[str, Any] = {"command": random.choice(COMMANDS)}
    for key in ("service", "payload", "from", "content"):
        if random.random() < 0.3:
            plain[key] = random.choice(_TEXTS)
    if random.random() < 0.5:
        return repr(plain).encode(errors="backslashreplace")
    if random.random() < 0.8:
        plain = {"protocol": 1, **plain}
    return json.dumps(plain).encode() + b"\n"


def message(random: Random) -> bytes:
    """One that is valid, one that was before it was changed, or one that never was."""
    kind = random.random()
    if kind < 0.05:
        return random_bytes(random)
    data = command(random)
    return data if kind < 0.15 else mutated(random, data, [command(random)])


# -- of the queues -------------------------------------------------------------------------------


def value(random: Random, depth: int = 0) -> Any:
    """A plain value, with everything that a method may not expect."""
    kind = random.random()
    if kind < 0.15 and depth < 4:
        return [value(random, depth + 1) for _ in range(random.randrange(4))]
    if kind < 0.2 and depth < 4:
        return tuple(value(random, depth + 1) for _ in range(random.randrange(4)))
    if kind < 0.25 and depth < 4:
        return {random.choice(_KEYS): value(random, depth + 1) for _ in range(random.randrange(3))}
    return random.choice(_VALUES)


_KEYS = ("x", "", 1, None, b"k", 2.5, (1, 2), "command")
_VALUES = (
    *(None, True, False, 0, 1, 2, -1, 7, 1000, 2**31, 2**63 - 1, -(2**63), 2**64 - 1),
    *(0.0, 0.001, -1.0, 1e300, float("nan"), float("-inf"), b"", b"\0", b"x" * 3000),
    *("", "x", "a\nb", "é", "\0", "%s%n", "y" * 3000, "queues", "lofar_trigger", "scratch"),
)


def nested(random: Random) -> bytes:
    """Packed values within values, deeper than anyone needs."""
    depth = random.choice((10, 31, 40, 200, 1500, 20_000))
    kind = random.randrange(3)
    if kind == 0:
        return b"\x91" * depth + b"\xc0"
    if kind == 1:
        return b"\x81\xa1a" * depth + b"\xc0"
    data = b"\x90"
    for _ in range(min(depth, 200)):
        data = msgpack.packb(msgpack.ExtType(1, data))
    return data


def frame(random: Random, data: bytes) -> bytes:
    """As multiprocessing sends it, or with a wrong length."""
    if random.random() < 0.5:
        return struct.pack("!i", len(data)) + data
    length = random.choice((-1, -2, -(2**31), 0, 1, 255, 256, 257, 2**24, 2**24 + 1, 2**31 - 1))
    long = struct.pack("!Q", random.choice((0, 5, 2**24 + 1, 2**32, 2**63, 2**64 - 1)))
    return struct.pack("!i", length) + (long if length == -1 else b"") + data


def call(random: Random, methods: Sequence[str], valid: Sequence[Sequence[Any]]) -> bytes:
    """A packed request for a method: a valid one, one with other arguments, or a mutated one.

    :param methods: that may be asked for, and others
    :param valid: method and arguments of each valid call
    """
    ident: Any = "queues" if random.random() < 0.97 else value(random)
    keywords = {} if random.random() < 0.95 else value(random)
    method, *arguments = random.choice(valid)
    kind = random.random()
    if kind < 0.3:
        arguments = [part if random.random() < 0.7 else value(random) for part in arguments]
    elif kind < 0.6:
        method = random.choice(methods) if random.random() < 0.95 else value(random)
        arguments = [value(random) for _ in range(random.randrange(7))]
    data = pack((ident, method, tuple(arguments), keywords))
    return data if kind < 0.8 else mutated(random, data, [data])


def other_frame(random: Random) -> bytes:
    """What is no request at all."""
    return random.choice((random_bytes, nested, lambda one: pack(value(one))))(random)


def first_call(random: Random) -> bytes:
    """What a client may say first, and what it may not."""
    methods = ("create", "accept_connection", "dummy", "incref", "decref", "get_methods")
    names = (*methods, "shutdown", "debug_info", "serve_forever", "stop", "_handle_request", "x")
    method = random.choice(names) if random.random() < 0.9 else value(random)
    arguments = tuple(value(random) for _ in range(random.randrange(4)))
    data = pack((None, method, arguments, {} if random.random() < 0.9 else value(random)))
    return mutated(random, data, [data]) if random.random() < 0.2 else data
