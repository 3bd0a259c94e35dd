"""The status of the cluster for programs: status.json, as docs/status_page.md describes it."""

from __future__ import annotations

import json
from typing import Any

from darc.config.typed import to_plain
from darc.monitor.cluster_watch import ClusterStatus, NodeStatus
from darc.monitor.page.page_view import NodeRow, node_rows
from darc.monitor.page.render_page import Page
from darc.monitor.problems import Problem

#: Version of the format: increased by incompatible changes; additional keys are none.
FORMAT = 1


def status_json(cluster: ClusterStatus, problems: tuple[Problem, ...], page: Page) -> str:
    """Return the status as JSON; nodes as in their overview, without log lines."""
    rows = node_rows(cluster, problems)
    return json.dumps(
        {
            "format": FORMAT,
            "time": page.now,
            "interval": page.interval,
            "stopped": page.goodbye,
            "problems": [to_plain(problem) for problem in problems],
            "nodes": [_node(node, rows[node.name]) for node in cluster.nodes],
        }
    )


def _node(node: NodeStatus, row: NodeRow) -> dict[str, Any]:
    overview = to_plain(node.overview)
    if overview:
        for service in (overview["itself"], *overview["services"]):
            del service["log_end"]
    return {
        "name": node.name,
        "verdict": row.verdict,
        "reached": node.reached,
        "reason": node.reason,
        "since": node.since,
        "heard": node.heard or None,
        "clock": node.clock,
        "states": {cell.service: cell.state for cell in row.cells if cell},
        "overview": overview,
    }
