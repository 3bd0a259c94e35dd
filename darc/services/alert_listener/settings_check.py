"""What ``darc doctor`` says of the settings; nothing is sent."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

from darc.delivery.credentials import CredentialsError, read_credentials
from darc.services.alert_listener.settings import AlertListenerSettings

_PORT = 9092  # of Kafka, where none is stated


def problems(settings: AlertListenerSettings) -> Iterator[tuple[str, str]]:
    """Yield what keeps notices from being read, and what to do."""
    if not settings.is_on:
        lacks = "topics" if not settings.topics else "rules"
        yield f"nothing is read: alert_listener.{lacks} is empty", "see docs/alerts_in.md"
        return
    if importlib.util.find_spec("gcn_kafka") is None:
        yield "gcn_kafka is not installed: nothing can be read", "pip install 'darc[kafka]'"
    if settings.credentials:
        try:
            read_credentials(Path(settings.credentials))
        except CredentialsError as error:
            yield str(error), "see docs/alerts.md, credentials of Kafka"


def addresses(settings: AlertListenerSettings) -> Iterator[tuple[str, int]]:
    """Yield host and port of each broker."""
    if not settings.is_on:
        return
    stated = settings.client.get("bootstrap.servers") or f"kafka.{settings.domain}"
    for text in stated.split(","):
        # A listener's name may stand before it, and an IPv6 address be in brackets.
        host, colon, port = text.strip().rpartition("://")[2].rpartition(":")
        if not colon or port.endswith("]"):
            host, port = text.strip().rpartition("://")[2], str(_PORT)
        if port.isdecimal():
            yield host.strip("[]"), int(port)
