"""The command port: two dialects, proofs of changes, and clients that mean or do no good."""

from __future__ import annotations

import ast
import contextlib
import gc
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nodes import Node, free_port, node, only, patience, wait_for

from darc.master.command_port import CommandPort, PortError, parse_message
from darc.model.message import MAX_MESSAGE_BYTES, Reply, Request
from darc.node.command_client import ask, exchange_messages
from darc.node.secret import make_secret, read_secret, sign

NO_PROOF = "has to be signed; control.allow_unsigned_from lists the addresses"


# -- the parser --------------------------------------------------------------------------------

words = st.text(min_size=1).filter(lambda text: text.strip() not in {"", "None"})
requests = st.fixed_dictionaries({"command": words}, optional={"service": words, "payload": words})


@given(requests, st.booleans())
def test_a_literal_is_whole_with_its_last_byte_and_not_before(
    request: dict[str, str], spaced: bool
) -> None:
    data = repr(request).encode(errors="backslashreplace")
    if spaced:
        data = b" " + data
    message = parse_message(data)
    assert message
    assert message.legacy
    assert message.request == Request.from_plain(request)
    for end in range(len(data)):
        assert parse_message(data[:end]) is None


@given(requests, st.booleans())
def test_a_line_is_whole_with_its_end_and_not_before(request: dict[str, str], ours: bool) -> None:
    plain = {"protocol": 1, **request} if ours else request
    data = json.dumps(plain).encode() + b"\n"
    message = parse_message(data)
    assert message
    assert not message.legacy
    assert message.line == data
    assert message.request == Request.from_plain(request)
    if ours:
        for end in range(len(data)):
            assert parse_message(data[:end]) is None


@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda data: b"{" + data + b"}"))
def test_any_bytes_are_a_message_or_incomplete_or_refused(data: bytes) -> None:
    for bytes_ in (data, data + b"\n"):
        with contextlib.suppress(PortError):
            parse_message(bytes_)


class _Garbage:
    """An object in a cycle, at whose end another thread runs."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        time.sleep(0.001)


def test_legacy_clients_at_a_time_do_not_disturb_each_other() -> None:
    """Their literals are parsed in threads, and CPython's parser is not made for that."""
    data = repr({"command": "status", "unknown": list(range(200))}).encode()
    failed: list[Exception] = []

    def parse() -> None:
        for _ in range(25):
            _garbage = [_Garbage() for _ in range(5)]
            del _garbage
            try:
                assert parse_message(data)
            except Exception as error:
                failed.append(error)

    threads = [threading.Thread(target=parse) for _ in range(4)]
    thresholds = gc.get_threshold()
    gc.set_threshold(50)  # so that garbage ends while a tree is built
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        gc.set_threshold(*thresholds)
    assert failed == []


def test_null_and_true_wait_for_their_line_end() -> None:
    data = b'{"service": null, "command": "lofar_status"}'
    assert parse_message(data) is None
    message = parse_message(data + b"\n")
    assert message
    assert message.request == Request("lofar_status")


# -- a port of its own, with a vocabulary that says what it did ----------------------------------


MAX_CONNECTIONS = 8


class Port:
    """A command port whose one change is ``change``."""

    def __init__(self, secret: Path, socket_timeout: float = patience(0.6)) -> None:
        make_secret(secret)
        self.secret = secret
        self.done: list[Request] = []
        self.port = free_port()
        self.made = CommandPort(
            ("127.0.0.1", self.port),
            lambda: read_secret(secret),
            self.answer,
            lambda request: request.command == "change",
            (),
            socket_timeout=socket_timeout,
            max_connections=MAX_CONNECTIONS,
        )

    def answer(self, request: Request) -> Reply:
        self.done.append(request)
        if request.command == "long":
            return Reply.success("x" * int(request.attribute))
        return Reply.success(f"did {request.command}")

    @property
    def refused(self) -> int:
        return self.made.refused

    def asks(self, request: dict[str, Any], secret: Path | None = None) -> dict[str, Any]:
        return exchange_messages("127.0.0.1", self.port, request, patience(5.0), secret)


@pytest.fixture
def port(tmp_path: Path) -> Iterator[Port]:
    made = Port(tmp_path / "secret")
    yield made
    made.made.close()


@pytest.fixture
def patient_port(tmp_path: Path) -> Iterator[Port]:
    """One that gives its clients all the time they want."""
    made = Port(tmp_path / "secret", 1e6)
    yield made
    made.made.close()


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=patience(10)) as made:
        yield made


def old_client(port: int, text: str) -> Any:
    """What existing clients do: one write, the sending side kept open, one read of 1024 bytes."""
    with connected(port) as client:
        client.sendall(text.encode())
        return ast.literal_eval(client.recv(1024).decode())


def until_closed(client: socket.socket) -> bytes:
    data = b""
    while part := client.recv(65536):
        data += part
    return data


def test_each_is_answered_in_its_own_dialect(port: Port) -> None:
    with connected(port.port) as old, connected(port.port) as new:
        old.sendall(b"{'service':'None', 'command':'hello'}")
        new.sendall(b'{"command": "hello"}\n')
        assert until_closed(old) == b"{'status': 'Success', 'message': 'did hello'}"
        assert until_closed(new) == b'{"status": "Success", "message": "did hello"}\n'
    assert port.done == [Request("hello", origin="127.0.0.1")] * 2


def test_an_answer_that_old_clients_cannot_read_becomes_a_short_error(port: Port) -> None:
    overhead = len(repr(Reply.success("").to_plain()))
    fits = 1024 - overhead
    assert old_client(port.port, f"{{'command': 'long {fits}'}}")["message"] == "x" * fits
    reply = old_client(port.port, f"{{'command': 'long {fits + 1}'}}")
    assert reply["status"] == "Error"
    assert "too long" in reply["message"]["error"]
    assert port.asks({"command": "long 3000000"})["message"] == "x" * 3_000_000


@pytest.mark.parametrize(
    "message", [b"{'command': 'hello'}", b'{"protocol": 1, "command": "hello"}\n']
)
def test_a_message_in_parts(patient_port: Port, message: bytes) -> None:
    port = patient_port
    for size in (1, 10, len(message) - 1):
        with connected(port.port) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for start in range(0, len(message), size):
                client.sendall(message[start : start + size])
                time.sleep(0.002)
            assert b"did hello" in until_closed(client)
    assert port.refused == 0


# -- proofs --------------------------------------------------------------------------------------


def test_a_signed_change_is_done(port: Port) -> None:
    assert port.asks({"command": "change"}, port.secret)["message"] == "did change"
    assert port.refused == 0


def test_an_unsigned_change_is_refused_with_the_settings_name(port: Port) -> None:
    reply = old_client(port.port, "{'command': 'change'}")
    assert reply["status"] == "Error"
    assert reply["message"]["error"] == (
        f"change {NO_PROOF} of old clients that need not, and 127.0.0.1 is not among them"
    )
    assert (port.done, port.refused) == ([], 1)


@pytest.mark.parametrize("allowed", ["127.0.0.1", "127.0.0.0/8"])
def test_listed_addresses_need_no_proof(port: Port, allowed: str) -> None:
    port.made.allow_unsigned_from = ("10.1.0.0/16", allowed)
    assert old_client(port.port, "{'command': 'change'}")["message"] == "did change"
    assert port.asks({"command": "change"})["message"] == "did change"
    port.made.allow_unsigned_from = ("127.0.0.2", "::1")
    assert old_client(port.port, "{'command': 'change'}")["status"] == "Error"


def test_a_wrong_secret_is_refused(port: Port, tmp_path: Path) -> None:
    make_secret(tmp_path / "other")
    reply = port.asks({"command": "change"}, tmp_path / "other")
    assert reply == {
        "status": "Error",
        "message": {"error": "change refused: the signature does not hold"},
    }
    assert (port.done, port.refused) == ([], 1)


def test_a_recorded_exchange_cannot_be_played_again(port: Port) -> None:
    line = b'{"command": "change"}\n'

    def play(signature: bytes | None) -> tuple[bytes, bytes]:
        with connected(port.port) as client:
            client.sendall(line)
            challenge = json.loads(client.recv(1024))["challenge"]
            if signature is None:
                signed = sign(read_secret(port.secret), challenge, line)
                signature = json.dumps({"signature": signed}).encode() + b"\n"
            client.sendall(signature)
            return signature, until_closed(client)

    recorded, answer = play(None)
    assert b"did change" in answer
    assert b"does not hold" in play(recorded)[1]
    with connected(port.port) as client:  # all at once, as a replay would
        client.sendall(line + recorded)
        assert b"did change" not in until_closed(client)
    assert len(port.done) == 1


def test_a_signature_is_of_one_message(port: Port) -> None:
    with connected(port.port) as client:
        client.sendall(b'{"command": "change", "service": "all"}\n')
        challenge = json.loads(client.recv(1024))["challenge"]
        signed = sign(read_secret(port.secret), challenge, b'{"command": "change"}\n')
        client.sendall(json.dumps({"signature": signed}).encode() + b"\n")
        assert b"does not hold" in until_closed(client)
    assert port.done == []


@pytest.mark.parametrize(
    "answer",
    [b"\n", b"{}\n", b"[]\n", b"null\n", b'{"signature": null}\n', b'{"signature": "\\ud800"}\n',
     b'{"signature": "\xc3\xa9"}\n', b"[" * 2000, b"\xff\xff\n", b'{"signature": ""}\n'],
)  # fmt: skip
def test_no_signature(port: Port, answer: bytes) -> None:
    with connected(port.port) as client:
        client.sendall(b'{"command": "change"}\n')
        assert b"challenge" in client.recv(1024)
        client.sendall(answer)
        assert b"does not hold" in client.recv(1024)
    assert (port.done, port.refused) == ([], 1)


def test_a_signature_that_never_ends_is_cut(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darc.master.command_port.SIGNATURE_SECONDS", 0.5)
    with connected(port.port) as client:
        client.sendall(b'{"command": "change"}\n')
        assert b"challenge" in client.recv(1024)
        began = time.monotonic()
        client.settimeout(0.05)
        answer = b""
        while not answer and time.monotonic() - began < patience(5):
            client.sendall(b" ")
            try:
                answer = client.recv(1024)
            except TimeoutError:
                continue
        assert b"does not hold" in answer
        assert time.monotonic() - began < patience(2)


def test_without_a_secret_our_client_says_so(port: Port, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no secret to sign the command with"):
        port.asks({"command": "change"})
    with pytest.raises(ValueError, match=r"nowhere: No such file"):
        port.asks({"command": "change"}, tmp_path / "nowhere")
    port.secret.chmod(0o644)
    with pytest.raises(ValueError, match="chmod 600"):
        port.asks({"command": "change"}, port.secret)
    assert port.done == []


# -- nonsense --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"hello\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"\x00",
        b"[1, 2]\n",
        b"{1, 2}",
        b"{'command': status}",
        b"{'command': __import__('os').getpid()}",
        b"{'command': 'a' 'b'.upper()}",
        b"{'command': 5}",
        b"{'command': ['status']}",
        b"{'service': {}, 'command': 'x', 'payload': {'a': 1}}",
        b'{"command": 5}\n',
        b'{"command": {"a": "b"}}\n',
        b'{"protocol": 1, "command": \n',
        b'{"protocol": 1, "command": "' + b"\xff" + b'"}\n',
    ],
)
def test_nonsense_is_refused_at_once_and_counted(patient_port: Port, data: bytes) -> None:
    port = patient_port  # so not when the time for sending has gone by
    with connected(port.port) as client:
        client.sendall(data)
        reply = ast.literal_eval(client.recv(1024).decode())
    assert reply["status"] == "Error"
    assert reply["message"]["error"].startswith("Cannot parse message")
    assert port.refused == 1
    assert port.asks({"command": "hello"})["message"] == "did hello"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"   ",
        b"{",
        b"{'command': 'hel",
        b'{"protocol": 1, "command": "hello"}',
        b"{foo bar}",
        b"{'command': '\xff\xfe'}",
        b"{'a': " + b"[" * 5000 + b"]" * 5000 + b"}",
        b"{'a': " + b"(" * 300 + b")" * 300 + b"}",
        b"{'a': " + b"-" * 20_000 + b"1}",
        b"{'a': 1" + b"+1" * 10_000 + b"}",
        b'{"a": ' + b"[" * 100_000 + b"\n",
        b"{'a': '" + b"x" * 70_000 + b"'}",
        b"{'a\x00': 1}",
    ],
    ids=range(14),
)
def test_what_never_becomes_a_message_is_refused_in_time_and_counted(
    port: Port, data: bytes
) -> None:
    with connected(port.port) as client:
        client.sendall(data)
        reply = ast.literal_eval(client.recv(1024).decode())
    assert reply["status"] == "Error"
    assert reply["message"]["error"].startswith("Cannot parse message")
    assert port.refused == 1
    assert port.asks({"command": "hello"})["message"] == "did hello"


@pytest.mark.parametrize("data", [b"{'command': 'hel", b'{"protocol": 1, "command": "hello"}'])
def test_half_a_message_and_no_more(port: Port, data: bytes) -> None:
    with connected(port.port) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        assert b"Cannot parse message" in until_closed(client)
    with connected(port.port) as client:
        client.sendall(data)
    wait_for(lambda: port.refused == 2, what="counted")
    assert port.done == []


@pytest.mark.parametrize("begin", [b'{"protocol": 1, "command": "', b"{'command': '", b"{" * 10])
def test_an_endless_message_is_cut_at_1_mib(port: Port, begin: bytes) -> None:
    sent = 0
    with connected(port.port) as client:
        client.sendall(begin)
        try:
            while sent < 200 * 2**20:
                sent += client.send(b"x" * 65536)
        except OSError:
            pass
        assert sent < 200 * 2**20
    assert port.refused == 1


def test_a_line_of_more_than_1_mib_is_refused_and_our_client_hears_why(port: Port) -> None:
    longest = MAX_MESSAGE_BYTES - len(json.dumps({"protocol": 1, "command": "hello", "x": ""})) - 1
    fits = {"command": "hello", "x": "y" * longest}
    assert port.asks(fits)["message"] == "did hello"
    for more in (1, 5 * 2**20):
        reply = port.asks({"command": "hello", "x": "y" * (longest + more)})
        assert reply == {
            "status": "Error",
            "message": {"error": "Cannot parse message: longer than 1048576 bytes"},
        }
    assert port.refused == 2
    with connected(port.port) as other:  # one that looks for the answer when it has sent all
        other.sendall(b"{" + b"x" * 4 * 2**20)
        assert b"longer than 1048576 bytes" in other.recv(1024)


def test_a_slow_client_is_cut_off_while_others_are_answered(port: Port) -> None:
    with connected(port.port) as slow:
        began = time.monotonic()
        slow.settimeout(0.05)
        slow.sendall(b"{'command': '")
        answer = b""
        while not answer:
            slow.sendall(b"x")
            assert port.asks({"command": "hello"})["message"] == "did hello"
            try:
                answer = slow.recv(1024)
            except TimeoutError:
                continue
        assert b"Cannot parse message" in answer
        assert time.monotonic() - began < patience(3)
    assert port.refused == 1


def test_connections_are_limited_and_the_limit_is_told(patient_port: Port) -> None:
    port = patient_port
    with ExitStack() as silent:
        for _ in range(8):
            silent.enter_context(connected(port.port))
        assert port.asks({"command": "hello"}) == {
            "status": "Error",
            "message": {"error": "too many connections are open; try again"},
        }
        assert old_client(port.port, "{'command': 'hello'}")["status"] == "Error"
        assert port.refused == 2
    wait_for(lambda: port.asks({"command": "hello"})["status"] == "Success", what="a place")


def test_clients_that_only_connect_are_no_refusals(port: Port) -> None:
    for _ in range(20):
        with connected(port.port):
            pass
        wait_for(lambda: port.asks({"command": "hello"})["status"] == "Success")
    assert port.refused == 0


def all_places_are_free(port: Port) -> bool:
    """Whether as many clients at once get an answer as there are places."""
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(port.port)) for _ in range(MAX_CONNECTIONS)]
        for client in clients:
            client.sendall(b'{"command": "hello"}\n')
        return all(b"did hello" in until_closed(client) for client in clients)


def test_a_client_that_does_not_read_keeps_nobody_waiting(port: Port) -> None:
    with connected(port.port) as client:
        client.sendall(b'{"command": "long 30000000"}\n')
        assert port.asks({"command": "hello"})["message"] == "did hello"
        wait_for(lambda: all_places_are_free(port), what="its place is free again")


def test_many_at_a_time(port: Port) -> None:
    replies: list[Any] = []

    def go() -> None:
        for _ in range(20):
            replies.append(port.asks({"command": "change"}, port.secret)["message"])
            replies.append(old_client(port.port, "{'command': 'hello'}")["message"])

    # A place is free again a moment after the answer: two clients never need all eight.
    threads = [threading.Thread(target=go) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(patience(20))
    assert sorted(replies) == ["did change"] * 40 + ["did hello"] * 40


# -- a real node ---------------------------------------------------------------------------------

SERVICES = ("amber_listener", "amber_clustering", "dada_trigger", "lofar_trigger", "processor")


@pytest.fixture(scope="module")
def strict_node(test_run: str) -> Iterator[Node]:
    """A node that takes a service for hung soon, and waits 3 s for a message."""
    limits = {"socket_timeout": 3.0, "control_timeout": patience(2.0)}
    made_with = {"health": {"unresponsive_after": patience(1.5)}, **limits}
    with node(test_run, darc_master=only(*SERVICES) | made_with) as made:
        made.call("darc_start_all_services")
        # On a busy machine some need longer than the command waits.
        wait_for(made.all_run, 30, "all run")
        yield made


@pytest.fixture
def here(strict_node: Node, monkeypatch: pytest.MonkeyPatch) -> Node:
    """This process's node."""
    for name in ("DARC_HOME", "DARC_HOSTNAME"):
        monkeypatch.setenv(name, strict_node.environment[name])
    return strict_node


def message(command: str, service: str | None = None) -> Any:
    reply, reason = ask(patience(15.0), service, command)
    assert reply, reason
    return reply["message"]


def refused() -> int:
    return int(message("get_attr refused_commands").removeprefix("DARCMaster.refused_commands = "))


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("{'service':'processor', 'command':'status'}",
         {"status": "Success", "message": {"processor": "running"}}),
        ("{'service':'None', 'command':'lofar_status'}",
         {"status": "Success", "message": "LOFAR triggering is disabled"}),
        ("{'service':'xyz', 'command':'get_attr xyz'}", None),
    ],
)  # fmt: skip
def test_what_old_clients_ask_is_answered(here: Node, text: str, reply: object) -> None:
    answer = old_client(here.port, text)
    if reply is None:
        assert answer["message"]["error"].startswith("Invalid service: xyz")
    else:
        assert answer == reply


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{'service':'None', 'command':'xyz'}", "Unknown command: xyz"),
        ("{'service':'None', 'command':''}", "No command specified"),
        ("{'service':'None'}", "No command specified"),
    ],
)
def test_what_old_clients_get_wrong_is_told(here: Node, text: str, error: str) -> None:
    assert old_client(here.port, text) == {"status": "Error", "message": {"error": error}}


def test_old_clients_change_things_once_their_address_is_listed(here: Node) -> None:
    before = refused()
    text = "{'service':'None', 'command':'lofar_enable'}"
    assert NO_PROOF in old_client(here.port, text)["message"]["error"]
    assert message("lofar_status") == "LOFAR triggering is disabled"
    assert refused() == before + 1

    here.configure(control={"allow_unsigned_from": ["127.0.0.1"]})
    assert message("reload").startswith("Config reloaded")
    assert old_client(here.port, text)["message"] == "LOFAR triggering enabled"
    assert message("lofar_status") == "LOFAR triggering is enabled"
    assert message("lofar_disable") == "LOFAR triggering disabled"

    here.configure(control={"allow_unsigned_from": []})
    assert message("reload").startswith("Config reloaded")
    assert NO_PROOF in old_client(here.port, text)["message"]["error"]


def test_our_client_without_the_secret(
    here: Node, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DARC_HOME", str(tmp_path))
    reply, reason = ask(patience(5.0), None, "lofar_enable", port=here.port)
    assert reply is None
    assert reason == (
        "Failed to talk to DARC master: the command has to be signed, and cannot be:"
        f" {tmp_path}/run/testnode/secret: No such file or directory"
    )
    assert ask(patience(5.0), None, "lofar_status", port=here.port)[0] == {
        "status": "Success",
        "message": "LOFAR triggering is disabled",
    }


def test_nonsense_is_counted_where_it_can_be_asked(here: Node) -> None:
    before = refused()
    with connected(here.port) as client:
        client.sendall(os.urandom(100_000).replace(b"{", b""))
        assert b"Cannot parse message" in client.recv(1024)
    assert refused() == before + 1


# -- answers while services hang or die -----------------------------------------------------------


@contextmanager
def stopped(pid: int) -> Iterator[Callable[[], None]]:
    """A process under SIGSTOP until the end, or until what is yielded is called."""
    os.kill(pid, signal.SIGSTOP)
    # Its other threads go on until the one that gets the signal has run.
    wait_for(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, what="it is stopped")
    try:
        yield lambda: os.kill(pid, signal.SIGCONT)
    finally:
        os.kill(pid, signal.SIGCONT)


def state(name: str) -> str:
    return str(message("status", name)[name])


def test_a_hung_service_is_told_and_keeps_no_question_waiting(here: Node) -> None:
    with ExitStack() as stack:
        hanging = stack.enter_context(connected(here.port))
        hanging.sendall(b"{'service': 'all', 'comm")
        go_on = stack.enter_context(stopped(here.pid("amber_clustering")))
        began = time.monotonic()
        # Not yet known to hang, it is asked, and others are answered meanwhile.
        asked: list[Any] = []
        asker = threading.Thread(
            target=lambda: asked.append(message("get_attr log_file", "amber_clustering"))
        )
        asker.start()
        slowest = 0.0
        while state("amber_clustering") != "unresponsive":
            start = time.monotonic()
            assert state("amber_listener") == "running"
            slowest = max(slowest, time.monotonic() - start)
            assert start - began < patience(4.0), "it is told"
        assert time.monotonic() - began > 0.9
        assert slowest < patience(1.0)
        start = time.monotonic()
        answers = message("get_attr log_file", "all")
        assert time.monotonic() - start < patience(1.0)
        assert answers.pop("amber_clustering") == "Service not responding: amber_clustering"
        assert len(answers) == len(SERVICES) - 1
        assert all(answer.startswith("{'") for answer in answers.values())
        asker.join(patience(15.0))
        assert asked == [{"amber_clustering": "Service not responding: amber_clustering"}]
        go_on()
        wait_for(lambda: state("amber_clustering") == "running", 5.0, "running again")
        answer = message("get_attr log_file", "amber_clustering")["amber_clustering"]
        assert answer.startswith("{'AMBERClustering.log_file': ")
        assert b"Cannot parse message" in hanging.recv(1024)


def test_a_switch_that_nobody_can_tell_is_not_called_disabled(here: Node) -> None:
    with stopped(here.pid("lofar_trigger")):
        for command in ("lofar_status", "lofar_disable"):
            assert "disabled" not in message(command)


def test_a_dead_service_is_never_running_and_soon_another_is(here: Node) -> None:
    old = here.pid("dada_trigger")
    os.kill(old, signal.SIGKILL)
    died = time.monotonic()
    seen: list[str] = []

    def back() -> bool:
        # What is said of it lies between two looks at its process.
        before = here.pid("dada_trigger")
        seen.append(state("dada_trigger"))
        if seen[-1] == "running":
            assert here.pid("dada_trigger") != old or time.monotonic() - died < patience(0.2)
        return before not in {0, old} and seen[-1] == "running"

    wait_for(back, 10.0, "running again")
    assert time.monotonic() - died < patience(3.0)
    assert here.pid("dada_trigger") != old
