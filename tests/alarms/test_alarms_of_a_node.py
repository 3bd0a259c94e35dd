"""A real node, a real mail server and a real webhook: what goes wrong is told once, and its end."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from nodes import PYTHON, Node, free_port, patience
from nodes import wait_for as wait_for_seconds

from darc.model.overview import from_text
from darc.queues.plain_connection import unpack
from simulator.mailbox import Mailbox

sys.path.insert(0, str(Path(__file__).parent))

from receivers import Webhook, closes

#: Others may be at work on the same cores.
pytestmark = pytest.mark.timeout(400)
wait_for = partial(wait_for_seconds, timeout=120.0)
TO = "night@example.org"


class Site:
    """A node whose status_website tells a mailbox and a webhook."""

    def __init__(self, made: Node, mailbox: Mailbox, webhook: Webhook) -> None:
        self.node = made
        self.mailbox = mailbox
        self.webhook = webhook

    def alarms(self) -> dict[str, list[str]]:
        found = self.node.value("status_website", "alarms")
        assert isinstance(found, dict)
        return found

    def kinds(self, about: str) -> list[str]:
        """What the webhook took."""
        return [one["kind"] for one in self.webhook.received if about in one["title"]]

    def subjects(self, about: str) -> list[str]:
        """What the mailbox took."""
        found = [str(one.message["Subject"]).strip() for one in self.mailbox.received]
        return [subject for subject in found if about in subject]

    def wait_for_both(self, about: str, kinds: list[str]) -> None:
        wait_for(lambda: len(self.kinds(about)) >= len(kinds), what=str(self.kinds(about)))
        wait_for(lambda: len(self.subjects(about)) >= len(kinds))
        wait_for(lambda: not self.alarms()["waiting"])
        assert self.kinds(about) == kinds
        heads = [f"[DARC testnode] {kind.upper()}: {about}" for kind in kinds]
        assert self.subjects(about) == heads

    def memory(self) -> dict[str, Any]:
        """What the journal has of the alarms."""
        with closing(sqlite3.connect(self.node.run_dir / "journal.sqlite")) as journal:
            query = "SELECT value FROM memory WHERE service = 'status_website' AND key = 'alarms'"
            rows = journal.execute(query).fetchall()
        return dict(unpack(rows[0][0])) if rows else {}

    def unsent(self) -> set[str]:
        """Kinds of receivers for which something waits there."""
        return {key.split()[0] for key in self.memory()["deliveries"]["letters"]}

    def deaths(self) -> int:
        """Of lofar_trigger that are remembered."""
        history = self.memory().get("history", {})
        return int(history.get("testnode lofar_trigger", [0])[0])

    def seen(self, service: str) -> int:
        """The process of a service that the node's overview knows."""
        told = from_text(str(self.node.ask("get_attr", "overview")).partition(" = ")[2])
        return next(one.pid for one in told.services if one.name == service)

    def kill_website(self) -> None:
        pid = self.node.pid("status_website")
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: self.node.pid("status_website") not in (0, pid))
        wait_for(lambda: self.node.states()["status_website"] == "running")


@pytest.fixture
def make_site(make_node: Callable[..., Node]) -> Iterator[Callable[..., Site]]:
    with ExitStack() as stack:

        def make(**alarms: Any) -> Site:
            mailbox = stack.enter_context(Mailbox())
            webhook = stack.enter_context(Webhook())
            services = ["status_website", "lofar_trigger"]
            made = make_node(
                darc_master={
                    "services_master_mix": services,
                    "services_worker_mix": [],
                    "health": {"unresponsive_after": patience(1.5)},
                },
                status_website={"port": free_port()},
                mail={"host": "127.0.0.1", "port": mailbox.port},
                alarms={
                    **{"hold": 1, "hold_minor": 1000, "clear": 3, "gather": 0.5, "timeout": 5},
                    **{"email_settings": {"to": TO}, "webhooks": webhook.url},
                    **alarms,
                },
            )
            sections = made.home / "supervisor"
            sections.mkdir()
            service = f"exec {PYTHON} -P -m darc.services.lofar_trigger"
            (sections / "lofar_trigger.conf").write_text(
                "[program:lofar_trigger]\n"
                f"command=/bin/sh -c \"test -e '{made.home}/in the way' || {service}\"\n"
            )
            made.start()
            return Site(made, mailbox, webhook)

        yield make


FAILED = "lofar_trigger on testnode failed"
HANGS = "lofar_trigger on testnode is unresponsive"
OFTEN = "lofar_trigger on testnode dies again and again"


def give_up(site: Site) -> Path:
    """Have lofar_trigger give up; without the file it can be started again."""
    in_the_way = site.node.home / "in the way"
    in_the_way.touch()
    os.kill(site.node.pid("lofar_trigger"), signal.SIGKILL)
    wait_for(lambda: site.node.states()["lofar_trigger"] == "failed")
    return in_the_way


def test_a_service_that_gave_up(make_site: Callable[..., Site]) -> None:
    """Nothing is told twice by a status_website that is killed between alarm and end."""
    site = make_site(hold=60)
    site.webhook.answers = [500, closes, 302]
    site.mailbox.temporary_failures = 1
    in_the_way = give_up(site)
    site.wait_for_both(FAILED, ["alarm"])
    message = site.webhook.received[0]
    assert message["hosts"] == ["testnode"]
    assert message["items"][0]["command"] == "darc --service lofar_trigger start"
    assert message["page"].startswith("http://127.0.0.1:")
    assert "darc --service lofar_trigger start" in site.mailbox.received[0].message.get_content()
    wait_for(lambda: not site.unsent())
    site.kill_website()
    assert [one.partition(" (")[0] for one in site.alarms()["open"]] == [FAILED]
    in_the_way.unlink()
    site.node.darc("--service", "lofar_trigger", "start")
    site.wait_for_both(FAILED, ["alarm", "over"])
    assert site.alarms() == {"open": [], "waiting": []}
    log = site.node.log("status_website")
    assert "SECRET" not in log
    assert "HTTP 500" in log
    page = (site.node.home / "status" / "status.json").read_text()
    assert "SECRET" not in page


def test_a_service_that_hangs(make_site: Callable[..., Site]) -> None:
    site = make_site()
    pid = site.node.pid("lofar_trigger")
    os.kill(pid, signal.SIGSTOP)
    try:
        site.wait_for_both(HANGS, ["alarm"])
    finally:
        os.kill(pid, signal.SIGCONT)
    site.wait_for_both(HANGS, ["alarm", "over"])


def test_a_service_that_dies_again_and_again_or_is_stopped(
    make_site: Callable[..., Site],
) -> None:
    site = make_site()
    site.node.darc("--service", "lofar_trigger", "stop")
    wait_for(lambda: site.node.states()["lofar_trigger"] == "stopped")
    site.node.darc("--service", "lofar_trigger", "start")
    for number in (1, 2, 3):
        pid = wait_for(lambda: site.node.pid("lofar_trigger"))
        wait_for(lambda: site.node.states()["lofar_trigger"] == "running")
        # One that the node has not seen yet would die unseen.
        wait_for(lambda: site.seen("lofar_trigger") == pid)  # noqa: B023
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: site.node.pid("lofar_trigger") not in (0, pid))  # noqa: B023
        if number < 3:
            wait_for(lambda: site.deaths() == number)  # noqa: B023
            site.kill_website()  # it counts on
    site.wait_for_both(OFTEN, ["alarm"])
    assert len(site.webhook.received) == 1


def test_receivers_that_are_down_get_each_once_later(make_site: Callable[..., Site]) -> None:
    """And those that are not do not wait for them."""
    port = free_port()  # and no connection's of somebody else in between
    with socket.create_server(("127.0.0.1", port)):
        site = make_site(
            webhooks=[f"http://127.0.0.1:{port}/SECRET"],
            email_settings={"to": [TO]},
            timeout=1,
            hold=60,
        )
        give_up(site).unlink()
        wait_for(lambda: site.subjects(FAILED))
        site.node.darc("--service", "lofar_trigger", "start")
        wait_for(lambda: len(site.subjects(FAILED)) == 2)
        waiting = [line for line in site.alarms()["waiting"] if line.startswith("webhook")]
        assert [line.split(": ")[1] for line in waiting] == ["alarm", "over"]
        wait_for(lambda: site.unsent() == {"webhook"})
        site.kill_website()
        assert len(site.alarms()["waiting"]) == 2
    with Webhook(port) as late:
        late.wait_for(2, patience(120.0))
        wait_for(lambda: not site.alarms()["waiting"])
        assert [one["kind"] for one in late.received] == ["alarm", "over"]
    assert len(site.subjects(FAILED)) == 2
    assert "SECRET" not in site.node.log("status_website")
