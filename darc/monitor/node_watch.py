"""State of the node as darc_monitor reads it, in threads, so that no reader has to wait.

One thread polls the processes, one the logs, one each disk, which may be on a network file system
that hangs, and one the services, any of which may hang.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from darc.config.config import Config
from darc.config.records import Struct, field
from darc.master.periodic_task import PeriodicTask, thread_troubles
from darc.model.node_report import NodeReport, ServiceReport
from darc.model.overview import Disk, LogLine
from darc.monitor.log_tail import LogTail
from darc.monitor.master_client import AskedFor, MasterClient, ServiceChanges
from darc.monitor.process_history import ProcessHistory
from darc.monitor.service_answers import read_report
from darc.node.process_names import MASTER
from darc.node.supervisor import ProcessInfo, ProcessState, Supervisor, SupervisorError
from darc.queues.client import QueuesGoneError
from darc.queues.names import REPORT

log = logging.getLogger(__name__)

PROCESS_SECONDS = 1.0
#: Polls of supervisord: each round for so long after a service attached or detached, and otherwise
#: at the longer interval (s).
LIVELY_SECONDS = 5.0
CALM_SECONDS = 3.0
#: Bytes read of supervisord's log, to find how processes exited since the last round.
LOG_END = 2**16
LOG_SECONDS = 2.0
DISK_SECONDS = 2.0
ASK_SECONDS = 5.0
#: Longest duration of the round that asks all services, of which several may hang (s).
ASK_HANGS_SECONDS = 60.0
#: Timeout of a service; the rest of its attributes are then skipped in this round (s).
ANSWER_SECONDS = 2.0
#: Longest wait for changes at the master; then it is asked again (s).
CHANGES_SECONDS = 2.0
#: Delay between two requests for changes, and while the master is away (s).
PAUSE_SECONDS, AWAY_SECONDS = 0.05, 0.5
#: Interval of reports where nothing has changed, as a heartbeat (s).
REPORT_SECONDS = 1.0
USAGE_SECONDS = 5.0
#: Directories whose disks are watched.
DISKS: Mapping[str, Callable[[Config], str]] = {
    "run_dir": lambda config: config.master.run_dir,
    "home": lambda config: config.darc_home,
    "log_dir": lambda config: config.master.log_dir,
}


class ProcessUsage(Struct):
    """Resources that a process uses."""

    process: psutil.Process
    memory: int = 0
    cpu: float = 0.0
    cpu_seconds: float = 0.0


class NodeSnapshot(Struct):
    """Latest values that the threads have read; each is replaced as a whole."""

    processes: Mapping[str, ProcessInfo] = field(default_factory=dict)
    usage: Mapping[str, ProcessUsage] = field(default_factory=dict)
    disks: Mapping[str, Disk] = field(default_factory=dict)
    journal_bytes: int | None = None
    said: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    reads: Mapping[str, float] = field(default_factory=dict)
    asked: float = 0.0

    @property
    def read(self) -> float:
        """When the logs and all disks were last read (Unix s); the oldest counts."""
        return min((self.reads.get(place, 0.0) for place in ("logs", *DISKS)), default=0.0)


class NodeWatch:
    """Watch of a node: polls all of it, keeps the latest values, and reports them to the master.

    :param history: counts restarts of services
    :param configure: called when the master has a new configuration
    """

    def __init__(
        self,
        config: Config,
        supervisor: Supervisor,
        history: ProcessHistory,
        configure: Callable[[], None],
    ) -> None:
        #: Replaced when the master has a new one.
        self.config = config
        self._supervisor = supervisor
        self._history = history
        self._configure = configure
        run_dir = Path(config.master.run_dir)
        # One for each thread that calls the master.
        self._for_changes, self._for_processes, self._for_answers, self._for_reports = (
            MasterClient(run_dir) for _ in range(4)
        )
        self.seen = NodeSnapshot()
        self.logs: dict[str, LogTail] = {}
        self._next_processes = self._next_usage = 0.0  # monotonic, s
        self._lively_until = 0.0
        self._changes: ServiceChanges | None = None
        self._started: Mapping[str, float] | None = None  # by the master; None: unknown
        self._told: NodeReport | None = None
        self._replacing = threading.Lock()
        self._processes = PeriodicTask("processes", PROCESS_SECONDS, self._poll_processes)
        self._handover = PeriodicTask("handing over", REPORT_SECONDS, self._hand_over)
        self._of_master = (
            PeriodicTask("service changes", PAUSE_SECONDS, self._follow_master),
            self._handover,
        )
        #: Tasks that may hang with what they read.
        self.periodic_tasks = (
            self._processes,
            PeriodicTask("logs", LOG_SECONDS, self._poll_logs),
            *(
                PeriodicTask(f"disk of {name}", DISK_SECONDS, partial(self._poll_disk, name))
                for name in DISKS
            ),
            PeriodicTask("answers of services", ASK_SECONDS, self._ask_services, ASK_HANGS_SECONDS),
        )

    def start(self) -> None:
        """Start the periodic tasks."""
        for task in (*self.periodic_tasks, *self._of_master):
            task.start()

    # -- the report --------------------------------------------------------------------------------

    def report(self) -> NodeReport:
        """Return the current report for the master."""
        seen = self.seen
        return NodeReport(
            read=seen.read,
            asked=seen.asked,
            disks=self.disks,
            services=tuple(self._service(name, seen) for name in (MASTER, *self.config.services())),
            handovers=tuple(
                one for said in seen.said.values() for one in said.get("forwarding", ())
            ),
            threads=tuple(thread_troubles(self.periodic_tasks)),
        )

    @property
    def disks(self) -> tuple[Disk, ...]:
        """The disks that were read."""
        return tuple(self.seen.disks[name] for name in DISKS if name in self.seen.disks)

    def _service(self, name: str, seen: NodeSnapshot) -> ServiceReport:
        past = self._history.of(name)
        usage = seen.usage.get(name)
        log_end = self.logs.get(name)
        said = seen.said.get(name, {})
        return ServiceReport(
            name=name,
            restarts=past.restarts,
            deaths=past.deaths,
            died=past.died,
            ended=past.ended,
            how=past.how,
            pid=usage.process.pid if usage else 0,
            memory=usage.memory if usage else 0,
            cpu=usage.cpu if usage else 0.0,
            sending=said.get("send_events"),
            last_trigger=said.get("last_trigger"),
            last_error=self._last_error(name, seen),
            log_end=log_end.lines if log_end else (),
            outcomes=said.get("outcomes", {}),
            latency=said.get("latency", ()),
            losses=said.get("losses", ()),
        )

    def _last_error(self, name: str, seen: NodeSnapshot) -> LogLine | None:
        """Return the last error: from the process, or from its log if it cannot be asked."""
        reported = seen.said.get(name, {}).get("last_error")
        log_end = self.logs.get(name)
        logged = log_end.last_error if log_end else None
        is_running = self._changes is not None and name in self._changes.running
        process = seen.processes.get(name) if is_running else None
        if process and logged and (logged.time or 0.0) >= process.started + 1.0:
            logged = None  # it reports that itself; supervisord's times are whole seconds
        known = [line for line in (logged, reported) if line is not None]
        return max(known, key=lambda line: line.time or 0.0, default=None)

    def _hand_over(self) -> None:
        for task in self.periodic_tasks:
            task.say_if_it_hangs()
        report = self.report()
        try:
            self._for_reports.report(report, self._told)
        except QueuesGoneError:
            self._told = None  # send the full report to the new master
        else:
            self._told = report

    def _follow_master(self) -> None:
        known = self._changes
        try:
            news = self._for_changes.news(known.changes if known else 0, CHANGES_SECONDS)
        except QueuesGoneError:
            time.sleep(AWAY_SECONDS)
            return
        self._changes = news
        if known is None or news.configured != known.configured:
            self._configure()
            self._handover.wake()
        if known is None or news.changes != known.changes:
            self._lively_until = time.monotonic() + LIVELY_SECONDS
            self._processes.wake()
            self._handover.wake()

    # -- polls -------------------------------------------------------------------------------------

    def _poll_processes(self) -> None:
        now = time.monotonic()
        if now >= self._next_processes or now < self._lively_until:
            self._next_processes = now + CALM_SECONDS - PROCESS_SECONDS / 2
            self._ask_supervisord()
        if now >= self._next_usage:
            self._next_usage = now + USAGE_SECONDS
            self.seen.usage = dict(self._usage(self.seen))
        self._handover.wake()

    def _ask_supervisord(self) -> None:
        processes = self._supervisor.processes()
        # Read afterwards: the master records a stop before the process exits.
        asked_for = self._asked_for()
        self._history.update(processes, time.time(), self._end_of_supervisords_log, asked_for.stops)
        if self._started is not None:
            for name, at in asked_for.starts.items():
                if self._started.get(name) != at:
                    self._history.will_start(name)
        self._started = asked_for.starts
        self.seen.processes = processes

    def _asked_for(self) -> AskedFor:
        try:
            return self._for_processes.asked_for()
        except QueuesGoneError:
            return AskedFor({}, self._started or {})

    def _end_of_supervisords_log(self) -> str:
        try:
            return self._supervisor.log_end(LOG_END)
        except SupervisorError as error:  # it has no log, or its disk is not available
            log.warning("whether services were stopped by hand is not known: %s", error)
            return ""

    def _usage(self, seen: NodeSnapshot) -> Iterator[tuple[str, ProcessUsage]]:
        for name, process in seen.processes.items():
            if not process.pid:
                continue
            with contextlib.suppress(psutil.Error):  # it has just exited
                known = seen.usage.get(name)
                same = known is not None and known.process.pid == process.pid
                taker = known.process if known and same else psutil.Process(process.pid)
                with taker.oneshot():
                    cpu = taker.cpu_percent()  # since the last call; the first call returns 0
                    times = taker.cpu_times()
                    taken = times.user + times.system
                    yield (
                        name,
                        ProcessUsage(taker, taker.memory_info().rss, cpu if same else 0.0, taken),
                    )

    def _poll_logs(self) -> None:
        config = self.config
        changed = False
        for name in (MASTER, *config.services()):
            path = Path(config.log_file(name))
            known = self.logs.get(name)
            if known is None or known.path != path:
                self.logs[name] = known = LogTail(path)
            try:
                changed |= known.poll()
            except OSError as error:
                known.lines = (f"{path}: {error.strerror}",)
        with self._replacing:
            self.seen.reads = {**self.seen.reads, "logs": time.time()}
        if changed:
            self._handover.wake()

    def _poll_disk(self, name: str) -> None:
        path = DISKS[name](self.config)
        usage = shutil.disk_usage(path)
        if name == "run_dir":
            # With the further files of SQLite.
            journal = Path(path).glob("journal.sqlite*")
            self.seen.journal_bytes = sum(file.stat().st_size for file in journal)
        with self._replacing:  # another disk's value may arrive at the same time
            self.seen.disks = {**self.seen.disks, name: Disk(name, path, usage.total, usage.free)}
            self.seen.reads = {**self.seen.reads, name: time.time()}

    def _ask_services(self) -> None:
        running = self._changes.running if self._changes else ()
        said: dict[str, Mapping[str, Any]] = {}
        for name in self.config.services():
            process = self.seen.processes.get(name)
            if process is None or process.state is ProcessState.STOPPING:
                continue
            if name in running:
                said[name] = self._answers(name)
            else:
                said[name] = self.seen.said.get(name, {})
        self.seen.said = said
        self.seen.asked = time.time()
        self._handover.wake()

    def _answers(self, name: str) -> Mapping[str, Any]:
        before = self.seen.said.get(name, {})
        try:
            answer = self._for_answers.ask(name, REPORT, ANSWER_SECONDS)
        except QueuesGoneError:
            answer = None
        if answer is None or not answer[0]:
            return before
        answers = read_report(answer[1])
        if answers.get("last_trigger") is None:  # none yet; an earlier process may have one
            answers["last_trigger"] = before.get("last_trigger")
        return answers
