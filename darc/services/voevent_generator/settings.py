"""Settings of voevent_generator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated
from urllib.parse import urlsplit

from darc.config.ivoid import ALLOWED, is_ivoid
from darc.config.kafka_secrets import secrets_in_client
from darc.config.records import Struct
from darc.config.settings import AlertSettings, Names, PlacePath, Port, Text
from darc.config.typed import (
    AsText,
    Contradiction,
    CrossChecked,
    OneOf,
    OneOrMore,
    Range,
    TimeOfDay,
)
from darc.config.web_address import ALLOWED as WEB_ADDRESS
from darc.config.web_address import is_web_address
from darc.model.event import RoadName, Tense

_Timeout = Annotated[float, Range(0.1, 600)]  # s
_GiveUpAfter = Annotated[float, Range(0, 1e9)]  # s
_FilesKept = Annotated[int, Range(1, 10_000_000)]
_TnsId = Annotated[int, Range(0, 10**9)]
_Road = Annotated[str, OneOf(*RoadName)]
#: Where a road leads, where it can lead nowhere; that of tests begins with test_.
_ADDRESS_KEYS = {RoadName.KAFKA: "topic", RoadName.WEBHOOK: "url", RoadName.CHAT: "targets"}


class KafkaRoadSettings(CrossChecked, Struct, frozen=True):
    """Notices to a Kafka broker."""

    topic: Text | None
    test_topic: Text | None
    domain: Text
    credentials: PlacePath | None
    client: Mapping[str, Annotated[str, AsText()]]
    timeout: _Timeout
    give_up_after: _GiveUpAfter

    def contradictions(self) -> Iterator[Contradiction]:
        """Yield secrets, which others could read here."""
        yield from secrets_in_client(self.client)


class WebhookRoadSettings(CrossChecked, Struct, frozen=True):
    """Notices by HTTP POST."""

    url: Text | None  # may contain secrets: never log them
    test_url: Text | None
    timeout: _Timeout
    give_up_after: _GiveUpAfter

    def contradictions(self) -> Iterator[Contradiction]:
        """Yield which addresses are none."""
        for key, text in (("url", self.url), ("test_url", self.test_url)):
            if text is not None and not is_web_address(text):
                yield Contradiction(key, "it is not an address", WEB_ADDRESS)


class FileRoadSettings(Struct, frozen=True):
    """Notices as files."""

    directory: PlacePath
    files_kept: _FilesKept


class ChatRoadSettings(Struct, frozen=True):
    """Messages to people, about bursts: names of targets in the file of section `chat`."""

    targets: Annotated[Names, OneOrMore()]
    test_targets: Annotated[Names, OneOrMore()]  # of tests and injections
    give_up_after: _GiveUpAfter


class TnsSettings(CrossChecked, Struct, frozen=True):
    """Reports to the Transient Name Server."""

    sandbox_url: Text
    live_url: Text | None
    credentials: PlacePath | None
    bot_id: _TnsId | None
    bot_name: Text | None
    reporter: Text | None
    reporting_group: _TnsId | None
    discovery_group: _TnsId | None
    instrument: _TnsId | None
    filter: _TnsId | None
    timeout: _Timeout
    give_up_after: _GiveUpAfter
    answer_within: _GiveUpAfter  # s, of a report that was taken

    def contradictions(self) -> Iterator[Contradiction]:
        """Yield which addresses are none, and those that a key must not be sent to."""
        for key, text in (("sandbox_url", self.sandbox_url), ("live_url", self.live_url)):
            if text is not None and not is_web_address(text):
                yield Contradiction(key, "it is not an address", WEB_ADDRESS)
            elif text is not None and not _is_private(text):
                what = f"{text!r}: anybody on the way could read the key"
                yield Contradiction(key, what, "https://, or an address of this host")
        if self.live_url and _same(self.live_url, self.sandbox_url):
            what = f"{self.live_url!r}: it is that of the sandbox, whose names mean nothing"
            yield Contradiction("live_url", what, "the address of another server, or null")

    @property
    def missing(self) -> list[str]:
        """The keys without which nothing can be reported."""
        needed = (
            "credentials",
            "bot_id",
            "bot_name",
            "reporter",
            "reporting_group",
            "discovery_group",
            "instrument",
            "filter",
        )
        return [key for key in needed if getattr(self, key) is None]

    def url(self, *, live: bool) -> str | None:
        """Return the address of the live server, or of the sandbox; None: it is not to be told."""
        return self.live_url if live else self.sandbox_url


def _same(url: str, other: str) -> bool:
    return url.rstrip("/").lower() == other.rstrip("/").lower()


def _is_private(url: str) -> bool:
    """Whether nobody can read what is sent to an address."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return parts.scheme == "https" or host in ("localhost", "127.0.0.1", "::1")


class VOEventGeneratorSettings(CrossChecked, AlertSettings, frozen=True):
    """Section `voevent_generator`."""

    log_file: PlacePath
    voevent_dir: PlacePath
    files_kept: _FilesKept  # in voevent_dir
    age_limit: Annotated[float, Range(0.01, 1e9)]
    broker_host: Text
    broker_port: Port
    broker_timeout: _Timeout  # s for the broker to answer
    give_up_after: _GiveUpAfter  # s, of VOEvents
    stream: Text  # <authority>/<path> in the identifiers of events
    author_ivorn: Text
    contact_name: Text | None
    contact_email: Text | None
    roads: Annotated[tuple[_Road, ...], OneOrMore()]
    send_updates: bool
    retract_below: Annotated[float, Range(0, 1)] | None
    remember_for: Annotated[float, Range(60, 1e9)]  # s
    notice_schema: Text
    test_at: Annotated[str, TimeOfDay()] | None  # UTC
    test_limit: Annotated[float, Range(1, 86400)]  # s for a test to be acknowledged
    kafka: KafkaRoadSettings
    webhook: WebhookRoadSettings
    file: FileRoadSettings
    chat: ChatRoadSettings
    tns: TnsSettings

    def contradictions(self) -> Iterator[Contradiction]:
        """Yield which identifiers are none, and which roads lead nowhere."""
        for key, text in (("stream", self.stream), ("author_ivorn", self.author_ivorn)):
            if not is_ivoid(text):
                yield Contradiction(key, f"{text!r} is not an IVOA identifier", ALLOWED)
        for road in self.road_names:
            if not any(self.leads_on(road, tense) for tense in Tense):
                key = _ADDRESS_KEYS[road]
                nothing = "empty" if road is RoadName.CHAT else "null"
                what = f"{road} leads nowhere: {road}.{key} and {road}.test_{key} are {nothing}"
                yield Contradiction("roads", what, f"{road} with one of these")

    @property
    def road_names(self) -> tuple[RoadName, ...]:
        """The configured roads, each once."""
        return tuple(dict.fromkeys(map(RoadName, self.roads)))

    @property
    def sends_by_vtp(self) -> bool:
        """Whether VOEvents are to be sent."""
        return self.send_events and RoadName.VTP in self.roads

    @property
    def needs_notices(self) -> bool:
        """Whether a road carries notices."""
        return any(road.carries_notices for road in self.road_names)

    def leads_on(self, road: RoadName, tense: Tense) -> bool:
        """Whether notices of a tense leave by a road.

        Neither tests nor injections go where bursts are announced, but for VOEvents, whose role
        says that they are tests; of an injection there is none.
        """
        if road in (RoadName.VTP, RoadName.FILE):
            return tense is not Tense.INJECTION
        return self.target(road, tense) is not None

    def target(self, road: RoadName, tense: Tense) -> str | None:
        """Return topic or URL for notices of a tense; None: there is none."""
        burst = tense is Tense.CURRENT
        if road is RoadName.KAFKA:
            return self.kafka.topic if burst else self.kafka.test_topic
        if road is RoadName.WEBHOOK:
            return self.webhook.url if burst else self.webhook.test_url
        if road is RoadName.CHAT:
            return ", ".join(self.people(tense)) or None
        return None

    def people(self, tense: Tense) -> tuple[str, ...]:
        """Return the names of the targets of messages of a tense."""
        return self.chat.targets if tense is Tense.CURRENT else self.chat.test_targets

    def give_up_after_on(self, road: RoadName) -> float:
        """Return how long a notice is tried on a road (s)."""
        if road is RoadName.KAFKA:
            return self.kafka.give_up_after
        if road is RoadName.CHAT:
            return self.chat.give_up_after
        return self.webhook.give_up_after if road is RoadName.WEBHOOK else self.give_up_after
