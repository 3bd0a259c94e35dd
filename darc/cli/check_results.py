"""Common parts of the checks of ``darc doctor``: the node they check, and their results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import psutil

from darc.config.config import Config, ConfigError
from darc.config.records import Struct
from darc.monitor.cluster_watch import ClusterStatus, NodeTarget, collect
from darc.node.node_identity import supervisord_pid
from darc.node.node_probe import last_node_id
from darc.node.processes import NODE_ID, of_node
from darc.runtime.check_result import CheckResult, Verdict, wrong
from darc.runtime.fan_out import fan_out

#: Time for a connection, or the reply of a node (s).
ANSWER_SECONDS = 3.0
#: Time for a check; one that hangs, in a name lookup or a file system, is reported (s).
CHECK_SECONDS = 15.0


class PortOwner(Struct, frozen=True):
    """Process that listens on a TCP port of this machine; `pid` 0: of another user."""

    port: int
    pid: int


class CheckedNode:
    """This host's node, as far as several checks need it; it is not changed.

    :param config: None if it cannot be read, for the reason `broken`
    """

    def __init__(self, config: Config | None, broken: ConfigError | OSError | None = None) -> None:
        self._config = config
        self.broken = broken

    @property
    def is_readable(self) -> bool:
        return self._config is not None

    @property
    def config(self) -> Config:
        """Configuration; only for checks that are skipped without one."""
        if self._config is None:
            raise ValueError("no configuration")
        return self._config

    @property
    def run_dir(self) -> Path:
        return Path(self.config.master.run_dir)

    @cached_property
    def node_id(self) -> str | None:
        """Id of the node that was started last.

        :raises NodeError: its file is damaged
        """
        return last_node_id(self.run_dir)

    @cached_property
    def processes(self) -> dict[int, psutil.Process]:
        """Processes of that node, by PID."""
        node_id = self.node_id
        return {process.pid: process for process in of_node(node_id)} if node_id else {}

    @property
    def is_running(self) -> bool:
        """Whether supervisord is running."""
        return supervisord_pid(self.run_dir) in self.processes

    @cached_property
    def own_status(self) -> ClusterStatus:
        """Overview of the node."""
        name = next(filter(self.config.is_here, self.config.nodes()), self.config.hostname)
        return collect([NodeTarget(name, "localhost", None)], ANSWER_SECONDS)

    @cached_property
    def listeners(self) -> list[PortOwner]:
        return [
            PortOwner(one.laddr[1], one.pid or 0)
            for one in psutil.net_connections("tcp")
            if one.status == psutil.CONN_LISTEN and one.laddr
        ]

    def is_ours(self, pid: int) -> bool:
        """Whether a process belongs to the node, or to its home."""
        if pid in self.processes:
            return True
        try:
            environment = psutil.Process(pid).environ()
        except psutil.Error:
            return False
        return bool(self.node_id) and environment.get(NODE_ID) == self.node_id


class Check(Struct, frozen=True):
    """A check.

    :param run: yields its results
    :param needs_config: skip it if the configuration cannot be read
    """

    name: str
    run: Callable[[CheckedNode], Iterator[CheckResult]]
    needs_config: bool = True


class NamedCheckResult(Struct, frozen=True):
    """A result, with its check's name."""

    check: str
    verdict: Verdict
    text: str
    remedy: str


def examine(checked: CheckedNode, checks: Sequence[Check], limit: float) -> list[NamedCheckResult]:
    """Run all checks in parallel; return their results in order.

    :param limit: total time, s
    """

    def make(check: Check) -> list[CheckResult]:
        try:
            return list(check.run(checked))
        # What is wrong with one must not keep the others from being reported.
        except Exception as error:
            return [wrong(f"cannot be checked: {type(error).__name__}: {error}")]

    fit = [check for check in checks if checked.is_readable or not check.needs_config]
    made = fan_out(make, fit, timeout=limit)
    late = [wrong(f"not finished within {limit:g} s: something hangs")]
    return [
        NamedCheckResult(check.name, result.verdict, result.text, result.remedy)
        for check in fit
        for result in made.get(check, late)
    ]
