"""Ports of a node, and the processes that occupy them."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

from darc.config.config import Config
from darc.config.records import Struct
from darc.node.listening_process import who_listens
from darc.runtime.service_traits import traits_of


class NodePort(Struct, frozen=True):
    """A TCP port of a node.

    :param what: description for people
    :param key: section and key of the configuration
    """

    what: str
    key: str
    address: tuple[str, int]
    needed: bool = True


def listeners(config: Config) -> Iterator[NodePort]:
    """Yield the configured ports of this host's node."""
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


def unavailable_ports(config: Config) -> Iterator[str]:
    """Yield a message per unavailable optional port; the node keeps trying to bind it."""
    for one in listeners(config):
        if one.needed:
            continue
        error = bind_error(one.address)
        if error is None:
            continue
        host, port = one.address
        by = f": used by {who_listens(port)}" if error.errno == errno.EADDRINUSE else ""
        yield (
            f"{one.what}: cannot listen on {host}:{port}: {error.strerror}{by};"
            f" set {one.key} to another port, or stop that process"
        )


def bind_error(address: tuple[str, int]) -> OSError | None:
    """Return why an address cannot be listened on; None if it can."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return error
    return None
