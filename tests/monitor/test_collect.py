"""All nodes are asked side by side, and none holds up the others."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import made_up
import pytest
from msgspec.structs import replace
from nodes import free_port, patience, wait_for

from darc.model.overview import NodeOverview, OverviewError, from_text, to_text
from darc.monitor.cluster_watch import ClusterWatch, NodeTarget, ask_node, collect
from darc.node.command_client import Unreached

Answer = Callable[[str], object]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARC_HOME", str(tmp_path))


@contextmanager
def master(name: str, answer: Answer) -> Iterator[NodeTarget]:
    """Something that answers on a command port as a master does."""
    server = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            request = json.loads(connection.makefile().readline())
            reply = answer(request["command"])
            if reply is not None:
                connection.sendall(json.dumps(reply).encode() + b"\n")
            else:
                ended.wait(patience(20.0))

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield NodeTarget(name, "127.0.0.1", server.getsockname()[1])
    finally:
        ended.set()
        server.close()


def told(overview: NodeOverview) -> dict[str, object]:
    return {"status": "Success", "message": {"value": to_text(overview)}}


def now_told(host: str, **changes: object) -> Answer:
    return lambda command: told(made_up.overview(host, now=time.time(), **changes))


def test_an_overview_survives_the_way() -> None:
    for node in made_up.troubled().nodes:
        if node.overview:
            assert from_text(to_text(node.overview)) == node.overview


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "not an overview"),
        ("[]", "format None, not 3"),
        ('{"format": 4}', "format 4, not 3"),
        ('{"format": 1}', "hostname: missing"),
        ('{"format": 2}', "hostname: missing"),
        ("[" * 100_000, "not an overview"),
    ],
)
def test_what_is_no_overview_is_an_error(text: str, match: str) -> None:
    with pytest.raises(OverviewError, match=match):
        from_text(text)


def test_all_are_asked_at_the_same_time() -> None:
    """Nobody is answered before everybody has been asked."""
    together = threading.Barrier(12, timeout=patience(20.0))

    def answer(command: str) -> object:
        together.wait()
        return now_told("x")(command)

    with ExitStack() as stack:
        targets = [stack.enter_context(master(f"n{number}", answer)) for number in range(12)]
        status = collect(targets, 20.0)
    assert [node.name for node in status.nodes] == [target.name for target in targets]
    assert all(node.reached for node in status.nodes)


def test_one_that_does_not_answer_does_not_hold_up_the_others() -> None:
    nowhere = NodeTarget("nowhere", "127.0.0.1", free_port())
    with master("silent", lambda command: None) as silent, master("a", now_told("a")) as good:
        limit = patience(1.0)
        status = collect([silent, nowhere, good], limit)
    states = {node.name: (node.reached, node.reason, node.cause) for node in status.nodes}
    assert states == {
        "silent": (False, f"no answer within {limit:g} s", Unreached.NO_ANSWER),
        "nowhere": (False, "Connection refused", Unreached.REFUSED),
        "a": (True, "", None),
    }
    assert all(node.since is not None for node in status.nodes if not node.reached)


def test_a_host_without_an_address_is_a_cause_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: object, **more: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", unknown)
    node = ask_node(NodeTarget("a", "no-such-host.invalid", 1), 5.0)
    assert (node.reason, node.cause) == ("Name or service not known", Unreached.UNKNOWN_HOST)


def test_a_question_that_goes_wrong_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(*args: object, **more: object) -> None:
        raise RuntimeError("unheard of")

    monkeypatch.setattr("darc.monitor.cluster_watch.request_reply", ask)
    (node,) = collect([NodeTarget("a", "127.0.0.1", 1)], 1.0).nodes
    assert (node.reached, node.reason) == (False, "RuntimeError: unheard of")


def test_a_resolver_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = threading.Event()
    monkeypatch.setattr(
        "darc.monitor.cluster_watch.request_reply",
        lambda *args, **more: hanging.wait(patience(20.0)),
    )
    (node,) = collect([NodeTarget("a", "127.0.0.1", 1)], 0.2).nodes
    assert (node.reached, node.reason) == (False, "no answer within 0.2 s")
    hanging.set()


def test_a_resolver_that_comes_to_hang_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = threading.Event()
    monkeypatch.setattr("darc.monitor.cluster_watch.GRACE_SECONDS", 0.0)
    answers = [told(made_up.overview("a", now=time.time()))]

    def ask(*args: object, **more: object) -> object:
        return answers.pop() if answers else hanging.wait(patience(20.0))

    monkeypatch.setattr("darc.monitor.cluster_watch.request_reply", ask)
    watch = ClusterWatch([NodeTarget("a", "127.0.0.1", 1)], interval=0.1, timeout=0.1)
    reached: list[bool] = []
    watch.on_change = lambda: reached.append(watch.status().nodes[0].reached)
    watch.start()
    wait_for(lambda: reached)
    assert reached == [True]
    wait_for(lambda: not watch.status().nodes[0].reached)
    (node,) = watch.status().nodes
    assert node.reason == "no answer within 0.1 s"
    assert node.overview
    watch.stop()
    hanging.set()


def test_a_node_of_another_version_is_asked_for_its_states() -> None:
    def answer(command: str) -> object:
        if command == "status":
            return {"status": "Success", "message": {"processor": "running"}}
        error = {"error": "No such attribute: overview"}
        return {"status": "Error", "message": error}

    with master("old", answer) as target:
        node = ask_node(target, 5.0)
    assert node.reached
    assert node.states == {"processor": "running"}
    assert "No such attribute" in node.reason


def test_a_node_of_before_values_answers_in_text() -> None:
    overview = made_up.overview("old", now=time.time())
    text = f"DARCMaster.overview after=x within=1 = {to_text(overview)}"
    with master("old", lambda command: {"status": "Success", "message": text}) as target:
        assert ask_node(target, 5.0, after="x", within=1.0).overview == overview


def test_an_answer_of_nonsense_is_a_reason() -> None:
    with master("odd", lambda command: {"status": "Success", "message": {"value": "{}"}}) as target:
        node = ask_node(target, 5.0)
    assert node.overview is None
    assert "format None" in node.reason


@pytest.mark.parametrize("ahead", [0.0, 50.0, -50.0])
def test_how_far_a_clock_is_off(ahead: float) -> None:
    def answer(command: str) -> object:
        return told(made_up.overview("a", now=time.time() + ahead))

    with master("a", answer) as target:
        clock = ask_node(target, 5.0).clock
    assert clock == pytest.approx(ahead, abs=2.0)
    assert ahead or clock == 0.0


def test_a_clock_is_not_off_for_an_answer_that_was_kept_back() -> None:
    overview = made_up.overview("a", now=time.time())
    with master("a", lambda command: told(replace(overview, waited=0.0))) as target:
        # asked half a minute before, by its own account
        late = ask_node(target, 5.0, after="x", within=1.0)
    assert late.clock == pytest.approx(0.0, abs=2.0)
    waited = replace(overview, time=time.time() - 30.0, waited=30.0)
    with master("a", lambda command: told(waited)) as target:
        assert ask_node(target, 5.0).clock < -50.0


def test_it_waits_at_the_node_for_a_change() -> None:
    asked: list[str] = []
    change = threading.Event()

    def answer(command: str) -> object:
        asked.append(command)
        if "after=" in command:
            change.wait(patience(20.0))
        number = "2" if change.is_set() else "1"
        return told(made_up.overview("a", now=time.time(), change=number, waited=9.0))

    with master("a", answer) as target:
        watch = ClusterWatch([target], interval=3600.0, timeout=5.0)
        assert not watch.status().nodes[0].asked
        watch.start()
        wait_for(lambda: len(asked) == 2)
        assert asked == ["get_attr overview", "get_attr overview after=1 within=3600"]
        change.set()

        def known() -> str:
            overview = watch.status().nodes[0].overview
            return overview.change if overview else ""

        wait_for(lambda: known() == "2")
        watch.stop()


def test_a_node_that_goes_is_remembered_and_asked_until_it_returns() -> None:
    port = free_port()
    target = NodeTarget("a", "127.0.0.1", port)
    watch = ClusterWatch([target], interval=0.2, timeout=patience(1.0))
    watch.start()
    wait_for(lambda: watch.status().nodes[0].asked)
    (gone,) = watch.status().nodes
    assert (gone.reached, gone.reason) == (False, "Connection refused")
    assert gone.since is not None
    server = socket.create_server(("127.0.0.1", port))
    threading.Thread(target=answer_once, args=(server,), daemon=True).start()
    wait_for(lambda: watch.status().nodes[0].reached)
    server.close()
    wait_for(lambda: not watch.status().nodes[0].reached)
    (again,) = watch.status().nodes
    assert again.overview
    assert again.since is not None
    assert again.since > gone.since
    wait_for(lambda: watch.status().nodes[0] is not again)
    assert watch.status().nodes[0].since == again.since
    watch.stop()


def answer_once(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        connection.makefile().readline()
        overview = made_up.overview("a", now=time.time())
        connection.sendall(json.dumps(told(overview)).encode() + b"\n")
