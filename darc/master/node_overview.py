"""Overview of the node, which is returned without waiting: ``darc get_attr overview``.

States, observations and queues are those of the master itself; the rest is from the latest report
of darc_monitor.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from darc import __version__
from darc.config.config import Config
from darc.config.records import Struct, field
from darc.master.master_losses import MasterLosses
from darc.master.monitor_link import MonitorLink
from darc.master.observation_life import Observations
from darc.master.observation_run import ObservationRun
from darc.master.periodic_task import HANGS_SECONDS, PeriodicTask, thread_troubles
from darc.master.service_control import ServiceControl
from darc.model import overview
from darc.model.counters import in_words
from darc.model.node_report import NodeReport, ServiceReport
from darc.model.overview import (
    LogLine,
    NodeOverview,
    ObservationOverview,
    ServiceOverview,
    ThreadTrouble,
    shortened,
)
from darc.model.service_state import ServiceState
from darc.node.process_names import MASTER, MONITOR
from darc.node.supervisor import ProcessInfo, SupervisorError
from darc.queues.journal import Journal
from darc.queues.messages import Depth
from darc.runtime.detached_work import DetachedWork
from darc.runtime.log import last_lines
from darc.runtime.process_start import started_at
from darc.runtime.vital_threads import ended_threads

PROCESS_SECONDS = 1.0
#: Polls of supervisord: each round for so long after a service attached or detached, and otherwise
#: at the longer interval (s).
LIVELY_SECONDS = 5.0
CALM_SECONDS = 3.0
#: Between two queries of the queue depths (s), and at least so many times the duration of a query.
DEPTHS_SECONDS = 4.0
DEPTHS_SHARE = 100
#: Longest delay of an answer until something changes (s), and delayed answers at a time.
MAX_WITHIN = 30.0
MAX_WAITING = 8
#: How often changes are detected that follow from time alone (s).
NOTICE_SECONDS = 1.0
#: Disks in the overview; the disk of the logs is in the metrics only.
DISKS = ("run_dir", "home")

_ARGUMENTS = re.compile(r"(?:after=(\S+) +within=(\d+(?:\.\d*)?))?", re.ASCII)


class OverviewSource(Protocol):
    """The master, as far as the overview needs it."""

    config: Config
    node_id: str
    services: ServiceControl
    observations: Observations
    losses: MasterLosses
    apart: DetachedWork
    monitor: MonitorLink

    @property
    def periodic_tasks(self) -> Sequence[PeriodicTask]: ...
    @property
    def stopping(self) -> bool: ...
    @property
    def journal_full(self) -> bool: ...


class _KnownState(Struct):
    """Latest values that the master's threads have read; each is replaced as a whole."""

    processes: Mapping[str, ProcessInfo] = field(default_factory=dict)
    supervisord: str = ""
    looked: float = 0.0
    depths: Mapping[str, Depth] = field(default_factory=dict)


class Overviews:
    """Builder of the node's overviews.

    :param started: start of the master (Unix s)
    """

    def __init__(self, master: OverviewSource, journal: Journal, started: float) -> None:
        self._master = master
        self._journal = journal
        self._started = started
        self._node_started = _start_of_supervisord() or started
        self._changed = threading.Condition()
        self._changes = 0
        self._last: object = None
        self._places = threading.BoundedSemaphore(MAX_WAITING)
        self._known = _KnownState()
        self._next_processes = self._next_depths = self._lively_until = 0.0  # monotonic
        self._processes = PeriodicTask("processes", PROCESS_SECONDS, self._poll_processes)
        self._notices = PeriodicTask("changes", NOTICE_SECONDS, self._notice)
        self._tasks = (self._processes, PeriodicTask("queues", DEPTHS_SECONDS, self._poll_queues))

    def start(self) -> None:
        """Start the periodic tasks."""
        for task in (*self._tasks, self._notices):
            task.start()

    def wake(self) -> None:
        """Poll supervisord at once, as a service has attached or detached."""
        self._lively_until = time.monotonic() + LIVELY_SECONDS
        self._processes.wake()

    def notice(self) -> None:
        """Check for changes at once."""
        self._notices.wake()

    @property
    def depths(self) -> Mapping[str, Depth]:
        """Depths of the queues by name, at the latest query."""
        return self._known.depths

    @property
    def processes(self) -> Mapping[str, ProcessInfo]:
        """Processes by name, as supervisord has reported them last; empty: not asked yet."""
        return self._known.processes

    def states(self) -> dict[str, ServiceState]:
        """Return the state of each service; its process is that of the last report."""
        services, processes = self._master.services, self.processes
        return {name: services.state(name, processes) for name in services.names}

    def running(self) -> list[str]:
        """Return the services that can be asked for an attribute."""
        return [name for name, state in self.states().items() if state is ServiceState.RUNNING]

    def _poll_processes(self) -> None:
        now = time.monotonic()
        if now >= self._next_processes or now < self._lively_until:
            self._next_processes = now + CALM_SECONDS - PROCESS_SECONDS / 2
            try:
                self._known.processes = self._master.services.recent_processes()
                self._known.supervisord, self._known.looked = "", time.time()
            except SupervisorError as error:
                self._known.supervisord = str(error)
        self._notices.wake()

    def _poll_queues(self) -> None:
        now = time.monotonic()
        if now >= self._next_depths:
            self._known.depths = {depth.queue: depth for depth in self._journal.depths()}
            self._next_depths = now + DEPTHS_SHARE * (time.monotonic() - now)

    def find(self, arguments: str) -> str | None:
        """Return the overview as text; None where the arguments are invalid.

        :param arguments: empty, or ``after=<change> within=<s>``: wait so long for another change
        """
        match = _ARGUMENTS.fullmatch(arguments.strip())
        if match is None:
            return None
        waited = self._wait(match[1], min(float(match[2]), MAX_WITHIN)) if match[1] else 0.0
        return overview.to_text(self.make(waited))

    def _wait(self, after: str, within: float) -> float:
        """Wait until something has changed; return how long that took (s)."""
        if not self._places.acquire(blocking=False):
            return 0.0
        began = time.monotonic()
        try:
            with self._changed:
                self._changed.wait_for(lambda: self._change != after, within)
        finally:
            self._places.release()
        return time.monotonic() - began

    # -- building the overview ---------------------------------------------------------------------

    @property
    def _change(self) -> str:
        return f"{self._started:.3f}/{self._changes}"

    def make(self, waited: float = 0.0) -> NodeOverview:
        """Build the overview of now.

        :param waited: how long the answer was delayed (s)
        """
        master, known, seen = self._master, self._known, self._master.monitor.latest
        config = master.config
        of_services = {one.name: one for one in seen.services}
        with self._changed:
            change = self._change
        return NodeOverview(
            format=overview.FORMAT,
            change=change,
            hostname=config.hostname,
            role=config.role.value,
            version=__version__,
            node_id=master.node_id,
            time=time.time(),
            waited=waited,
            started=self._node_started,
            master_started=self._started,
            master=config.cluster.master,
            mode=config.master.mode,
            stopping=master.stopping,
            supervisord=known.supervisord,
            looked=known.looked,
            read=seen.read,
            asked=seen.asked,
            journal_full=master.journal_full,
            disks=tuple(disk for disk in seen.disks if disk.name in DISKS),
            itself=self._service(MASTER, of_services),
            services=tuple(self._service(name, of_services) for name in master.services.names),
            observations=tuple(map(_observation, master.observations.runs())),
            handovers=seen.handovers,
            threads=tuple(self._threads(seen)),
        )

    def _service(self, name: str, of_services: Mapping[str, ServiceReport]) -> ServiceOverview:
        seen = of_services.get(name) or ServiceReport(name)
        process = self._known.processes.get(name)
        state, since = self._state(name, process, seen)
        depth = self.depths.get(name)
        pid = process.pid if process else 0
        same = seen.pid == pid
        return ServiceOverview(
            name=name,
            state=state,
            since=since,
            restarts=seen.restarts,
            deaths=seen.deaths,
            died=seen.died,
            pid=pid,
            memory=seen.memory if same else 0,
            cpu=seen.cpu if same else 0.0,
            queue=depth.entries if depth else 0,
            oldest=depth.oldest if depth else None,
            sending=seen.sending,
            last_trigger=seen.last_trigger,
            last_error=_own_last_error(seen) if name == MASTER else seen.last_error,
            log_file=self._master.config.log_file(name),
            log_end=seen.log_end,
            outcomes=in_words(seen.outcomes),
            latency=seen.latency,
            losses=self._master.losses.summaries if name == MASTER else seen.losses,
            how=seen.how,
        )

    def _state(
        self, name: str, process: ProcessInfo | None, seen: ServiceReport
    ) -> tuple[str, float | None]:
        """Return the state of a service, and since when it has it (Unix s)."""
        if name == MASTER:  # darc_master itself
            ended = ended_threads()
            if ended:
                return str(ServiceState.FAILED), ended[0].at
            return str(ServiceState.RUNNING), self._started
        if process is None:
            return str(ServiceState.STOPPED), seen.ended
        services = self._master.services
        state = services.state(name, {name: process})
        silent = services.silent(name, process)
        if state is ServiceState.UNRESPONSIVE and silent is not None:
            return str(state), time.time() - silent
        since = process.started if process.state.alive else process.stopped
        return str(state), since or None

    def _threads(self, seen: NodeReport) -> Iterator[ThreadTrouble]:
        """Yield the threads that have ended or hang, of darc_master and of darc_monitor."""
        yield from thread_troubles((*self._tasks, *self._master.periodic_tasks))
        for work in self._master.apart.longer_than(HANGS_SECONDS):
            yield ThreadTrouble(work.name, "hangs", time.time() - work.began.age(), "")
        monitor = self._master.monitor.state
        if monitor.trouble and not self._master.stopping:
            yield ThreadTrouble(MONITOR, monitor.trouble, monitor.since, "")
        else:
            yield from seen.threads

    def _notice(self) -> None:
        """Wake waiting clients if more than numbers has changed, and log tasks that hang."""
        for task in (*self._tasks, *self._master.periodic_tasks):
            task.say_if_it_hangs()
        now = self.make()
        services = [
            (
                one.name,
                one.state,
                one.pid,
                one.deaths,
                one.sending,
                one.last_error,
                one.last_trigger,
                one.losses,
                one.how,
            )
            for one in (now.itself, *now.services)
        ]
        handovers = [(one.service, one.reached) for one in now.handovers]
        facts = (now.supervisord, now.stopping, now.journal_full, now.mode, now.role, now.master)
        threads = [(one.name, one.trouble) for one in now.threads]
        known = (facts, services, handovers, threads, now.observations)
        with self._changed:
            if known != self._last:
                self._last = known
                self._changes += 1
                self._changed.notify_all()


def _start_of_supervisord() -> float | None:
    """Return the start of the parent process (Unix s)."""
    return started_at(os.getppid()) if "SUPERVISOR_ENABLED" in os.environ else None


def _own_last_error(seen: ServiceReport) -> LogLine | None:
    """Return the last error of this process; where there is none, that of the log file."""
    own = last_lines().error
    return seen.last_error if own is None else LogLine(own.time, shortened(own.text))


def _observation(run: ObservationRun) -> ObservationOverview:
    known, state = run.observation, run.shown_state
    waits_for = tuple(name for name in run.services if name not in run.finished)
    return ObservationOverview(
        known.task_id,
        known.source,
        state,
        known.start,
        known.end,
        waits_for if state == "in processing" else (),
        f"{known.date}/{known.datetimesource}",
    )
