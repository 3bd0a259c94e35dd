"""What ``darc doctor`` says of reading notices; nothing is sent."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence

from darc.config.config import Config
from darc.delivery.delivery_checks import chat_targets, kafka_credentials
from darc.runtime.check_result import CheckResult, good, warn, wrong
from darc.runtime.tcp_client import connect_tcp
from darc.services.alert_listener.settings import AlertListenerSettings

#: For a broker to take a connection (s).
ANSWER_SECONDS = 3.0
_SERVICE = "alert_listener"
_PORT = 9092  # of Kafka, where none is stated
_LAST_PORT = 65535
_SERVERS = "bootstrap.servers"


class AddressError(ValueError):
    """An address of a broker that cannot be used."""


def notices(config: Config) -> Iterator[CheckResult]:
    """Check what reading needs: topics and rules, the library, the credentials, a broker."""
    settings: AlertListenerSettings = config.section(_SERVICE)
    if not settings.is_on:
        lacks = "topics" if not settings.topics else "rules"
        yield wrong(f"nothing is read: {_SERVICE}.{lacks} is empty", "see docs/alerts_in.md")
        return
    if importlib.util.find_spec("gcn_kafka") is None:
        yield wrong("gcn_kafka is not installed: nothing can be read", "pip install 'darc[kafka]'")
    key = f"{_SERVICE}.credentials"
    yield from kafka_credentials(settings.credentials, key, settings.domain, settings.client)
    if settings.chat:
        yield from chat_targets(settings.chat, config.chat)
    found: list[tuple[str, int]] = []
    for text in stated(settings):
        try:
            found.append(address(text))
        except AddressError as error:
            yield wrong(f"{_SERVERS}: {error}", f"set {_SERVICE}.client")
    yield from _reached(found)


def stated(settings: AlertListenerSettings) -> list[str]:
    """Return the brokers' addresses as they are configured; empty ones are none to Kafka, too."""
    text = settings.client.get(_SERVERS) or f"kafka.{settings.domain}"
    return [one for part in text.split(",") if (one := part.strip())]


def address(text: str) -> tuple[str, int]:
    """Return host and port of a broker: `[LISTENER://]HOST[:PORT]`, an IPv6 address in brackets.

    :raises AddressError: it has no host, or a port that is none
    """
    rest = text.rpartition("://")[2]
    host, colon, port = rest.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = rest, str(_PORT)
    host = host.removeprefix("[").removesuffix("]")
    if not host:
        raise AddressError(f"{text!r} has no host")
    if not (port.isascii() and port.isdecimal() and 0 < int(port) <= _LAST_PORT):
        raise AddressError(f"{text!r}: {port!r} is not a port, 1 to {_LAST_PORT}")
    return host, int(port)


def _reached(addresses: Sequence[tuple[str, int]]) -> Iterator[CheckResult]:
    """Say which brokers take a connection, which is closed again; one is enough to read."""
    reached: list[str] = []
    missed: list[str] = []
    for host, port in addresses:
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            connect_tcp((host, port), ANSWER_SECONDS).close()
        except TimeoutError:
            missed.append(f"{where}: no answer within {ANSWER_SECONDS:g} s")
        except OSError as error:
            missed.append(f"{where}: {error.strerror or error}")
        except UnicodeError:  # a label that is empty, or longer than names of hosts have
            missed.append(f"{where}: not the name of a host")
        else:
            reached.append(where)
    if reached:
        takes = "takes" if len(reached) == 1 else "take"
        yield good(f"{' and '.join(reached)} {takes} connections")
    if missed:
        say = warn if reached else wrong
        yield say("; ".join(missed), f"see {_SERVICE}.domain and client, and the network to there")
