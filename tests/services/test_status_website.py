"""The status page: what is shown of a node, and that all are asked at the same time."""

from __future__ import annotations

import re
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from darc.node.configuration import load_config
from darc.services.status_website import NodeStatus, Round, ServiceStatus, StatusWebsite

EVIL = "<script>alert('x')</script>"


def node(host: str, **states: str) -> NodeStatus:
    return NodeStatus(host, tuple(ServiceStatus(name, state) for name, state in states.items()))


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (node("a", one="running", two="running"), "good"),
        (node("a", one="running", two="starting"), "bad"),
        (node("a", one="running", two="stopped"), "bad"),
        (node("a", one="unresponsive"), "bad"),
        (node("a", one="failed"), "bad"),
        (node("a", one="stopping"), "bad"),
        (NodeStatus("a", reason="no answer"), "unknown"),
    ],
)
def test_green_is_running_alone(status: NodeStatus, verdict: str) -> None:
    assert status.verdict == verdict


@pytest.fixture
def website(tmp_path: Path) -> StatusWebsite:
    path = tmp_path / "config.yaml"
    path.write_text(f"status_website: {{web_dir: {tmp_path}/web, interval: 7}}\n")
    return StatusWebsite(load_config(path))


def test_names_and_reasons_are_shown_and_never_markup(website: StatusWebsite) -> None:
    text = website._render(
        [NodeStatus(EVIL, reason=EVIL), node(f'"{EVIL}', **{EVIL: EVIL}), node("arts041")]
    )
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 5
    assert text.count("<section") == 3


def test_a_page_says_when_it_was_written(website: StatusWebsite) -> None:
    text = website._render([node("arts041", one="running")])
    found = re.search(r'Last update: <time datetime="([^"]+)">', text)
    assert found
    age = datetime.now(UTC) - datetime.fromisoformat(found[1])
    assert -1 <= age.total_seconds() < 10
    assert "every 7 s" in text


def test_a_page_that_cannot_be_written_leaves_the_one_before(website: StatusWebsite) -> None:
    website._write("one")
    website.page.with_suffix(".new").mkdir()
    with pytest.raises(OSError, match="directory"):
        website._write("two")
    assert website.page.read_text() == "one"


def test_all_nodes_are_asked_at_the_same_time() -> None:
    """Nobody is answered before everybody has been asked."""
    together = threading.Barrier(20, timeout=10.0)
    hosts = [f"host{number}" for number in range(20)]

    def ask(host: str) -> NodeStatus:
        together.wait()
        return node(host, one="running")

    answers = Round(hosts, ask).answers(10.0)
    assert answers is not None
    assert [answer.host for answer in answers] == hosts


def test_a_question_that_goes_wrong_does_not_hold_up_the_page() -> None:
    def ask(host: str) -> NodeStatus:
        raise RuntimeError("unheard of")

    answers = Round(["a"], ask).answers(10.0)
    assert answers is not None
    assert (answers[0].verdict, answers[0].reason) == ("unknown", "RuntimeError: unheard of")
