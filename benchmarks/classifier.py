"""How well the shipped classifier tells bursts from interference, and how long it takes:
python -m benchmarks.classifier [--count N] [--plot docs/classifier_roc.png].

Bursts and interference are generated with a seed that training does not use, one candidate of each
piece of data: of ARTS, a tenth of its full size, and of instruments that are drawn. Then,
classifiers that never saw some kinds of interference in training are tested on these (--left-out N,
the number of pieces to train on).
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from darc.candidates.classifier import load_classifier
from darc.candidates.classifier.feature_classifier import FeatureClassifier, load_features
from training.examples import BURSTS, INTERFERENCE, examples
from training.train_classifier import (
    FeatureTable,
    make_tables,
    one_each,
    probabilities,
    roc_lines,
    train,
)

Doubles = npt.NDArray[np.float64]

#: Seeds of training are 1 and 2.
SEED, SEED_LEFT_OUT = 21_000, 30_000
LEFT_OUT = (("sweeps",), ("dropouts", "saturation"), ("baseline",))


def by_kind(table: FeatureTable, probability: Doubles) -> None:
    print(f"\n{'kind':22} {'number':>6} {'median S/N':>10} {'kept at 0.5':>11}  of S/N >= 10")
    for kind in (*BURSTS, *INTERFERENCE):
        of_kind = table.kind == kind
        strong = of_kind & (table.snr >= 10)
        if not of_kind.any():
            continue
        kept = probability > 0.5
        of_strong = f"{kept[strong].mean():11.1%} ({strong.sum()})" if strong.any() else ""
        print(
            f"{kind:22} {of_kind.sum():6} {np.median(table.snr[of_kind]):10.1f} "
            f"{kept[of_kind].mean():11.1%}  {of_strong}"
        )


def left_out(table: FeatureTable, held_out: FeatureTable) -> None:
    print("\nkinds left out of training                kept at 0.5   if they were in it")
    complete = probabilities(train(table, 1), held_out)[0] > 0.5
    for kinds in LEFT_OUT:
        without = train(table[~np.isin(table.kind, kinds)], 1)
        those = np.isin(held_out.kind, kinds)
        kept = probabilities(without, held_out)[0] > 0.5
        print(f"{', '.join(kinds):42} {kept[those].mean():10.1%}   {complete[those].mean():18.1%}")


def time_per_score(n: int = 300) -> None:
    classifier = load_classifier(None)
    arrays = [(e.freq_time, e.dm_time) for e in examples(SEED, range(4))]
    seconds = []
    for number in range(n):
        begin = time.perf_counter()
        classifier.score(*arrays[number % len(arrays)])
        seconds.append(time.perf_counter() - begin)
    median, longest = statistics.median(seconds), sorted(seconds)[int(0.99 * n)]
    print(f"\ntime per score: {1e3 * median:.2f} ms (median), {1e3 * longest:.2f} ms (99 %)")


def plot(table: FeatureTable, found: tuple[Doubles, Doubles], path: Path) -> None:
    from matplotlib.figure import Figure  # noqa: PLC0415 (only for this)

    figure = Figure(figsize=(5, 4.2), layout="constrained")
    axes = figure.subplots()
    strong = table.is_burst & (table.snr >= 10)
    for probability, name in zip(found, ("both arrays", "DM-time"), strict=True):
        for bursts, style, of in ((strong, "-", "S/N ≥ 10"), (table.is_burst, ":", "all")):
            order = np.sort(probability)[::-1]
            kept = [(probability[bursts] >= t).mean() for t in order]
            wrong = [(probability[~table.is_burst] >= t).mean() for t in order]
            colour = "C0" if name == "both arrays" else "C1"
            axes.plot(wrong, kept, style, color=colour, label=f"{name}, {of}")
        at = ((probability[~table.is_burst] > 0.5).mean(), (probability[strong] > 0.5).mean())
        axes.plot(*at, "o", color=colour)
    axes.set(xlim=(0, 0.2), ylim=(0.8, 1.002))
    axes.set_xlabel("interference kept")
    axes.set_ylabel("bursts kept")
    axes.legend(title="dots: at 0.5", loc="lower right")
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2000, help="half bursts, half interference")
    parser.add_argument("--left-out", type=int, default=0, help="pieces to train on")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    classifier: FeatureClassifier = load_features(None)
    for whose, *parts in (("other instruments", 0.0, 1.0), ("ARTS", 0.1, 0.0)):
        table = one_each(make_tables(SEED, arguments.count, arguments.processes, *parts))
        found = probabilities(classifier, table)
        for name, probability in zip(("both arrays", "DM-time"), found, strict=True):
            print(f"\n{whose}, by {name}:", *roc_lines(table, probability), sep="\n")
        by_kind(table, found[0])
    if arguments.plot:
        plot(table, found, arguments.plot)
    if arguments.left_out:
        trained = make_tables(SEED_LEFT_OUT, arguments.left_out, arguments.processes)
        left_out(trained, table)
    time_per_score()


if __name__ == "__main__":
    main()
