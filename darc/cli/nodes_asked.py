"""Which nodes are asked for their overviews, and what is to be known to judge them."""

from __future__ import annotations

from darc.cli.elsewhere import HERE, chosen_hosts, is_here
from darc.config.config import Config, Role
from darc.monitor.collect import Target
from darc.monitor.findings import Context
from darc.monitor.shell_commands import Shell


def targets(config: Config, wanted: str | None) -> tuple[Target, ...]:
    """Where nodes are asked, the master first.

    :param wanted: a host, or all; None: all from the master, elsewhere this one
    :raises TerminalError: it is not in the cluster
    """
    if wanted is None:
        wanted = "all" if config.role is Role.MASTER else HERE[0]
    return tuple(_target(config, host) for host in chosen_hosts(config, wanted))


def _target(config: Config, host: str) -> Target:
    if is_here(config, host):
        return Target(host, HERE[0], None)
    return Target(host, host, config.master.port)


def context(config: Config) -> Context:
    """How problems are named, and what is to be typed on this host."""
    alone = config.role is Role.STANDALONE
    master = "" if alone else config.nodes()[0]
    return Context(config.status_website.service_to_name, master, Shell(alone))
