"""How long a score takes, and how well kinds of interference are told that were not trained on:
python -m benchmarks.classifier [--instruments N [--tables DIR]].

What the shipped classifier keeps of each kind and instrument are the tables of docs/classifier.md,
by ``training.train_classifier``, whose features of examples this reads with the same --tables.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np

from darc.candidates.classifier import load_classifier
from training.classifier_report import share
from training.examples import examples
from training.feature_tables import FeatureTable, make_tables
from training.train_classifier import held_out, scored, train

LEFT_OUT = (
    ("sweeps", "chirped_radar"),
    ("dropouts", "receiver_stops", "repeated_blocks"),
    ("saturation", "aircraft"),
    ("baseline", "common_level"),
    ("impulses", "radar", "low_dm"),
)


def left_out(table: FeatureTable, seed: int) -> None:
    complete = scored(train(table, seed), held_out(table))
    print(f"{'kinds left out of training':45} {'kept at 0.5':>22}   if they were in it")
    for kinds in LEFT_OUT:
        without = scored(train(table[~np.isin(table.kind, kinds)], seed), held_out(table))
        those = np.isin(without.table.kind, kinds)
        found = share(without.kept[those])
        print(f"{', '.join(kinds):45} {found:>22}   {share(complete.kept[those])}")


def time_per_score(n: int = 300) -> None:
    classifier = load_classifier(None)
    candidates = [(e.freq_time, e.dm_time, e.measured) for e in examples(21_000, range(4))]
    seconds = []
    for number in range(n):
        begin = time.perf_counter()
        classifier.score(*candidates[number % len(candidates)])
        seconds.append(time.perf_counter() - begin)
    median, longest = statistics.median(seconds), sorted(seconds)[int(0.99 * n)]
    print(f"\ntime per score: {1e3 * median:.2f} ms (median), {1e3 * longest:.2f} ms (99 %)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1, help="of the population")
    parser.add_argument("--instruments", type=int, default=0, help="to train on, as it was shipped")
    parser.add_argument("--tables", type=Path)
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.instruments:
        made = (arguments.seed, arguments.instruments, arguments.processes, arguments.tables)
        left_out(make_tables(*made), arguments.seed)
    time_per_score()


if __name__ == "__main__":
    main()
