"""A long observation at a steady rate: do backlog, memory and journal stay flat?

python -m benchmarks.soak [--seconds 3600] [--rate 20000] [--csv FILE] [--plot FILE]

``--plot`` draws a CSV file that is there already, and needs matplotlib.
"""

from __future__ import annotations

import argparse
import csv
import random
import time
from pathlib import Path
from typing import Any

from benchmarks.throughput import STEPS_PER_SECOND, block, observe
from simulator.demo_node import DemoError, TemporaryNode

TASK = "soak"
SAMPLE_SECONDS = 10
COLUMNS = ("seconds", "written", "read", "clustered", "journal_mb", "pss_mb")


def sample(node: TemporaryNode, began: float, written: int) -> dict[str, float]:
    """How far each service is, and what the node uses."""
    counts = node.counts(TASK)
    books = counts.get("amber_clustering", {})
    done = books.get("clustered", 0)
    done += sum(number for key, number in books.items() if key.startswith("rejected"))
    journal = sum(path.stat().st_size for path in node.run_dir.glob("journal.sqlite*"))
    return {
        "seconds": round(time.monotonic() - began, 1),
        "written": written,
        "read": counts.get("amber_listener", {}).get("candidates", 0),
        "clustered": done,
        "journal_mb": round(journal / 2**20, 2),
        "pss_mb": round(sum(pss(process.pid) for process in node.processes()) / 1024, 1),
    }


def pss(pid: int) -> int:
    """Proportional set size of a process (kB)."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))


def run(seconds: int, rate: int, path: Path) -> None:
    """Observe, and write a row every ten seconds."""
    rng = random.Random(1)
    node = TemporaryNode(sections={"darc_master": {"setup_time": 0.1}})
    try:
        node.start()
        files = observe(node, TASK, seconds + 60)
        began = time.monotonic()
        written = 0
        with path.open("w", newline="") as table:
            rows = csv.DictWriter(table, COLUMNS)
            rows.writeheader()
            for step in range(seconds * STEPS_PER_SECOND):
                second, part = divmod(step, STEPS_PER_SECOND)
                time.sleep(max(0.0, began + step / STEPS_PER_SECOND - time.monotonic()))
                for file in files:
                    data = block(rate, second, part, rng)
                    file.write(data)
                    written += data.count(b"\n")
                if step % (SAMPLE_SECONDS * STEPS_PER_SECOND) == 0:
                    try:
                        rows.writerow(sample(node, began, written))
                    except DemoError as error:
                        print(error)
                    table.flush()
            time.sleep(3.0)
            rows.writerow(sample(node, began, written))
        print(f"{written:,} lines in {seconds} s; rows in {path}")
    finally:
        node.stop()
        node.remove()


def plot(path: Path, picture: Path) -> None:
    """Draw backlog, memory and journal against time."""
    import matplotlib.pyplot as plt  # noqa: PLC0415 - not needed for measuring

    with path.open() as table:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(table)]
    minutes = [row["seconds"] / 60 for row in rows]
    figure, axes = plt.subplots(3, 1, sharex=True, figsize=(7, 6), layout="constrained")
    backlog = [(row["written"] - row["clustered"]) / 1e3 for row in rows]
    series: list[tuple[Any, str, list[float]]] = [
        (axes[0], "not clustered yet\n(1000 lines)", backlog),
        (axes[1], "memory of the node\n(PSS, MB)", [r["pss_mb"] for r in rows]),
        (axes[2], "journal (MB)", [r["journal_mb"] for r in rows]),
    ]  # fmt: skip
    for axis, label, values in series:
        axis.plot(minutes, values, color="#0072b2", linewidth=1)
        axis.set_ylabel(label)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    axes[2].set_xlabel("minutes")
    figure.savefig(picture, dpi=110)


def main() -> None:
    """Run the benchmark, or draw what it wrote."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=3600)
    parser.add_argument("--rate", type=int, default=20_000, help="lines per second, in all files")
    parser.add_argument("--csv", type=Path, default=Path("soak.csv"))
    parser.add_argument("--plot", type=Path, help="draw the rows into this file instead")
    options = parser.parse_args()
    if options.plot:
        plot(options.csv, options.plot)
    else:
        run(options.seconds, options.rate, options.csv)


if __name__ == "__main__":
    main()
