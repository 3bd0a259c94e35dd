"""darc_master: starts everything that the master is made of, and keeps it together."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
import threading
import time
from functools import partial
from pathlib import Path

from darc import __version__
from darc.master.attributes import Attributes
from darc.master.books import books_file, write_books
from darc.master.commands import Vocabulary
from darc.master.housekeeping import (
    Directories,
    Housekeeping,
    KeptSocket,
    Unresponsive,
    Waker,
    Wanted,
)
from darc.master.lives import Lives, NotingSupervisor
from darc.master.observations import KEPT_QUEUES, Observations, Run
from darc.master.overview import Overviews
from darc.master.port import CommandPort
from darc.master.sections import apply_sections
from darc.master.services import Services
from darc.metrics.serving import Address, Serving
from darc.model.config import Config, ConfigError
from darc.node import identity, render
from darc.node.configuration import (
    load_node_config,
    read_sources,
    with_run_dir,
)
from darc.node.endpoint import Endpoint, reached_at, remove_endpoint, write_endpoint
from darc.node.log import set_up_logging
from darc.node.process_end import end_on_sigterm, end_with_supervisord
from darc.node.secret import read_secret
from darc.node.supervisor import SupervisorError
from darc.queues.exchange import EXPOSED, Exchange
from darc.queues.journal import Journal
from darc.queues.messages import Order
from darc.queues.server import QueueServer

log = logging.getLogger(__name__)

#: Of a service that tells systems outside.
SWITCH = "send_events"


class Master:
    """The master of a node."""

    def __init__(self, config: Config, node: identity.Identity) -> None:
        self.config = config
        self._fixed = _fixed(config)
        self._reloading = threading.Lock()
        self.node_id = node.node_id
        run_dir = Path(config.master.run_dir)
        # Read at each connection: it may be replaced while the node runs.
        self._secret = partial(read_secret, run_dir / "secret")
        self._secret()  # a node without one does not come up
        self._journal = Journal(
            run_dir / "journal.sqlite", config.master.journal_max_bytes, config.master.reserve_bytes
        )
        self._exchange = Exchange(self._journal, self._service_changed, self._service_finished)
        lives = Lives(run_dir / "restarts.json", node.node_id)
        self._supervisor = NotingSupervisor(
            run_dir / "supervisord.sock", config.master.control_timeout, lives
        )
        self.services = self._make_services(config)
        self.observations = Observations(
            run_dir / "observations",
            config.master.setup_time,
            config.master.end_delay,
            self._give_orders,
            self._observation_begins,
            self._observation_over,
            lambda: self._journal.full,
        )
        self._vocabulary = Vocabulary(self)
        self._run_dir = run_dir
        self._stopping = threading.Event()
        started = time.time()
        self.overviews = Overviews(
            self, self._supervisor, self._exchange, self._journal, lives, started
        )
        self._metrics = Serving(self.overviews.measure)
        self._attributes = Attributes(self, started)
        self._poke = Waker(self._supervisor)
        self._wanted = Wanted(run_dir / identity.WANTED, self._supervisor)

    def _make_services(self, config: Config) -> Services:
        return Services(
            self._supervisor,
            self._exchange,
            config.services(),
            config.master.control_timeout,
            config.master.stop_timeout,
            config.master.health.unresponsive_after,
        )

    def run(self) -> None:
        """Serve until stopped.

        :raises OSError: the command port cannot be had
        """
        queues = self._run_dir / "queues.sock"
        queues.unlink(missing_ok=True)
        self._queue_server = QueueServer(str(queues), self._secret, self._exchange, EXPOSED)
        self._port = CommandPort(
            (self.config.bind_address, self.config.master.port),
            self._secret,
            self._vocabulary.answer,
            self._vocabulary.changes,
            self.config.control.allow_unsigned_from,
            self.config.master.socket_timeout,
            self.config.control.max_connections,
        )
        # Orders first: a service that attached before them would drop what it works on.
        self.observations.start_thread()
        self._queue_server.start()
        self._wanted.start_again()
        self.overviews.start()
        self._housekeeping = self._make_housekeeping()
        self._housekeeping.start()
        write_endpoint(
            Endpoint(
                reached_at(self.config.bind_address),
                self.config.master.port,
                str(self._run_dir),
                self.node_id,
            )
        )
        log.info("listening on %s:%d", self.config.bind_address, self.config.master.port)
        self._metrics.serve(_metrics_address(self.config))
        self._stopping.wait()
        self._end_node()

    # -- what the parts call ---------------------------------------------------------------------

    def _service_changed(self, service: str) -> None:
        """A service attached or went; supervisord sees a death late unless it is woken."""
        self.services.changed()
        self.overviews.wake()
        if self._exchange.presence(service) is None:
            self._poke.wake()

    def _service_finished(self, service: str, task_id: str) -> None:
        self.observations.finished(service, task_id)

    def _give_orders(self, orders: dict[str, list[Order]]) -> None:
        self._exchange.give_orders(orders)

    def _observation_begins(self, begun: Run) -> None:
        """What an earlier run of the same observation remembered is no concern of this one."""
        self._journal.forget(begun.observation.task_id)
        if not begun.partial:
            threading.Thread(target=self._clear_ended, name="clear", daemon=True).start()

    def _clear_ended(self) -> None:
        """Drop what ended observations left in the real-time queues and in memory."""
        alive = {run.observation.task_id for run in self.observations.runs()} | {""}
        for task_id in self._journal.observations() - alive:
            for depth in self._journal.depths():
                if depth.queue in KEPT_QUEUES:
                    continue
                cleared = self._journal.clear(depth.queue, task_id)
                if cleared:
                    log.warning(
                        "%d entries of ended observation %s cleared from %s",
                        *(cleared, task_id, depth.queue),
                    )
        for task_id in self._journal.remembered() - alive:
            self._journal.forget(task_id)

    def _observation_over(self, run: Run) -> None:
        """Keep its books, in a thread: they may go onto a network file system that hangs."""
        task_id = run.observation.task_id
        memories = self._journal.memories(task_id)
        directory = Path(self.config.master.parset_dir) / run.observation.datetimesource
        threading.Thread(
            target=write_books,
            args=(
                books_file(directory, self.config.hostname),
                *(task_id, memories, self.config.master.parsets_kept),
            ),
            name="books",
            daemon=True,
        ).start()
        self._journal.forget(task_id)

    def _make_housekeeping(self) -> Housekeeping:
        logs = {Path(self.config.log_file(name)).parent for name in self.services.names}
        directories = Directories(
            sorted({*logs, Path(self.config.master.log_dir), Path(self.config.master.parset_dir)})
        )
        sockets = [KeptSocket(self._run_dir / name) for name in ("queues.sock", "supervisord.sock")]
        unresponsive = Unresponsive(
            lambda: self.services.states(self.services.names),
            self._supervisor.kill,
            lambda: self.config.master.health.restart_unresponsive,
        )
        return Housekeeping(
            [
                directories.look,
                *(kept.look for kept in sockets),
                self._journal.look,
                self._wanted.look,
                unresponsive.look,
            ]
        )

    # -- what commands call ----------------------------------------------------------------------

    def attribute(self, name: str) -> str | None:
        """A declared attribute of the master, as text."""
        return self._attributes.find(name)

    @property
    def stopping(self) -> bool:
        """The node is ending."""
        return self._stopping.is_set()

    @property
    def refused(self) -> tuple[int, int]:
        """Commands and queue connections that were refused."""
        return self._port.refused, self._queue_server.refused

    @property
    def queue_depths(self) -> dict[str, int]:
        """Entries in each queue that is not empty."""
        return {depth.queue: depth.entries for depth in self._journal.depths()}

    @property
    def journal_full(self) -> bool:
        """Nothing new is taken into the queues, for lack of room."""
        return self._journal.full

    def reload(self, origin: str) -> list[str]:
        """Read the configuration again and apply it.

        :param origin: who wants it, for the logs
        :return: what was done beside that, and what needs a restart of the node
        :raises ConfigError: it is broken; nothing has changed
        :raises SupervisorError: supervisord refuses the sections
        """
        with self._reloading:
            sources = read_sources()
            notes = self._apply(sources.parse())
            sources.keep()
            return notes + self._configure_switches(origin)

    def _apply(self, config: Config) -> list[str]:
        notes = [f"warning: {warning}" for warning in config.warnings]
        for what, after in _fixed(config).items():
            if self._fixed[what] != after:
                notes.append(f"{what} changes with a restart of the node")
        config = with_run_dir(config, str(self._run_dir))
        files = render.render(config)
        render.write(files)
        notes += apply_sections(self._supervisor, self.services)
        self.config = config
        self.services = self._make_services(config)
        self._journal.set_max_bytes(config.master.journal_max_bytes)
        self.observations.setup_time = config.master.setup_time
        self.observations.end_delay = config.master.end_delay
        self._port.allow_unsigned_from = config.control.allow_unsigned_from
        self._metrics.serve(_metrics_address(config))
        return notes

    def _configure_switches(self, origin: str) -> list[str]:
        """The configuration decides anew about what leaves the house; what changes is said."""
        notes = []
        configured = {
            "lofar_trigger": self.config.lofar_trigger.send_events,
            "voevent_generator": self.config.voevent_generator.send_events,
        }
        for service, wanted in configured.items():
            if service not in self.services.names:
                continue
            was = self._exchange.remembered(service, SWITCH)
            if was is not None and bool(was) is not wanted:
                notes.append(f"{service}.{SWITCH} is {wanted} as configured, it was {was}")
            running = self._exchange.presence(service) is not None
            switch = self.services.switch if running else self.services.remember_switch
            if not switch(service, SWITCH, wanted, origin):
                notes.append(f"{service}.{SWITCH} could not be set to {wanted}")
            self.services.reload(service)
        return notes

    def stop(self) -> None:
        """End the node once the reply is on its way."""
        self._stopping.set()

    def _end_node(self) -> None:
        log.info("stopping all services, then supervisord")
        self._housekeeping.end()
        self.observations.abort_all()
        self._wanted.forget()
        try:
            # all that supervisord knows, a service that an operator added by hand too
            names = [name for name in self._supervisor.processes() if name != render.MASTER]
            self.services.stop(names)
            # supervisord ends one group a second: leave it this process alone
            for name in names:
                with contextlib.suppress(SupervisorError):  # it runs still: supervisord's to end
                    self._supervisor.remove(name)
            remove_endpoint()
            self._supervisor.shut_down()
        except SupervisorError as error:
            log.error("%s; darc_kill_all ends what is left", error)


def _metrics_address(config: Config) -> Address | None:
    metrics = config.metrics
    return None if metrics.port is None else (metrics.bind, metrics.port)


def _fixed(config: Config) -> dict[str, object]:
    """What does not change while a node runs."""
    return {
        "darc_master.port": config.master.port,
        "darc_master.run_dir": config.master.run_dir,
        "control.bind": config.bind_address,
        "darc_master.reserve_bytes": config.master.reserve_bytes,
        "darc_master.socket_timeout": config.master.socket_timeout,
        "control.max_connections": config.control.max_connections,
    }


def main() -> None:
    """Run the master: what supervisord starts."""
    parser = argparse.ArgumentParser(
        prog="darc_service",
        description="The master service itself, which supervisord runs; people use"
        " darc_start_master.",
    )
    parser.add_argument("--config", metavar="FILE", help="the node's configuration file")
    path = parser.parse_args().config
    if path:
        os.environ["DARC_CONFIG"] = str(Path(path).absolute())
    set_up_logging("darc_master")
    end_on_sigterm()
    end_with_supervisord()
    try:
        config = load_node_config(keep=True)
    except (ConfigError, OSError) as error:
        log.critical("cannot start: %s", error)
        sys.exit(1)
    for warning in config.warnings:
        log.warning("%s", warning)
    run_dir = Path(config.master.run_dir)
    node = identity.read_identity(run_dir)
    if node is None or os.environ.get("DARC_NODE_ID") != node.node_id:
        log.critical("cannot start: %s is not this node's; use darc_start_master", run_dir)
        sys.exit(1)
    held = identity.try_lock(run_dir / "lock")
    if held is None:
        log.critical("cannot start: another master holds %s", run_dir / "lock")
        sys.exit(1)
    log.info("DARC %s on %s: %s", __version__, config.hostname, ", ".join(config.services()))
    Master(config, node).run()


if __name__ == "__main__":
    main()
