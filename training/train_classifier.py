"""Train the shipped classifier on a population of instruments, and test it on others.

``nice python -m training.train_classifier`` (needs the extra ``train``). The output is reproducible
for a given seed: docs/classifier.md.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from darc.candidates.classifier.feature_classifier import (
    ALL_NAMES,
    BOTH_NAMES,
    FeatureClassifier,
    load_features,
    save_features,
)
from darc.candidates.classifier.trees import Trees
from darc.config.records import replace
from darc.science.dm_time_features import DM_TIME_NAMES
from training.calibration import logistic, platt_scaling
from training.classifier_plot import plot_roc
from training.classifier_report import Scored, report, write_report
from training.feature_tables import FeatureTable, joined, make_tables
from training.population import N_FOLDS, TEST_FOLD, class_of, fold_of, instrument_of

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_N_TREES, _DEPTH, _RATE, _PER_LEAF = 300, 5, 0.06, 6

#: Fraction of the weight of training that is of ARTS.
_ARTS_WEIGHT = 0.4


def train(table: FeatureTable, seed: int, test_fold: int = TEST_FOLD) -> FeatureClassifier:
    """Train and calibrate on all folds but one.

    Trees are of all of these; they are calibrated by the log odds that each instrument has from
    trees of the other folds: they are those of instruments that were not trained on.
    """
    seen = table[_folds(table) != test_fold]
    return FeatureClassifier(
        freq_time=_calibrated(seen, seen.both, BOTH_NAMES, seed),
        dm_time=_calibrated(seen, seen.dm_time, DM_TIME_NAMES, seed),
        all=_calibrated(seen, seen.all, ALL_NAMES, seed),
    )


def held_out(table: FeatureTable) -> FeatureTable:
    """Return the examples of the instruments that the shipped classifier has not seen."""
    return table[_folds(table) == TEST_FOLD]


def _folds(table: FeatureTable) -> Ints:
    return np.array([fold_of(one) for one in table.instrument.tolist()])


def _calibrated(table: FeatureTable, features: Floats, names: Sequence[str], seed: int) -> Trees:
    """Return trees whose log odds are calibrated: slope and offset are in their numbers."""
    folds, of_others = _folds(table), np.empty(len(table))
    for fold in np.unique(folds):
        others, own = folds != fold, folds == fold
        of_others[own] = fitted(table[others], features[others], seed).decision_function(
            features[own]
        )
    first = table.strongest
    slope, offset = platt_scaling(of_others[first], table.is_burst[first])
    if slope <= 0:
        raise ValueError(f"slope {slope:.3g}: the trees tell nothing of other instruments")
    trees = as_trees(fitted(table, features, seed), names)
    return replace(
        trees,
        start=slope * trees.start + offset,
        value=(slope * trees.value).astype(np.float32),
    )


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
    return model.fit(features, table.is_burst, sample_weight=_weights(table))


def _weights(table: FeatureTable) -> Doubles:
    """Bursts and interference have equal weight, and all pieces of data of either, of any number of
    candidates; ARTS has its part.
    """
    _, piece, count = np.unique(table.number, return_inverse=True, return_counts=True)
    weights = 1 / count[piece]
    for of_arts, part in ((True, _ARTS_WEIGHT), (False, 1 - _ARTS_WEIGHT)):
        for of_bursts in (True, False):
            some = (table.arts == of_arts) & (table.is_burst == of_bursts)
            if some.any():
                weights[some] *= 0.5 * part * len(table) / weights[some].sum()
    return np.asarray(weights)


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


def log_odds(trees: Trees, features: Floats) -> Doubles:
    """Return the log odds of each row of a table, shape (n,)."""
    rows = (dict(zip(trees.names, row.tolist(), strict=True)) for row in features)
    return np.array([trees.log_odds(row) for row in rows])


def scored(
    classifier: FeatureClassifier, table: FeatureTable, *, arrays_alone: bool = False
) -> Scored:
    """Return the strongest examples of each piece of data with their probabilities.

    :param arrays_alone: without features of the extraction
    """
    some = table[table.strongest]
    if arrays_alone or classifier.all is None:
        odds = log_odds(classifier.freq_time, some.both)
    else:
        odds = log_odds(classifier.all, some.all)
    return Scored(
        some,
        freq_time=logistic(odds),
        dm_time=logistic(log_odds(classifier.dm_time, some.dm_time)),
    )


def cross_tested(
    classifiers: Sequence[FeatureClassifier], table: FeatureTable, *, arrays_alone: bool = False
) -> Scored:
    """Test each instrument once, by a classifier that was trained and calibrated without it.

    :param classifiers: each was trained without the fold of its index
    """
    folds = _folds(table)
    parts = [
        scored(one, table[folds == fold], arrays_alone=arrays_alone)
        for fold, one in enumerate(classifiers)
    ]
    return Scored(
        joined(part.table for part in parts),
        freq_time=np.concatenate([part.freq_time for part in parts]),
        dm_time=np.concatenate([part.dm_time for part in parts]),
    )


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description="Train the shipped classifier")
    parser.add_argument("--seed", type=int, default=1, help="of the population of instruments")
    parser.add_argument("--instruments", type=int, default=150, help="to train, calibrate, test")
    parser.add_argument("--output", type=Path, default=Path("conf/classifier.npz"))
    parser.add_argument("--page", type=Path, help="write the tables of docs/classifier.md anew")
    parser.add_argument("--plot", type=Path, help="draw docs/classifier_roc.png anew")
    parser.add_argument("--tables", type=Path, help="directory of features, to go on with later")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument(
        "--compare", type=Path, nargs="*", default=[], help="others, such as the last"
    )
    arguments = parser.parse_args()
    begin = time.monotonic()
    if arguments.tables:
        arguments.tables.mkdir(parents=True, exist_ok=True)
    made = (arguments.seed, arguments.instruments, arguments.processes, arguments.tables)
    table = make_tables(*made)
    print(f"features of {len(table)} examples after {time.monotonic() - begin:.0f} s")
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool:
        train_without = partial(train, table, arguments.seed)
        classifiers = pool.map(train_without, range(N_FOLDS), chunksize=1)
    classifier = classifiers[TEST_FOLD]
    save_features(classifier, arguments.output)
    print(f"{arguments.output} after {time.monotonic() - begin:.0f} s")
    shipped = scored(classifier, held_out(table))
    crossed = cross_tested(classifiers, table)
    tested = {
        "shipped, test instruments": shipped,
        "trained likewise, all": crossed,
        "by the arrays alone, all": cross_tested(classifiers, table, arrays_alone=True),
    }
    for path in arguments.compare:
        tested[f"{path.stem}, all"] = scored(load_features(path), table)
    classes = {
        number: class_of(instrument_of(arguments.seed, number))
        for number in range(arguments.instruments)
    }
    text = report(tested, shipped, crossed, classes)
    print(text)
    if arguments.plot:
        plot_roc(tested, arguments.plot)
    if arguments.page:
        write_report(arguments.page, text)


if __name__ == "__main__":
    main()
