"""Trees by numpy against scikit-learn, whose trees they are."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from darc.candidates.classifier.trees import Trees
from training.feature_tables import FeatureTable
from training.train_classifier import as_trees, fitted, log_odds

NAMES = ("a", "b", "c")


def table(seed: int, n: int = 300) -> FeatureTable:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, 3)).astype(np.float32).round(1)
    return FeatureTable(
        number=np.arange(n),
        instrument=np.arange(n) // 4,
        arts=np.arange(n) % 2 == 0,
        is_burst=features[:, 0] * features[:, 1] + rng.normal(0, 0.3, n) > 0.2,
        kind=np.full(n, "any"),
        snr=np.full(n, 10.0),
        true_snr=np.full(n, 10.0),
        delay=np.full(n, 10.0),
        freq_time=features,
        dm_time=features,
        measured=features,
    )


@pytest.fixture(scope="module")
def sklearn_model():
    pytest.importorskip("sklearn")
    made = table(1)
    return fitted(made, made.freq_time, 1)


@pytest.fixture(scope="module")
def trees(sklearn_model) -> Trees:
    return as_trees(sklearn_model, NAMES)


def test_they_say_what_scikit_learn_says(sklearn_model, trees: Trees) -> None:
    features = table(2).freq_time
    # Values on a threshold, too.
    on = np.array([trees.threshold[:, 0]] * 3).T.astype(np.float32)
    for rows in (features, on):
        expected = sklearn_model.predict_proba(rows)[:, 1]
        found = [trees.probability(dict(zip(NAMES, row, strict=True))) for row in rows]
        assert found == pytest.approx(expected, abs=1e-5)
    assert np.ptp(expected) > 0.5
    odds = log_odds(trees, features)
    assert odds == pytest.approx(sklearn_model.decision_function(features), abs=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: {"threshold": t.threshold[:, 1:]}, "threshold has shape"),
        (lambda t: {"names": t.names[:2]}, "feature has places outside of 0 to 1"),
        (lambda t: {"left": t.left - 2}, "left has places outside"),
        (lambda t: {"right": np.zeros_like(t.right)}, "a branch leads back"),
        (lambda t: {"value": t.value * np.nan}, "not finite"),
        (lambda t: {"start": float("inf")}, "not finite"),
        (lambda t: {"feature": t.feature[0]}, "no trees"),
    ],
)
def test_damage_is_noticed(trees: Trees, change, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(trees, **change(trees))
