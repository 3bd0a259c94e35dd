"""Nodes to query for their overviews."""

from __future__ import annotations

from darc.cli.remote_commands import HERE, chosen_hosts, is_here
from darc.config.config import Config, Role
from darc.monitor.cluster_watch import NodeTarget
from darc.node.endpoint import endpoint_file


def targets(config: Config, wanted: str | None) -> tuple[NodeTarget, ...]:
    """Return the addresses of nodes, the master first.

    :param wanted: a host, or all; None: all on the master node, else this one
    :raises TerminalError: the host is not in the cluster
    """
    if wanted is None:
        wanted = "all" if config.role is Role.MASTER else HERE[0]
    return tuple(_target(config, host) for host in chosen_hosts(config, wanted))


def _target(config: Config, host: str) -> NodeTarget:
    if is_here(config, host):
        # Without an endpoint the default port would be asked, which may be another node's.
        port = None if endpoint_file().exists() else config.master.port
        return NodeTarget(host, HERE[0], port)
    return NodeTarget(host, host, config.master.port)
