"""States of the services, and their starts and stops through supervisord."""

from __future__ import annotations

import logging
import math
import sqlite3
import time
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from darc.master.attribute_answer import AnswerError, AttributeAnswer
from darc.model.service_state import Heartbeat, ServiceOutcome, ServiceState, service_state
from darc.node.supervisor import ProcessInfo, ProcessState, Supervisor, SupervisorError
from darc.queues.exchange import Exchange
from darc.queues.messages import QueryKind, QueueError, ServiceQuery
from darc.runtime.fan_out import fan_out

log = logging.getLogger(__name__)

# After SIGKILL supervisord needs a moment to notice the exit.
KILL_SECONDS = 3.0
# Less than a client's timeout for a reply; on a busy machine a start may take longer.
START_SECONDS = 8.0
# Age up to which the last answer of supervisord is used again for a status.
RECENT_SECONDS = 0.2


class StartResult(NamedTuple):
    """Services that were started, and why others could not be."""

    started: list[str]
    failed: dict[str, str]


class ServiceControl:
    """The services of this node.

    :param names: in the order in which replies list them
    :param control_timeout: for a service to answer (s)
    :param stop_timeout: for a service to stop before it is killed (s)
    :param unresponsive_after: age of the last heartbeat after which a service is unresponsive (s)
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
        """Return the age of a process's last heartbeat (s); None: it is not attached."""
        presence = self._exchange.presence(name)
        if presence is None or presence.pid != process.pid or not presence.works:
            return None
        return time.monotonic() - presence.last_heartbeat

    def states(self, names: Sequence[str]) -> dict[str, ServiceState]:
        """Return the state of each service.

        :raises SupervisorError: supervisord cannot be asked
        """
        processes = self.recent_processes()
        return {name: self.state(name, processes) for name in names}

    def runs(self, name: str) -> bool:
        """Whether this node has a service, and it is running.

        :raises SupervisorError: supervisord cannot be asked
        """
        return name in self.names and self.states([name])[name] is ServiceState.RUNNING

    def is_starting(self, name: str) -> bool:
        """Whether a service has a process that is not attached, as after its start or the master's.

        :raises SupervisorError: supervisord cannot be asked
        """
        process = self.recent_processes().get(name)
        is_there = process is not None and process.state in {
            ProcessState.STARTING,
            ProcessState.RUNNING,
        }
        return is_there and self._exchange.presence(name) is None

    def changed(self) -> None:
        """Discard the last answer of supervisord, as a service has changed."""
        self._asked_at = -math.inf

    def recent_processes(self) -> dict[str, ProcessInfo]:
        """Return the processes that supervisord knows; a recent answer is used again.

        Attachments and heartbeats are always current, so that no service that has exited is
        reported as running.

        :raises SupervisorError: supervisord cannot be asked
        """
        asked_at = time.monotonic()
        if asked_at > self._asked_at + RECENT_SECONDS:
            self._processes = self._supervisor.processes()
            self._asked_at = asked_at
        return self._processes

    def state(self, name: str, processes: Mapping[str, ProcessInfo]) -> ServiceState:
        """Return the state of a service.

        :param processes: as supervisord has reported them
        """
        process = processes.get(name)
        if process is None:
            return ServiceState.STOPPED
        return service_state(process.state.name, self._pulse(name, process))

    def start(self, names: Sequence[str]) -> dict[str, ServiceOutcome]:
        """Start services in parallel, and wait until each runs or has failed."""
        processes = self._supervisor.processes()
        replies: dict[str, ServiceOutcome] = {}
        for name in names:
            if name not in processes:
                replies[name] = ServiceOutcome.NO_PROGRAM
                log.error("%s: %s", name, replies[name])
                continue
            if self.state(name, processes) is ServiceState.RUNNING:
                replies[name] = ServiceOutcome.RUNNING_ALREADY
                continue
            try:
                if processes[name].state is ProcessState.BACKOFF:
                    self._supervisor.stop(name)  # do not wait until supervisord retries
                self._supervisor.start(name)
            except SupervisorError as error:
                log.error("%s: %s", name, error)
                replies[name] = ServiceOutcome.FAILED
        waiting = [name for name in names if name not in replies]
        self._exchange.wait_until(lambda: self._settled(waiting), START_SECONDS)
        self.changed()
        processes = self._supervisor.processes()
        for name in waiting:
            replies[name] = self._outcome(name, processes)
        return {name: replies[name] for name in names}

    def _outcome(self, name: str, processes: dict[str, ProcessInfo]) -> ServiceOutcome:
        state = self.state(name, processes)
        if state is ServiceState.RUNNING:
            return ServiceOutcome.STARTED
        if name not in processes:  # removed meanwhile
            return ServiceOutcome.NO_PROGRAM
        still = state is ServiceState.STARTING and processes[name].state.alive
        return ServiceOutcome.STARTING if still else ServiceOutcome.FAILED

    def start_without_waiting(self, names: Collection[str]) -> StartResult:
        """Start those services that do not run, without waiting for them.

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
        """Whether each service runs, or its start has failed (supervisord retries for a while)."""
        processes = self._supervisor.processes()
        return all(
            name not in processes
            or processes[name].state in {ProcessState.BACKOFF, ProcessState.FATAL}
            or self.state(name, processes) is ServiceState.RUNNING
            for name in names
        )

    def stop(self, names: Sequence[str]) -> dict[str, ServiceOutcome]:
        """Stop services in parallel, and wait until each has exited."""
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

        self._exchange.wait_until(ended, self._stop_timeout + KILL_SECONDS)
        self.changed()
        after = self._supervisor.processes()
        return {
            name: ServiceOutcome.STOPPED
            if name not in after or after[name].state.ended
            else ServiceOutcome.FAILED
            for name in names
        }

    def attributes(self, names: Sequence[str], attribute: str) -> dict[str, AttributeAnswer]:
        """Ask services for an attribute in parallel."""
        states = self.states(names)
        return fan_out(lambda name: self._ask(name, states[name], attribute), names)

    def attribute(self, name: str, attribute: str) -> AttributeAnswer:
        """Ask a service for an attribute."""
        return self.attributes([name], attribute)[name]

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
        """Request a service to reload its configuration.

        One that hangs does so when it goes on; one that attaches looks at the configuration itself.
        """
        self._exchange.tell(name, ServiceQuery(QueryKind.RELOAD))

    def put(self, name: str, value: list[object]) -> None:
        """Put a plain value on a service's queue; it is on the disk then."""
        self._exchange.hand_in(name, value)

    def switch(self, name: str, switch: str, value: bool, origin: str) -> bool:
        """Set a switch of a service, for later starts too.

        :param origin: who requested it, for the logs
        :return: False when the service did not confirm in time, or the switch could not be saved
            for its next start; it is then off wherever possible
        """
        if not value:  # saved first, so that it stays off even if the service fails
            remembered = self.remember_switch(name, switch, value, origin)
            return self.pass_on(name, switch, value, origin) and remembered
        if not self.pass_on(name, switch, value, origin):
            return False
        if self.remember_switch(name, switch, value, origin):
            return True
        # Off again, so that it is not on without a record of it.
        self.pass_on(name, switch, False, "as it could not be remembered")
        return False

    def pass_on(self, name: str, switch: str, value: bool, origin: str) -> bool:
        """Have a service that runs, or attaches in time, set a switch; return whether it did."""
        query = ServiceQuery(QueryKind.SWITCH, switch, value, origin)
        question = self._exchange.ask(name, query, self._control_timeout)
        return question is not None and question.found

    def remember_switch(self, name: str, switch: str, value: bool, origin: str) -> bool:
        """Save a switch for a service's next start; False where that failed."""
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
