"""How long 1000 candidates of an observation take: python -m benchmarks.processing.

At the size of ARTS: 1536 channels of 8 bits, 12,207 samples a second, 300 s, one TAB (5.6 GB). In
it are bursts of DM 50 to 2000 pc cm-3, 1 to 100 samples wide, of S/N 20 to 50, each of which is one
line of a trigger file; all are kept. A node with nothing but its processor gets them as an
observation of the past: so the time from its start until the summary is there is what all of the
work takes, and after an observation in real time only what has not been done by then is left of it.

The noise repeats itself (simulator.filterbank_data). With --directory the data stay there, and
are used again.
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from darc.candidates.results.trigger_lists import read_summary
from darc.config.records import Struct, field
from darc.data_files.filterbank_header import FilterbankHeader
from darc.science.clustering import fixed_dm_edges
from simulator.amber_files import format_header, format_line, trigger_name
from simulator.bursts import Burst
from simulator.demo_node import TemporaryNode
from simulator.filterbank_data import Filterbanks, SimulatedInstrument
from simulator.filterbanks import write_filterbanks
from simulator.write_parsets import write_observation

N_CHANNELS, TSAMP = 1536, 81.92e-6
HEADER = FilterbankHeader(
    nchans=N_CHANNELS, nbits=8, tsamp=TSAMP, fch1=1519.50561523, foff=-300 / N_CHANNELS
)
#: Of clusters, as configured: each burst has a box of its own.
WINDOW, DM_TOP = 0.5, 10_000.0
DM_RANGE, WIDTHS, SNR_RANGE = (50.0, 2000.0), (1, 5, 10, 50, 100), (20.0, 50.0)
TASK = "processing"
TARGET_SECONDS, TARGET_MB = 180.0, 400.0
#: What the log says of a candidate, and at the end.
KEPT, END = ": kept: ", "]: done"
PATIENCE = 1800.0
POLL = 0.2


def make_bursts(n: int, duration: float) -> list[Burst]:
    """Bursts in as many boxes of time and DM."""
    rng = np.random.default_rng(1)
    edges = fixed_dm_edges(DM_TOP)
    taken: dict[tuple[int, int], Burst] = {}
    for _ in range(100 * n):
        if len(taken) == n:
            break
        time_s = float(rng.uniform(0.5, duration - 3.0))
        dm = float(np.exp(rng.uniform(*np.log(DM_RANGE))))
        width = int(rng.choice(WIDTHS))
        # As a line has it: on the grid of its width.
        time_s = round(time_s / TSAMP) // width * width * TSAMP
        box = int(time_s / WINDOW), int(np.searchsorted(edges, dm))
        burst = Burst(time_s, round(dm, 1), width, round(float(rng.uniform(*SNR_RANGE)), 2), 0)
        taken.setdefault(box, burst)
    if len(taken) < n:
        raise ValueError(f"{duration} s have no room for {n} clusters")
    return sorted(taken.values(), key=lambda burst: burst.time_s)


def make_data(directory: Path, bursts: list[Burst], duration: float) -> None:
    """Write the file, unless it is there."""
    path = directory / "CB00.fil"
    if path.exists():
        print(f"data: {path}, of before")
        return
    began = time.monotonic()
    made = Filterbanks(SimulatedInstrument(header=HEADER), bursts, seed=1)
    write_filterbanks(directory, made, duration=duration)
    size = path.stat().st_size / 1e9
    print(f"data: {size:.2f} GB made in {time.monotonic() - began:.0f} s", flush=True)


def write_lines(directory: Path, bursts: list[Burst]) -> None:
    """A trigger file with a line for each burst."""
    lines = [
        format_line(
            beam=0,
            batch=int(burst.time_s / (12_500 * TSAMP)),
            sample=round(burst.time_s / TSAMP) % 12_500 // burst.width_samples,
            integration_step=burst.width_samples,
            time=burst.time_s,
            dm_id=round(burst.dm / 0.2),
            dm=burst.dm,
            snr=burst.snr,
        )
        for burst in bursts
    ]
    (directory / trigger_name(0, 1)).write_bytes(format_header() + b"".join(lines))


class Watched(Struct):
    """What the processes took, as far as was seen."""

    cpu: dict[int, float] = field(default_factory=dict)  # s, by process
    peak: dict[int, float] = field(default_factory=dict)  # MB that were resident at most
    private: dict[int, float] = field(default_factory=dict)  # MB without mapped files

    def look(self, node: TemporaryNode) -> None:
        """Look at the processor and at the processes that work for it."""
        for process in node.processes():
            try:
                words = " ".join(process.cmdline())
                if "processor" not in words and "pool_process" not in words:
                    continue
                times = process.cpu_times()
                self.cpu[process.pid] = times.user + times.system
                if "pool_process" in words:
                    status = Path(f"/proc/{process.pid}/status").read_text()
                    self.peak[process.pid] = _megabytes(status, "VmHWM")
                    now = _megabytes(status, "RssAnon")
                    self.private[process.pid] = max(now, self.private.get(process.pid, 0.0))
            except (psutil.Error, OSError, ValueError):
                continue  # it has ended just now


def _megabytes(status: str, name: str) -> float:
    found = re.search(rf"^{name}:\s*(\d+) kB", status, re.MULTILINE)
    if not found:
        raise ValueError(name)
    return int(found[1]) * 1024 / 1e6


def took(node: TemporaryNode, watched: Watched, ends: dict[str, str], n: int) -> None:
    """Wait for the ends of all stages, and print what each took.

    :param ends: by stage, what the log says at its end, and that n times for the extraction
    """
    began, log = time.monotonic(), ""
    cpu = sum(watched.cpu.values())
    for name, mark in ends.items():
        start, cpu_before, load = time.monotonic(), cpu, os.getloadavg()[0]
        while log.count(mark) < (n if mark == KEPT else 1) and END not in log:
            watched.look(node)
            log = node.log("processor")
            if time.monotonic() > began + PATIENCE:
                raise SystemExit(f"not done after {PATIENCE} s:\n{log[-3000:]}")
            time.sleep(POLL)
        cpu = sum(watched.cpu.values())
        print(
            f"  {name:<16} {time.monotonic() - start:6.1f} s  processor {cpu - cpu_before:6.1f} s"
            f"  load {load:.1f} to {os.getloadavg()[0]:.1f}",
            flush=True,
        )
    print(f"  {'all':<16} {time.monotonic() - began:6.1f} s  (target: {TARGET_SECONDS:.0f} s)")
    for pid, peak in watched.peak.items():
        print(
            f"  pool process {pid}: at most {peak:.0f} MB resident, {watched.private[pid]:.0f} MB"
            f" of it its own  (target: {TARGET_MB:.0f} MB)"
        )


def run(node: TemporaryNode, directory: Path, bursts: list[Burst], duration: float) -> None:
    """Have the node process the observation, and print what it took."""
    place = node.home / "observation"
    observation = write_observation(
        place,
        task_id=TASK,
        source="MANY",
        start=time.time() - duration - 600,
        duration=duration,
        instances=1,
        n_tabs=1,
    )
    (place / "output").mkdir()
    (place / "output" / "filterbank").symlink_to(directory.absolute())
    write_lines(observation.amber_dir, bursts)
    watched = Watched()
    watched.look(node)
    node.ask("start_observation", payload=observation.parset)
    ends = {"read and cluster": "all came: ", "extract": KEPT, "plots and lists": END}
    took(node, watched, ends, len(bursts))
    for line in node.log("processor").splitlines():
        if " WARNING " in line or " ERROR " in line:
            print(f"  {line}")
    (path,) = (node.home / "results").glob("*/*/CB00_summary.yaml")
    size = sum(file.stat().st_size for file in path.parent.iterdir()) / 1e6
    print(f"  {read_summary(path)}, {size:.1f} MB of results")


def main() -> None:
    """Make data, run a node, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candidates", type=int, default=1000)
    parser.add_argument("--duration", type=float, default=300.0, help="s")
    parser.add_argument("--extractors", type=int, default=2)
    parser.add_argument("--directory", type=Path, help="for the data, which stay there")
    args = parser.parse_args()
    bursts = make_bursts(args.candidates, args.duration)
    node = TemporaryNode(
        sections={
            "darc_master": {
                "control_timeout": 30,
                "services_master_mix": [],
                "services_worker_mix": ["processor"],
            },
            "processor": {
                "num_extractor": args.extractors,
                "extractor": {"snr_min_local": 1, "snr_dm0_filter": False},
                "classifier": {"thresh_freqtime": 0.0},
            },
        }
    )
    try:
        with tempfile.TemporaryDirectory() as temporary:
            directory = args.directory or Path(temporary)
            make_data(directory, bursts, args.duration)
            node.start()
            print(f"{args.candidates} candidates of {args.duration:g} s:")
            run(node, directory, bursts, args.duration)
    finally:
        node.stop()
        node.remove()


if __name__ == "__main__":
    main()
