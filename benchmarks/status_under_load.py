"""How long the master takes for the status of eight services while it has a hard time.

python -m benchmarks.status_under_load [--rate 300000] [--questions 300]

Beside it: clients that hang in the middle of a message, a service stopped by SIGSTOP, and trigger
files that grow at the given rate, as in benchmarks.throughput. Target: 5 ms, median.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.throughput import STEPS_PER_SECOND, block
from darc.node.supervisor import Supervisor
from simulator.amber_files import format_header
from simulator.demo_node import TemporaryNode
from simulator.write_parsets import write_observation

LOAD_SECONDS = 8
HANGING = 5


def write(directory: Path, rate: int) -> None:
    """Make the lines, say so, and write them at the rate."""
    rng = random.Random(1)
    parts = [
        [block(rate, second, part, rng) for _ in range(3)]
        for second in range(LOAD_SECONDS)
        for part in range(STEPS_PER_SECOND)
    ]
    files = [(directory / f"CB00_step{step}.trigger").open("ab", buffering=0) for step in (1, 2, 3)]
    for file in files:
        file.write(format_header())
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.monotonic()
    for number, contents in enumerate(parts):
        time.sleep(max(0.0, began + number / STEPS_PER_SECOND - time.monotonic()))
        for file, data in zip(files, contents, strict=True):
            file.write(data)


def measure(node: TemporaryNode, questions: int) -> list[float]:
    """Ask for the status of all services; how long each answer took (ms)."""
    times = []
    for _ in range(questions):
        began = time.perf_counter()
        node.states()
        times.append((time.perf_counter() - began) * 1e3)
        time.sleep(0.02)
    return sorted(times)


def report(what: str, times: list[float]) -> None:
    high = times[int(0.99 * len(times))]
    print(f"{what:<46} median {statistics.median(times):5.2f} ms  99 % {high:6.2f} ms", flush=True)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=300_000, help="lines per second, in all files")
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        write(options.write, options.rate)
        return
    node = TemporaryNode(sections={"darc_master": {"setup_time": 0.1}})
    try:
        node.start()
        report("idle", measure(node, options.questions))
        hanging = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(HANGING)]
        for client in hanging:
            client.sendall(b"{'service': 'all', ")
        supervisor = Supervisor(node.run_dir / "supervisord.sock", timeout=5.0)
        stopped = supervisor.processes()["offline_processing"].pid
        os.kill(stopped, signal.SIGSTOP)
        report("hanging clients, a stopped service", measure(node, options.questions))
        observation = write_observation(
            node.home / "data", task_id="load", source="FAKE", start=time.time() + 0.5, duration=600
        )
        node.ask("start_observation", payload=observation.parset)
        command = [sys.executable, "-m", "benchmarks.status_under_load", "--rate"]
        load = subprocess.Popen(
            [*command, str(options.rate), "--write", str(observation.amber_dir)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert load.stdin
        assert load.stdout
        load.stdout.readline()
        load.stdin.write("go\n")
        load.stdin.flush()
        questions = min(options.questions, int(LOAD_SECONDS / 0.03))
        report(f"and {options.rate:,} lines per second", measure(node, questions))
        load.wait()
        os.kill(stopped, signal.SIGCONT)
        for client in hanging:
            client.close()
    finally:
        node.stop()
        node.remove()


if __name__ == "__main__":
    main()
