"""Observations that are replayed while faults strike; afterwards the books have to balance.

python tests/faults/fault_runner.py --seed 1 --runs 200
"""

from __future__ import annotations

import argparse
import shutil
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.append(str(Path(__file__).resolve().parents[2]))  # for the simulator

from faults.alert_orders import AlertOrders
from faults.beginnings import Beginnings, answered
from faults.books import Books, are_of_run, read_books
from faults.fault_plan import DEADLY, Fault, Kind, draw
from faults.machine import Machine, unavailable
from faults.outside import Outside
from faults.processing import N_TABS, Processing
from faults.strikes import JOURNAL_BYTES, Strikes
from faults.trigger_files import TriggerFiles, wild_lines
from nodes import wait_for

from simulator.generator import (
    AmberSearch,
    Burst,
    make_observation_candidates,
    random_bursts,
    timed_files,
)
from simulator.write_parsets import MadeObservation, write_observation

#: Small batches, so that a few seconds hold many windows; a window holds just one batch.
BATCH_SAMPLES = 2500
SEARCH = AmberSearch(batch_samples=BATCH_SAMPLES)
DURATION = 20 * SEARCH.batch_length_s
#: Of the observation, s: one that is started late, or again, must not be in the past by then.
OBSERVATION_SECONDS = 600.0
GATHER_SECONDS = 0.15
CONTENT_SEED = 7
N_BURSTS = 8
#: One of the bursts is an injection: nothing of it leaves but a notice of that.
INJECTED = 1
RECOVERY_SECONDS = 60.0
#: Threads and descriptors of who has had a connection by each road; before it has, it has fewer.
OF_ALL_ROADS = {"voevent_generator": 40}
BOOKS_SECONDS = 5.0


class FaultRun:
    """One node, and observations on it, one after the other."""

    def __init__(self, machine: Machine, outside: Outside) -> None:
        self._machine, self._node, self._outside = machine, machine.node, outside
        self._sent_again = 0
        self._points = machine.telescope / "fault_points"
        self._points.mkdir()
        self._node.environment["DARC_FAULT_POINTS"] = str(self._points)
        bursts = [
            Burst(
                time_s=burst.time_s,
                dm=burst.dm,
                width_samples=burst.width_samples,
                snr=burst.snr,
                beam=burst.beam,
            )
            for burst in random_bursts(
                N_BURSTS, DURATION, (300.0, 2000.0), CONTENT_SEED, separation=0.3, margin=0.1
            )
        ]
        injected = bursts[INJECTED]
        width = injected.width_samples * SEARCH.tsamp * 1e3
        self._injection = f"{injected.time_s} {injected.dm} {injected.snr} {width}\n"
        self._files = timed_files(
            make_observation_candidates(
                bursts, duration=DURATION, seed=CONTENT_SEED, interference_rate=300.0, search=SEARCH
            ),
            beam=0,
        )
        made = machine.telescope / "made"
        self._processing = Processing(machine.share_directory, made, bursts, SEARCH, DURATION)
        self._node.configure(
            instrument={"batch_length_samples": BATCH_SAMPLES},
            # Without what works on data until the end that was planned.
            darc_master={"journal_max_bytes": JOURNAL_BYTES, "mode": "real-time"},
            amber_clustering={
                "interval": GATHER_SECONDS,
                "clustering_window": SEARCH.batch_length_s,
                "thresh_iquv": {"interval": 0.0},
            },
            **outside.configuration(),
        )
        self._node.configure(**self._processing.configuration())
        self._orders = AlertOrders(self._node, outside.roads, self._node.home / "notices")
        self._strikes = Strikes(machine, outside, self._processing, self._orders, self._points)
        self._beginnings = Beginnings(machine, self._strikes, self._files)

    def start(self) -> None:
        """Start the node; all there is then has been on its disk for long."""
        self._node.run("darc_start_all_services")
        wait_for(self._node.all_run, RECOVERY_SECONDS, "all services running")
        self._machine.flush()

    # -- an observation --------------------------------------------------------------------------

    def observe(self, faults: Sequence[Fault]) -> Books:
        """Replay the observation while the faults strike, and return its books.

        :raises AssertionError: something is wrong that leaves no books
        """
        self._strikes.problems.clear()
        beginning = [fault for fault in faults if fault.time < 0]
        observation, output, data = self._place()
        files = TriggerFiles(
            observation.amber_dir, self._files, lambda: self._lines_read(observation.task_id)
        )
        self._strikes.files = files
        injections = observation.amber_dir / "injections.txt"
        injections.write_text(self._injection)
        self._outside.begin(time.strftime("%Y-%m-%d-%H:%M:%S", time.gmtime(observation.start)))
        path = self._books_file(observation.parset)
        self._orders.begin(faults)
        self._beginnings.begin(observation, beginning, path)
        playing = [
            threading.Thread(target=self._strikes.note, args=(what,))
            for what in (
                files.play,
                lambda: self._processing.play(data),
                lambda: self._remove_list(injections, observation.task_id),
            )
        ]
        for thread in playing:
            thread.start()
        self._strikes.strike([one for one in faults if 0 <= one.time < DURATION], time.monotonic())
        for thread in playing:
            thread.join()
        self._recover()
        run = self._node.run_key(observation.task_id)
        answered(self._node, "--parset", str(observation.parset), "stop_observation")
        if late := [fault for fault in faults if fault.time >= DURATION]:
            self._strikes.strike(late, time.monotonic() - DURATION)
            self._recover()
        self._node.wait_until_over(observation.task_id, RECOVERY_SECONDS * 2)
        wait_for(lambda: are_of_run(path, run), BOOKS_SECONDS, "the observation's books")
        books, counts = read_books(path)
        books.processed = self._processing.read(counts, output, path.parent.name)
        books.lines = files.lines
        wait_for(self._is_empty, RECOVERY_SECONDS * 2, "nothing left in the node")
        wait_for(self._orders.is_done, RECOVERY_SECONDS, "no retraction owed")
        path.unlink()
        self._strikes.problems += self._beginnings.end()
        shutil.rmtree(observation.parset.parent)
        shutil.rmtree(output)
        books.announced = self._orders.announced(self._outside.events)
        books.reached = self._outside.reached(observation.start)
        books.again["dumps"] = sum(times - 1 for times in books.asked.values())
        sent_again = self._node.value("lofar_trigger", "outcomes").get("sent again", 0)
        books.again["packets"] = sent_again - self._sent_again
        self._sent_again = sent_again
        return books

    @property
    def problems(self) -> list[str]:
        """What went wrong in the last observation besides its books."""
        return self._strikes.problems

    def _place(self) -> tuple[MadeObservation, Path, Path]:
        """Make one: returns it, the node's directory for its output, and the telescope's data."""
        task_id = uuid.uuid4().hex[:12]
        output = self._node.home / "output" / task_id
        directory = self._machine.telescope / task_id
        observation = write_observation(
            directory,
            task_id=task_id,
            source="FAKE",
            start=time.time() + 0.3,
            duration=OBSERVATION_SECONDS,
            instances=len(self._files),
            n_tabs=N_TABS,
            pointing=(90.0, 60.0),
            more={"output_dir": output},
        )
        data = self._processing.place(directory / "filterbank")
        output.mkdir(parents=True)
        (output / "filterbank").symlink_to(directory / "filterbank")
        self._machine.flush()
        return observation, output, data

    def _remove_list(self, injections: Path, task_id: str) -> None:
        """Remove the list of injections once the lines that follow it are read: nobody needs it."""
        wait_for(lambda: self._lines_read(task_id) > 0, RECOVERY_SECONDS * 2, "lines read")
        injections.unlink()

    def _lines_read(self, task_id: str) -> int:
        try:
            return self._node.counts("amber_listener", task_id).get("lines", 0)
        except (KeyError, TypeError, ValueError, SyntaxError, OSError):
            return 0  # it does not answer; or the master does not

    def _is_empty(self) -> bool:
        """Whether nothing waits in the node, and the receivers have read what they got."""
        for attribute in ("queue_depths", "observations"):
            if not str(self._node.ask("get_attr", attribute)).endswith("= {}"):
                return False
        waiting = {
            "lofar_trigger": "packets_waiting': 0}",
            "voevent_generator": "events_waiting': []}",
        }
        return all(
            end in str(self._node.ask("--service", service, "get_attr", end.split("'")[0]))
            for service, end in waiting.items()
        )

    def _books_file(self, parset: Path) -> Path:
        name = next(
            line.split("=")[1].strip()
            for line in parset.read_text().splitlines()
            if line.startswith("datetimesource")
        )
        return self._machine.parsets / name / f"books.{self._node.hostname}.json"

    # -- afterwards ------------------------------------------------------------------------------

    def _recover(self) -> None:
        """What an operator does in the morning, where it is needed; then all have to run."""
        self._node.configure()
        for point in self._points.iterdir():
            point.unlink()
        started = self._node.run("darc_start_master")
        if started.returncode != 0:
            said = started.stdout + started.stderr
            self._node.run("darc_kill_all")
            raise AssertionError(f"darc_start_master failed: {said}")
        self._strikes.reload(journal_max_bytes=JOURNAL_BYTES)
        wait_for(self._node.all_run, RECOVERY_SECONDS, "all services running")

    def give_up(self) -> None:
        """Have the node as it was at the start: the next run is not of this one's making."""
        self._node.run("darc_kill_all")
        self._processing.bring_results_back()
        self._node.configure()
        self.start()
        self._node.darc("abort_all")

    def leftovers(self, before: dict[str, Counter[str]], deaths: int) -> list[str]:
        """Descriptors, threads and files that are more than before the run.

        :param deaths: each may leave one file half written
        """
        found = []
        now = self.inventory()
        for name, counts in now.items():
            for what, number in counts.items():
                allowed = before[name][what] + (3 if what != "temporary files" else deaths)
                allowed = max(allowed, OF_ALL_ROADS.get(name, 0))
                if number > allowed:
                    found.append(f"{name}: {what} {before[name][what]} before, {number} after")
        return found

    def inventory(self) -> dict[str, Counter[str]]:
        """Descriptors and threads of each process, and temporary files."""
        counts: dict[str, Counter[str]] = {}
        for name, process in self._node.supervisor.processes().items():
            living = psutil.Process(process.pid)
            counts[name] = Counter(descriptors=living.num_fds(), threads=living.num_threads())
        temporary = [path for path in self._node.home.rglob("*.new") if path.is_file()]
        counts["the home"] = Counter({"temporary files": len(temporary)})
        return counts


@contextmanager
def faulty_node() -> Iterator[tuple[FaultRun, Machine]]:
    """A node that faults can strike, not started yet."""
    with closing(Outside()) as outside, closing(Machine(uuid.uuid4().hex)) as machine:
        yield FaultRun(machine, outside), machine


def run_all(plans: dict[str, list[Fault]], *, say: Callable[[str], object] = print) -> int:
    """Do runs with the faults of each plan; returns how many failed."""
    failed, skipped, counts = 0, unavailable(), Counter[Kind]()
    for kind, reason in skipped.items():
        say(f"skipped: {kind}: {reason}")
    with faulty_node() as (faulty, machine):
        faulty.start()
        reference = faulty.observe([])
        assert not reference.problems(), reference.problems()
        assert len(reference.announced.injected) == 1, reference.announced.events
        assert len(reference.triggers["iquv"]) == len(reference.reached.dumps) == N_BURSTS - 1
        say(f"undisturbed: {reference.lines} lines, triggers {reference.triggers}")
        say(f"reached: {reference.reached}")
        say(f"announced: {reference.announced.kinds}")
        say(f"processed: {reference.processed.summary}, {reference.processed.counts}")
        for name, plan in plans.items():
            faults = [fault for fault in plan if fault.kind not in skipped]
            counts.update(fault.kind for fault in faults)
            began = time.monotonic()
            problems = _one_run(faulty, faults, reference)
            seconds = f"{time.monotonic() - began:.0f} s"
            what = "; ".join(map(str, faults))
            say(f"{name}: {what}: {problems or 'balanced'} ({seconds})")
            if problems:
                failed += 1
                logs = Path(f"/tmp/darc-faults-{name.replace(' ', '-')}")
                shutil.copytree(machine.logs, logs, dirs_exist_ok=True)
    say("struck: " + ", ".join(f"{kind} {count}" for kind, count in counts.most_common()))
    say(f"{len(plans)} runs, {failed} failed")
    return failed


def _one_run(faulty: FaultRun, faults: list[Fault], reference: Books) -> list[str]:
    """What does not add up after a run."""
    before = faulty.inventory()
    try:
        books = faulty.observe(faults)
    except AssertionError as error:
        problems = [*faulty.problems, str(error)]
        faulty.give_up()
        return problems
    n_wild = sum(fault.kind is Kind.WILD_VALUES for fault in faults) * len(wild_lines(0.0))
    n_more = books.candidates - reference.candidates
    deaths = sum(fault.kind in DEADLY for fault in faults)
    problems = faulty.problems + books.problems() + faulty.leftovers(before, deaths)
    if not 0 <= n_more <= n_wild:
        problems.append(f"{n_more} candidates more than undisturbed")
    if books.triggers != reference.triggers:
        problems.append(f"triggers {books.triggers}, undisturbed {reference.triggers}")
    runs = 1 + sum(fault.kind is Kind.AGAIN for fault in faults)
    problems += books.reached.differs(reference.reached, books.again, runs)
    problems += books.announced.differs(reference.announced, runs)
    return problems + books.processed.differs(reference.processed, n_more)


def plans_of_seeds(first: int, count: int) -> dict[str, list[Fault]]:
    """Plans by the seeds that they are drawn from."""
    return {f"seed {seed}": draw(seed, DURATION) for seed in range(first, first + count)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args()
    plans = plans_of_seeds(options.seed, options.runs)
    return 1 if run_all(plans, say=lambda text: print(text, flush=True)) else 0


if __name__ == "__main__":
    sys.exit(main())
