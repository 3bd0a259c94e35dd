"""Listens to notices of others, and acts by the rules of the configuration (docs/alerts_in.md).

What follows from a batch of notices is one commit, with the note that it was used; only then is the
broker told how far this node has read. So after a death notices come again, and are known.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from typing import Any, ClassVar

from darc.delivery.kafka_reader import KafkaReader
from darc.delivery.kafka_reading import ReadLimits, ReadMessage, ReadSource
from darc.delivery.kafka_sender import KafkaClient
from darc.model.counters import plain_counts
from darc.model.observation import Observation
from darc.model.outside_notice import NoticeError, read_notice
from darc.node.losses import SOURCES_UNKNOWN, LossKind
from darc.runtime.clock import Instant
from darc.runtime.fault_points import fault_point
from darc.runtime.log import ABOUT_TRIGGER
from darc.services.alert_listener.actor import NoticeActor
from darc.services.alert_listener.notice_step import NoticeStep
from darc.services.alert_listener.settings import AlertListenerSettings
from darc.services.alert_listener.traits import TRAITS
from darc.services.base.chats import PEOPLE_NOT_TOLD, Chats
from darc.services.base.mails import MAIL_GIVEN_UP, Mails
from darc.services.base.service import Service

log = logging.getLogger(__name__)

#: Of the latest notices and uses, how many are told.
TOLD = 20
#: Batches between two heartbeats.
BATCHES = 2
#: A stream that is away for so long is a loss (s): what comes later may be too old to act.
AWAY_SECONDS = 600.0
#: Between two log lines about notices that cannot be read (s).
SAY_SECONDS = 1.0

USE_REFUSED = LossKind(
    "notice_use_refused",
    "notices of others were not acted upon: more than alert_listener.max_uses_per_hour",
    "See `get_attr notices`; make the rules narrower, or raise the limit.",
)
NOT_READ = LossKind(
    "notices_not_read",
    "notices of others were not read for a while, and may be too old to act upon",
    "See `get_attr stream` of alert_listener, and `darc doctor` on this node.",
)


class AlertListener(Service[AlertListenerSettings]):
    """Service that acts upon notices of others."""

    name = "alert_listener"
    traits = TRAITS
    settings_type = AlertListenerSettings
    outward = True
    attributes: ClassVar[tuple[str, ...]] = (
        "stream",
        "connected",
        "outcomes",
        "notices",
        "uses",
        "used",
        "lowered",
        "dumps_due",
        "mails_waiting",
        "messages_waiting",
    )
    loss_kinds = (USE_REFUSED, NOT_READ, MAIL_GIVEN_UP, PEOPLE_NOT_TOLD, SOURCES_UNKNOWN)

    def prepare(self) -> None:
        """Start without notices; nothing is connected yet."""
        self.used = 0
        self._outcomes: Counter[str] = Counter()
        self._latest: deque[dict[str, Any]] = deque(maxlen=TOLD)
        self._heard: float | None = None  # Unix s
        self._may_say = 0.0
        self._well = Instant.now()
        self._away_said = False
        self._sources_said = ""
        self._reader: KafkaReader | None = None
        self._read_by: ReadSource | None = None
        self._mails = Mails(self, self.settings.email_settings.to)
        self._chats = Chats(self)
        self._actor = NoticeActor(self.config, self.settings)

    # -- attributes ----------------------------------------------------------------------------

    @property
    def connected(self) -> int:
        """Whether a broker is connected: 1 or 0."""
        return int(self._reader is not None and self._reader.connected)

    @property
    def stream(self) -> dict[str, Any]:
        """State of the connection, and when the last notice came (Unix s)."""
        error = self._reader.error if self._reader else "off: no topics, or no rules"
        return {"connected": bool(self.connected), "error": error, "last_notice": self._heard}

    @property
    def outcomes(self) -> dict[str, int]:
        """Number of notices by what became of them, since this process was started."""
        # Copied as a whole, as other threads count.
        counts = self._outcomes.copy()
        counts.update(self._reader.dropped.copy() if self._reader else {})
        return plain_counts(counts)

    @property
    def notices(self) -> list[dict[str, Any]]:
        """The latest notices, and what each rule made of them."""
        return list(self._latest)

    @property
    def uses(self) -> list[dict[str, Any]]:
        """The latest uses of notices."""
        return self._actor.book.latest(TOLD)

    @property
    def lowered(self) -> list[dict[str, Any]]:
        """The thresholds that are lowered, or will be where their place is observed."""
        return self._actor.lowerings()

    @property
    def dumps_due(self) -> int:
        """Number of dumps of bursts that are still to arrive at our frequencies."""
        return self._actor.dumps_due

    @property
    def mails_waiting(self) -> list[str]:
        """E-mails that the server has not accepted yet, with the reason."""
        return self._mails.waiting

    @property
    def messages_waiting(self) -> list[str]:
        """Messages that targets of chats have not taken yet, with the reason."""
        return self._chats.waiting

    # -- hooks ---------------------------------------------------------------------------------

    def recover(self, memory: dict[str, Any]) -> None:
        """Go on with what earlier notices have started."""
        self._actor.recover(memory)
        self._mails.send(memory)
        self._chats.send(memory)

    def reloaded(self) -> None:
        """Use the rules of the new configuration."""
        self._actor.use(self.config, self.settings)

    def start_observation(self, observation: Observation, memory: dict[str, Any]) -> None:
        """Lower thresholds that are lowered now, where this observes what they are lowered for."""
        self._actor.use(self.config, self.settings)
        if self.is_past(observation):
            return  # nothing of it is in the time of a notice
        step = NoticeStep(time.time())
        self._actor.begin(observation, step)
        self._commit(step)

    def stop_observation(self, observation: Observation) -> None:
        """Nothing has to be waited for."""
        self._actor.end(observation)
        self.finish(observation)

    def abort_observation(self, observation: Observation) -> None:
        """Drop what waits for it."""
        self._actor.end(observation)

    def idle(self) -> None:
        """Act upon the notices that have come, and do what is due."""
        self._follow_settings()
        for _ in range(BATCHES):
            batch = self._reader.take() if self._reader else None
            if batch is None or self._reader is None:
                break
            step = NoticeStep(time.time())
            for message in batch.messages:
                self._act(message, step)
                self.queue_link.heartbeat_if_due()
            self._commit(step)
            fault_point("alert_listener.before telling the broker")
            self._reader.done(batch)
        self._watch_stream()
        self._watch_sources()
        step = NoticeStep(time.time())
        self._actor.look(step)
        self._commit(step)
        self._mails.delete_sent()
        self._chats.delete_sent()

    def _takes_reloads(self) -> bool:
        return not self._running

    # -- notices -------------------------------------------------------------------------------

    def _follow_settings(self) -> None:
        """Read what the settings say, which may have changed."""
        settings = self.settings
        client = KafkaClient(settings.domain, 0.0, settings.client, settings.credentials)
        limits = ReadLimits(settings.max_bytes, settings.max_per_second)
        source = ReadSource(client, settings.topics, settings.group, limits)
        wanted = source if settings.is_on else None
        if wanted == self._read_by:
            return
        if self._reader:
            self._reader.close()
            self._outcomes.update(self._reader.dropped)
        self._read_by = wanted
        self._reader = KafkaReader(wanted) if wanted else None

    def _watch_stream(self) -> None:
        """Count it as a loss where notices are not read for long."""
        if self._reader is None or (self._reader.connected and not self._reader.error):
            self._well, self._away_said = Instant.now(), False
        elif self._well.age() > AWAY_SECONDS and not self._away_said:
            self._away_said = True
            self.lost(NOT_READ, "notices of others", self._reader.error or "not connected")

    def _watch_sources(self) -> None:
        """Count it as a loss where rules cannot go by the known sources."""
        problem = self._actor.sources_problem
        if problem and problem != self._sources_said:
            self.lost(SOURCES_UNKNOWN, "known sources of rules", problem)
        self._sources_said = problem

    def _act(self, message: ReadMessage, step: NoticeStep) -> None:
        """Act upon a message; what follows is in the step."""
        step.now = self._heard = time.time()
        row: dict[str, Any] = {"topic": message.topic, "at": step.now}
        try:
            notice = read_notice(message.content, message.topic)
        except NoticeError as error:
            self._outcomes["unusable"] += 1
            row["error"] = str(error)
            if time.monotonic() >= self._may_say:
                self._may_say = time.monotonic() + SAY_SECONDS
                log.warning("a notice of %s is unusable: %s", message.topic, error)
        else:
            verdicts = self._actor.act(notice, step)
            row |= {"id": notice.id, "alert_type": str(notice.kind), "rules": verdicts}
            self._outcomes[self._actor.outcome] += 1
            log.debug("notice %s of %s: %s", notice.id, notice.source, verdicts)
        self._latest.append(row)

    def _commit(self, step: NoticeStep) -> None:
        """Commit a step, if there is anything in it, and send its e-mails."""
        for what, why in step.refused:
            self.lost(USE_REFUSED, what, why)
        if step.commit.memory or step.commit.puts:
            self.commit(step.commit)
        for use in step.uses:
            self.used += 1
            words = use.source, use.id, use.rule, use.what
            log.warning("notice of %s, id %s: rule %s: %s", *words, extra=ABOUT_TRIGGER)
        for line in step.lines:
            log.warning("%s", line, extra=ABOUT_TRIGGER)
        written = {key: value for key, value in step.memory.items() if value is not None}
        self._mails.send(written)
        self._chats.send(written)
