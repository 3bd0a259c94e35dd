"""What a node listens on, and who has it instead."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from darc.config.config import Config
from darc.node.processes import who_listens


@dataclass(frozen=True, slots=True)
class NodePort:
    """A TCP port of a node.

    :param what: for people
    :param key: section and key of the configuration
    """

    what: str
    key: str
    address: tuple[str, int]


def listeners(config: Config) -> Iterator[NodePort]:
    """All that this host's node listens on as it is configured."""
    services = config.services()
    yield NodePort("commands", "darc_master.port", (config.bind_address, config.master.port))
    metrics, page = config.metrics, config.status_website
    if metrics.port is not None:
        yield NodePort("metrics", "metrics.port", (metrics.bind, metrics.port))
    if "status_website" in services and page.port is not None:
        yield NodePort("the status page", "status_website.port", (page.bind, page.port))


def not_to_be_had(config: Config) -> Iterator[str]:
    """Of those without which a node works, in words; it goes on trying."""
    for one in listeners(config):
        if one.key == "darc_master.port":
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
