"""Which of the problems on the status page are alarms. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from darc.config.records import Struct
from darc.config.settings import AlarmSettings
from darc.monitor.cluster_watch import ClusterStatus, NodeStatus
from darc.monitor.findings import DIED, FAILED, STOPPED, STOPPING, Finding, Priority

#: A node that has not answered since this process was started may just be starting (s).
FIRST_SECONDS = 120.0
#: States of a service that an operator has requested.
ON_PURPOSE = (STOPPED, STOPPING)

_OF_SERVICES = (Priority.ON_MASTER, Priority.ON_WORKER, Priority.UNHURRIED)
_NAMES = {
    Priority.MASTER: "master",
    Priority.JOURNAL: "journal",
    Priority.UNREACHED: "node",
    Priority.SUPERVISORD: "supervisord",
    Priority.HANDOVER: "handing in for",
    Priority.LATE: "queue of",
    Priority.GROWS: "queue of",
}


class HostProblem(Struct, frozen=True):
    """Current reason of an alarm on one host.

    :param subject: what it concerns; the same on all hosts, and for all problems of that
    :param hold: how long it has to last (s)
    """

    subject: str
    finding: Finding
    hold: float


class ProblemSnapshot(Struct, frozen=True):
    """Problems at one time.

    :param time: Unix s
    :param sightings: one for each subject and host
    :param unknown: hosts without further information; their earlier problems may persist
    :param aside: intended states, by subject and host
    """

    time: float
    sightings: tuple[HostProblem, ...]
    unknown: frozenset[str]
    aside: Mapping[tuple[str, str], str]


def select_alarms(
    cluster: ClusterStatus,
    findings: Iterable[Finding],
    settings: AlarmSettings,
    ignored: Collection[str],
    stopped: Collection[str],
) -> ProblemSnapshot:
    """Select the alarms among the findings.

    :param settings: how long problems have to last
    :param ignored: hosts without alarms
    :param stopped: nodes that were stopping on purpose when they last answered
    """
    nodes = {node.name: node for node in cluster.nodes}
    found = list(findings)
    ill_on_master = {one.service for one in found if one.rank == Priority.ON_MASTER}
    silent = {node.name for node in cluster.nodes if not node.reached or not node.overview}
    unknown = silent - set(stopped)
    sightings: dict[tuple[str, str], HostProblem] = {}
    aside = {}
    for finding in sorted(found, key=lambda one: (one.rank, one.urgency)):
        subject, host = subject_of(finding), finding.host
        if subject is None or host in ignored:
            continue
        if finding.state in ON_PURPOSE:
            aside[subject, host] = finding.title.named(host)
            continue
        if finding.rank == Priority.UNREACHED and host in stopped:
            continue
        if finding.rank == Priority.HANDOVER and finding.service in ill_on_master:
            continue  # it follows from that problem
        if finding.state == FAILED and finding.service == "all":
            unknown.add(host)  # its services have no findings of their own
        hold = _hold(finding, nodes.get(host), settings)
        sightings.setdefault((subject, host), HostProblem(subject, finding, hold))
    return ProblemSnapshot(cluster.time, tuple(sightings.values()), frozenset(unknown), aside)


def subject_of(finding: Finding) -> str | None:
    """Return the subject of an alarm about a finding; None: it is shown on the page only."""
    if finding.rank in _OF_SERVICES:
        return f"service {finding.service}" if finding.state != DIED else None
    if finding.rank == Priority.LOST:
        return f"lost by {finding.service}: {finding.title.about}"
    if finding.rank == Priority.DISK:
        return finding.title.about
    if finding.rank not in _NAMES:
        return None
    return f"{_NAMES[finding.rank]} {finding.service}".rstrip()


def stopped_on_purpose(node: NodeStatus) -> bool | None:
    """Whether a node is stopping or all its services are; None: unknown."""
    if not node.reached or not node.overview:
        return None
    states = {one.state for one in node.overview.services}
    return node.overview.stopping or (bool(states) and states <= set(ON_PURPOSE))


def _hold(finding: Finding, node: NodeStatus | None, settings: AlarmSettings) -> float:
    if finding.state == FAILED or finding.rank == Priority.LOST:
        return 0.0  # it has lasted already
    if finding.rank == Priority.UNREACHED and node and not node.heard:
        return max(settings.hold, FIRST_SECONDS)
    return settings.hold if finding.grave else settings.hold_minor
