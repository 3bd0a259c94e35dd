"""What the master knows of the services, and does to them through supervisord."""

from __future__ import annotations

import logging
import math
import sqlite3
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from darc.master.attribute_answer import AnswerError, AttributeAnswer
from darc.model.service_state import Heartbeat, ServiceOutcome, ServiceState, service_state
from darc.node.supervisor import ProcessInfo, ProcessState, Supervisor, SupervisorError
from darc.queues.exchange import Exchange
from darc.queues.messages import QueryKind, QueueError, ServiceQuery
from darc.runtime.fan_out import fan_out

log = logging.getLogger(__name__)

# After SIGKILL supervisord needs a moment to see the end of a process.
KILL_SECONDS = 3.0
# Less than what clients wait for a reply; on a busy machine a start may take longer.
START_SECONDS = 8.0
# What supervisord said so long ago is still good for a status.
RECENT_SECONDS = 0.2


class StartResult(NamedTuple):
    """Which services were started, and why others could not be."""

    started: list[str]
    failed: dict[str, str]


class ServiceControl:
    """The services of this node.

    :param names: in the order in which replies list them
    :param control_timeout: s for a service to answer
    :param stop_timeout: s for a service to stop before it is killed
    """

    def __init__(
        self,
        supervisor: Supervisor,
        exchange: Exchange,
        names: Sequence[str],
        control_timeout: float,
        stop_timeout: float,
        unresponsive_after: float,
    ) -> None:
        self.names = tuple(names)
        self._supervisor = supervisor
        self._exchange = exchange
        self._control_timeout = control_timeout
        self._stop_timeout = stop_timeout
        self._unresponsive_after = unresponsive_after
        self._processes: dict[str, ProcessInfo] = {}
        self._asked_at = -math.inf

    def _pulse(self, name: str, process: ProcessInfo) -> Heartbeat:
        silent = self.silent(name, process)
        if silent is None:
            return Heartbeat.NONE
        return Heartbeat.SILENT if silent > self._unresponsive_after else Heartbeat.BEATING

    def silent(self, name: str, process: ProcessInfo) -> float | None:
        """How long ago the loop of this process was heard of (s); None: it is not attached."""
        presence = self._exchange.presence(name)
        if presence is None or presence.pid != process.pid or not presence.works:
            return None
        return time.monotonic() - presence.last_beat

    def states(self, names: Sequence[str]) -> dict[str, ServiceState]:
        """The state of each service.

        :raises SupervisorError: supervisord cannot be asked
        """
        processes = self.recent_processes()
        return {name: self.state(name, processes) for name in names}

    def changed(self) -> None:
        """Something has happened to a service: what supervisord said is out of date."""
        self._asked_at = -math.inf

    def recent_processes(self) -> dict[str, ProcessInfo]:
        """What supervisord says, or said a moment ago: many may ask for the status at once.

        Whether a service is attached and beats is never old, so none is called running that died.

        :raises SupervisorError: supervisord cannot be asked
        """
        asked_at = time.monotonic()
        if asked_at > self._asked_at + RECENT_SECONDS:
            self._processes = self._supervisor.processes()
            self._asked_at = asked_at
        return self._processes

    def state(self, name: str, processes: Mapping[str, ProcessInfo]) -> ServiceState:
        """The state of a service.

        :param processes: as supervisord has told them
        """
        process = processes.get(name)
        if process is None:
            return ServiceState.STOPPED
        return service_state(process.state.name, self._pulse(name, process))

    def start(self, names: Sequence[str]) -> dict[str, ServiceOutcome]:
        """Start services side by side, and wait until each runs or has failed."""
        running = ServiceState.RUNNING
        processes = self._supervisor.processes()
        before = {name: self.state(name, processes) for name in names}
        replies = {
            name: ServiceOutcome.RUNNING_ALREADY for name in names if before[name] is running
        }
        waiting = [name for name in names if name not in replies]
        for name in waiting:
            if name not in processes:
                replies[name] = ServiceOutcome.NO_PROGRAM
                log.error("%s: %s", name, replies[name])
                continue
            try:
                if processes[name].state is ProcessState.BACKOFF:
                    self._supervisor.stop(name)  # do not wait for its next try
                self._supervisor.start(name)
            except SupervisorError as error:
                log.error("%s: %s", name, error)
                replies[name] = ServiceOutcome.FAILED
        waiting = [name for name in waiting if name not in replies]
        self._wait(lambda: self._settled(waiting), START_SECONDS)
        self.changed()
        processes = self._supervisor.processes()
        for name in waiting:
            replies[name] = self._outcome(name, processes)
        return {name: replies[name] for name in names}

    def _outcome(self, name: str, processes: dict[str, ProcessInfo]) -> ServiceOutcome:
        state = self.state(name, processes)
        if state is ServiceState.RUNNING:
            return ServiceOutcome.STARTED
        if name not in processes:  # taken out meanwhile
            return ServiceOutcome.NO_PROGRAM
        still = state is ServiceState.STARTING and processes[name].state.alive
        return ServiceOutcome.STARTING if still else ServiceOutcome.FAILED

    def start_without_waiting(self, names: Collection[str]) -> StartResult:
        """Start those that do not run.

        :raises SupervisorError: supervisord cannot be asked
        """
        self.changed()
        processes = self._supervisor.processes()
        started, failed = [], {}
        for name in names:
            process = processes.get(name)
            if process is None:
                failed[name] = str(ServiceOutcome.NO_PROGRAM)
                continue
            if not process.state.ended:
                continue
            log.info("starting %s", name)
            try:
                self._supervisor.start(name)
                started.append(name)
            except SupervisorError as error:
                failed[name] = str(error)
        return StartResult(started, failed)

    def _settled(self, names: Sequence[str]) -> bool:
        """Each runs, or supervisord has seen a start fail (it goes on trying for a while)."""
        processes = self._supervisor.processes()
        return all(
            name not in processes
            or processes[name].state in {ProcessState.BACKOFF, ProcessState.FATAL}
            or self.state(name, processes) is ServiceState.RUNNING
            for name in names
        )

    def stop(self, names: Sequence[str]) -> dict[str, ServiceOutcome]:
        """Stop services side by side, and wait until each has ended."""
        there = self._supervisor.processes()
        for name in names:
            if name not in there:
                continue
            try:
                self._supervisor.stop(name)
            except SupervisorError as error:
                log.error("%s: %s", name, error)

        def ended() -> bool:
            processes = self._supervisor.processes()
            return all(name not in processes or processes[name].state.ended for name in names)

        self._wait(ended, self._stop_timeout + KILL_SECONDS)
        self.changed()
        after = self._supervisor.processes()
        return {
            name: ServiceOutcome.STOPPED
            if name not in after or after[name].state.ended
            else ServiceOutcome.FAILED
            for name in names
        }

    def _wait(self, condition: Callable[[], bool], timeout: float) -> None:
        self._exchange.wait_until(condition, timeout)

    def attributes(self, names: Sequence[str], attribute: str) -> dict[str, AttributeAnswer]:
        """Ask services for an attribute, all at the same time."""
        states = self.states(names)
        return fan_out(lambda name: self._ask(name, states[name], attribute), names)

    def _ask(self, name: str, state: ServiceState, attribute: str) -> AttributeAnswer:
        presence = self._exchange.presence(name)
        if state is ServiceState.UNRESPONSIVE:
            return AttributeAnswer(name, attribute, error=AnswerError.NOT_RESPONDING)
        if presence is None or state is not ServiceState.RUNNING:
            return AttributeAnswer(name, attribute, error=AnswerError.NOT_RUNNING)
        query = ServiceQuery(QueryKind.ATTRIBUTE, attribute)
        question = self._exchange.ask(name, query, self._control_timeout)
        if question is None:
            return AttributeAnswer(name, attribute, error=AnswerError.NOT_RESPONDING)
        if not question.found:
            return AttributeAnswer(name, attribute, error=AnswerError.NO_SUCH_ATTRIBUTE)
        return AttributeAnswer(name, attribute, presence.class_name, question.value)

    def reload(self, name: str) -> None:
        """Have a service that runs read its configuration again."""
        if self._exchange.presence(name):
            self._exchange.ask(name, ServiceQuery(QueryKind.RELOAD), self._control_timeout)

    def switch(self, name: str, switch: str, value: bool, origin: str) -> bool:
        """Set a switch of a service, for later starts too.

        :param origin: who wants it, for the logs
        :return: False when the service did not do so in time, or would not find it so after its
            next start; it is off then wherever it can be
        """
        if not value:  # first, so that off stays off, whatever becomes of the service
            remembered = self.remember_switch(name, switch, value, origin)
            return self._tell(name, switch, value, origin) and remembered
        if not self._tell(name, switch, value, origin):
            return False
        if self.remember_switch(name, switch, value, origin):
            return True
        # nobody has to wonder why it is on
        self._tell(name, switch, False, "as it could not be remembered")
        return False

    def _tell(self, name: str, switch: str, value: bool, origin: str) -> bool:
        query = ServiceQuery(QueryKind.SWITCH, switch, value, origin)
        question = self._exchange.ask(name, query, self._control_timeout)
        return question is not None and question.found

    def remember_switch(self, name: str, switch: str, value: bool, origin: str) -> bool:
        """Have a service find a switch so at its next start; False where that failed."""
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        try:
            self._exchange.remember(name, switch, value)
            self._exchange.remember(name, f"{switch} switched", f"{value} at {at} {origin}")
        except (QueueError, sqlite3.Error) as error:
            log.error(
                "%s: %s=%s cannot be remembered, and will not outlive a restart of the service: %s",
                name,
                switch,
                value,
                error,
            )
            return False
        return True
