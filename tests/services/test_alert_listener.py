"""alert_listener between notices and commits: what it does, once, and what it never does."""

from __future__ import annotations

import importlib.util
import json
import logging
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from nodes import free_port, patience, wait_for

from darc.config.config import Config, ConfigError
from darc.config.typed import from_plain
from darc.delivery import chat
from darc.delivery.kafka_reading import ReadBatch, ReadMessage
from darc.model.lowered_threshold import LoweredThreshold
from darc.model.observation import Observation
from darc.model.outside_notice import NoticeError, read_notice
from darc.model.trigger import Trigger
from darc.node.losses import LossKind
from darc.node.node_config import load_config
from darc.node.read_observation import read_observation
from darc.queues.messages import Commit, ContentKind
from darc.queues.plain_connection import pack, unpack
from darc.runtime.clock import Since
from darc.science.dispersion import delay
from darc.services.alert_listener import checks
from darc.services.alert_listener.actor import NoticeActor
from darc.services.alert_listener.notice_step import NoticeStep
from darc.services.alert_listener.service import AlertListener
from darc.services.alert_listener.settings import NoticeRule
from darc.services.base import chats
from darc.services.dada_trigger.dump_jobs import TriggerGroup, make_jobs
from darc.services.dada_trigger.settings import DadaTriggerSettings
from simulator.write_parsets import write_observation

TOPIC = "gcn.notices.chime.frb"
RA, DEC = 83.0, 33.0
LOWER = {"name": "deeper", "action": "threshold", "where": "in_beam", "snr_min": 7}
DUMP = {"name": "raw data", "action": "dump", "where": "in_beam", "frequency": 400}
TELL = {"name": "people", "action": "tell", "where": "anywhere"}


class DiedError(Exception):
    pass


class FakeReader:
    """Batches that were put here; what is told to the broker is kept."""

    def __init__(self) -> None:
        self.batches: list[ReadBatch] = []
        self.told: list[ReadBatch] = []
        self.dropped: Counter[str] = Counter()
        self.connected, self.error = True, ""

    def take(self) -> ReadBatch | None:
        return self.batches.pop(0) if self.batches else None

    def done(self, batch: ReadBatch) -> None:
        self.told.append(batch)


class Kept(AlertListener):
    """Its commits are kept here, as the journal would; it may die at one."""

    def prepare(self) -> None:
        super().prepare()
        self.commits: list[Commit] = []
        self.memory: dict[str, Any] = {}
        self.said: list[tuple[str, str, str]] = []
        self.fake = FakeReader()
        self.dies = ""

    def _follow_settings(self) -> None:
        self._reader = self.fake  # type: ignore[assignment]

    def commit(self, commit: Commit) -> None:
        if self.dies == "before":
            raise DiedError
        commit = Commit.from_plain(unpack(pack(commit.to_plain())))
        self.commits.append(commit)
        self.memory |= commit.memory
        self.memory = {key: value for key, value in self.memory.items() if value is not None}
        if self.dies == "after":
            raise DiedError

    def lost(self, kind: LossKind, what: str, why: str, number: int = 1) -> None:
        self.said.append((kind.id, what, why))

    def hear(self, *notices: dict[str, Any] | bytes, topic: str = TOPIC) -> list[dict[str, str]]:
        """Let notices come as one batch; return what the rules made of each."""
        contents = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in notices]
        messages = tuple(ReadMessage(topic, content) for content in contents)
        self.fake.batches.append(ReadBatch(messages, {(topic, 0): 1}))
        self.idle()
        return [row.get("rules", row.get("error")) for row in self.notices[-len(notices) :]]

    def observe(self, observation: Observation) -> None:
        self._running[observation.key] = observation
        self.start_observation(observation, {})

    def again(self) -> Kept:
        """Its successor after a death."""
        made = Kept(self.config)
        made.memory = dict(self.memory)
        made.recover(dict(self.memory))
        return made

    def orders(self) -> list[LoweredThreshold]:
        return [
            LoweredThreshold.from_plain(unpack(put.content))
            for commit in self.commits
            for put in commit.puts
            if put.queues == ("amber_clustering",) and put.kind is ContentKind.PLAIN
        ]

    def dumps(self) -> list[Trigger]:
        return [
            Trigger.from_plain(plain)
            for commit in self.commits
            for put in commit.puts
            if put.queues == ("dada_trigger",) and put.kind is ContentKind.TRIGGERS
            for plain in unpack(put.content)
        ]

    def mails(self) -> list[list[Any]]:
        return [value for key, value in self.memory.items() if key.startswith("mail ")]


def notice(ago: float = 5.0, **changes: Any) -> dict[str, Any]:
    """A gamma-ray burst in our beam, some seconds ago."""
    at = datetime.fromtimestamp(time.time() - ago, UTC).replace(tzinfo=None).isoformat()
    return {
        "id": "1",
        "trigger_time": f"{at}Z",
        "ra": RA,
        "dec": DEC,
        "ra_dec_error": 0.1,
    } | changes


@pytest.fixture
def service(tmp_path: Path) -> Callable[..., Kept]:
    def make(*rules: dict[str, Any], **changes: Any) -> Kept:
        path = tmp_path / "config.yaml"
        own = {"topics": [TOPIC], "rules": list(rules), "email_settings": {"to": "me@example.org"}}
        path.write_text(yaml.safe_dump({"alert_listener": own | changes, "mail": {"port": 1}}))
        return Kept(load_config(path))

    return make


@pytest.fixture
def observation(tmp_path: Path, config: Config) -> Observation:
    made = write_observation(
        tmp_path / "observation",
        task_id="o1",
        source="R1",
        start=time.time() - 60,
        duration=3600.0,
        pointing=(RA, DEC),
    )
    return replace(read_observation(made.parset, config.instrument), run="run1", enable_iquv=True)


# -- thresholds ----------------------------------------------------------------------------------


def test_a_notice_in_the_beam_lowers_a_threshold_once(service, observation, caplog) -> None:
    one = service(LOWER)
    one.observe(observation)
    caplog.set_level(logging.INFO)
    first = notice(id="<b>%s{0}</b>")
    assert one.hear(first) == [{"deeper": "used"}]
    (order,) = one.orders()
    assert (order.snr_min, order.iquv, order.lofar) == (7.0, True, False)
    assert order.end - time.time() == pytest.approx(3600.0, abs=5.0)
    assert order.start == pytest.approx(time.time() - 5.0, abs=5.0)
    assert one.commits[-1].puts[0].observation == "o1#run1"
    line = f"notice of {TOPIC}, id <b>%s{{0}}</b>: rule deeper: S/N of at least 7 triggers iquv"
    assert line in caplog.text
    assert [use["id"] for use in one.uses] == ["<b>%s{0}</b>"]
    assert one.hear(first, first | {"alert_type": "update"}) == [{"deeper": "used before"}] * 2
    assert one.again().hear(first) == [{"deeper": "used before"}]
    assert len(one.orders()) == 1
    assert one.outcomes == {"used": 1, "used before": 2}


def test_a_notice_waits_for_an_observation_of_its_place(service, observation) -> None:
    """As the telescope turns to a burst; over a death of the service, too."""
    one = service(LOWER | {"duration": 600})
    one.observe(replace(observation, run="other", pointings=()))
    assert one.hear(notice()) == [{"deeper": "waits: not in the beam"}]
    assert one.uses == []
    again = one.again()
    assert [row["applied"] for row in again.lowered] == [False]
    again.observe(observation)
    (order,) = again.orders()
    assert (order.end - order.start) == pytest.approx(605.0, abs=5.0)
    assert [row["applied"] for row in again.lowered] == [True]
    later = again.again()
    later.observe(replace(observation, run="later"))
    assert later.orders() == [order]
    assert len(later.uses) == 1


def test_a_lowered_threshold_ends_with_time_or_with_a_retraction(service, observation) -> None:
    one = service(LOWER)
    one.observe(observation)
    one.hear(notice())
    assert one.hear(notice(alert_type="retraction", ra=None, dec=None)) == [
        {"deeper": "used before"}
    ]
    first, second = one.orders()
    assert (second.key, second.start) == (first.key, first.start)
    assert second.end == pytest.approx(time.time(), abs=5.0)
    assert one.lowered == []
    short = service(LOWER | {"duration": 0.01})
    short.hear(notice())
    time.sleep(0.02)
    short.observe(observation)
    assert short.orders() == []
    assert not [key for key in short.memory if key.startswith("lowered")]


def test_a_retraction_ends_what_a_rule_lowered_that_is_gone(service, observation) -> None:
    one = service(LOWER)
    one.observe(observation)
    one.hear(notice())
    one.settings = replace(one.settings, rules=())
    one.reloaded()
    one.hear(notice(alert_type="retraction"))
    first, second = one.orders()
    assert (second.key, second.snr_min) == (first.key, 100_000)  # raises no limit, lowers none
    assert second.end == pytest.approx(time.time(), abs=5.0)


def test_a_lowered_threshold_that_is_refused_does_not_come_later(service, observation) -> None:
    one = service(LOWER, max_uses_per_hour=1)
    one.observe(observation)
    assert [row["deeper"] for row in one.hear(notice(), notice(id="2"))] == [
        "used",
        "too many uses",
    ]
    assert [row["id"] for row in one.lowered] == ["1"]
    again = one.again()
    again.observe(replace(observation, run="later"))
    assert again.said == []  # no further alarm
    assert [row["id"] for row in again.lowered] == ["1"]


@pytest.mark.parametrize("start", [-7200.0, 7200.0])
def test_an_observation_of_another_time_is_not_searched_more_deeply(
    service, observation, start
) -> None:
    """One that is over, but not stopped yet, or begins later than the lowering ends."""
    one = service(LOWER)
    one.observe(replace(observation, start=time.time() + start))
    assert one.hear(notice()) == [{"deeper": "waits: not in the time of the observation"}]
    assert (one.orders(), one.uses) == ([], [])
    one.observe(replace(observation, run="now"))
    assert len(one.orders()) == len(one.uses) == 1


def test_a_retraction_that_comes_before_its_notice_holds(service, observation, monkeypatch) -> None:
    """Partitions are read beside each other, and a notice may come again."""
    monkeypatch.setattr("darc.services.alert_listener.retracted_events.MOST_RETRACTED", 3)
    one = service(LOWER, DUMP, TELL)
    one.observe(observation)
    one.hear(notice(alert_type="retraction"), notice(alert_type="retraction"))
    why = dict.fromkeys(("deeper", "raw data", "people"), "retracted before")
    assert one.hear(notice(), notice(alert_type="update")) == [why, why]
    again = one.again()
    again.observe(observation)
    assert again.hear(notice()) == [why]
    for each in (one, again):
        assert (each.orders(), each.dumps(), each.mails(), each.lowered) == ([], [], [], [])
    assert again.outcomes == {"retracted before": 1}
    assert set(again.hear(notice(id="2"))[0].values()) == {"used"}
    # What is remembered is bounded, the oldest first.
    again.hear(*(notice(id=f"r{number}", alert_type="retraction") for number in range(9)))
    assert len([key for key in again.memory if key.startswith("retracted ")]) == 3
    assert again.hear(notice(id="r8")) == [why]


# -- dumps ---------------------------------------------------------------------------------------


def test_a_dump_is_asked_for_once_for_an_event(service, observation, config) -> None:
    one = service(DUMP, DUMP | {"name": "another"})
    one.observe(observation)
    first = notice(snr=12.0, dm=300.0, trigger_time_frequency=1400.0)
    assert one.hear(first) == [{"raw data": "used", "another": "used before"}]
    assert one.hear(first | {"alert_type": "update"})[0]["another"] == "used before"
    (trigger,) = one.dumps()
    assert trigger.identity.startswith("o1/")
    assert trigger.dm_bin < 0
    stated = datetime.fromisoformat(first["trigger_time"]).timestamp()
    expected = stated + delay(300.0, observation.f_reference, 1400.0) - observation.start
    assert trigger.tarr == pytest.approx(expected, abs=1e-5)
    # dada_trigger makes a request of it, that begins two pages before.
    group = TriggerGroup(observation, Since.now(), Since.now(), triggers=[trigger])
    rules = config.block("dada_trigger", DadaTriggerSettings)
    page = config.instrument.batch_length_samples
    (job,), left_out = make_jobs(group, rules, page)
    assert left_out == {}
    (event,) = job.request.events
    assert event.start == pytest.approx(expected - 2 * page * observation.tsamp, abs=1e-3)
    assert event.end > expected + delay(300.0, observation.f_low, observation.f_high)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"ago": 11.0}, "ring buffer keeps 10 s"),
        ({"ago": 120.0}, "not in the time of the observation"),
        ({"dm": 150.0, "ago": 3.0}, ""),  # at 400 MHz, by the rule: 3.5 s earlier here
        ({"dm": 1000.0, "ago": 3.0}, "it arrived"),
        ({"ra": RA + 2}, "not in the beam"),
        ({"ra": None}, "no position"),
        ({"ra_dec_error": 3}, "position to 3 deg"),
        ({"alert_tense": "test"}, "alert_tense test"),
        ({"alert_tense": "injection"}, "alert_tense injection"),
    ],
)
def test_a_dump_is_asked_for_while_there_are_data(service, observation, values, why) -> None:
    one = service(DUMP)
    one.observe(observation)
    (found,) = one.hear(notice(**values))
    assert why in found["raw data"] if why else found["raw data"] == "used"
    assert len(one.dumps()) == (why == "")


def test_a_dump_of_a_burst_that_is_yet_to_arrive_waits_for_it(service, observation) -> None:
    """At lower frequencies than others saw it at; over a death, and not if retracted."""
    later = delay(1000.0, observation.f_reference, 8000.0)
    assert later > 1.5
    ahead = min(patience(0.4), later)  # s
    seen = notice(ago=later - ahead, dm=1000.0, trigger_time_frequency=8000.0)
    one = service(DUMP)
    one.observe(observation)
    assert one.hear(seen) == [{"raw data": "used"}]
    assert (one.dumps(), one.dumps_due) == ([], 1)
    again, retracted = one.again(), one.again()
    again.observe(observation)
    retracted.observe(observation)
    retracted.hear(notice(alert_type="retraction"))
    assert again.dumps() == []
    time.sleep(ahead + 0.1)
    again.idle()
    again.idle()
    retracted.idle()
    assert (len(again.dumps()), again.dumps_due) == (1, 0)
    assert (retracted.dumps(), retracted.dumps_due) == ([], 0)


def test_a_burst_with_a_dm_needs_a_frequency(service, observation) -> None:
    one = service({name: value for name, value in DUMP.items() if name != "frequency"})
    one.observe(observation)
    (found,) = one.hear(notice(dm=300.0))
    assert "frequency of its trigger_time is not known" in found["raw data"]


def test_no_iquv_where_the_observation_has_none(service, observation) -> None:
    one = service(DUMP, DUMP | {"name": "Stokes I", "stokes": "I"})
    one.observe(replace(observation, enable_iquv=False))
    (found,) = one.hear(notice())
    assert found == {"raw data": "the observation has no dumps of IQUV", "Stokes I": "used"}
    assert [trigger.stokes for trigger in one.dumps()] == ["I"]


# -- people --------------------------------------------------------------------------------------


def test_people_are_told_once_and_told_of_a_retraction(service) -> None:
    one = service(TELL)
    first = notice(id="S/1 <script>", far=1e-9, mission="A", instrument="B")
    one.hear(first, first)
    ((subject, text, _, to, _),) = one.mails()
    assert to == ["me@example.org"]
    assert subject == "DARC: people: initial S/1 <script>"
    for words in ("S/1 <script>", "A B", "1e-09 Hz", "83.0000 +33.0000 deg", TOPIC):
        assert words in text
    one.again().hear(first)
    gone = first | {"alert_type": "retraction"}
    one.hear(gone, gone)
    assert len(one.mails()) == 2
    assert len(one.uses) == 2


def test_an_e_mail_that_can_never_be_sent_is_a_loss_and_ends_nothing(service) -> None:
    one = service(TELL, email_settings={"to": ["nobody at all"]})
    assert one.hear(notice()) == [{"people": "used"}]
    assert [kind for kind, _, _ in one.said] == ["mail_given_up"]
    assert one.mails() == []
    assert one.hear(notice(id="2")) == [{"people": "used"}]


def test_people_are_told_by_rules_about_gravitational_waves(service) -> None:
    wave = {
        "superevent_id": "S1",
        "alert_type": "PRELIMINARY",
        "event": {"time": notice()["trigger_time"], "far": 1e-10, "skymap": "AAAA" * 1000},
    }
    one = service(TELL | {"far_max": 1e-8}, TELL | {"name": "here", "where": "in_beam"})
    assert one.hear(wave) == [{"people": "used", "here": "no position"}]
    mock = wave | {"superevent_id": "MS1"}
    assert one.hear(mock)[0]["people"] == "alert_tense test"


# -- what never acts -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "topic"),
    [
        ({"$schema": "urn:darc:gcn:frb:1"}, TOPIC),
        ({"mission": "WSRT", "instrument": "ARTS"}, TOPIC),
        ({}, "gcn.notices.arts.frb"),
    ],
)
def test_our_own_notices_never_act(tmp_path: Path, own, topic) -> None:
    path = tmp_path / "own.yaml"
    listener = {
        "topics": [TOPIC, "gcn.notices.arts.frb"],
        "rules": [TELL],
        "email_settings": {"to": ["me@example.org"]},
    }
    sender = {"kafka": {"topic": "gcn.notices.arts.frb"}}
    path.write_text(yaml.safe_dump({"alert_listener": listener, "voevent_generator": sender}))
    config = load_config(path)
    names = config.instrument.observatory, config.instrument.backend
    if "mission" in own:
        own = {"mission": names[0], "instrument": names[1]}
    one = Kept(config)
    assert one.hear(notice(**own), topic=topic) == [{}]
    assert (one.uses, one.commits, one.outcomes) == ([], [], {"our own": 1})


def test_so_many_uses_an_hour_and_no_more(service) -> None:
    one = service(TELL, max_uses_per_hour=3)
    found = one.hear(*(notice(id=str(number)) for number in range(5)))
    assert [row["people"] for row in found] == ["used"] * 3 + ["too many uses"] * 2
    assert [kind for kind, _, _ in one.said] == ["notice_use_refused"] * 2
    assert "id 3, rule people" in one.said[0][1]
    assert one.again().hear(notice(id="9")) == [{"people": "too many uses"}]


def test_what_is_evil_is_counted_and_does_nothing(service, observation) -> None:
    one = service(LOWER, DUMP, TELL)
    one.observe(observation)
    before = len(one.commits)
    evil = [
        b"[" * 2**20,
        b'{"id":' * 10_000 + b"1" + b"}" * 10_000,
        b'{"id": "a", "ra": NaN}',
        json.dumps(notice(id="a\x1b[2J")).encode(),
        json.dumps(notice(ra="83")).encode(),
        b"\x80\x04cos\nsystem\n",
        b"",
    ]
    found = one.hear(*evil)
    assert all(isinstance(error, str) for error in found)
    assert one.outcomes == {"unusable": len(evil)}
    assert len(one.commits) == before
    assert one.hear(notice()) == [{"deeper": "used", "raw data": "used", "people": "used"}]


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.dictionaries(
        st.sampled_from(
            ["id", "ra", "dec", "dm", "alert_type", "alert_tense", "ra_dec_error", "snr", "far"]
        ),
        st.none()
        | st.floats()
        | st.text(max_size=9)
        | st.sampled_from(["retraction", "test", "1"]),
    )
)
def test_no_notice_ends_the_service_or_acts_twice(config, observation, values) -> None:
    plain = json.dumps(notice() | values).encode()
    rules = tuple(from_plain(NoticeRule, one, "rule") for one in (LOWER, DUMP, TELL))
    actor = NoticeActor(config, replace(config.section("alert_listener"), rules=rules))
    step = NoticeStep(time.time())
    actor.begin(observation, step)
    try:
        read = read_notice(plain, TOPIC)
    except NoticeError:
        return
    actor.act(read, step)
    uses = len(step.uses)
    actor.act(read, step)
    assert len(step.uses) == uses
    pack(step.commit.to_plain())


# -- deaths --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dies", ["before", "after"])
def test_a_death_between_the_commit_and_the_broker_does_nothing_twice(
    service, observation, dies
) -> None:
    one = service(LOWER, DUMP, TELL)
    one.observe(observation)
    one.dies = dies
    first = notice()
    with pytest.raises(DiedError):
        one.hear(first)
    assert one.fake.told == []  # so it comes again
    again = one.again()
    again.observe(observation)
    again.hear(first)
    assert len(again.fake.told) == 1
    kept = one.commits + again.commits
    one.commits = kept
    assert len(one.dumps()) == len(again.mails()) == 1
    # Of the same key: amber_clustering has it once.
    assert len({order.key for order in one.orders()}) == 1
    assert len(again.uses) == 3


def test_a_stream_that_is_away_for_long_is_a_loss_once(service, monkeypatch) -> None:
    monkeypatch.setattr("darc.services.alert_listener.service.AWAY_SECONDS", 0.05)
    one = service(TELL)

    def losses(*, connected: bool, error: str) -> int:
        one.fake.connected, one.fake.error = connected, error
        one.idle()
        time.sleep(0.1)
        one.idle()
        one.idle()
        return len(one.said)

    assert losses(connected=True, error="") == 0
    assert losses(connected=False, error="no broker") == 1
    assert one.said == [("notices_not_read", "notices of others", "no broker")]
    assert losses(connected=True, error="") == 1
    assert losses(connected=True, error="no such topic") == 2


def test_an_observation_of_the_past_is_none_of_now(service, observation, monkeypatch) -> None:
    one = service(DUMP, LOWER)
    monkeypatch.setattr(one, "is_past", lambda one: one.key == observation.key)
    one.observe(observation)
    assert one.hear(notice())[0]["raw data"] == "nothing is observed"
    assert (one.orders(), one.dumps()) == ([], [])


# -- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"rules": [{"name": "a", "action": "run", "where": "in_beam"}]}, "one of threshold, dump"),
        ({"rules": [TELL | {"where": "here"}]}, "one of in_beam, known_source, anywhere"),
        ({"rules": [TELL, TELL]}, "two are called 'people'"),
        ({"rules": [TELL | {"topics": ["x"]}]}, "'people' waits for 'x', which is not read"),
        (
            {"rules": [TELL], "email_settings": {"to": []}},
            "email_settings.to and chat are empty",
        ),
        ({"rules": [{"name": "a", "action": "threshold", "where": "in_beam"}]}, "snr_min: missing"),
        ({"rules": [DUMP | {"types": ["retraction"]}]}, "a retraction is no reason for a dump"),
        ({"rules": [DUMP | {"tenses": ["now"]}]}, "is not allowed"),
        ({"rules": [DUMP | {"frequency": 1.4}]}, "frequency: 1.4 is not allowed; .* from 8 to"),
        ({"client": {"sasl.password": "x"}}, "sasl.password is secret"),
        ({"max_per_second": 0}, "max_per_second"),
    ],
)
def test_a_setting_that_cannot_be_is_named(service, changes, why) -> None:
    with pytest.raises(ConfigError, match=why):
        service(**changes)


def said(config: Config, verdict: str = "wrong") -> list[str]:
    return [one.text for one in checks.notices(config) if one.verdict == verdict]


def test_doctor_says_what_is_off(service) -> None:
    assert said(service(topics=[]).config) == ["nothing is read: alert_listener.topics is empty"]
    assert said(service().config) == ["nothing is read: alert_listener.rules is empty"]


def test_doctor_looks_at_credentials(
    service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "_reached", lambda addresses: iter(()))
    (problem,) = said(service(TELL, credentials=None).config)
    assert problem == "no credentials, without which gcn.nasa.gov takes nothing"
    assert said(service(TELL, client={"bootstrap.servers": "a"}).config) == []
    file = tmp_path / "gcn"
    file.write_text("client_id = a\n")
    file.chmod(0o644)
    (problem,) = said(service(TELL, credentials=str(file)).config)
    assert "others can read it (mode 0644)" in problem
    file.chmod(0o600)
    assert said(service(TELL, credentials=str(file)).config) == []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (problem,) = said(service(TELL, credentials=str(file)).config)
    assert problem == "gcn_kafka is not installed: nothing can be read"


def test_doctor_looks_for_a_broker(service) -> None:
    def among(*addresses: str) -> Config:
        config: Config = service(TELL, client={"bootstrap.servers": ",".join(addresses)}).config
        return config

    away = f"127.0.0.1:{free_port()}"
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as two,
    ):
        first, second = f"127.0.0.1:{one.getsockname()[1]}", f"127.0.0.1:{two.getsockname()[1]}"
        config = among(first, f"plaintext://{second}")
        assert said(config, "OK") == [f"{first} and {second} take connections"]
        assert said(config) == said(config, "warning") == []
        config = among(first, away, "here:port")
        assert said(config, "OK") == [f"{first} takes connections"]
        assert said(config, "warning") == [f"{away}: Connection refused"]
        assert said(config) == ["bootstrap.servers: 'here:port': 'port' is not a port, 1 to 65535"]
    assert said(among(away)) == [f"{away}: Connection refused"]
    assert said(among("a..b:1")) == ["a..b:1: not the name of a host"]
    (problem,) = said(among("[::1]:1"))  # refused, or there is no IPv6
    assert problem.startswith("[::1]:1: ")


def test_addresses_of_brokers(service) -> None:
    assert checks.stated(service(TELL).settings) == ["kafka.gcn.nasa.gov"]
    several = {"bootstrap.servers": "a:1, ssl://b:2,,[::1]:3,c,[::1]"}
    found = [checks.address(one) for one in checks.stated(service(TELL, client=several).settings)]
    assert found == [("a", 1), ("b", 2), ("::1", 3), ("c", 9092), ("::1", 9092)]


@pytest.mark.parametrize(
    "text", ["a:b", "a:", "a:0", "a:65536", "a:-1", "a:\u0663", ":1", "ssl://"]
)
def test_an_address_of_a_broker_that_is_none(text: str) -> None:
    with pytest.raises(checks.AddressError, match=r"is not a port|has no host"):
        checks.address(text)


def test_off_by_default(config: Config) -> None:
    assert not config.section("alert_listener").is_on
    assert "alert_listener" not in config.all_services()
    one = AlertListener(config)
    one.idle()
    assert one.stream == {
        "connected": False,
        "error": "off: no topics, or no rules",
        "last_notice": None,
    }


# -- chats ---------------------------------------------------------------------------------------


def chatted(one: Kept) -> list[str]:
    """What waits, in the memory, for targets of chats."""
    return sorted(key.split()[1] for key in one.memory if key.startswith("chat "))


def test_people_are_told_by_chats_each_target_once_and_nothing_in_it_acts(
    service, tmp_path, monkeypatch
) -> None:
    sent: list[tuple[str, chat.ChatMessage]] = []
    away = {"night": "HTTP 500"}
    hangs, go_on = threading.Event(), threading.Event()

    def send(message: chat.ChatMessage, names: list[str], settings: object) -> dict[str, str]:
        (name,) = names
        if name == "slow":
            hangs.set()
            assert go_on.wait(60.0)
        if name not in away:
            sent.append((name, message))
        return {name: away.get(name, "")}

    monkeypatch.setattr(chat, "send", send)
    one = service(TELL, email_settings={"to": []}, chat=["slow", "team", "night"])
    assert one.hear(notice(id="@here <!channel>")) == [{"people": "used"}]
    assert one.uses[0]["what"] == "told 3"

    def left(*names: str) -> bool:
        one.idle()
        return chatted(one) == sorted(names)

    # Neither one that hangs nor one that is away keeps anything from the others.
    assert hangs.wait(60.0)
    wait_for(lambda: left("slow", "night"))
    (message,) = [message for name, message in sent if name == "team"]
    assert message.title.startswith("DARC: people: initial ")
    assert "@" not in message.title + message.text
    assert "<" not in message.title + message.text
    wait_for(lambda: any("HTTP 500" in text for text in one.messages_waiting))
    # Its successor sends to those alone who have not had it.
    away.clear()
    again = one.again()
    go_on.set()
    wait_for(lambda: {name for name, _ in sent} == {"slow", "team", "night"})
    assert [name for name, _ in sent].count("team") == 1
    wait_for(lambda: again.idle() is None and not chatted(again))
    assert again.said == []


def test_a_message_that_no_target_takes_is_a_loss(service, monkeypatch) -> None:
    monkeypatch.setattr(chats, "AGE_LIMIT", 0.2)
    monkeypatch.setattr(chat, "send", lambda *_: {"team": "HTTP 404"})
    one = service(TELL, chat="team")
    one.hear(notice())
    wait_for(lambda: one.idle() is None and one.said)
    assert ("people_not_told", "HTTP 404") in [(kind, why) for kind, _, why in one.said]
    assert not chatted(one)


# -- known sources -------------------------------------------------------------------------------


def test_known_sources_that_cannot_be_read_are_a_problem_and_those_of_before_hold(
    service, observation, tmp_path
) -> None:
    path = tmp_path / "sources.yaml"
    path.write_text("frbs: {R1: 560.0}\n")
    one = service(TELL | {"where": "known_source"})
    lists = replace(one.config.section("amber_clustering"), source_file=str(path))
    of_services = {**one.config.of_services, "amber_clustering": lists}
    one.config = replace(one.config, of_services=of_services)
    one.observe(observation)
    one.idle()
    path.unlink()
    one.reloaded()
    for _ in range(2):
        one.idle()
    ((kind, _, why),) = one.said
    assert kind == "sources_unknown"
    assert str(path) in why
    assert one.hear(notice(known_source="R1")) == [{"people": "used"}]


def test_doctor_names_a_target_of_a_chat_that_cannot_be_used(
    service, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(chat, "troubles", lambda names, settings: {names[0]: "no line for it"})
    found = said(service(TELL, chat="team", client={"bootstrap.servers": "a"}).config)
    assert any("team: no line for it" in str(one) for one in found)
