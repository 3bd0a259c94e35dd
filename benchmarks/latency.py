"""From a line in a trigger file to amber_clustering: python -m benchmarks.latency.

Lines are appended one at a time, at random moments. In the place of amber_clustering, which is
stopped, this process attaches to its queue by the client that services use, and takes note of
when each candidate comes. The rest of the node is as always.
"""

from __future__ import annotations

import argparse
import random
import threading
import time
from pathlib import Path

import numpy as np

from darc.model.candidate import candidates_from_bytes
from darc.node.secret import read_secret
from darc.queues.client import Holder, QueueClient
from darc.queues.messages import ContentKind
from simulator.amber_files import format_header, format_line, trigger_name
from simulator.demo_node import TemporaryNode
from simulator.write_parsets import write_observation

TARGETS = 10.0, 30.0  # ms: median, 99th percentile
TSAMP, BATCH = 81.92e-6, 12_500
SERVICE = "amber_clustering"


def write(path: Path, lines: int, rate: float, written: list[float]) -> None:
    """Append lines, and note when each was about to be written (Unix s).

    The DM tells which line it is.
    """
    rng = random.Random(1)
    with path.open("ab", buffering=0) as file:
        file.write(format_header())
        time.sleep(0.5)
        for number in range(lines):
            batch, sample = divmod(number, BATCH)
            line = format_line(
                beam=0,
                batch=batch,
                sample=sample,
                integration_step=1,
                time=number * TSAMP,
                dm_id=number,
                dm=float(number),
                snr=12.0,
            )
            written.append(time.time())
            file.write(line)
            time.sleep(rng.expovariate(rate))


def take(node: TemporaryNode, lines: int, held: list[float], taken: list[float]) -> None:
    """Take candidates as amber_clustering does, until all lines have come."""
    client = QueueClient(
        node.run_dir / "queues.sock", read_secret(node.run_dir / "secret"), SERVICE
    )
    holder = Holder(client, SERVICE, 0, "Benchmark", None)
    cursor = 0
    last = time.monotonic()
    while len(taken) < lines and time.monotonic() < last + 10:
        for entry in holder.take(cursor, 0.5):
            cursor = entry.id
            if entry.kind is ContentKind.CANDIDATES:
                candidates = candidates_from_bytes(entry.content)
                now = time.time()
                assert np.all(candidates["dm"] == np.arange(len(candidates)) + len(taken))
                taken += [now] * len(candidates)
                held += [entry.held_at] * len(candidates)
                last = time.monotonic()


def main() -> None:
    """Measure, and print median and 99th percentile."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=50.0, help="lines per second")
    args = parser.parse_args()
    written: list[float] = []
    held: list[float] = []
    taken: list[float] = []
    node = TemporaryNode(sections={"darc_master": {"setup_time": 5.0}})
    try:
        node.start()
        observation = write_observation(
            node.home / "observation",
            task_id="latency",
            source="DEMO",
            start=time.time(),
            duration=args.lines / args.rate + 60,
            instances=1,
        )
        node.ask("start_observation", payload=observation.parset)
        node.ask("stop", SERVICE)
        path = observation.amber_dir / trigger_name(0, 1)
        writer = threading.Thread(target=write, args=(path, args.lines, args.rate, written))
        writer.start()
        take(node, args.lines, held, taken)
        writer.join()
    finally:
        node.stop()
        node.remove()
    assert len(taken) == args.lines, f"{len(taken)} of {args.lines} lines came"
    print(f"{args.lines} lines, {args.rate:g} per second:      median   99 %     max")
    show("written to held in the journal", written, held)
    show("written to taken from the queue", written, taken)
    print(f"{'targets':<33} {TARGETS[0]:6.1f} {TARGETS[1]:6.1f}  ms")


def show(what: str, first: list[float], then: list[float]) -> None:
    """Print how long something took."""
    times = 1e3 * (np.array(then) - np.array(first))
    print(
        f"{what:<33} {np.median(times):6.1f} {np.percentile(times, 99):6.1f} {times.max():6.1f}  ms"
    )


if __name__ == "__main__":
    main()
