"""What the checks of ``darc doctor`` share: what they know, and what they say."""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import psutil

from darc.config.config import Config, ConfigError
from darc.monitor.cluster_watch import ClusterStatus, NodeTarget, collect
from darc.node.node_identity import supervisord_pid
from darc.node.node_probe import last_node_id
from darc.node.processes import NODE_ID, of_node
from darc.runtime.fan_out import fan_out

#: For a connection to be made, or a node to answer (s).
ANSWER_SECONDS = 3.0
#: For a check; one that hangs, in a name or a file system, is named (s).
CHECK_SECONDS = 15.0


class Verdict(enum.StrEnum):
    """How it is with what was checked."""

    OK = "OK"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check found.

    :param remedy: what to do, or to type
    """

    verdict: Verdict
    text: str
    remedy: str = ""


def good(text: str) -> CheckResult:
    return CheckResult(Verdict.OK, text)


def warn(text: str, remedy: str = "") -> CheckResult:
    return CheckResult(Verdict.WARNING, text, remedy)


def wrong(text: str, remedy: str = "") -> CheckResult:
    return CheckResult(Verdict.WRONG, text, remedy)


@dataclass(frozen=True, slots=True)
class PortOwner:
    """Who listens on a TCP port of this machine; `pid` 0: another user's process."""

    address: str
    port: int
    pid: int


class CheckedNode:
    """This host's node, as far as several checks need it; nothing of it is changed.

    :param config: None where it cannot be read, for the reason `broken`
    """

    def __init__(self, config: Config | None, broken: ConfigError | OSError | None = None) -> None:
        self._config = config
        self.broken = broken
        self._lock = threading.RLock()

    @property
    def is_readable(self) -> bool:
        return self._config is not None

    @property
    def config(self) -> Config:
        """To be asked for by checks only that are left out without one."""
        if self._config is None:
            raise ValueError("no configuration")
        return self._config

    @property
    def run_dir(self) -> Path:
        return Path(self.config.master.run_dir)

    @cached_property
    def node_id(self) -> str | None:
        """Of the node that was started last.

        :raises NodeError: what says so is damaged
        """
        return last_node_id(self.run_dir)

    @cached_property
    def processes(self) -> dict[int, psutil.Process]:
        """Of that node, by pid."""
        node_id = self.node_id
        return {process.pid: process for process in of_node(node_id)} if node_id else {}

    @property
    def is_running(self) -> bool:
        """supervisord is there."""
        return supervisord_pid(self.run_dir) in self.processes

    def own_status(self) -> ClusterStatus:
        """What the node tells of itself."""
        with self._lock:
            return self._own_status

    @cached_property
    def _own_status(self) -> ClusterStatus:
        name = next(filter(self.config.is_here, self.config.nodes()), self.config.hostname)
        return collect([NodeTarget(name, "localhost", None)], ANSWER_SECONDS)

    def listeners(self) -> list[PortOwner]:
        with self._lock:
            return self._listeners

    @cached_property
    def _listeners(self) -> list[PortOwner]:
        return [
            PortOwner(one.laddr[0], one.laddr[1], one.pid or 0)
            for one in psutil.net_connections("tcp")
            if one.status == psutil.CONN_LISTEN and one.laddr
        ]

    def is_ours(self, pid: int) -> bool:
        """A process of the node, or of its home at least."""
        if pid in self.processes:
            return True
        try:
            environment = psutil.Process(pid).environ()
        except psutil.Error:
            return False
        return bool(self.node_id) and environment.get(NODE_ID) == self.node_id


@dataclass(frozen=True, slots=True)
class Check:
    """A check.

    :param look: says what it finds, as much as it likes
    :param needs_config: it is left out where the configuration cannot be read
    """

    name: str
    look: Callable[[CheckedNode], Iterator[CheckResult]]
    needs_config: bool = True


@dataclass(frozen=True, slots=True)
class NamedCheckResult:
    """A result, with its check's name."""

    check: str
    verdict: Verdict
    text: str
    remedy: str


def examine(patient: CheckedNode, checks: Sequence[Check], limit: float) -> list[NamedCheckResult]:
    """Make all checks side by side; what they find, in their order.

    :param limit: s for all of them
    """

    def make(check: Check) -> list[CheckResult]:
        try:
            return list(check.look(patient))
        # What is wrong with one must not keep the others from being told.
        except Exception as error:
            return [wrong(f"cannot be checked: {type(error).__name__}: {error}")]

    fit = [check for check in checks if patient.is_readable or not check.needs_config]
    made = fan_out(make, fit, timeout=limit)
    late = [wrong(f"no end within {limit:g} s: something hangs")]
    return [
        NamedCheckResult(check.name, result.verdict, result.text, result.remedy)
        for check in fit
        for result in made.get(check, late)
    ]
