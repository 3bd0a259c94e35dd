"""What there was before an observation: the same one, another one, or a node that is stopped."""

from __future__ import annotations

import shutil
import signal
import threading
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from faults.books import read_books
from faults.fault_plan import ANOTHER_STOPPED, MASTER_KILLED, NODE_STOPPED, Fault, Kind
from faults.machine import Machine
from faults.strikes import Strikes
from faults.trigger_files import TriggerFiles, dim_lines
from nodes import Node, wait_for

from darc.runtime.service_traits import traits_of
from simulator.amber_files import format_header, trigger_name
from simulator.player import TimedFile
from simulator.write_parsets import MadeObservation, write_observation

ANSWER_SECONDS = 60.0
#: An observation with a service that was stopped is over so long after its stop (s).
SHORT_END_DELAY = 1.0
END_DELAY = 60.0
#: Between the starts of two observations (s).
BETWEEN_STARTS = 0.3
OTHER_LINES = 500


def answered(node: Node, *words: str, or_said: str = "") -> None:
    """Give a command until it is accepted, as an operator would.

    :param or_said: an answer that is as good
    """

    def accepted() -> bool:
        done = node.darc(*words)
        said.append(done.stdout + done.stderr)
        return done.returncode == 0 or bool(or_said and or_said in said[-1])

    said: list[str] = []
    try:
        wait_for(accepted, ANSWER_SECONDS)
    except AssertionError as error:
        raise AssertionError(f"{words[-1]} is not accepted: {said[-1]}") from error


class Beginnings:
    """Begins observations, not always in peace.

    :param files: AMBER's, of the observation
    """

    def __init__(self, machine: Machine, strikes: Strikes, files: Sequence[TimedFile]) -> None:
        self._machine, self._node = machine, machine.node
        self._strikes, self._files = strikes, files
        self._other: tuple[MadeObservation, int, Path] | None = None  # its lines and books

    def begin(self, observation: MadeObservation, faults: Sequence[Fault], books: Path) -> None:
        """Start an observation.

        :param faults: what else happens before
        :param books: the file in which they will be
        """
        crossing = [fault for fault in faults if fault.kind is Kind.CROSSING]
        for fault in faults:
            if fault.kind is Kind.AGAIN:
                self._observe_before(observation, fault)
        if not crossing:
            self._start(observation)
        for fault in crossing:
            self._start_crossing(observation, fault)
        books.unlink(missing_ok=True)

    def end(self) -> list[str]:
        """What was wrong with what there was beside the observation."""
        if self._other is None:
            return []
        (observation, n_lines, path), self._other = self._other, None
        wait_for(path.exists, ANSWER_SECONDS, "the books of the other observation")
        books, _ = read_books(path)
        books.lines = n_lines
        path.unlink()
        shutil.rmtree(observation.parset.parent)
        return [f"the other observation: {problem}" for problem in books.unaccounted()]

    def _start(self, observation: MadeObservation) -> None:
        words = "--parset", str(observation.parset), "start_observation"
        answered(self._node, *words, or_said="is running already")

    # -- the same one --------------------------------------------------------------------------

    def _observe_before(self, observation: MadeObservation, fault: Fault) -> None:
        """The same observation has begun before, and was ended."""
        how, _, backlog = fault.target.partition(", ")
        away = backlog.removesuffix(" was away")
        self._start(observation)
        if away:
            self._node.supervisor.stop(away)
            self._strikes.reload(end_delay=SHORT_END_DELAY)
        before = TriggerFiles(observation.amber_dir, self._files, lambda: 0)
        before.play(until=fault.duration)
        command = "stop_observation" if how == "stopped" else "abort_observation"
        answered(self._node, "--parset", str(observation.parset), command)
        if away:
            self._node.wait_until_over(observation.task_id, ANSWER_SECONDS)
            self._strikes.reload(end_delay=END_DELAY)
        if not traits_of(away).observes:  # a start of an observation leaves those alone
            self._node.supervisor.start(away)
            # What was started is noted once a second; supervisord may be killed next.
            wanted = self._node.run_dir / "wanted.json"
            wait_for(lambda: f'"{away}"' in wanted.read_text(), ANSWER_SECONDS, f"{away} noted")
        for path in observation.amber_dir.glob("*.trigger"):  # AMBER begins with new ones
            path.unlink()

    # -- crossing ------------------------------------------------------------------------------

    def _start_crossing(self, observation: MadeObservation, fault: Fault) -> None:
        """Start it while something else is done, which began a little before."""
        if fault.target == ANOTHER_STOPPED:
            self._begin_another()
        disturbing = {
            ANOTHER_STOPPED: self._stop_another,
            MASTER_KILLED: self._kill_master,
            NODE_STOPPED: self._stop_node,
        }[fault.target]
        thread = threading.Thread(target=disturbing)
        thread.start()
        time.sleep(fault.duration)
        self._node.darc("--parset", str(observation.parset), "start_observation")
        thread.join()
        if fault.target == NODE_STOPPED:
            wait_for(lambda: not self._node.processes(), ANSWER_SECONDS, "the node is stopped")
            self._node.run("darc_start_all_services")
        self._start(observation)

    def _kill_master(self) -> None:
        self._strikes.signal("darc_master", signal.SIGKILL)

    def _stop_node(self) -> None:
        self._node.darc("stop_master")

    def _begin_another(self) -> None:
        directory = self._machine.telescope / uuid.uuid4().hex[:12]
        other = write_observation(
            directory,
            task_id=directory.name,
            source="OTHER",
            start=time.time(),
            duration=ANSWER_SECONDS,
            instances=1,
            n_tabs=1,
        )
        answered(self._node, "--parset", str(other.parset), "start_observation")
        lines = [(0.0, line) for line in dim_lines(OTHER_LINES)]
        files = TriggerFiles(
            other.amber_dir, [TimedFile(trigger_name(0, 1), format_header(), lines)], lambda: 0
        )
        files.play()
        name = time.strftime("%Y-%m-%d-%H:%M:%S.OTHER", time.gmtime(other.start))
        books = self._machine.parsets / name / f"books.{self._node.hostname}.json"
        self._other = other, files.lines, books
        time.sleep(BETWEEN_STARTS)

    def _stop_another(self) -> None:
        assert self._other
        answered(self._node, "--parset", str(self._other[0].parset), "stop_observation")
