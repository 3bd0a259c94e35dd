"""What the master knows of its node, told at once: ``darc get_attr overview``."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator

import psutil

from darc import __version__
from darc.master.node_watch import DISKS, NodeSnapshot, NodeWatch, WatchedNode
from darc.master.observation_run import ObservationRun, RunState
from darc.master.periodic_task import HANGS_SECONDS, PeriodicTask
from darc.master.process_history import ProcessHistory
from darc.metrics.node_measurements import NodeMeasurements
from darc.model import overview
from darc.model.overview import (
    Disk,
    NodeOverview,
    ObservationOverview,
    ServiceOverview,
    ThreadTrouble,
)
from darc.model.service_state import ServiceState
from darc.node.supervisor import Supervisor
from darc.node.supervisor_config import MASTER
from darc.queues.exchange import Exchange
from darc.queues.journal import Journal
from darc.runtime.log import lines_dropped
from darc.runtime.vital_threads import ended_threads

#: An answer is kept back no longer until something changes, and so many at a time.
MAX_WITHIN = 30.0
MAX_WAITING = 8
#: What changes by time alone is noticed so often.
NOTICE_SECONDS = 1.0

_ARGUMENTS = re.compile(r"(?:after=(\S+) +within=(\d+(?:\.\d*)?))?", re.ASCII)


class Overviews:
    """Makes the overviews of a node.

    :param lives: counts how often services were started anew
    :param started: Unix time of the master's start
    """

    def __init__(
        self,
        master: WatchedNode,
        supervisor: Supervisor,
        exchange: Exchange,
        journal: Journal,
        lives: ProcessHistory,
        started: float,
    ) -> None:
        self._master = master
        self._started = started
        self._node_started = _start_of_supervisord() or started
        self._changed = threading.Condition()
        self._changes = 0
        self._known: object = None
        self._places = threading.BoundedSemaphore(MAX_WAITING)
        self._notices = PeriodicTask("changes", NOTICE_SECONDS, self._notice)
        self._looks = NodeWatch(master, supervisor, exchange, journal, lives, self._notices.wake)

    def start(self) -> None:
        """Look from now on."""
        self._looks.start()
        self._notices.start()

    def wake(self) -> None:
        """Look at once: a service attached or went."""
        self._looks.wake()

    def find(self, arguments: str) -> str | None:
        """The overview as text; None where the arguments are none.

        :param arguments: empty, or ``after=<change> within=<s>``: wait so long for another change
        """
        match = _ARGUMENTS.fullmatch(arguments.strip())
        if match is None:
            return None
        waited = self._wait(match[1], min(float(match[2]), MAX_WITHIN)) if match[1] else 0.0
        return overview.to_text(self.make(waited))

    def _wait(self, after: str, within: float) -> float:
        """Wait until something has changed; returns how long that took (s)."""
        if not self._places.acquire(blocking=False):
            return 0.0
        began = time.monotonic()
        try:
            with self._changed:
                self._changed.wait_for(lambda: self._change != after, within)
        finally:
            self._places.release()
        return time.monotonic() - began

    # -- what is told ------------------------------------------------------------------------------

    @property
    def _change(self) -> str:
        return f"{self._started:.3f}/{self._changes}"

    def make(self, waited: float = 0.0) -> NodeOverview:
        """What is known now."""
        master, seen = self._master, self._looks.seen
        config = master.config
        disks = _disks(seen)
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
            supervisord=seen.supervisord,
            looked=seen.looked,
            read=seen.read,
            asked=seen.asked,
            journal_full=master.journal_full,
            disks=tuple(disk for disk in disks if disk.name != "log_dir"),
            itself=self._service(MASTER, seen),
            services=tuple(self._service(name, seen) for name in master.services.names),
            observations=tuple(map(_observation, master.observations.runs())),
            handovers=tuple(
                one for said in seen.said.values() for one in said.get("forwarding", ())
            ),
            threads=tuple(self._threads()),
        )

    def measure(self) -> NodeMeasurements:
        """What the metrics are made of: the overview, and numbers that it leaves out."""
        master, seen = self._master, self._looks.seen
        usage = seen.usage  # before the overview, which then knows as much of each process
        commands, queues = master.refused
        return NodeMeasurements(
            overview=self.make(),
            services={
                name: said["metrics"] for name, said in seen.said.items() if "metrics" in said
            }
            | {MASTER: master.losses.measured},
            depths=seen.depths,
            cpu_seconds={name: one.cpu_seconds for name, one in usage.items()},
            disks=_disks(seen),
            journal_bytes=seen.journal_bytes,
            journal_max_bytes=master.config.master.journal_max_bytes,
            refused={"commands": commands, "queues": queues},
            log_lines_dropped=lines_dropped(),
        )

    def _service(self, name: str, seen: NodeSnapshot) -> ServiceOverview:
        state, since = self._state(name)
        life = self._looks.lives.of(name)
        usage = seen.usage.get(name)
        depth = seen.depths.get(name)
        log_end = self._looks.logs.get(name)
        said = seen.said.get(name, {})
        return ServiceOverview(
            name=name,
            state=state,
            since=since,
            restarts=life.restarts,
            deaths=life.deaths,
            died=life.died,
            pid=seen.processes[name].pid if name in seen.processes else 0,
            memory=usage.memory if usage else 0,
            cpu=usage.cpu if usage else 0.0,
            queue=depth.entries if depth else 0,
            oldest=depth.oldest if depth else None,
            sending=said.get("send_events"),
            last_trigger=log_end.last_trigger if log_end else None,
            last_error=log_end.last_error if log_end else None,
            log_file=self._master.config.log_file(name),
            log_end=tuple(log_end.lines) if log_end else (),
            outcomes=said.get("outcomes", {}),
            latency=said.get("latency", ()),
            losses=self._master.losses.told if name == MASTER else said.get("losses", ()),
            how=life.how,
        )

    def _state(self, name: str) -> tuple[str, float | None]:
        if name == MASTER:  # it is the one who tells
            ended = ended_threads()
            if ended:
                return str(ServiceState.FAILED), ended[0].at
            return str(ServiceState.RUNNING), self._started
        return self._looks.state(name)

    def _threads(self) -> Iterator[ThreadTrouble]:
        """Threads of the master that do not do their work."""
        now = time.time()
        for one in ended_threads():
            yield ThreadTrouble(one.name, "ended", one.at, one.error)
        for rounds in (*self._looks.rounds, *self._master.rounds):
            took = rounds.hangs_for
            if took is not None:
                yield ThreadTrouble(rounds.name, "hangs", now - took, "")
        for work in self._master.apart.longer_than(HANGS_SECONDS):
            yield ThreadTrouble(work.name, "hangs", now - work.began.age(), "")

    def _notice(self) -> None:
        """Tell those who wait where more than numbers has changed."""
        for rounds in (*self._looks.rounds, *self._master.rounds):
            rounds.say_if_it_hangs()
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
        told = (now.supervisord, now.stopping, now.journal_full, now.mode, now.role, now.master)
        threads = [(one.name, one.trouble) for one in now.threads]
        known = (told, services, handovers, threads, now.observations)
        with self._changed:
            if known != self._known:
                self._known = known
                self._changes += 1
                self._changed.notify_all()


def _disks(seen: NodeSnapshot) -> tuple[Disk, ...]:
    return tuple(seen.disks[name] for name in DISKS if name in seen.disks)


def _start_of_supervisord() -> float | None:
    """Unix time of the start of what started this process."""
    if "SUPERVISOR_ENABLED" not in os.environ:
        return None
    try:
        return float(psutil.Process(os.getppid()).create_time())
    except psutil.Error:
        return None


def _observation(run: ObservationRun) -> ObservationOverview:
    state = str(run.state)
    if run.state is RunState.STOPPED or (run.state is RunState.RUNNING and run.past):
        state = "in processing"
    known = run.observation
    waits_for = tuple(name for name in run.services if name not in run.finished)
    return ObservationOverview(
        *(known.task_id, known.source, state, known.start, known.end),
        waits_for if state == "in processing" else (),
        f"{known.date}/{known.datetimesource}",
    )
