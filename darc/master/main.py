"""The darc_master process: creates the parts of the master and connects them."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path

from darc import __version__
from darc.config.config import Config, ConfigError
from darc.config.records import astuple
from darc.master.apply_configuration import apply_sections
from darc.master.command_port import CommandPort
from darc.master.commands import CommandVocabulary
from darc.master.endpoint_file import EndpointFile
from darc.master.housekeeping import (
    PERIOD_SECONDS,
    KeptSocket,
    SupervisorWaker,
    UnresponsiveServices,
    WantedServices,
    keep_directory,
)
from darc.master.master_attributes import MasterAttributes
from darc.master.master_losses import MasterLosses
from darc.master.monitor_link import EXPOSED as EXPOSED_TO_MONITOR
from darc.master.monitor_link import MonitorLink
from darc.master.node_overview import Overviews
from darc.master.noting_supervisor import NotingSupervisor
from darc.master.observation_commands import READ_SECONDS
from darc.master.observation_life import Observations
from darc.master.observation_run import ObservationRun
from darc.master.observation_summaries import ObservationSummaries, books_file
from darc.master.periodic_task import PeriodicTask
from darc.master.service_control import ServiceControl, StartResult
from darc.model import overview
from darc.model.observation import task_id_of
from darc.node import node_identity, supervisor_config
from darc.node.endpoint import Endpoint, reached_at
from darc.node.node_config import (
    load_node_config,
    read_sources,
    use_config_option,
    with_run_dir,
)
from darc.node.node_identity import NodeError
from darc.node.process_names import MASTER
from darc.node.secret import SecretError, read_secret
from darc.node.state_format import JOURNAL, claim_state
from darc.node.supervisor import SupervisorError
from darc.queues.exchange import EXPOSED, Exchange
from darc.queues.journal import Journal
from darc.queues.named_queues import NamedQueues
from darc.queues.names import OF_MONITOR
from darc.queues.queue_server import QueueServer
from darc.runtime.detached_work import DetachedWork
from darc.runtime.log import lines_dropped, set_up_logging
from darc.runtime.process_end import end_on_sigterm, end_with_supervisord
from darc.runtime.retention import remove_unfinished
from darc.runtime.service_traits import known_traits, traits_of

log = logging.getLogger(__name__)

#: Switch of a service that sends external triggers or alerts.
SWITCH = "send_events"


class DarcMaster:
    """The master of a node."""

    def __init__(self, config: Config, node: node_identity.NodeIdentity) -> None:
        self.config = config
        self._fixed = _fixed(config)
        self._reloading = threading.Lock()
        self.node_id = node.node_id
        run_dir = Path(config.master.run_dir)
        # Read at each connection: the secret may be replaced while the node runs.
        self._secret = partial(read_secret, run_dir / "secret")
        self._secret()  # a node without a secret does not start
        self._journal = Journal(
            run_dir / JOURNAL, config.master.journal_max_bytes, config.master.reserve_bytes
        )
        self.losses = MasterLosses(self._journal)
        self._exchange = Exchange(self._journal, self._service_changed, self._service_finished)
        self._supervisor = NotingSupervisor(
            run_dir / "supervisord.sock", config.master.control_timeout
        )
        self.services = self._make_services(config)
        self.observations = Observations(
            run_dir / "observations",
            config.master.setup_time,
            config.master.end_delay,
            self._exchange.give_orders,
            self._observation_begins,
            self._observation_over,
            lambda: self._journal.full,
            self._start_services,
        )
        self._books = ObservationSummaries(
            run_dir / "books",
            self._journal,
            lambda: self.config.master.parsets_kept,
            self.losses.lost,
        )
        self.apart = DetachedWork()
        self._vocabulary = CommandVocabulary(self)
        self._run_dir = run_dir
        self._stopping = threading.Event()
        started = time.time()
        self.configured = started
        self.periodic_tasks: list[PeriodicTask] = []
        self.overviews = Overviews(self, self._journal, started)
        self.monitor = MonitorLink(self, self._exchange, self.overviews.notice)
        self._attributes = MasterAttributes(self, started)
        self._poke = SupervisorWaker(self._supervisor)
        self._wanted = WantedServices(run_dir / node_identity.WANTED, self._supervisor)
        self._endpoint_file = EndpointFile(
            Endpoint(
                reached_at(config.bind_address), config.master.port, str(run_dir), node.node_id
            )
        )

    def _make_services(self, config: Config) -> ServiceControl:
        return ServiceControl(
            self._supervisor,
            self._exchange,
            config.services(),
            config.master.control_timeout,
            config.master.stop_timeout,
            config.master.health.unresponsive_after,
        )

    def run(self) -> None:
        """Serve until stopped.

        :raises OSError: the address of the command port is not available
        """
        for directory in (".", "observations", "books", "supervisor.d"):
            remove_unfinished(self._run_dir / directory)
        queues = self._run_dir / "queues.sock"
        queues.unlink(missing_ok=True)
        by_name = NamedQueues(self._exchange, self._queue_names)
        self._queue_server = QueueServer(
            str(queues),
            self._secret,
            self._exchange,
            EXPOSED,
            by_name,
            {OF_MONITOR: (self.monitor, EXPOSED_TO_MONITOR)},
        )
        self._port = CommandPort(
            (self.config.bind_address, self.config.master.port),
            self._secret,
            self._vocabulary.answer,
            self._vocabulary.changes,
            self.config.control.allow_unsigned_from,
            self.config.master.socket_timeout,
            self.config.control.max_connections,
        )
        for run in self.observations.runs():
            self._journal.adopt(run.observation.task_id, run.key)
        self._books.go_on()
        # Publish orders first: a service that attaches before them would drop its current work.
        self.observations.start_thread()
        self._queue_server.start()
        self.periodic_tasks = self._housekeeping()
        self._wanted.start_again()
        self.overviews.start()
        for task in self.periodic_tasks:
            task.start()
        self._endpoint_file.start()
        log.info("listening on %s:%d", self.config.bind_address, self.config.master.port)
        self._stopping.wait()
        self._end_node()

    # -- what the parts call ---------------------------------------------------------------------

    @property
    def asked_for(self) -> tuple[Mapping[str, int], Mapping[str, float]]:
        """Stops and starts that were requested: :attr:`NotingSupervisor.asked_for`."""
        return self._supervisor.asked_for

    def running_services(self) -> list[str]:
        """Return the services that can be asked for an attribute."""
        return self.overviews.running()

    def facts(self) -> dict[str, object]:
        """Return what the metrics need and only the master knows."""
        commands, queues = self.refused
        return {
            "overview": overview.to_text(self.overviews.make()),
            "depths": [list(astuple(depth)) for depth in self.overviews.depths.values()],
            "refused": {"commands": commands, "queues": queues},
            "losses": self.losses.numbers,
            "log_lines_dropped": lines_dropped(),
        }

    def _queue_names(self) -> Collection[str]:
        return self.config.all_services()  # of the current configuration

    def _service_changed(self, service: str) -> None:
        """Handle a service that attached or detached; supervisord may notice its exit late."""
        self.services.changed()
        self.overviews.wake()
        if self._exchange.presence(service) is None:
            self._poke.wake()

    def _service_finished(self, service: str, task_id: str) -> None:
        self.observations.finished(service, task_id)

    def _start_services(self, names: Collection[str]) -> StartResult:
        return self.services.start_without_waiting(names)

    def _observation_begins(self, begun: ObservationRun) -> None:
        if not begun.partial:
            threading.Thread(target=self._clear_ended, name="clear", daemon=True).start()

    def _clear_ended(self) -> None:
        """Delete what ended observations left in the real-time queues and in the memory.

        A run is alive before anything is stored for it, and an ended one never becomes alive again:
        what is stored now and is not alive afterwards has ended, even if other observations start
        meanwhile.
        """
        kept = self._journal.observations()
        alive = {run.key for run in self.observations.runs()} | {""}
        keep = tuple(name for name, traits in known_traits().items() if traits.keeps_queue)
        for key in sorted(kept - alive - self._books.open):
            for queue, cleared in self._journal.clear(key, keep).items():
                log.warning(
                    "%d entries of ended observation %s cleared from %s",
                    cleared,
                    task_id_of(key),
                    queue,
                )
            self._journal.forget(key)

    def _observation_over(self, run: ObservationRun) -> None:
        directory = Path(self.config.master.parset_dir) / run.observation.datetimesource
        self._books.close(run.key, books_file(directory, self.config.hostname))

    def _housekeeping(self) -> list[PeriodicTask]:
        """Return the periodic repairs, each in a thread of its own so that none blocks another."""
        logs = {Path(self.config.log_file(name)).parent for name in self.services.names}
        directories = {*logs, Path(self.config.master.log_dir), Path(self.config.master.parset_dir)}
        unresponsive = UnresponsiveServices(
            self.overviews.states,
            self._supervisor.kill,
            lambda: self.config.master.health.restart_unresponsive,
        )
        checks: dict[str, Callable[[], None]] = {
            **{str(path): partial(keep_directory, path) for path in sorted(directories)},
            **{
                name: KeptSocket(self._run_dir / name).check
                for name in ("queues.sock", "supervisord.sock")
            },
            "journal": self._journal.check_room,
            "services that are meant to run": lambda: self._wanted.check(self.overviews.processes),
            "unresponsive services": unresponsive.check,
        }
        return [PeriodicTask(name, PERIOD_SECONDS, check) for name, check in checks.items()]

    # -- what commands call ----------------------------------------------------------------------

    def attribute(self, name: str) -> object | None:
        """Return the value of a declared attribute of the master; None where it is unknown."""
        return self._attributes.find(name)

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    @property
    def refused(self) -> tuple[int, int]:
        """Number of refused commands and of refused queue connections."""
        return self._port.refused, self._queue_server.refused

    @property
    def queue_depths(self) -> dict[str, int]:
        """Number of entries in each queue that is not empty."""
        return {depth.queue: depth.entries for depth in self._journal.depths()}

    @property
    def journal_full(self) -> bool:
        """Whether the queues accept no new entries, for lack of disk space."""
        return self._journal.full

    def reload(self, origin: str) -> list[str]:
        """Reload the configuration and apply it.

        :param origin: who requested it, for the logs
        :return: notes: warnings, what else was done, and what needs a restart of the node
        :raises ConfigError: the configuration is invalid; nothing has changed
        :raises OSError: the configuration cannot be read; nothing has changed
        :raises SupervisorError: supervisord refuses the sections
        """
        with self._reloading:
            # The home directory may hang: the timeout bounds how long other reloads wait.
            sources = self.apart.result("reading the configuration", read_sources, READ_SECONDS)
            notes = self._apply(sources.parse())
            self.apart.result("keeping the configuration", sources.keep, READ_SECONDS)
            notes += self._configure_switches(origin)
            for name in self.services.names:
                self.services.reload(name)
            return notes

    def _apply(self, config: Config) -> list[str]:
        notes = [f"warning: {warning}" for warning in config.warnings]
        for what, after in _fixed(config).items():
            if self._fixed[what] != after:
                notes.append(f"{what} changes with a restart of the node")
        config = with_run_dir(config, str(self._run_dir))
        files = supervisor_config.render(config)
        supervisor_config.write(files)
        notes += apply_sections(self._supervisor, self.services)
        self.config = config
        self.services = self._make_services(config)
        self._journal.set_max_bytes(config.master.journal_max_bytes)
        self.observations.setup_time = config.master.setup_time
        self.observations.end_delay = config.master.end_delay
        self._port.allow_unsigned_from = config.control.allow_unsigned_from
        self.configured = time.time()
        return notes

    def _configure_switches(self, origin: str) -> list[str]:
        """Reset the switches of external triggers and alerts to the configuration; note changes."""
        notes = []
        for service in self.services.names:
            if traits_of(service).external is None:
                continue
            wanted = bool(getattr(self.config.section(service), SWITCH))
            was = self._exchange.remembered(service, SWITCH)
            if was is not None and bool(was) is not wanted:
                notes.append(f"{service}.{SWITCH} is {wanted} as configured, it was {was}")
            if self._exchange.presence(service):
                is_set = self.services.switch(service, SWITCH, wanted, origin)
            else:
                is_set = self.services.remember_switch(service, SWITCH, wanted, origin)
                if self.services.is_starting(service):  # it may not hear of a new master yet
                    self.services.pass_on(service, SWITCH, wanted, origin)
            if not is_set:
                notes.append(f"{service}.{SWITCH} could not be set to {wanted}")
        return notes

    def stop(self) -> None:
        """Stop the node once the reply was sent."""
        self._stopping.set()

    def _end_node(self) -> None:
        log.info("stopping all services, then supervisord")
        for task in self.periodic_tasks:
            task.end()
        # From here on no command can start an observation or a service.
        self.observations.close()
        self._supervisor.start_no_more()
        self.observations.abort_all()
        self._wanted.forget()
        try:
            # All processes that supervisord knows, including services that an operator added.
            names = [name for name in self._supervisor.processes() if name != MASTER]
            self.services.stop(names)
            # supervisord stops one group per second: leave only the master's to it.
            for name in names:
                with contextlib.suppress(SupervisorError):  # still running: left to supervisord
                    self._supervisor.remove(name)
            with contextlib.suppress(OSError):  # the home directory hangs; a stale file is harmless
                self.apart.result("removing the endpoint", self._endpoint_file.remove, READ_SECONDS)
            self._supervisor.shut_down()
        except SupervisorError as error:
            log.error("%s; darc_kill_all ends what is left", error)


def _fixed(config: Config) -> dict[str, object]:
    """Return the settings that need a restart of the node."""
    return {
        "darc_master.port": config.master.port,
        "darc_master.run_dir": config.master.run_dir,
        "control.bind": config.bind_address,
        "darc_master.reserve_bytes": config.master.reserve_bytes,
        "darc_master.socket_timeout": config.master.socket_timeout,
        "control.max_connections": config.control.max_connections,
    }


def main() -> None:
    """Run the master; supervisord starts this program."""
    use_config_option(
        "darc_service",
        "The master service itself, which supervisord runs; people use darc_start_master.",
    )
    set_up_logging("darc_master")
    with end_on_sigterm():
        _run()


def _run() -> None:
    end_with_supervisord()
    try:
        config = load_node_config(keep=True)
    except (ConfigError, OSError) as error:
        log.critical("cannot start: %s", error)
        sys.exit(1)
    for warning in config.warnings:
        log.warning("%s", warning)
    run_dir = Path(config.master.run_dir)
    node = node_identity.read_identity(run_dir)
    if node is None or os.environ.get("DARC_NODE_ID") != node.node_id:
        log.critical("cannot start: %s is not this node's; use darc_start_master", run_dir)
        sys.exit(1)
    held = node_identity.try_lock(run_dir / "lock")
    if held is None:
        log.critical("cannot start: another master holds %s", run_dir / "lock")
        sys.exit(1)
    log.info("DARC %s on %s: %s", __version__, config.hostname, ", ".join(config.services()))
    try:
        claim_state(run_dir)
        master = DarcMaster(config, node)
    except (NodeError, SecretError, OSError, sqlite3.Error) as error:
        where = f"the journal in {run_dir}: " if isinstance(error, sqlite3.Error) else ""
        log.critical("cannot start: %s%s", where, error)
        sys.exit(1)
    master.run()


if __name__ == "__main__":
    main()
