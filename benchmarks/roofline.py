"""Where an extraction's time goes, against what memory allows: python -m benchmarks.roofline.

The bandwidth is measured first, as STREAM does, with numpy: reading and copying, of arrays that are
far larger than the processor's cache, and of one of the size of a group of channels, which fits in
it. Then each step of an extraction at the size of ARTS (benchmarks.extraction, `isolated` cleaning,
one TAB in the page cache): its processor time without that of the steps inside, the bytes that it
is given and returns, each counted once, and how long those would take at the bandwidth of where
they are. All by one thread, in its processor time, so that other work shows little.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import extraction as at_arts
from darc.config.records import Struct, replace
from darc.data_files.beams import CompoundBeam
from darc.science.extraction import extract, prepare
from simulator.filterbank_data import filterbank_paths

#: Bytes of the arrays: of a quarter of a GB, and of 16 channels of the window.
LARGE, SMALL = 2**28, 16 * 13_000 * 4
WHERE = {"memory": LARGE, "cache": SMALL}
CHANNELS, EXTRACTION = "darc.science.cleaned_channels", "darc.science.extraction"
#: By step: module and function; where its bytes are; whether it changes its first array in place.
STEPS = {
    "largest value a sample can have": (CHANNELS, "never_outlying", "memory", False),
    "moments without data": (CHANNELS, "silent_moments", "memory", False),
    "mean over the band": (CHANNELS, "mean_series", "memory", False),
    "jumps of the level": (CHANNELS, "find_jumps", "memory", False),
    "drifts": (CHANNELS, "without_drift", "memory", False),
    "noise along the pulse's track": (CHANNELS, "channel_noise", "memory", False),
    "impulses": (CHANNELS, "find_impulses", "memory", False),
    "rows of channels": (CHANNELS, "channel_rows", "memory", False),
    "mending": (CHANNELS, "mend", "cache", True),
    "outliers compared and replaced": (CHANNELS, "replace_isolated", "cache", True),
    "even noise": (CHANNELS, "even_out_noise", "cache", True),
    "noise of channels": (EXTRACTION, "noise_variances", "cache", False),
    "medians of channels": (EXTRACTION, "medians", "cache", False),
    "averages of samples": (EXTRACTION, "downsample_time", "cache", False),
    "sums of trial DMs": (EXTRACTION, "add_dedispersed", "cache", False),
    "bins of channels": (EXTRACTION, "add_binned", "cache", False),
    "boxcars and arrays of all": (EXTRACTION, "_finish", "cache", False),
}


class Spent(Struct):
    """What a step took in one extraction.

    :param seconds: processor time, without that of steps inside
    :param moved: bytes that it was given and that it returned
    """

    seconds: float = 0.0
    moved: int = 0


class Clock:
    """Time of steps that may be inside one another."""

    def __init__(self) -> None:
        self.spent: defaultdict[str, Spent] = defaultdict(Spent)
        self._inside: list[float] = []

    def wrap(self, step: str, function: Callable[..., Any], changes: bool) -> Callable[..., Any]:
        """Return a function that is counted as a step."""

        def counted(*arguments: Any, **keywords: Any) -> Any:
            self._inside.append(0.0)
            start = time.thread_time()
            result = function(*arguments, **keywords)
            took = time.thread_time() - start
            spent = self.spent[step]
            spent.seconds += took - self._inside.pop()
            spent.moved += moved(arguments, result, changes)
            if self._inside:
                self._inside[-1] += took
            return result

        return counted


def moved(arguments: tuple[Any, ...], result: Any, changes: bool) -> int:
    """Bytes of the arrays of a call; of the whole data, those of the channels that are asked for.

    :param changes: the first array is read and written, and others are looked at here and there
    """
    arrays = [one for one in arguments if isinstance(one, np.ndarray)]
    sizes = [one.nbytes for one in arrays]
    if changes:
        return 2 * sizes[0]
    if len(arrays) > 1 and arrays[0].dtype.kind == "u" and arrays[1].dtype.kind == "i":
        sizes[0] = arrays[0].nbytes // arrays[0].shape[1] * len(arrays[1])
    returned = result if isinstance(result, tuple) else (result,)
    known = {id(one) for one in arrays}
    new = [one for one in returned if isinstance(one, np.ndarray) and id(one) not in known]
    return sum(sizes) + sum(one.nbytes for one in new)


def bandwidths(repeats: int) -> dict[str, dict[str, float]]:
    """Measure bytes per second of reading and of copying (what is read and what is written)."""
    found = {}
    for where, size in WHERE.items():
        source = np.ones(size // 4, np.float32)
        target = np.zeros_like(source)
        rounds = max(1, LARGE // size)

        def best(action: Callable[[], object], moved: int, rounds: int = rounds) -> float:
            times = []
            for _ in range(repeats):
                start = time.thread_time()
                for _ in range(rounds):
                    action()
                times.append((time.thread_time() - start) / rounds)
            return moved / min(times)

        found[where] = {
            "read": best(lambda source=source: np.max(source.view(np.uint8)), size),  # type: ignore[misc]
            "copy": best(lambda s=source, t=target: np.copyto(t, s), 2 * size),  # type: ignore[misc]
        }
    return found


def extractions(directory: Path, repeats: int) -> list[tuple[float, dict[str, Spent]]]:
    """Extract, and return the processor time of all and of each step."""
    settings = replace(at_arts.SETTINGS, clean_type="isolated")
    plan, clock = at_arts.make_plan(), Clock()
    prepare(np.uint8, settings)
    for step, (module, name, _, changes) in STEPS.items():
        place = importlib.import_module(module)
        setattr(place, name, clock.wrap(step, getattr(place, name), changes))
    found = []
    with CompoundBeam(filterbank_paths(directory, 0, at_arts.N_TABS)) as beam:
        for _ in range(repeats + 1):
            clock.spent.clear()
            start = time.thread_time()
            data = beam.read_tab(0, plan.start, plan.count)
            extract(data, plan, settings, descending=True)
            found.append((time.thread_time() - start, dict(clock.spent)))
    return found[1:]  # the first one reads what was compiled, and touches new memory


def main() -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    args = parser.parse_args()
    speed = bandwidths(args.repeats)
    print("| where | read (GB/s) | copied, both counted (GB/s) |\n|---|---:|---:|")
    for where, of in speed.items():
        size = WHERE[where] / 1e6
        print(f"| {where}, {size:.1f} MB | {of['read'] / 1e9:.1f} | {of['copy'] / 1e9:.1f} |")
    with tempfile.TemporaryDirectory() as directory:
        at_arts.write_files(Path(directory))
        found = extractions(Path(directory), args.repeats)
    whole = statistics.median(seconds for seconds, _ in found)
    print(
        "\n| step | ms | MB | where | ms at its bandwidth | times |\n|---|---:|---:|---|---:|---:|"
    )
    rest, bound = whole, 0.0
    for step, (_, _, where, _) in STEPS.items():
        spent = [one.get(step, Spent()) for _, one in found]
        seconds = statistics.median(one.seconds for one in spent)
        least = spent[0].moved / speed[where]["copy"]
        rest, bound = rest - seconds, bound + least
        if spent[0].moved:
            print(
                f"| {step} | {seconds * 1e3:.1f} | {spent[0].moved / 1e6:.1f} | {where}"
                f" | {least * 1e3:.2f} | {seconds / least:.0f} |"
            )
    print(f"| the rest | {rest * 1e3:.1f} | | | | |")
    print(f"| all | {whole * 1e3:.1f} | | | {bound * 1e3:.1f} | {whole / bound:.1f} |")
    plan = at_arts.make_plan()
    once = plan.count * at_arts.BAND.n_channels
    seconds = once / speed["memory"]["read"]
    print(
        f"\nThe window read once, {once / 1e6:.1f} MB: {seconds * 1e3:.1f} ms;"
        f" the extraction takes {whole / seconds:.0f} times that."
    )


if __name__ == "__main__":
    main()
