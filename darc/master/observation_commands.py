"""Commands about observations: start, stop and abort."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

from darc.config.config import Config
from darc.master.observation_life import ClosedError, Observations
from darc.master.observation_run import ObservationRun, RunState
from darc.master.placed_files import place
from darc.master.service_control import ServiceControl
from darc.model.message import RUNNING_ALREADY, Reply, Request
from darc.model.observation import Observation, ObservationError
from darc.model.parset import PARSERS
from darc.node.read_observation import UnknownConfigType, read_observation
from darc.node.supervisor import SupervisorError
from darc.runtime.detached_work import DetachedWork, HangsError
from darc.runtime.fault_points import fault_point
from darc.runtime.log import about
from darc.runtime.paths import write_whole
from darc.runtime.service_traits import traits_of

log = logging.getLogger(__name__)

#: Timeouts for reading a configuration of an observation, and for copying it (s).
READ_SECONDS = 5.0
COPY_SECONDS = 0.5


class ObservingNode(Protocol):
    """Node that these commands act on, as the master implements it."""

    config: Config
    services: ServiceControl
    observations: Observations
    apart: DetachedWork


class ObservationCommands:
    """Commands about observations.

    :param note: called with the id of the observation that a request is about
    """

    def __init__(self, node: ObservingNode, note: Callable[[str], None]) -> None:
        self._node = node
        self._note = note

    def _read(
        self, request: Request, hangs: Callable[[Request], Observation | None] = lambda _: None
    ) -> Observation | Reply:
        """Read the observation that a request is about; an error reply where that fails.

        :param hangs: finds the observation where the file system of its configuration hangs
        """
        if not request.payload:
            return Reply.error("Payload missing")
        try:
            # The file system may hang; connections are few, so this one waits no longer.
            observation = self._node.apart.result(
                f"reading {request.payload}", partial(self._observation_of, request), READ_SECONDS
            )
            self._note(observation.task_id)
            return observation
        except HangsError as error:
            log.error("%s", error)
            return hangs(request) or Reply.error(f"{error}")
        except FileNotFoundError:
            return Reply.failed("Failed: config file not found")
        except UnknownConfigType:
            return Reply.failed("Failed: unknown config file type")
        except (ObservationError, OSError, ValueError) as error:
            log.error("%s", error)
            return Reply.error(f"{error}")

    def _known(self, request: Request) -> Observation | None:
        """Find the observation that was started from the same file, which is enough to stop it."""
        for run in self._node.observations.runs():
            if run.observation.config_file == request.payload:
                log.warning("%s: its content at the observation's start is used", request.payload)
                self._note(run.observation.task_id)
                return run.observation
        return None

    def _named(self, request: Request) -> Observation | None:
        """Find the observation whose task id the content of a request has, and nothing more."""
        parse = PARSERS.get(Path(request.payload).suffix.lower())
        if parse is None or not request.content:
            return None
        try:
            values = parse(request.content, request.payload).values
        except ObservationError:
            return None
        for run in self._node.observations.runs():
            if set(values) == {"taskid"} and run.observation.task_id == str(values["taskid"]):
                self._note(run.observation.task_id)
                return run.observation
        return None

    def _observation_of(self, request: Request) -> Observation:
        config = self._node.config
        path = Path(request.payload)
        if request.content:
            path = place(Path(config.master.parset_dir), request.payload, request.content)
        return read_observation(path, config.instrument)

    def start(self, request: Request) -> Reply:
        """Start the observation that a request describes."""
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
        taking_part = [name for name in node.services.names if traits_of(name).observes]
        past = observation.end < time.time()
        if past:
            taking_part = [name for name in taking_part if traits_of(name).unhurried]
        if one:
            if not traits_of(one).observes:
                return Reply.error(f"{one} takes no part in observations")
            taking_part = [one]
        is_mixed = node.config.master.mode == "mixed"
        not_stopped = tuple(
            name for name in taking_part if is_mixed and not traits_of(name).stops_in_mixed_mode
        )
        run = ObservationRun(
            observation, tuple(taking_part), not_stopped=not_stopped, partial=bool(one), past=past
        )
        try:
            if not node.observations.add(run):
                return self._start_again(run)
            fault_point("darc_master.before the services of an observation are started")
            failed = self._start_services(node.observations.starts.start_missing)
        except ClosedError as error:
            return Reply.error(str(error))
        self._keep_copy(observation)
        doubts = [*self._unsaved(observation.task_id), *failed]
        if one:
            doubts.insert(0, f"Observation started for {one} only")
        elif past:
            parts = " and ".join(taking_part)
            doubts.insert(0, f"Observation started: it is in the past, so only for {parts}")
        elif doubts:
            doubts.insert(0, "Observation started")
        return Reply.warning("; ".join(doubts)) if doubts else Reply.success("Observation started")

    def _start_services(self, start: Callable[[], object]) -> list[str]:
        """Start services; return why some failed. That is retried while the observation lasts."""
        try:
            start()
        except SupervisorError as error:
            return [f"its services are not started yet: {error}"]
        return []

    def _start_again(self, run: ObservationRun) -> Reply:
        """Start what is missing for an observation that runs already, or refuse the request."""
        observations = self._node.observations
        task_id = run.observation.task_id
        states = {known.observation.task_id: known.state for known in observations.runs()}
        state = states.get(task_id, RunState.RUNNING)
        if state not in {RunState.PENDING, RunState.RUNNING}:
            return Reply.error(f"Observation {task_id} was {state} before, and is not over yet")
        started: list[str] = []
        failed = self._start_services(
            lambda: started.extend(observations.starts.start_again(task_id, run.services))
        )
        self._keep_copy(run.observation, again=True)
        mended = [f"started what did not run: {', '.join(started)}"] if started else []
        doubts = [*mended, *self._unsaved(task_id), *failed]
        running = f"Observation {task_id} is running already"
        if not doubts:
            return Reply.error(running, RUNNING_ALREADY)
        return Reply.warning(f"{running}; {'; '.join(doubts)}")

    def _unsaved(self, task_id: str) -> list[str]:
        """Return the warning that the observation is not saved, where its disk is full."""
        why = self._node.observations.unsaved(task_id)
        return [f"if darc_master died now, this would not be remembered: {why}"] if why else []

    def _keep_copy(self, observation: Observation, again: bool = False) -> None:
        """Copy the configuration beside the observation's results; the directory may hang.

        :param again: copy only if there is no copy
        """
        source = Path(observation.config_file)
        directory = Path(self._node.config.master.parset_dir) / observation.datetimesource
        if source.parent == directory:
            return

        def keep() -> None:
            target = directory / source.name
            if again and target.exists():
                return
            directory.mkdir(parents=True, exist_ok=True)
            write_whole(target, source.read_bytes())

        try:
            self._node.apart.result(f"copying {source} to {directory}", keep, COPY_SECONDS)
        except OSError as error:
            log.error("no copy of %s kept so far: %s", source, error)

    def stop(self, request: Request) -> Reply:
        """Stop an observation: its services finish what they have."""
        if self._node.config.master.mode == "offline":
            return Reply.success("Ignoring stop in offline processing mode")
        return self._end(request, RunState.STOPPED, "Stopped observation")

    def abort(self, request: Request) -> Reply:
        """Abort an observation: its services drop what they have."""
        return self._end(request, RunState.ABORTED, "Aborted observation")

    def _end(self, request: Request, state: RunState, done: str) -> Reply:
        observation = self._named(request) or self._read(request, hangs=self._known)
        if isinstance(observation, Reply):
            return observation
        one = request.service if request.service not in ("", "all") else ""
        services = (one,) if one else ()
        with about(observation.task_id):
            ended = self._node.observations.end(observation.task_id, state, services)
        if not ended:
            return Reply.warning(f"Observation {observation.task_id} is not running")
        doubts = self._unsaved(observation.task_id)
        if one:
            doubts.insert(0, f"{done} for {one} only")
        elif doubts:
            doubts.insert(0, done)
        return Reply.warning("; ".join(doubts)) if doubts else Reply.success(done)
