"""What a node holds in memory, idle and after an observation: python -m benchmarks.memory.

PSS: memory that is shared between processes counts for each in its part, so that it adds up; other
Python processes beside make it less. Its own is what no other process shares and nothing else
makes smaller (private and written). What counts is all of the default configuration: eight
services, darc_master, darc_monitor, supervisord.
"""

from __future__ import annotations

import argparse
import signal
import time
from pathlib import Path

import psutil

from simulator import demo_bursts
from simulator.demo_node import DemoError, TemporaryNode
from simulator.generator import timed_files
from simulator.player import Player
from simulator.ports import ReservedPort
from simulator.write_parsets import write_observation

TARGET = 180.0  # MB, idle
#: Of smaps_rollup: pages of a process alone that it has written.
OWN = "Private_Dirty"
#: Until what is loaded in the background after the start is there.
SETTLED_SECONDS = 5.0
#: Packages of some weight.
HEAVY = (
    "numpy numba h5py astropy erfa matplotlib rich twisted lxml jinja2 prometheus_client psutil"
    " yaml ssl email http xmlrpc multiprocessing asyncio sqlite3"
)
#: Directory in the home of a node whose processes write their modules there on SIGUSR2.
TELLER = "modules"
TELL_SECONDS = 20.0
SUPERVISORD = "darc.node.supervisord"
TELL_MODULES = """
import os, signal, sys

def tell(number, frame):
    path = os.path.join(os.path.dirname(__file__), str(os.getpid()))
    with open(path + ".new", "w") as file:
        file.write(" ".join(sys.modules))
    os.rename(path + ".new", path)

signal.signal(signal.SIGUSR2, tell)
"""
OVER_SECONDS = 180.0  # on a busy machine
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


def pss(process: psutil.Process, what: str = "Pss") -> float:
    """Proportional set size, or another one of smaps_rollup (MB)."""
    text = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith(f"{what}:")]
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


def sizes(node: TemporaryNode, what: str = "Pss") -> dict[str, float]:
    """Sizes of each process that is there all the time (MB)."""
    return {name(one): pss(one, what) for one in node.processes() if name(one) != EXTRACTS}


def default_node() -> TemporaryNode:
    """Return a node that serves its metrics and pages, as one with the default configuration."""
    ports = ReservedPort(), ReservedPort()
    served = [{"port": port.number} for port in ports]
    return TemporaryNode(sections={"metrics": served[0], "status_website": served[1]})


def heavy_modules(node: TemporaryNode) -> dict[str, list[str]]:
    """Packages of HEAVY that each process has imported; supervisord, which has a use for the signal
    itself, tells none."""
    found: dict[str, list[str]] = {}
    for one in node.processes():
        if name(one) == SUPERVISORD:
            found[SUPERVISORD] = []
            continue
        path = node.home / TELLER / str(one.pid)
        path.unlink(missing_ok=True)
        one.send_signal(signal.SIGUSR2)
        deadline = time.monotonic() + TELL_SECONDS
        while not path.exists():
            if time.monotonic() > deadline:
                raise DemoError(f"{name(one)} does not tell its modules")
            time.sleep(0.05)
        imported = set(path.read_text().split())
        found[name(one)] = [module for module in HEAVY.split() if module in imported]
    return found


def modules(duration: float) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Packages that each process has imported when idle, and after an observation."""
    node = default_node()
    teller = node.home / TELLER
    teller.mkdir()
    (teller / "sitecustomize.py").write_text(TELL_MODULES)
    node.environment["PYTHONPATH"] = str(teller)
    try:
        node.start()
        time.sleep(SETTLED_SECONDS)
        idle = heavy_modules(node)
        observe(node, duration)
        return idle, heavy_modules(node)
    finally:
        node.stop()
        node.remove()


def main() -> None:
    """Measure, and print every process and the sum."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--duration", type=float, default=20.0, help="of the observation, s")
    args = parser.parse_args()
    node = default_node()
    try:
        node.start()
        time.sleep(SETTLED_SECONDS)
        idle, idle_own = sizes(node), sizes(node, OWN)
        observe(node, args.duration)
        working = extracting(node)
        wait_until_idle(node)
        after, after_own = sizes(node), sizes(node, OWN)
    finally:
        node.stop()
        node.remove()
    at_first, later = modules(args.duration)
    print("| process | PSS idle | its own | after | its own | modules |")
    print("|---|---:|---:|---:|---:|---|")
    for what in sorted(after, key=lambda one: -after[one]):
        more = [f"*{module}*" for module in later[what] if module not in at_first[what]]
        loaded = ", ".join(at_first[what] + more)
        of_all = (idle[what], idle_own[what], after[what], after_own[what])
        print(f"| {what} | {' | '.join(f'{size:.1f}' for size in of_all)} | {loaded} |")
    sums = " | ".join(f"{sum(of.values()):.1f}" for of in (idle, idle_own, after, after_own))
    print(f"| {len(after)} processes | {sums} | |")
    print(f"Target: {TARGET:.0f} MB idle. Modules in italics are those of the observation.")
    more_text = ", ".join(f"{size:.1f} MB" for size in working) or "none"
    print(f"Beside them until a minute after: processes that extract: {more_text}")


if __name__ == "__main__":
    main()
