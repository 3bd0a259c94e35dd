"""Checks of the node: its ports, processes, journal and overview."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from darc.cli.check_results import ANSWER_SECONDS, CheckedNode
from darc.cli.nodes_asked import targets
from darc.cli.terminal_text import size
from darc.config.config import Role
from darc.monitor.cluster_watch import collect
from darc.monitor.findings import RuleContext
from darc.monitor.problems import find_problems
from darc.monitor.rules import CLOCK_SECONDS
from darc.node import node_identity
from darc.node.endpoint import EndpointError, read_endpoint
from darc.node.listening_process import who_listens
from darc.node.node_identity import NodeError
from darc.node.node_owner import ElsewhereError
from darc.node.node_ports import listeners
from darc.node.processes import NODE_ID
from darc.node.state_format import JOURNAL
from darc.runtime.check_result import CheckResult, good, warn, wrong

#: Fraction of the journal's limit above which a warning is given.
NEARLY = 0.8
_IPV4 = Path("/proc/sys/net/ipv4")


def ports(checked: CheckedNode) -> Iterator[CheckResult]:
    bad, held = False, 0
    known: dict[int, str] = {}
    for own in listeners(checked.config):
        key, port = own.key, own.address[1]
        if port in known:
            bad = True
            yield wrong(f"{port} is both {known[port]} and {key}", f"darc edit: another {key}")
        known[port] = key
        for one in checked.listeners:
            if one.port != port:
                continue
            if one.pid and checked.is_ours(one.pid):
                held += 1
                continue
            bad = True
            yield wrong(
                f"{port}, for {own.what}, is held by {who_listens(port)}",
                f"end that process, or darc edit: another {key}",
            )
            break
    if not bad:
        yield good(f"{', '.join(map(str, known))}: {held} held by this node, the others free")
    yield from _ephemeral(sorted(known))


def _ephemeral(ports: Sequence[int]) -> Iterator[CheckResult]:
    """Warn of ports that Linux may give to an outgoing connection before the node has them."""
    low, high = map(int, (_IPV4 / "ip_local_port_range").read_text().split())
    reserved = (_IPV4 / "ip_local_reserved_ports").read_text().strip()
    kept = set[int]()
    for part in filter(None, reserved.split(",")):
        first, _, last = part.partition("-")
        kept.update(range(int(first), int(last or first) + 1))
    if exposed := [str(port) for port in ports if low <= port <= high and port not in kept]:
        value = ",".join([*filter(None, [reserved]), *exposed])
        yield warn(
            f"any outgoing connection may take {', '.join(exposed)} while the node is down"
            f" (ephemeral ports are {low} to {high}); set it in /etc/sysctl.d, too",
            f"sysctl -w net.ipv4.ip_local_reserved_ports={value}",
        )


def processes(checked: CheckedNode) -> Iterator[CheckResult]:
    """Check supervisord and its processes, and processes left by a crashed one."""
    try:
        node_id = checked.node_id
    except ElsewhereError as error:
        yield wrong(str(error), "darc doctor there, or set DARC_HOSTNAME for a node here")
        return
    except NodeError as error:
        yield wrong(str(error), "darc_kill_all, then darc_start_all_services")
        return
    left = [] if checked.is_running else sorted(checked.processes)
    if left:
        yield wrong(
            f"left by a supervisord that is dead: {' '.join(map(str, left))}",
            "darc_kill_all, then darc_start_all_services",
        )
    others = _of_former_nodes(checked, node_id)
    if others:
        pids = " ".join(map(str, others))
        yield wrong(f"left by a former node of this home: {pids}", f"kill {pids}")
    try:
        read_endpoint()
    except EndpointError as error:
        yield wrong(str(error), "darc_start_master")
    if not (left or others):
        if checked.is_running:
            yield good(f"supervisord and {len(checked.processes) - 1} others")
        # A missing lock file must not be created.
        elif (lock := checked.run_dir / "lock").exists() and node_identity.is_locked(lock):
            yield wrong(
                f"{checked.run_dir} is in use by a node on another machine",
                "stop that one, or set DARC_HOSTNAME",
            )
        else:
            yield warn("the node does not run", "darc_start_all_services")


def _of_former_nodes(checked: CheckedNode, node_id: str | None) -> list[int]:
    config = checked.config
    found = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except psutil.Error:
            continue  # another user's, or exited
        if (
            environment.get(NODE_ID, node_id) != node_id
            and environment.get("DARC_HOME") == config.darc_home
            and environment.get("DARC_HOSTNAME") == config.hostname
            and process.status() != psutil.STATUS_ZOMBIE
        ):
            found.append(process.pid)
    return sorted(found)


def node(checked: CheckedNode) -> Iterator[CheckResult]:
    """Check the overview: states, versions, the journal, undelivered triggers."""
    if not checked.is_running:
        return
    cluster = checked.own_status
    found = find_problems(cluster, RuleContext.of(checked.config))
    for problem in found:
        text = f"{problem.title}{f': {problem.text}' if problem.text else ''}"
        yield (wrong if problem.grave else warn)(text, problem.command)
    overview = cluster.nodes[0].overview
    if not found and overview:
        yield good(f"{len(overview.services)} services run, DARC {overview.version}")


def journal(checked: CheckedNode) -> Iterator[CheckResult]:
    path = checked.run_dir / JOURNAL
    most = checked.config.master.journal_max_bytes
    files = (path, path.with_name(f"{path.name}-wal"))
    used = sum(one.stat().st_size for one in files if one.exists())
    text = f"{size(used)} of {size(most)}"
    if checked.is_running:
        overview = checked.own_status.nodes[0].overview
        if overview and overview.journal_full:
            text = f"{text}: full, nothing new is taken in"
            yield wrong(text, "make room, or raise darc_master.journal_max_bytes and darc reload")
            return
    if used > NEARLY * most:
        yield warn(text, "darc get_attr queue_depths; raise darc_master.journal_max_bytes")
    else:
        yield good(text)


def cluster(checked: CheckedNode) -> Iterator[CheckResult]:
    """Check the nodes that this one needs: a worker the master node, the master node all."""
    config = checked.config
    if config.role is Role.STANDALONE:
        return
    wanted = "all" if config.role is Role.MASTER else config.nodes()[0]
    others = [one for one in targets(config, wanted) if one.port is not None]
    status = collect(others, ANSWER_SECONDS)
    offs = []
    for one in status.nodes:
        offs.append(abs(one.clock))
        if not one.reached:
            say = wrong if config.role is Role.WORKER else warn
            yield say(f"{one.name}: {one.reason}", f"start_full_pipeline --nodes {one.name}")
        elif abs(one.clock) > CLOCK_SECONDS:
            way = "ahead of" if one.clock > 0 else "behind"
            text = f"the clock of {one.name} is {abs(one.clock):.1f} s {way} the one here"
            yield wrong(text, f"ssh {one.name} timedatectl")
    answer = sum(one.reached for one in status.nodes)
    if answer == len(others) and max(offs, default=0.0) <= CLOCK_SECONDS:
        yield good(f"{answer} of {len(others)} others answer, with the time of here")
