"""How fast trigger lines are read: python -m benchmarks.parse_lines [--lines N]."""

from __future__ import annotations

import argparse
import time

import numpy as np

from darc.trigger_files.amber import Columns, ParsedLines, parse_lines
from simulator.amber_files import format_header, format_line

BATCH_S, TSAMP = 1.024, 81.92e-6  # as ARTS
BAD = (b"0 0 299 1 2 0.0244941 283\n", b"0 0 299 1 2 nan 283 56.6 10 18.4\n", b"\xff\0\n", b"\n")


def make_lines(n: int) -> list[bytes]:
    """Lines of a four-hour observation, made at random with a fixed seed."""
    rng = np.random.default_rng(1)
    rows = zip(
        rng.integers(0, 71, n).tolist(),
        np.sort(rng.integers(0, 14_000, n)).tolist(),
        rng.random(n).tolist(),
        rng.choice([1, 5, 10, 50, 100, 250, 500, 1000], n).tolist(),
        rng.integers(0, 4100, n).tolist(),
        (8 + rng.exponential(3, n)).tolist(),
        strict=True,
    )
    lines = []
    for beam, batch, place, step, dm_id, snr in rows:
        sample = int(place * (12_500 // step))
        lines.append(
            format_line(
                beam=beam,
                batch=batch,
                sample=sample,
                integration_step=step,
                time=batch * BATCH_S + sample * step * TSAMP,
                dm_id=dm_id,
                dm=0.2 * dm_id,
                snr=snr,
            )
        )
    return lines


def rate(data: bytes, repeats: int) -> tuple[float, ParsedLines]:
    """Lines per second, the best of some runs."""
    columns = Columns.from_header(format_header())
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        parsed = parse_lines(data, columns, batch_length_s=BATCH_S, tsamp=TSAMP)
        best = min(best, time.perf_counter() - start)
    return parsed.lines / best, parsed


def main() -> None:
    """Print the rates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=500_000)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    lines = make_lines(args.lines)
    clean, parsed = rate(b"".join(lines), args.repeats)
    assert len(parsed.candidates) == args.lines
    lines[::100] = [BAD[i % len(BAD)] for i in range(len(lines[::100]))]
    damaged, parsed = rate(b"".join(lines), args.repeats)
    assert sum(parsed.rejected.values()) == len(lines[::100])
    print(f"clean:    {clean:>12,.0f} lines/s")
    print(f"1 % bad:  {damaged:>12,.0f} lines/s, {damaged / clean:.2f} of that")


if __name__ == "__main__":
    main()
