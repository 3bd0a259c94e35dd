"""How often folding takes noise for a pulsar: python tests/numbers/folding.py [--files N].

Files of noise (noise_files.py) are folded at a period and DM that nobody measured, at a period
alone, and searched for a period. Counted is how many are detected, and how many have a false-alarm
probability below some others; as it is an upper limit, there should be no more than it says.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from msgspec import Struct
from noise_files import KINDS, NoiseFile, Pulsar, a_noise_file, write

from darc.offline.fold_file import FoldedPulsar, FoldingError, fold_filterbank

MODES = ("period and DM", "period", "nothing")
LIMITS = (0.1, 0.01, 0.001)


class Outcome(Struct, frozen=True):
    """A file of noise: how it was folded, and how likely that is by chance; None: too short."""

    file: NoiseFile
    mode: str
    chance: float | None
    detected: bool
    snr: float


def fold_noise(seed: int, directory: Path) -> Outcome:
    """Make a file of noise, and fold it."""
    what = a_noise_file(seed)
    path = directory / f"{seed}.fil"
    write(what, path)
    mode = MODES[seed // len(KINDS) % len(MODES)]
    random = np.random.default_rng((seed, 4))
    period = float(np.exp(random.uniform(np.log(8 * what.tsamp), np.log(what.length / 4))))
    n_bins = int(random.choice([8, 16, 32, 64, 128]))
    try:
        found: FoldedPulsar = fold_filterbank(
            path,
            period=None if mode == "nothing" else period,
            dm=float(random.uniform(0, 100)) if mode == "period and DM" else None,
            n_bins=n_bins,
        )
    except FoldingError:
        return Outcome(what, mode, None, False, 0.0)
    finally:
        path.unlink()
    chance, snr = found.false_alarm_probability, found.peak.snr
    return Outcome(what, mode, chance, found.detected, snr)


def table(outcomes: list[Outcome]) -> list[str]:
    """Rows of a table in Markdown: files, and how many are below each limit."""
    limits = " | ".join(f"p < {limit:g}" for limit in LIMITS)
    rows = [f"| noise | known | files | too short | {limits} | detected | highest S/N |"]
    rows.append("|---|---|---|---|---|---|---|---|---|")
    groups: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for one in outcomes:
        groups[one.file.kind, "any"].append(one)
        groups["all", one.mode].append(one)
        groups["all", "any"].append(one)
    order = [*((kind, "any") for kind in KINDS), *(("all", mode) for mode in (*MODES, "any"))]
    for key in order:
        group = groups[key]
        chances = [one.chance for one in group if one.chance is not None]
        below = [sum(chance < limit for chance in chances) for limit in LIMITS]
        detected = sum(one.detected for one in group)
        snr = max((one.snr for one in group), default=0.0)
        cells = [*key, len(group), len(group) - len(chances), *below, detected, f"{snr:.1f}"]
        rows.append("| " + " | ".join(map(str, cells)) + " |")
    return rows


def pulsars(directory: Path, count: int) -> list[str]:
    """Rows of a table: pulsars in white and in red noise, by S/N, and how many were found."""
    rows = ["| S/N put in | noise | known | files | detected | median S/N found / put in |"]
    rows.append("|---|---|---|---|---|---|")
    for snr in (7.0, 10.0, 15.0, 30.0, 100.0):
        for kind in ("white", "red"):
            for mode in ("period and DM", "nothing"):
                found: Counter[bool] = Counter()
                ratios = []
                for seed in range(count):
                    random = np.random.default_rng((seed, 5))
                    what = NoiseFile(seed, kind, 32768, 32, 1e-3, 400.0, 430.0, 8)
                    period, dm = float(10 ** random.uniform(-1.3, 0)), float(random.uniform(20, 80))
                    pulsar = Pulsar(period, dm, float(10 ** random.uniform(-2, -1)), snr)
                    path = directory / "pulsar.fil"
                    write(what, path, pulsar)
                    known = {"period": period, "dm": dm} if mode == "period and DM" else {}
                    one = fold_filterbank(path, n_bins=64, **known)
                    same = abs(one.period / period - 1) < 1e-3 or mode != "nothing"
                    found[one.detected and same] += 1
                    ratios.append(one.peak.snr / snr)
                cells = [f"{snr:.0f}", kind, mode, count, found[True], f"{np.median(ratios):.2f}"]
                rows.append("| " + " | ".join(map(str, cells)) + " |")
    return rows


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--files", type=int, default=1000)
    words.add_argument("--first", type=int, default=0, help="seed of the first")
    words.add_argument("--pulsars", type=int, default=10, help="of each kind; 0: none")
    given = words.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        seeds = range(given.first, given.first + given.files)
        outcomes = [fold_noise(seed, Path(name)) for seed in seeds]
        print("\n".join(table(outcomes)))
        for one in outcomes:
            if one.chance is not None and one.chance < LIMITS[-1]:
                print(f"  {one.file}, {one.mode}: {one.chance:.2g}, S/N {one.snr:.1f}")
        print(f"{given.files} files in {time.monotonic() - began:.0f} s\n")
        if given.pulsars:
            print("\n".join(pulsars(Path(name), given.pulsars)))


if __name__ == "__main__":
    main()
