"""People are told of bursts: what, in which order, and nothing that acts by itself."""

from __future__ import annotations

import importlib.util
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from nodes import patience, wait_for

sys.path.insert(0, str(Path(__file__).parents[1] / "alarms"))

from receivers import Webhook
from test_alerts_of_a_service import Kept, recent, retract

from darc.config.config import ConfigError
from darc.config.settings import ChatSettings
from darc.delivery import chat
from darc.delivery.chat import ChatMessage
from darc.delivery.harmless_text import harmless
from darc.model.event import RoadName, RoadState, Tense
from darc.model.finding import AlertOrder
from darc.node.node_config import load_config
from darc.services.voevent_generator import people_sender
from darc.services.voevent_generator.pending_event import PendingEvent

PICTURE = "TOA9.8414_DM1056.60_DS10_SNR28.png"
PNG = b"\x89PNG\r\n\x1a\n"


class Targets:
    """Stands in for the process that sends: what each target was sent, and whether it takes it."""

    def __init__(self) -> None:
        self.away: dict[str, str] = {}
        self.sent: list[tuple[str, ChatMessage]] = []
        self.tried: list[str] = []
        self.hanging: set[str] = set()
        self.released = threading.Event()

    def send(
        self,
        message: ChatMessage,
        names: Sequence[str],
        settings: ChatSettings,
        heard: Callable[[str, str], None],
    ) -> dict[str, str]:
        self.tried += names
        hanging = [name for name in names if name in self.hanging]
        for name in names:
            if name in hanging:
                continue
            if name not in self.away:
                self.sent.append((name, message))
            heard(name, self.away.get(name, ""))
        if hanging:
            assert self.released.wait(60.0)
        return {name: self.away.get(name, "") for name in names}

    def titles(self, name: str) -> list[str]:
        return [message.title.partition(":")[0] for one, message in self.sent if one == name]


@pytest.fixture
def targets(monkeypatch: pytest.MonkeyPatch) -> Targets:
    made = Targets()
    monkeypatch.setattr(chat, "send", made.send)
    monkeypatch.setattr(people_sender, "PAUSE", 0.0)
    return made


@pytest.fixture
def service(tmp_path: Path) -> Callable[..., Kept]:
    def make(memory: dict[str, Any] | None = None, **rules: Any) -> Kept:
        path = tmp_path / "config.yaml"
        usual = {
            "send_events": True,
            "test": False,
            "roads": ["chat"],
            "send_updates": True,
            "voevent_dir": str(tmp_path / "voevents"),
            "file": {"directory": str(tmp_path / "notices")},
            "chat": {"targets": ["team", "night"]},
        }
        chat_section = {"targets": str(tmp_path / "t"), "results_url": "https://darc.example.org/r"}
        path.write_text(yaml.safe_dump({"voevent_generator": usual | rules, "chat": chat_section}))
        made = Kept(load_config(path))
        if memory is not None:
            made.memory = dict(memory)
            made.departures.recover(memory)
        return made

    return make


def told(one: Kept, id: str, number: int) -> None:
    one.wait_for_state(id, number, RoadState.ACKNOWLEDGED, "chat")


def leaving(one: Kept) -> list[Any]:
    return [plain for key, plain in one.memory.items() if key.startswith("leaving chat")]


def test_each_stage_is_one_message(
    service: Callable[..., Kept], targets: Targets, tmp_path: Path
) -> None:
    one = service(roads=["file", "chat"])
    trigger = recent()
    event = one.announced(trigger)
    told(one, event.id, 1)
    one.wait_for_state(event.id, 1, RoadState.ACKNOWLEDGED, "file")
    picture = tmp_path / PICTURE
    picture.write_bytes(PNG + b"...")
    one.put(one.finding(trigger, snr=60.0, picture=str(picture)))
    told(one, event.id, 2)
    one.put(retract(event))
    told(one, event.id, 3)
    expected = ["Burst", "Update of a burst", "RETRACTED burst"]
    assert targets.titles("team") == targets.titles("night") == expected
    first, update, retraction = [message for name, message in targets.sent if name == "team"]
    assert first.title == f"Burst: S/N {trigger.snr:.1f}, DM 1056.6 pc/cm^3 ({event.id})"
    command = f"To retract it: darc alerts retract {event.id} --reason 'interference'"
    assert command in first.text.splitlines()
    assert command in update.text.splitlines()
    assert "darc alerts retract" not in retraction.text
    assert "Leaves by file." in first.text
    assert "Position: RA 83.6330 deg, Dec +22.0145 deg (ICRS), within 15 arcmin" in first.text
    assert "https://darc.example.org/r/20190518/2019-05-18-23%3A51%3A13.FAKE/" in first.text
    assert "The first notice: file acknowledged." in update.text
    assert "S/N 60.0" in update.text
    assert "measured in the data, probability of a burst 0.9" in update.text
    assert "It was none. Retracted by a person: a satellite" in retraction.text
    assert [bool(message.picture) for message in (first, update, retraction)] == [
        False,
        True,
        False,
    ]
    assert one.said == []


def test_only_you_are_told(service: Callable[..., Kept], targets: Targets) -> None:
    one = service()
    event = one.announced(recent())
    told(one, event.id, 1)
    assert "Leaves by no other road: only you are told" in targets.sent[0][1].text
    assert one.roads["chat"]["acknowledged"] == 1


def test_a_target_that_is_away_keeps_no_other_from_a_retraction(
    service: Callable[..., Kept], targets: Targets
) -> None:
    """And gets the last word alone, when it is back."""
    targets.away = {"night": "HTTP 500"}
    one = service()
    event = one.announced(recent())
    wait_for(lambda: targets.titles("team"))
    one.put(retract(event))
    wait_for(lambda: targets.titles("team") == ["Burst", "RETRACTED burst"])
    one.idle()
    assert f"{event.trigger.identity} (chat): night: HTTP 500" in one.events_waiting
    # The later one first: what it had before has been overtaken.
    (later,) = [item for item in map(PendingEvent.from_plain, leaving(one)) if item.number == 2]
    targets.away = {}
    one.departures.senders.send(later, lambda: True)
    one.idle()
    kept = {item.number: item.taken for item in map(PendingEvent.from_plain, leaving(one))}
    assert set(kept.get(1, ("night", "team"))) == {"night", "team"}  # over a restart, too
    told(one, event.id, 1)
    told(one, event.id, 2)
    assert targets.titles("night") == ["RETRACTED burst"]
    assert targets.titles("team") == ["Burst", "RETRACTED burst"]


def test_who_has_a_message_does_not_get_it_again_after_a_restart(
    service: Callable[..., Kept], targets: Targets
) -> None:
    targets.away = {"night": "HTTP 500"}
    one = service()
    event = one.announced(recent())

    def noted() -> bool:
        one.idle()
        kept = [PendingEvent.from_plain(one.memory[key]) for key in one.memory if "leaving" in key]
        return [item.taken for item in kept] == [("team",)]

    wait_for(noted)
    targets.away, before = {}, dict(one.memory)
    one.departures.withdraw()
    other = service(before)
    told(other, event.id, 1)
    assert (targets.titles("team"), targets.titles("night")) == (["Burst"], ["Burst"])


def test_a_retraction_that_some_have_missed_is_told_to_these_alone(
    service: Callable[..., Kept], targets: Targets
) -> None:
    """However often the configuration is read again, and over a restart."""
    targets.away = {"night": "HTTP 404"}
    rules = {"chat": {"targets": ["team", "night"], "give_up_after": patience(2.0)}}
    one = service(**rules)
    event = one.announced(recent())
    wait_for(lambda: targets.titles("team") == ["Burst"])
    one.put(retract(event))
    one.wait_for_state(event.id, 2, RoadState.GIVEN_UP, "chat")
    one.reloaded()
    one.idle()
    assert leaving(one)
    one.wait_for_state(event.id, 2, RoadState.GIVEN_UP, "chat")
    targets.away = {}
    other = service(dict(one.memory), **rules)
    other.idle()
    told(other, event.id, 2)
    assert targets.titles("team") == ["Burst", "RETRACTED burst"]
    assert targets.titles("night") == ["RETRACTED burst"]


def test_what_is_not_told_in_time_is_a_loss(service: Callable[..., Kept], targets: Targets) -> None:
    targets.away = {"team": "HTTP 404", "night": "HTTP 404"}
    one = service(chat={"targets": ["team", "night"], "give_up_after": patience(0.5)})
    event = one.announced(recent())
    one.wait_for_state(event.id, 1, RoadState.GIVEN_UP, "chat")
    assert one.losses_of("people_not_told") == ["team: HTTP 404; night: HTTP 404"]


def test_a_target_that_is_away_is_not_waited_for_by_each_message(
    service: Callable[..., Kept], targets: Targets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people_sender, "PAUSE", 60.0)
    targets.away = {"night": "not taken within 15 s"}
    one = service()
    for window in range(5):
        one.announced(recent(window=window, ra=10.0 + window, dm_cluster=100.0 * (1 + window)))
    wait_for(lambda: len(targets.titles("team")) == 5)
    assert targets.tried.count("night") == 1


def test_a_target_that_hangs_keeps_nothing_from_others(
    service: Callable[..., Kept], targets: Targets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked for the first message alone as long as it has not answered."""
    monkeypatch.setattr(people_sender, "GRACE", 0.2)
    targets.hanging = {"night"}
    one = service()
    event = one.announced(recent())
    wait_for(lambda: targets.titles("team") == ["Burst"])
    one.put(retract(event))
    wait_for(lambda: targets.titles("team") == ["Burst", "RETRACTED burst"])
    one.idle()
    assert targets.tried.count("night") == 1
    assert f"{event.trigger.identity} (chat): night: not answered yet" in one.events_waiting
    targets.away, targets.hanging = {"night": "not taken within 15 s"}, set()
    targets.released.set()
    wait_for(lambda: targets.tried.count("night") > 1)
    targets.away = {}
    told(one, event.id, 2)
    assert targets.titles("team") == ["Burst", "RETRACTED burst"]
    assert targets.titles("night")[-1] == "RETRACTED burst"


def test_a_picture_that_is_not_taken_keeps_no_text(
    service: Callable[..., Kept], targets: Targets, tmp_path: Path
) -> None:
    one, trigger = service(), recent()
    event = one.announced(trigger)
    told(one, event.id, 1)
    (tmp_path / PICTURE).write_bytes(PNG)
    targets.away = {"night": "HTTP 413"}
    one.put(one.finding(trigger, snr=60.0, picture=str(tmp_path / PICTURE)))
    wait_for(lambda: len(targets.titles("team")) == 2)
    targets.away = {}
    told(one, event.id, 2)
    team, night = targets.sent[-2:]
    assert (team[0], night[0]) == ("team", "night")
    assert (bool(team[1].picture), bool(night[1].picture)) == (True, False)


@pytest.mark.parametrize("name", ["secret", "id_rsa.png", "../" + PICTURE, "link/" + PICTURE])
def test_no_other_file_is_sent(
    service: Callable[..., Kept], targets: Targets, tmp_path: Path, name: str
) -> None:
    """Whatever path comes with a finding."""
    (tmp_path / "id_rsa.png").write_bytes(PNG)
    (tmp_path / "secret").write_bytes(PNG)
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / PICTURE).symlink_to(tmp_path / "secret")
    one, trigger = service(), recent()
    event = one.announced(trigger)
    one.put(one.finding(trigger, snr=60.0, picture=str(tmp_path / name)))
    told(one, event.id, 2)
    assert [message.picture for _, message in targets.sent] == [b""] * 4


def test_tests_and_injections_reach_nobody_unless_configured(
    service: Callable[..., Kept], targets: Targets
) -> None:
    one = service()
    event = one.announced(recent(), test=True)
    one.put(AlertOrder("test", "", "", "me", time.time()))
    one.idle()
    assert not event.first.roads
    assert targets.sent == []
    assert not one.settings.leads_on(RoadName.CHAT, Tense.INJECTION)
    one = service(chat={"targets": "team", "test_targets": "lab"})
    one.put(AlertOrder("test", "", "", "me", time.time()))
    wait_for(lambda: targets.titles("lab"))
    assert [name for name, _ in targets.sent] == ["lab"]
    assert targets.sent[0][1].title.startswith("TEST: no burst")


def test_it_is_logged_where_apprise_is_missing(
    service: Callable[..., Kept], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(chat, "is_installed", lambda: False)
    service().departures.senders.warm_up()
    assert "people cannot be notified of bursts: apprise is not installed" in caplog.text


def test_a_road_that_was_disabled(service: Callable[..., Kept], targets: Targets) -> None:
    one = service(roads=["file", "chat"])
    one.send_chat = False
    event = one.announced(recent())
    one.wait_for_state(event.id, 1, RoadState.ACKNOWLEDGED)
    assert set(event.first.roads) == {RoadName.FILE}
    assert targets.sent == []


def test_a_message_that_cannot_be_made_keeps_no_notice(
    service: Callable[..., Kept], targets: Targets, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> bytes:
        raise KeyError("a defect")

    monkeypatch.setattr("darc.services.voevent_generator.people_text.people_message", broken)
    one = service(roads=["file", "chat"])
    event = one.announced(recent())
    one.wait_for_state(event.id, 1, RoadState.ACKNOWLEDGED)
    assert one.losses_of("cannot_be_told") == ["KeyError: 'a defect'"]


def test_chat_leads_nowhere_without_targets(service: Callable[..., Kept]) -> None:
    with pytest.raises(
        ConfigError, match=r"chat leads nowhere: chat.targets and chat.test_targets"
    ):
        service(chat={})


# -- text of others ------------------------------------------------------------------------------

NASTY = (
    "<!channel> @here @channel @all <@U123> **bold** _it_ ~no~ `code` [x](http://evil.example)"
    " ![i](http://evil.example/i.png) <img src=x onerror=alert(1)> &lt;b&gt; # head || \\*"
    " www.a.org"
)


@given(st.text(max_size=80))
@example(NASTY)
@example("a_b_c _d_ e_ _f")
@example("http://a.b https://x.org/y www.evil.com evil.com")
def test_text_of_others_is_text_and_nothing_else(text: str) -> None:
    markdown_it = pytest.importorskip("markdown_it", reason="the extra `docs` is not installed")
    line = f"Source: {harmless(text)} (probability 1)"
    (block,) = [
        token
        for token in markdown_it.MarkdownIt("gfm-like", {"linkify": False}).parse(line)
        if token.type == "inline"
    ]
    assert {child.type for child in block.children or ()} <= {"text", "text_special"}
    assert not set("@<>&*`[]|\\~#\n\r") & set(harmless(text))
    assert "://" not in line
    assert "www." not in line
    assert line.isprintable()


def test_names_of_sources_stay_legible() -> None:
    for name in ("B0329+54", "FRB 20121102A", "R1_test", "J0332-5434", "3.5 ms", "100%"):
        assert harmless(name) == name
    assert len(harmless("x" * 5000, 200)) == 200


def test_a_source_with_a_nasty_name(service: Callable[..., Kept], targets: Targets) -> None:
    one = service()
    event = one.announced(recent(name="pulsar", src_name=NASTY))
    told(one, event.id, 1)
    _, message = targets.sent[0]
    shown = message.title + message.text.replace("https://darc.example.org", "")
    assert not set("@<>&*`[]|\\~#") & set(shown)


# -- the whole way --------------------------------------------------------------------------------


@pytest.mark.skipif(
    importlib.util.find_spec("apprise") is None, reason="the extra `chat` is not installed"
)
def test_a_burst_reaches_a_chat(service: Callable[..., Kept], tmp_path: Path) -> None:
    with Webhook() as server:
        file = tmp_path / "t"
        file.touch(0o600)
        file.write_text(f"team = mmost://127.0.0.1:{server.port}/abcdef\n")
        one = service(chat={"targets": "team"})
        event = one.announced(recent())
        told(one, event.id, 1)
    (message,) = server.received
    assert message["text"].startswith("Burst: S/N 28.5, DM 1056.6")
    assert f"darc alerts retract {event.id} --reason 'interference'" in message["text"]
