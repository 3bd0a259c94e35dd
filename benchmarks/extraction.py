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
from pathlib import Path

import numpy as np
import numpy.typing as npt

from darc.config.records import Struct
from darc.data_files.beams import CompoundBeam
from darc.data_files.filterbank_header import FilterbankHeader
from darc.data_files.filterbank_writer import FilterbankWriter
from darc.science.dedispersion import Band
from darc.science.extraction import Extraction, extract, prepare
from darc.science.extraction_plan import ExtractionPlan, ExtractionSettings, plan_extraction
from darc.science.synthesised_beam import synthesised_beams
from simulator.bursts import AmberSearch, Burst
from simulator.filterbank_data import Filterbanks, SimulatedInstrument, filterbank_paths
from simulator.synthetic_pulse import (
    dedispersed_profile,
    dispersed_pulse,
    ideal_boxcar,
    synthetic_pulse,
)

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


def make_plan() -> ExtractionPlan:
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


class Compared(Struct, frozen=True):
    """How far an extracted burst is from what was generated."""

    snr: float  # generated
    matched: float  # S/N as a part of that of the ideal matched filter, place and noise known
    matched_boxcar: float  # likewise, of the plain boxcar at the trigger's DM
    asked: float  # S/N as a part of that generated: noise adds 1
    dm: float  # error in steps of the trials
    time: float  # error of its middle, in final bins


def random_bursts(n: int) -> list[Burst]:
    """Bursts of S/N 10 to 50, DM 50 to 3000 and 1 to 250 samples; 8 s apart, as DMs delay."""
    rng = np.random.default_rng(1)
    return [
        Burst(
            time_s=8.0 * (number + 1) + rng.random(),
            dm=float(50 * 60 ** rng.random()),
            width_samples=round(250 ** rng.random()),
            snr=float(rng.uniform(10, 50)),
            beam=0,
        )
        for number in range(n)
    ]


def compare(made: Filterbanks, burst: Burst) -> Compared:
    """Extract a burst as if AMBER had found it, and compare."""
    arrival = burst.time_s / TSAMP
    pulse = dispersed_pulse(BAND, TSAMP, dm=burst.dm, width=burst.width_samples, arrival=arrival)
    shifts = BAND.shifts([burst.dm], TSAMP)[0]
    first, profile = dedispersed_profile(pulse, shifts, np.ones(BAND.n_channels))
    start, _, _ = ideal_boxcar(profile)
    # The trigger's width, time and DM are those of AMBER's bins and trials.
    width = best_width(profile, AMBER_WIDTHS)
    grid = next(grid for grid in AmberSearch().grids if grid.start <= burst.dm < grid.stop)
    plan = plan_extraction(
        BAND,
        TSAMP,
        dm=grid.start + grid.step * round((burst.dm - grid.start) / grid.step),
        width=width,
        time=(first + start) // width * width * TSAMP,
        settings=SETTINGS,
    )
    data = made.block(0, plan.start, plan.end)
    found = extract(data, plan, SETTINGS, descending=True)

    seen = np.zeros(len(profile))
    for channel, begin in enumerate((shifts + first - plan.start).tolist()):
        seen += data[begin : begin + len(profile), BAND.n_channels - 1 - channel]
    seen = (seen - MEAN * BAND.n_channels) / (SIGMA * np.sqrt(BAND.n_channels))
    matched = float(seen @ profile / np.linalg.norm(profile))
    middle = (found.time / TSAMP + plan.bin_samples / 2) - (arrival + burst.width_samples / 2)
    return Compared(
        snr=burst.snr,
        matched=found.snr_best / matched,
        matched_boxcar=found.snr / matched,
        asked=found.snr / burst.snr,
        dm=abs(found.best_dm - burst.dm) / float(plan.dms[1] - plan.dms[0]),
        time=abs(middle) / plan.bin_samples,
    )


def best_width(profile: npt.NDArray[np.float64], widths: tuple[int, ...]) -> int:
    """The width in which a search would see a burst best."""
    sums = np.concatenate(([0.0], np.cumsum(np.append(profile, np.zeros(max(widths))))))
    return max(widths, key=lambda width: np.max(sums[width:] - sums[:-width]) / np.sqrt(width))


def accuracy(n: int) -> None:
    """Compare generated bursts, and print what they are off by, and how many by how much."""
    bursts = random_bursts(n)
    made = Filterbanks(SimulatedInstrument(header=HEADER, bandpass=False), bursts, seed=1)
    found = [compare(made, burst) for burst in bursts]
    names = {
        "matched": "S/N, part of the matched filter's",
        "matched_boxcar": "the same of plain boxcars",
        "asked": "S/N, part of that generated",
        "dm": "error of DM (trials)",
        "time": "error of arrival (final bins)",
    }
    for title, some in (
        (f"{n} bursts", found),
        ("S/N below 15", [one for one in found if one.snr < 15]),
        ("S/N 15 and above", [one for one in found if one.snr >= 15]),
    ):
        print(f"{title} ({len(some)}):")
        for name, text in names.items():
            column = np.array([getattr(one, name) for one in some])
            reach, off = (0.05, column - 1) if "S/N" in text or "same" in text else (0.5, column)
            reach = 1.0 if name == "time" else reach
            low, middle, high = np.percentile(column, [5, 50, 95])
            print(
                f"  {text:<34} median {middle:.3f}  5 % {low:.3f}  95 % {high:.3f}  "
                f"{column.min():.3f} to {column.max():.3f}; "
                f"{100 * np.mean(np.abs(off) <= reach):.0f} % within {reach}"
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
