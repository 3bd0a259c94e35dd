"""What the master sees of its node, in threads: nobody who asks for it waits for anything.

One looks at processes, one at logs, one at each disk, which may be on a network file system that
hangs, and one asks the services, any of which may hang.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import psutil

from darc.config.config import Config
from darc.master.log_tail import LogTail
from darc.master.master_losses import MasterLosses
from darc.master.observation_life import Observations
from darc.master.periodic_task import PeriodicTask
from darc.master.process_history import ProcessHistory
from darc.master.service_answers import READERS, read_answer
from darc.master.service_control import ServiceControl
from darc.model.overview import Disk
from darc.model.service_state import Heartbeat, ServiceState, service_state
from darc.node.supervisor import ProcessInfo, ProcessState, Supervisor, SupervisorError
from darc.node.supervisor_config import MASTER
from darc.queues.exchange import Exchange
from darc.queues.journal import Journal
from darc.queues.messages import Depth
from darc.runtime.detached_work import DetachedWork

log = logging.getLogger(__name__)

PROCESS_SECONDS = 1.0
#: supervisord is asked at each of these looks after a service came or went, and otherwise so often.
LIVELY_SECONDS = 5.0
CALM_SECONDS = 3.0
#: Of supervisord's log: how the processes ended that were there at the last look (bytes).
LOG_END = 2**16
LOG_SECONDS = 2.0
DISK_SECONDS = 2.0
ASK_SECONDS = 5.0
#: All that hang may take their time to answer (s).
ASK_PATIENCE = 60.0
#: For a service to answer; one that does not is not asked on in this round.
ANSWER_SECONDS = 2.0
#: Between two questions for the depths of the queues, and at least so many times what one took.
DEPTHS_SECONDS = 4.0
DEPTHS_SHARE = 100
USAGE_SECONDS = 5.0
#: The directories whose disks are looked at.
DISKS: Mapping[str, Callable[[Config], str]] = {
    "run_dir": lambda config: config.master.run_dir,
    "home": lambda config: config.darc_home,
    "log_dir": lambda config: config.master.log_dir,
}


class WatchedNode(Protocol):
    """Whose node it is."""

    config: Config
    node_id: str
    services: ServiceControl
    observations: Observations
    losses: MasterLosses
    apart: DetachedWork

    @property
    def rounds(self) -> Sequence[PeriodicTask]: ...
    @property
    def stopping(self) -> bool: ...
    @property
    def journal_full(self) -> bool: ...
    @property
    def refused(self) -> tuple[int, int]: ...


@dataclass(slots=True)
class ProcessUsage:
    """What a process takes."""

    process: psutil.Process
    memory: int = 0
    cpu: float = 0.0
    cpu_seconds: float = 0.0


@dataclass(slots=True)
class NodeSnapshot:
    """What the threads have seen last; each is replaced as a whole."""

    processes: Mapping[str, ProcessInfo] = field(default_factory=dict)
    supervisord: str = ""
    depths: Mapping[str, Depth] = field(default_factory=dict)
    usage: Mapping[str, ProcessUsage] = field(default_factory=dict)
    disks: Mapping[str, Disk] = field(default_factory=dict)
    journal_bytes: int | None = None
    said: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    looked: float = 0.0
    reads: Mapping[str, float] = field(default_factory=dict)
    asked: float = 0.0

    @property
    def read(self) -> float:
        """When the logs and the last of all disks were read (Unix s)."""
        return min((self.reads.get(place, 0.0) for place in ("logs", *DISKS)), default=0.0)


class NodeWatch:
    """Looks at all of a node, and keeps what was seen last.

    :param lives: counts how often services were started anew
    :param on_look: called when there may be something new
    """

    def __init__(
        self,
        master: WatchedNode,
        supervisor: Supervisor,
        exchange: Exchange,
        journal: Journal,
        lives: ProcessHistory,
        on_look: Callable[[], None],
    ) -> None:
        self._master = master
        self._supervisor = supervisor
        self._exchange = exchange
        self._journal = journal
        self.lives = lives
        self._on_look = on_look
        self.seen = NodeSnapshot()
        self.logs: dict[str, LogTail] = {}
        self._lacking: set[tuple[str, int, str]] = set()  # service, process, attribute
        self._next_processes = self._next_usage = self._next_depths = 0.0  # monotonic
        self._lively_until = 0.0
        self._replacing = threading.Lock()
        self._processes = PeriodicTask("processes", PROCESS_SECONDS, self._look_at_processes)
        self.rounds = (
            self._processes,
            PeriodicTask("queues", DEPTHS_SECONDS, self._look_at_queues),
            PeriodicTask("logs", LOG_SECONDS, self._look_at_logs),
            *(
                PeriodicTask(f"disk of {name}", DISK_SECONDS, partial(self._look_at_disk, name))
                for name in DISKS
            ),
            PeriodicTask("answers of services", ASK_SECONDS, self._ask_services, ASK_PATIENCE),
        )

    def start(self) -> None:
        """Look from now on."""
        for rounds in self.rounds:
            rounds.start()

    def wake(self) -> None:
        """Look at once: a service attached or went."""
        self._lively_until = time.monotonic() + LIVELY_SECONDS
        self._processes.wake()

    def state(self, name: str) -> tuple[str, float | None]:
        """A service's state, and since when (Unix s)."""
        process = self.seen.processes.get(name)
        if process is None:
            return str(ServiceState.STOPPED), self.lives.of(name).ended
        pulse, silent = self._pulse(name, process)
        state = service_state(process.state.name, pulse)
        if state is ServiceState.UNRESPONSIVE:
            return str(state), time.time() - silent
        since = process.started if process.state.alive else self.lives.of(name).ended
        return str(state), since or None

    def _pulse(self, name: str, process: ProcessInfo) -> tuple[Heartbeat, float]:
        """And how long ago its loop was heard of (s)."""
        presence = self._exchange.presence(name)
        if presence is None or presence.pid != process.pid or not presence.works:
            return Heartbeat.NONE, 0.0
        silent = time.monotonic() - presence.last_beat
        limit = self._master.config.master.health.unresponsive_after
        return (Heartbeat.SILENT if silent > limit else Heartbeat.BEATING), silent

    # -- what is looked at -------------------------------------------------------------------------

    def _look_at_processes(self) -> None:
        now = time.monotonic()
        if now >= self._next_processes or now < self._lively_until:
            self._next_processes = now + CALM_SECONDS - PROCESS_SECONDS / 2
            self._ask_supervisord()
        if now >= self._next_usage:
            self._next_usage = now + USAGE_SECONDS
            self.seen.usage = dict(self._usage(self.seen))
        self._on_look()

    def _look_at_queues(self) -> None:
        now = time.monotonic()
        if now >= self._next_depths:
            self.seen.depths = {depth.queue: depth for depth in self._journal.depths()}
            self._next_depths = now + DEPTHS_SHARE * (time.monotonic() - now)

    def _ask_supervisord(self) -> None:
        try:
            processes = self._supervisor.processes()
        except SupervisorError as error:
            self.seen.supervisord = str(error)
            return
        now = time.time()
        self.lives.look(processes, now, self._end_of_supervisords_log)
        self.seen.processes, self.seen.supervisord, self.seen.looked = processes, "", now

    def _end_of_supervisords_log(self) -> str:
        try:
            return self._supervisor.log_end(LOG_END)
        except SupervisorError as error:  # it logs nowhere, or its disk is gone
            log.warning("whether services were stopped by hand is not known: %s", error)
            return ""

    def _usage(self, seen: NodeSnapshot) -> Iterator[tuple[str, ProcessUsage]]:
        for name, process in seen.processes.items():
            if not process.pid:
                continue
            with contextlib.suppress(psutil.Error):  # it has just ended
                known = seen.usage.get(name)
                same = known is not None and known.process.pid == process.pid
                taker = known.process if known and same else psutil.Process(process.pid)
                with taker.oneshot():
                    cpu = taker.cpu_percent()  # since the last time; the first one counts for none
                    times = taker.cpu_times()
                    taken = times.user + times.system
                    yield (
                        name,
                        ProcessUsage(taker, taker.memory_info().rss, cpu if same else 0.0, taken),
                    )

    def _look_at_logs(self) -> None:
        config = self._master.config
        changed = False
        for name in (MASTER, *self._master.services.names):
            path = Path(config.log_file(name))
            known = self.logs.get(name)
            if known is None or known.path != path:
                self.logs[name] = known = LogTail(path)
            try:
                changed |= known.look()
            except OSError as error:
                known.lines = (f"{path}: {error.strerror}",)
        with self._replacing:
            self.seen.reads = {**self.seen.reads, "logs": time.time()}
        if changed:
            self._on_look()

    def _look_at_disk(self, name: str) -> None:
        config = self._master.config
        path = DISKS[name](config)
        usage = shutil.disk_usage(path)
        if name == "run_dir":
            self.seen.journal_bytes = _size_of_journal(Path(path))
        with self._replacing:  # another disk's may be ready at the same time
            self.seen.disks = {**self.seen.disks, name: Disk(name, path, usage.total, usage.free)}
            self.seen.reads = {**self.seen.reads, name: time.time()}

    def _ask_services(self) -> None:
        said: dict[str, Mapping[str, Any]] = {}
        for name in self._master.services.names:
            process = self.seen.processes.get(name)
            if process is None or process.state is ProcessState.STOPPING:
                continue
            if self.state(name)[0] == ServiceState.RUNNING:
                said[name] = self._answers(name, process.pid)
            else:
                said[name] = self.seen.said.get(name, {})
        self.seen.said = said
        self.seen.asked = time.time()
        self._on_look()

    def _answers(self, name: str, pid: int) -> dict[str, Any]:
        answers: dict[str, Any] = {}
        for attribute in READERS:
            if (name, pid, attribute) in self._lacking:
                continue
            question = self._exchange.ask(name, attribute, ANSWER_SECONDS)
            if question is None:
                return {**self.seen.said.get(name, {}), **answers}
            if not question.found:
                of_others = {one for one in self._lacking if one[0] != name or one[1] == pid}
                self._lacking = of_others | {(name, pid, attribute)}
                continue
            try:
                answers[attribute] = read_answer(attribute, question.value)
            except ValueError as error:
                log.debug("%s.%s: %s", name, attribute, error)
        return answers


def _size_of_journal(run_dir: Path) -> int:
    """With what SQLite keeps beside it (bytes)."""
    return sum(path.stat().st_size for path in run_dir.glob("journal.sqlite*"))
