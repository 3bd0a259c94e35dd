"""How long start, restart and stop of a node take: python -m benchmarks.start_stop.

Commands are run as whole processes, as an operator does; what they promise is checked.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

from darc.node.processes import of_node
from simulator.demo_node import TemporaryNode

START_TARGET = 1.5  # s, from nothing to all services running, and of CPU time
RESTART_TARGET = 1.0  # s, until it runs again
STOP_MARGIN = 3.0  # s beyond stop_timeout
STOP_TIMEOUT = 5.0  # the default of darc_master.stop_timeout
SERVICE = "amber_clustering"


def seconds(action: Callable[[], object]) -> float:
    """How long something takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def round_trip(times: dict[str, list[float]]) -> None:
    """Start a node from nothing, restart a service, and stop everything."""
    # As it comes: with the default time limits.
    node = TemporaryNode(sections={"darc_master": {"control_timeout": 5.0}})
    try:
        before = os.times()
        times["start"].append(seconds(node.start))
        after = os.times()
        script = after.children_user + after.children_system
        times["script"].append(script - before.children_user - before.children_system)
        assert set(node.states().values()) == {"running"}
        spent = [process.cpu_times() for process in node.processes()]
        times["cpu"].append(sum(one.user + one.system for one in spent))
        times["restart"].append(seconds(lambda: node.ask("restart", SERVICE)))
        assert node.states()[SERVICE] == "running"
        ids = [process.environ()["DARC_NODE_ID"] for process in node.processes()]
        times["stop"].append(seconds(lambda: node.run("stop_master")))
        assert not of_node(ids[0])
    finally:
        node.stop()
        node.remove()


def main() -> None:
    """Measure, and print median and maximum of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    args = parser.parse_args()
    times: dict[str, list[float]] = {
        name: [] for name in ("start", "cpu", "script", "restart", "stop")
    }
    for _ in range(args.rounds):
        round_trip(times)
    print(f"{args.rounds} rounds                                     median  maximum   target")
    for name, what, target in (
        ("start", "nothing to eight services running", START_TARGET),
        ("restart", "restart of a service until it runs", RESTART_TARGET),
        ("stop", "darc_stop_master to nothing left", STOP_TIMEOUT + STOP_MARGIN),
    ):
        median, most = statistics.median(times[name]), max(times[name])
        print(f"{what:<42} {median:7.2f} s {most:7.2f} s {target:7.1f} s")
    print(
        f"A start takes the node's processes {statistics.median(times['cpu']):.2f} s of CPU time"
        f" (target: {START_TARGET} s), and its script {statistics.median(times['script']):.2f} s."
    )


if __name__ == "__main__":
    main()
