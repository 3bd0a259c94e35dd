"""Which settings of a Kafka client are secret."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from darc.config.typed import Contradiction

#: Ends of their names: they belong into the file of credentials.
_SECRET = ("password", "secret", "client_secret", "key.pem", "credentials", "passphrase")


def secrets_in_client(client: Mapping[str, str]) -> Iterator[Contradiction]:
    """Yield the secrets in the setting `client`, which others could read there."""
    for name in client:
        if name.endswith(_SECRET):
            what = f"{name} is secret"
            yield Contradiction("client", what, "a line of it in the file `credentials`")
