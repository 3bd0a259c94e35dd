"""Current problems of a cluster, the most important first, with commands for the operator."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from darc.config.records import Struct
from darc.monitor.cluster_watch import ClusterStatus
from darc.monitor.findings import Finding, RuleContext, one_text
from darc.monitor.rules import findings_of
from darc.monitor.service_trends import ServiceTrends
from darc.monitor.shell_commands import ranges


class Problem(Struct, frozen=True):
    """Problem on one host or on several.

    :param grave: data are lost or will be; otherwise it is a warning
    :param text: details
    :param since: by the clock of this host (Unix s)
    :param command: shell command for the operator
    :param about: the title without the hosts
    """

    grave: bool
    title: str
    hosts: tuple[str, ...]
    service: str
    text: str
    since: float | None
    command: str
    about: str = ""


def numbers(problems: Iterable[Problem]) -> str:
    """Return the number of problems, as "2 problems, 1 warning"; empty: none."""
    is_grave = [problem.grave for problem in problems]
    grave, minor = sum(is_grave), is_grave.count(False)
    counted = ((grave, "problem"), (minor, "warning"))
    return ", ".join(f"{n} {what}{'s' * (n != 1)}" for n, what in counted if n)


def find_problems(
    cluster: ClusterStatus,
    context: RuleContext,
    further: Iterable[Finding] = (),
    history: ServiceTrends | None = None,
) -> tuple[Problem, ...]:
    """Find all problems; the same finding on several hosts is one problem.

    :param further: findings beside those of the rules
    :param history: trends of the services
    """
    found = [*further, *find(cluster, context, history)]
    groups = _alike(found)
    groups.sort(key=lambda group: (group[0].rank, group[0].urgency, -len(group)))
    return tuple(map(_problem, groups))


def find(
    cluster: ClusterStatus, context: RuleContext, history: ServiceTrends | None = None
) -> Iterator[Finding]:
    """Yield all findings, host by host."""
    for node in cluster.nodes:
        yield from findings_of(node, context, cluster.time, history)


def _alike(found: list[Finding]) -> list[list[Finding]]:
    """Group the findings that differ only in the host."""

    def kind(finding: Finding) -> tuple[int, str, str]:
        return finding.rank, finding.title.template, finding.service

    return [list(group) for _, group in groupby(sorted(found, key=kind), key=kind)]


def _problem(group: list[Finding]) -> Problem:
    first = group[0]
    hosts = tuple(dict.fromkeys(one.host for one in group))
    since = min((one.since for one in group if one.since is not None), default=None)
    text = one_text((one.host, one.text) for one in group)
    command = first.remedy(hosts)
    title, about = first.title.named(ranges(hosts)), first.title.about
    return Problem(first.grave, title, hosts, first.service, text, since, command, about)
