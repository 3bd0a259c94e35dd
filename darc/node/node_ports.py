"""What a node listens on, and who has it instead."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from darc.config.config import Config
from darc.node.processes import who_listens
from darc.runtime.service_traits import traits_of


@dataclass(frozen=True, slots=True)
class NodePort:
    """A TCP port of a node.

    :param what: for people
    :param key: section and key of the configuration
    """

    what: str
    key: str
    address: tuple[str, int]
    needed: bool = True


def listeners(config: Config) -> Iterator[NodePort]:
    """All that this host's node listens on as it is configured."""
    services = config.services()
    yield NodePort("commands", "darc_master.port", (config.bind_address, config.master.port))
    metrics = config.metrics
    if metrics.port is not None:
        address = metrics.bind, metrics.port
        yield NodePort("metrics", "metrics.port", address, needed=False)
    for name in services:
        port = traits_of(name).port
        if port is None:
            continue
        settings = config.section(name)
        number = getattr(settings, port.key)
        if number is not None:
            bind = getattr(settings, port.bind_key) if port.bind_key else config.bind_address
            yield NodePort(port.what, f"{name}.{port.key}", (bind, number), port.needed)


def not_to_be_had(config: Config) -> Iterator[str]:
    """Of those without which a node works, in words; it goes on trying."""
    for one in listeners(config):
        if one.needed:
            continue
        error = bind_error(one.address)
        if error is None:
            continue
        host, port = one.address
        by = f": used by {who_listens(port)}" if error.errno == errno.EADDRINUSE else ""
        yield (
            f"{one.what}: nothing is served at {host}:{port}: {error.strerror}{by};"
            f" set {one.key} to another one, or end that process"
        )


def bind_error(address: tuple[str, int]) -> OSError | None:
    """What is wrong with an address to listen on; None: it can be had."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return error
    return None
