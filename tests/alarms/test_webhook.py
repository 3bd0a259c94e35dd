"""Posting to servers that take it, and to such as do not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from nodes import free_port

sys.path.insert(0, str(Path(__file__).parent))

from receivers import Answer, Webhook, closes, drips, hangs

from darc.config.web_address import ALLOWED, is_web_address
from darc.delivery.outbox import DeliveryError
from darc.delivery.webhook import host_of, post


@pytest.fixture
def server() -> Iterator[Webhook]:
    with Webhook() as webhook:
        yield webhook


def test_what_is_posted_arrives(server: Webhook) -> None:
    post(server.url, {"text": "häßlich\n"}, 10.0)
    assert server.received == [{"text": "häßlich\n"}]
    assert server.asked == ["/hooks/SECRET?key=SECRET"]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (500, "HTTP 500"),
        (404, "HTTP 404"),
        (302, "redirects (HTTP 302), not followed"),
        (307, "redirects (HTTP 307), not followed"),
        (closes, "RemoteDisconnected"),
        (hangs, "not sent within 0.5 s"),
        (drips, "not sent within 0.5 s"),
    ],
)
def test_what_is_not_taken_is_said_without_the_secret(
    server: Webhook, answer: Answer, why: str
) -> None:
    server.answers = [answer]
    with pytest.raises(DeliveryError) as raised:
        post(server.url, {"text": "x"}, 0.5)
    assert str(raised.value) == f"webhook at 127.0.0.1:{server.port}: {why}"
    assert not raised.value.permanent
    assert len(server.asked) == 1
    assert raised.value.__cause__ is None


def test_nobody_there() -> None:
    port = free_port()
    with pytest.raises(DeliveryError, match="Connection refused"):
        post(f"http://127.0.0.1:{port}/", {}, 5.0)


@pytest.mark.parametrize(
    "text",
    [
        *("", "localhost", "ftp://host/", "file:///etc/passwd", "https://", "http://host:99999/"),
        *("http://user:password@host/", "http://host/a b", "http://host/\r\nX: y", "http://höst/"),
        *("http://host/#part", "http://[::1", "http://host:0/", "HTTPS:host", "http://host\\x/"),
    ],
)
def test_what_is_no_address(text: str) -> None:
    assert not is_web_address(text)
    with pytest.raises(ValueError, match="not a webhook address") as raised:
        host_of(text)
    assert str(raised.value) == f"not a webhook address; allowed: {ALLOWED}"


def test_what_is_one() -> None:
    assert host_of("https://hooks.example.org/services/T0/B0/x") == "hooks.example.org"
    assert host_of("http://[::1]:8080") == "[::1]:8080"
