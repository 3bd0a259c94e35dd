"""How long the clustering of 100,000 candidates takes: python -m benchmarks.clustering.

The science alone, without reading, queues and decisions: candidates that are evenly spread over
300 s, clustered in the windows and DM bins of operation.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

from darc.model.candidate import CANDIDATE, Records
from darc.science.clustering import cluster, fixed_dm_edges, synthesised_beam_filter

DURATION = 300.0  # s
TSAMP = 81.92e-6  # s
BEAMS = 71
WIDTHS = (1, 5, 10, 50, 100, 250, 500, 1000)  # samples
WINDOW = 1.0  # s
TARGETS = 30.0, 150.0  # ms, without and with the filter on synthesised beams


def make(n: int) -> Records:
    """Candidates at random, with a fixed seed; all are above the threshold."""
    rng = np.random.default_rng(1)
    candidates = np.empty(n, CANDIDATE)
    candidates["downsampling"] = rng.choice(WIDTHS, n)
    bin_length = candidates["downsampling"] * TSAMP
    candidates["time"] = np.floor(rng.uniform(0, DURATION, n) / bin_length) * bin_length
    candidates["beam"] = rng.integers(0, BEAMS, n)
    candidates["dm"] = 0.2 * rng.integers(0, 15_000, n)
    candidates["snr"] = 10 + rng.exponential(3, n)
    return candidates


def milliseconds(action: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median and maximum (ms)."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times), max(times)


def main() -> None:
    """Measure, and print median and maximum."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candidates", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=20)
    args = parser.parse_args()
    candidates = make(args.candidates)
    edges = fixed_dm_edges(10_000.0)

    def without() -> Records:
        return cluster(candidates, snr_min=10, dm_edges=edges, time_window=WINDOW, time_origin=0)

    def with_filter() -> None:
        synthesised_beam_filter(candidates, without(), period_min=10, period_max=15, n_beams=BEAMS)

    print(f"{args.candidates:,} candidates of {DURATION:.0f} s in {len(without()):,} clusters:")
    for what, action, target in (
        ("without the filter", without, TARGETS[0]),
        ("with the SB filter", with_filter, TARGETS[1]),
    ):
        median, most = milliseconds(action, args.repeats)
        print(f"  {what}  median {median:6.1f} ms  max {most:6.1f} ms  (target: {target:.0f} ms)")


if __name__ == "__main__":
    main()
