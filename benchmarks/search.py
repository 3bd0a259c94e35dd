"""What the single-pulse search of a file takes: python -m benchmarks.search.

Noise is searched by two processes, without clustering and extraction: a minute of 1024 channels at
64 us, 8 bits, 1200 to 1500 MHz, to DM 1000; with --table, other lengths, channels and DMs, too,
which --plot FILE draws. With --before DIR, an earlier checkout does the same in turns. --profile
tells where the processor time of one part goes.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import multiprocessing
import os
import pstats
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
from msgspec.structs import replace

from darc.candidates.file_search import SearchJob, plan_search
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
    *(Case(seconds=seconds) for seconds in (7.5, 15.0, 30.0, 60.0)),
    *(Case(seconds=15.0, channels=channels) for channels in (128, 256, 512, 2048)),
    *(Case(seconds=15.0, dm_max=dm_max) for dm_max in (250.0, 500.0, 2000.0)),
)

#: What a part of a search is made of: functions that do not call each other.
WORK = {
    "reading: transposing samples to channels": ("put_rows",),
    "cleaning: baselines, variance, missing data": ("read_search_data",),
    "downsampling, variance again": ("downsample_levels",),
    "impulses": ("forget_impulses",),
    "outliers of a channel": ("find_outliers", "take_isolated"),
    "sums of subbands": ("_sum_subbands",),
    "sums of these for each trial": ("series",),
    "noise": ("local_noise", "middle_series"),
    "boxcars": ("find_strongest",),
}
#: What is counted beside, though another of these calls it.
_WITHIN = {"read_search_data": "put_rows"}


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
        parts = _plan(file, dm_max)
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        for _ in pool.imap_unordered(SearchJob.run, parts):
            pass
        wall = time.monotonic() - began
        stop.set()
        watcher.join()
        pool.close()
        pool.join()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"wall": wall, "cpu": used.ru_utime + used.ru_stime, "memory": peak[0]}


def _plan(file: Filterbank, dm_max: float) -> list[SearchJob]:
    return plan_search(
        file,
        observation="benchmark",
        dm_min=0.0,
        dm_max=dm_max,
        snr_min=10.0,
        mask=None,
        clip=(3.25, 3),
        isolated=True,
    )


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


def profile(path: Path, dm_max: float) -> dict[str, float]:
    """Search the first part of a file twice; return seconds of the processor by kind of work."""
    with Filterbank(path) as file:
        part = _plan(file, dm_max)[0]
    part.run()  # compiles
    profiler = cProfile.Profile(time.process_time)
    profiler.runcall(part.run)
    stats = pstats.Stats(profiler)
    seconds: dict[str, float] = {}
    for (_, _, name), (_, _, _, cumulative, _) in stats.stats.items():  # type: ignore[attr-defined]
        seconds[name] = seconds.get(name, 0.0) + cumulative
    found = {kind: sum(seconds.get(name, 0.0) for name in names) for kind, names in WORK.items()}
    for outer, inner in _WITHIN.items():
        kind = next(kind for kind, names in WORK.items() if outer in names)
        found[kind] -= seconds.get(inner, 0.0)
    total = stats.total_tt  # type: ignore[attr-defined]
    return found | {"everything else": total - sum(found.values()), "all": total}


def draw(rows: list[tuple[Case, str, dict[str, float]]], picture: Path) -> None:
    """Draw the processor time against length, channels and highest DM."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - not needed for measuring

    figure = Figure(figsize=(9, 3.2), layout="constrained")
    panels = figure.subplots(1, 3)
    for axes, field, label in zip(
        panels,
        ("seconds", "channels", "dm_max"),
        ("length (s)", "channels, of 15 s", "highest DM (pc cm$^{-3}$), of 15 s"),
        strict=True,
    ):
        plain = Case() if field == "seconds" else Case(seconds=15.0)
        for name, colour in (("now", "#0072b2"), ("before", "#d55e00")):
            points = sorted(
                (getattr(case, field), took["cpu"])
                for case, which, took in rows
                if which == name and replace(case, **{field: getattr(plain, field)}) == plain
            )
            if points:
                axes.plot(*zip(*points, strict=True), "o-", color=colour, label=name)
        real_time = {"label": "as long as the data, two cores", "color": "0.5", "ls": "--"}
        if field == "seconds":
            axes.plot([0.0, plain.seconds], [0.0, 2 * plain.seconds], **real_time)
        else:
            axes.axhline(2 * plain.seconds, **real_time)
        axes.set(xlabel=label, xlim=(0, None), ylim=(0, None))
        axes.grid(visible=True, alpha=0.3)
    panels[0].set_ylabel("processor time, two processes (s)")
    panels[0].legend(fontsize="small")
    figure.savefig(picture, dpi=110)


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
    parser.add_argument("--plot", type=Path, help="a picture of the table")
    parser.add_argument("--profile", action="store_true", help="where the time of a part goes")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the data")
    parser.add_argument("--dm-max", type=float, default=1000.0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.dm_max, options.jobs)))
        return
    if options.profile:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "noise.fil"
            make(path, Case(options.seconds, dm_max=options.dm_max))
            took = profile(path, options.dm_max)
        for kind, seconds in took.items():
            print(f"{kind:<45} {seconds:6.2f} s {seconds / took['all']:5.0%}")
        return
    here = Path(__file__).resolve().parents[1]
    checkouts = {"now": here} | ({"before": options.before} if options.before else {})
    cases = [Case(options.seconds, dm_max=options.dm_max), *(TABLE if options.table else ())]
    cases = list(dict.fromkeys(cases))
    rows = []
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
                rows.append((case, name, took))
                print(
                    f"{case.seconds:7g} {case.channels:9} {case.dm_max:11g}  {name:<8}"
                    f" {took['wall']:9.1f} {took['cpu']:8.1f} {took['memory']:4.0f}"
                    f"   {os.getloadavg()[0]:.1f}",
                    flush=True,
                )
    if options.plot:
        draw(rows, options.plot)


if __name__ == "__main__":
    main()
