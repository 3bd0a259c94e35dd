"""Orders to many nodes in parallel, and the progress of each."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Iterator, Sequence

from darc import __version__
from darc.cluster import ssh
from darc.cluster.remote import RemoteOrder, RemoteResult, config_warnings
from darc.config.config import Config, ConfigError, Role
from darc.config.config_layers import expand_hosts
from darc.config.host_names import same_host
from darc.config.records import Struct, replace
from darc.runtime.fan_out import fan_out

#: Largest clock difference that is not reported (s).
CLOCK_SECONDS = 2.0


class NodePhase(enum.StrEnum):
    """Phase of an order on a node."""

    WAITING = "waiting"
    AT_WORK = "at work"
    DONE = "done"
    FAILED = "failed"
    UNREACHED = "not reached"


class NodeProgress(Struct, frozen=True):
    """Progress of an order on a node.

    :param seconds: duration so far, or of the finished order
    :param detail: result or error; its first line is shown in tables
    :param remarks: problematic differences from the other nodes
    :param notes: further information, not a failure
    """

    host: str
    role: str
    phase: NodePhase = NodePhase.WAITING
    seconds: float = 0.0
    detail: str = ""
    remarks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ended(self) -> bool:
        return self.phase not in (NodePhase.WAITING, NodePhase.AT_WORK)

    @property
    def summary(self) -> str:
        """Detail, remarks and notes in one line."""
        first = self.detail.partition("\n")[0]
        return "; ".join(filter(None, (first, *self.remarks, *self.notes)))

    @property
    def is_good(self) -> bool:
        return self.phase is NodePhase.DONE and not self.remarks


def chosen_nodes(config: Config, wanted: Sequence[str]) -> tuple[str, ...]:
    """Return the selected nodes of the cluster, the master first.

    :param wanted: names or ranges such as arts[001-040]; empty: all nodes
    :raises ConfigError: a name is not in the cluster
    """
    nodes = config.nodes()
    if not wanted:
        return nodes
    try:
        names = expand_hosts(wanted)
    except ValueError as error:
        raise ConfigError(f"--nodes: {error}") from error
    foreign = [name for name in names if not any(same_host(name, node) for node in nodes)]
    if foreign:
        raise ConfigError(f"--nodes: not in the cluster: {', '.join(foreign)}")
    return tuple(node for node in nodes if any(same_host(node, name) for name in names))


def role_of(config: Config, host: str) -> str:
    """Return the role of a node in this host's configuration."""
    if config.role is Role.STANDALONE:
        return Role.STANDALONE.value
    return Role.MASTER.value if host == config.cluster.master else Role.WORKER.value


def carry_out_on(
    config: Config,
    hosts: Sequence[str],
    order: RemoteOrder,
    timeout: float,
    report: Callable[[NodeProgress], None],
) -> list[NodeProgress]:
    """Carry out an order on nodes in parallel, each within its own timeout.

    :param timeout: s per node
    :param report: called with each change, from several threads
    """

    def work(host: str) -> NodeProgress:
        return _carry_out_on_node(config, host, order, timeout, report)

    return list(fan_out(work, hosts, parallel=config.cluster.parallel).values())


def _carry_out_on_node(
    config: Config,
    host: str,
    order: RemoteOrder,
    timeout: float,
    report: Callable[[NodeProgress], None],
) -> NodeProgress:
    began, asked = time.monotonic(), time.time()
    progress = NodeProgress(host, role_of(config, host), NodePhase.AT_WORK)
    report(progress)
    try:
        result = ssh.carry_out(config, host, order, timeout)
    except ssh.UnreachedError as error:
        progress = replace(progress, phase=NodePhase.UNREACHED, detail=str(error))
    else:
        detail = result.error or (result.lines[-1] if result.lines else "")
        progress = replace(
            progress,
            phase=NodePhase.FAILED if result.error else NodePhase.DONE,
            detail=detail,
            remarks=tuple(_differences(config, host, result, asked)),
            # Warnings about the configuration of this host have been printed already.
            notes=tuple(note for note in result.notes if note not in config_warnings(config)),
        )
    progress = replace(progress, seconds=time.monotonic() - began)
    report(progress)
    return progress


def _differences(config: Config, host: str, result: RemoteResult, asked: float) -> Iterator[str]:
    """Yield the differences between a node and this host.

    :param asked: Unix time on this host before the order was sent
    """
    if result.version != __version__:
        yield f"has DARC {result.version}, here it is {__version__}"
    role, master = role_of(config, host), config.cluster.master
    if result.role and result.role != role:
        yield f"is a {role} in the configuration here, and a {result.role} in its own"
    if result.role and result.master != master:
        yield f"the master is {master} here, and {result.master or 'none'} in its configuration"
    # However long the transfer took, the node has begun after `asked`, and finished before now.
    ahead, behind = result.time - time.time(), asked - result.began
    if ahead > CLOCK_SECONDS:
        yield f"its clock is {ahead:.1f} s or more ahead of the one here"
    if behind > CLOCK_SECONDS:
        yield f"its clock is {behind:.1f} s or more behind the one here"
