"""What the cleaning of single samples takes of a pulse, and of its noise.

Samples that are too far from a channel's mean are replaced by it (`rfi_cleaning.replace_outliers`).
That takes 1 % of the S/N of any pulse, as noise alone has such samples, and more of one that is
strong and narrow: where a pulse lifts its samples by one standard deviation, more of them are too
far. Both can be said beforehand of a pulse that is the same in all channels; one that is not loses
more than that.
"""

from __future__ import annotations

from math import erf, exp, pi, sqrt

#: A pulse that lifts its samples by more loses so much that what is left says little (sigma; part
#: of the threshold).
_HIGHEST, _NEAR_THRESHOLD = 2.0, 0.6
_N_HALVINGS = 40


def snr_before_cleaning(snr: float, n_samples: float, threshold: float) -> float:
    """S/N that a pulse of the same strength in all samples had before its samples were cleaned.

    :param snr: after it
    :param n_samples: of all channels, in which the pulse is
    :param threshold: of the cleaning, standard deviations
    :return: not beyond what a pulse of twice the noise in each sample loses
    """
    if not (snr > 0 and n_samples > 0):
        return snr
    seen = snr * sqrt(_variance_left(threshold) / n_samples)
    low, high = 0.0, min(_HIGHEST, _NEAR_THRESHOLD * threshold)
    if seen >= _mean_left(high, threshold):
        return snr * high * sqrt(_variance_left(threshold)) / _mean_left(high, threshold)
    for _ in range(_N_HALVINGS):
        middle = (low + high) / 2
        if _mean_left(middle, threshold) < seen:
            low = middle
        else:
            high = middle
    return high * sqrt(n_samples)


def _mean_left(lifted: float, threshold: float) -> float:
    """Mean of samples of unit noise about `lifted`, where those beyond +-threshold count as 0."""
    above, below = threshold - lifted, threshold + lifted
    inside = _integral(above) - _integral(-below)
    return lifted * inside - (_density(above) - _density(below))


def _variance_left(threshold: float) -> float:
    """Variance of noise alone, likewise."""
    return 1 - 2 * _integral(-threshold) - 2 * threshold * _density(threshold)


def _density(x: float) -> float:
    return exp(-x * x / 2) / sqrt(2 * pi)


def _integral(x: float) -> float:
    return (1 + erf(x / sqrt(2))) / 2
