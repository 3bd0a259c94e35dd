"""What it costs to extract a candidate: python -m benchmarks.extraction [--accuracy N].

At the size of ARTS: 1536 channels of 8 bits, DM 1000 pc cm-3, 10 samples wide, 64 trials, cleaned;
from the files, which are in the page cache, to the finished arrays; by one thread of a process of
its own. With --accuracy, N generated bursts are extracted instead, and compared with what they are.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from darc.filterbank.beams import CompoundBeam, filterbank_paths
from darc.filterbank.writer import FilterbankWriter
from darc.model.filterbank_header import FilterbankHeader
from darc.science.dedispersion import Band, dedisperse
from darc.science.extraction import Extraction, extract, prepare
from darc.science.extraction_plan import ExtractionSettings, Plan, plan_extraction
from darc.science.synthesised_beam import synthesised_beams
from darc.science.synthetic_pulse import synthetic_pulse

TSAMP = 81.92e-6  # s
BAND = Band(f_lowest=1219.70092773, channel_width=300 / 1536, n_channels=1536)
HEADER = FilterbankHeader(
    nchans=BAND.n_channels,
    nbits=8,
    tsamp=TSAMP,
    fch1=BAND.f_lowest + BAND.channel_width * (BAND.n_channels - 1),
    foff=-BAND.channel_width,
)
N_TABS = 12
SBS = synthesised_beams(
    n_sbs=71, n_subbands=32, n_tabs=N_TABS, band_low=1201, bandwidth=300, reference_freq=1501
)
SETTINGS = ExtractionSettings(
    ntime=64,
    nfreq=64,
    ndm=64,
    dm_halfrange=10,
    clean_type="perchannel",
    threshold_time=3.25,
    n_iter_time=3,
    threshold_freq=2.75,
    n_iter_freq=3,
    bin_size=32,
)
DM, WIDTH, ARRIVAL, SNR = 1000.0, 10, 4000, 20.0
MEAN, SIGMA = 100.0, 10.0  # of a sample, in units of its integer
BLOCK = 1000  # samples written at a time
AMBER_WIDTHS = (1, 5, 10, 50, 100, 250, 500, 1000)
TARGETS = 0.15, 0.3, 400.0  # s, s, MB


def make_plan() -> Plan:
    """What is extracted."""
    return plan_extraction(BAND, TSAMP, dm=DM, width=WIDTH, time=ARRIVAL * TSAMP, settings=SETTINGS)


def write_files(directory: Path) -> None:
    """A file for each TAB, with noise and a burst."""
    n_samples = make_plan().end + BLOCK
    pulse = synthetic_pulse(BAND, TSAMP, dm=DM, width=WIDTH, arrival=ARRIVAL, n_samples=n_samples)
    amplitude = SNR * SIGMA / np.sqrt(BAND.n_channels * WIDTH)
    rng = np.random.default_rng(1)
    for path in filterbank_paths(directory, 0, N_TABS):
        with FilterbankWriter(path, HEADER) as file:
            for first in range(0, n_samples, BLOCK):
                signal = amplitude * pulse[::-1, first : first + BLOCK].T
                file.append(quantised(rng, signal))


def quantised(rng: np.random.Generator, signal: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """A signal in noise, with 8 bits."""
    noise = rng.standard_normal(signal.shape, dtype=np.float32)
    return np.clip(np.rint(MEAN + SIGMA * noise + signal), 0, 255).astype(np.uint8)


def measure(directory: Path, repeats: int) -> None:
    """In a process of its own: extract, and print what it took."""
    start = time.perf_counter()
    prepare(np.uint8, SETTINGS)
    print(f"  compiled, or read what was compiled: {time.perf_counter() - start:.2f} s")
    plan = make_plan()
    with CompoundBeam(filterbank_paths(directory, 0, N_TABS)) as beam:

        def from_tab() -> Extraction:
            return extract(
                beam.read_tab(0, plan.start, plan.count), plan, SETTINGS, descending=True
            )

        def from_sb() -> Extraction:
            data = beam.read_synthesised(SBS[0], plan.start, plan.count)
            return extract(data, plan, SETTINGS, descending=True)

        print(f"  {plan.count} samples of {BAND.n_channels} channels:")
        seconds("one TAB", from_tab, repeats, TARGETS[0])
        seconds("an SB of 8 TABs", from_sb, repeats, TARGETS[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    print(f"  memory of the process, at most {peak:5.0f} MB  (target: {TARGETS[2]:.0f} MB)")


def seconds(what: str, action: Callable[[], Extraction], repeats: int, target: float) -> None:
    """Measure and print time and processor time; the machine's other work shows in the first."""
    times, processor = [], []
    for _ in range(repeats):
        start = time.perf_counter(), time.process_time()
        found = action()
        times.append(time.perf_counter() - start[0])
        processor.append(time.process_time() - start[1])
    print(
        f"  {what:<16} median {statistics.median(times):.3f} s  "
        f"{min(times):.3f} to {max(times):.3f} s  (target: {target:.2f} s)  "
        f"processor {statistics.median(processor):.3f} s  S/N {found.snr:.1f}"
    )


@dataclass(frozen=True, slots=True)
class Compared:
    """How far an extracted burst is from what was generated."""

    snr_matched: float  # S/N as a part of that of the ideal matched filter
    snr_boxcar: float  # likewise, of the best boxcar with its place and the noise known
    dm: float  # error in steps of the trials
    time: float  # error of its middle, in final bins


def compare(rng: np.random.Generator, *, dm: float, width: int, snr: float) -> Compared:
    """Generate a burst, extract it as if AMBER had found it, and compare."""
    arrival = 40_000 + rng.random()
    profile = ideal_profile(dm, width, arrival % 1)
    trigger_width = best_width(profile, AMBER_WIDTHS)
    plan = plan_extraction(
        BAND, TSAMP, dm=dm, width=trigger_width, time=arrival * TSAMP, settings=SETTINGS
    )
    # The trigger's DM is one of AMBER's, which is not quite the burst's.
    step = float(plan.dms[1] - plan.dms[0])
    offset = rng.uniform(-0.1, 0.1) if dm < 820 else 0.0
    plan = plan_extraction(
        BAND, TSAMP, dm=dm + offset, width=trigger_width, time=arrival * TSAMP, settings=SETTINGS
    )
    pulse = synthetic_pulse(
        BAND, TSAMP, dm=dm, width=width, arrival=arrival - plan.start, n_samples=plan.count
    )
    amplitude = snr * SIGMA * np.sqrt(BAND.n_channels) / np.linalg.norm(profile)
    data = quantised(rng, amplitude * pulse[::-1].T)
    found = extract(data, plan, SETTINGS, descending=True)

    rows = np.ascontiguousarray(data[:, ::-1].T, dtype=np.float32) - MEAN
    series = dedisperse(rows, BAND.shifts([dm], TSAMP), 64 * plan.bin_samples)[0][0]
    front = int(arrival) - plan.start - LEAD
    seen = series[front : front + len(profile)] / (SIGMA * np.sqrt(BAND.n_channels))
    fitting = profile[: len(seen)]
    matched = float(seen @ fitting / np.linalg.norm(fitting))
    first, boxcar = best_place(profile)
    known = float(seen[first : first + boxcar].sum() / np.sqrt(boxcar))
    middle = (found.time / TSAMP + plan.bin_samples / 2) - (arrival + width / 2)
    return Compared(
        snr_matched=found.snr / matched,
        snr_boxcar=found.snr / known,
        dm=(found.best_dm - dm) / step,
        time=middle / plan.bin_samples,
    )


LEAD = 50  # samples of a profile before its burst


def ideal_profile(dm: float, width: int, fraction: float) -> npt.NDArray[np.float64]:
    """A dedispersed burst without noise, LEAD samples before and 100 behind it."""
    shifts = BAND.shifts([dm], TSAMP)
    length = LEAD + width + 100
    pulse = synthetic_pulse(
        BAND,
        TSAMP,
        dm=dm,
        width=width,
        arrival=LEAD + fraction,
        n_samples=int(shifts.max()) + length,
    )
    return dedisperse(pulse, shifts, length)[0][0].astype(np.float64)


def best_width(profile: npt.NDArray[np.float64], widths: tuple[int, ...]) -> int:
    """The width in which a search would see a burst best."""
    sums = np.concatenate(([0.0], np.cumsum(np.append(profile, np.zeros(max(widths))))))
    return max(widths, key=lambda width: np.max(sums[width:] - sums[:-width]) / np.sqrt(width))


def best_place(profile: npt.NDArray[np.float64]) -> tuple[int, int]:
    """Start and width of the boxcar that sees a burst best."""
    sums = np.concatenate(([0.0], np.cumsum(profile)))
    best = (0.0, 0, 1)
    for width in range(1, len(profile)):
        seen = (sums[width:] - sums[:-width]) / np.sqrt(width)
        best = max(best, (float(seen.max()), int(seen.argmax()), width))
    return best[1:]


def accuracy(n: int) -> None:
    """Compare bursts of DM 50 to 3000 and 1 to 250 samples, and print what they are off by."""
    rng = np.random.default_rng(1)
    rows = []
    for _ in range(n):
        dm = float(50 * 60 ** rng.random())
        width = round(250 ** rng.random())
        snr = float(rng.uniform(15, 40))
        found = compare(rng, dm=dm, width=width, snr=snr)
        rows.append((found.snr_matched, found.snr_boxcar, abs(found.dm), abs(found.time)))
    table = np.array(rows)
    names = (
        "S/N, part of the matched filter's",
        "S/N, part of the ideal boxcar's",
        "error of DM (trials)",
        "error of arrival (final bins)",
    )
    print(f"{n} bursts:")
    for name, column in zip(names, table.T, strict=True):
        low, middle, high = np.percentile(column, [5, 50, 95])
        print(
            f"  {name:<34} median {middle:.3f}  5 % {low:.3f}  95 % {high:.3f}  "
            f"{column.min():.3f} to {column.max():.3f}"
        )


def main() -> None:
    """Make the files, measure in another process, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--accuracy", type=int, default=0, metavar="N")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.accuracy:
        accuracy(args.accuracy)
    elif args.measure:
        measure(args.measure, args.repeats)
    else:
        with tempfile.TemporaryDirectory() as directory:
            write_files(Path(directory))
            command = [sys.executable, "-m", "benchmarks.extraction", "--measure", directory]
            subprocess.run([*command, "--repeats", str(args.repeats)], check=True)


if __name__ == "__main__":
    main()
