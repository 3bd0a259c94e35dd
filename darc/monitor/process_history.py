"""Restart count of each service, and its unrequested exits."""

from __future__ import annotations

import functools
import json
import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from darc.config.records import Struct, asdict
from darc.node.supervisor import ProcessInfo, ProcessState, exits
from darc.runtime.paths import write_whole
from darc.runtime.untrusted_files import MAX_TEXT, read_regular

log = logging.getLogger(__name__)

_STOPPED = {ProcessState.STOPPED, ProcessState.STOPPING}
#: States of a process that has exited by itself, however early.
_ENDED = {ProcessState.BACKOFF, ProcessState.EXITED, ProcessState.FATAL}
#: Reason of an exit while nothing else is known.
ENDED = "ended by itself"


class ServiceProcesses(Struct):
    """History of a service's processes since the node was started.

    :param pid: of the last process
    :param ended: when it was seen to have exited (Unix s); None: it runs
    :param died: time of the last unrequested exit (Unix s)
    :param how: how the last process exited; empty: on request, or none has exited
    """

    pid: int = 0
    ended: float | None = None
    restarts: int = 0
    deaths: int = 0
    died: float | None = None
    how: str = ""


class ProcessHistory:
    """Process histories of all services, saved on disk to survive a restart of darc_monitor.

    :param path: file
    :param node_id: identifier of the node's start; the history of another start is discarded
    """

    def __init__(self, path: Path, node_id: str) -> None:
        self._path = path
        self._node_id = node_id
        self._services: dict[str, ServiceProcesses] = {}
        self._asked_for: dict[str, int] = {}  # the process that was requested to stop
        self._stops: dict[str, float] = {}  # when each stopped last, by supervisord
        self._load()

    def of(self, name: str) -> ServiceProcesses:
        """Return the processes that a service has had since the start of the node."""
        return self._services.get(name) or ServiceProcesses()

    def will_start(self, name: str) -> None:
        """Mark the next start of this service as requested, however its last process exited."""
        self.of(name).how = ""

    def update(
        self,
        processes: Mapping[str, ProcessInfo],
        now: float,
        log_end: Callable[[], str] = str,
        stops: Mapping[str, int] | None = None,
    ) -> None:
        """Update the histories from supervisord's states.

        :param now: Unix s
        :param log_end: returns the end of supervisord's log, which says how processes exited; by
            default empty
        :param stops: by service, the process that was last requested to stop
        """
        self._asked_for |= stops or {}
        self._log_end = functools.cache(log_end)  # read once for all processes that have exited
        before = {name: asdict(record) for name, record in self._services.items()}
        for name, process in processes.items():
            self._update(self._services.setdefault(name, ServiceProcesses()), process, now)
        ended = {name for name, one in processes.items() if self._stops.get(name) != one.stopped}
        self._stops = {name: one.stopped for name, one in processes.items()}
        of_themselves = [name for name in ended if self.of(name).how]
        known = exits(self._log_end()) if of_themselves else {}
        for name in of_themselves:
            self.of(name).how = known.get(name) or processes[name].spawn_error or ENDED
        if {name: asdict(record) for name, record in self._services.items()} != before:
            self._save()

    def _update(self, record: ServiceProcesses, process: ProcessInfo, now: float) -> None:
        alive = record.pid != 0 and record.ended is None
        if alive and process.pid != record.pid:
            asked_for = self._asked_for.get(process.name) == record.pid
            record.how = ""
            if not (asked_for or process.state in _STOPPED or self._was_stopped(process, record)):
                record.deaths += 1
                record.died = now
                record.how = ENDED
            record.ended = now
        elif alive and process.state is ProcessState.STOPPING:
            self._asked_for[process.name] = record.pid
        elif process.state in _ENDED and not record.how:
            record.how = ENDED  # it exited before it was seen running
            record.ended = process.stopped or record.ended
        elif process.state is ProcessState.STOPPED:
            record.how = ""
        if process.pid and process.pid != record.pid:
            record.restarts += record.pid != 0
            record.pid, record.ended = process.pid, None

    def _was_stopped(self, process: ProcessInfo, record: ServiceProcesses) -> bool:
        """Whether supervisord stopped the process, as with supervisorctl, or just saw its exit."""
        _, began, after = self._log_end().rpartition(
            f" spawned: '{process.name}' with pid {record.pid}\n"
        )
        ends = re.search(rf" (stopped|exited): {re.escape(process.name)} \(", after)
        return bool(began) and ends is not None and ends[1] == "stopped"

    def _load(self) -> None:
        try:
            kept = json.loads(read_regular(self._path, MAX_TEXT))
            if kept["node_id"] == self._node_id:
                self._services = {
                    name: ServiceProcesses(**record) for name, record in kept["services"].items()
                }
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.error("%s: damaged, so restart counts start again at 0: %s", self._path, error)

    def _save(self) -> None:
        services = {name: asdict(record) for name, record in self._services.items()}
        try:
            plain = {"node_id": self._node_id, "services": services}
            write_whole(self._path, json.dumps(plain), durable=False)
        except OSError as error:
            log.error("restart counts would start again at 0 if this process died now: %s", error)
