"""Loss of S/N by clipping single samples.

Samples that deviate too much from their channel's mean are replaced by the mean
(:func:`darc.science.rfi_cleaning.replace_outliers`). As noise alone has such samples, every pulse
loses about 1 % of its S/N. A strong and narrow pulse loses more: where it raises the mean of its
samples by one standard deviation, more of them exceed the threshold. Both losses follow from the
Gaussian distribution for a pulse of the same amplitude in all channels; any other pulse loses more.
"""

from __future__ import annotations

from math import erf, exp, pi, sqrt

#: The correction is limited to a pulse of this amplitude in each sample: standard deviations, and
#: part of the threshold. A stronger one loses so much that its S/N is no longer well defined.
_HIGHEST, _NEAR_THRESHOLD = 2.0, 0.6
_N_HALVINGS = 40


def snr_before_cleaning(snr: float, n_samples: float, threshold: float) -> float:
    """Return the S/N before clipping of a pulse of equal amplitude in all its samples.

    Solves S/N sqrt(V / n) = M(a) for the amplitude a by bisection, where M is the mean of a clipped
    sample and V the variance of clipped noise, for samples of unit variance; the result is a
    sqrt(n).

    :param snr: S/N after clipping
    :param n_samples: number of samples that contain the pulse, over all channels
    :param threshold: clipping threshold, standard deviations
    :return: the correction is limited to that of a pulse whose amplitude is the smaller of 2
        standard deviations and 0.6 thresholds
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
    """Mean of a sample of unit variance about `lifted`, set to 0 beyond +-threshold."""
    above, below = threshold - lifted, threshold + lifted
    inside = _integral(above) - _integral(-below)
    return lifted * inside - (_density(above) - _density(below))


def _variance_left(threshold: float) -> float:
    """Variance of noise alone, clipped in the same way."""
    return 1 - 2 * _integral(-threshold) - 2 * threshold * _density(threshold)


def _density(x: float) -> float:
    return exp(-x * x / 2) / sqrt(2 * pi)


def _integral(x: float) -> float:
    return (1 + erf(x / sqrt(2))) / 2
