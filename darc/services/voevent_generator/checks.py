"""Checks of the roads and reports for ``darc doctor``. Nothing is sent, and no topic made."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

from darc.config.config import Config
from darc.delivery.credentials import CredentialsError, read_credentials
from darc.delivery.delivery_checks import Say, chat_targets, kafka_credentials
from darc.delivery.kafka_sender import KafkaClient, KafkaSender
from darc.delivery.outbox import DeliveryError
from darc.model.event import RoadName
from darc.runtime.check_result import CheckResult, good, warn, wrong
from darc.services.voevent_generator.settings import KafkaRoadSettings, VOEventGeneratorSettings

#: For the broker to answer (s).
ANSWER_SECONDS = 5.0
_SERVICE = "voevent_generator"


def kafka(config: Config) -> Iterator[CheckResult]:
    """Check the library, the credentials, the broker and its topics."""
    settings: VOEventGeneratorSettings = config.section(_SERVICE)
    if RoadName.KAFKA not in settings.road_names:
        yield good("kafka is no road of notices here")
        return
    say = wrong if settings.send_events else _off
    missing = [
        name for name in ("confluent_kafka", "gcn_kafka") if importlib.util.find_spec(name) is None
    ]
    if missing:
        what = f"{' and '.join(missing)} not installed: nothing can be sent"
        yield say(what, "pip install 'darc[kafka]'")
        return
    road, key = settings.kafka, f"{_SERVICE}.kafka.credentials"
    yield from kafka_credentials(road.credentials, key, road.domain, road.client, say)
    yield from _topics(settings.kafka, say)


def _off(text: str, remedy: str = "") -> CheckResult:
    return warn(f"{text} ({_SERVICE}.send_events is false: nothing is sent)", remedy)


def _topics(road: KafkaRoadSettings, say: Say) -> Iterator[CheckResult]:
    client = KafkaClient(road.domain, ANSWER_SECONDS, road.client, road.credentials)
    sender = KafkaSender(client)
    try:
        known = sender.topics()
    except DeliveryError as error:
        remedy = f"start the broker, or see {_SERVICE}.kafka: client, domain, credentials"
        yield say(str(error), remedy)
        return
    finally:
        sender.close()
    for key, topic in (("topic", road.topic), ("test_topic", road.test_topic)):
        if topic is None:
            continue
        if topic in known:
            yield good(f"{client.where} knows topic {topic}")
        else:
            what = f"{client.where} knows no topic {topic}, or these credentials may not see it"
            yield say(what, f"have it created, or set {_SERVICE}.kafka.{key}")


def people(config: Config) -> Iterator[CheckResult]:
    """Check the targets of messages about bursts."""
    settings: VOEventGeneratorSettings = config.section(_SERVICE)
    if RoadName.CHAT not in settings.road_names:
        yield good("nobody is told of bursts by chat")
        return
    names = tuple(dict.fromkeys((*settings.chat.targets, *settings.chat.test_targets)))
    yield from chat_targets(names, config.chat, wrong if settings.send_events else _off)


def tns(config: Config) -> Iterator[CheckResult]:
    """Check the credentials of reports: only their owner can read them, and the key is there."""
    settings: VOEventGeneratorSettings = config.section(_SERVICE)
    path = settings.tns.credentials
    if path is None:
        yield good("no credentials are configured")
        return
    key = f"{_SERVICE}.tns.credentials"
    try:
        there = read_credentials(Path(path)).values()
    except CredentialsError as error:
        yield wrong(str(error), f"chmod 600 {path}, or set {key}")
        return
    if "api_key" in there:
        yield good(f"{path} is readable by its owner alone")
    else:
        yield wrong(f"{path}: no line `api_key = …`", f"add it, or set {key}")
