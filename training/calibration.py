"""Calibration of log odds, and measures of how well probabilities are calibrated.

A probability depends on how common bursts are among candidates, which differs between telescopes:
it is calibrated for a stated fraction of bursts, `PRIOR`, by weights of the examples.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from darc.config.records import Struct

Doubles = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

#: Fraction of bursts among the candidates for which probabilities hold.
PRIOR = 1 / 3

#: Edges of the bins of `reliability`.
_EDGES = (0.0, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98, 1.0)

#: Range of log odds in a logistic function.
_FAR = 40.0


def prior_weights(is_burst: Mask) -> Doubles:
    """Return weights of sum 1 with which bursts are the fraction `PRIOR`.

    :param is_burst: shape (n,)
    :raises ValueError: there are no bursts, or no interference
    """
    n_bursts = int(np.count_nonzero(is_burst))
    if n_bursts in (0, len(is_burst)):
        raise ValueError(f"{n_bursts} bursts in {len(is_burst)} examples: both are needed")
    return np.where(is_burst, PRIOR / n_bursts, (1 - PRIOR) / (len(is_burst) - n_bursts))


def platt_scaling(log_odds: Doubles, is_burst: Mask) -> tuple[float, float]:
    """Return slope and offset that make log odds those of the weighted examples.

    By maximum likelihood, with Platt's targets instead of 0 and 1, which keep the slope finite
    where both kinds are separated: Platt 1999, Advances in Large Margin Classifiers, 61.

    :param log_odds: of examples not trained on, shape (n,)
    :param is_burst: shape (n,)
    :raises ValueError: one of the kinds is missing
    """
    weights = prior_weights(is_burst)
    n_bursts = np.count_nonzero(is_burst)
    targets = np.where(
        is_burst, (n_bursts + 1) / (n_bursts + 2), 1 / (len(is_burst) - n_bursts + 2)
    )
    # Of unit size, so that Newton's method begins near the solution.
    middle, size = float(log_odds.mean()), max(float(log_odds.std()), 1e-6)
    columns = np.stack([(log_odds - middle) / size, np.ones(len(log_odds))], axis=1)
    found, loss = np.zeros(2), np.inf
    for _ in range(100):
        fitted = logistic(columns @ found)
        curvature = (columns * (weights * fitted * (1 - fitted))[:, np.newaxis]).T @ columns
        gradient = columns.T @ (weights * (fitted - targets))
        step = np.linalg.solve(curvature + 1e-9 * np.eye(2), gradient)
        while (less := _loss(columns @ (found - step), targets, weights)) > loss:
            step /= 2
        if loss - less < 1e-12:
            break
        found, loss = found - step, less
    return float(found[0] / size), float(found[1] - found[0] * middle / size)


def _loss(log_odds: Doubles, targets: Doubles, weights: Doubles) -> float:
    """Return the weighted mean of minus the log likelihood."""
    # log(1 + exp(x)) - t x, for any x.
    return float((weights * (np.logaddexp(0, log_odds) - targets * log_odds)).sum())


def logistic(log_odds: Doubles) -> Doubles:
    """Return probabilities, shape as given."""
    return np.asarray(1 / (1 + np.exp(-np.clip(log_odds, -_FAR, _FAR))))


class ReliabilityBin(Struct, frozen=True):
    """Examples whose probability is in a range.

    :param low: above which it is, or equal to for the first bin
    :param high: inclusive
    :param predicted: weighted mean of the probabilities
    :param observed: weighted fraction of bursts
    :param error: standard deviation of that, binomial
    :param weight: fraction of all candidates at the prior
    """

    low: float
    high: float
    n_bursts: int
    n_interference: int
    predicted: float
    observed: float
    error: float
    weight: float


def reliability(probability: Doubles, is_burst: Mask) -> list[ReliabilityBin]:
    """Compare probabilities with the fraction of bursts; bins without examples are left out.

    :param probability: shape (n,)
    :param is_burst: shape (n,)
    """
    weights = prior_weights(is_burst)
    bins = []
    for low, high in pairwise(_EDGES):
        here = (probability > low) & (probability <= high)
        if low == 0:
            here |= probability == 0
        total = float(weights[here].sum())
        if not total:
            continue
        observed = float(weights[here & is_burst].sum()) / total
        effective = total**2 / float((weights[here] ** 2).sum())
        # Of none or all, one more or less is the error.
        spread = max(observed * (1 - observed), 1 / (effective + 2) ** 2 * (effective + 1))
        bins.append(
            ReliabilityBin(
                low=low,
                high=high,
                n_bursts=int(np.count_nonzero(here & is_burst)),
                n_interference=int(np.count_nonzero(here & ~is_burst)),
                predicted=float((weights * probability)[here].sum()) / total,
                observed=observed,
                error=float(np.sqrt(spread / effective)),
                weight=total,
            )
        )
    return bins


def calibration_error(bins: list[ReliabilityBin]) -> float:
    """Return the expected calibration error: the weighted mean of |observed - predicted|.

    Naeini et al. 2015, AAAI-15, 2901.
    """
    return sum(one.weight * abs(one.observed - one.predicted) for one in bins)


def brier_score(probability: Doubles, is_burst: Mask) -> float:
    """Return the weighted mean square of probability minus truth (Brier 1950, MWR 78, 1).

    :param probability: shape (n,)
    :param is_burst: shape (n,)
    """
    weights = prior_weights(is_burst)
    return float((weights * (probability - is_burst) ** 2).sum())
