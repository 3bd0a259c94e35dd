"""Hosts of a box: names, addresses and configuration."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from darc.config.config_layers import expand_hosts
from darc.config.records import Struct

#: Every box has a network of its own: all use the same addresses.
GATEWAY = "10.77.255.254"
_PER_BLOCK = 250


class Host(Struct, frozen=True):
    """A host of a box.

    :param number: 0 for the master, and from 1 on for the workers, in their order
    """

    number: int
    name: str

    @property
    def address(self) -> str:
        block, place = divmod(self.number, _PER_BLOCK)
        return f"10.77.{block}.{place + 1}"


def worker_names(nodes: int) -> list[str]:
    """Return the default names of workers: `worker01` and so on.

    :param nodes: with the master
    :raises ValueError: no node at all
    """
    if nodes < 1:
        raise ValueError(f"{nodes} nodes are no box; it takes one or more")
    digits = max(2, len(str(nodes - 1)))
    return [f"worker{number:0{digits}d}" for number in range(1, nodes)]


def make_hosts(master: str, workers: Sequence[str]) -> tuple[Host, ...]:
    """Return the hosts of a box, the master first.

    :param workers: names, or ranges such as `arts[001-040]`
    :raises ValueError: not a host name or range, or a duplicate host
    """
    return tuple(Host(number, name) for number, name in enumerate(expand_hosts([master, *workers])))


def hosts_file(hosts: Sequence[Host]) -> str:
    """Return the text of /etc/hosts."""
    lines = ["127.0.0.1 localhost", "::1 localhost"]
    return "\n".join([*lines, *(f"{host.address} {host.name}" for host in hosts), ""])


def configuration(
    master: str, workers: Sequence[str], sections: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the content of config.yaml.

    :param sections: laid over the cluster's
    """
    cluster = {
        "master": master,
        "workers": list(workers),
        "user": "root",
        "ssh_port": 22,
        "python": sys.executable,
    }
    return _merged({"cluster": cluster}, sections)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        before = merged.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            merged[key] = _merged(before, value)
        else:
            merged[key] = value
    return merged
