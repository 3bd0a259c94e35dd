"""What a node that does nothing takes of a processor: python -m benchmarks.idle.

All of the default configuration: eight services, darc_master, darc_monitor, supervisord.
"""

from __future__ import annotations

import argparse
import time

from benchmarks.memory import SETTLED_SECONDS, default_node, name
from simulator.demo_node import TemporaryNode


def taken(node: TemporaryNode) -> dict[str, float]:
    """Processor time of each process until now (s)."""
    return {name(one): sum(one.cpu_times()[:2]) for one in node.processes()}


def main() -> None:
    """Measure, and print every process and the sum."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="to measure")
    args = parser.parse_args()
    node = default_node()
    try:
        node.start()
        time.sleep(SETTLED_SECONDS)
        before, began = taken(node), time.monotonic()
        time.sleep(args.seconds)
        after, seconds = taken(node), time.monotonic() - began
    finally:
        node.stop()
        node.remove()
    rates = {what: 1000 * (after[what] - before[what]) / seconds for what in after}
    print("| process | ms of a processor each second |")
    print("|---|---:|")
    for what in sorted(rates, key=lambda one: -rates[one]):
        print(f"| {what} | {rates[what]:.1f} |")
    print(f"| {len(rates)} processes | {sum(rates.values()):.1f} |")


if __name__ == "__main__":
    main()
