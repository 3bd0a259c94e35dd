"""How many candidate lines per second go from trigger files to clusters, with the journal on.

python -m benchmarks.throughput [--rate 300000] [--seconds 10]

Three trigger files grow at the given rate, half of their lines above the threshold; amber_listener,
the journalled queue and amber_clustering work, and processor reads beside. Printed is how far each
is behind while lines come, and how long after the last line all were clustered.
"""

from __future__ import annotations

import argparse
import random
import time
from io import FileIO

from simulator.amber_files import format_header
from simulator.demo_node import TemporaryNode
from simulator.write_parsets import write_observation

TASK = "throughput"
STEPS_PER_SECOND = 50
BATCH_SECONDS = 1.024


def block(rate: int, second: int, part: int, rng: random.Random) -> bytes:
    """The lines of a fiftieth of a second, in one file."""
    lines = []
    for _ in range(rate // 3 // STEPS_PER_SECOND):
        moment = second + (part + rng.random()) / STEPS_PER_SECOND
        batch = int(moment / BATCH_SECONDS)
        sample = int((moment - batch * BATCH_SECONDS) / 81.92e-6)
        time_s = batch * BATCH_SECONDS + sample * 81.92e-6
        snr = rng.uniform(8.0, 12.0)
        dm = rng.randrange(4000) * 0.2
        lines.append(
            f"{rng.randrange(12)} {batch} {sample} 1 1 {time_s:.6g} 283 {dm:.6g} 1 {snr:.6g}\n"
        )
    return "".join(lines).encode()


def observe(node: TemporaryNode, task_id: str, duration: float) -> list[FileIO]:
    """Start an observation, and return its trigger files, ready to be written."""
    observation = write_observation(
        node.home / "data",
        task_id=task_id,
        source="FAKE",
        start=time.time() + 0.5,
        duration=duration,
    )
    paths = [observation.amber_dir / f"CB00_step{step}.trigger" for step in (1, 2, 3)]
    files = [path.open("ab", buffering=0) for path in paths]
    for file in files:
        file.write(format_header())
    node.ask("start_observation", payload=observation.parset)
    time.sleep(2.0)
    return files


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=300_000, help="lines per second, in all files")
    parser.add_argument("--seconds", type=int, default=10)
    options = parser.parse_args()
    rng = random.Random(1)
    print(f"making {options.rate * options.seconds:,} lines ...", flush=True)
    blocks = [
        [[block(options.rate, second, part, rng) for _ in range(3)] for part in range(50)]
        for second in range(options.seconds)
    ]
    lines = sum(data.count(b"\n") for parts in blocks for part in parts for data in part)
    node = TemporaryNode(sections={"darc_master": {"setup_time": 0.1}})
    try:
        node.start()
        files = observe(node, TASK, options.seconds + 5)
        began, before = time.monotonic(), processor_times(node)
        written = 0
        for second, parts in enumerate(blocks):
            for part, contents in enumerate(parts):
                due = began + second + part / STEPS_PER_SECOND
                time.sleep(max(0.0, due - time.monotonic()))
                for file, data in zip(files, contents, strict=True):
                    file.write(data)
                    written += data.count(b"\n")
            report(node, time.monotonic() - began, written)
        ended = time.monotonic()
        while report(node, time.monotonic() - began, written) < written:
            time.sleep(0.25)
            if time.monotonic() > ended + 120:
                break
        print(
            f"{lines:,} lines written in {ended - began:.1f} s ({lines / (ended - began):,.0f}/s);"
            f" all clustered {time.monotonic() - ended:.1f} s later (gather window included)"
        )
        print("processor time for a line:")
        for name, seconds in processor_times(node).items():
            took = seconds - before.get(name, 0.0)
            if took > 0.01:
                print(f"  {name:<20} {took / lines * 1e6:6.2f} us")
    finally:
        node.stop()
        node.remove()


def processor_times(node: TemporaryNode) -> dict[str, float]:
    """Return the processor time of each process of a node until now (s)."""
    found = {}
    for process in node.processes():
        words, times = process.cmdline(), process.cpu_times()
        name = words[words.index("-m") + 1] if "-m" in words else words[0]
        name = name.removeprefix("darc.services.")
        found[name] = found.get(name, 0.0) + times.user + times.system
    return found


def report(node: TemporaryNode, elapsed: float, written: int) -> int:
    """Print how far each service is, and return how many candidates have been dealt with."""
    counts = node.counts(TASK)
    read = counts.get("amber_listener", {}).get("candidates", 0)
    books = counts.get("amber_clustering", {})
    done = books.get("clustered", 0)
    done += sum(number for key, number in books.items() if key.startswith("rejected"))
    depths = node.master_attribute("queue_depths")
    print(
        f"{elapsed:6.1f} s: written {written:>10,}  read {read:>10,}  clustered {done:>10,}",
        depths,
        flush=True,
    )
    return done


if __name__ == "__main__":
    main()
