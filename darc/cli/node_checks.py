"""Checks of the node: its ports, its processes, its journal, and what it says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil

from darc.cli.check_results import (
    ANSWER_SECONDS,
    CheckedNode,
    CheckResult,
    good,
    warn,
    wrong,
)
from darc.cli.nodes_asked import context, targets
from darc.cli.terminal_text import size
from darc.config.config import Role
from darc.monitor.cluster_watch import collect
from darc.monitor.problems import find_problems
from darc.monitor.rules import CLOCK_SECONDS
from darc.node import node_identity
from darc.node.endpoint import EndpointError, read_endpoint
from darc.node.node_identity import NodeError
from darc.node.node_owner import ElsewhereError
from darc.node.node_ports import listeners
from darc.node.processes import NODE_ID, who_listens
from darc.node.state_format import JOURNAL

#: Of what the journal may hold, the share above which it is soon full.
NEARLY = 0.8


def _ports(patient: CheckedNode) -> Iterator[tuple[str, str, int]]:
    """Section and key of each TCP port that this node listens on, and the port."""
    for one in listeners(patient.config):
        yield one.what, one.key, one.address[1]


def ports(patient: CheckedNode) -> Iterator[CheckResult]:
    bad, held = False, 0
    known: dict[int, str] = {}
    for what, key, port in _ports(patient):
        if port in known:
            bad = True
            yield wrong(f"{port} is both {known[port]} and {key}", f"darc edit: another {key}")
        known[port] = key
        for one in patient.listeners():
            if one.port != port:
                continue
            if one.pid and patient.is_ours(one.pid):
                held += 1
                continue
            bad = True
            yield wrong(
                f"{port}, for {what}, is held by {who_listens(port)}",
                f"end that process, or darc edit: another {key}",
            )
            break
    if not bad:
        yield good(f"{', '.join(map(str, known))}: {held} held by this node, the others free")


def processes(patient: CheckedNode) -> Iterator[CheckResult]:
    """Supervisord and what it has started, and what was left by one that is dead."""
    try:
        node_id = patient.node_id
    except ElsewhereError as error:
        yield wrong(str(error), "darc doctor there, or set DARC_HOSTNAME for a node here")
        return
    except NodeError as error:
        yield wrong(str(error), "darc_kill_all, then darc_start_all_services")
        return
    left = [] if patient.is_running else sorted(patient.processes)
    if left:
        yield wrong(
            f"left by a supervisord that is dead: {' '.join(map(str, left))}",
            "darc_kill_all, then darc_start_all_services",
        )
    others = _of_former_nodes(patient, node_id)
    if others:
        pids = " ".join(map(str, others))
        yield wrong(f"left by a former node of this home: {pids}", f"kill {pids}")
    try:
        read_endpoint()
    except EndpointError as error:
        yield wrong(str(error), "darc_start_master")
    if not (left or others):
        if patient.is_running:
            yield good(f"supervisord and {len(patient.processes) - 1} others")
        elif (
            node_identity.is_locked(patient.run_dir / "lock")
            if _has_lock(patient.run_dir)
            else False
        ):
            yield wrong(
                f"{patient.run_dir} is in use by a node on another machine",
                "stop that one, or set DARC_HOSTNAME",
            )
        else:
            yield warn("the node does not run", "darc_start_all_services")


def _has_lock(run_dir: Path) -> bool:
    # What is not there must not be made.
    return (run_dir / "lock").exists()


def _of_former_nodes(patient: CheckedNode, node_id: str | None) -> list[int]:
    config = patient.config
    found = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except psutil.Error:
            continue  # another user's, or gone
        if (
            environment.get(NODE_ID, node_id) != node_id
            and environment.get("DARC_HOME") == config.darc_home
            and environment.get("DARC_HOSTNAME") == config.hostname
            and process.status() != psutil.STATUS_ZOMBIE
        ):
            found.append(process.pid)
    return sorted(found)


def node(patient: CheckedNode) -> Iterator[CheckResult]:
    """What darc_master says: states, versions, the journal, triggers that are not handed in."""
    if not patient.is_running:
        return
    cluster = patient.own_status()
    found = find_problems(cluster, context(patient.config))
    for problem in found:
        text = f"{problem.title}{f': {problem.text}' if problem.text else ''}"
        yield (wrong if problem.grave else warn)(text, problem.command)
    told = cluster.nodes[0].overview
    if not found and told:
        yield good(f"{len(told.services)} services run, DARC {told.version}")


def journal(patient: CheckedNode) -> Iterator[CheckResult]:
    path = patient.run_dir / JOURNAL
    most = patient.config.master.journal_max_bytes
    files = (path, path.with_name(f"{path.name}-wal"))
    used = sum(one.stat().st_size for one in files if one.exists())
    text = f"{size(used)} of {size(most)}"
    if patient.is_running:
        told = patient.own_status().nodes[0].overview
        if told and told.journal_full:
            text = f"{text}: full, nothing new is taken in"
            yield wrong(text, "make room, or raise darc_master.journal_max_bytes and darc reload")
            return
    if used > NEARLY * most:
        yield warn(text, "darc get_attr queue_depths; raise darc_master.journal_max_bytes")
    else:
        yield good(text)


def cluster(patient: CheckedNode) -> Iterator[CheckResult]:
    """The other nodes: a worker needs the master node, and that one all."""
    config = patient.config
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
