"""Base class of the services: a process that attaches to its queue, works, and commits.

A service is a subclass of :class:`Service` in a module of its own; docs/services.md shows one of
thirty lines. It may be killed at any time: entries that it did not commit are delivered again.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar, cast

from darc import __version__
from darc.config.config import Config, ConfigError
from darc.config.records import replace
from darc.config.typed import from_plain, to_plain
from darc.model.observation import Observation
from darc.node.losses import ENTRIES_DROPPED, LOSSES, Losses, LossKind
from darc.node.node_config import load_config, load_node_config, with_run_dir
from darc.queues.messages import (
    Commit,
    ContentKind,
    FencedError,
    Order,
    OrderState,
    QueryKind,
    QueueEntry,
    ServiceQuery,
)
from darc.queues.names import REPORT
from darc.queues.plain_connection import pack
from darc.runtime.fault_points import fault_point
from darc.runtime.log import NonBlockingHandler, SaidLine, about, last_lines, set_up_logging
from darc.runtime.process_end import end_on_sigterm, end_with_supervisord
from darc.runtime.process_start import CannotStartError, end_or_try_again, has_begun
from darc.runtime.service_traits import ServiceTraits
from darc.services.base.queue_link import OrderListener, QueueLink, answer_of

log = logging.getLogger(__name__)
S = TypeVar("S")

#: Key in a service's memory of an observation: the service has finished it, even where the master
#: does not know.
ENDED = "ended"
#: Key in a service's memory of an observation: the settings at its start.
SETTINGS = "settings"
LOOP_SECONDS = 0.5  # half the heartbeat interval that counts as alive
#: A notification of orders that was missed costs at most so much.
RECHECK_ORDERS_SECONDS = 5.0
#: Attributes for the metrics, where a service has them, beside those in its traits: numbers,
#: counters by name, or lists.
MEASURED = (
    "log_lines_dropped",
    "entries_completed",
    "bad_entries",
    "triggers_received",
    "totals",
    "outcomes",
    "latency_histograms",
    "mails_waiting",
    "refused_clients",
    "refused_pages",
)
#: Attributes that darc_monitor reads, where a service has them.
REPORTED = (
    "send_events",
    "outcomes",
    "latency",
    "forwarding",
    "losses",
    "metrics",
    "last_error",
    "last_trigger",
)


class Service(Generic[S]):
    """One service.

    Subclasses define their name, their settings and the attributes that may be asked, and override
    the hooks below. A hook that raises ends the process; supervisord restarts it.
    """

    #: Name of the service and of its queue.
    name: ClassVar[str]
    #: Name of its section in the configuration, if different.
    section: ClassVar[str] = ""
    #: Type of the settings in its section.
    settings_type: ClassVar[type]
    #: Attributes for ``get_attr``, beside those of every service.
    attributes: ClassVar[tuple[str, ...]] = ()
    #: Boolean attributes that commands may set; they survive a restart.
    switches: ClassVar[tuple[str, ...]] = ()
    #: Kinds of losses: see `Service.lost`.
    loss_kinds: ClassVar[tuple[LossKind, ...]] = ()
    #: Traits, which the master reads, too.
    traits: ClassVar[ServiceTraits] = ServiceTraits()
    #: Whether it sends to external systems: its commits are then synced to disk.
    outward: ClassVar[bool] = False
    #: Number of entries that could not be read.
    bad_entries: int = 0

    _common_attributes: ClassVar[tuple[str, ...]] = (
        "log_file",
        "log_lines_dropped",
        "observations",
        "entries_completed",
        "losses",
        "metrics",
        "last_error",
        "last_trigger",
        REPORT,
    )

    def __init_subclass__(cls) -> None:
        """Accept the attribute `observes` of services written before there were traits."""
        super().__init_subclass__()
        if "observes" in cls.__dict__:
            cls.traits = replace(cls.traits, observes=bool(cls.__dict__["observes"]))

    def __init__(self, config: Config) -> None:
        self.config = config
        self.settings: S = self._settings_of(config)
        self.log_file = config.log_file(self.name)
        self.entries_completed = 0
        self._running: dict[str, Observation] = {}
        self._states: dict[str, OrderState] = {}
        self._done: set[str] = set()
        self._past: set[str] = set()
        self._cursor = 0
        self._perhaps_orders = False
        self._next_orders = 0.0  # when they are looked at in any case, monotonic
        self._reload_due = False
        self._attachments = 0  # of which the configuration was looked at
        self._log_handler: NonBlockingHandler | None = None
        self._losses = Losses(self.loss_kinds)
        self.queue_link = QueueLink(Path(config.master.run_dir), self.name, self.class_name())
        self.prepare()

    # -- hooks ---------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Initialise the service; called once, before it attaches. Settings are available."""

    def start_observation(self, observation: Observation, memory: dict[str, Any]) -> None:
        """Start an observation, or resume it after a restart of this process.

        :param memory: what earlier commits of this service stored for it
        """

    def stop_observation(self, observation: Observation) -> None:
        """No more data will arrive. Process those that have, then call :meth:`finish`."""

    def abort_observation(self, observation: Observation) -> None:
        """Discard the observation at once; complete its entries that are not completed yet."""

    def process(self, entry: QueueEntry, observation: Observation | None) -> None:
        """Process an entry, and commit it as completed sooner or later."""
        self.commit(Commit(entry.observation, completed=(entry.id,)))

    def idle(self) -> None:
        """Called at least twice a second, after the entries that have arrived."""

    def patience(self) -> float:
        """Return the longest wait for entries (s), before :meth:`idle` is called."""
        return LOOP_SECONDS

    def reloaded(self) -> None:
        """Apply a changed configuration; called outside of observations only."""

    def recover(self, memory: dict[str, Any]) -> None:
        """Restore the state; called once the service is attached.

        :param memory: what earlier commits stored outside of observations
        :raises CannotStartError: an external condition prevents the start
        """

    # -- for subclasses ------------------------------------------------------------------------

    @classmethod
    def declared(cls) -> tuple[str, ...]:
        """Return all attributes for ``get_attr``."""
        return *cls._common_attributes, *cls.attributes

    @classmethod
    def class_name(cls) -> str:
        """Return the class name that ``get_attr`` shows."""
        return cls.__name__

    @property
    def observations(self) -> list[str]:
        """The observations that this service works on."""
        # A list first: the listener's thread asks while the loop starts and finishes observations.
        return [observation.task_id for observation in list(self._running.values())]

    @property
    def log_lines_dropped(self) -> int:
        """Number of log lines of this process that could not be written."""
        return self._log_handler.dropped if self._log_handler else 0

    @property
    def metrics(self) -> dict[str, Any]:
        """Numbers and counters by name: of :data:`MEASURED` and the traits, as far as declared."""
        known = self.declared()
        wanted = (*MEASURED, *(series.attribute for series in self.traits.measured))
        found = {name: getattr(self, name) for name in wanted if name in known}
        numbers = {
            name: len(value) if isinstance(value, list) else value for name, value in found.items()
        }
        return {**numbers, LOSSES: self._losses.numbers()}

    @property
    def monitor_report(self) -> dict[str, Any]:
        """Values of :data:`REPORTED` by name, in one answer, as a node asks often."""
        queries = [ServiceQuery(QueryKind.ATTRIBUTE, name) for name in REPORTED]
        answers = {query.name: answer_of(query, self._answer) for query in queries}
        return {name: value for name, (found, value) in answers.items() if found}

    @property
    def last_error(self) -> tuple[float, str] | None:
        """Time (Unix s) and text of the last error that this process logged."""
        return _plain_line(last_lines().error)

    @property
    def last_trigger(self) -> tuple[float, str] | None:
        """Time (Unix s) and text of the last log line about a trigger."""
        return _plain_line(last_lines().trigger)

    @property
    def losses(self) -> dict[str, Any]:
        """Losses by kind: number, the latest ones, and the remedy."""
        return self._losses.summaries()

    def lost(self, kind: LossKind, what: str, why: str, number: int = 1) -> None:
        """Count a loss, before the step that gives the data up; it raises an alarm.

        :param what: identifier by which it can be found again
        :param why: reason
        :param number: number of items lost
        """
        if self._losses.add(kind, what, why, number):
            self.commit(Commit(memory={LOSSES: self._losses.to_plain()}))

    def commit(self, commit: Commit) -> None:
        """Commit a step as a whole, exactly once."""
        fault_point(f"{self.name}.before committing")
        self.queue_link.commit(replace(commit, durable=True) if self.outward else commit)
        fault_point(f"{self.name}.after committing")
        self.entries_completed += len(commit.completed)

    def services_here(self, *names: str) -> tuple[str, ...]:
        """Return those of the services that this node has."""
        return tuple(name for name in names if name in self.config.services())

    def drop_unusable(self, entry: QueueEntry, error: ValueError) -> None:
        """Complete an entry that cannot be read; it is counted, and a loss."""
        self.bad_entries += 1
        log.error("entry %d dropped: %s", entry.id, error)
        self.lost(ENTRIES_DROPPED, f"entry {entry.id}", str(error))
        self.commit(Commit(entry.observation, completed=(entry.id,)))

    def progress(self, observation: Observation) -> dict[str, int]:
        """Return how far each file of an observation is committed (bytes)."""
        return self.queue_link.progress(observation.key)

    def finish(self, observation: Observation) -> None:
        """Report that this service has finished an observation."""
        self._running.pop(observation.key, None)
        self._done.add(observation.key)
        self.queue_link.finished(observation.key)
        log.info("done")

    def is_past(self, observation: Observation) -> bool:
        """Whether an observation had ended before it was started, so that all data are on disk."""
        return observation.key in self._past

    def _settings_of(self, config: Config) -> S:
        return cast(S, config.block(self.section or self.name, self.settings_type))

    def _take_settings(self, key: str, memory: dict[str, Any]) -> None:
        """Use the settings of the start of an observation for all of it, also after a restart."""
        if SETTINGS in memory:
            try:
                # What a version before did not know is as configured now.
                kept = to_plain(self.settings) | dict(memory[SETTINGS])
                self.settings = cast(S, from_plain(self.settings_type, kept, self.name))
                return
            except ValueError as error:  # saved by another version
                log.warning("the settings kept since the start are invalid, read anew: %s", error)
        self.reload_config()
        self.commit(Commit(key, memory={SETTINGS: to_plain(self.settings)}))

    def reload_config(self) -> None:
        """Reload the configuration, as at each observation; an invalid one changes nothing."""
        try:
            self.config = with_run_dir(load_config(), self.config.master.run_dir)
            self.settings = self._settings_of(self.config)
        except (ConfigError, OSError) as error:
            log.error("the previous configuration stays in force: %s", error)

    # -- the loop ------------------------------------------------------------------------------

    @classmethod
    def main(cls) -> None:
        """Run the service until it is stopped; supervisord starts this program."""
        handler = set_up_logging(cls.name)
        with end_on_sigterm():
            cls._main(handler)

    @classmethod
    def _main(cls, handler: NonBlockingHandler) -> None:
        end_with_supervisord()
        try:
            service = cls._made()
            service._log_handler = handler
            log.info("started: process %d, version %s", os.getpid(), __version__)
            service.run()
        except CannotStartError as error:
            log.critical("cannot start: %s", error)
            end_or_try_again()
        except FencedError as error:
            log.critical("exits, as another process has taken over its work: %s", error)
            sys.exit(1)

    @classmethod
    def _made(cls) -> Self:
        try:
            return cls(load_node_config())
        except (ConfigError, OSError) as error:
            raise CannotStartError(str(error)) from error

    def run(self) -> None:
        """Work until the process is stopped.

        :raises CannotStartError: an external condition prevents the start
        """
        self.queue_link.attach()
        memory = dict(self.queue_link.recall(""))
        self._losses.recall(memory.get(LOSSES))
        self._recall_switches(memory)
        self.recover(memory)
        self.order_listener = OrderListener(self.queue_link, self.name, self._answer)
        has_begun()
        while True:
            fault_point(f"{self.name}.while waiting")
            entries = self.wait()
            if entries:
                fault_point(f"{self.name}.after taking")
            self.follow_orders()
            self.follow_configuration()
            for entry in entries:
                self._cursor = entry.id
                observation = self._observation_of(entry)
                with about(entry.observation):
                    self.process(entry, observation)
                self.queue_link.heartbeat_if_due()
            self.idle()

    def wait(self) -> list[QueueEntry]:
        """Wait for entries, and send a heartbeat; return at least twice a second."""
        patience = min(max(0.0, self.patience()), LOOP_SECONDS)
        begun = time.monotonic()
        entries = self.queue_link.take(self._cursor, patience)
        # Orders end the wait too, perhaps before the listener has received them.
        self._perhaps_orders = not entries and time.monotonic() < begun + patience
        return entries

    def _observation_of(self, entry: QueueEntry) -> Observation | None:
        if entry.observation and entry.observation not in self._running:
            self.obey(self.queue_link.orders(self._answer))
        return self._running.get(entry.observation)

    def follow_orders(self) -> None:
        due = time.monotonic() >= self._next_orders
        if self.order_listener.has_orders() or self._perhaps_orders or due:
            self._next_orders = time.monotonic() + RECHECK_ORDERS_SECONDS
            self.obey(self.queue_link.orders(self._answer))

    def follow_configuration(self) -> None:
        """Apply the configuration again where that was requested, or may have been unheard.

        The master requests it of services that are attached. One that attaches, at its start or
        after a restart of the master, looks whether there is another configuration meanwhile.
        """
        if not self._takes_reloads():
            return
        is_new = self._attachments != self.queue_link.attachments
        self._attachments = self.queue_link.attachments
        if self._reload_due:
            self._reload_due = False
            self.reload_config()
            self.reloaded()
        elif is_new:
            before = self.config
            self.reload_config()
            if self.config != before:
                log.info("the configuration has changed meanwhile")
                self.reloaded()

    def _takes_reloads(self) -> bool:
        """Whether a changed configuration holds now: an observation keeps that of its start."""
        return not self.traits.observes

    def obey(self, orders: list[Order]) -> None:
        """Start, stop and abort observations so that they agree with the orders."""
        current = {}
        for order in orders:
            observation = Observation.from_plain(dict(order.observation))
            current[observation.key] = order.state
            with about(observation.task_id):
                self._obey_one(observation, order)
        for key in [known for known in self._running if known not in current]:
            with about(key):
                log.info("no longer among the observations of darc_master: aborted")
                self.abort_observation(self._running.pop(key))
        for known in (self._done, self._past):
            known &= set(current)
        self._states = current

    def _obey_one(self, observation: Observation, order: Order) -> None:
        key, state = observation.key, order.state
        if key in self._done:
            return
        if not self.traits.observes:
            self.finish(observation)
            return
        if state is OrderState.ABORTED:
            log.info("observation aborted")
            self.abort_observation(self._running.pop(key, observation))
            self.finish(observation)
            return
        if key not in self._running:
            memory = dict(self.queue_link.recall(key))
            if memory.get(ENDED):
                self.finish(observation)
                return
            self._take_settings(key, memory)
            self._running[key] = observation
            if order.past:
                self._past.add(key)
            log.info("observation of %s; %s", observation.source, observation.arrival_reference())
            self.start_observation(observation, memory)
        if key not in self._running:
            return  # it is finished already
        if state is OrderState.STOPPED and self._states.get(key) is not OrderState.STOPPED:
            log.info("observation stopped")
            self.stop_observation(self._running[key])

    def _recall_switches(self, memory: dict[str, Any]) -> None:
        """Restore saved switches; at the first start, save the configured values."""
        for switch in self.switches:
            if switch in memory:
                setattr(self, switch, bool(memory[switch]))
                how = memory.get(f"{switch} switched", "before")
                log.info("%s is %s, as it was switched: %s", switch, memory[switch], how)
            else:
                self.commit(Commit(memory={switch: getattr(self, switch)}))
                log.info("%s is %s, as configured", switch, getattr(self, switch))

    def _answer(self, query: ServiceQuery) -> tuple[bool, Any]:
        if query.kind is QueryKind.RELOAD:
            self._reload_due = True
            return True, None
        if query.kind is QueryKind.SWITCH:
            if query.name not in self.switches:
                return False, None
            setattr(self, query.name, query.value)
            log.warning("%s switched to %s %s", query.name, query.value, query.origin)
            return True, query.value
        if query.name not in self.declared():
            return False, None
        return True, _plain(getattr(self, query.name))


def _plain_line(line: SaidLine | None) -> tuple[float, str] | None:
    return None if line is None else (line.time, line.text)


def _plain(value: object) -> object:
    """Convert a value to plain types; one of another type becomes its text."""
    try:
        pack(value)
    except TypeError:
        return str(value)
    return value


class Consumer(Service[S]):
    """Service that finishes an observation when its end entry has arrived."""

    def process(self, entry: QueueEntry, observation: Observation | None) -> None:
        """Pass triggers and candidates to `work`, and an observation's end to `end`."""
        if observation is None or entry.kind is not ContentKind.END:
            self.work(entry, observation)
            return
        self.end(entry, observation)
        self.finish(observation)

    def work(self, entry: QueueEntry, observation: Observation | None) -> None:
        """Process an entry; the observation is None where it has ended."""
        self.commit(Commit(entry.observation, completed=(entry.id,)))

    def end(self, entry: QueueEntry, observation: Observation) -> None:
        """Finish an observation, as all its entries have arrived; complete this one and others."""
        self.commit(Commit(entry.observation, completed=(entry.id,), memory={ENDED: True}))
