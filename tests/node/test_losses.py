"""What is lost for good on a real node: on the page, in an e-mail, a webhook and the metrics."""

from __future__ import annotations

import json
import socket
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import alerts
import pytest
from nodes import Node, free_port, only, patience
from nodes import wait_for as wait_for_seconds
from triggers import made_trigger

from simulator.mailbox import Mailbox
from simulator.write_parsets import write_observation

sys.path.insert(0, str(Path(__file__).parents[1] / "alarms"))

from receivers import Webhook

#: Others may be at work on the same cores.
pytestmark = pytest.mark.timeout(400)
wait_for = partial(wait_for_seconds, timeout=120.0)
TO = "night@example.org"
DUMP = "testnode: raw data of a trigger were not kept: dada_dbevent took no request in time"
EVENT = "testnode: a VOEvent was not published: the broker did not take it"


class Site:
    """A node, and who hears of it."""

    def __init__(self, made: Node, mailbox: Mailbox, webhook: Webhook) -> None:
        self.node = made
        self.mailbox = mailbox
        self.webhook = webhook

    def problems(self) -> dict[str, dict[str, Any]]:
        """On the page, by title."""
        told = json.loads((self.node.home / "status" / "status.json").read_text())
        return {one["title"]: one for one in told["problems"]}

    def alarms(self, about: str) -> list[dict[str, Any]]:
        return [one for one in self.webhook.received if about in one["title"]]

    def subjects(self) -> list[str]:
        return [str(one.message["Subject"]).strip() for one in self.mailbox.received]

    def metric(self, service: str, kind: str) -> float | None:
        port = self.node.config["metrics"]["port"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            text = answer.read().decode()
        wanted = f'darc_losses_total{{kind="{kind}",service="{service}"}} '
        found = [line for line in text.splitlines() if line.startswith(wanted)]
        return float(found[0].removeprefix(wanted)) if found else None


@pytest.fixture
def broker() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


@pytest.fixture
def site(make_node: Callable[..., Node], broker: int) -> Iterator[Site]:
    with ExitStack() as stack:
        mailbox = stack.enter_context(Mailbox())
        webhook = stack.enter_context(Webhook())
        services = ["status_website", "dada_trigger", "voevent_generator"]
        made = make_node(
            darc_master=only(*services),
            metrics={"port": free_port()},
            dada_trigger={"port_iquv": free_port(), "buffer_length": 0.5},
            voevent_generator={
                **{"send_events": True, "interval": 0.1, "broker_port": broker},
                **{"broker_timeout": 0.5, "give_up_after": patience(1.0)},
            },
            mail={"host": "127.0.0.1", "port": mailbox.port},
            alarms={
                **{"hold": 60, "gather": 0.5, "repeat": 1, "timeout": 5},
                **{"email_settings": {"to": TO}, "webhooks": webhook.url},
            },
        )
        made.start()
        yield Site(made, mailbox, webhook)


def test_people_hear_of_a_lost_dump_and_a_lost_alert(site: Site, tmp_path: Path) -> None:
    """Nobody is at dada_dbevent's port; the broker never answers."""
    node = site.node
    wait_for(lambda: site.metric("dada_trigger", "dump_too_late") == 0.0)
    assert site.problems() == {}
    observation = write_observation(
        tmp_path, task_id="lost1", source="FAKE", start=time.time() - 5.0, duration=3600.0
    )
    reply = node.ask("start_observation", "--parset", str(observation.parset))
    assert reply == "Observation started"
    # It is answered before it is told; the trigger of an observation that nobody knows is no loss.
    wait_for(lambda: alerts.told(node, "dada_trigger", "observations") == ["lost1"])
    trigger = made_trigger(observation="lost1", tarr=time.time() - observation.start)
    alerts.put(node, "dada_trigger", trigger)
    alerts.put(node, "voevent_generator", alerts.trigger(observation="lost1", window=77))

    problem = wait_for(lambda: site.problems().get(DUMP))
    assert problem["grave"]
    assert problem["command"] == "darc --service dada_trigger get_attr losses"
    assert f"lost1: {trigger.identity}: port " in problem["text"]
    assert "Connection refused. Start dada_dbevent on this host" in problem["text"]
    problem = wait_for(lambda: site.problems().get(EVENT))
    assert "lost1: lost1/77/7: " in problem["text"]
    assert "did not reply within" in problem["text"]
    wait_for(lambda: site.alarms(DUMP) and site.alarms(EVENT))
    mails = {f"[DARC testnode] ALARM: {one}" for one in (DUMP, EVENT)}
    wait_for(lambda: mails <= set(site.subjects()))
    wait_for(lambda: site.metric("dada_trigger", "dump_too_late") == 1.0)
    wait_for(lambda: site.metric("voevent_generator", "voevent_given_up") == 1.0)

    # Over the death of the service; and a further loss is news.
    before = alerts.told(node, "dada_trigger", "losses")
    alerts.kill(node, "dada_trigger")
    assert alerts.told(node, "dada_trigger", "losses") == before
    again = made_trigger(observation="lost1", window=10, tarr=time.time() - observation.start)
    alerts.put(node, "dada_trigger", again)
    wait_for(lambda: "2 times, the last: lost1: " + again.identity in site.problems()[DUMP]["text"])
    wait_for(lambda: [one["kind"] for one in site.alarms(DUMP)] == ["alarm", "update"])
    assert again.identity in site.alarms(DUMP)[1]["items"][0]["text"]
    wait_for(lambda: site.metric("dada_trigger", "dump_too_late") == 2.0)
