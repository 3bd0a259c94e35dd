"""What it costs to update an observation on the results site that has many already.

Run: python -m benchmarks.results_site

Observations every 48 minutes, and as many on a single day. An update is that of the newest one:
its entry is new, and the lists that it is in follow. Bytes are those of the lists that are written.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from darc.candidates.results.results_site import ENTRY, FORMAT, INDEX, ObservationEntry
from darc.candidates.results.site_lists import write_lists
from darc.config import typed
from darc.model.processing_outcome import ProcessingSummary
from darc.runtime.paths import write_whole

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
APART = {"over the days": timedelta(minutes=48), "on one day": timedelta(seconds=8)}


def put(site: Path, number: int, apart: timedelta) -> ObservationEntry:
    """Write the entry of an observation; those of higher numbers are later."""
    start = BEGIN + number * apart
    entry = ObservationEntry(
        format=FORMAT,
        task_id=f"{number:09d}",
        date=start.strftime("%Y%m%d"),
        datetimesource=start.strftime("%Y-%m-%d-%H:%M:%S.B1933+16"),
        source="B1933+16",
        start=start.timestamp(),
        duration=1800.0,
        done=True,
        beams=40,
        beams_done=39,
        failed=(7,),
        counts=ProcessingSummary(1_234_567, 4321, 210, 9),
        made=start.timestamp() + 3600,
    )
    directory = site / entry.date / entry.datetimesource
    directory.mkdir(parents=True, exist_ok=True)
    (directory / INDEX).touch()
    write_whole(directory / ENTRY, json.dumps(typed.to_plain(entry), indent=1))
    return entry


def lists(site: Path) -> dict[Path, tuple[int, int]]:
    """Inodes and sizes of the lists."""
    found = {path: path.stat() for path in (*site.glob("*.html"), *site.glob("*/*.html"))}
    return {path: (one.st_ino, one.st_size) for path, one in found.items()}


def measure(kind: str, count: int, repeats: int) -> None:
    apart = APART[kind]
    with tempfile.TemporaryDirectory(prefix="darc-benchmark-") as name:
        site = Path(name)
        for number in range(count):
            put(site, number, apart)
        times = []
        for _ in range(2):
            begin = time.perf_counter()
            write_lists(site)
            times.append(time.perf_counter() - begin)
        updates, cpu, written = [], [], []
        for step in range(repeats):
            # Another one, which is updated once.
            entry = put(site, count + step // 2, apart)
            before = lists(site)
            begin, used = time.perf_counter(), time.process_time()
            write_lists(site, date=entry.date, name=entry.datetimesource)
            updates.append(time.perf_counter() - begin)
            cpu.append(time.process_time() - used)
            after = lists(site)
            written.append(sum(one[1] for path, one in after.items() if before.get(path) != one))
        print(
            f"{count:7,} {kind:14}: update {1e3 * statistics.median(updates):5.0f} ms (median;"
            f" {1e3 * statistics.median(cpu):.0f} ms of CPU), {max(written) / 1e3:.0f} kB written;"
            f" all lists for the first time {times[0]:.2f} s, when up to date {times[1]:.2f} s"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--observations", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--repeats", type=int, default=20)
    args = parser.parse_args()
    for kind in APART:
        for count in args.observations:
            measure(kind, count, args.repeats)


if __name__ == "__main__":
    main()
