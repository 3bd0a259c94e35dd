"""The life of observations: pending, running, stopped or aborted, and over.

What is known is on disk while it lasts, so that a master started anew carries on. Services are not
told of events but of the state that they have to reach: nothing is missed by one that was away.
"""

from __future__ import annotations

import enum
import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from darc.model.observation import Observation
from darc.node.log import about
from darc.queues.messages import Order, OrderState

log = logging.getLogger(__name__)


class State(enum.StrEnum):
    """Where an observation is in its life."""

    PENDING = "pending"  # the services do not know of it yet
    RUNNING = "running"
    STOPPED = "stopped"  # the services finish what is there
    ABORTED = "aborted"  # the services drop it


_ORDERS = {
    State.RUNNING: OrderState.RUNNING,
    State.STOPPED: OrderState.STOPPED,
    State.ABORTED: OrderState.ABORTED,
}


@dataclass(slots=True)
class Run:
    """An observation on this node.

    :param services: those that take part
    :param not_stopped: those of them that a stop does not concern
    :param partial: some services only, by an operator's wish: it leaves the queues alone
    :param stopped: services that were stopped before the others
    :param ended_at: Unix time of stop or abort
    """

    observation: Observation
    services: tuple[str, ...]
    state: State = State.PENDING
    not_stopped: tuple[str, ...] = ()
    partial: bool = False
    stopped: set[str] = field(default_factory=set)
    finished: set[str] = field(default_factory=set)
    ended_at: float | None = None
    past: bool = False
    number: str = field(default_factory=lambda: uuid.uuid4().hex)

    def order(self, service: str) -> Order | None:
        """What a service has to do; None when nothing."""
        if self.state is State.PENDING or service not in self.services or service in self.finished:
            return None
        state = _ORDERS[self.state]
        if state is OrderState.STOPPED and service in self.not_stopped:
            state = OrderState.RUNNING
        if state is OrderState.RUNNING and service in self.stopped:
            state = OrderState.STOPPED
        return Order(self.observation.to_plain(), state, self.number, self.past)

    def to_plain(self) -> dict[str, Any]:
        return {
            "observation": self.observation.to_plain(),
            "services": list(self.services),
            "state": str(self.state),
            "not_stopped": list(self.not_stopped),
            "partial": self.partial,
            "stopped": sorted(self.stopped),
            "finished": sorted(self.finished),
            "ended_at": self.ended_at,
            "past": self.past,
            "number": self.number,
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Run:
        return cls(
            Observation.from_plain(plain["observation"]),
            tuple(plain["services"]),
            State(plain["state"]),
            tuple(plain["not_stopped"]),
            plain["partial"],
            set(plain["stopped"]),
            set(plain["finished"]),
            plain["ended_at"],
            plain["past"],
            plain["number"],
        )


class Observations:
    """The observations of a node, and a thread that acts on them when their time has come.

    :param directory: where they are kept, a file each
    :param give_orders: tells the services; called with every service's orders after each change
    :param begin: called when one begins to run
    :param over: called when one is over
    :param held: tells that services cannot get on, and no observation is over by time alone
    """

    def __init__(
        self,
        directory: Path,
        setup_time: float,
        end_delay: float,
        give_orders: Callable[[dict[str, list[Order]]], None],
        begin: Callable[[Run], None],
        over: Callable[[Run], None],
        held: Callable[[], bool] = lambda: False,
    ) -> None:
        directory.mkdir(exist_ok=True)
        self._directory = directory
        self.setup_time = setup_time
        self.end_delay = end_delay
        self._give_orders = give_orders
        self._begin = begin
        self._over = over
        self._held = held
        self._changed = threading.Condition(threading.RLock())
        self._runs = dict(self._load())

    def start_thread(self) -> None:
        """Carry on with what was on disk, and watch the time from now on."""
        self._tell()
        threading.Thread(target=self._watch, name="observations", daemon=True).start()

    def _load(self) -> Iterable[tuple[str, Run]]:
        for path in sorted(self._directory.glob("*.json")):
            try:
                run = Run.from_plain(json.loads(path.read_text()))
            except (ValueError, KeyError, TypeError) as error:
                log.error("%s: not an observation, set aside: %s", path, error)
                path.replace(path.with_suffix(".damaged"))
                continue
            with about(run.observation.task_id):
                log.info("observation %s goes on: %s", run.observation.task_id, run.state)
            yield run.observation.task_id, run

    def _save(self, run: Run) -> None:
        """Keep it on disk; a disk that is full does not keep it from going on."""
        path = self._directory / f"{run.observation.task_id}.json"
        temporary = path.with_suffix(".new")
        try:
            temporary.write_text(json.dumps(run.to_plain()))
            temporary.replace(path)
        except OSError as error:
            log.error("would be forgotten if the master died now: %s", error)

    def _tell(self) -> None:
        orders: dict[str, list[Order]] = {}
        for run in self._runs.values():
            for service in run.services:
                order = run.order(service)
                if order:
                    orders.setdefault(service, []).append(order)
        self._give_orders(orders)

    # -- commands ------------------------------------------------------------------------------

    def runs(self) -> list[Run]:
        with self._changed:
            return list(self._runs.values())

    def add(self, run: Run) -> bool:
        """Take an observation in, or add services to it; False when they have it already."""
        with self._changed:
            known = self._runs.get(run.observation.task_id)
            if known:
                new = tuple(name for name in run.services if name not in known.services)
                if not new or known.state not in {State.PENDING, State.RUNNING}:
                    return False
                known.services += new
                run = known
            self._runs[run.observation.task_id] = run
            self._save(run)
            if run.state is not State.PENDING:
                self._tell()
            self._changed.notify_all()
        return True

    def end(self, task_id: str, state: State, services: tuple[str, ...] = ()) -> bool:
        """Stop or abort an observation; False when it does not run.

        :param services: those that it ends for; none given: all
        """
        with self._changed:
            run = self._runs.get(task_id)
            if run is None or run.state is State.ABORTED:
                return False
            if services:
                return self._end_for(run, state, services)
            if run.state is State.STOPPED and state is State.STOPPED:
                return False
            if run.state is State.PENDING:
                self._remove(run, "cancelled before its start")
            else:
                run.state = state
                run.ended_at = time.time()
                self._save(run)
            self._tell()
            self._changed.notify_all()
        return True

    def _end_for(self, run: Run, state: State, services: tuple[str, ...]) -> bool:
        concerned = {name for name in services if name in run.services}
        if state is State.STOPPED and run.state is not State.PENDING:
            concerned -= run.stopped
            run.stopped |= concerned
        else:
            run.services = tuple(name for name in run.services if name not in concerned)
        self._save(run)
        self._tell()
        self._changed.notify_all()
        return bool(concerned)

    def _call(self, hook: Callable[[Run], None], run: Run) -> None:
        """What goes wrong in it must not hold up any observation."""
        try:
            hook(run)
        except Exception:
            log.exception("observation %s goes on", run.observation.task_id)

    def finished(self, service: str, task_id: str) -> None:
        """A service has done all it has to do about an observation."""
        with self._changed:
            run = self._runs.get(task_id)
            if run is None:
                return
            run.finished.add(service)
            self._save(run)
            self._tell()  # a process of the service that is started anew has nothing to do
            self._changed.notify_all()

    def abort_all(self) -> int:
        """Drop all observations at once, as their services are about to be stopped."""
        with self._changed:
            runs = list(self._runs.values())
            for run in runs:
                self._remove(run, "aborted, as all services are stopped")
            self._tell()
        return len(runs)

    def __str__(self) -> str:
        return str({run.observation.task_id: str(run.state) for run in self.runs()})

    # -- time ----------------------------------------------------------------------------------

    def _watch(self) -> None:
        with self._changed:
            while True:
                now = time.time()
                for run in list(self._runs.values()):
                    with about(run.observation.task_id):
                        self._advance(run, now)
                # A time that has passed has done what it does; the rest comes by a command.
                due = [moment for run in self._runs.values() if (moment := self._due(run)) > now]
                if self._held():
                    due.append(now + 1.0)
                self._changed.wait(max(0.01, min(due) - time.time()) if due else None)

    def _due(self, run: Run) -> float:
        """When time alone changes something about an observation."""
        observation = run.observation
        if run.state is State.PENDING:
            return observation.start - self.setup_time
        if run.ended_at is not None:
            return run.ended_at + self.end_delay
        return observation.end + self.end_delay

    def _advance(self, run: Run, now: float) -> None:
        late = now >= self._due(run)
        if run.state is State.PENDING and late:
            run.state = State.RUNNING
            log.info("observation of %s begins", run.observation.source)
            self._save(run)
            self._call(self._begin, run)
            self._tell()
        elif run.state is State.RUNNING and late and not run.past:
            log.warning("no stop came %.0f s after the end: stopped", self.end_delay)
            run.state, run.ended_at = State.STOPPED, now
            self._save(run)
            self._tell()
        elif run.state is not State.PENDING:
            self._advance_to_end(run, late)

    def _advance_to_end(self, run: Run, late: bool) -> None:
        missing = [name for name in run.services if name not in run.finished]
        if not missing:
            self._remove(run, "over")
        elif late and not set(missing) & set(UNHURRIED) and not self._held():
            self._remove(run, f"over, though not finished by {', '.join(missing)}")
        else:
            return
        self._tell()

    def _remove(self, run: Run, why: str) -> None:
        task_id = run.observation.task_id
        del self._runs[task_id]
        with about(task_id):
            self._call(self._over, run)
            try:
                (self._directory / f"{task_id}.json").unlink(missing_ok=True)
            except OSError as error:
                log.error("a master started anew will take it up again: %s", error)
            log.info("observation %s: %s", task_id, why)


#: Services that may work on an observation long after its end.
UNHURRIED = ("processor", "offline_processing")
#: Queues that keep what ended observations left: what leaves the house has an age limit of its own.
KEPT_QUEUES = (*UNHURRIED, "lofar_trigger", "voevent_generator")
