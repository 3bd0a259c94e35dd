"""Bursts of random DM, width and S/N, and how many of them the search finds, and how strong.

python tests/numbers/run_injected.py --output injected.json
PYTHONPATH=(an earlier checkout) python tests/numbers/run_injected.py --output before.json
python tests/numbers/run_injected.py --compare before.json injected.json

DM 20 to 3000 and widths of 1 to 250 samples, log-uniform; S/N 7 to 30, uniform: of the matched
filter of the band, before quantisation. The search looks at trial DMs around each burst, without
clustering and extraction. The same seeds give the same files: two versions of DARC are compared
burst by burst. The output is written after each file, and a run that was ended goes on from there.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import msgspec
import numpy as np
from darc_side import found_by_search
from msgspec import Struct
from msgspec.structs import replace
from oracle import Component, Instrument, write_many

#: Files of each instrument in a thousand bursts, bursts in each, and time between them (s).
FILES = (
    (Instrument("1220-1520 MHz, 256 channels", 1220.0, 1520.0, 256, 2.56e-4, 8, 0.0), 100, 6, 4.0),
    (Instrument("4-8 GHz, 256 channels", 4000.0, 8000.0, 256, 6.4e-5, 8, 0.0), 50, 8, 2.0),
)
ALL = sum(files * bursts for _, files, bursts, _ in FILES)
DMS, WIDTHS, SNRS = (20.0, 3000.0), (1, 250), (7.0, 30.0)
#: What is found is above each of these; the search lists what is above the lowest.
LIMITS = (7.0, 8.0, 10.0)
#: Least distance of the trial DMs' ends from the burst's, pc cm-3.
_DM_BESIDE = 8.0


class Injected(Struct, frozen=True):
    """A burst, and the strongest that the search finds where it is.

    :param seen: S/N of the matched filter for the noise that is in the file
    :param best_boxcar: S/N of the best boxcar over that of the matched filter, without noise
    :param width: samples; likewise true_width, of the best boxcar, and found_width
    :param snr: 0 where nothing is found
    :param file: index of the instrument, and of the file
    """

    file: tuple[int, int]
    instrument: str
    dm: float
    width: int
    seen: float
    best_boxcar: float
    true_width: int
    snr: float
    found_width: int


def injected(which: tuple[int, int]) -> list[Injected]:
    """Make a file, search around its bursts' DM, and look for each of them."""
    kind, number = which
    instrument, _, count, apart = FILES[kind]
    rng = np.random.default_rng([kind, number])
    dm = float(np.exp(rng.uniform(*np.log(DMS))))
    instrument = replace(instrument, dm=dm)
    widths = np.rint(np.exp(rng.uniform(*np.log(WIDTHS), count))).astype(int).tolist()
    bursts = list(zip(rng.uniform(*SNRS, count).tolist(), widths, strict=True))
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "bursts.fil"
        truths = write_many(path, instrument, (Component(),), bursts, apart, number)
        per_dm = instrument.across(1.0)
        beside = max(_DM_BESIDE, 2 * max(truth.width for truth in truths) / per_dm)
        listed = found_by_search(path, (max(0.0, dm - beside), dm + beside), LIMITS[0] - 1)
    found = []
    for (_, width), truth in zip(bursts, truths, strict=True):
        near = max(0.02, 3 * truth.width * instrument.tsamp)
        at = truth.start * instrument.tsamp
        mine = [one for one in listed if abs(one.time - at) < near]
        best = max(mine, key=lambda one: one.snr, default=None)
        found.append(
            Injected(
                *(which, instrument.name, dm, width, truth.seen, truth.boxcar / truth.matched),
                truth.width,
                best.snr if best else 0.0,
                best.width if best else 0,
            )
        )
    return found


def run(size: float, jobs: int, done: set[tuple[int, int]]) -> Iterator[list[Injected]]:
    """Search this part of the thousand, but for the files that are done."""
    which = [
        (kind, number)
        for kind, (_, files, _, _) in enumerate(FILES)
        for number in range(max(1, round(size * files)))
    ]
    # Both instruments from the beginning: a run that is ended early has some of each.
    which = sorted(set(which) - done, key=lambda one: one[1] / FILES[one[0]][1])
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap(injected, which)


def read(path: Path) -> list[Injected]:
    """Read an output; none where there is no file."""
    if not path.exists():
        return []
    return msgspec.json.decode(path.read_bytes(), type=list[Injected])


def in_both(columns: dict[str, list[Injected]]) -> dict[str, list[Injected]]:
    """Leave out the files that a version has not searched, and sort."""
    done = set.intersection(*({one.file for one in some} for some in columns.values()))
    return {
        name: sorted((one for one in some if one.file in done), key=lambda one: one.file)
        for name, some in columns.items()
    }


def table(columns: dict[str, list[Injected]]) -> str:
    """Compare versions: all of them have searched the same bursts."""
    lines = [f"| | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]

    def add(name: str, value: Callable[[list[Injected]], str]) -> None:
        lines.append(f"| {name} | {' | '.join(map(value, columns.values()))} |")

    add("bursts", lambda some: str(len(some)))
    for limit in LIMITS:
        add(
            f"found at S/N ≥ {limit:g}",
            lambda some, limit=limit: str(sum(one.snr >= limit for one in some)),
        )
    found = ([one.snr > 0 for one in some] for some in columns.values())
    both = [all(each) for each in zip(*found, strict=True)]

    def ratios(some: list[Injected], low: float = 0, high: float = math.inf) -> list[float]:
        return sorted(
            one.snr / one.seen
            for one, there in zip(some, both, strict=True)
            if there and one.seen >= LIMITS[-1] and low <= one.true_width < high
        )

    add("S/N / matched filter's, S/N ≥ 10: median", lambda some: f"{median(ratios(some)):.3f}")
    for part in (0.05, 0.0):
        add(
            f"likewise: {part:.0%}" if part else "likewise: lowest",
            lambda some, part=part: f"{ratios(some)[int(part * len(ratios(some)))]:.3f}",
        )
    for low, high in ((1, 4), (4, 16), (16, 64), (64, 1000)):
        add(
            f"likewise: median of {low} to {high - 1} samples",
            lambda some, low=low, high=high: f"{median(ratios(some, low, high) or [0]):.3f}",
        )
    add(
        "best boxcar / matched filter, without noise: median",
        lambda some: f"{median(one.best_boxcar for one in some):.3f}",
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=float, default=1.0, help=f"1: {ALL} bursts")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path(".make/injected.json"))
    parser.add_argument("--compare", nargs="+", type=Path, help="earlier outputs: only the table")
    options = parser.parse_args()
    if not options.compare:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        found = read(options.output)
        for more in run(options.size, options.jobs, {one.file for one in found}):
            found += more
            new = options.output.with_suffix(".new")
            new.write_bytes(msgspec.json.encode(found))
            new.replace(options.output)
    print(table(in_both({path.stem: read(path) for path in options.compare or [options.output]})))


if __name__ == "__main__":
    main()
