"""What a node holds in memory after an observation: python -m benchmarks.memory.

PSS: memory that is shared between processes counts for each in its part, so that it adds up.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import psutil

from simulator import demo_bursts
from simulator.demo_node import DemoError, TemporaryNode
from simulator.generator import timed_files
from simulator.player import Player
from simulator.write_parsets import write_observation

TARGET = 300.0  # MB
OVER_SECONDS = 60.0
#: Processes that extract end after a minute without work: then the node is idle.
IDLE_SECONDS = 120.0
EXTRACTS = "darc.candidates.pool_process"


def observe(node: TemporaryNode, duration: float) -> None:
    """Run an observation with bursts, and wait until it is over."""
    generated = demo_bursts.make(2, duration, 1)
    lead = 2.0
    observation = write_observation(
        node.home / "observation",
        task_id="memory",
        source="DEMO",
        start=time.time() + lead,
        duration=duration,
        n_sbs=demo_bursts.SEARCH.beams,
    )
    node.ask("start_observation", payload=observation.parset)
    start = time.monotonic() + lead
    Player(observation.amber_dir, timed_files(generated, beam=0)).play(start=start)
    time.sleep(max(0.0, start + duration - time.monotonic()))
    node.ask("stop_observation", payload=observation.parset)
    deadline = time.monotonic() + OVER_SECONDS
    while "memory" in node.master_attribute("observations"):
        if time.monotonic() > deadline:
            raise DemoError(f"the observation is not over after {OVER_SECONDS:.0f} s")
        time.sleep(0.2)
    read = node.counts("memory")["amber_listener"]["candidates"]
    print(f"After an observation of {duration:g} s with {read} candidates:")


def pss(process: psutil.Process) -> float:
    """Proportional set size (MB)."""
    text = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("Pss:")]
    return int(line.split()[1]) * 1024 / 1e6


def name(process: psutil.Process) -> str:
    """The last part of the module that a process runs."""
    words = process.cmdline()
    return words[words.index("-m") + 1] if "-m" in words else words[0]


def extracting(node: TemporaryNode) -> list[float]:
    """Of the processes that extract (MB)."""
    return [pss(one) for one in node.processes() if name(one) == EXTRACTS]


def wait_until_idle(node: TemporaryNode) -> None:
    """Wait until none of them is left."""
    deadline = time.monotonic() + IDLE_SECONDS
    while extracting(node):
        if time.monotonic() > deadline:
            raise DemoError(f"still extracting after {IDLE_SECONDS:.0f} s")
        time.sleep(1.0)


def main() -> None:
    """Measure, and print every process and the sum."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--duration", type=float, default=20.0, help="of the observation, s")
    args = parser.parse_args()
    node = TemporaryNode()
    try:
        node.start()
        before = sum(map(pss, node.processes()))
        observe(node, args.duration)
        working = extracting(node)
        wait_until_idle(node)
        found = sorted(((pss(one), name(one)) for one in node.processes()), reverse=True)
    finally:
        node.stop()
        node.remove()
    for size, what in found:
        print(f"  {what:<36} {size:6.1f} MB")
    total = sum(size for size, _ in found)
    print(f"  {len(found)} processes together{'':<17} {total:6.1f} MB  (target: {TARGET:.0f} MB)")
    print(f"  before the observation{'':<14} {before:6.1f} MB")
    more = ", ".join(f"{size:.1f} MB" for size in working) or "none"
    print(f"  beside them until a minute after: processes that extract: {more}")


if __name__ == "__main__":
    main()
