"""The command vocabulary: each command is a method that turns a request into a reply."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

from darc.config.config import Config, Role
from darc.config.records import Struct, replace
from darc.config.typed import to_plain
from darc.master.alert_commands import AlertCommands
from darc.master.observation_commands import ObservationCommands
from darc.master.observation_life import Observations
from darc.master.service_control import ServiceControl
from darc.model.message import Reply, Request
from darc.model.service_state import FAILURES, ServiceOutcome
from darc.model.vocabulary import not_of_a_service
from darc.node.supervisor import SupervisorError
from darc.runtime.detached_work import DetachedWork
from darc.runtime.log import about
from darc.runtime.service_traits import ExternalSystem, known_traits

log = logging.getLogger(__name__)

#: Commands that start something; refused while the node is stopping.
STARTING = ("start", "restart", "start_observation", "reload")
#: Commands that need a service.
OF_SERVICES = ("status", "start", "stop", "restart")


class CommandedNode(Protocol):
    """Node that commands act on, as the master implements it."""

    config: Config
    services: ServiceControl
    observations: Observations
    apart: DetachedWork

    def reload(self, origin: str) -> list[str]:
        """Reload the configuration; return what was done and what needs a restart of the node."""

    def stop(self) -> None:
        """Stop the node after the reply was sent."""

    @property
    def stopping(self) -> bool:
        """Whether the node is stopping."""

    def attribute(self, name: str) -> object | None:
        """Return a declared attribute of the master as text; None where it is unknown."""


class CommandVocabulary:
    """Dispatcher of requests to the methods that execute them."""

    def __init__(self, node: CommandedNode) -> None:
        self._node = node
        self._subject = threading.local()  # id of the observation that a thread's request is about
        observing = ObservationCommands(node, self._is_about)
        self._commands: dict[str, Callable[[Request], Reply]] = {
            "status": self._status,
            "start": self._start,
            "stop": self._stop,
            "restart": self._restart,
            "get_attr": self._get_attr,
            "start_observation": observing.start,
            "stop_observation": observing.stop,
            "abort_observation": observing.abort,
            "abort_all": self._abort_all,
            "reload": self._reload,
            "stop_master": self._stop_master,
            **dict.fromkeys(SWITCHING, self._switch),
            **AlertCommands(node).commands,
        }

    def _is_about(self, task_id: str) -> None:
        self._subject.task_id = task_id

    def changes(self, request: Request) -> bool:
        """Whether a request changes something, and so has to be signed."""
        return request.command in self._commands and request.command not in QUESTIONS

    def answer(self, request: Request) -> Reply:
        """Execute a request; any failure becomes an error reply that states the reason."""
        began = time.monotonic()
        self._subject.task_id = ""
        reply = self._answer(request)
        if request.values and reply.code:
            reply = replace(reply, message={**reply.message, "code": reply.code})
        if self.changes(request):
            with about(self._subject.task_id):
                what = f"{request.command} {request.service}".strip()
                log.info(
                    "%s from %s: %s in %.2f s: %s",
                    what,
                    request.origin,
                    reply.status,
                    time.monotonic() - began,
                    reply.message,
                )
        return reply

    def _answer(self, request: Request) -> Reply:
        if not request.command:
            return Reply.error("No command specified")
        command = self._commands.get(request.command)
        if command is None:
            return Reply.error(f"Unknown command: {request.command}")
        if reason := self._no_service(request):
            return Reply.error(reason)
        if request.command in STARTING and self._node.stopping:
            return Reply.error(f"the node is being stopped: {request.command} is refused")
        if request.command in OF_SERVICES and not request.service:
            return Reply.error("No service specified")
        return self._do(command, request)

    def _do(self, command: Callable[[Request], Reply], request: Request) -> Reply:
        try:
            return command(request)
        except SupervisorError as error:
            log.error("%s: %s", request.command, error)
            return Reply.error(str(error.args[0]))
        # A defect in one command must not stop the master; the reply reports it.
        except Exception as error:
            log.exception("%s failed", request.command)
            return Reply.error(f"{request.command} failed: {type(error).__name__}: {error}")

    def _no_service(self, request: Request) -> str:
        """Return why the service of a request is unknown; empty if it is known or not given."""
        names = self._node.services.names
        if request.service in {"", "all"}:
            return ""
        if request.service not in names:
            config = self._node.config
            return (
                f"Invalid service: {request.service} ({config.hostname} is"
                f" {config.role.value} in {config.master.mode} mode and has {', '.join(names)})"
            )
        return not_of_a_service(request.command, request.service)

    def _names(self, request: Request) -> tuple[str, ...]:
        if request.service == "all":
            return self._node.services.names
        return (request.service,)

    # -- services ------------------------------------------------------------------------------

    def _status(self, request: Request) -> Reply:
        states = self._node.services.states(self._names(request))
        return Reply.success({name: str(state) for name, state in states.items()})

    def _start(self, request: Request) -> Reply:
        replies = self._node.services.start(self._names(request))
        return _unless_failed(_plain(replies), replies.values())

    def _stop(self, request: Request) -> Reply:
        self._node.observations.starts.leave_stopped(self._names(request))
        replies = self._node.services.stop(self._names(request))
        return _unless_failed(_plain(replies), replies.values())

    def _restart(self, request: Request) -> Reply:
        stopped = self._node.services.stop(self._names(request))
        started = self._node.services.start(self._names(request))
        replies = {
            name: {"stop": str(stopped[name]), "start": str(started[name])} for name in stopped
        }
        return _unless_failed(replies, [*stopped.values(), *started.values()])

    def _get_attr(self, request: Request) -> Reply:
        if not request.attribute:
            return Reply.error("No attribute specified")
        if not request.service:
            value = self._node.attribute(request.attribute)
            if value is None:
                return Reply.error(f"No such attribute: {request.attribute}")
            if request.values:
                return Reply.success({"value": _value(value)})
            return Reply.success(f"DARCMaster.{request.attribute} = {value}")
        answers = self._node.services.attributes(self._names(request), request.attribute)
        found = [answer.error is None for answer in answers.values()]
        status = "Success" if all(found) else "Warning" if any(found) else "Error"
        if request.values:
            return Reply(status, {name: answer.to_plain() for name, answer in answers.items()})
        return Reply(status, {name: answer.to_text() for name, answer in answers.items()})

    # -- switches ------------------------------------------------------------------------------

    def _switch(self, request: Request) -> Reply:
        """Show, enable or disable the external triggers or alerts of a service."""
        service, system, action = SWITCHING[request.command]
        if self._node.config.role is Role.WORKER:
            return Reply.failed("Failed: should run on master node")
        if not self._node.services.runs(service):
            return Reply.failed(f"{system.title} service is not running")
        answer = self._node.services.attribute(service, "send_events")
        if answer.error is not None:
            return Reply.failed(answer.to_text())
        enabled = answer.value is True
        if action == STATUS:
            return Reply.success(f"{system.what} is {_able(enabled)}")
        origin = f"by {request.command} from {request.origin}"
        return self._switch_to(service, system, enabled, action == ENABLE, origin)

    def _switch_to(
        self, service: str, system: ExternalSystem, enabled: bool, wanted: bool, origin: str
    ) -> Reply:
        if wanted and enabled:
            return Reply.success(f"{system.what} already enabled")
        # Also where it is off already: the last change may not have been saved.
        if not self._node.services.switch(service, "send_events", wanted, origin):
            return Reply.failed(f"Failed: {system.what} could not be {_able(wanted)} for good")
        if wanted is enabled:
            return Reply.success(f"{system.what} already disabled")
        return Reply.success(f"{system.what} {_able(wanted)}")

    # -- the node ------------------------------------------------------------------------------

    def _reload(self, request: Request) -> Reply:
        try:
            notes = self._node.reload(f"by reload from {request.origin}")
        except ValueError as error:
            log.error("the previous configuration stays in force: %s", error)
            return Reply.error(f"{error}")
        if notes:
            return Reply.success(f"Config reloaded; {'; '.join(notes)}")
        return Reply.success("Config reloaded")

    def _abort_all(self, request: Request) -> Reply:
        return Reply.success(f"Aborted {self._node.observations.abort_all()} observations")

    def _stop_master(self, request: Request) -> Reply:
        self._node.stop()
        return Reply.success("Stopping master")


STATUS, ENABLE, DISABLE = "status", "enable", "disable"
#: Commands that show or switch external triggers or alerts: their service, system and action.
SWITCHING = {
    f"{traits.external.prefix}_{action}": (service, traits.external, action)
    for service, traits in known_traits().items()
    if traits.external
    for action in (STATUS, ENABLE, DISABLE)
}
QUESTIONS = {
    "status",
    "get_attr",
    *(command for command, (_, _, action) in SWITCHING.items() if action == STATUS),
}


def _plain(outcomes: Mapping[str, ServiceOutcome]) -> dict[str, Any]:
    return {name: str(outcome) for name, outcome in outcomes.items()}


def _value(value: object) -> object:
    """Return an attribute of the master as a plain value."""
    if isinstance(value, Struct):
        return to_plain(value)
    return value if isinstance(value, str | int | float | dict) else str(value)


def _able(enabled: bool) -> str:
    return "enabled" if enabled else "disabled"


def _unless_failed(message: dict[str, Any], outcomes: Collection[ServiceOutcome]) -> Reply:
    if not FAILURES.isdisjoint(outcomes):
        return Reply("Error", message)
    return Reply("Warning" if ServiceOutcome.STARTING in outcomes else "Success", message)
