"""Threads that must not end, and work that hangs: neither is silent, and nobody else waits."""

from __future__ import annotations

import ast
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from nodes import patience, wait_for

from darc.candidates.classifier.feature_classifier import load_features
from darc.master.commands import CommandVocabulary
from darc.master.housekeeping import KeptSocket
from darc.master.noting_supervisor import NotingSupervisor
from darc.master.periodic_task import PeriodicTask
from darc.model.message import Request
from darc.node.supervisor import SupervisorError
from darc.runtime.detached_work import PLACES, DetachedWork, HangsError
from darc.runtime.fan_out import fan_out
from darc.runtime.paths import packaged
from darc.runtime.python_literals import tree_lock
from darc.runtime.vital_threads import ended_threads, vital
from darc.science.galaxy import load_galaxy_map


@pytest.fixture
def hang() -> Iterator[Callable[[], None]]:
    """Work that hangs until the test is over."""
    over = threading.Event()
    yield lambda: over.wait() and None
    over.set()


# -- threads that must not end ---------------------------------------------------------------------


def fail() -> None:
    raise OverflowError("timestamp too large")


@pytest.mark.parametrize(
    ("target", "stoppable", "error"),
    [
        (fail, False, "OverflowError: timestamp too large"),
        (fail, True, "OverflowError: timestamp too large"),
        (lambda: None, False, "it returned"),
        (lambda: None, True, None),
        (sys.exit, False, "SystemExit: "),
    ],
)
def test_an_end_is_logged_and_kept(
    caplog: pytest.LogCaptureFixture,
    target: Callable[[], None],
    stoppable: bool,
    error: str | None,
) -> None:
    before = len(ended_threads())
    thread = vital("the watcher", target, stoppable=stoppable)
    thread.join(10)
    assert [(one.name, one.error) for one in ended_threads()[before:]] == (
        [] if error is None else [("the watcher", error)]
    )
    assert [record.levelname for record in caplog.records] == (
        [] if error is None else ["CRITICAL"]
    )


def test_a_process_of_no_use_ends_with_its_thread() -> None:
    program = "import time\nfrom darc.runtime.vital_threads import vital\n"
    program += "vital('the watcher', lambda: 1 / 0, or_exit=True)\ntime.sleep(60)"
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False
    )
    assert ended.returncode == 1
    assert "thread the watcher ended: ZeroDivisionError" in ended.stderr


# -- what hangs ------------------------------------------------------------------------------------


def test_what_hangs_is_not_begun_again_and_keeps_nobody_else(hang: Callable[[], None]) -> None:
    apart = DetachedWork()
    with pytest.raises(HangsError, match=r"not finished within 0\.05 s"):
        apart.result("reading a", hang, 0.05)
    with pytest.raises(HangsError, match="it hangs"):
        apart.result("reading a", hang, 0.05)
    assert not apart.begin("reading a", hang)
    assert apart.result("reading b", lambda: 7, 10.0) == 7
    with pytest.raises(ZeroDivisionError):
        apart.result("reading c", lambda: 1 // 0, 10.0)
    others = [f"copying {number}" for number in range(PLACES - 1)]
    assert all(apart.begin(name, hang) for name in others)
    with pytest.raises(HangsError, match=f"{PLACES} other tasks hang"):
        apart.result("reading b", lambda: 7, 10.0)
    assert [one.name for one in apart.longer_than(0.0)] == ["reading a", *others]
    assert apart.longer_than(60.0) == []


def test_a_look_that_hangs_is_named_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    go_on = threading.Event()
    rounds = PeriodicTask("/share/parsets", 0.01, lambda: go_on.wait() and None, hangs_after=0.05)
    assert rounds.hangs_for is None
    rounds.start()
    wait_for(lambda: rounds.hangs_for)
    for _ in range(3):
        rounds.say_if_it_hangs()
    go_on.set()
    wait_for(lambda: rounds.hangs_for is None)
    rounds.say_if_it_hangs()
    rounds.end()
    said = [record.message for record in caplog.records]
    assert len(said) == 2
    assert "/share/parsets: no answer" in said[0]
    assert said[1] == "/share/parsets: answers again"


def test_removed_sockets_come_back_whatever_else_hangs(
    tmp_path: Path, hang: Callable[[], None]
) -> None:
    path = tmp_path / "queues.sock"
    path.touch()
    checks = {"/share/parsets": hang, "queues.sock": KeptSocket(path).check}
    tasks = [PeriodicTask(name, 0.02, check) for name, check in checks.items()]
    for task in tasks:
        task.start()
    path.unlink()
    wait_for(path.exists)
    for task in tasks:
        task.end()


# -- a node that is being stopped ------------------------------------------------------------------


def test_nothing_is_started_any_more_whoever_was_about_to(tmp_path: Path) -> None:
    supervisor = NotingSupervisor(tmp_path / "none.sock", 1.0)
    calls = []
    supervisor.call = lambda *words: calls.append(words)  # type: ignore[method-assign]
    assert supervisor.start("processor")
    supervisor.start_no_more()
    with pytest.raises(SupervisorError, match="the node is being stopped"):
        supervisor.start("processor")
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("command", "service"),
    [("start", "processor"), ("restart", "processor"), ("start_observation", ""), ("reload", "")],
)
def test_a_start_is_refused_in_words(command: str, service: str) -> None:
    class Stopping:
        stopping = True

        class services:  # noqa: N801
            names = ("processor",)

    request = Request(command=command, service=service, payload="/x.parset")
    reply = CommandVocabulary(cast(Any, Stopping())).answer(request)
    assert reply.status == "Error"
    assert "the node is being stopped" in str(reply.message)


def test_fan_out_gives_results_in_the_order_of_the_items() -> None:
    assert list(fan_out(lambda n: -n, [3, 1, 2]).items()) == [(3, -3), (1, -1), (2, -2)]


def test_fan_out_leaves_out_what_takes_too_long() -> None:
    ended = threading.Event()
    try:
        found = fan_out(lambda wait: wait and ended.wait(60), [False, True], timeout=patience(0.5))
        assert found == {False: False}
    finally:
        ended.set()


def test_fan_out_does_so_many_at_a_time() -> None:
    together, most, lock = 0, 0, threading.Lock()
    pair = threading.Barrier(2)

    def work(_: int) -> None:
        nonlocal together, most
        with lock:
            together += 1
            most = max(most, together)
        pair.wait(60)  # two are at work at once
        with lock:
            together -= 1

    fan_out(work, range(10), parallel=2)
    assert most == 2


def test_fan_out_raises_what_the_work_raised() -> None:
    def work(n: int) -> int:
        return 1 // n

    with pytest.raises(ZeroDivisionError):
        fan_out(work, [1, 0])


def test_loggers_that_a_thread_makes_meanwhile_disturb_no_test() -> None:
    # As pytest does before and after each test.
    for number, _ in enumerate(logging.Logger.manager.loggerDict.values()):
        if number < 3:
            logging.getLogger(f"made.meanwhile.{number}")


@pytest.mark.parametrize(
    ("read", "name"), [(load_galaxy_map, "galaxy_ymw16.npz"), (load_features, "classifier.npz")]
)
def test_nobody_builds_a_tree_while_a_file_of_arrays_is_read(
    read: Callable[[Path], Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Built by two threads at once, one may fail (CPython's issue 106905)."""
    path, build, others = packaged(f"conf/{name}"), ast.literal_eval, []

    def building(text: Any) -> Any:
        other = threading.Thread(target=lambda: others.append(tree_lock.acquire(blocking=False)))
        other.start()
        other.join()
        return build(text)

    monkeypatch.setattr(ast, "literal_eval", building)
    read(path)
    assert others
    assert not any(others)
