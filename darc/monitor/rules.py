"""Rules that find the problems of a node."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial

from darc import __version__
from darc.model.overview import Disk, LossSummary, NodeOverview, ServiceOverview
from darc.monitor.cluster_watch import NodeStatus
from darc.monitor.exit_reasons import why_ended
from darc.monitor.findings import (
    DIED,
    FAILED,
    OFTEN,
    RUNNING,
    STARTING,
    STOPPED,
    STOPPING,
    UNRESPONSIVE,
    Finding,
    FindingTitle,
    Priority,
    RuleContext,
)
from darc.monitor.service_trends import OFTEN_SECONDS, ServiceTrends
from darc.node.command_client import Unreached
from darc.node.process_names import MONITOR
from darc.runtime.service_traits import traits_of

#: A service that has exited is shown as such for so long (s), even where it runs again at once.
DIED_SECONDS = 5.0
#: For so long (s) the exit is mentioned.
DIED_LATELY_SECONDS = 600.0
#: A start or stop that takes longer (s) is a problem.
CHANGING_SECONDS = 30.0
#: Accepted difference between clocks (s).
CLOCK_SECONDS = 2.0
#: An entry that has waited longer (s) in the queue of a real-time service is late.
LATE_SECONDS = 30.0
#: Logs and disks are read more often than this (s) unless something hangs.
READ_SECONDS = 30.0
#: A disk is nearly full with less free space than the first, or than the second (bytes) and this
#: fraction of its size.
DISK_LEAST, DISK_LITTLE, DISK_SHARE = 2**30, 50 * 2**30, 0.05

_UNWATCHED = (
    "The node's logs and disks are not watched, restarts not counted, and there are no metrics;"
    " observations and triggers go on. {remedy} Why it stopped:"
)
_MONITOR_STOPPED = "does not run", "darc_start_master there starts it."
_MONITOR_HANGS = (
    "does not answer",
    "Once its disks answer: supervisorctl -c RUN_DIR/supervisord.conf restart darc_monitor.",
)
_ACTIONS = {FAILED: "start", STOPPED: "start", UNRESPONSIVE: "restart"}
_URGENCY = (FAILED, UNRESPONSIVE, DIED, STOPPED, STARTING, STOPPING)
_TAIL = ("tail", "-n", "50")


def state_of(service: ServiceOverview, now: float) -> str:
    """Return the state to show: a service that has just exited is not running at once.

    :param now: by the clock of its node (Unix s)
    """
    lately = service.died is not None and now - service.died < DIED_SECONDS
    return DIED if lately and service.state in (RUNNING, STARTING) else service.state


def findings_of(
    node: NodeStatus, context: RuleContext, now: float, history: ServiceTrends | None = None
) -> Iterator[Finding]:
    """Yield all findings about a node.

    :param now: by this host's clock (Unix s)
    :param history: trends of the services; None: none
    """
    if not node.asked:
        return
    if not node.reached:
        yield _unreached(node, context)
    elif node.overview is None:
        yield Finding(
            Priority.VERSION,
            node.name,
            FindingTitle.of("cannot be read by this page"),
            context.shell.restart,
            node.reason,
            grave=False,
        )
    else:
        yield from _NodeRules(
            node, node.overview, context, now, history or ServiceTrends()
        ).findings()


def _unreached(node: NodeStatus, context: RuleContext) -> Finding:
    def remedy(hosts: Sequence[str]) -> str:
        if node.cause is Unreached.REFUSED:
            return context.shell.start(hosts)
        if node.cause is Unreached.UNKNOWN_HOST:
            return f"getent hosts {hosts[0]}"
        return f"ping -c 3 {hosts[0]}"

    is_up = node.cause is Unreached.REFUSED
    title = FindingTitle.at("cannot be reached: nothing runs there" if is_up else "no answer")
    return Finding(Priority.UNREACHED, node.name, title, remedy, node.reason, node.since)


class _NodeRules:
    """Rules for a node that has sent an overview."""

    def __init__(
        self,
        node: NodeStatus,
        overview: NodeOverview,
        context: RuleContext,
        now: float,
        history: ServiceTrends,
    ) -> None:
        self._node = node
        self._now = overview.time + now - node.heard  # by its clock
        self._overview = overview
        self._context = context
        self._shell = context.shell
        self._history = history

    def findings(self) -> Iterator[Finding]:
        yield from self._master()
        yield from self._room()
        yield from self._threads()
        yield from self._losses()
        yield from self._services()
        yield from self._handovers()
        yield from self._clock_and_version()

    def _found(
        self,
        rank: int,
        title: FindingTitle,
        remedy: Callable[[Sequence[str]], str],
        text: str = "",
        since: float | None = None,
        service: str = "",
        *,
        grave: bool = True,
        urgency: int = 0,
        state: str = "",
        number: int = 0,
    ) -> Finding:
        """Make a finding.

        :param since: by the node's clock (Unix s)
        """
        since = None if since is None else since - self._node.clock
        name = self._node.name
        about = service, grave, urgency, state, number
        return Finding(rank, name, title, remedy, text, since, *about)

    def _there(self, *words: str) -> Callable[[Sequence[str]], str]:
        """Return a command on the host, or on the first of several."""
        return lambda hosts: self._shell.on(hosts[0], *words)

    def _service(self, service: str, action: str) -> Callable[[Sequence[str]], str]:
        return partial(self._shell.service, service=service, action=action)

    def _master(self) -> Iterator[Finding]:
        taken = (self._overview.master or "").split(".")[0]
        if self._shell.alone or taken == self._context.master.split(".")[0]:
            return
        what = (
            f"{self._overview.master} for the master" if taken else "itself for a node on its own"
        )
        yield self._found(
            Priority.MASTER,
            FindingTitle.of(f"takes {what}"),
            self._shell.restart,
            f"Here it is {self._context.master}. Correct cluster.master there, then:",
        )

    def _room(self) -> Iterator[Finding]:
        overview = self._overview
        run_dir = next((disk.path for disk in overview.disks if disk.name == "run_dir"), "/")
        if overview.journal_full:
            yield self._found(
                Priority.JOURNAL,
                FindingTitle.at("the journal is full, nothing new is taken in"),
                self._there("df", "-h", run_dir),
                "Make room, or raise darc_master.journal_max_bytes.",
            )
        for disk in overview.disks:
            if _is_nearly_full(disk):
                share = 100 * disk.free / disk.total if disk.total else 0
                yield self._found(
                    Priority.DISK,
                    FindingTitle.at(f"the disk of {disk.name} is nearly full"),
                    self._there("df", "-h", disk.path),
                    f"{disk.free / 2**30:.1f} GiB free ({share:.0f} %) at {disk.path}",
                    grave=False,
                )
        since_start = overview.time - overview.master_started
        if any(one.name == MONITOR for one in overview.threads):
            return  # reported by _threads
        if min(overview.time - overview.read, since_start) > READ_SECONDS:
            home = next((disk.path for disk in overview.disks if disk.name == "home"), "/")
            yield self._found(
                Priority.DISK,
                FindingTitle.at("logs and disks cannot be read"),
                self._there("df", "-h", home),
                "A network file system may hang.",
                overview.read or overview.master_started,
                grave=False,
            )

    def _losses(self) -> Iterator[Finding]:
        """Yield each kind of loss, for as long as its service reports it."""
        for service in (self._overview.itself, *self._overview.services):
            for losses in service.losses:
                if losses.recent and losses.last:
                    yield self._lost(service, losses)

    def _lost(self, service: ServiceOverview, losses: LossSummary) -> Finding:
        last = losses.last[-1]
        what = f"{last.observation}: {last.what}" if last.observation else last.what
        seen = "once" if losses.number == 1 else f"{losses.number:,} times, the last"
        named = () if service is self._overview.itself else ("--service", service.name)
        words = *named, "get_attr", "losses"
        return self._found(
            Priority.LOST,
            FindingTitle.at(losses.title),
            lambda hosts: self._shell.darc(hosts, *words),
            f"{seen}: {what}: {last.why.rstrip('.')}. {losses.to_do}".rstrip(),
            last.time,
            service.name,
            number=losses.number,
        )

    def _threads(self) -> Iterator[Finding]:
        """Yield the threads of darc_master or darc_monitor that have ended or hang."""
        for one in self._overview.threads:
            if one.name == MONITOR:
                what, remedy = _MONITOR_STOPPED if one.trouble == "ended" else _MONITOR_HANGS
                yield self._found(
                    Priority.SUPERVISORD,
                    FindingTitle.on(MONITOR, what),
                    lambda hosts: self._shell.darc(hosts, "logs", MONITOR),
                    _UNWATCHED.format(remedy=remedy),
                    one.since,
                    MONITOR,
                )
            elif one.trouble == "ended":
                title = FindingTitle.at(f"the periodic task {one.name} has ended")
                yield self._found(
                    Priority.SUPERVISORD, title, self._shell.restart, one.text, one.since
                )
            else:
                yield self._found(
                    Priority.DISK,
                    FindingTitle.at(f"{one.name}: no answer"),
                    self._there("df", "-h"),
                    "What it is on hangs, such as a network file system.",
                    one.since,
                    grave=False,
                )

    def _services(self) -> Iterator[Finding]:
        overview = self._overview
        if overview.supervisord:
            title = FindingTitle.at("supervisord does not answer")
            yield self._found(
                Priority.SUPERVISORD, title, self._shell.restart, overview.supervisord
            )
        states = {service.state for service in overview.services}
        if len(overview.services) > 1 and states in ({STOPPED}, {STOPPING}, {FAILED}):
            # one finding for a node that was stopped
            state = states.pop()
            what = FindingTitle.at(f"all services are {state}")
            yield self._found(
                self._rank("all"),
                FindingTitle.of("is being stopped") if overview.stopping else what,
                self._service("all", "start"),
                since=max((one.since for one in overview.services if one.since), default=None),
                service="all",
                urgency=-1,
                state=state,
            )
            return
        if self._history.trend(self._node.name, overview.itself.name).dies_often is not None:
            yield self._dies_often(overview.itself)
        for service in overview.services:
            state = state_of(service, self._now)
            trend = self._history.trend(self._node.name, service.name)
            if trend.grows is not None and traits_of(service.name).unhurried:
                yield self._grows(service, trend.grows)
            if trend.dies_often is not None and state in (RUNNING, STARTING, DIED):
                yield self._dies_often(service)
                continue
            if state != RUNNING:
                yield self._not_running(service, state)
                continue
            if service.died is not None and self._now - service.died < DIED_LATELY_SECONDS:
                yield self._died_lately(service)
            late = service.oldest is not None and overview.time - service.oldest > LATE_SECONDS
            if late and not traits_of(service.name).unhurried:
                yield self._found(
                    Priority.LATE,
                    FindingTitle.on(service.name, "is late"),
                    self._service(service.name, "restart"),
                    f"{service.queue:,} entries wait for it, the oldest since then.",
                    service.oldest,
                    service.name,
                )

    def _rank(self, service: str) -> int:
        """Return the rank of a service that does not run."""
        if traits_of(service).unhurried:
            return Priority.UNHURRIED
        return Priority.ON_MASTER if self._overview.role == "master" else Priority.ON_WORKER

    def _not_running(self, service: ServiceOverview, state: str) -> Finding:
        since = service.died if state == DIED else service.since
        late = since is not None and self._now - since > CHANGING_SECONDS
        grave = state not in (STARTING, STOPPING) or late or service.ended_by_itself
        action = _ACTIONS.get(state)
        log_end = self._there(*_TAIL, service.log_file)
        verb = state if state in (FAILED, DIED) else f"is {state}"
        return self._found(
            self._rank(service.name) if grave else Priority.CHANGING,
            FindingTitle.on(service.name, verb),
            self._service(service.name, action) if action else log_end,
            why_ended(service, since, state),
            since,
            service.name,
            grave=grave,
            urgency=_URGENCY.index(state) if state in _URGENCY else 0,
            state=state,
        )

    def _dies_often(self, service: ServiceOverview) -> Finding:
        trend = self._history.trend(self._node.name, service.name)
        lately = OFTEN_SECONDS / 60
        often = f"{trend.deaths} times in the last {lately:.0f} minutes." if trend.deaths else ""
        why = why_ended(service, service.died, DIED) or "Its log does not say why."
        since = None if trend.dies_often is None else trend.dies_often + self._node.clock
        return self._found(
            self._rank(service.name),
            FindingTitle.on(service.name, "dies again and again"),
            self._there(*_TAIL, service.log_file),
            f"{often} {why}".lstrip(),
            since,
            service.name,
            urgency=_URGENCY.index(DIED),
            state=OFTEN,
        )

    def _grows(self, service: ServiceOverview, since: float) -> Finding:
        return self._found(
            Priority.GROWS,
            FindingTitle.on(f"The queue of {service.name}", "grows"),
            self._there(*_TAIL, service.log_file),
            f"{service.queue:,} entries wait, the oldest since {_clock_time(service.oldest)}.",
            since + self._node.clock,
            service.name,
            grave=False,
        )

    def _died_lately(self, service: ServiceOverview) -> Finding:
        often = f" {service.deaths} times since the node was started." if service.deaths > 1 else ""
        why = why_ended(service, service.died, DIED) or "Its log does not say why."
        return self._found(
            Priority.DIED_LATELY,
            FindingTitle.on(service.name, "died"),
            self._there(*_TAIL, service.log_file),
            f"It runs again. {why}{often}",
            service.died,
            service.name,
            grave=False,
        )

    def _handovers(self) -> Iterator[Finding]:
        master = [self._context.master]
        for handover in self._overview.handovers:
            if handover.reached:
                continue
            restart = self._shell.service(master, handover.service, "restart")
            yield self._found(
                Priority.HANDOVER,
                FindingTitle.of(f"cannot hand in triggers for {handover.service}"),
                _always(restart),
                f"{handover.waiting} waiting. {handover.text}",
                handover.since,
                handover.service,
            )

    def _clock_and_version(self) -> Iterator[Finding]:
        clock, version = self._node.clock, self._overview.version
        if abs(clock) > CLOCK_SECONDS:
            off = "ahead" if clock > 0 else "behind"
            yield self._found(
                Priority.CLOCK,
                FindingTitle(f"The clock is {off}", f"The clock of {{host}} is {off}"),
                self._there("timedatectl"),
                f"By {abs(clock):.1f} s against this host's.",
                grave=False,
            )
        if version != __version__:
            yield self._found(
                Priority.VERSION,
                FindingTitle.of(f"runs DARC {version}, this host {__version__}"),
                self._shell.restart,
                "Between two observations:",
                grave=False,
            )


def _always(command: str) -> Callable[[Sequence[str]], str]:
    return lambda hosts: command


def _clock_time(time: float | None) -> str:
    return "?" if time is None else f"{datetime.fromtimestamp(time, UTC):%H:%M:%S} UTC"


def _is_nearly_full(disk: Disk) -> bool:
    little = disk.free < DISK_LITTLE and disk.free < DISK_SHARE * disk.total
    return disk.free < DISK_LEAST or little
