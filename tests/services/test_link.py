"""The ear hears on, whatever goes wrong."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from nodes import patience

from darc.node.secret import SecretError
from darc.queues.messages import QueryKind, ServiceQuery
from darc.services.base import queue_link
from darc.services.base.queue_link import OrderListener


class Client:
    """A connection on which questions come; each answer is kept."""

    def __init__(self, *attributes: str) -> None:
        queries = (ServiceQuery(QueryKind.ATTRIBUTE, name).to_plain() for name in attributes)
        self.questions = list(enumerate(queries))
        self.answers: list[tuple[Any, ...]] = []
        self.answered = threading.Event()

    def call(self, method: str, *arguments: Any) -> Any:
        if method == "listen":
            question = self.questions.pop(0) if self.questions else None
            if question is None:
                time.sleep(0.01)
            return [1, None, question]
        assert method == "answer"
        self.answers.append(arguments)
        if not self.questions:
            self.answered.set()
        return None


class StubLink:
    """Its connections are made by a function of their number."""

    number = 1

    def __init__(self, connect: Callable[[int], Client]) -> None:
        self.made = 0
        self._connect = connect

    def connect(self) -> Client:
        self.made += 1
        return self._connect(self.made)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_link, "RETRY_SECONDS", 0.001)


def test_an_attribute_that_raises_is_not_found_and_the_next_one_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = Client("broken", "sound")

    def answer(query: ServiceQuery) -> tuple[bool, object]:
        if query.name == "broken":
            raise ZeroDivisionError("no lines yet")
        return True, 7

    OrderListener(StubLink(lambda _: client), "a_service", answer)  # type: ignore[arg-type]
    assert client.answered.wait(patience(10))
    assert client.answers == [(0, False, None), (1, True, 7)]
    assert caplog.messages == ["broken: no answer: ZeroDivisionError: no lines yet"]


@pytest.mark.parametrize("error", [SecretError("open to others"), OSError("EMFILE"), KeyError(3)])
def test_what_goes_wrong_is_said_once_and_it_is_heard_again(
    caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    client = Client("sound")

    def connect(number: int) -> Client:
        if number < 20:
            raise error
        return client

    OrderListener(StubLink(connect), "a_service", lambda _: (True, "7"))  # type: ignore[arg-type]
    assert client.answered.wait(patience(10))
    said = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.getMessage().split(":")[0] for record in said] == [
        "cannot receive orders and questions, trying again"
    ]
