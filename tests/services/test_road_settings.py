"""Settings of roads: what contradicts itself is refused, and where notices of a tense may go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from darc.config.config import ConfigError
from darc.model.event import RoadName, Tense
from darc.node.node_config import load_config
from darc.services.voevent_generator.settings import VOEventGeneratorSettings


def read(tmp_path: Path, **section: Any) -> VOEventGeneratorSettings:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"voevent_generator": section}))
    found: VOEventGeneratorSettings = load_config(path).section("voevent_generator")
    return found


def test_by_default_voevents_leave_and_nothing_else(tmp_path: Path) -> None:
    found = read(tmp_path)
    assert found.road_names == (RoadName.VTP,)
    assert (found.send_events, found.test, found.send_updates) == (False, True, False)
    assert (found.retract_below, found.test_at, found.needs_notices) == (None, None, False)


@pytest.mark.parametrize(
    ("section", "why"),
    [
        ({"roads": ["kafka"]}, "roads: kafka leads nowhere: kafka.topic and kafka.test_topic"),
        ({"roads": "webhook"}, "roads: webhook leads nowhere"),
        ({"roads": "chat"}, "chat leads nowhere: chat.targets and chat.test_targets are empty"),
        ({"roads": ["pigeon"]}, "'pigeon' is not allowed; allowed: one of vtp, kafka"),
        ({"webhook": {"url": "ftp://s3cr3t"}}, "webhook.url: it is not an address"),
        ({"kafka": {"client": {"sasl.password": "s3cr3t"}}}, "client: sasl.password is secret"),
        (
            {"kafka": {"client": {"sasl.oauthbearer.client.secret": "s3cr3t"}}},
            "a line of it in the file `credentials`",
        ),
        (
            {"kafka": {"client": {"sasl.oauthbearer.assertion.private.key.passphrase": "s3cr3t"}}},
            "a line of it in the file `credentials`",
        ),
        ({"test_at": "noon"}, "test_at: 'noon' is not allowed"),
        ({"retract_below": 1.5}, "retract_below: 1.5"),
    ],
)
def test_what_cannot_be_is_named_without_secrets(
    tmp_path: Path, section: dict[str, Any], why: str
) -> None:
    with pytest.raises(ConfigError) as error:
        read(tmp_path, **section)
    assert why in str(error.value)
    assert "s3cr3t" not in str(error.value)


def test_neither_tests_nor_injections_go_where_bursts_do(tmp_path: Path) -> None:
    own = {
        "kafka": {"topic": "frb"},
        "webhook": {"url": "https://a.example/x"},
        "chat": {"targets": "team"},
    }
    found = read(tmp_path, roads=[str(road) for road in RoadName], **own)
    leads = {
        tense: {str(road) for road in RoadName if found.leads_on(road, tense)} for tense in Tense
    }
    assert leads[Tense.CURRENT] == {"vtp", "kafka", "webhook", "file", "chat"}
    assert leads[Tense.TEST] == {"vtp", "file"}
    assert leads[Tense.INJECTION] == set()
    own["kafka"]["test_topic"] = "frb.test"
    found = read(tmp_path, roads=["kafka"], **own)
    assert found.target(RoadName.KAFKA, Tense.INJECTION) == "frb.test"
    assert found.target(RoadName.KAFKA, Tense.CURRENT) == "frb"
    assert not found.leads_on(RoadName.WEBHOOK, Tense.TEST)
