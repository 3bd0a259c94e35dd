"""Life cycle of observations: pending, running, stopped or aborted, and over.

The state is saved on disk, so that a restarted master resumes it. Services are sent the state that
they have to reach instead of events: a service that was away misses nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from darc.master.durable_files import DurableFiles
from darc.master.observation_run import ObservationRun, RunState
from darc.master.pending_starts import PendingStarts
from darc.master.service_control import StartResult
from darc.model.observation import task_id_of
from darc.queues.messages import Order
from darc.runtime.clock import LOOK_AGAIN_SECONDS, Instant, Since
from darc.runtime.log import about
from darc.runtime.service_traits import traits_of
from darc.runtime.vital_threads import vital

log = logging.getLogger(__name__)


class ClosedError(Exception):
    """The node accepts no more observations; the text states why."""


class Observations:
    """The observations of a node, and a thread that changes their state when it is time.

    :param directory: where they are saved, one file each
    :param setup_time: how long before its start an observation begins (s)
    :param end_delay: how long after its end an observation is stopped or over by time alone (s)
    :param give_orders: sends orders; called with all services' orders after each change
    :param begin: called when an observation begins to run
    :param over: called when an observation is over
    :param held: whether services are blocked, so that no observation is over by time alone
    :param start: starts those services that do not run; may take a while
    """

    def __init__(
        self,
        directory: Path,
        setup_time: float,
        end_delay: float,
        give_orders: Callable[[dict[str, list[Order]]], None],
        begin: Callable[[ObservationRun], None],
        over: Callable[[ObservationRun], None],
        held: Callable[[], bool] = lambda: False,
        start: Callable[[Collection[str]], StartResult] = lambda _: StartResult([], {}),
    ) -> None:
        self._files = DurableFiles(directory)
        self.setup_time = setup_time
        self.end_delay = end_delay
        self._give_orders = give_orders
        self._begin = begin
        self._over = over
        self._held = held
        self._changed = threading.Condition(threading.RLock())
        self._closed = False
        self._unpublished = False
        self._said: dict[str, str] = {}  # last error logged, by subject
        # What was before this process is not known: a clock that is wrong now ends nothing at once.
        self._looked = Instant.now()
        self._runs = dict(self._load())
        self.starts = PendingStarts(self._changed, self._in_need, self._save, start)

    def start_thread(self) -> None:
        """Resume the saved observations, and start the thread."""
        self._publish()
        vital("observations", self._watch, or_exit=True)
        self.starts.start_thread()

    def _load(self) -> Iterable[tuple[str, ObservationRun]]:
        for path, plain in self._files.load():
            try:
                run = ObservationRun.from_plain(plain)
            except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
                self._files.set_aside(path, error)
                continue
            with about(run.observation.task_id):
                log.info("observation %s goes on: %s", run.observation.task_id, run.state)
            yield run.observation.task_id, run

    def _save(self, run: ObservationRun) -> None:
        """Save a run on disk; a full disk does not stop it."""
        self._files.save(run.observation.task_id, run.to_plain())

    def _in_need(self) -> list[ObservationRun]:
        """Return the runs that services work on, or will."""
        if self._closed:
            return []
        return [run for run in self._runs.values() if run.state is not RunState.ABORTED]

    def unsaved(self, task_id: str) -> str:
        """Return why the last change of an observation is not on disk; empty if it is."""
        return self._files.lacks(task_id)

    def _publish(self) -> None:
        self._unpublished = True
        orders: dict[str, list[Order]] = {}
        for run in self._runs.values():
            for service in run.services:
                order = run.order(service)
                if order:
                    orders.setdefault(service, []).append(order)
        self._give_orders(orders)
        self._unpublished = False

    # -- commands ------------------------------------------------------------------------------

    def runs(self) -> list[ObservationRun]:
        """Return the observations that are not over."""
        with self._changed:
            return list(self._runs.values())

    def add(self, run: ObservationRun) -> bool:
        """Add an observation, or add services to it; False when they have it already.

        The need to start its services is saved on disk: see `starts`.

        :raises ClosedError: the node is stopping
        """
        with self._changed:
            if self._closed:
                raise ClosedError("the node is being stopped: no observation is started")
            known = self._runs.get(run.observation.task_id)
            if known:
                new = tuple(name for name in run.services if name not in known.services)
                if not new or known.state not in {RunState.PENDING, RunState.RUNNING}:
                    return False
                known.services += new
                known.to_start |= set(run.services)
                run = known
            else:
                run.to_start = set(run.services)
            self._runs[run.observation.task_id] = run
            self._save(run)
            if run.state is not RunState.PENDING:
                self._publish()
            self._changed.notify_all()
        return True

    def end(self, task_id: str, state: RunState, services: tuple[str, ...] = ()) -> bool:
        """Stop or abort an observation; False when it does not run.

        :param services: services that it is ended for; empty: all
        """
        with self._changed:
            run = self._runs.get(task_id)
            if run is None or run.state is RunState.ABORTED:
                return False
            if services:
                return self._end_for(run, state, services)
            if run.state is RunState.STOPPED and state is RunState.STOPPED:
                return False
            if run.state is RunState.PENDING:
                self._remove(run, "cancelled before its start")
            else:
                run.state = state
                run.ended_at = Since.now()
                self._save(run)
            self._publish()
            self._changed.notify_all()
        return True

    def _end_for(self, run: ObservationRun, state: RunState, services: tuple[str, ...]) -> bool:
        concerned = {name for name in services if name in run.services}
        if state is RunState.STOPPED and run.state is not RunState.PENDING:
            concerned -= run.stopped
            run.stopped |= concerned
        else:
            run.services = tuple(name for name in run.services if name not in concerned)
        self._save(run)
        self._publish()
        self._changed.notify_all()
        return bool(concerned)

    def _call(self, hook: Callable[[ObservationRun], None], run: ObservationRun) -> None:
        """Call a hook; an error in it must not block any observation."""
        try:
            hook(run)
        except Exception:
            log.exception("observation %s goes on", run.observation.task_id)

    def finished(self, service: str, key: str) -> None:
        """Record that a service has finished a run."""
        with self._changed:
            run = self._runs.get(task_id_of(key))
            if run is None or run.key != key:
                return
            run.finished.add(service)
            self._save(run)
            self._publish()  # a restarted process of the service has nothing to do
            self._changed.notify_all()

    def abort_all(self) -> int:
        """Abort all observations at once, as their services are about to be stopped."""
        with self._changed:
            runs = list(self._runs.values())
            for run in runs:
                self._remove(run, "aborted, as all services are stopped")
            self._publish()
        return len(runs)

    def close(self) -> None:
        """Accept no more observations and start no more services, as the node is stopping."""
        with self._changed:
            self._closed = True

    def __str__(self) -> str:
        return str({run.observation.task_id: str(run.state) for run in self.runs()})

    # -- time ----------------------------------------------------------------------------------

    def _watch(self) -> None:
        with self._changed:
            while True:
                try:
                    seconds = self._look()
                # All observations depend on this thread; the next round may succeed.
                except Exception as error:
                    self._say_defect("observations", error)
                    seconds = LOOK_AGAIN_SECONDS
                self._changed.wait(seconds)

    def _look(self) -> float | None:
        """Apply the changes that are due; return when the next one is (s), None: after a change."""
        # Bounded, as the clock may be set meanwhile.
        seconds = LOOK_AGAIN_SECONDS
        for task_id, run in list(self._runs.items()):
            with about(task_id):
                try:
                    self._advance(run, time.time())
                    left = self._left(run, time.time())
                    seconds = min(seconds, max(0.01, left) if left > 0 else seconds)
                # A defect with one observation must not block the others.
                except Exception as error:
                    self._say_defect(task_id, error)
        self._looked = Instant.now()
        if self._unpublished:
            self._publish()
        if self._files.retry() and not self._runs:
            return None
        return seconds

    def _say_defect(self, what: str, error: Exception) -> None:
        if self._said.get(what) != repr(error):
            log.exception("%s: tried again", what)
        self._said[what] = repr(error)

    def _left(self, run: ObservationRun, now: float) -> float:
        """Return for how long (s) no change of an observation is due by time alone.

        The start and the end are times of day (Unix s), and that clock may be set; the time since
        the end is from the monotonic clock.
        """
        observation = run.observation
        if run.state is RunState.PENDING:
            return 0.0 if run.past else observation.start - self.setup_time - now
        if run.ended_at is not None:
            return self.end_delay - run.ended_at.age()
        if now < observation.end:
            run.end_passed = None
            return observation.end - now
        if run.end_passed is None:
            # At the last check the end was still ahead.
            run.end_passed = Instant.now().after(-min(now - observation.end, self._looked.age()))
        return self.end_delay - run.end_passed.age()

    def _advance(self, run: ObservationRun, now: float) -> None:
        late = self._left(run, now) <= 0
        if run.state is RunState.PENDING and late:
            run.state = RunState.RUNNING
            log.info("observation of %s begins", run.observation.source)
            self._save(run)
            self._call(self._begin, run)
            self._publish()
        elif run.state is RunState.RUNNING and late and not run.past:
            log.warning("no stop came %.0f s after the end: stopped", self.end_delay)
            run.state, run.ended_at = RunState.STOPPED, Since.now()
            self._save(run)
            self._publish()
        elif run.state is not RunState.PENDING:
            self._advance_to_end(run, late)

    def _advance_to_end(self, run: ObservationRun, late: bool) -> None:
        missing = [name for name in run.services if name not in run.finished]
        if not missing:
            self._remove(run, "over")
        elif late and not self._held() and not any(traits_of(name).unhurried for name in missing):
            self._remove(run, f"over, though not finished by {', '.join(missing)}")
        else:
            return
        self._publish()

    def _remove(self, run: ObservationRun, why: str) -> None:
        task_id = run.observation.task_id
        del self._runs[task_id]
        self._said.pop(task_id, None)
        with about(task_id):
            self._call(self._over, run)
            self._files.remove(task_id)
            log.info("observation %s: %s", task_id, why)
