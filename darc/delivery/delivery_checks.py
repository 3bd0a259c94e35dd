"""What ``darc doctor`` says of credentials and targets, whoever sends or reads with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from darc.config.settings import ChatSettings
from darc.delivery import chat
from darc.delivery.credentials import CredentialsError, read_credentials
from darc.runtime.check_result import CheckResult, good, wrong

Say = Callable[[str, str], CheckResult]


def kafka_credentials(
    path: str | None, key: str, domain: str, client: Mapping[str, str], say: Say = wrong
) -> Iterator[CheckResult]:
    """Check the credentials of a Kafka broker.

    :param key: of the credentials in the configuration
    :param domain: of GCN, whose broker it is unless `client` names another
    :param say: makes the result where something is wrong
    """
    if path is None:
        if "bootstrap.servers" not in client:
            yield say(f"no credentials, without which {domain} takes nothing", f"set {key}")
        return
    try:
        read_credentials(Path(path))
    except CredentialsError as error:
        yield say(str(error), f"chmod 600 {path}, or set {key}")
    else:
        yield good(f"{path} is readable by its owner alone")


def chat_targets(
    names: Sequence[str], settings: ChatSettings, say: Say = wrong
) -> Iterator[CheckResult]:
    """Check each of these targets of messages to people; `say` as above."""
    for name, why in chat.troubles(names, settings).items():
        remedy = chat.remedy(why, settings)
        yield say(f"{name}: {why}", remedy) if why else good(f"{name}: usable")
