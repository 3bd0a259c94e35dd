"""How long `darc --service all status` takes: python -m benchmarks.status_command.

Beside that of supervisorctl: both as whole processes, in pairs that take turns, on the same node
with all of its services.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import time

from simulator.demo_node import TemporaryNode

TARGET = 0.5


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
        pairs = []
        for number in range(args.pairs):
            # Each goes first in every other pair.
            both = [ours, theirs] if number % 2 else [theirs, ours]
            times = {command[0]: seconds(command, node) for command in both}
            pairs.append((times[ours[0]], times[theirs[0]]))
    finally:
        node.stop()
        node.remove()
    ratio = statistics.median(our / their for our, their in pairs)
    print(f"darc --service all status:  {1e3 * statistics.median(p[0] for p in pairs):6.0f} ms")
    print(f"supervisorctl status:       {1e3 * statistics.median(p[1] for p in pairs):6.0f} ms")
    print(f"median ratio of {args.pairs} pairs:   {ratio:6.2f}      (target: at most {TARGET})")


if __name__ == "__main__":
    main()
