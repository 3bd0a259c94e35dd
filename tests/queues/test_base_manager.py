"""A BaseManager of the standard library, where this package is not installed, and ours.

Each client runs in an interpreter of its own: isolated, without installed packages, of every
Python that this machine has.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from multiprocessing import AuthenticationError, ProcessError, connection
from multiprocessing.managers import BaseManager
from typing import Any

import numpy as np
import pytest
from hubs import KEY, Hub
from interpreters import BARE, MINORS, interpreter
from nodes import patience, wait_for

from darc.model.candidate import CANDIDATE, records_to_bytes
from darc.queues import QueueManager, named_queues
from darc.queues.client import Holder, QueuesGoneError
from darc.queues.messages import Commit, ContentKind, Put, QueueError
from darc.queues.named_queues import CANDIDATE_FIELDS, CANDIDATE_LAYOUT
from darc.queues.plain_connection import MAX_MESSAGE_BYTES, pack

SERIALIZERS = ("pickle", "xmlrpclib")
OURS = ("darc", *SERIALIZERS)

BEGIN = """
import importlib.util, json, queue, sys, threading, time
from multiprocessing.managers import BaseManager, RemoteError

assert importlib.util.find_spec("darc") is None
assert importlib.util.find_spec("msgpack") is None

class Queues(BaseManager):
    pass

for name in ("amber_clustering", "processor", "scratch", "amber_clusterin", "queues"):
    Queues.register(name)
manager = Queues(sys.argv[1], b"k" * 64, serializer=sys.argv[2])
manager.connect()

def refused(call, *arguments, **keywords):
    try:
        call(*arguments, **keywords)
    except Exception as error:
        return f"{type(error).__name__}: {str(error).strip(chr(10) + '-')}"
    return "not refused"
"""


def run(hub: Hub, code: str, serializer: str = "pickle", python: str = sys.executable) -> Any:
    """Have a client run, and return what it prints last, which is JSON."""
    result = subprocess.run(
        [python, *BARE, "-c", BEGIN + code, str(hub.address), serializer],
        capture_output=True,
        text=True,
        check=False,
        timeout=patience(30),
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return json.loads(result.stdout.splitlines()[-1])


@pytest.fixture(params=OURS)
def manager(hub: Hub, request: pytest.FixtureRequest) -> QueueManager:
    made = QueueManager(hub.address, KEY, request.param)
    made.connect()
    return made


# -- the standard library's ----------------------------------------------------------------------

ALL_OF_IT = """
amber = manager.amber_clustering()
print(amber)
said = {"at first": [amber.qsize(), amber.empty(), amber.full()]}
get = amber.get
said["nothing"] = [refused(amber.get_nowait), refused(get, False), refused(get, True, 0.2)]
for value in ({"dm": 56.77, "beams": [1, 2, None, True], "é": "\\u2192"}, "two", 3):
    amber.put(value)
said["after three"] = [amber.qsize(), amber.empty()]
said["got"] = [amber.get(), amber.get(timeout=5), amber.get_nowait()]
said["shown"] = [amber.qsize(), amber.empty(), refused(amber.get_nowait)]
said["again"] = manager.amber_clustering().get()
amber.put_nowait(4)
said["next"] = amber.get(True)
said["bytes"] = manager.processor().put(b"\\0x")
said["depths"] = [amber.depths(), sorted(amber.ages())]
said["wrong"] = refused(manager.amber_clusterin)
scratch = manager.scratch()
scratch.put([1, 2])
said["scratch"] = [scratch.get(), scratch.qsize(), refused(scratch.get_nowait)]
said["old name"] = manager.queues().depths()[0][:2]
print(json.dumps(said))
"""


@pytest.mark.parametrize("minor", MINORS)
@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_every_python_as_it_comes(hub: Hub, minor: int, serializer: str) -> None:
    python = interpreter(minor)
    if python is None:
        pytest.skip(f"there is no Python 3.{minor} on this machine")
    said = run(hub, ALL_OF_IT, serializer, python)
    first = {"dm": 56.77, "beams": [1, 2, None, True], "é": "\u2192"}
    empty = "Empty: nothing more on amber_clustering"
    if serializer == "xmlrpclib":  # which carries no exceptions
        empty = f"RemoteError: queue.{empty}"
    assert said == {
        "at first": [0, True, False],
        "nothing": [empty] * 3,
        "after three": [3, False],
        "got": [first, "two", 3],
        "shown": [3, True, empty],
        "again": first,
        "next": 4,
        "bytes": None,
        "depths": [{"amber_clustering": 4, "processor": 1}, ["amber_clustering", "processor"]],
        "wrong": "RemoteError: QueueError: there is no queue 'amber_clusterin' here, did you mean"
        " 'amber_clustering'? There are: amber_clustering, processor, scratch",
        "scratch": [[1, 2], 0, empty.replace("more on amber_clustering", "on scratch")],
        "old name": ["amber_clustering", 4],
    }
    (entry,) = hub.journal.take("processor", 0, 9, 9)
    assert (entry.kind, entry.content) == (ContentKind.PLAIN, pack(b"\0x"))


TYPES = """
amber = manager.amber_clustering()
amber.put((1, [2.5, b"x"], {(1, "a"): None}))
print(json.dumps(repr(amber.get())))
"""


def test_pickles_keep_the_types(hub: Hub) -> None:
    assert run(hub, TYPES) == "(1, [2.5, b'x'], {(1, 'a'): None})"


BAD = """
import datetime, decimal
amber = manager.amber_clustering()
class Mine: pass
bad = [{1}, datetime.date(2026, 1, 1), [1, {"x": 2**70}], "\\ud800", print, [[]] * 300_000]
print(json.dumps([refused(amber.put, value) for value in bad] + [refused(amber.put),
    refused(amber.put, 1, 2, 3, 4), refused(amber.get, timeout=-1), refused(amber.get, timeout="x"),
    refused(manager.amber_clustering, take=1), refused(manager.amber_clustering, 1),
    refused(manager.amber_clustering, datetime.date(2026, 1, 1)),
    refused(amber.put, b"x" * (9 * 2**20)), amber.qsize(), refused(amber._callmethod, "shutdown")]))
"""


def test_what_is_wrong_is_said_in_the_clients_own_words(hub: Hub) -> None:
    told = run(hub, BAD)
    opened = "TypeError: amber_clustering() takes no argument but take=True; without it, get() only"
    timeout = "TypeError: timeout: a number of seconds, at least 0, or None; not"
    starts = [
        "TypeError: a set: queues carry None, booleans, integers of 64 bits, floats, text, bytes,",
        "TypeError: an object, made by datetime.date: queues carry",
        "TypeError: argument 1[1]['x']: an integer of more than 64 bits: queues carry",
        "TypeError: argument 1: text that is not valid Unicode",
        "TypeError: an object, made by builtins.print: queues carry",
        "TypeError: argument 1: more than 1000000 values (a list, tuple or dict counts as 5",
        "TypeError: put(): missing a required argument: 'item'",
        "TypeError: put(): too many positional arguments",
        f"{timeout} -1",
        f"{timeout} 'x'",
        opened,
        opened,
        "TypeError: an object, made by datetime.date",
        "TypeError: the item: 9437189 bytes, the limit is 8388608",
        0,
        "TypeError: no such request: 'shutdown'; a queue has qsize, empty, full, put,",
    ]
    for got, start in zip(told, starts, strict=True):
        assert got == start if type(start) is int else got.startswith(start), (got, start)


def test_too_large_a_message_ends_that_client_alone(hub: Hub) -> None:
    code = "amber = manager.amber_clustering()\n"
    code += f"print(json.dumps(refused(amber.put, b'x' * ({MAX_MESSAGE_BYTES} + 1))))\n"
    assert run(hub, code).split(":")[0] in ("ConnectionResetError", "BrokenPipeError", "EOFError")
    assert hub.queues().depths() == []


def test_another_key(hub: Hub) -> None:
    for serializer in SERIALIZERS:
        stranger = BaseManager(str(hub.address), b"another", serializer)
        with pytest.raises(AuthenticationError):
            stranger.connect()


THREADS = """
amber = manager.amber_clustering()
amber.put(1); amber.put(2)
got = []
threads = [threading.Thread(target=lambda: got.append([amber.get(), amber.get()])) for _ in "abc"]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(json.dumps(got))
"""


def test_each_thread_looks_from_the_beginning(hub: Hub) -> None:
    assert run(hub, THREADS) == [[1, 2]] * 3


WAITING = """
print("waits", flush=True)
print(json.dumps([manager.amber_clustering().get(), manager.amber_clustering().get(timeout=60)]))
"""


def waiting(hub: Hub, name: str) -> bool:
    return bool(hub.exchange.work[name].waiting)


def start(hub: Hub, code: str) -> subprocess.Popen[str]:
    command = [sys.executable, *BARE, "-c", BEGIN + code, str(hub.address), "pickle"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_get_waits_for_what_comes(hub: Hub) -> None:
    with start(hub, WAITING) as process:
        wait_for(lambda: waiting(hub, "amber_clustering"), what="it waits")
        hub.queues().put("came", "amber_clustering")
        output, _ = process.communicate(timeout=patience(20))
    assert json.loads(output.splitlines()[-1]) == ["came"] * 2


def test_who_is_killed_while_it_waits_to_take_takes_nothing(hub: Hub) -> None:
    code = "manager.amber_clustering(take=True).get()\n"
    with start(hub, code) as process:
        wait_for(lambda: waiting(hub, "amber_clustering"), what="it waits")
        process.send_signal(signal.SIGKILL)
    hub.queues().put("kept", "amber_clustering")
    assert [depth.entries for depth in hub.queues().depths()] == [1]
    wait_for(lambda: not waiting(hub, "amber_clustering"), what="nobody waits")
    wait_for(lambda: hub.sessions() == 0, what="its connection is given up")


# -- looking and taking --------------------------------------------------------------------------


def test_looking_takes_nothing_and_the_service_gets_all(hub: Hub, manager: QueueManager) -> None:
    looks = manager.amber_clustering()
    for number in range(3):
        looks.put(number)
    shown = []
    while not looks.empty():
        shown.append(looks.get())
    assert shown == [0, 1, 2]
    assert looks.qsize() == 3
    holder = Holder(hub.client(), "amber_clustering", os.getpid(), "Test", None)
    entries = holder.take(0, 0.0)
    assert [entry.content for entry in entries] == [pack(number) for number in range(3)]
    holder.commit(Commit(completed=tuple(entry.id for entry in entries)), 1)
    assert looks.qsize() == 0
    assert manager.amber_clustering().empty()


def test_a_view_goes_on_where_it_was(hub: Hub, manager: QueueManager) -> None:
    one, other = manager.amber_clustering(), manager.amber_clustering()
    one.put("a")
    assert (one.get(), one.empty()) == ("a", True)
    assert (other.empty(), other.get()) == (False, "a")
    one.put("b")
    assert (one.get(), other.get()) == ("b", "b")
    with pytest.raises(queue.Empty, match="nothing more on amber_clustering"):
        one.get_nowait()


def test_who_looks_at_many_begins_anew_at_some(
    hub: Hub,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a connection costs is bounded."""
    monkeypatch.setattr(named_queues, "MAX_CURSORS", 3)
    manager = QueueManager(hub.address, KEY)
    manager.connect()
    views = [manager.amber_clustering() for _ in range(5)]
    views[0].put("x")
    for view in views:
        assert view.get() == "x"
    assert [view.empty() for view in views] == [False, False, True, True, True]
    (session,) = hub.server.watcher.sessions()
    assert len(session.cursors) == 3


def test_taking_takes(hub: Hub, manager: QueueManager) -> None:
    takes = manager.amber_clustering(take=True)
    for number in range(2):
        takes.put(number)
    assert (takes.get(), takes.qsize(), takes.get_nowait(), takes.empty()) == (0, 1, 1, True)
    with pytest.raises(queue.Empty, match="nothing on amber_clustering"):
        takes.get(timeout=0.01)
    all_of_it = QueueManager(hub.address, KEY, take=True)
    all_of_it.connect()
    takes.put("x")
    assert all_of_it.amber_clustering(take=False).get() == "x"
    assert all_of_it.amber_clustering().get() == "x"
    assert hub.queues().depths() == []


def test_what_a_service_holds_is_not_taken(hub: Hub, manager: QueueManager) -> None:
    """It would be done twice: the service may have it in hand."""
    takes = manager.amber_clustering(take=True)
    takes.put("x")
    client = hub.client()
    Holder(client, "amber_clustering", os.getpid(), "Test", None)
    with pytest.raises(QueueError, match="stop it first: darc --service amber_clustering stop"):
        takes.get()
    assert (takes.qsize(), manager.amber_clustering().get()) == (1, "x")
    client.close()
    wait_for(lambda: hub.exchange.presence("amber_clustering") is None)
    assert takes.get() == "x"


def test_what_cannot_be_sent_is_not_taken(hub: Hub) -> None:
    hub.queues().put({1: "a key that XML does not know"}, "processor")
    in_xml = QueueManager(hub.address, KEY, "xmlrpclib", take=True)
    in_xml.connect()
    with pytest.raises(
        QueueError, match="not taken, as it cannot be sent: XML allows only text as"
    ):
        in_xml.processor().get()
    pickled = QueueManager(hub.address, KEY, "pickle", take=True)
    pickled.connect()
    assert pickled.processor().get() == {1: "a key that XML does not know"}


def test_what_services_put_is_shown_as_what_it_is(hub: Hub, manager: QueueManager) -> None:
    assert np.dtype(CANDIDATE).names == CANDIDATE_FIELDS
    records = np.array([(5, 10, 1.5, 56.77, 12.5), (6, 20, 2.5, 57.0, 9.0)], CANDIDATE)
    assert records.tobytes() == b"".join(
        __import__("struct").pack(CANDIDATE_LAYOUT, *row) for row in records.tolist()
    )
    names = ("processor",)
    for put in (
        Put(names, ContentKind.CANDIDATES, records_to_bytes(records), "190518009/1"),
        Put(names, ContentKind.TRIGGERS, pack([{"dm": 56.77}]), "190518009/1"),
        Put(names, ContentKind.END, b"", "190518009/1"),
        Put(names, ContentKind.CANDIDATES, b"x"),
    ):
        hub.journal.put(put)
    looks = manager.processor()
    rows = [dict(zip(CANDIDATE_FIELDS, row, strict=True)) for row in records.tolist()]
    told = {"observation": "190518009/1"}
    assert looks.get() == {"kind": "candidates", "candidates": rows, **told}
    assert looks.get() == {"kind": "triggers", "triggers": [{"dm": 56.77}], **told}
    assert looks.get() == {"kind": "end", **told}
    with pytest.raises(QueueError, match="an entry without valid candidates"):
        looks.get()
    assert looks.empty()


def test_a_full_journal(hub: Hub, manager: QueueManager) -> None:
    amber = manager.amber_clustering()
    amber.put("before")
    hub.journal.set_max_bytes(2**17)
    with pytest.raises(queue.Full):
        amber.put_nowait(b"x" * 2**20)
    assert amber.full()
    for refused in (
        lambda: amber.put_nowait("x"),
        lambda: amber.put("x", block=False),
        lambda: amber.put("x", timeout=0.2),
    ):
        with pytest.raises(queue.Full, match="the journal is full: it refuses new entries until"):
            refused()
    putting = threading.Thread(target=amber.put, args=("waited",), daemon=True)
    putting.start()
    wait_for(lambda: hub.sessions() == 2, what="it tries")
    hub.journal.set_max_bytes(2**28)
    putting.join(patience(10))
    assert not putting.is_alive()
    assert amber.qsize() == 2


# -- QueueManager -------------------------------------------------------------------------------


def test_ours_is_one_of_the_standard_librarys(hub: Hub, manager: QueueManager) -> None:
    assert isinstance(manager, BaseManager)
    with QueueManager(str(hub.address), KEY) as one:
        assert str(one.processor()) == "<queue processor: 0 entries>"
        with pytest.raises(QueueError, match="there is no queue 'procesor' here, did you mean"):
            one.procesor()
        with pytest.raises(TypeError, match="takes no argument but take=True"):
            one.processor(take="yes")
        with pytest.raises(TypeError, match="only plain types"):
            one.processor().put(object())
        with pytest.raises(TypeError, match="timeout: a number of seconds"):
            one.processor().get(timeout=-1)
        with pytest.raises(ProcessError, match="darc_master"):
            one.start()
        with pytest.raises(AttributeError):
            one._nothing  # noqa: B018, SLF001 - there is no such member

    class Registered(QueueManager):
        pass

    Registered.register("processor")
    registered = Registered(hub.address, KEY, "pickle")
    registered.connect()
    registered.processor().put(1)
    assert (registered.processor().get(), registered.processor().qsize()) == (1, 1)


def test_ours_goes_on_with_the_next_master(hub: Hub, manager: QueueManager) -> None:
    amber = manager.amber_clustering()
    amber.put("x")
    assert amber.get() == "x"
    hub.stop()
    with pytest.raises(QueuesGoneError):
        amber.qsize()
    with pytest.raises(QueuesGoneError):
        amber.qsize()
    hub.start()
    assert amber.get() == "x"  # from the beginning


def test_an_answer_that_was_not_waited_for_is_not_that_of_the_next(
    hub: Hub,
    manager: QueueManager,
) -> None:
    amber = manager.amber_clustering()
    amber.qsize()
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    with pytest.raises(KeyboardInterrupt):
        amber.get()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    hub.queues().put("x", "amber_clustering")
    assert amber.qsize() == 1


# -- what came before ------------------------------------------------------------------------------

#: What a client of DARC 0.1 sends, and what it is answered, to the byte.
OLD: dict[str, list[tuple[str, str]]] = {
    "dummy": [("c70c0194c0a564756d6d79d4019080", "c70a0192a72352455455524ec0")],
    "no such request": [
        (
            "c70f0194c0a873687574646f776ed4019080",
            pack(("#TRACEBACK", "QueueError: no such request: shutdown")).hex(),
        )
    ],
    "incref": [("c7140194c0a6696e63726566d70191a671756575657380", "c70a0192a72352455455524ec0")],
    "decref": [("c7140194c0a6646563726566d70191a671756575657380", "c70a0192a72352455455524ec0")],
    "a session": [
        (
            "c7250194c0b16163636570745f636f6e6e656374696f6ec70d0191ab4d61696e50726f6365737380",
            "c70a0192a72352455455524ec0",
        ),
        (
            "c7250194a6717565756573a3707574c7150192a77363726174636881a466726f6dd60192a1610180",
            "c70a0192a72352455455524ec0",
        ),
        (
            "c7220194a6717565756573a3676574c7120192a773637261746368cb3fe000000000000080",
            pack(("#RETURN", [{"from": ("a", 1)}])).hex(),
        ),
        (
            "c70e0194a6717565756573a178d4019080",
            pack(("#TRACEBACK", "QueueError: no such request: x")).hex(),
        ),
        (
            "c7130194a66e6f626f6479a6646570746873d4019080",
            pack(("#TRACEBACK", "KeyError: 'nobody'")).hex(),
        ),
    ],
}


@pytest.mark.parametrize("name", OLD)
def test_old_clients_bytes(hub: Hub, name: str) -> None:
    with connection.Client(str(hub.address), authkey=KEY) as client:
        for sent, answered in OLD[name]:
            client.send_bytes(bytes.fromhex(sent))
            assert client.recv_bytes().hex() == answered
