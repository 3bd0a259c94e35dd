"""Parts of the master by themselves: the threads that must not end, and the switches."""

from __future__ import annotations

import logging
import socket
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from nodes import free_port, patience

from darc.master.command_port import CommandPort
from darc.master.housekeeping import SupervisorWaker
from darc.master.observation_summaries import prune
from darc.master.periodic_task import PeriodicTask
from darc.master.service_control import ServiceControl
from darc.model.message import Reply
from darc.node.supervisor import Supervisor
from darc.queues.exchange import Exchange, Question
from darc.queues.messages import FullError, QueryKind, ServiceQuery


@pytest.mark.parametrize("error", [sqlite3.OperationalError("disk I/O error"), KeyError("defect")])
def test_a_task_that_fails_goes_on_and_is_said_once(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    failures = threading.Semaphore(0)

    def fail() -> None:
        failures.release()
        raise error

    task = PeriodicTask("what fails", 3600.0, fail)
    task.start()
    for _ in range(3):
        assert failures.acquire(timeout=patience(10))
        task.wake()
    assert failures.acquire(timeout=patience(10))
    task.end()
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert str(error) in caplog.text


def test_the_waker_goes_on_after_a_defect() -> None:
    pokes = threading.Semaphore(0)

    class Broken:
        def poke(self) -> None:
            pokes.release()
            raise ValueError("defect")

    waker = SupervisorWaker(cast(Supervisor, Broken()))
    for _ in range(2):
        waker.wake()
        assert pokes.acquire(timeout=patience(10))


def test_a_command_for_which_there_is_no_thread_is_refused_and_the_next_is_served(
    no_more_threads: Callable[[int], None],
) -> None:
    number = free_port()
    port = CommandPort(
        ("127.0.0.1", number),
        lambda: b"s",
        lambda _: Reply.success("here"),
        lambda _: False,
        (),
        5.0,
        1,
    )
    no_more_threads(2)
    answers = []
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", number), timeout=patience(10)) as client:
            client.sendall(b'{"command": "status"}\n')
            answers.append(client.recv(1000))
    assert [b"try again" in answer for answer in answers] == [True, True, False]
    assert b"here" in answers[2]
    assert port.refused == 2
    port.close()


class FakeExchange:
    """What switching needs: a service that does as it is told, or does not, and a memory."""

    def __init__(self, obeys: bool = True, error: Exception | None = None) -> None:
        self.obeys = obeys
        self.error = error
        self.is_on: bool | None = None
        self.remembered: bool | None = None

    def remember(self, service: str, key: str, value: object) -> None:
        if self.error:
            raise self.error
        if key == "send_events":
            self.remembered = bool(value)

    def ask(self, service: str, query: ServiceQuery, timeout: float) -> Question | None:
        if not self.obeys:
            return None
        assert (query.kind, query.name) == (QueryKind.SWITCH, "send_events")
        self.is_on = query.value
        return Question(1, query, found=True)


@pytest.fixture
def switch() -> Callable[[FakeExchange, bool], bool]:
    def switch(exchange: FakeExchange, value: bool) -> bool:
        unused = cast(Any, None)
        services = ServiceControl(
            unused, cast(Exchange, exchange), ("lofar_trigger",), 1.0, 1.0, 1.0
        )
        return services.switch("lofar_trigger", "send_events", value, "by a test")

    return switch


def test_a_switch_is_told_and_remembered(switch: Callable[[FakeExchange, bool], bool]) -> None:
    for value in (True, False):
        exchange = FakeExchange()
        assert switch(exchange, value)
        assert exchange.is_on is exchange.remembered is value


def test_a_service_that_does_not_answer_is_remembered_as_off_only(
    switch: Callable[[FakeExchange, bool], bool],
) -> None:
    for value, remembered in ((True, None), (False, False)):
        exchange = FakeExchange(obeys=False)
        assert not switch(exchange, value)
        assert exchange.remembered is remembered


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize(
    "error", [FullError("the journal is full"), sqlite3.OperationalError("disk I/O error")]
)
def test_what_cannot_be_remembered_is_off_and_no_success(
    switch: Callable[[FakeExchange, bool], bool],
    value: bool,
    error: Exception,
    caplog: pytest.LogCaptureFixture,
) -> None:
    exchange = FakeExchange(error=error)
    assert not switch(exchange, value)
    assert exchange.is_on is False
    assert "will not outlive a restart" in caplog.text


def test_only_the_oldest_observations_beyond_the_limit_go(tmp_path: Path) -> None:
    names = [f"2026-05-{day:02d}-01:02:03.B0531+21" for day in range(1, 6)]
    for name in (*names, "notes", "2026"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "CB00.parset").write_text("")
    prune(tmp_path, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*names[2:], "notes", "2026"])
    prune(tmp_path, 3)
    assert len(list(tmp_path.iterdir())) == 5
