"""What the single-pulse search of a file takes: python -m benchmarks.search.

Noise is searched by two processes, without clustering and extraction: a minute of 1024 channels at
64 us, 8 bits, 1200 to 1500 MHz, to DM 1000; with --table, other lengths, channels and DMs, too.
With --before DIR, an earlier checkout does the same in turns.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from msgspec import Struct

from darc.candidates.file_search import plan_search, search_part
from darc.data_files.filterbank_header import FilterbankHeader
from darc.data_files.filterbank_reader import Filterbank
from darc.data_files.filterbank_writer import FilterbankWriter

TSAMP, LOW, HIGH = 64e-6, 1200.0, 1500.0
TARGET_SECONDS, TARGET_TIMES, TARGET_MB = 60.0, 10.0, 1000.0
_BLOCK = 1 << 13
_POLL = 0.5


class Case(Struct, frozen=True):
    """A file, and how it is searched.

    :param seconds: length of the data
    """

    seconds: float = 60.0
    channels: int = 1024
    dm_max: float = 1000.0


#: Time against length, channels, and highest DM.
TABLE = (
    *(Case(seconds=seconds) for seconds in (15.0, 30.0, 60.0)),
    *(Case(seconds=15.0, channels=channels) for channels in (256, 512, 1024)),
    *(Case(seconds=15.0, dm_max=dm_max) for dm_max in (250.0, 500.0, 1000.0, 2000.0)),
)


def make(path: Path, case: Case) -> None:
    """Write noise."""
    width = (HIGH - LOW) / case.channels
    header = FilterbankHeader(
        nbits=8,
        nchans=case.channels,
        nifs=1,
        tsamp=TSAMP,
        fch1=HIGH - width / 2,
        foff=-width,
        tstart=60000.0,
    )
    random, length = np.random.default_rng(1), round(case.seconds / TSAMP)
    with FilterbankWriter(path, header) as file:
        for begin in range(0, length, _BLOCK):
            size = min(_BLOCK, length - begin), case.channels
            file.append((64.5 + 8 * random.standard_normal(size, np.float32)).astype(np.uint8))


def measure(path: Path, dm_max: float, jobs: int) -> dict[str, float]:
    """Search a file; return seconds, seconds of the processor, and megabytes at most (PSS)."""
    peak, stop = [0.0], threading.Event()

    def watch() -> None:
        while not stop.wait(_POLL):
            peak[0] = max(peak[0], sum(_megabytes(pid) for pid in _family()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.monotonic()
    with Filterbank(path) as file:
        parts = plan_search(
            file,
            observation="benchmark",
            dm_min=0.0,
            dm_max=dm_max,
            snr_min=10.0,
            mask=None,
            clip=(3.25, 3),
            isolated=True,
        )
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        for _ in pool.imap_unordered(search_part, parts):
            pass
        wall = time.monotonic() - began
        stop.set()
        watcher.join()
        pool.close()
        pool.join()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"wall": wall, "cpu": used.ru_utime + used.ru_stime, "memory": peak[0]}


def _family() -> Iterator[int]:
    """This process and its children."""
    yield os.getpid()
    for one in multiprocessing.active_children():
        if one.pid is not None:
            yield one.pid


def _megabytes(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0  # it has ended just now
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024 / 1e6


def in_checkout(directory: Path, path: Path, case: Case, jobs: int) -> dict[str, float]:
    """Measure a checkout's code, which is compiled before."""
    words = [sys.executable, str(Path(__file__).resolve()), "--jobs", str(jobs), "--measure"]
    words += [str(path), "--dm-max", f"{case.dm_max:g}"]
    environment = os.environ | {"PYTHONPATH": str(directory)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Make files, search them, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, help="an earlier checkout")
    parser.add_argument("--table", action="store_true", help="other lengths, channels, DMs, too")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the data")
    parser.add_argument("--dm-max", type=float, default=1000.0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.dm_max, options.jobs)))
        return
    here = Path(__file__).resolve().parents[1]
    checkouts = {"now": here} | ({"before": options.before} if options.before else {})
    cases = [Case(options.seconds, dm_max=options.dm_max), *(TABLE if options.table else ())]
    print(f"targets: {TARGET_SECONDS:g} s, {TARGET_TIMES:g} times before, {TARGET_MB:g} MB")
    print("seconds  channels  highest DM           wall s    CPU s   MB   load")
    for number, case in enumerate(cases):
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "noise.fil"
            make(path, case)
            if not number:
                small = Path(directory) / "small.fil"
                make(small, Case(seconds=1.0, channels=64))
                for checkout in checkouts.values():
                    in_checkout(checkout, small, Case(dm_max=100.0), 1)
            for name, checkout in checkouts.items():
                took = in_checkout(checkout, path, case, options.jobs)
                print(
                    f"{case.seconds:7g} {case.channels:9} {case.dm_max:11g}  {name:<8}"
                    f" {took['wall']:9.1f} {took['cpu']:8.1f} {took['memory']:4.0f}"
                    f"   {os.getloadavg()[0]:.1f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
