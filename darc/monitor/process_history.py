"""How often each service was started anew, and which of its ends nobody had asked for."""

from __future__ import annotations

import functools
import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from darc.node.supervisor import ProcessInfo, ProcessState, exits
from darc.runtime.paths import write_whole
from darc.runtime.untrusted_files import MAX_TEXT, read_regular

log = logging.getLogger(__name__)

_STOPPED = {ProcessState.STOPPED, ProcessState.STOPPING}
#: It ended by itself, however quick that was.
_ENDED = {ProcessState.BACKOFF, ProcessState.EXITED, ProcessState.FATAL}
#: As long as it is not known how.
ENDED = "ended by itself"


@dataclass(slots=True)
class ServiceProcesses:
    """What became of a service's processes since the node was started.

    :param pid: of the last one
    :param ended: Unix time at which it was seen to have ended; None while it lives
    :param died: Unix time of the last end that nobody had asked for
    :param how: how the last process ended; empty: it was asked to, or none has ended
    """

    pid: int = 0
    ended: float | None = None
    restarts: int = 0
    deaths: int = 0
    died: float | None = None
    how: str = ""


class ProcessHistory:
    """Follows the processes of all services; kept on disk, as who follows them may die itself.

    :param path: where
    :param node_id: what is kept of another start of the node is forgotten
    """

    def __init__(self, path: Path, node_id: str) -> None:
        self._path = path
        self._node_id = node_id
        self._services: dict[str, ServiceProcesses] = {}
        self._asked_for: dict[str, int] = {}  # the process that is meant to end
        self._stops: dict[str, float] = {}  # when each ended last, by supervisord
        self._load()

    def of(self, name: str) -> ServiceProcesses:
        return self._services.get(name) or ServiceProcesses()

    def will_start(self, name: str) -> None:
        """The next start of this service is wanted, however its last process ended."""
        self.of(name).how = ""

    def look(
        self,
        processes: Mapping[str, ProcessInfo],
        now: float,
        log_end: Callable[[], str] = str,
        stops: Mapping[str, int] | None = None,
    ) -> None:
        """Take in what supervisord says.

        :param now: Unix time
        :param log_end: gives the end of supervisord's log, which tells how processes ended; by
            default, nothing is known of it
        :param stops: by service, which process somebody has asked to end last
        """
        self._asked_for |= stops or {}
        self._log_end = functools.cache(log_end)  # of all that ended, one look
        before = {name: asdict(life) for name, life in self._services.items()}
        for name, process in processes.items():
            self._look_at(self._services.setdefault(name, ServiceProcesses()), process, now)
        ended = {name for name, one in processes.items() if self._stops.get(name) != one.stopped}
        self._stops = {name: one.stopped for name, one in processes.items()}
        of_themselves = [name for name in ended if self.of(name).how]
        known = exits(self._log_end()) if of_themselves else {}
        for name in of_themselves:
            self.of(name).how = known.get(name) or processes[name].spawn_error or ENDED
        if {name: asdict(life) for name, life in self._services.items()} != before:
            self._save()

    def _look_at(self, life: ServiceProcesses, process: ProcessInfo, now: float) -> None:
        alive = life.pid != 0 and life.ended is None
        if alive and process.pid != life.pid:
            asked_for = self._asked_for.get(process.name) == life.pid
            life.how = ""
            if not (asked_for or process.state in _STOPPED or self._was_stopped(process, life)):
                life.deaths += 1
                life.died = now
                life.how = ENDED
            life.ended = now
        elif alive and process.state is ProcessState.STOPPING:
            self._asked_for[process.name] = life.pid
        elif process.state in _ENDED and not life.how:
            life.how = ENDED  # before it was seen alive
            life.ended = process.stopped or life.ended
        elif process.state is ProcessState.STOPPED:
            life.how = ""
        if process.pid and process.pid != life.pid:
            life.restarts += life.pid != 0
            life.pid, life.ended = process.pid, None

    def _was_stopped(self, process: ProcessInfo, life: ServiceProcesses) -> bool:
        """Whether supervisord stopped it, as with supervisorctl, and did not only see its end."""
        _, began, after = self._log_end().rpartition(
            f" spawned: '{process.name}' with pid {life.pid}\n"
        )
        ends = re.search(rf" (stopped|exited): {re.escape(process.name)} \(", after)
        return bool(began) and ends is not None and ends[1] == "stopped"

    def _load(self) -> None:
        try:
            kept = json.loads(read_regular(self._path, MAX_TEXT))
            if kept["node_id"] == self._node_id:
                self._services = {
                    name: ServiceProcesses(**life) for name, life in kept["services"].items()
                }
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.error("%s: damaged, so restarts are counted anew: %s", self._path, error)

    def _save(self) -> None:
        services = {name: asdict(life) for name, life in self._services.items()}
        try:
            plain = {"node_id": self._node_id, "services": services}
            write_whole(self._path, json.dumps(plain), durable=False)
        except OSError as error:
            log.error("restarts would be counted anew if this process died now: %s", error)
