"""Bursts announced by every road of a real service: Kafka, a webhook, files; and what follows."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import alerts
import pytest
from alerts import Outcomes, of_same_pulse, put, put_values, told, trigger, wait_until_done
from msgspec import Struct
from msgspec.structs import replace
from nodes import Node, node, only, patience, wait_for
from voevents import kept_copy, read_event

from darc.model.finding import BurstFinding
from darc.model.notice import arrival_at_top
from darc.model.trigger import Trigger
from darc.model.voevent import ObservationSetup
from darc.node.secret import read_secret
from darc.queues.client import QueueClient
from darc.services.voevent_generator.notice_schema import check_notice
from simulator.kafka_broker import ConsumedMessage, KafkaBroker, TopicReader

sys.path.insert(0, str(Path(__file__).parents[1] / "alarms"))

from receivers import Webhook

SERVICE = "voevent_generator"
TOPIC, TEST_TOPIC = "gcn.notices.arts.frb", "gcn.notices.arts.frb.test"
WAIT = 30.0
SECRET = "a-secret-of-the-client-0123456789"


class Site(Struct):
    """A node with nothing but the service, and all that it tells."""

    node: Node
    broker: KafkaBroker
    webhook: Webhook
    points: Path

    def put(self, *triggers: Trigger) -> None:
        put(self.node, SERVICE, *triggers)

    def events(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = told(self.node, SERVICE, "events")
        return found

    def event(self, one: Trigger) -> dict[str, Any]:
        """The event of a trigger, once it is announced."""

        def look() -> Any:
            events = told(self.node, SERVICE, "events") or []
            return next((event for event in events if event["trigger"] == one.identity), None)

        found: dict[str, Any] = wait_for(look, WAIT, f"the event of {one.identity}")
        return found

    def wait_for_state(self, one: Trigger, number: int, road: str, state: str) -> None:
        def reached() -> bool:
            notices = self.event(one)["notices"]
            return len(notices) >= number and notices[number - 1]["roads"].get(road) == state

        wait_for(reached, WAIT, f"notice {number} of {one.identity} on {road} {state}")

    def files(self, event: str) -> list[dict[str, Any]]:
        paths = sorted((self.node.home / "notices").glob(f"{event}.*.json"))
        return [json.loads(path.read_bytes()) for path in paths]

    def command(self, words: str) -> Any:
        return alerts.command(self.node, words)

    def reload(self, **settings: Any) -> None:
        alerts.reload(self.node, SERVICE, **{SERVICE: settings})


@pytest.fixture(scope="module")
def module_site(test_run: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    points = tmp_path_factory.mktemp("points")
    with KafkaBroker() as broker, Webhook() as webhook:
        secret = points / "kafka"
        secret.write_text(f"client_secret = {SECRET}\n")
        secret.chmod(0o600)
        kafka = {
            "topic": TOPIC,
            "test_topic": TEST_TOPIC,
            "client": {
                "bootstrap.servers": broker.address,
                "security.protocol": "plaintext",
                "reconnect.backoff.max.ms": 200,
            },
            "credentials": str(secret),
            "timeout": 2.0,
        }
        ours = {
            "send_events": True,
            "test": False,
            "interval": 0.3,
            "roads": ["kafka", "webhook", "file"],
            "kafka": kafka,
            "webhook": {"url": webhook.url, "test_url": f"{webhook.url}&test=1"},
            "retract_below": 0.1,
        }
        with node(test_run, darc_master=only(SERVICE), voevent_generator=ours) as made:
            made.environment["DARC_FAULT_POINTS"] = str(points)
            made.start()
            yield Site(made, broker, webhook, points)


@pytest.fixture
def site(module_site: Site) -> Iterator[Site]:
    """The module's, with the settings of before once the test is over."""
    with alerts.settings_kept(module_site.node, SERVICE):
        yield module_site
        module_site.broker.start()
        module_site.broker.answer_after(0.0)
    wait_for(lambda: told(module_site.node, SERVICE, "events_waiting") == [], WAIT)


@pytest.fixture
def reader(site: Site) -> Iterator[TopicReader]:
    made = TopicReader(site.broker.address, [TOPIC, TEST_TOPIC])
    yield made
    made.close()


def about(reader: TopicReader, event: str, count: int) -> list[ConsumedMessage]:
    """The messages about an event, once they are so many; all are valid notices."""
    found: list[ConsumedMessage] = []

    def came() -> bool:
        found[:] = [one for one in reader.look() if one.key == event]
        return len(found) >= count

    wait_for(came, WAIT, f"{count} messages about {event}")
    for one in found:
        check_notice(one.value)
    return found


def kinds(messages: list[ConsumedMessage]) -> list[str]:
    return [json.loads(one.value)["alert_type"] for one in messages]


# -- one event, several roads ------------------------------------------------------------------


def test_one_event_leaves_by_all_roads_with_the_same_bytes(site: Site, reader: TopicReader) -> None:
    outcomes = Outcomes(site.node, SERVICE)
    one = trigger(dm=610.0)
    # A second worker's trigger of the same burst, later: there is one initial.
    site.put(one)
    event = site.event(one)["id"]
    site.put(of_same_pulse(one, snr=19.0))
    (message,) = about(reader, event, 1)
    assert message.topic == TOPIC
    notice = json.loads(message.value)
    assert (notice["alert_type"], notice["alert_tense"]) == ("initial", "current")
    assert (notice["id"], notice["dm"]) == (event, 610.0)
    for road in ("kafka", "webhook", "file"):
        site.wait_for_state(one, 1, road, "acknowledged")
    assert (site.node.home / "notices" / f"{event}.1.json").read_bytes() == message.value
    assert notice in site.webhook.received
    outcomes.expect({"accepted": 1, "of a pulse announced before": 1})
    # The VOEvent is kept, and left by no road.
    kept = read_event(kept_copy(site.node.home / "voevents", f"{one.utc}.xml"))
    assert kept.get("role") == "observation"
    assert kinds(about(reader, event, 1)) == ["initial"]


def test_a_test_goes_to_its_own_topic_and_address(site: Site, reader: TopicReader) -> None:
    one = trigger(dm=620.0, test=True)
    site.put(one)
    event = site.event(one)["id"]
    (message,) = about(reader, event, 1)
    assert message.topic == TEST_TOPIC
    assert json.loads(message.value)["alert_tense"] == "test"
    site.wait_for_state(one, 1, "webhook", "acknowledged")
    assert site.webhook.asked[-1].endswith("&test=1")


def test_without_a_topic_for_tests_no_test_is_published(site: Site, reader: TopicReader) -> None:
    site.reload(roads=["kafka"], kafka={**site.node.config[SERVICE]["kafka"], "test_topic": None})
    outcomes = Outcomes(site.node, SERVICE)
    one = trigger(dm=630.0, test=True)
    site.put(one)
    outcomes.expect({"no road for it": 1})
    burst = trigger(dm=640.0)
    site.put(burst)
    about(reader, site.event(burst)["id"], 1)
    assert not [message for message in reader.look(0.5) if b"630.0" in message.value]


def test_a_notice_that_is_not_valid_is_a_loss_and_not_sent(site: Site, reader: TopicReader) -> None:
    outcomes = Outcomes(site.node, SERVICE)
    wrong = trigger(dm=650.0, importance=7.0)
    site.put(wrong)
    outcomes.expect({"no road for it": 1})
    (loss,) = told(site.node, SERVICE, "losses")["notice_invalid"]["last"]
    assert (loss["what"], "importance: 7.0" in loss["why"]) == (wrong.identity, True)
    assert told(site.node, SERVICE, "notices")["notice invalid"] == 1
    good = trigger(dm=651.0)
    site.put(good)
    about(reader, site.event(good)["id"], 1)
    assert not [message for message in reader.look(0.5) if b"650.0" in message.value]


# -- brokers and deaths ------------------------------------------------------------------------


def test_a_broker_that_is_away_gets_it_when_it_is_back_whoever_dies(
    site: Site, reader: TopicReader
) -> None:
    site.broker.stop()
    one = trigger(dm=700.0)
    site.put(one)
    event = site.event(one)["id"]
    # Others do not wait for it.
    site.wait_for_state(one, 1, "file", "acknowledged")
    wait_for(lambda: "Kafka at" in str(told(site.node, SERVICE, "events_waiting")), WAIT)
    alerts.kill(site.node, SERVICE)
    assert site.event(one)["notices"][0]["roads"]["kafka"] == "waiting"
    site.broker.start()
    (message,) = about(reader, event, 1)
    site.wait_for_state(one, 1, "kafka", "acknowledged")
    (file,) = site.files(event)
    assert json.loads(message.value) == file


def test_killed_between_sending_and_noting_it_sends_the_same_again(
    site: Site, reader: TopicReader
) -> None:
    pid = site.node.pid(SERVICE)
    site.reload(roads=["kafka"])
    one = trigger(dm=710.0)
    (site.points / f"{SERVICE}.after sending").touch()
    site.put(one)
    alerts.wait_for_successor(site.node, SERVICE, pid)
    messages = about(reader, site.event(one)["id"], 2)
    assert len({(message.key, message.value) for message in messages}) == 1
    site.wait_for_state(one, 1, "kafka", "acknowledged")


def test_killed_before_sending_it_is_announced_once(site: Site, reader: TopicReader) -> None:
    pid = site.node.pid(SERVICE)
    one = trigger(dm=720.0)
    (site.points / f"{SERVICE}.before sending").touch()
    site.put(one)
    alerts.wait_for_successor(site.node, SERVICE, pid)
    event = site.event(one)["id"]
    about(reader, event, 1)
    site.wait_for_state(one, 1, "kafka", "acknowledged")
    assert len(about(reader, event, 1)) == 1


def test_an_acknowledgement_that_comes_late_does_not_double_it(
    site: Site, reader: TopicReader
) -> None:
    site.reload(kafka={**site.node.config[SERVICE]["kafka"], "timeout": patience(5.0)})
    # To each request: five of them are made until a message is acknowledged on a new connection.
    site.broker.answer_after(0.5)
    one = trigger(dm=730.0)
    site.put(one)
    site.wait_for_state(one, 1, "kafka", "acknowledged")
    site.broker.answer_after(0.0)
    assert len(about(reader, site.event(one)["id"], 1)) == 1


def test_disabled_while_it_waits_it_never_leaves(site: Site, reader: TopicReader) -> None:
    site.broker.stop()
    one = trigger(dm=740.0)
    site.put(one)
    wait_for(lambda: "Kafka at" in str(told(site.node, SERVICE, "events_waiting")), WAIT)
    assert site.command("alerts_disable kafka") == "Alerts: kafka disabled"
    wait_for(lambda: told(site.node, SERVICE, "events_waiting") == [], WAIT)
    assert told(site.node, SERVICE, "roads")["kafka"]["enabled"] is False
    site.broker.start()
    other = trigger(dm=741.0)
    site.put(other)
    site.wait_for_state(other, 1, "file", "acknowledged")
    assert "kafka" not in site.event(other)["notices"][0]["roads"]
    alerts.kill(site.node, SERVICE)  # the switch outlives that
    assert told(site.node, SERVICE, "send_kafka") is False
    assert site.command("alerts_enable kafka") == "Alerts: kafka enabled"
    last = trigger(dm=742.0)
    site.put(last)
    about(reader, site.event(last)["id"], 1)
    found = [json.loads(message.value)["dm"] for message in reader.look(0.5)]
    assert not {740.0, 741.0} & set(found)


def test_a_road_that_is_removed_withdraws_and_one_that_is_added_begins(
    site: Site, reader: TopicReader
) -> None:
    site.broker.stop()
    one = trigger(dm=750.0)
    site.put(one)
    wait_for(lambda: "Kafka at" in str(told(site.node, SERVICE, "events_waiting")), WAIT)
    site.reload(roads=["file"])
    wait_for(lambda: told(site.node, SERVICE, "events_waiting") == [], WAIT)
    site.broker.start()
    site.reload(roads=["kafka", "file"])
    other = trigger(dm=751.0)
    site.put(other)
    about(reader, site.event(other)["id"], 1)
    assert not [message for message in reader.look(0.5) if b"750.0" in message.value]


def test_all_are_disabled_by_one_command(site: Site, reader: TopicReader) -> None:
    assert site.command("voevent_disable") == "VOEvent sending disabled"
    outcomes = Outcomes(site.node, SERVICE)
    site.put(trigger(dm=760.0))
    outcomes.expect({"not sent: disabled": 1})
    assert "sending is disabled" in str(site.command("alerts_test"))
    assert site.command("voevent_enable") == "VOEvent sending enabled"


# -- the life of an event ----------------------------------------------------------------------


def finding(one: Trigger, **changes: Any) -> dict[str, Any]:
    """What a worker's processor has measured of a trigger's burst."""
    setup = ObservationSetup("WSRT", "ARTS", 300.0, 1536, 2, 8, 1.0, 85.0)
    found = BurstFinding(
        observation=f"{one.observation} 1",
        cb=one.cb,
        sb=one.sb,
        arrival=arrival_at_top(one, setup)[0],
        dm=one.dm_cluster,
        snr=25.0,
        width=one.width,
        probability=0.97,
        host="arts007",
    )
    return replace(found, **changes).to_plain()


def test_what_was_measured_updates_an_event_where_that_is_on(
    site: Site, reader: TopicReader
) -> None:
    one = trigger(dm=800.0)
    site.put(one)
    event = site.event(one)["id"]
    put_values(site.node, SERVICE, [[finding(one)]])  # updates are off
    wait_until_done(site.node, SERVICE)
    assert site.command("alerts_enable updates") == "Alerts: updates enabled"
    put_values(
        site.node,
        SERVICE,
        [
            [finding(one, snr=26.0)],  # hardly better
            [finding(one, snr=90.0, dm=801.5, arrival=finding(one)["finding"]["arrival"] + 0.01)],
            [finding(one, snr=95.0, dm=900.0)],  # of another burst
            [finding(trigger(dm=800.0), snr=200.0)],  # at another time
        ],
    )
    first, update = about(reader, event, 2)
    notice = json.loads(update.value)
    assert (notice["alert_type"], notice["record_number"]) == ("update", 2)
    assert (notice["snr"], notice["dm"], notice["importance"]) == (90.0, 801.5, 0.97)
    assert "matched by time and DM" in notice["update_message"]
    assert "processor of arts007" in site.event(one)["notices"][1]["by"]
    assert site.command("alerts_disable updates") == "Alerts: updates disabled"
    kept = kept_copy(site.node.home / "voevents", f"{one.utc}.2.xml")
    cited = read_event(kept).Citations.EventIVORN
    assert (cited.get("cite"), cited.text) == (
        "supersedes",
        site.event(one)["notices"][0]["ivorn"],
    )
    wait_until_done(site.node, SERVICE)
    assert kinds(about(reader, event, 2)) == ["initial", "update"]
    assert json.loads(first.value)["snr"] == 20.0


def test_the_classifier_retracts_what_it_takes_for_interference(
    site: Site, reader: TopicReader
) -> None:
    one, kept = trigger(dm=810.0), trigger(dm=820.0)
    site.put(one)
    site.put(kept)
    event, other = site.event(one)["id"], site.event(kept)["id"]
    entries = [
        finding(one, probability=0.02),
        # Another beam's side lobe says nothing, and what was good once stays.
        finding(kept, probability=0.02, cb=39),
        finding(kept, probability=0.9),
        finding(kept, probability=0.02),
    ]
    # As a worker hands them in.
    address = "127.0.0.1", site.node.config[SERVICE]["server_port"]
    client = QueueClient(address, read_secret(site.node.run_dir / "secret"), "arts007")
    for entry in entries:
        client.call("put", [entry])
    client.close()
    assert kinds(about(reader, event, 2)) == ["initial", "retraction"]
    reason = json.loads(about(reader, event, 2)[1].value)["update_message"]
    assert reason == "interference by the classifier: probability 0.02 of a burst, below 0.1"
    wait_until_done(site.node, SERVICE)
    assert kinds(about(reader, other, 1)) == ["initial"]


def test_a_person_confirms_and_retracts_by_the_command(site: Site, reader: TopicReader) -> None:
    one = trigger(dm=830.0)
    site.put(one)
    event = site.event(one)["id"]
    done = site.node.darc("alerts", "confirm", event, "--reason", "a burst, by its [sweep]")
    assert (done.returncode, done.stderr) == (0, "")
    confirmed = json.loads(about(reader, event, 2)[1].value)
    assert confirmed["verdict"] == "a burst, by its [sweep]"
    assert confirmed["importance"] == 1.0
    wrong = site.node.darc("alerts", "retract", "nothing", "--reason", "none")
    assert (wrong.returncode, "No such event: nothing" in wrong.stderr) == (1, True)
    assert site.node.darc("alerts", "retract", event).returncode == 2  # a reason is needed
    done = site.node.darc("alerts", "retract", event, "--reason", "a satellite after all")
    assert done.returncode == 0
    messages = about(reader, event, 3)
    assert kinds(messages) == ["initial", "update", "retraction"]
    notice = json.loads(messages[2].value)
    assert notice["update_message"] == "a satellite after all"
    assert notice["description"] == "Sent by a person"
    who = site.event(one)["notices"][2]["by"]
    assert re.search(r"@.*", who)
    assert f"event {event}: retraction by {who}: a satellite after all" in site.node.log(SERVICE)
    again = site.node.darc("alerts", "retract", event, "--reason", "again")
    assert (again.returncode, "has been retracted" in again.stderr) == (1, True)
    shown = site.node.darc("alerts", "show", event)
    assert "a burst, by its [sweep]" in shown.stdout
    listed = json.loads(site.node.darc("alerts", "--json").stdout)
    assert listed["events"][0]["state"] == "retraction"
    assert event in site.node.darc("alerts").stdout
    kept = kept_copy(site.node.home / "voevents", f"{one.utc}.3.xml")
    cited = read_event(kept).Citations
    assert [entry.get("cite") for entry in cited.EventIVORN] == ["retraction", "retraction"]
    assert cited.Description == "a satellite after all"


def test_a_retraction_asked_for_early_comes_after_its_initial_whoever_dies(
    site: Site, reader: TopicReader
) -> None:
    site.reload(roads=["kafka"])
    site.broker.stop()
    one = trigger(dm=840.0)
    site.put(one)
    event = site.event(one)["id"]
    pid = site.node.pid(SERVICE)
    (site.points / f"{SERVICE}.before following").touch()
    assert "is on its way" in site.command(f"alerts_retract {event} a mistake")
    alerts.wait_for_successor(site.node, SERVICE, pid)
    wait_for(lambda: len(site.event(one)["notices"]) == 2, WAIT)
    alerts.kill(site.node, SERVICE)
    site.broker.start()
    assert kinds(about(reader, event, 2)) == ["initial", "retraction"]
    site.wait_for_state(one, 2, "kafka", "acknowledged")
    assert len(about(reader, event, 2)) == 2


def test_a_source_that_was_seen_before_is_subsequent(site: Site, reader: TopicReader) -> None:
    first, second = trigger(dm=850.0), trigger(dm=851.0, ra=83.7)
    known = trigger(dm=560.0, name="frb", src_name="FRB121102", dm_cluster=560.4)
    listed = trigger(dm=557.4, dm_cluster=557.4, ra=82.99, dec=33.15)  # wherever it was pointed
    for one in (first, second, known, listed):
        site.put(one)
        site.event(one)
    earlier = site.event(first)["id"]
    notice = json.loads(about(reader, site.event(second)["id"], 1)[0].value)
    assert (notice["alert_type"], notice["known_source"]) == ("subsequent", earlier)
    assert 0.5 < notice["association_probability"] < 1
    kept = read_event(kept_copy(site.node.home / "voevents", f"{second.utc}.xml"))
    assert kept.Citations.EventIVORN.get("cite") == "followup"
    notice = json.loads(about(reader, site.event(known)["id"], 1)[0].value)
    assert (notice["alert_type"], notice["known_source"]) == ("subsequent", "FRB121102")
    notice = json.loads(about(reader, site.event(listed)["id"], 1)[0].value)
    assert (notice["alert_type"], notice["known_source"]) == ("subsequent", "FRB 121102")
    assert notice["association_probability"] > 0.9


# -- tests of the roads, and secrets -----------------------------------------------------------


def test_a_test_notice_is_followed_to_its_acknowledgement(site: Site, reader: TopicReader) -> None:
    assert "A test notice leaves" in site.node.darc("alerts", "test").stdout
    found = wait_for(
        lambda: [one for one in site.events() if one["trigger"].startswith("test notice/")], WAIT
    )
    event = found[0]["id"]
    (message,) = about(reader, event, 1)
    assert message.topic == TEST_TOPIC
    assert json.loads(message.value)["update_message"].startswith("a test of the roads by which")
    assert "@" not in message.value.decode()  # who asked for it is in the log alone

    def roads() -> Any:
        return next(one for one in site.events() if one["id"] == event)["notices"][0]["roads"]

    wait_for(lambda: set(roads().values()) == {"acknowledged"}, WAIT)
    assert set(roads()) == {"kafka", "webhook", "file"}


def test_a_road_that_does_not_acknowledge_a_test_is_a_problem(site: Site) -> None:
    site.reload(test_limit=1)
    site.broker.stop()
    assert "A test notice leaves" in site.command("alerts_test")
    loss = wait_for(
        lambda: (told(site.node, SERVICE, "losses") or {}).get("test_not_acknowledged"), WAIT
    )
    assert loss["last"][-1]["why"] == "not acknowledged within 1 s by kafka"
    assert loss["number"] == 1


def test_a_secret_is_neither_told_nor_in_the_environment(site: Site) -> None:
    home = site.node.home
    texts = [path.read_bytes() for path in (home / "log").glob("*")]
    process = Path(f"/proc/{site.node.pid(SERVICE)}")
    texts += [(process / name).read_bytes() for name in ("environ", "cmdline")]
    attributes = "roads", "events", "losses", "last_error"
    texts += [str(told(site.node, SERVICE, name)).encode() for name in attributes]
    texts += [path.read_bytes() for path in home.glob("status/**/*") if path.is_file()]
    assert len(texts) > 5
    assert not [text for text in texts if SECRET.encode() in text]
