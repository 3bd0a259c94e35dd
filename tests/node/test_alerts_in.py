"""Notices of others on a real node: from a broker to a dump, a fainter trigger, and an e-mail."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import Struct
from nodes import Node, free_port, node, only, patience, send_signal, wait_for

from darc.delivery.kafka_sender import KafkaClient, KafkaSender
from darc.model.candidate import CANDIDATE, records_to_bytes
from darc.queues.client import Holder, QueueClient
from darc.queues.messages import Commit, ContentKind, Put
from simulator.dbevent import DadaDbevent
from simulator.kafka_broker import KafkaBroker
from simulator.mailbox import Mailbox
from simulator.write_parsets import write_observation

SERVICE, TOPIC = "alert_listener", "gcn.notices.chime.frb"
RA, DEC = 83.0, 33.0
RULES = [
    {"name": "deeper", "action": "threshold", "where": "in_beam", "snr_min": 7},
    {"name": "raw data", "action": "dump", "where": "in_beam"},
    {"name": "people", "action": "tell", "where": "anywhere"},
]
WAIT = 20.0


def notice(id: str, **changes: Any) -> bytes:
    at = datetime.fromtimestamp(time.time() - 1.0, UTC).replace(tzinfo=None).isoformat()
    usual = {"id": id, "trigger_time": f"{at}Z", "ra": RA, "dec": DEC, "ra_dec_error": 0.1}
    return json.dumps(usual | changes).encode()


def value(of: Node, attribute: str) -> Any:
    return of.value(SERVICE, attribute)


def uses(of: Node) -> list[str]:
    return sorted(f"{use['id']} {use['rule']}" for use in value(of, "uses") or [])


def put_faint_burst(of: Node, key: str, data_time: float) -> None:
    """As amber_listener would: a line of S/N 8, and watermarks by which its window closes."""
    secret = (of.run_dir / "secret").read_bytes().strip()
    client = QueueClient(of.run_dir / "queues.sock", secret, "test")
    holder = Holder(client, "test", os.getpid(), "Test", None)
    line = np.zeros(1, CANDIDATE)
    line["time"], line["snr"], line["dm"], line["downsampling"] = data_time, 8.0, 700.0, 10
    for content, stamp in ((line, 100.0), (line[:0], 102.0)):
        put = Put(
            ("amber_clustering",), ContentKind.CANDIDATES, records_to_bytes(content), key, stamp
        )
        holder.commit(Commit(puts=(put,)), holder.next_sequence)
    client.close()


class Site(Struct):
    """A node that hears notices, in an observation, and all that it asks."""

    node: Node
    broker: KafkaBroker
    mailbox: Mailbox
    iquv: DadaDbevent
    points: Path
    sender: KafkaSender

    def send(self, *contents: bytes) -> None:
        for content in contents:
            self.sender.send(TOPIC, "key", content)

    def mails(self) -> set[str]:
        """Their Message-IDs: one that left just before a death leaves again, as the same."""
        return {one.message["Message-ID"] for one in self.mailbox.received}


@pytest.fixture(scope="module")
def site(test_run: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    points, directory = (tmp_path_factory.mktemp(name) for name in ("points", "observation"))
    with KafkaBroker() as broker, Mailbox() as mailbox, DadaDbevent(buffer_length=3600.0) as iquv:
        client = {"bootstrap.servers": broker.address, "security.protocol": "plaintext"}
        sender = KafkaSender(KafkaClient("", patience(10.0), client))
        sender.send(TOPIC, "key", notice("before"))
        dumps = {"port_iquv": iquv.port, "port_i": free_port(), "buffer_length": patience(60.0)}
        ours = {
            "topics": [TOPIC],
            "client": client,
            "rules": RULES,
            "email_settings": {"to": "me@example.org"},
        }
        with node(
            test_run,
            darc_master=only(SERVICE, "amber_clustering", "dada_trigger") | {"setup_time": 1.0},
            alert_listener=ours,
            dada_trigger=dumps,
            mail={"host": "127.0.0.1", "port": mailbox.port},
        ) as made:
            made.environment["DARC_FAULT_POINTS"] = str(points)
            made.start()
            start = int(time.time()) - 20
            observed = write_observation(
                directory,
                task_id="alin1",
                source="FAKE",
                start=start,
                duration=3600.0,
                pointing=(RA, DEC),
            )
            iquv.begin(datetime.fromtimestamp(start, UTC).strftime("%Y-%m-%d-%H:%M:%S"))
            reply = made.ask("start_observation", "--parset", str(observed.parset))
            assert reply == "Observation started"
            wait_for(lambda: "alin1" in (value(made, "observations") or []), WAIT)
            wait_for(lambda: value(made, "connected") == 1, WAIT)
            yield Site(made, broker, mailbox, iquv, points, sender)
        sender.close()


def test_notices_act_once_over_deaths_of_the_service_and_of_the_broker(site: Site) -> None:
    of, name = site.node, "<b>%s{0}</b>"
    # It dies between the journal and the broker: the notice comes again.
    (site.points / f"{SERVICE}.before telling the broker").touch()
    evil = [b"[" * 900_000, b'{"id": NaN}', notice("a\x1b[2J"), notice("x", ra="1")]
    site.send(*evil, notice(name))
    wait_for(lambda: not list(site.points.iterdir()), WAIT, "it has died")
    first = sorted(f"{name} {rule['name']}" for rule in RULES)
    wait_for(lambda: uses(of) == first, WAIT)
    wait_for(lambda: len(site.iquv.received) == len(site.mails()) == 1, WAIT)

    # What is faint triggers now, in amber_clustering.
    wait_for(lambda: "S/N of 7 triggers in data of" in of.log("amber_clustering"), WAIT)
    put_faint_burst(of, of.run_key("alin1"), 100.5)
    wait_for(lambda: len(site.iquv.received) == 2, WAIT)
    said = "below the usual threshold: alin1/100/7"
    wait_for(lambda: said in of.log("amber_clustering"), WAIT)

    # Killed while the broker is away; both come back.
    site.broker.stop()
    wait_for(lambda: value(of, "connected") == 0, WAIT)
    send_signal(of.pid(SERVICE), signal.SIGKILL)
    site.broker.start()
    site.send(notice("2", ra=RA + 5), notice(name, alert_type="update"))
    wait_for(lambda: uses(of) == ["2 people", *first], WAIT)
    wait_for(lambda: (value(of, "outcomes") or {}).get("used before"), WAIT)
    wait_for(lambda: len(site.mails()) == 2, WAIT)
    made_of = {row.get("id"): row.get("rules") for row in value(of, "notices")}
    assert made_of["2"]["deeper"] == "waits: not in the beam"
    assert made_of["2"]["raw data"] == "not in the beam"
    assert len(site.iquv.received) == 2
    assert name in site.mailbox.received[0].message.get_content()
    log = of.log(SERVICE)
    assert f"notice of {TOPIC}, id 2: rule people: told 1" in log
    assert "\x1b" not in log
    assert "id before" not in log


def test_doctor_names_the_broker(site: Site) -> None:
    assert f"{site.broker.address} takes connections" in site.node.darc("doctor").stdout
