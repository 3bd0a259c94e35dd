"""Probabilities that mean it: against scikit-learn, and against numbers drawn to be known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.calibration import (
    PRIOR,
    brier_score,
    calibration_error,
    logistic,
    platt_scaling,
    prior_weights,
    reliability,
)


def drawn(seed: int, n: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Log odds that are right where the prior's part are bursts, and truth drawn by them."""
    rng = np.random.default_rng(seed)
    is_burst = rng.random(n) < PRIOR
    # Of two normal distributions, log odds are linear in the value.
    values = rng.normal(np.where(is_burst, 1.0, -1.0), 1.0)
    return 2 * values + np.log(PRIOR / (1 - PRIOR)), is_burst


def test_slope_and_offset_are_those_of_scikit_learn() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    metrics = pytest.importorskip("sklearn.metrics")
    log_odds, is_burst = drawn(1)
    weights = prior_weights(is_burst)
    model = linear_model.LogisticRegression(C=1e9, tol=1e-9, max_iter=1000)
    model.fit(log_odds[:, np.newaxis], is_burst, sample_weight=weights * len(is_burst))
    slope, offset = platt_scaling(log_odds, is_burst)
    assert slope == pytest.approx(model.coef_[0, 0], abs=0.02)
    assert offset == pytest.approx(model.intercept_[0], abs=0.02)
    probability = logistic(log_odds)
    expected = metrics.brier_score_loss(is_burst, probability, sample_weight=weights)
    assert brier_score(probability, is_burst) == pytest.approx(expected)


@given(st.floats(0.3, 4), st.floats(-5, 5))
def test_wrong_log_odds_are_made_right(slope: float, offset: float) -> None:
    log_odds, is_burst = drawn(2)
    right = platt_scaling(log_odds, is_burst)
    assert right == pytest.approx((1, 0), abs=0.1)
    found = platt_scaling((log_odds - offset) / slope, is_burst)
    assert found[0] == pytest.approx(slope * right[0], rel=1e-3)
    assert found[1] == pytest.approx(right[1] + offset * right[0], abs=1e-3)


def test_right_probabilities_are_reliable_and_others_are_not() -> None:
    log_odds, is_burst = drawn(3, 20_000)
    bins = reliability(logistic(log_odds), is_burst)
    assert sum(one.n_bursts + one.n_interference for one in bins) == len(is_burst)
    assert sum(one.weight for one in bins) == pytest.approx(1)
    for one in bins:
        assert one.observed == pytest.approx(one.predicted, abs=5 * one.error + 0.01)
    assert calibration_error(bins) < 0.01
    assert calibration_error(reliability(logistic(log_odds + 1.5), is_burst)) > 0.05


def test_what_is_told_apart_completely_has_finite_odds() -> None:
    is_burst = np.arange(100) % 2 == 0
    slope, offset = platt_scaling(np.where(is_burst, 3.0, -3.0), is_burst)
    assert 0 < slope < 10
    assert abs(offset) < 10


def test_one_kind_alone_cannot_be_calibrated() -> None:
    with pytest.raises(ValueError, match="0 bursts in 5 examples"):
        platt_scaling(np.zeros(5), np.zeros(5, dtype=np.bool_))
