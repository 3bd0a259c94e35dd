"""What a program gets that asks a service of another node for an attribute."""

from __future__ import annotations

from typing import Any

import pytest

from darc.master.attribute_answer import AnswerError, AttributeAnswer
from darc.node import command_client
from darc.node.command_client import ask_attribute

PROCESSING = {"190518009": [3, 4]}


def answered(monkeypatch: pytest.MonkeyPatch, message: object) -> tuple[Any, str]:
    """What is read of a node's answer."""
    reply = {"status": "Success", "message": message}
    monkeypatch.setattr(command_client, "ask", lambda *_, **__: (reply, ""))
    return ask_attribute(1.0, "processor", "processing")


def test_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = AttributeAnswer("processor", "processing", "ProcessorManager", PROCESSING)
    assert answered(monkeypatch, {"processor": answer.to_plain()}) == (PROCESSING, "")


def test_a_node_of_before_answers_in_text(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = AttributeAnswer("processor", "processing", "ProcessorManager", PROCESSING)
    text = "{'ProcessorManager.processing': {'190518009': [3, 4]}}"
    assert answer.to_text() == text
    assert answered(monkeypatch, {"processor": text}) == (PROCESSING, "")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (AnswerError.NOT_RUNNING, "Service not running: processor"),
        (AnswerError.NOT_RESPONDING, "Service not responding: processor"),
        (AnswerError.NO_SUCH_ATTRIBUTE, "No such attribute: processing"),
    ],
)
def test_why_there_is_none(monkeypatch: pytest.MonkeyPatch, error: AnswerError, text: str) -> None:
    answer = AttributeAnswer("processor", "processing", error=error)
    assert answered(monkeypatch, {"processor": answer.to_plain()}) == (None, text)
    assert answered(monkeypatch, {"processor": answer.to_text()}) == (None, text)


def test_a_node_without_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    value, reason = answered(monkeypatch, {"error": "Invalid service: processor"})
    assert value is None
    assert "Invalid service: processor" in reason
