"""Sender of messages to a Kafka broker, such as that of GCN, with acknowledgement.

confluent_kafka is imported at the first use (0.1 s, 15 MB), or by `warm_up`. Production is
idempotent, so what the client itself repeats is not doubled; what a later process sends again is,
with the same bytes and key.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from darc.config.records import Struct, field
from darc.delivery.credentials import Credentials, CredentialsError, read_credentials
from darc.delivery.outbox import DeliveryError

log = logging.getLogger(__name__)
#: Log of the Kafka client itself.
_client_log = logging.getLogger(f"{__name__}.client")

#: How soon a disabled switch, or an acknowledgement, is seen at most (s).
POLL_SECONDS = 0.05
FIRST_POLL_SECONDS = 0.001
#: The client looks once a second for messages that are past its own limit: twice that (s).
GRACE_SECONDS = 2.0
#: What a configuration may change. Connections are tried again soon, as an attempt is short.
DEFAULTS = {
    "enable.idempotence": "true",
    "linger.ms": "0",
    "reconnect.backoff.ms": "100",
    "reconnect.backoff.max.ms": "1000",
    "socket.keepalive.enable": "true",
}
#: What is said of whom the client cannot be had from.
NOT_INSTALLED = (
    "confluent-kafka or gcn-kafka is not installed (pip install 'darc[kafka]'), or cannot be loaded"
)


class KafkaClient(Struct, frozen=True):
    """How a broker is reached.

    :param domain: of GCN: its broker is kafka.<domain>, unless `settings` has bootstrap.servers
    :param settings: of the Kafka client, over ours
    :param credentials: path of client id, secret, and other secret settings; None: none
    :param timeout: of a message, after which the client does not send it any more, s
    """

    domain: str
    timeout: float
    settings: Mapping[str, str] = field(default_factory=dict)
    credentials: str | None = None

    @property
    def where(self) -> str:
        """Address of the broker, for people."""
        return self.settings.get("bootstrap.servers") or f"kafka.{self.domain}"

    def told(self, text: str, credentials: Credentials | None) -> str:
        """Return a text about the broker on one line, without the credentials."""
        text = f"Kafka at {self.where}: {' '.join(text.split())}"
        return credentials.hide(text) if credentials else text


class KafkaClientError(Exception):
    """No client can be made; the message says why."""


def kafka() -> Any:
    import confluent_kafka  # noqa: PLC0415 - see the top

    return confluent_kafka


def make_client(
    kind: str, client: KafkaClient, defaults: Mapping[str, str], ours: Mapping[str, Any]
) -> tuple[Any, Credentials | None]:
    """Make a client of gcn_kafka.

    :param kind: Producer or Consumer
    :param defaults: settings that those of `client` replace
    :param ours: settings that replace all others
    :return: the client, and its credentials
    :raises KafkaClientError: it cannot be made
    """
    try:
        credentials = read_credentials(Path(client.credentials)) if client.credentials else None
        import gcn_kafka  # noqa: PLC0415 - see the top
    except CredentialsError as error:
        raise KafkaClientError(str(error)) from None
    except ImportError as error:
        raise KafkaClientError(f"{NOT_INSTALLED}: {error}") from None
    secret = credentials.values() if credentials else {}
    own = {**ours, "domain": client.domain, "logger": _HidingLog(credentials)}
    try:
        made = getattr(gcn_kafka, kind)({**defaults, **client.settings, **secret, **own})
    except (kafka().KafkaException, ValueError, TypeError) as error:
        why = error.args[0] if error.args else error
        raise KafkaClientError(
            client.told(f"a setting of the client: {why}", credentials)
        ) from None
    return made, credentials


class KafkaSender:
    """Connection to a broker, made when it is needed. To be used by one thread, but `warm_up`."""

    def __init__(self, client: KafkaClient) -> None:
        self.client = client
        self._producer: Any = None
        self._credentials: Credentials | None = None
        self._last_error = ""
        self._lock = threading.Lock()

    def warm_up(self, topic: str) -> None:
        """Connect, so that the first message is sent without delay; errors are logged."""
        try:
            self._connected().list_topics(topic, self.client.timeout)
        except DeliveryError as error:
            log.error("notices cannot be sent: %s", error)
        except kafka().KafkaException as error:
            log.warning("%s", self._told(f"not connected yet: {error.args[0].str()}"))

    def send(
        self, topic: str, key: str, content: bytes, may_leave: Callable[[], bool] = lambda: True
    ) -> None:
        """Send a message, and return once the broker has acknowledged it.

        :param key: messages of the same key keep their order
        :param may_leave: asked while it waits: where it says no, the message is taken back, unless
            it is on its way already
        :raises DeliveryError: it was not acknowledged; permanent where a repetition would not help
        """
        producer = self._connected()
        library = kafka()
        answers: list[Any] = []
        limit = self.client.timeout + GRACE_SECONDS
        began = time.monotonic()
        try:
            producer.produce(
                topic,
                value=content,
                key=key.encode(),
                on_delivery=lambda error, message: answers.append(error),
            )
        except (BufferError, library.KafkaException) as error:
            raise self._failure(error.args[0] if error.args else error) from None
        purged = False
        while not answers and (elapsed := time.monotonic() - began) < limit:
            # Its own waits end at a time of day: where the clock is set back, much later.
            producer.poll(0)
            if not answers and not purged and not may_leave():
                purged = True
                producer.purge(in_queue=True, in_flight=False, blocking=True)
            if not answers:
                time.sleep(min(POLL_SECONDS, FIRST_POLL_SECONDS + elapsed / 20))
        if not answers:
            raise self._late()
        if answers[0] is not None:
            raise self._failure(answers[0])
        self._last_error = ""

    def topics(self) -> frozenset[str]:
        """Return the topics that the broker knows, and that this client may see; none is made.

        :raises DeliveryError: the broker did not answer in time
        """
        producer = self._connected()
        try:
            return frozenset(producer.list_topics(timeout=self.client.timeout).topics)
        except kafka().KafkaException as error:
            producer.poll(0)  # for the last error, which says more
            why = error.args[0].str() if error.args else str(error)
            more = f" ({self._last_error})" if self._last_error else ""
            raise DeliveryError(self._told(f"{why}{more}")) from None

    def close(self) -> None:
        """Give up the connection, and what waits in it; another is made when it is needed."""
        with self._lock:
            producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge(in_queue=True, in_flight=True, blocking=False)
            producer.poll(0)

    # -- the producer ----------------------------------------------------------------------------

    def _connected(self) -> Any:
        """Return the producer.

        :raises DeliveryError: it cannot be made
        """
        with self._lock:
            if self._producer is None:
                self._producer = self._made()
            return self._producer

    def _made(self) -> Any:
        self._last_error = ""
        ours = {
            "message.timeout.ms": str(max(1, round(self.client.timeout * 1e3))),
            "error_cb": self._note_error,
        }
        try:
            producer, self._credentials = make_client("Producer", self.client, DEFAULTS, ours)
        except KafkaClientError as error:
            raise DeliveryError(str(error)) from None
        return producer

    def _note_error(self, error: Any) -> None:
        self._last_error = error.str()

    def _failure(self, error: Any) -> DeliveryError:
        """Return what an error of the client means for a message."""
        library = kafka()
        if not isinstance(error, library.KafkaError):
            return DeliveryError(self._told(str(error)))
        if error.fatal():
            self.close()
        code = error.code()
        if code == library.KafkaError._MSG_TIMED_OUT:
            return self._late()
        why = error.str()
        if code == library.KafkaError._TRANSPORT:
            why = self._lost(why)
        permanent = code in (library.KafkaError.MSG_SIZE_TOO_LARGE, library.KafkaError.INVALID_MSG)
        return DeliveryError(self._told(why), permanent=permanent)

    def _late(self) -> DeliveryError:
        why = self._lost(f"not acknowledged within {self.client.timeout:g} s")
        return DeliveryError(self._told(why))

    def _lost(self, why: str) -> str:
        """Give up the connection, and add what the client last said of it.

        Another one connects at once: this one's wait to do so may end much later, see `send`.
        """
        self.close()
        return f"{why} ({self._last_error})" if self._last_error else why

    def _told(self, text: str) -> str:
        return self.client.told(text, self._credentials)


class _HidingLog:
    """Logger of the client, whose lines are without credentials, should it name any."""

    def __init__(self, credentials: Credentials | None) -> None:
        self._credentials = credentials

    def log(self, level: int, text: str, *arguments: object) -> None:
        line = text % arguments
        # It logs each failed connection, which the road does, too, once in a while.
        hidden = self._credentials.hide(line) if self._credentials else line
        _client_log.log(min(level, logging.DEBUG), "%s", hidden)
