"""How often each service was started anew, and which of its ends nobody had asked for."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from darc.node.supervisor import ProcessInfo, ProcessState, Supervisor

log = logging.getLogger(__name__)

_STOPPED = {ProcessState.STOPPED, ProcessState.STOPPING}


@dataclass(slots=True)
class Life:
    """What became of a service's processes since the node was started.

    :param pid: of the last one
    :param ended: Unix time at which it was seen to have ended; None while it lives
    :param died: Unix time of the last end that nobody had asked for
    """

    pid: int = 0
    ended: float | None = None
    restarts: int = 0
    deaths: int = 0
    died: float | None = None


class Lives:
    """Follows the processes of all services; kept on disk, as the master may die itself.

    :param path: where
    :param node_id: what is kept of another start of the node is forgotten
    """

    def __init__(self, path: Path, node_id: str) -> None:
        self._path = path
        self._node_id = node_id
        self._lives: dict[str, Life] = {}
        self._asked_for: dict[str, int] = {}
        self._load()

    def of(self, name: str) -> Life:
        return self._lives.get(name) or Life()

    def will_stop(self, name: str) -> None:
        """The next end of this service is wanted."""
        self._asked_for[name] = self.of(name).pid

    def look(self, processes: Mapping[str, ProcessInfo], now: float) -> None:
        """Take in what supervisord says.

        :param now: Unix time
        """
        before = {name: asdict(life) for name, life in self._lives.items()}
        for name, process in processes.items():
            self._look_at(self._lives.setdefault(name, Life()), process, now)
        if {name: asdict(life) for name, life in self._lives.items()} != before:
            self._save()

    def _look_at(self, life: Life, process: ProcessInfo, now: float) -> None:
        alive = life.pid != 0 and life.ended is None
        if alive and process.pid != life.pid:
            asked_for = self._asked_for.pop(process.name, None) == life.pid
            if not asked_for and process.state not in _STOPPED:
                life.deaths += 1
                life.died = now
            life.ended = now
        elif alive and process.state is ProcessState.STOPPING:
            self._asked_for[process.name] = life.pid
        if process.pid and process.pid != life.pid:
            life.restarts += life.pid != 0
            life.pid, life.ended = process.pid, None

    def _load(self) -> None:
        try:
            kept = json.loads(self._path.read_text())
            if kept["node_id"] == self._node_id:
                self._lives = {name: Life(**life) for name, life in kept["services"].items()}
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.error("%s: damaged, so restarts are counted anew: %s", self._path, error)

    def _save(self) -> None:
        services = {name: asdict(life) for name, life in self._lives.items()}
        temporary = self._path.with_suffix(".new")
        try:
            temporary.write_text(json.dumps({"node_id": self._node_id, "services": services}))
            temporary.replace(self._path)
        except OSError as error:
            log.error("restarts would be counted anew if the master died now: %s", error)


class NotingSupervisor(Supervisor):
    """supervisord, for a master that notes which services it has had stopped."""

    def __init__(self, path: Path, timeout: float, lives: Lives) -> None:
        super().__init__(path, timeout)
        self._lives = lives

    def stop(self, name: str) -> bool:
        self._lives.will_stop(name)
        return super().stop(name)
