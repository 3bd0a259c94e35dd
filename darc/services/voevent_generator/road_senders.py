"""How each road sends: one attempt, which returns when the other side has acknowledged it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from darc.config.settings import ChatSettings
from darc.delivery import voevent_sender
from darc.delivery.kafka_sender import KafkaClient, KafkaSender
from darc.delivery.outbox import DeliveryError
from darc.delivery.voevent_errors import SendError
from darc.model.event import RoadName, Tense
from darc.runtime.paths import write_whole
from darc.runtime.retention import NewestFiles
from darc.services.voevent_generator.pending_event import PendingEvent
from darc.services.voevent_generator.people_sender import PeopleSender
from darc.services.voevent_generator.settings import VOEventGeneratorSettings

log = logging.getLogger(__name__)


class RoadSenders:
    """Senders of the roads, by the settings of the moment.

    :param settings: returns them
    :param chat: likewise those of section `chat`
    :param topic_of: returns the topic by which an event has left; empty: by none yet
    """

    def __init__(
        self,
        settings: Callable[[], VOEventGeneratorSettings],
        chat: Callable[[], ChatSettings],
        topic_of: Callable[[str], str],
    ) -> None:
        self._settings = settings
        self._topic_of = topic_of
        #: The topic of the latest attempt, by key of the item.
        self.topics: dict[str, str] = {}
        self.people = PeopleSender(chat)
        self._kafka: dict[bool, KafkaSender] = {}  # by `is_burst` of items: each has one thread
        self._lock = threading.Lock()
        self._files = NewestFiles(r"\d{8}T\d{6}-[^/]*\.json")
        self._send: Mapping[RoadName, Callable[[PendingEvent, Callable[[], bool]], None]] = {
            RoadName.VTP: self._by_vtp,
            RoadName.KAFKA: self._by_kafka,
            RoadName.WEBHOOK: self._by_webhook,
            RoadName.FILE: self._as_file,
            RoadName.CHAT: self._to_people,
        }

    def send(self, item: PendingEvent, may_leave: Callable[[], bool]) -> None:
        """Send an item by its road, in a thread of the road.

        :param may_leave: whether it may still leave, where that takes a while
        :raises DeliveryError: it was not acknowledged
        """
        self._send[item.road](item, may_leave)

    def warm_up(self) -> None:
        """Load the libraries of the configured roads, and connect; it may take a second."""
        settings = self._settings()
        if RoadName.VTP in settings.road_names:
            voevent_sender.warm_up()
        if RoadName.KAFKA in settings.road_names:
            for is_burst, topic in (
                (True, settings.kafka.topic),
                (False, settings.kafka.test_topic),
            ):
                if topic is None:
                    continue
                # In a thread of its own: a broker that is away must not hold up other roads.
                sender = self._kafka_sender(is_burst=is_burst)
                threading.Thread(
                    target=sender.warm_up, args=(topic,), name="warm up kafka", daemon=True
                ).start()
        if RoadName.WEBHOOK in settings.road_names:
            from darc.delivery import webhook  # noqa: F401, PLC0415 - http, ssl, email

        if RoadName.CHAT in settings.road_names:
            from darc.delivery import chat  # noqa: PLC0415 - subprocess

            if not chat.is_installed():
                log.error("people cannot be notified of bursts: %s", chat.NOT_INSTALLED)

    def _by_vtp(self, item: PendingEvent, may_leave: Callable[[], bool]) -> None:
        settings = self._settings()
        where = settings.broker_host, settings.broker_port, settings.broker_timeout
        try:
            voevent_sender.send(item.content, *where)
        except SendError as error:
            raise DeliveryError(str(error)) from error

    def _by_kafka(self, item: PendingEvent, may_leave: Callable[[], bool]) -> None:
        # Who has heard of it hears what follows, whatever the topic is now.
        topic = self._target(item)
        topic = self._topic_of(item.event_id) or topic
        self.topics[item.key] = topic
        sender = self._kafka_sender(is_burst=item.is_burst)
        sender.send(topic, item.event_id, item.content, may_leave)

    def _by_webhook(self, item: PendingEvent, may_leave: Callable[[], bool]) -> None:
        from darc.delivery import webhook  # noqa: PLC0415 - see warm_up

        webhook.post_body(self._target(item), item.content, self._settings().webhook.timeout)

    def _as_file(self, item: PendingEvent, may_leave: Callable[[], bool]) -> None:
        settings = self._settings().file
        path = Path(settings.directory) / f"{item.event_id}.{item.number}.json"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, item.content)
        except OSError as error:
            raise DeliveryError(f"{path}: {error.strerror or error}") from error
        self._files.added(path.parent, settings.files_kept)

    def _to_people(self, item: PendingEvent, may_leave: Callable[[], bool]) -> None:
        self._target(item)
        self.people.send(item, self._settings().people(item.tense))

    def _target(self, item: PendingEvent) -> str:
        """Return where an item goes: that of its kind, which the settings may not have any more."""
        found = self._settings().target(item.road, item.tense)
        if found is None:
            which = "bursts" if item.tense is Tense.CURRENT else "tests"
            why = f"voevent_generator.{item.road} has no address for {which} any more"
            raise DeliveryError(why, permanent=True)
        return found

    def _kafka_sender(self, *, is_burst: bool) -> KafkaSender:
        """Return the connection, which is another one where its settings have changed."""
        with self._lock:
            settings = self._settings().kafka
            reached = settings.domain, settings.timeout, settings.client, settings.credentials
            client = KafkaClient(*reached)
            known = self._kafka.get(is_burst)
            if known is None or known.client != client:
                if known is not None:
                    known.close()
                known = self._kafka[is_burst] = KafkaSender(client)
            return known
