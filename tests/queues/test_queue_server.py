"""The queues' socket: nobody without the key, only plain values, and no client harms others."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing import AuthenticationError, connection
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hubs import KEY, Hub
from nodes import PYTHON, patience, wait_for

from darc.queues import queue_server as server_module
from darc.queues.client import Holder, QueueClient, Queues, QueuesGoneError, listen
from darc.queues.dialects import ServedConnection
from darc.queues.messages import (
    Commit,
    ContentKind,
    FencedError,
    OutOfStepError,
    Put,
    QueryKind,
    QueueError,
    ServiceQuery,
)
from darc.queues.names import SCRATCH
from darc.queues.plain_connection import MAX_MESSAGE_BYTES, PlainConnection, pack


@contextmanager
def raw(hub: Hub) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as made:
        made.connect(str(hub.address))
        made.settimeout(patience(10))
        yield made


def until_closed(client: Any) -> None:
    with contextlib.suppress(EOFError, OSError):
        while True:
            client.recv_bytes()


@contextmanager
def child(hub: Hub, code: str) -> Iterator[subprocess.Popen[str]]:
    """A process with a connected ``client``; it says a line when it is about to wait."""
    start = (
        "import sys, pathlib\n"
        "from darc.queues.client import *\n"
        "from darc.queues.client import QueueClient, Queues, Holder\n"
        f"client = QueueClient(pathlib.Path({str(hub.address)!r}), {KEY!r}, 'child')\n"
    )
    process = subprocess.Popen(
        [PYTHON, "-c", start + code], stdout=subprocess.PIPE, text=True, bufsize=1
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()


# -- who may ---------------------------------------------------------------------------------


def test_a_wrong_key_is_refused(hub: Hub) -> None:
    with pytest.raises(QueueError, match="the secret was not accepted"):
        QueueClient(hub.address, b"x" * 64, "stranger")
    assert hub.queues().depths() == []


def test_nothing_is_decoded_before_the_key_is_proven(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[bytes] = []
    original = ServedConnection.recv

    def recv(self: ServedConnection) -> Any:
        value = original(self)
        decoded.append(value)
        return value

    monkeypatch.setattr(ServedConnection, "recv", recv)
    with connection.Client(str(hub.address)) as stranger:
        assert stranger.recv_bytes().startswith(b"#CHALLENGE#")
        with contextlib.suppress(OSError):  # it may have been closed by then
            stranger.send_bytes(b"no digest")
            stranger.send_bytes(pack((None, "accept_connection", ("stranger",), {})))
        until_closed(stranger)
    with pytest.raises(AuthenticationError):
        connection.Client(str(hub.address), authkey=b"wrong")
    assert decoded == []
    assert hub.queues().depths() == []
    assert decoded, "it is looked at the wrong place"


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_not_run(hub: Hub, tmp_path: Path, protocol: int) -> None:
    mark = tmp_path / "ran"
    data = pickle.dumps((None, "dummy", (Bomb(mark),), {}), protocol)
    with connection.Client(str(hub.address), authkey=KEY) as first:  # before it is served
        first.send_bytes(data)
        kind, error = first.recv()
        assert kind == "#ERROR"
        assert "an object, made by posix.mkdir" in str(error)
        until_closed(first)
    client = hub.client()  # and while it is
    client.connection.send_bytes(data)
    until_closed(client.connection)
    assert not mark.exists()
    pickle.loads(data)
    assert mark.exists(), "the bomb is none"
    assert hub.queues().depths() == []


@pytest.mark.parametrize("data", [b"\x80\x05" + pack(5), b"(((", b"<params>", b"<<"])
def test_what_only_begins_as_a_pickle_is_answered_in_our_words(hub: Hub, data: bytes) -> None:
    with PlainConnection(connection.Client(str(hub.address), authkey=KEY)) as one:  # type: ignore[attr-defined]
        one.send_bytes(data)
        kind, text = one.recv()
        assert kind == "#TRACEBACK"
        assert text.startswith("QueueError: not a ")
        until_closed(one)
    assert hub.queues().depths() == []


@pytest.mark.parametrize("name", ["shutdown", "debug_info", "number_of_objects", "serve_forever"])
def test_the_server_itself_cannot_be_told(hub: Hub, name: str) -> None:
    with PlainConnection(connection.Client(str(hub.address), authkey=KEY)) as one:  # type: ignore[attr-defined]
        one.send((None, name, (), {}))
        kind, text = one.recv()
    assert kind == "#TRACEBACK"
    assert text == f"QueueError: no such request: {name}"
    assert hub.queues().depths() == []


PlainConnection.__enter__ = lambda self: self  # type: ignore[attr-defined]
PlainConnection.__exit__ = lambda self, *_: self.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("method", ["presence", "ask", "give_orders", "_gone", "__class__", "x"])
def test_only_what_is_exposed_can_be_called(hub: Hub, method: str) -> None:
    client = hub.client()
    with pytest.raises(QueueError, match=f"no such request: {method}"):
        client.call(method)
    assert client.call("depths") == []


@pytest.mark.parametrize(
    "request_",
    [None, 1, "x" * 100, [], (1, 2), ("0", "x", (), {}), ("nobody", "depths", (), {}),
     (["queues"], "depths", (), {}), ("queues", ["depths"], (), {}), ("queues", "depths", 5, {}),
     ("queues", "depths", (), {"x": 1}), ("queues", "depths", (), {3: 1})],
)  # fmt: skip
def test_a_wrong_request_is_refused_and_the_next_is_answered(hub: Hub, request_: object) -> None:
    client = hub.client()
    client.connection.send(request_)
    assert client.connection.recv()[0] == "#TRACEBACK"
    assert client.call("depths") == []


# -- limits ------------------------------------------------------------------------------------


def test_too_large_messages_are_refused(hub: Hub) -> None:
    client = hub.client()
    with pytest.raises(ValueError, match="limit"):
        client.call("put", SCRATCH, b"x" * MAX_MESSAGE_BYTES)
    with raw(hub):  # one that does not look at the limit itself
        one = connection.Client(str(hub.address), authkey=KEY)
        one.send_bytes(pack((None, "accept_connection", ("big",), {})))
        one.recv_bytes()
        try:
            one.send_bytes(b"x" * (MAX_MESSAGE_BYTES + 1))
            with pytest.raises((EOFError, OSError)):
                one.recv_bytes()
        except OSError:
            pass  # refused on its length alone, before all of it was sent
        one.close()
    assert client.call("depths") == []


def test_what_goes_in_comes_out_or_is_refused(hub: Hub) -> None:
    """Nothing lies in a queue that is too large to be taken."""
    queues = hub.queues()
    with pytest.raises(QueueError, match="the limit is"):
        queues.put(b"x" * (MAX_MESSAGE_BYTES - 1000))
    queues.put(b"x" * (MAX_MESSAGE_BYTES // 2 - 100))
    queues.put("small")
    assert len(queues.get()) == MAX_MESSAGE_BYTES // 2 - 100
    assert queues.get() == "small"


def test_a_text_is_not_taken_for_the_bytes_of_an_entry() -> None:
    plain = Put(("one",), ContentKind.PLAIN, b"xx").to_plain()
    plain[2] = "eHg="  # base64 of them
    with pytest.raises(ValueError, match="Expected `bytes`"):
        Put.from_plain(plain)


def test_an_answer_that_is_too_large_is_an_error_and_not_the_end(hub: Hub) -> None:
    client = hub.client()
    for _ in range(3):
        client.call("put", "one", b"x" * 7 * 2**20)
    holder = Holder(client, "one", os.getpid(), "One", None)
    with pytest.raises(QueueError, match="the reply cannot be sent"):
        client.call("take", "one", holder.number, 0, 0.0, 1000, 2**40)
    assert len(holder.take(0, 0.0)) == 1


def test_silent_connections_are_refused_and_do_not_stay(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    handshake = patience(1.5)
    monkeypatch.setattr(server_module, "HANDSHAKE_SECONDS", handshake)
    before = hub.queues()
    began = time.monotonic()
    with ExitStack() as silent:
        connections = [silent.enter_context(raw(hub)) for _ in range(200)]
        wait_for(lambda: hub.server.refused >= 200 - server_module.MAX_CONNECTIONS, what="limit")
        assert hub.sessions() <= server_module.MAX_CONNECTIONS
        before.put("others work on")
        assert before.get() == "others work on"

        def newcomer() -> Queues | None:
            try:
                return hub.queues()
            except QueuesGoneError:
                return None

        refused = newcomer() is None
        assert refused or time.monotonic() - began > handshake
        newer = wait_for(newcomer, 5.0, "a place")
        newer.put("so do newcomers")
        assert newer.get() == "so do newcomers"
        for one in connections[:5]:
            while one.recv(100):
                pass


def test_a_slow_handshake_is_ended(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "HANDSHAKE_SECONDS", 0.5)
    with raw(hub) as slow:
        began = time.monotonic()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while time.monotonic() - began < patience(10):
                slow.sendall(b"\x00")  # of a length that never becomes one
                time.sleep(0.05)
        assert time.monotonic() - began < patience(4)


# -- deaths ------------------------------------------------------------------------------------

TAKER = """
holder = Holder(client, 'one', 1, 'One', None)
print('waiting', flush=True)
while True:
    for entry in holder.take(0, 0.5):
        print('got', flush=True)
"""


def test_a_client_killed_while_it_waits_loses_nothing(hub: Hub) -> None:
    with child(hub, TAKER) as process:
        assert process.stdout
        process.stdout.readline()
        process.kill()
        process.wait()
        hub.queues().put("kept", "one")
        assert len(Holder(hub.client(), "one", 2, "One", None).take(0, 0.0)) == 1


def test_a_person_killed_while_waiting_takes_nothing_along(hub: Hub) -> None:
    """The server's thread that waits for a dead client must not take the next value for it."""
    code = "print('waiting', flush=True)\nwhile True: client.call('get', 'scratch', 0.5)\n"
    queues = hub.queues()
    for number in range(5):
        with child(hub, code) as process:
            assert process.stdout
            process.stdout.readline()
            wait_for(lambda: hub.exchange.work[SCRATCH].waiting, what="the server waits for it")
            process.kill()
            process.wait()
            queues.put(number)
            assert queues.get(timeout=patience(1)) == number


def test_a_death_is_seen_at_once(hub: Hub) -> None:
    with child(hub, TAKER) as process:
        assert process.stdout
        process.stdout.readline()
        presence = hub.exchange.presence("one")
        assert presence
        assert presence.class_name == "One"
        hub.changes.clear()
        os.kill(process.pid, signal.SIGKILL)
        wait_for(lambda: hub.exchange.presence("one") is None, 1.0, "absence")
        wait_for(lambda: hub.changes == ["one"], 1.0, "the master is told")


def test_one_that_went_before_it_was_attached_is_not_present(hub: Hub) -> None:
    client = hub.client()
    client.connection.send(("queues", "attach", ("one", 5, "One", None), {}))
    client.close()
    wait_for(lambda: hub.sessions() == 0, what="connection gone")
    assert hub.exchange.presence("one") is None


def test_a_defect_in_the_master_does_not_blind_the_watcher(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As long as anybody takes to see it waiting.
    monkeypatch.setattr("darc.queues.exchange.MAX_WAIT_SECONDS", patience(10.0))

    def fail(service: str) -> None:
        raise RuntimeError("a defect")

    def go_while_waiting(name: str) -> None:
        """So that the watcher sees it, before the thread that serves it does."""
        client = hub.client()
        holder = Holder(client, name, 1, name, None)
        hub.on_change = fail
        client.connection.send(("queues", "take", (name, holder.number, 0, 1e6), {}))
        wait_for(lambda: hub.exchange.work[name].waiting, what="waiting")
        client.close()

    for name in ("one", "two", "three", "four"):
        hub.on_change = hub.changes.append
        go_while_waiting(name)
        wait_for(lambda: hub.exchange.presence(name) is None, 2.0)  # noqa: B023
    hub.on_change = hub.changes.append


def test_work_goes_on_after_the_server_came_back(hub: Hub) -> None:
    client = hub.client()
    holder = Holder(client, "one", 5, "One", None)
    commit = Commit(puts=(Put(("two",), ContentKind.PLAIN, b"x"),))
    holder.commit(commit, 1)
    hub.stop()
    with pytest.raises(QueuesGoneError):
        holder.heartbeat()
    with pytest.raises(QueuesGoneError):
        hub.client()
    hub.start()
    again = Holder(hub.client(), "one", 5, "One", holder.number)
    assert again.next_sequence == 2
    again.commit(commit, 1)  # as its answer might have been lost
    again.commit(commit, 2)
    assert [depth.entries for depth in hub.queues().depths()] == [2]


# -- what services do --------------------------------------------------------------------------


def test_the_next_holder_gets_what_was_not_completed(hub: Hub) -> None:
    hub.queues().put("work", "one")
    first = Holder(hub.client(), "one", 1, "One", None)
    (entry,) = first.take(0, 0.0)
    second = Holder(hub.client(), "one", 2, "One", None)
    assert second.take(0, 0.0) == [entry]
    for late in (
        first.heartbeat,
        lambda: first.take(0, 0.0),
        lambda: first.commit(Commit(completed=(entry.id,)), 1),
    ):
        with pytest.raises(FencedError):
            late()
    second.commit(Commit(completed=(entry.id,)), 1)
    assert second.take(0, 0.0) == []
    with pytest.raises(OutOfStepError):
        second.commit(Commit(), 7)


def test_a_put_wakes_who_waits(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    # As long as anybody takes to see it waiting.
    monkeypatch.setattr("darc.queues.exchange.MAX_WAIT_SECONDS", patience(10.0))
    holder = Holder(hub.client(), "one", 1, "One", None)
    arrived: list[Any] = []

    def take() -> None:
        arrived.append(holder.take(0, 1e6)[0])

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    wait_for(lambda: hub.exchange.work["one"].waiting, what="it waits")
    hub.queues().put("wake up", "one")
    thread.join(patience(5))
    assert arrived


def query(name: str) -> ServiceQuery:
    return ServiceQuery(QueryKind.ATTRIBUTE, name)


def test_a_question_goes_to_one_service_and_its_answer_to_one_asker(hub: Hub) -> None:
    answers: dict[str, Any] = {}
    holders = {}
    for name in ("one", "two"):
        client = hub.client()
        holders[name] = (client, Holder(client, name, 1, name, None).number)

    def ask(attribute: str) -> None:
        answers[attribute] = hub.exchange.ask("one", query(attribute), patience(5.0))

    client, number = holders["one"]
    version = listen(client, "one", number, 0, 0.0).version
    threads = [threading.Thread(target=ask, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    questions = [listen(client, "one", number, version, 0.5).question for _ in "abc"]
    other, other_number = holders["two"]
    news = listen(other, "two", other_number, version, 0.0)
    assert news.question is None
    for asked in reversed(questions):
        assert asked
        client.call("answer", asked[0], True, f"value of {asked[1].name}")
        client.call("answer", asked[0] + 1000, True, "nobody asked")
    for thread in threads:
        thread.join(patience(5))
    assert {name: question.value for name, question in answers.items()} == {
        name: f"value of {name}" for name in "abc"
    }
    assert hub.exchange.ask("one", query("unheard"), 0.05) is None
    news = listen(client, "one", number, version, 0.0)
    assert news.question is None, "nobody waits for this answer any more"


def test_a_question_that_a_process_took_to_its_death_is_for_the_next_one(hub: Hub) -> None:
    answers: list[Any] = []

    def ask() -> None:
        answers.append(hub.exchange.ask("one", query("asked"), patience(30.0)))

    client = hub.client()
    holder = Holder(client, "one", 1, "One", None)
    version = listen(client, "one", holder.number, 0, 0.0).version
    thread = threading.Thread(target=ask)
    thread.start()
    first = listen(client, "one", holder.number, version, 5.0).question
    client.close()
    again = hub.client()
    holder = Holder(again, "one", 2, "One", None)
    second = listen(again, "one", holder.number, version, 5.0).question
    assert first == second
    assert second
    again.call("answer", second[0], True, "the answer")
    thread.join(patience(5))
    assert [one.value for one in answers] == ["the answer"]


def test_a_question_is_not_for_a_listener_that_has_gone(hub: Hub) -> None:
    holder = Holder(hub.client(), "one", 1, "One", None)
    version = listen(hub.client(), "one", holder.number, 0, 0.0).version
    gone, there = hub.client(), hub.client()
    gone.connection.send(("queues", "listen", ("one", holder.number, version, 10.0), {}))
    wait_for(lambda: hub.listening("one") == 1, what="it listens")
    gone.close()
    heard: list[Any] = []

    def hear() -> None:
        heard.append(listen(there, "one", holder.number, version, 10.0).question)

    thread = threading.Thread(target=hear, daemon=True)
    thread.start()
    wait_for(lambda: hub.listening("one") == 2, what="the other one listens")
    hub.exchange.ask("one", query("asked"), 0.05)
    thread.join(patience(5))
    assert [name.name for _, name in heard] == ["asked"]


@pytest.mark.parametrize("another", [False, True])
def test_the_listener_of_a_process_ends_with_its_lease(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, another: bool
) -> None:
    monkeypatch.setattr("darc.queues.exchange.MAX_LISTEN_SECONDS", patience(30.0))
    client, listener = hub.client(), hub.client()
    holder = Holder(client, "one", 1, "One", None)
    version = listen(listener, "one", holder.number, 0, 0.0).version
    ended: list[str] = []

    def hear() -> None:
        try:
            listen(listener, "one", holder.number, version, 1e6)
        except FencedError as error:
            ended.append(str(error))

    thread = threading.Thread(target=hear, daemon=True)
    thread.start()
    wait_for(lambda: hub.listening("one") == 1, what="it listens")
    if another:
        Holder(hub.client(), "one", 2, "One", None)
    else:
        client.close()
    thread.join(patience(5))
    assert ended == [f"one: holder {holder.number} has been replaced"]


def test_two_people_never_get_the_same(hub: Hub) -> None:
    queues = hub.queues()
    for number in range(60):
        queues.put(number)
    got: list[list[int]] = [[], [], []]

    def take(mine: list[int]) -> None:
        own = hub.queues()
        for _ in range(20):
            mine.append(own.get(timeout=patience(2)))

    threads = [threading.Thread(target=take, args=(mine,)) for mine in got]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(patience(20))
    assert sorted(value for mine in got for value in mine) == list(range(60))


def test_people_take_only_from_the_queue_for_trying_out(hub: Hub) -> None:
    with pytest.raises(QueueError, match="belongs to its service"):
        hub.client().call("get", "processor", 0.0)


@pytest.mark.parametrize("data", [b"\xc1", b"\x93\x01", b"", b"\x00" * 50])
def test_garbage_after_the_handshake_ends_that_client_only(hub: Hub, data: bytes) -> None:
    others = hub.queues()
    client = hub.client()
    client.connection.send_bytes(data)
    with pytest.raises((QueuesGoneError, QueueError)):
        client.call("depths")
    assert others.depths() == []


def test_msgpack_of_other_types_is_refused(hub: Hub) -> None:
    client = hub.client()
    client.connection.send_bytes(msgpack.packb(msgpack.ExtType(77, b"x")))
    with pytest.raises(QueuesGoneError):
        client.call("depths")


# -- what must not end the threads that all depend on ------------------------------------------


def allow(number: int, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the server take so many connections at a time."""
    hub.stop()
    monkeypatch.setattr(server_module, "MAX_CONNECTIONS", number)
    hub.start()


def is_served(hub: Hub) -> bool:
    try:
        return hub.queues().depths() == []
    except QueuesGoneError:
        return False


def test_a_connection_for_which_there_is_no_thread_is_refused_and_the_next_is_served(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, no_more_threads: Callable[[int], None]
) -> None:
    allow(1, hub, monkeypatch)
    no_more_threads(2)
    for _ in range(2):
        with raw(hub) as client:
            assert client.recv(1) == b""
    assert hub.queues().depths() == []
    assert hub.server.refused == 2


def test_a_connection_that_cannot_be_watched_gives_its_place_back(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(1, hub, monkeypatch)

    def none_left(number: int) -> int:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(os, "dup", none_left)
        for _ in range(2):
            with raw(hub) as client:
                assert client.recv(1) == b""
    wait_for(lambda: is_served(hub), what="the place")


def test_the_watcher_goes_on_after_a_defect(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = threading.Event()

    def fail(number: int) -> bool:
        failed.set()
        raise OSError(24, "Too many open files")

    def come_and_go() -> bool:
        # Whether the watcher or the connection's own thread is first is chance.
        with raw(hub):
            wait_for(hub.sessions)
        return failed.is_set()

    with monkeypatch.context() as patch:
        patch.setattr(server_module, "is_hung_up", fail)
        wait_for(come_and_go, what="the watcher failed")
    with raw(hub) as client:
        wait_for(lambda: hub.sessions() == 1, what="the first one to be gone")
        # Its thread waits in the handshake; it is the watcher that ends it.
        (session,) = hub.server.watcher.sessions()
        session.deadline = 0.0
        until_closed_raw(client)
    wait_for(lambda: not hub.sessions())


def test_a_connection_is_shut_down_without_another_descriptor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none_left(number: int) -> int:
        raise OSError(24, "Too many open files")

    here, there = socket.socketpair()
    with here, there:
        monkeypatch.setattr(os, "dup", none_left)
        server_module.shut_down(here.fileno())
        assert there.recv(1) == b""
        assert here.fileno() >= 0
        os.fstat(here.fileno())  # still open


def until_closed_raw(client: socket.socket) -> None:
    while client.recv(1000):
        pass
