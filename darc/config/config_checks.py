"""Checks of a node's settings against each other."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from darc.config import settings
from darc.config.config_layers import expand_hosts, value_at
from darc.config.typed import Reader, Value
from darc.config.web_address import ALLOWED as WEB_ADDRESS
from darc.config.web_address import is_web_address


def check(reader: Reader, tree: Value, found: Mapping[str, Any]) -> None:
    """Report values that contradict each other.

    :param reader: collects the problems
    :param tree: the merged configuration, for file and line
    :param found: the settings by their field in Config; None for those already known to be wrong
    """
    if found["control"]:
        _check_addresses(reader, tree, found["control"])
    if found["alarms"]:
        _check_alarms(reader, tree, found["alarms"])
        if found["chat"] and found["alarms"].chat and found["chat"].targets is None:
            what = "targets are named, but chat.targets is null"
            allowed = "chat.targets: the file with their addresses"
            reader.complain(value_at(tree, "alarms", "chat"), "alarms.chat", what, allowed)
    if found["cluster"]:
        _check_cluster(reader, tree, found["cluster"])


def _check_addresses(reader: Reader, tree: Value, control: settings.ControlSettings) -> None:
    entries = value_at(tree, "control", "allow_unsigned_from").data
    for entry, address in zip(entries, control.allow_unsigned_from, strict=True):
        try:
            ipaddress.ip_network(address, strict=False)
        except ValueError:
            what = f"{address!r} is not an address"
            allowed = "IP addresses or networks, such as 10.1.0.0/16"
            reader.complain(entry, "control.allow_unsigned_from", what, allowed)


def _check_alarms(reader: Reader, tree: Value, alarms: settings.AlarmSettings) -> None:
    hosts = value_at(tree, "alarms", "ignore")
    _check_hosts(reader, hosts, "alarms.ignore", *alarms.ignore)
    # The addresses are not shown: they may contain a secret.
    for key, kind, urls in (
        ("webhooks", "a webhook address", alarms.webhooks),
        ("alertmanagers", "a web address", alarms.alertmanagers),
    ):
        for number, url in enumerate(urls, start=1):
            if not is_web_address(url):
                what = f"number {number} is not {kind}"
                reader.complain(value_at(tree, "alarms", key), f"alarms.{key}", what, WEB_ADDRESS)


def _check_cluster(reader: Reader, tree: Value, cluster: settings.ClusterSettings) -> None:
    master = value_at(tree, "cluster", "master")
    workers = value_at(tree, "cluster", "workers")
    wrong = False
    for entry, name in zip(workers.data, cluster.workers, strict=True):
        wrong |= _check_hosts(reader, entry, "cluster.workers", name)
    if cluster.master is None:
        if cluster.workers:
            reader.complain(master, "cluster.master", "null with workers", "a host name")
        return
    if "[" in cluster.master:
        what = f"{cluster.master!r} is more than one host"
        reader.complain(master, "cluster.master", what, "a host name")
        return
    wrong |= _check_hosts(reader, master, "cluster.master", cluster.master)
    if not wrong:
        # The master is checked with them: no host may have both roles.
        _check_hosts(reader, workers, "cluster.workers", cluster.master, *cluster.workers)


def _check_hosts(reader: Reader, value: Value, path: str, *names: str) -> bool:
    """Report names that are not host names or occur twice; return whether there are any."""
    try:
        expand_hosts(names)
    except ValueError as error:
        allowed = {"cluster.master": "a host name", "alarms.ignore": _IGNORED}.get(path, _WORKERS)
        reader.complain(value, path, str(error), allowed)
        return True
    return False


_IGNORED = "host names and ranges such as arts[001-040]"
_WORKERS = "host names and ranges such as arts[001-040], each host once and none the master"
