"""Train the shipped classifier on synthetic bursts and interference.

``nice python -m training.train_classifier`` (needs the extra ``train``; takes about 15 minutes on
two cores). The output is reproducible for a given seed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from darc.candidates.classifier.feature_classifier import (
    BOTH_NAMES,
    FeatureClassifier,
    save_features,
)
from darc.candidates.classifier.trees import Trees
from darc.config.records import Struct, replace
from darc.science.candidate_features import (
    DM_TIME_NAMES,
    dm_time_features,
    freq_time_features,
)
from training.examples import BURSTS, INTERFERENCE, examples

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

#: Fraction of the interference (the strongest candidate of each data set) with a probability above
#: 0.5 in cross-validation; for other data it may be slightly higher.
_KEPT = 0.03

_N_TREES, _DEPTH, _RATE, _PER_LEAF = 200, 5, 0.07, 6
_N_FOLDS = 5

#: Length of a series that contains every type of burst and of interference.
_ALL_KINDS = 2 * len(BURSTS) * len(INTERFERENCE)

#: Number of examples that a process generates at a time.
_AT_A_TIME = 20


class FeatureTable(Struct, frozen=True, eq=False):
    """Features of examples, one row each.

    :param number: number of the data set of an example, shape (n,)
    :param is_burst: shape (n,)
    :param kind: type of burst or interference, shape (n,)
    :param snr: as extracted, shape (n,)
    :param freq_time: shape (n, number of features)
    :param dm_time: shape (n, number of features)
    """

    number: npt.NDArray[np.int64]
    is_burst: Mask
    kind: npt.NDArray[np.str_]
    snr: Doubles
    freq_time: Floats
    dm_time: Floats

    def __len__(self) -> int:
        return len(self.number)

    @property
    def both(self) -> Floats:
        """Features of both arrays, in the order of BOTH_NAMES."""
        return np.hstack([self.freq_time, self.dm_time])

    def __getitem__(self, some: Mask | npt.NDArray[np.intp]) -> FeatureTable:
        return FeatureTable(*(getattr(self, name)[some] for name in self.__struct_fields__))


def make_table(seed: int, numbers: range, *parts: float) -> FeatureTable:
    """Generate examples and measure their features: see `training.examples.examples`.

    :param parts: fractions that have ARTS's full size, and that are of random instruments
    """
    rows = [
        (
            number,
            example.is_burst,
            example.kind,
            example.snr,
            list(freq_time_features(example.freq_time).values()),
            list(dm_time_features(example.dm_time).values()),
        )
        for number in numbers
        for example in examples(seed, range(number, number + 1), *parts)
    ]
    number, is_burst, kind, snr, freq_time, dm_time = zip(*rows, strict=True)
    return FeatureTable(
        number=np.array(number),
        is_burst=np.array(is_burst),
        kind=np.array(kind),
        snr=np.array(snr),
        freq_time=np.array(freq_time, dtype=np.float32),
        dm_time=np.array(dm_time, dtype=np.float32),
    )


def make_tables(seed: int, count: int, processes: int, *parts: float) -> FeatureTable:
    """Generate examples in several processes; see `make_table`."""
    calls = [
        (seed, range(first, min(first + _AT_A_TIME, count)), *parts)
        for first in range(0, count, _AT_A_TIME)
    ]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        return joined(pool.starmap(make_table, calls, chunksize=1))


def joined(tables: Iterable[FeatureTable]) -> FeatureTable:
    """Concatenate tables."""
    parts = list(tables)
    columns = [
        np.concatenate([getattr(t, n) for t in parts]) for n in FeatureTable.__struct_fields__
    ]
    return FeatureTable(*columns)


def train(table: FeatureTable, seed: int) -> FeatureClassifier:
    """Train on a table, with the threshold of 0.5 set by cross-validation."""
    return FeatureClassifier(
        freq_time=_calibrated(table, table.both, BOTH_NAMES, seed),
        dm_time=_calibrated(table, table.dm_time, DM_TIME_NAMES, seed),
    )


def _calibrated(table: FeatureTable, features: Floats, names: Sequence[str], seed: int) -> Trees:
    """Return trees whose probability of 0.5 passes a given fraction of the interference."""
    log_odds = np.empty(len(table))
    # Examples of the same data set are in the same fold.
    fold = table.number // _ALL_KINDS % _N_FOLDS
    for held_out in range(_N_FOLDS):
        model = fitted(table[fold != held_out], features[fold != held_out], seed)
        log_odds[fold == held_out] = model.decision_function(features[fold == held_out])
    wrong = _strongest(table) & ~table.is_burst
    threshold = np.quantile(log_odds[wrong], 1 - _KEPT)
    trees = as_trees(fitted(table, features, seed), names)
    return replace(trees, start=trees.start - float(threshold))


def fitted(table: FeatureTable, features: Floats, seed: int):  # type: ignore[no-untyped-def]
    """Return a fitted GradientBoostingClassifier: bursts and interference have equal weight."""
    from sklearn.ensemble import GradientBoostingClassifier  # noqa: PLC0415 (an extra)

    model = GradientBoostingClassifier(
        n_estimators=_N_TREES,
        max_depth=_DEPTH,
        learning_rate=_RATE,
        min_samples_leaf=_PER_LEAF,
        subsample=0.5,
        max_features="sqrt",
        random_state=seed,
    )
    weights = np.where(table.is_burst, 0.5 / table.is_burst.sum(), 0.5 / (~table.is_burst).sum())
    return model.fit(features, table.is_burst, sample_weight=weights * len(table))


def as_trees(model, names: Sequence[str]) -> Trees:  # type: ignore[no-untyped-def]
    """Convert a fitted GradientBoostingClassifier to arrays."""
    trees = [estimator.tree_ for estimator in model.estimators_[:, 0]]
    shape = (len(trees), max(tree.node_count for tree in trees))
    nodes = np.broadcast_to(np.arange(shape[1]), shape)
    left, right = nodes.astype(np.int16), nodes.astype(np.int16)
    feature = np.zeros(shape, dtype=np.int16)
    threshold, value = np.zeros((2, *shape), dtype=np.float32)
    for number, tree in enumerate(trees):
        branch = np.flatnonzero(tree.children_left >= 0)
        left[number, branch] = tree.children_left[branch]
        right[number, branch] = tree.children_right[branch]
        feature[number, branch] = tree.feature[branch]
        # Features are 32-bit: rounding the threshold down keeps the decisions.
        near = tree.threshold[branch].astype(np.float32)
        above = near > tree.threshold[branch]
        threshold[number, branch] = np.where(above, np.nextafter(near, np.float32(-np.inf)), near)
        leaves = np.flatnonzero(tree.children_left < 0)
        value[number, leaves] = model.learning_rate * tree.value[leaves, 0, 0]
    prior = model.init_.class_prior_[1]
    return Trees(
        names=tuple(names),
        start=float(np.log(prior / (1 - prior))),
        feature=feature,
        threshold=threshold,
        left=left,
        right=right,
        value=value,
    )


def probabilities(classifier: FeatureClassifier, table: FeatureTable) -> tuple[Doubles, Doubles]:
    """Return the probabilities from both arrays and from DM-time, for each row of a table."""
    found = []
    for trees, features in (
        (classifier.freq_time, table.both),
        (classifier.dm_time, table.dm_time),
    ):
        rows = [dict(zip(trees.names, row.tolist(), strict=True)) for row in features]
        found.append(np.array([trees.probability(row) for row in rows]))
    return found[0], found[1]


def one_each(table: FeatureTable) -> FeatureTable:
    """Return one example of each data set."""
    return table[_strongest(table)]


def _strongest(table: FeatureTable) -> Mask:
    """Return a mask of the first example of each data set, which is the strongest."""
    first = np.zeros(len(table), dtype=np.bool_)
    first[np.unique(table.number, return_index=True)[1]] = True
    return first


def roc_lines(table: FeatureTable, probability: Doubles) -> list[str]:
    """Format a table of the fractions of bursts and interference above several thresholds.

    :param probability: of each row of the table, shape (n,)
    """
    strong = table.is_burst & (table.snr >= 10)
    lines = ["threshold  bursts kept  of S/N >= 10  interference kept"]
    for threshold in (0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95):
        kept = probability > threshold
        shares = [kept[some].mean() for some in (table.is_burst, strong, ~table.is_burst)]
        lines.append(f"{threshold:9.2f}  {shares[0]:11.1%}  {shares[1]:12.1%}  {shares[2]:17.1%}")
    return lines


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description="Train the shipped classifier")
    parser.add_argument("--seed", type=int, default=1, help="held-out data have the next one")
    parser.add_argument("--count", type=int, default=2600, help="pieces of data to train on")
    parser.add_argument("--held-out", type=int, default=300, help="pieces of data to test on")
    parser.add_argument("--output", type=Path, default=Path("conf/classifier.npz"))
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    begin = time.monotonic()
    table = make_tables(arguments.seed, arguments.count, arguments.processes)
    print(f"{table.is_burst.sum()} bursts, {(~table.is_burst).sum()} pieces of interference")
    classifier = train(table, arguments.seed)
    save_features(classifier, arguments.output)
    print(f"{arguments.output} after {time.monotonic() - begin:.0f} s")
    held_out = one_each(make_tables(arguments.seed + 1, arguments.held_out, arguments.processes))
    for name, probability in zip(
        ("both arrays", "DM-time"), probabilities(classifier, held_out), strict=True
    ):
        print(f"\nheld out, by {name}:", *roc_lines(held_out, probability), sep="\n")


if __name__ == "__main__":
    main()
