"""The command vocabulary: each command is a method that turns a request into a reply."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from darc.master.observations import UNHURRIED, Observations, Run, State
from darc.master.placing import place
from darc.master.services import Services
from darc.model.config import Config, Role
from darc.model.message import RUNNING_ALREADY, Reply, Request
from darc.model.observation import Observation, ObservationError
from darc.model.state import ServiceState
from darc.node.log import about
from darc.node.observation_files import UnknownConfigType, read_observation
from darc.node.supervisor import SupervisorError

log = logging.getLogger(__name__)

#: Services that take no part in observations.
NOT_OBSERVING = ("lofar_trigger", "voevent_generator", "status_website")


class Node(Protocol):
    """What commands act on; the master."""

    config: Config
    services: Services
    observations: Observations

    def reload(self, origin: str) -> list[str]:
        """Read the configuration again and apply it; what was done, and what needs a restart."""

    def stop(self) -> None:
        """End the node, after the reply."""

    def attribute(self, name: str) -> str | None:
        """A declared attribute of the master, as text."""


class Vocabulary:
    """Does requests."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._subject = threading.local()  # the observation that a thread's request is about
        self._commands: dict[str, Callable[[Request], Reply]] = {
            "status": self._status,
            "start": self._start,
            "stop": self._stop,
            "restart": self._restart,
            "get_attr": self._get_attr,
            "start_observation": self._start_observation,
            "stop_observation": self._stop_observation,
            "abort_observation": self._abort_observation,
            "abort_all": self._abort_all,
            "reload": self._reload,
            "stop_master": self._stop_master,
        }
        for system in SYSTEMS.values():
            for command in ("status", "enable", "disable"):
                self._commands[f"{system.prefix}_{command}"] = self._switch

    def changes(self, request: Request) -> bool:
        """Whether a request changes something, and so has to be signed."""
        return request.command in self._commands and request.command not in QUESTIONS

    def answer(self, request: Request) -> Reply:
        """Do a request; whatever goes wrong becomes an error that says so."""
        began = time.monotonic()
        self._subject.task_id = ""
        reply = self._answer(request)
        if self.changes(request):
            with about(self._subject.task_id):
                what = f"{request.command} {request.service}".strip()
                log.info(
                    "%s from %s: %s in %.2f s: %s",
                    *(what, request.origin, reply.status),
                    *(time.monotonic() - began, reply.message),
                )
        return reply

    def _answer(self, request: Request) -> Reply:
        if not request.command:
            return Reply.error("No command specified")
        command = self._commands.get(request.command)
        if command is None:
            return Reply.error(f"Unknown command: {request.command}")
        if request.service and request.service != "all":
            names = self._node.services.names
            if request.service not in names:
                config = self._node.config
                return Reply.error(
                    f"Invalid service: {request.service} ({config.hostname} is"
                    f" {config.role.value} in {config.master.mode} mode and has {', '.join(names)})"
                )
        try:
            return command(request)
        except SupervisorError as error:
            log.error("%s: %s", request.command, error)
            return Reply.error(str(error.args[0]))
        # A defect in one command must not take the master down; the operator is told.
        except Exception as error:
            log.exception("%s failed", request.command)
            return Reply.error(f"{request.command} failed: {type(error).__name__}: {error}")

    def _names(self, request: Request) -> tuple[str, ...]:
        if request.service == "all":
            return self._node.services.names
        return (request.service,)

    # -- services ------------------------------------------------------------------------------

    def _status(self, request: Request) -> Reply:
        if not request.service:
            return Reply.error("No service specified")
        states = self._node.services.states(self._names(request))
        return Reply.success({name: str(state) for name, state in states.items()})

    def _start(self, request: Request) -> Reply:
        if not request.service:
            return Reply.error("No service specified")
        replies = self._node.services.start(self._names(request))
        return _unless_failed(replies, list(replies.values()))

    def _stop(self, request: Request) -> Reply:
        if not request.service:
            return Reply.error("No service specified")
        replies = self._node.services.stop(self._names(request))
        return _unless_failed(replies, list(replies.values()))

    def _restart(self, request: Request) -> Reply:
        if not request.service:
            return Reply.error("No service specified")
        stopped = self._node.services.stop(self._names(request))
        started = self._node.services.start(self._names(request))
        replies = {name: {"stop": stopped[name], "start": started[name]} for name in stopped}
        return _unless_failed(replies, [*stopped.values(), *started.values()])

    def _get_attr(self, request: Request) -> Reply:
        if not request.attribute:
            return Reply.error("No attribute specified")
        if not request.service:
            value = self._node.attribute(request.attribute)
            if value is None:
                return Reply.error(f"No such attribute: {request.attribute}")
            return Reply.success(f"DARCMaster.{request.attribute} = {value}")
        answers = self._node.services.attributes(self._names(request), request.attribute)
        found = [answer.startswith("{") for answer in answers.values()]
        if all(found):
            return Reply.success(answers)
        return Reply("Warning" if any(found) else "Error", answers)

    # -- switches ------------------------------------------------------------------------------

    def _switch(self, request: Request) -> Reply:
        """Status, enable and disable of what leaves the house."""
        prefix, _, action = request.command.partition("_")
        system = SYSTEMS[prefix]
        if self._node.config.role is Role.WORKER:
            return Reply.failed("Failed: should run on master node")
        service = system.service
        if (
            service not in self._node.services.names
            or self._node.services.states([service])[service] is not ServiceState.RUNNING
        ):
            return Reply.failed(f"{system.title} service is not running")
        answer = self._node.services.attributes([service], "send_events")[service]
        if not answer.startswith("{"):
            return Reply.failed(answer)
        enabled = answer.endswith(": True}")
        if action == "status":
            return Reply.success(f"{system.what} is {_able(enabled)}")
        origin = f"by {request.command} from {request.origin}"
        return self._switch_to(system, enabled, action == "enable", origin)

    def _switch_to(self, system: _System, enabled: bool, wanted: bool, origin: str) -> Reply:
        if wanted and enabled:
            return Reply.success(f"{system.what} already enabled")
        # Also when it is off: perhaps it was not remembered the last time.
        if not self._node.services.switch(system.service, "send_events", wanted, origin):
            return Reply.failed(f"Failed: {system.what} could not be {_able(wanted)} for good")
        if wanted is enabled:
            return Reply.success(f"{system.what} already disabled")
        return Reply.success(f"{system.what} {_able(wanted)}")

    # -- observations --------------------------------------------------------------------------

    def _read(self, request: Request) -> Observation | Reply:
        if not request.payload:
            return Reply.error("Payload missing")
        path = Path(request.payload)
        try:
            if request.content:
                path = place(
                    Path(self._node.config.master.parset_dir), request.payload, request.content
                )
            observation = read_observation(path, self._node.config.instrument)
            self._subject.task_id = observation.task_id
            return observation
        except FileNotFoundError:
            return Reply.failed("Failed: config file not found")
        except UnknownConfigType:
            return Reply.failed("Failed: unknown config file type")
        except (ObservationError, OSError, ValueError) as error:
            log.error("%s", error)
            return Reply.error(f"{error}")

    def _start_observation(self, request: Request) -> Reply:
        observation = self._read(request)
        if isinstance(observation, Reply):
            return observation
        with about(observation.task_id):
            if not observation.proctrigger:
                return Reply.success("Process triggers disabled - not starting")
            return self._begin(observation, request)

    def _begin(self, observation: Observation, request: Request) -> Reply:
        node = self._node
        one = request.service if request.service != "all" else ""
        taking_part = [name for name in node.services.names if name not in NOT_OBSERVING]
        past = observation.end < time.time()
        if past:
            taking_part = [name for name in taking_part if name in UNHURRIED]
        if one:
            if one in NOT_OBSERVING:
                return Reply.error(f"{one} takes no part in observations")
            taking_part = [one]
        not_stopped = ("offline_processing",) if node.config.master.mode == "mixed" else ()
        run = Run(
            observation, tuple(taking_part), not_stopped=not_stopped, partial=bool(one), past=past
        )
        if not node.observations.add(run):
            return self._known_already(observation.task_id)
        self._keep_copy(observation)
        node.services.start_without_waiting(taking_part)
        if one:
            return Reply.warning(f"Observation started for {one} only")
        if past:
            parts = " and ".join(taking_part)
            return Reply.warning(f"Observation started: it is in the past, so only for {parts}")
        return Reply.success("Observation started")

    def _known_already(self, task_id: str) -> Reply:
        """Why a start is refused: of one that has ended, nothing more is taken in."""
        states = {run.observation.task_id: run.state for run in self._node.observations.runs()}
        state = states.get(task_id, State.RUNNING)
        if state in {State.PENDING, State.RUNNING}:
            return Reply.error(f"Observation {task_id} {RUNNING_ALREADY}")
        return Reply.error(f"Observation {task_id} was {state} before, and is not over yet")

    def _keep_copy(self, observation: Observation) -> None:
        """A copy of what was asked for, for those who wonder later."""
        source = Path(observation.config_file)
        directory = Path(self._node.config.master.parset_dir) / observation.datetimesource
        if source.parent == directory:
            return
        try:
            directory.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, directory / source.name)
        except OSError as error:
            log.error("no copy of %s kept: %s", source, error)

    def _stop_observation(self, request: Request) -> Reply:
        if self._node.config.master.mode == "offline":
            return Reply.success("Ignoring stop in offline processing mode")
        return self._end(request, State.STOPPED, "Stopped observation")

    def _abort_observation(self, request: Request) -> Reply:
        return self._end(request, State.ABORTED, "Aborted observation")

    def _end(self, request: Request, state: State, done: str) -> Reply:
        observation = self._read(request)
        if isinstance(observation, Reply):
            return observation
        one = request.service if request.service not in ("", "all") else ""
        services = (one,) if one else ()
        with about(observation.task_id):
            ended = self._node.observations.end(observation.task_id, state, services)
        if not ended:
            return Reply.warning(f"Observation {observation.task_id} is not running")
        if one:
            return Reply.warning(f"{done} for {one} only")
        return Reply.success(done)

    def _abort_all(self, request: Request) -> Reply:
        return Reply.success(f"Aborted {self._node.observations.abort_all()} observations")

    # -- the node ------------------------------------------------------------------------------

    def _reload(self, request: Request) -> Reply:
        try:
            notes = self._node.reload(f"by reload from {request.origin}")
        except ValueError as error:
            log.error("the configuration of before stays in force: %s", error)
            return Reply.error(f"{error}")
        if notes:
            return Reply.success(f"Config reloaded; {'; '.join(notes)}")
        return Reply.success("Config reloaded")

    def _stop_master(self, request: Request) -> Reply:
        self._node.stop()
        return Reply.success("Stopping master")


@dataclass(frozen=True, slots=True)
class _System:
    """Something that leaves the house, and can be switched off."""

    prefix: str
    service: str
    title: str
    what: str


SYSTEMS = {
    system.prefix: system
    for system in (
        _System("lofar", "lofar_trigger", "LOFAR triggering", "LOFAR triggering"),
        _System("voevent", "voevent_generator", "VOEvent generator", "VOEvent sending"),
    )
}
QUESTIONS = {"status", "get_attr", *(f"{prefix}_status" for prefix in SYSTEMS)}


def _able(enabled: bool) -> str:
    return "enabled" if enabled else "disabled"


def _unless_failed(message: dict[str, Any], outcomes: Collection[str]) -> Reply:
    if "failed" in outcomes:
        return Reply("Error", message)
    return Reply("Warning" if "starting" in outcomes else "Success", message)
