"""Content of the page, in its order and wording."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from darc.config.records import Struct, replace
from darc.model.latency import ACCEPTANCE, RESPONSE, STAGES
from darc.model.overview import NodeOverview, ObservationOverview, ServiceOverview, StageLatency
from darc.monitor.cluster_watch import ClusterStatus, NodeStatus
from darc.monitor.findings import DIED, RUNNING, STARTING, STOPPING
from darc.monitor.problems import Problem
from darc.monitor.rules import state_of
from darc.monitor.shell_commands import ranges

#: Class names of the style sheet.
GOOD, BAD, CHANGING, UNKNOWN = "good", "bad", "changing", "unknown"
#: A group with more nodes is shown in two tables side by side.
ONE_TABLE = 12

_TITLES = {"master": "Master node", "worker": "Workers", "standalone": "This node"}


class ServiceCell(Struct, frozen=True):
    """State of a service on a node; None where the node has no such service."""

    service: str
    state: str
    verdict: str


class NodeRow(Struct, frozen=True):
    """Row of a node.

    :param cells: empty where it does not answer; `note` says why
    :param since: since when it does not answer (Unix s)
    """

    name: str
    verdict: str
    summary: str
    cells: tuple[ServiceCell | None, ...]
    note: str = ""
    since: float | None = None


class ServiceTable(Struct, frozen=True):
    """Nodes that have the same services."""

    title: str
    services: tuple[str, ...]
    rows: tuple[NodeRow, ...]


class NodeGroup(Struct, frozen=True):
    """All nodes of one role."""

    title: str
    services: tuple[str, ...]
    tables: tuple[ServiceTable, ...]

    @property
    def count(self) -> str:
        """Number of running services on nodes that answer, and of nodes that do not."""
        rows = [row for table in self.tables for row in table.rows]
        cells = [cell for row in rows for cell in row.cells if cell]
        silent = sum(not row.cells for row in rows)
        words = []
        if cells:
            running = sum(cell.state == RUNNING for cell in cells)
            words.append(f"{running} of {len(cells)} services run")
        if silent:
            words.append(f"{silent} of {len(rows)} nodes not heard of")
        return ", ".join(words)


class ObservationLine(Struct, frozen=True):
    """An observation on all nodes.

    :param state: the most frequent one
    :param others: differing states of other nodes
    :param results: address of its results, below that of all results
    """

    id: str
    source: str
    state: str
    others: str
    start: float
    end: float
    nodes: int
    waits_for: str
    results: str


class TriggerLatencies(Struct, frozen=True):
    """Latencies of the triggers of a service, over all nodes.

    :param stages: by name; the median is the mean over the nodes, the others are the worst node's
    """

    service: str
    n: int
    stages: Mapping[str, StageLatency]
    outcomes: Mapping[str, int]


def verdict_of(state: str, service: ServiceOverview | None = None) -> str:
    """Return the colour of a state: green for running only; transitions are in between."""
    if state == RUNNING:
        return GOOD
    was_asked_for = service is None or not service.ended_by_itself
    return CHANGING if state in (STARTING, STOPPING) and was_asked_for else BAD


def node_rows(cluster: ClusterStatus, problems: Iterable[Problem] = ()) -> dict[str, NodeRow]:
    """Return each node's row, by name; its cells are its own services.

    :param problems: a node with a grave problem is not green
    """
    wrong: dict[str, list[str]] = {}
    for problem in problems:
        for host in problem.hosts if problem.grave else ():
            wrong.setdefault(host, []).append(problem.about)
    return {node.name: _row(node, cluster.time, wrong.get(node.name, [])) for node in cluster.nodes}


def _row(node: NodeStatus, now: float, grave: Sequence[str]) -> NodeRow:
    if not node.asked:
        return NodeRow(node.name, UNKNOWN, "not asked yet", (), "is being asked")
    if not node.reached:
        return NodeRow(node.name, UNKNOWN, "no answer", (), node.reason, node.since)
    overview = node.overview
    if overview is None:
        cells = tuple(
            ServiceCell(name, state, verdict_of(state)) for name, state in node.states.items()
        )
        if not cells:
            return NodeRow(node.name, UNKNOWN, "cannot be read", (), node.reason)
    else:
        cells = tuple(_cell(one, overview.time + now - node.heard) for one in overview.services)
    wrong = [cell for cell in cells if cell.verdict != GOOD]
    if not wrong:
        summary = f"{len(cells)} running" + "".join(f", {about}" for about in grave)
        return NodeRow(node.name, BAD if grave else GOOD, summary, cells)
    is_changing = not grave and all(cell.verdict == CHANGING for cell in wrong)
    summary = f"{len(wrong)} of {len(cells)} not running"
    return NodeRow(node.name, CHANGING if is_changing else BAD, summary, cells)


def _cell(service: ServiceOverview, now: float) -> ServiceCell:
    state = state_of(service, now)
    return ServiceCell(service.name, state, BAD if state == DIED else verdict_of(state, service))


def groups(
    cluster: ClusterStatus, rows: Mapping[str, NodeRow], master: str
) -> tuple[NodeGroup, ...]:
    """Group the nodes by role; the columns are all services of the role."""
    found = []
    order = ("standalone", "master", "worker")
    by_role = sorted(cluster.nodes, key=lambda node: order.index(_role(node, master)))
    for role, together in groupby(by_role, key=lambda node: _role(node, master)):
        nodes = list(together)
        services = _services(nodes)
        lines = [_in_columns(rows[node.name], services) for node in nodes]
        half = -(-len(lines) // 2) if len(lines) > ONE_TABLE else max(1, len(lines))
        title = _TITLES[role]
        parts = [lines[first : first + half] for first in range(0, len(lines), half)]
        tables = tuple(
            ServiceTable(_name(title, part, parts), services, tuple(part)) for part in parts
        )
        found.append(NodeGroup(title, services, tables))
    return tuple(found)


def _role(node: NodeStatus, master: str) -> str:
    """Return the role by the configuration of this host, as the node's own may be wrong."""
    if not master:
        return "standalone"
    return "master" if node.name == master else "worker"


def _services(nodes: Iterable[NodeStatus]) -> tuple[str, ...]:
    """Return the services, in the order of the nodes' own lists."""
    names: dict[str, None] = {}
    for node in nodes:
        overview = node.overview
        names |= dict.fromkeys([one.name for one in overview.services] if overview else node.states)
    return tuple(names)


def _in_columns(row: NodeRow, services: Sequence[str]) -> NodeRow:
    if not row.cells:
        return row
    by_service = {cell.service: cell for cell in row.cells if cell}
    return replace(row, cells=tuple(by_service.get(name) for name in services))


def _name(title: str, part: Sequence[NodeRow], parts: Sequence[Sequence[NodeRow]]) -> str:
    return f"{title} {part[0].name} to {part[-1].name}" if len(parts) > 1 else title


def observations(cluster: ClusterStatus) -> tuple[ObservationLine, ...]:
    """Return observations that run, are pending or are being processed, the latest first."""
    seen: dict[str, list[tuple[str, ObservationOverview]]] = {}
    for node in cluster.nodes:
        if node.reached and node.overview:
            for one in node.overview.observations:
                seen.setdefault(one.id, []).append((node.name, one))
    lines = []
    for task_id, reports in seen.items():
        states: dict[str, list[str]] = {}
        for name, one in reports:
            states.setdefault(one.state, []).append(name)
        state = max(states, key=lambda word: len(states[word]))
        others = [f"{word} on {ranges(names)}" for word, names in states.items() if word != state]
        first = reports[0][1]
        lines.append(
            ObservationLine(
                task_id,
                first.source,
                state,
                "; ".join(others),
                first.start,
                first.end,
                len(reports),
                _waits_for(reports),
                first.results,
            )
        )
    order = ("running", "pending", "in processing", "aborted")
    return tuple(sorted(lines, key=lambda line: (order.index(line.state), -line.start)))


def _waits_for(reports: Iterable[tuple[str, ObservationOverview]]) -> str:
    services: dict[str, list[str]] = {}
    for name, one in reports:
        for service in one.waits_for:
            services.setdefault(service, []).append(name)
    return "; ".join(f"{service} on {ranges(names)}" for service, names in services.items())


def times(cluster: ClusterStatus) -> tuple[TriggerLatencies, ...]:
    """Return the latencies of each service that has had triggers, over all nodes."""
    found: dict[str, list[ServiceOverview]] = {}
    for overview in _reached(cluster):
        for service in overview.services:
            if service.latency or service.outcomes:
                found.setdefault(service.name, []).append(service)
    return tuple(_times(name, services) for name, services in found.items())


def _reached(cluster: ClusterStatus) -> Iterable[NodeOverview]:
    return (node.overview for node in cluster.nodes if node.reached and node.overview)


def _times(name: str, services: Sequence[ServiceOverview]) -> TriggerLatencies:
    by_stage: dict[str, list[StageLatency]] = {}
    outcomes: dict[str, int] = {}
    for service in services:
        for stage in service.latency:
            by_stage.setdefault(stage.name, []).append(stage)
        for outcome, number in service.outcomes.items():
            outcomes[outcome] = outcomes.get(outcome, 0) + number
    stages = {}
    for title, all_of in by_stage.items():
        n = sum(one.n for one in all_of)
        mean = sum(one.n * one.median for one in all_of) / n if n else 0.0
        slowest = max(one.p99 for one in all_of), max(one.max for one in all_of)
        stages[title] = StageLatency(title, n, mean, *slowest)
    most = max((stage.n for stage in stages.values()), default=0)
    return TriggerLatencies(name, most, stages, outcomes)


def stage_names(all_times: Sequence[TriggerLatencies]) -> tuple[str, ...]:
    """Return the stages of all services, in their order."""
    known = {stage for one in all_times for stage in one.stages}
    return tuple(name for name in (*STAGES, RESPONSE, ACCEPTANCE) if name in known)


def facts(cluster: ClusterStatus) -> tuple[tuple[str, str], ...]:
    """Return facts about the cluster that are no problems."""
    found: list[tuple[str, str]] = []
    own = next((node.overview for node in cluster.nodes if node.overview), None)
    if own:
        found += [("DARC", own.version), ("mode", own.mode)]
    for overview in _reached(cluster):
        for service in overview.services:
            if service.sending is not None:
                what = "sends" if service.sending else "sends nothing: disabled"
                found.append((service.name, what))
    return tuple(dict.fromkeys(found))
