"""The desk without a node: what is sent when nothing can be remembered, and new settings."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from nodes import patience, wait_for

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "monitor"))

import made_up
from receivers import Webhook, hangs

from darc.config.config import Config, ConfigError
from darc.monitor.alarms.alarm_manager import AlarmManager
from darc.monitor.alarms.alarm_messages import MessageOrigin, for_chat
from darc.monitor.alarms.alarm_states import AlarmItem, AlarmMessage, AlarmStates
from darc.monitor.cluster_watch import ClusterStatus
from darc.monitor.findings import Finding
from darc.monitor.problems import find
from darc.monitor.service_trends import ServiceTrends
from darc.node.node_config import load_config

Configure = Callable[..., Config]


class Cluster:
    """Stands for a publisher: a cluster in which a service has given up, or not."""

    url = None

    def __init__(self) -> None:
        self.history = ServiceTrends()
        self.is_ill = True

    def findings(self) -> tuple[ClusterStatus, list[Finding]]:
        state = "failed" if self.is_ill else "running"
        now = time.time()  # what is older than a day is sent to nobody
        processor = made_up.service("processor", state, now=now)
        cluster = made_up.cluster(made_up.node("arts003", processor, now=now), now=now)
        return cluster, list(find(cluster, made_up.CONTEXT))


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configure:
    monkeypatch.setenv("DARC_HOME", str(tmp_path))
    monkeypatch.setenv("DARC_HOSTNAME", made_up.MASTER)

    def make(**settings: Any) -> Config:
        alarms = {"gather": 0, "timeout": 1, **settings}
        tree = {"alarms": alarms, "chat": {"targets": str(tmp_path / "targets")}}
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(tree))
        return load_config()

    return make


@pytest.fixture
def desks() -> Iterator[list[AlarmManager]]:
    made: list[AlarmManager] = []
    yield made
    for desk in made:
        desk.stop()


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with Webhook() as server:
        yield server


def test_what_cannot_be_remembered_waits_only_a_little(
    configure: Configure,
    desks: list[AlarmManager],
    webhook: Webhook,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = AlarmManager(configure(webhooks=webhook.url), Cluster)
    desks.append(desk)
    monkeypatch.setattr("darc.monitor.alarms.alarm_delivery.UNREMEMBERED_SECONDS", 3600.0)
    desk.start({})
    wait_for(desk.unsaved)
    wait_for(lambda: desk.shown()["waiting"])
    for _ in range(3):
        desk.check()
    assert webhook.asked == []
    monkeypatch.setattr("darc.monitor.alarms.alarm_delivery.UNREMEMBERED_SECONDS", 0.0)
    webhook.wait_for(1, patience(20.0))


def test_what_was_remembered_is_sent_once(
    configure: Configure, desks: list[AlarmManager], webhook: Webhook
) -> None:
    config = configure(webhooks=webhook.url)
    desk = AlarmManager(config, Cluster)
    desks.append(desk)
    webhook.answers = [500]
    desk.check()
    news = desk.unsaved()
    assert news
    desk.stop()
    other = AlarmManager(config, Cluster)
    desks.append(other)
    other.start(news.memory)
    (message,) = webhook.wait_for(1, patience(20.0))
    assert message["title"] == "processor on arts003 failed"
    wait_for(lambda: not other.shown()["waiting"])
    last = other.unsaved()
    assert last
    assert last.memory["deliveries"]["letters"] == {}
    assert len(other.shown()["open"]) == 1


def test_a_receiver_that_hangs_holds_up_nobody_and_can_be_removed(
    configure: Configure, desks: list[AlarmManager], webhook: Webhook
) -> None:
    with Webhook() as slow:
        slow.answers = [hangs] * 100
        desk = AlarmManager(configure(webhooks=[slow.url, webhook.url], timeout=60), Cluster)
        desks.append(desk)
        desk.start({})
        news = wait_for(desk.unsaved)
        desk.remembered(news)
        webhook.wait_for(1, patience(20.0))
        wait_for(lambda: len(desk.shown()["waiting"]) == 1)
        desk.reconfigure(configure(webhooks=webhook.url))
        assert desk.shown()["waiting"] == []


def test_without_receivers_and_when_switched_off(
    configure: Configure, desks: list[AlarmManager]
) -> None:
    desk = AlarmManager(configure(), Cluster)
    desks.append(desk)
    desk.check()
    assert desk.shown()["waiting"] == []
    assert desk.shown()["open"][0].startswith("processor on arts003 failed (since 2")
    off = AlarmManager(configure(enabled=False), Cluster)
    desks.append(off)
    off.check()
    assert off.shown() == {"open": [], "waiting": []}


def test_a_memory_that_cannot_be_read(
    configure: Configure, desks: list[AlarmManager], caplog: pytest.LogCaptureFixture
) -> None:
    desk = AlarmManager(configure(), Cluster)
    desks.append(desk)
    desk.start({"book": 3})
    assert "cannot be read" in caplog.text
    wait_for(lambda: desk.shown()["open"])


def test_settings_that_cannot_be(configure: Configure) -> None:
    with pytest.raises(ConfigError, match="webhooks: number 2 is not a webhook address") as raised:
        configure(webhooks=["https://host/SECRET", "htp://host/SECRET"])
    assert "SECRET" not in str(raised.value)
    with pytest.raises(ConfigError, match=r"alarms\.ignore"):
        configure(ignore=["no host"])


def test_what_could_not_be_sent_is_told_once(
    configure: Configure, desks: list[AlarmManager], webhook: Webhook
) -> None:
    """So that the service counts it as lost."""
    webhook.answers = [500] * 100
    desk = AlarmManager(configure(webhooks=webhook.url, give_up_after=patience(1.0)), Cluster)
    desks.append(desk)
    desk.start({})
    desk.remembered(wait_for(desk.unsaved))
    ((what, why),) = wait_for(desk.given_up, 30.0)
    assert what.startswith("webhook at 127.0.0.1")
    assert what.endswith(": processor on arts003 failed")
    assert "HTTP 500" in why
    assert desk.given_up() == []


def test_a_clock_that_is_set_is_noticed(
    configure: Configure, desks: list[AlarmManager], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An alarm that has to last is not brought forward."""
    cluster = Cluster()
    cluster.is_ill = False
    desk = AlarmManager(configure(hold=30), lambda: cluster)
    desks.append(desk)
    desk.check()
    set_by: list[float] = []
    monkeypatch.setattr(AlarmStates, "clock_was_set", lambda _, by: set_by.append(by))
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600.0)
    desk.check()
    (by,) = set_by
    assert by == pytest.approx(3600.0, abs=10.0)
    desk.check()
    assert len(set_by) == 1


def test_alarms_come_to_the_targets_of_a_chat(
    configure: Configure,
    desks: list[AlarmManager],
    webhook: Webhook,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    pytest.importorskip("apprise", reason="the extra `chat` is not installed")
    file = tmp_path / "targets"
    file.touch(0o600)
    file.write_text(f"night = mmost://127.0.0.1:{webhook.port}/c4n4ryt0k3n\n")
    cluster = Cluster()
    desk = AlarmManager(configure(chat=["night", "nobody"], clear=1), lambda: cluster)
    desks.append(desk)
    desk.start({})
    wait_for(lambda: webhook.received, 30.0)
    text = webhook.received[0]["text"]
    assert text.startswith("[DARC ")
    assert "ALARM: processor on arts003 failed" in text
    assert "darc --host arts003 --service processor start" in text
    assert "Apprise" not in str(webhook.received[0])

    def named() -> bool:
        waiting = [line for line in desk.shown()["waiting"] if line.startswith("chat target")]
        return any(f"{file} has no line for it" in line for line in waiting)

    wait_for(named, 30.0)
    cluster.is_ill = False
    wait_for(lambda: len(webhook.received) > 1 and "OVER" in webhook.received[1]["text"], 30.0)
    assert "c4n4ryt0k3n" not in caplog.text + str(desk.shown())


@pytest.mark.parametrize(
    ("alarms", "why"),
    [
        ({"chat": "night"}, "alarms.chat: targets are named, but chat.targets is null"),
        ({"alertmanagers": "ftp://s3cr3t"}, "alarms.alertmanagers: number 1 is not a web address"),
    ],
)
def test_where_alarms_cannot_go(tmp_path: Path, alarms: dict[str, str], why: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"alarms": alarms}))
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert why in str(error.value)
    assert "s3cr3t" not in str(error.value)


def test_a_log_acts_in_no_chat() -> None:
    item = AlarmItem("processor on arts003 failed", ("arts003",), 0.0, "<!here> @all *x*", "a `b`")
    one = AlarmMessage("1", "1", "alarm", 0.0, "t", ("arts003",), "", True, 0.0, (item,), (item,))
    title, words = for_chat(one, MessageOrigin("arts041", None))
    assert not set("<>@*`") & set(title + words)
    assert "arts003" in words
