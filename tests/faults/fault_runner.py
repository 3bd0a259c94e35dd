"""Observations that are replayed while faults strike; afterwards the books have to balance.

python tests/faults/fault_runner.py --seed 1 --runs 200
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import threading
import time
import uuid
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faults.fault_plan import POOL, Fault, Kind, draw
from faults.outside import Outside, Reached
from faults.processing import N_TABS, Processed, Processing
from nodes import Node, node, wait_for

from darc.node.supervisor import SupervisorError
from darc.replay.generator import (
    Burst,
    Search,
    make_observation_candidates,
    random_bursts,
    timed_files,
)
from darc.replay.observation import write_observation
from darc.replay.player import Player

#: Small batches, so that a few seconds hold many windows; a window holds just one batch.
BATCH_SAMPLES = 2500
SEARCH = Search(batch_samples=BATCH_SAMPLES)
DURATION = 20 * SEARCH.batch_length_s
GATHER_SECONDS = 0.15
CONTENT_SEED = 7
RECOVERY_SECONDS = 15.0
JOURNAL_BYTES = 2**30


@dataclass
class Books:
    """What an observation came to."""

    lines: int = 0
    listener: dict[str, int] = field(default_factory=dict)
    clustering: dict[str, int] = field(default_factory=dict)
    triggers: dict[str, list[str]] = field(default_factory=dict)  # kind → window/DM bin
    asked: dict[str, int] = field(default_factory=dict)  # by dada_trigger: → how often
    outcomes: set[str] = field(default_factory=set)  # of these
    processed: Processed = field(default_factory=Processed)
    reached: Reached = field(default_factory=Reached)
    again: Counter[str] = field(default_factory=Counter)  # sent once more, as the node counted

    @property
    def candidates(self) -> int:
        return self.listener.get("candidates", 0)

    def problems(self) -> list[str]:
        """What does not add up."""
        found = []
        rejected = sum(n for key, n in self.listener.items() if key.startswith("rejected"))
        accounted = self.candidates + self.listener.get("headers", 0) + rejected
        if self.listener.get("lines") != self.lines or accounted != self.lines:
            found.append(f"{self.lines} lines written, {self.listener} accounted for")
        rejected = sum(n for key, n in self.clustering.items() if key.startswith("rejected"))
        if self.clustering.get("clustered", 0) + rejected != self.candidates:
            found.append(f"{self.candidates} candidates handed on, {self.clustering} accounted for")
        if sorted(self.asked) != sorted(self.triggers.get("iquv", [])):
            found.append(f"decided {self.triggers.get('iquv')}, asked for {sorted(self.asked)}")
        if not self.outcomes <= {"sent", "sent, not confirmed"}:
            found.append(f"dumps: {self.outcomes}")
        return found + self.processed.problems(self.candidates)


class FaultRun:
    """One node, and observations on it, one after the other."""

    def __init__(self, made: Node, outside: Outside) -> None:
        self._node = made
        self._outside = outside
        self._sent_again = 0
        self._points = made.home / "fault_points"
        self._points.mkdir()
        made.environment["DARC_FAULT_POINTS"] = str(self._points)
        made.configure(
            instrument={"batch_length_samples": BATCH_SAMPLES},
            darc_master={"journal_max_bytes": JOURNAL_BYTES},
            amber_clustering={
                "interval": GATHER_SECONDS,
                "clustering_window": SEARCH.batch_length_s,
                "thresh_iquv": {"interval": 0.0},
            },
            **outside.configuration(),
        )
        bursts = [
            Burst(
                time_s=burst.time_s,
                dm=burst.dm,
                width_samples=burst.width_samples,
                snr=burst.snr,
                beam=burst.beam,
            )
            for burst in random_bursts(
                8, DURATION, (300.0, 2000.0), CONTENT_SEED, separation=0.3, margin=0.1
            )
        ]
        self._generated = make_observation_candidates(
            bursts, duration=DURATION, seed=CONTENT_SEED, interference_rate=300.0, search=SEARCH
        )
        self._processing = Processing(made.home, bursts, SEARCH, DURATION)
        made.configure(**self._processing.configuration())

    # -- an observation --------------------------------------------------------------------------

    def observe(self, faults: list[Fault]) -> Books:
        """Replay the observation while the faults strike, and return its books."""
        task_id = uuid.uuid4().hex[:12]
        directory = self._node.home / "data" / task_id
        files = timed_files(self._generated, beam=0)
        observation = write_observation(
            directory,
            task_id=task_id,
            source="FAKE",
            start=time.time() + 0.3,
            duration=DURATION,
            instances=len(files),
            n_tabs=N_TABS,
            pointing=(90.0, 60.0),
        )
        data = self._processing.place(directory / "output")
        self._outside.begin(time.strftime("%Y-%m-%d-%H:%M:%S", time.gmtime(observation.start)))
        reply = self._node.darc("--parset", str(observation.parset), "start_observation")
        assert reply.returncode == 0, reply.stdout
        player = Player(observation.amber_dir, files)
        playing = [
            threading.Thread(target=player.play),
            threading.Thread(target=self._processing.play, args=(data,)),
        ]
        for thread in playing:
            thread.start()
        self._let_strike([fault for fault in faults if fault.time < DURATION], time.monotonic())
        for thread in playing:
            thread.join()
        self._recover()
        wait_for(
            lambda: (
                self._node.darc("--parset", str(observation.parset), "stop_observation").returncode
                == 0
            ),
            RECOVERY_SECONDS,
            "stop_observation accepted",
        )
        if late := [fault for fault in faults if fault.time >= DURATION]:
            self._let_strike(late, time.monotonic() - DURATION)
            self._recover()
        path = self._books_file(observation.parset)
        wait_for(path.exists, RECOVERY_SECONDS * 2, "the observation's books")
        books = self._read(path, directory / "output")
        books.lines = sum(len(file.lines) + 1 for file in files)
        shutil.rmtree(directory)
        try:
            wait_for(lambda: not self._left(), RECOVERY_SECONDS * 2)
        except AssertionError as error:
            raise AssertionError(f"left in the node: {self._left()}") from error
        books.reached = self._outside.reached(observation.start)
        books.again["dumps"] = sum(times - 1 for times in books.asked.values())
        sent_again = self._outcomes("lofar_trigger").get("sent again", 0)
        books.again["packets"] = sent_again - self._sent_again
        self._sent_again = sent_again
        return books

    def _left(self) -> str:
        """What waits in the node; empty: nothing, and the receivers have read what they got."""
        left = []
        depths = str(self._node.ask("get_attr", "queue_depths"))
        if not depths.endswith("= {}"):
            left.append(depths)
        waiting = {
            "lofar_trigger": "packets_waiting': 0}",
            "voevent_generator": "events_waiting': []}",
        }
        for service, end in waiting.items():
            answer = str(self._node.ask("--service", service, "get_attr", end.split("'")[0]))
            if end not in answer:
                left.append(answer)
        return "; ".join(left)

    def _outcomes(self, service: str) -> dict[str, int]:
        answer = self._node.ask("--service", service, "get_attr", "outcomes")[service]
        found: dict[str, int] = ast.literal_eval(answer.split(": ", 1)[1][:-1])
        return found

    def _books_file(self, parset: Path) -> Path:
        name = next(
            line.split("=")[1].strip()
            for line in parset.read_text().splitlines()
            if line.startswith("datetimesource")
        )
        return self._node.home / "parsets" / name / "books.testnode.json"

    def _read(self, path: Path, output: Path) -> Books:
        books = json.loads(path.read_text())
        memory = books["amber_clustering"]
        dumps = {
            key: row
            for key, row in books.get("dada_trigger", {}).items()
            if key.startswith("dump ")
        }
        triggers: dict[str, list[str]] = {}
        for key, value in memory.items():
            if key.startswith("window "):
                for kind, dm_bins in value["passed on"].items():
                    triggers.setdefault(kind, []).extend(f"{key[7:]}/{dm}" for dm in dm_bins)
        processed = self._processing.read(
            books["processor"].get("counts", {}), output, path.parent.name
        )
        path.unlink()
        return Books(
            listener=books["amber_listener"].get("counts", {}),
            clustering=memory.get("counts", {}),
            triggers={kind: sorted(identities) for kind, identities in triggers.items()},
            asked={key.split("/", 1)[1]: row["asked"] for key, row in dumps.items()},
            outcomes={row["outcome"] for row in dumps.values()},
            processed=processed,
        )

    # -- faults ----------------------------------------------------------------------------------

    def _let_strike(self, faults: list[Fault], began: float) -> None:
        striking = [threading.Thread(target=self._strike, args=(fault, began)) for fault in faults]
        for thread in striking:
            thread.start()
        for thread in striking:
            thread.join()

    def _strike(self, fault: Fault, began: float) -> None:
        time.sleep(max(0.0, began + fault.time - time.monotonic()))
        action = {
            Kind.KILL: lambda: self._signal(fault.target, signal.SIGKILL),
            Kind.STOP: lambda: self._pause(self._pid(fault.target), fault.duration),
            Kind.DIE_AT: (self._points / fault.target).touch,
            Kind.KILL_SUPERVISORD: self._kill_supervisord,
            Kind.STOP_SUPERVISORD: lambda: self._pause(self._supervisord(), fault.duration),
            Kind.FULL_JOURNAL: lambda: self._fill_journal(fault.duration),
            Kind.REMOVE_LOGS: lambda: shutil.rmtree(self._node.home / "log", ignore_errors=True),
            Kind.REMOVE_SOCKET: lambda: (self._node.run_dir / fault.target).unlink(missing_ok=True),
            Kind.RUBBISH_CONFIG: self._rubbish,
            Kind.FLOOD: self._flood,
            Kind.OUTSIDE_AWAY: lambda: self._outside.go_away(fault.duration),
            Kind.RESULTS_AWAY: lambda: self._processing.take_results_away(fault.duration),
            Kind.DATA_STOP: lambda: self._processing.stop_data(fault.duration),
        }[fault.kind]
        action()

    def _pid(self, name: str) -> int | None:
        """Of a service, or of the process that works for the processor."""
        try:
            if name != POOL:
                return self._node.supervisor.processes()[name].pid or None
            processor = self._pid("processor")
            if processor is None:  # psutil would take it for this process
                return None
            children = psutil.Process(processor).children()
            return children[0].pid if children else None
        except (SupervisorError, OSError, psutil.NoSuchProcess):
            return None  # another fault was here before

    def _supervisord(self) -> int | None:
        try:
            return int((self._node.run_dir / "supervisord.pid").read_text())
        except (OSError, ValueError):
            return None

    def _signal(self, service: str, number: signal.Signals) -> None:
        _send(self._pid(service), number)

    @staticmethod
    def _pause(pid: int | None, duration: float) -> None:
        _send(pid, signal.SIGSTOP)
        time.sleep(duration)
        _send(pid, signal.SIGCONT)

    def _kill_supervisord(self) -> None:
        _send(self._supervisord(), signal.SIGKILL)
        self._node.run("darc_start_master")

    def _fill_journal(self, duration: float) -> None:
        """No page more than now, and a reader that does not take what is in the queue."""
        reader = self._pid("processor")
        _send(reader, signal.SIGSTOP)
        self._reload(journal_max_bytes=4096)
        time.sleep(duration)
        self._reload(journal_max_bytes=JOURNAL_BYTES)
        _send(reader, signal.SIGCONT)

    def _reload(self, **master: Any) -> None:
        self._node.configure(darc_master=master)
        self._node.darc("reload")

    def _rubbish(self) -> None:
        path = self._node.home / "config.yaml"
        path.write_text("amber_clustering: {interval: soon\n\x00")
        self._node.darc("reload")
        time.sleep(0.3)
        self._node.configure()

    def _flood(self) -> None:
        sockets = []
        for number in range(300):
            try:
                connection = socket.create_connection(("127.0.0.1", self._node.port), timeout=0.5)
                connection.sendall(b"{" if number % 2 else os.urandom(512))
            except OSError:
                continue
            sockets.append(connection)
        time.sleep(0.3)
        for connection in sockets:
            connection.close()

    # -- afterwards ------------------------------------------------------------------------------

    def _recover(self) -> None:
        """What an operator does in the morning, where it is needed; then all have to run."""
        self._node.configure()
        for point in self._points.iterdir():
            point.unlink()
        if self._node.run("darc_start_master").returncode != 0:
            self._node.run("darc_kill_all")
            raise AssertionError(
                "darc_start_master failed\n" + self._node.log("darc_master")[-3000:]
            )
        self._reload(journal_max_bytes=JOURNAL_BYTES)
        wait_for(self._all_running, RECOVERY_SECONDS, "all services running")

    def _all_running(self) -> bool:
        result = self._node.darc("--json", "--service", "all", "status")
        if result.returncode != 0:
            return False
        return set(json.loads(result.stdout)["message"].values()) == {"running"}

    def leftovers(self, before: dict[str, Counter[str]]) -> list[str]:
        """Descriptors, threads and files that are more than before the run."""
        found = []
        now = self.inventory()
        for name, counts in now.items():
            for what, number in counts.items():
                allowed = before[name][what] + (3 if what != "temporary files" else 0)
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


def _send(pid: int | None, number: signal.Signals) -> None:
    if pid:
        with contextlib.suppress(ProcessLookupError):  # it was hit by another fault
            os.kill(pid, number)


def run_all(seed: int, runs: int, *, say: Any = print) -> int:
    """Do runs with the seeds from ``seed`` up; returns how many failed."""
    failed = 0
    with closing(Outside()) as outside, node(uuid.uuid4().hex) as made:
        faulty = FaultRun(made, outside)
        made.start()
        reference = faulty.observe([])
        assert not reference.problems(), reference.problems()
        say(f"undisturbed: {reference.lines} lines, triggers {reference.triggers}")
        say(f"reached: {reference.reached}")
        say(f"processed: {reference.processed.summary}, {reference.processed.counts}")
        for number in range(seed, seed + runs):
            faults = draw(number, DURATION)
            before = faulty.inventory()
            try:
                books = faulty.observe(faults)
                problems = books.problems() + faulty.leftovers(before)
                if books.triggers != reference.triggers:
                    problems.append(f"triggers {books.triggers}, undisturbed {reference.triggers}")
                problems += books.reached.differs(reference.reached, books.again)
                problems += books.processed.differs(reference.processed)
            except AssertionError as error:
                problems = [str(error)]
            say(f"seed {number}: {'; '.join(map(str, faults))}: {problems or 'balanced'}")
            if problems:
                failed += 1
                shutil.copytree(made.home / "log", f"/tmp/darc-faults-{number}", dirs_exist_ok=True)
    say(f"{runs} runs, {failed} failed")
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args()
    return 1 if run_all(options.seed, options.runs, say=lambda text: print(text, flush=True)) else 0


if __name__ == "__main__":
    sys.exit(main())
