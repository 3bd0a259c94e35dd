"""What ``darc doctor`` finds out about roads: of a real broker, real files, and none of them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from nodes import free_port, patience

from darc.cli import outside_checks
from darc.cli.check_results import CheckedNode
from darc.config.config import Config
from darc.delivery.kafka_sender import KafkaClient, KafkaSender
from darc.node.node_config import load_config
from darc.runtime.check_result import CheckResult
from darc.services.voevent_generator import checks
from simulator.kafka_broker import KafkaBroker

CANARY = "c4n4ryt0k3n"
Read = Callable[..., Config]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def make(
        alarms: dict[str, Any] | None = None, targets: str | None = None, **own: Any
    ) -> Config:
        path = tmp_path / "config.yaml"
        tree = {"voevent_generator": own, "alarms": alarms or {}, "chat": {"targets": targets}}
        path.write_text(yaml.safe_dump(tree))
        return load_config(path)

    return make


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaBroker]:
    with KafkaBroker() as made:
        client = {"bootstrap.servers": made.address, "security.protocol": "plaintext"}
        sender = KafkaSender(KafkaClient("example.org", patience(10.0), client))
        sender.send("frb", "a", b"{}")  # which makes the topic
        sender.close()
        yield made


def kafka(address: str, **more: Any) -> dict[str, Any]:
    client = {"bootstrap.servers": address, "security.protocol": "plaintext"}
    return {"roads": ["kafka"], "send_events": True, "kafka": {"client": client, **more}}


def told(found: Iterator[CheckResult], verdict: str) -> list[str]:
    return [f"{one.text} -> {one.remedy}" for one in found if one.verdict == verdict]


def test_a_broker_that_knows_the_topic(read: Read, broker: KafkaBroker, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.touch(0o600)
    secret.write_text(f"client_secret = {CANARY}\n")
    config = read(**kafka(broker.address, topic="frb", credentials=str(secret)))
    found = list(checks.kafka(config))
    assert [one.verdict for one in found] == ["OK", "OK"]
    assert found[1].text == f"{broker.address} knows topic frb"
    secret.chmod(0o644)
    (first, *_) = told(checks.kafka(config), "wrong")
    assert "others can read it (mode 0644)" in first
    assert f"chmod 600 {secret}" in first
    assert CANARY not in first


def test_a_topic_that_is_not_known_is_not_made(read: Read, broker: KafkaBroker) -> None:
    config = read(**kafka(broker.address, topic="frb", test_topic="frb.tset"))
    for _ in range(2):
        (wrong,) = told(checks.kafka(config), "wrong")
        assert f"{broker.address} knows no topic frb.tset" in wrong
        assert "voevent_generator.kafka.test_topic" in wrong


@pytest.mark.parametrize(("sends", "verdict"), [(True, "wrong"), (False, "warning")])
def test_a_broker_that_is_away(
    read: Read, sends: bool, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "ANSWER_SECONDS", 1.0)
    where = f"127.0.0.1:{free_port()}"
    config = read(**{**kafka(where, topic="frb"), "send_events": sends})
    (said,) = told(checks.kafka(config), verdict)
    assert said.startswith(f"Kafka at {where}: ")
    assert "start the broker" in said
    assert ("nothing is sent" in said) is not sends


def test_gcn_takes_nobody_without_credentials(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_topics", lambda road, say: iter(()))
    config = read(roads=["kafka"], send_events=True, kafka={"topic": "gcn.notices.x.frb"})
    (said,) = told(checks.kafka(config), "wrong")
    assert "no credentials, without which gcn.nasa.gov takes nothing" in said


@pytest.mark.parametrize("which", [checks.kafka, checks.people])
def test_a_road_that_is_none(which: Callable[[Config], Iterator[CheckResult]], read: Read) -> None:
    assert [one.verdict for one in which(read())] == ["OK"]


def test_without_the_libraries(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (said,) = told(checks.kafka(read(**kafka("127.0.0.1:1", topic="frb"))), "wrong")
    assert said == (
        "confluent_kafka and gcn_kafka not installed: nothing can be sent"
        " -> pip install 'darc[kafka]'"
    )


def test_targets_of_people_and_alarms(read: Read, tmp_path: Path) -> None:
    pytest.importorskip("apprise", reason="the extra `chat` is not installed")
    file = tmp_path / "targets"
    file.touch(0o600)
    file.write_text(f"team = mmost://127.0.0.1/{CANARY}\nbad = nosuch://{CANARY}\n")
    own = {"roads": ["chat"], "send_events": True, "chat": {"targets": ["team", "bad", "none"]}}
    port = free_port()
    alarms = {"chat": "team", "alertmanagers": f"http://127.0.0.1:{port}"}
    config = read(alarms, str(file), **own)
    assert told(checks.people(config), "OK") == ["team: usable -> "]
    wrong = told(checks.people(config), "wrong")
    assert [one.partition(":")[0] for one in wrong] == ["none", "bad"]
    found = list(outside_checks.alarms(CheckedNode(config)))
    assert [one.text for one in found if one.verdict == "OK"] == ["team: usable"]
    assert [one.text for one in found if one.verdict == "wrong"] == [
        f"Alertmanager at 127.0.0.1:{port}: Connection refused"
    ]
    file.chmod(0o644)
    (said, *_) = told(checks.people(config), "wrong")
    assert "others can read it" in said
    assert CANARY not in str(found) + str(wrong) + said


def test_the_checks_are_among_those_of_the_doctor() -> None:
    assert {"Kafka", "people"} <= {one.name for one in outside_checks.outside_checks()}
