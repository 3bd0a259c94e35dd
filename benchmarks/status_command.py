"""How long `darc --service all status` takes: python -m benchmarks.status_command.

Beside that of supervisorctl and of a Python that does nothing: all as whole processes that take
turns, on the same node with all of its services.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

from simulator.demo_node import TemporaryNode

TARGET = 0.5  # of supervisorctl
BARE_TARGET = 1.5  # times a bare Python


def seconds(command: list[str], node: TemporaryNode) -> float:
    """How long a command takes, from its start to its end."""
    start = time.perf_counter()
    subprocess.run(
        command, env=node.environment, check=True, stdin=subprocess.DEVNULL, capture_output=True
    )
    return time.perf_counter() - start


def main() -> None:
    """Measure, and print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=40)
    args = parser.parse_args()
    node = TemporaryNode()
    try:
        node.start()
        ours = [node.script("darc"), "--service", "all", "status"]
        configuration = str(node.run_dir / "supervisord.conf")
        theirs = [node.script("supervisorctl"), "-c", configuration, "status"]
        subprocess.run(ours, env=node.environment, check=True, capture_output=True)  # warm up
        bare = [sys.executable, "-c", "pass"]
        rounds = []
        for number in range(args.pairs):
            # Each goes before the others in its turn.
            turn = [ours, theirs, bare][number % 3 :] + [ours, theirs, bare][: number % 3]
            times = {command[0]: seconds(command, node) for command in turn}
            rounds.append((times[ours[0]], times[theirs[0]], times[bare[0]]))
    finally:
        node.stop()
        node.remove()
    names = ("darc --service all status", "supervisorctl status", "python -c pass")
    for name, times_of_one in zip(names, zip(*rounds, strict=True), strict=True):
        print(f"{name:<28}{1e3 * statistics.median(times_of_one):6.0f} ms")
    for name, other, target in ((names[1], 1, TARGET), (names[2], 2, BARE_TARGET)):
        ratio = statistics.median(one[0] / one[other] for one in rounds)
        print(f"as a part of {name:<22} {ratio:5.2f}  (median of {args.pairs}; at most {target})")


if __name__ == "__main__":
    main()
