"""Pool of tasks on a Dask cluster, whose workers access the same files.

Results are plain values (:mod:`darc.candidates.dask_task`). Dask itself uses pickle: all peers that
the scheduler accepts are trusted, and TLS authenticates them.

Dask reassigns the task of a lost worker. If the scheduler is unreachable, connecting is retried;
running tasks are then resubmitted.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from typing import Any, cast

from darc.candidates.dask_task import DaskTask, answer_of, run_packed
from darc.candidates.pool import TASK_SECONDS, TRIES, DoneTask, Task
from darc.config.records import Struct
from darc.config.settings import SchedulerTLS
from darc.runtime.vital_threads import vital

log = logging.getLogger(__name__)

CONNECT_SECONDS = 10.0
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 1.0, 60.0
POLL_SECONDS = 1.0
#: Timeout for fetching a result (s); the service is blocked meanwhile.
RESULT_SECONDS = 2.0


class SchedulerError(Exception):
    """The scheduler is unreachable; the text says why."""


class _Begun(Struct, eq=False):
    task: DaskTask
    tries: int
    future: Any
    since: float  # monotonic


def connect(address: str, tls: SchedulerTLS | None) -> Any:
    """Connect to a scheduler.

    :param address: such as tls://arts041:8786
    :param tls: certificates of both sides; None: no TLS
    :return: a distributed.Client
    :raises SchedulerError: the scheduler is unreachable, or Dask is not installed
    """
    try:
        from distributed import Client, Security  # noqa: PLC0415 - optional
    except ImportError as error:
        raise SchedulerError(
            f"processor.scheduler is {address}, but Dask is not installed"
            f" (pip install darc[dask]): {error}"
        ) from error
    try:
        client: Any = Client  # untyped
        security: Any = Security
        proofs = (
            security(
                require_encryption=True,
                tls_ca_file=tls.ca,
                tls_client_cert=tls.certificate,
                tls_client_key=tls.key,
            )
            if tls
            else security(require_encryption=False)
        )
        return client(
            address,
            timeout=CONNECT_SECONDS,
            set_as_default=False,
            name="darc",
            security=proofs,
        )
    except (OSError, ValueError, TimeoutError) as error:
        raise SchedulerError(f"processor.scheduler {address}: not reached: {error}") from error


class DaskPool:
    """Pool of tasks on a Dask cluster; for its parameters, see :func:`connect`."""

    def __init__(self, address: str, tls: SchedulerTLS | None = None) -> None:
        self._address = address
        self._tls = tls
        self._client: Any = None
        #: Number of tasks that the workers can run at a time.
        self.capacity = 0
        self._begun: dict[str, _Begun] = {}
        self._again: list[tuple[DaskTask, int]] = []
        self._given_up: set[str] = set()  # their threads are still occupied
        self._answered: queue.SimpleQueue[_Begun] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._lost = threading.Event()
        self._some_ended = threading.Event()  # since the last call of `outcomes`
        vital("dask", self._keep_connected, or_exit=True, stoppable=True)

    def free(self) -> int:
        """Return how many further tasks the workers can take; 0: not connected."""
        if self._client is None:
            return 0
        taken = len(self._begun) + len(self._again) + len(self._given_up)
        return max(0, self.capacity - taken)

    def submit(self, task: Task) -> None:
        self._again.append((cast(DaskTask, task), 1))  # a TaskQueue submits no other tasks
        self._begin()

    def _begin(self) -> None:
        """Submit waiting tasks, if there is a connection."""
        client = self._client
        while self._again and client is not None:
            task, tries = self._again.pop()
            try:
                future = client.submit(run_packed, task, pure=False, retries=0)
            except Exception as error:  # of many types: the connection is lost
                log.warning("%s waits: %s", task, error)
                self._again.append((task, tries))
                return
            begun = _Begun(task, tries, future, time.monotonic())
            self._begun[future.key] = begun
            future.add_done_callback(lambda _, begun=begun: self._put(begun))

    def _put(self, begun: _Begun) -> None:
        self._answered.put(begun)
        self._some_ended.set()

    def wait(self, seconds: float) -> None:
        self._some_ended.wait(seconds)

    def outcomes(self) -> list[DoneTask]:
        self._some_ended.clear()
        if self._lost.is_set():
            self._start_over()
        done: list[DoneTask] = []
        while not self._answered.empty():
            begun = self._answered.get()
            self._given_up.discard(begun.future.key)
            if self._begun.pop(begun.future.key, None) is begun:
                done += self._answer(begun)
        done += self._too_slow()
        self._begin()
        return done

    def _answer(self, begun: _Begun) -> list[DoneTask]:
        future = begun.future
        try:
            if future.status == "finished":
                error, result = answer_of(begun.task, future.result(timeout=RESULT_SECONDS))
                return [DoneTask(begun.task, result, error)]
            exception = future.exception(RESULT_SECONDS) if future.status == "error" else None
            why = f"{type(exception).__name__}: {exception}" if exception else str(future.status)
        except Exception as error:  # of many types: the worker is lost
            why = f"its result was lost: {type(error).__name__}: {error}"
        if future.status in ("cancelled", "lost"):
            # Cancelled by the loss of the scheduler: tasks that we cancel are no longer tracked.
            self._again.append((begun.task, begun.tries))
            return []
        if begun.tries < TRIES:
            log.warning("%s failed; once more: %s", begun.task, why)
            self._again.append((begun.task, begun.tries + 1))
            return []
        return [DoneTask(begun.task, error=f"failed {begun.tries} times: {why}")]

    def _too_slow(self) -> list[DoneTask]:
        now = time.monotonic()
        if not self.capacity:  # no workers: do not count the time
            for begun in self._begun.values():
                begun.since = now
        slow = [begun for begun in self._begun.values() if begun.since < now - TASK_SECONDS]
        for begun in slow:
            # Dask cannot stop a thread: it is free when the task ends after all.
            del self._begun[begun.future.key]
            self._given_up.add(begun.future.key)
        error = f"no answer within {TASK_SECONDS:.0f} s, ended"
        return [DoneTask(begun.task, error=error) for begun in slow]

    def _start_over(self) -> None:
        """Resubmit running tasks to the next scheduler, as the present one is lost."""
        self._again += [(begun.task, begun.tries) for begun in self._begun.values()]
        self._begun.clear()
        self._given_up.clear()
        self._client = None
        self._lost.clear()

    def abort(self, observation: str) -> None:
        for key, begun in list(self._begun.items()):
            if begun.task.observation == observation:
                del self._begun[key]
                # A running task continues to its end: Dask cannot stop a thread.
                begun.future.release()
        self._again = [one for one in self._again if one[0].observation != observation]

    def close(self) -> None:
        self._closed.set()
        client, self._client = self._client, None
        if client is not None:
            client.close(timeout=1.0)

    # -- the thread ----------------------------------------------------------------------------

    def _keep_connected(self) -> None:
        """Connect, and keep the capacity up to date."""
        delay, said = FIRST_RETRY_SECONDS, ""
        while not self._closed.is_set():
            try:
                client = connect(self._address, self._tls)
            except SchedulerError as error:
                if str(error) != said:
                    log.error("candidates wait, trying again: %s", error)
                said = str(error)
                self._closed.wait(delay)
                delay = min(2 * delay, LONGEST_RETRY_SECONDS)
                continue
            delay, said = FIRST_RETRY_SECONDS, ""
            log.info("connected to %s", self._address)
            self._watch(client)

    def _watch(self, client: Any) -> None:
        """Watch a connection until it is lost."""
        had_workers = True
        self._client = client
        while not self._closed.wait(POLL_SECONDS if self.capacity else POLL_SECONDS / 10):
            try:
                if client.status != "running":
                    raise OSError(f"the connection is {client.status}")
                self.capacity = sum(client.nthreads().values())
            except Exception as error:  # of many types, all of them a lost connection
                log.error("connection to %s lost, candidates wait: %s", self._address, error)
                self.capacity = 0
                self._lost.set()
                client.close(timeout=1.0)
                while self._lost.is_set() and not self._closed.wait(0.05):
                    pass
                return
            if had_workers and not self.capacity:
                log.error("%s has no workers, candidates wait", self._address)
            had_workers = bool(self.capacity)
