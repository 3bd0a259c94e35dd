"""Checks of configuration values against each other."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from darc.config import settings
from darc.config.config_layers import expand_hosts, value_at
from darc.config.ivoid import ALLOWED, is_ivoid
from darc.config.typed import Reader, Value, shown
from darc.config.web_address import ALLOWED as WEB_ADDRESS
from darc.config.web_address import is_web_address

_SCHEDULER = re.compile(
    r"(?:(?P<scheme>tls|tcp)://)?(?P<host>[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})"
)


def check(reader: Reader, tree: Value, found: Mapping[str, Any]) -> None:
    """Report values that contradict each other.

    :param reader: collects the problems
        :param tree: the merged configuration, for file and line
    :param found: the settings by their field in Config; None for those already known to be wrong
    """
    amber, processor = found["amber_clustering"], found["processor"]
    if amber:
        _check_periods(reader, tree, amber, "amber_clustering")
    if processor:
        _check_periods(reader, tree, processor.clustering, "processor", "clustering")
        _check_scheduler(reader, tree, processor)
    if found["control"]:
        _check_addresses(reader, tree, found["control"])
    if found["voevent_generator"]:
        _check_ivoids(reader, tree, found["voevent_generator"])
    if found["alarms"]:
        _check_alarms(reader, tree, found["alarms"])
    if found["cluster"]:
        _check_cluster(reader, tree, found["cluster"])


def _check_periods(
    reader: Reader,
    tree: Value,
    section: settings.AmberClusteringSettings | settings.ProcessorClustering,
    *path: str,
) -> None:
    low, high = section.sb_filter_period_min, section.sb_filter_period_max
    if low >= high:
        path = (*path, "sb_filter_period_max")
        what = f"{high} is not above sb_filter_period_min"
        reader.complain(value_at(tree, *path), ".".join(path), what, f"a number above {low}")


def _check_scheduler(reader: Reader, tree: Value, section: settings.ProcessorSettings) -> None:
    if section.scheduler is None:
        return
    match = _SCHEDULER.fullmatch(section.scheduler)
    key = "scheduler_tls" if section.scheduler_tls else "scheduler"
    if match is None:
        what = f"{shown(section.scheduler)} is not a scheduler address"
        allowed = "tls://<host>:<port>, or tcp://localhost:<port>"
    elif match["scheme"] == "tls":
        if section.scheduler_tls is not None:
            return
        what = f"{section.scheduler} without processor.scheduler_tls"
        allowed = "TLS files: {ca: <file>, certificate: <file>, key: <file>}"
    elif section.scheduler_tls is not None:
        what, allowed = f"not used for {section.scheduler}", "an address that starts with tls://"
    elif section.scheduler_unencrypted or _is_loopback(match["host"]):
        return
    else:
        what = f"{section.scheduler}: anyone on the network path could run programs here"
        allowed = (
            "tls://<host>:<port> with processor.scheduler_tls, a scheduler on this host, or"
            " processor.scheduler_unencrypted: true in a private network"
        )
    reader.complain(value_at(tree, "processor", key), f"processor.{key}", what, allowed)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _check_ivoids(reader: Reader, tree: Value, section: settings.VOEventGeneratorSettings) -> None:
    for key, text in (("stream", section.stream), ("author_ivorn", section.author_ivorn)):
        if not is_ivoid(text):
            value = value_at(tree, "voevent_generator", key)
            what = f"{text!r} is not an IVOA identifier"
            reader.complain(value, f"voevent_generator.{key}", what, ALLOWED)


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
    urls = value_at(tree, "alarms", "webhooks")
    for number, url in enumerate(alarms.webhooks, start=1):
        if not is_web_address(url):
            # The address is not shown: it may contain a secret.
            what = f"number {number} is not a webhook address"
            reader.complain(urls, "alarms.webhooks", what, WEB_ADDRESS)


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
