"""A whole cluster is started, asked and stopped: python -m benchmarks.cluster --nodes 5 10 20 41.

All nodes are on this machine, in a box (simulator.box; needs root), with one light service each:
lofar_trigger on the master node, dada_trigger on the workers. Its few cores have to do what those
of all nodes would: beside the times stands the CPU time for each node, and how both compare with
starting one node after the other by hand, which costs nothing but the start of processes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable

import psutil
import yaml

from benchmarks.memory import pss
from darc.config.records import Struct
from simulator.box import Box, BoxNode, unavailable

SILENT = 10
CONNECT_SECONDS = 5
ASK_SECONDS = 2.0
STATUS_ROUNDS = 21
COMMAND_SECONDS = 900.0
# More starts at a time would only wait for each other on a few cores, up to their time limits.
PARALLEL_PER_CORE = 3
# In the configuration while nothing is started: waiting costs nothing.
PARALLEL = 50

SECTIONS = {
    "darc_master": {
        **{f"services_master_{mode}": ["lofar_trigger"] for mode in ("rt", "off", "mix")},
        **{f"services_worker_{mode}": ["dada_trigger"] for mode in ("rt", "off", "mix")},
    },
    "cluster": {"connect_timeout": CONNECT_SECONDS, "start_timeout": 300, "stop_timeout": 300},
}
# Arguments: timeout, rounds. Asks every node for the status of all services, and prints how long
# each round took and what was said in the last one; the same for all that the status page shows.
_STATUS = """
import json, sys, time
from darc.cluster.all_nodes import ask_all
from darc.node.node_config import load_node_config
from darc.monitor.cluster_watch import NodeTarget, collect
config, timeout, took, page = load_node_config(), float(sys.argv[1]), [], []
targets = [NodeTarget(name, name, config.master.port) for name in config.nodes()]
for _ in range(int(sys.argv[2])):
    began = time.perf_counter()
    answers = ask_all(config, None, timeout, "all", "status", None)
    took.append(time.perf_counter() - began)
    began = time.perf_counter()
    status = collect(targets, timeout)
    page.append(time.perf_counter() - began)
told = sum(node.overview is not None for node in status.nodes)
print(json.dumps([took, page, [one.text for one in answers], told]))
"""


class Figures(Struct, frozen=True):
    """What was measured with so many nodes: s, CPU time in s for each node, MB for each node."""

    nodes: int
    silent: int
    start: float
    start_cpu: float
    by_hand: float
    by_hand_cpu: float
    again: float
    again_silent: float
    status: float
    status_silent: float
    page: float
    page_silent: float
    stop: float
    memory: float


class Cluster:
    """A box and what is measured of it."""

    def __init__(self, box: Box) -> None:
        self._box = box

    def set_parallel(self, parallel: int) -> None:
        """How many nodes are worked on at a time."""
        path = self._box.master.home / "config.yaml"
        config = yaml.safe_load(path.read_text())
        config["cluster"]["parallel"] = parallel
        path.write_text(yaml.safe_dump(config))

    def run(self, command: str, status: int = 0) -> float:
        """Run a command on the master node; returns how long it took (s)."""
        began = time.perf_counter()
        result = self._box.master.run(command, timeout=COMMAND_SECONDS)
        took = time.perf_counter() - began
        if result.returncode != status:
            raise SystemExit(
                f"{command}: status {result.returncode}\n{result.stdout}{result.stderr}"
            )
        return took

    def start_by_hand(self) -> float:
        """Start one node after the other."""
        began = time.perf_counter()
        for node in self._box.nodes:
            node.run("darc_start_all_services", check=True)
        return time.perf_counter() - began

    def status(self, rounds: int, running: int) -> tuple[float, float]:
        """How long it takes to ask all nodes (s), for a state and for the page, the medians.

        Checks how many are green.
        """
        words = (sys.executable, "-c", _STATUS, str(ASK_SECONDS), str(rounds))
        result = self._box.master.run(*words, timeout=COMMAND_SECONDS, check=True)
        took, page, texts, told = json.loads(result.stdout)
        green = sum(text.endswith(": running") for text in texts)
        if green != running or told != running:
            raise SystemExit(f"{green} nodes are green, {told} told, not {running}: {texts}")
        return statistics.median(took), statistics.median(page)

    def cpu(self) -> float:
        """What everything in the box has used up to now, and all that ran for it (s)."""
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        living = [process.cpu_times() for node in self._box.nodes for process in node.processes()]
        return (
            ended.ru_utime
            + ended.ru_stime
            + sum(one.user + one.system + one.children_user + one.children_system for one in living)
        )

    def cpu_of(self, action: Callable[[], float]) -> tuple[float, float]:
        """How long something takes, and its CPU time for each node."""
        before = self.cpu()
        took = action()
        return took, (self.cpu() - before) / len(self._box.nodes)

    def memory(self) -> float:
        """Of a node's processes, the mean (MB)."""
        sizes = [pss(process) for node in self._box.nodes for process in ours(node)]
        return sum(sizes) / len(self._box.nodes)

    def check_empty(self) -> None:
        """Nothing of DARC is left."""
        left = [process for node in self._box.nodes for process in ours(node)]
        if left:
            raise SystemExit(f"left running: {left}")


def ours(node: BoxNode) -> list[psutil.Process]:
    """The processes of a node that are DARC's."""
    return [process for process in node.processes() if process.name() != "sshd"]


def measure(nodes: int, parallel: int) -> Figures:
    """Start, ask and stop a cluster of so many nodes."""
    silent = min(SILENT, (nodes - 1) // 2)
    with Box(nodes, shared_home=True, config=SECTIONS) as box:
        cluster = Cluster(box)
        cluster.set_parallel(parallel)
        start, start_cpu = cluster.cpu_of(lambda: cluster.run("start_full_pipeline"))
        status, page = cluster.status(STATUS_ROUNDS, running=nodes)
        again = cluster.run("start_full_pipeline")
        memory = cluster.memory()
        cluster.set_parallel(PARALLEL)
        for node in box.workers[:silent]:
            node.drop_packets()
        again_silent = cluster.run("start_full_pipeline", status=1)
        status_silent, page_silent = cluster.status(1, running=nodes - silent)
        for node in box.workers[:silent]:
            node.restore()
        cluster.set_parallel(parallel)
        stop = cluster.run("stop_full_pipeline")
        cluster.check_empty()
        by_hand, by_hand_cpu = cluster.cpu_of(cluster.start_by_hand)
        cluster.run("stop_full_pipeline")
    return Figures(
        nodes=nodes,
        silent=silent,
        start=start,
        start_cpu=start_cpu,
        by_hand=by_hand,
        by_hand_cpu=by_hand_cpu,
        again=again,
        again_silent=again_silent,
        status=status,
        status_silent=status_silent,
        page=page,
        page_silent=page_silent,
        stop=stop,
        memory=memory,
    )


def report(one: Figures) -> str:
    """All that was measured of a cluster, and how it compares."""
    n, silent = one.nodes, f"{one.silent} of them silent"
    ratio, cpu_ratio = one.start / one.by_hand, one.start_cpu / one.by_hand_cpu
    lines = [
        f"{n} nodes",
        f"  start_full_pipeline from nothing to all green  {one.start:7.1f} s",
        f"  one node after the other by hand               {one.by_hand:7.1f} s",
        f"  the first as a part of the second              {ratio:7.2f}",
        f"  CPU time for each node, start_full_pipeline    {one.start_cpu:7.2f} s",
        f"  CPU time for each node, by hand                {one.by_hand_cpu:7.2f} s",
        f"  the first as a part of the second              {cpu_ratio:7.2f}",
        f"  start_full_pipeline again                      {one.again:7.1f} s",
        f"  the same, {silent:<36} {one.again_silent:7.1f} s  ({CONNECT_SECONDS} s to be reached)",
        f"  status of all nodes                            {1e3 * one.status:7.0f} ms",
        f"  the same, {silent:<36} {one.status_silent:7.1f} s  ({ASK_SECONDS:g} s to answer)",
        f"  all that the status page shows                 {1e3 * one.page:7.0f} ms",
        f"  the same, {silent:<36} {one.page_silent:7.1f} s  ({ASK_SECONDS:g} s to answer)",
        f"  stop_full_pipeline to nothing left             {one.stop:7.1f} s",
        f"  memory for each node (PSS)                     {one.memory:7.1f} MB",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, and print what was seen for each number of nodes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, nargs="+", default=[5, 10, 20, 41])
    parallel = PARALLEL_PER_CORE * (os.cpu_count() or 1)
    parser.add_argument("--parallel", type=int, default=parallel, help=f"default: {parallel}")
    args = parser.parse_args()
    reason = unavailable()
    if reason:
        raise SystemExit(reason)
    print(f"{os.cpu_count()} cores, {args.parallel} nodes at a time")
    for nodes in args.nodes:
        print(report(measure(nodes, args.parallel)), flush=True)


if __name__ == "__main__":
    main()
