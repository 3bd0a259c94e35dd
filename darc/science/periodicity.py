"""Significance of a period in a time series: false-alarm probability in white or red noise.

The series is divided into turns of the tested period, and its Fourier transform has the harmonics
of that period at every n-th frequency. The frequencies between correspond to folding at wrong
periods close by: their mean power is the noise at a harmonic, whatever its spectrum (P: power at
harmonic k; L: mean of M powers around it). For noise, P / L follows Snedecor's F distribution with
2 and 2 M degrees of freedom, so that

    e = M log(1 + P / (L M))    is exponentially distributed with mean 1,

and the sum x of m harmonics follows an Erlang distribution, with the survival function Q(m, x) =
exp(-x) sum(x^i / i!, i < m). Choosing the most significant number of harmonics is the principle of
the H test (de Jager, Raubenheimer & Swanepoel 1989, A&A 221, 180), here for noise that is measured;
adding the logarithms of probabilities is Fisher's method. A single strong line counts by its
logarithm only.

The probability is multiplied by the number of trials (other periods, derivatives, DMs, numbers of
harmonics; Lorimer & Kramer 2005, Handbook of Pulsar Astronomy, section 6.1.4).
"""

from __future__ import annotations

import math
import operator

import numpy as np
import numpy.typing as npt

from darc.config.records import Struct, astuple
from darc.science.arrays import Doubles

Complexes = npt.NDArray[np.complex128]

#: Maximum false-alarm probability of a detection, per file.
FALSE_ALARM = 1e-3
#: Numbers of harmonics that are summed.
_SUMS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
#: Number of wrong periods on each side of a harmonic, one turn apart over the whole length.
_AROUND = 32
#: The closest ones may contain power of the pulsar, and are excluded if there are at least so many
#: turns.
_GUARD, _LEAST_FOR_GUARD = 2, 8
#: The noise spectrum is smoothed over harmonics up to 1 / this of their number away.
_SMOOTHED = 4
#: Clipping of single values (standard deviations): a strong one contributes to every period.
_CLIP = 5.0
#: Trials per turn of the search range, to lose little of harmonic 1.
_PER_TURN = 4.0


class Trials(Struct, frozen=True):
    """Search range besides one period, in turns of phase.

    :param drift: over the whole length: range of frequencies times length
    :param curve: range of frequency derivatives: middle relative to both ends
    :param dm: range of DMs: across the band
    """

    drift: float = 0.0
    curve: float = 0.0
    dm: float = 0.0

    def plus(self, other: Trials) -> Trials:
        """Return the combined search range."""
        return Trials(*map(operator.add, astuple(self), astuple(other)))

    def count(self, harmonics: int) -> float:
        """Return the number of independent trials, up to the highest harmonic summed."""
        ranges = (self.drift, self.curve, self.dm)
        return math.prod(1 + _PER_TURN * harmonics * turns for turns in ranges)


class Harmonics(Struct, frozen=True, eq=False):
    """Harmonics of a period in a series, and the noise at each.

    :param amplitudes: of harmonics 1, 2 and so on, shape (n,)
    :param levels: noise powers, measured at wrong periods, shape (n,)
    :param measured: number of powers averaged in each, shape (n,)
    :param white: power of white noise of the channels' variance
    """

    amplitudes: Complexes
    levels: Doubles
    measured: Doubles
    white: float

    def plus(self, other: Harmonics) -> Harmonics:
        """Return the sum with another part of the data, at the same phase."""
        return Harmonics(*map(operator.add, astuple(self), astuple(other)))

    @property
    def colour(self) -> Doubles:
        """Noise power relative to white noise, shape (n,).

        Smoothed over harmonics, as few turns give uncertain powers. At least 1, or the mean of the
        higher half of the harmonics if that is lower, as the channels' variance then is not that of
        noise alone.
        """
        if self.white <= 0 or not self.levels.any():
            return np.ones(len(self.levels))
        number = np.arange(1, len(self.levels) + 1)
        first = number - number // _SMOOTHED - 1
        end = np.minimum(number + number // _SMOOTHED, len(number))
        totals = np.concatenate([[0.0], np.cumsum(self.levels * self.measured)])
        counts = np.concatenate([[0.0], np.cumsum(self.measured)])
        smooth = (totals[end] - totals[first]) / np.maximum(counts[end] - counts[first], 1)
        least = min(1.0, float(self.levels[len(self.levels) // 2 :].mean()) / self.white)
        colour: Doubles = np.maximum(smooth / self.white, least)
        return colour

    def log_chance(self, trials: Trials) -> float:
        """Return the natural logarithm of the false-alarm probability, at most 0.

        :param trials: search range, which multiplies the probability
        """
        usable = (self.levels > 0) & (self.measured > 0)
        ratios = np.zeros(len(self.levels))
        np.divide(np.abs(self.amplitudes) ** 2, self.levels, out=ratios, where=usable)
        many = np.maximum(self.measured, 1.0)
        evidence = np.cumsum(np.where(usable, many * np.log1p(ratios / many), 0.0))
        sums = [number for number in _SUMS if number <= len(evidence)]
        chances = [
            log_erlang(float(evidence[number - 1]), number) + math.log(trials.count(number))
            for number in sums
        ]
        return min(0.0, min(chances, default=0.0) + math.log(max(len(sums), 1)))


def harmonics(series: Doubles, n_turns: int, white: float = 0.0) -> Harmonics:
    """Return the harmonics of a series, and the noise around each.

    :param series: divided into turns, without gaps, shape (n_turns * n_bins,)
    :param white: see `Harmonics`
    """
    n_bins = len(series) // n_turns
    spectrum = np.fft.rfft(series)
    powers = np.abs(spectrum) ** 2
    number = np.arange(1, (n_bins - 1) // 2 + 1)
    half = min(_AROUND, (n_turns - 1) // 2), min(_AROUND, n_turns // 2)
    guard = _GUARD if n_turns >= _LEAST_FOR_GUARD else 1
    offsets = np.arange(-half[0], half[1] + 1)
    offsets = offsets[np.abs(offsets) >= guard]
    places = number[:, np.newaxis] * n_turns + offsets
    # The Nyquist frequency has another distribution.
    there = places <= (len(series) - 1) // 2
    around = np.where(there, powers[np.minimum(places, len(powers) - 1)], 0.0)
    measured = there.sum(axis=1, dtype=np.float64)
    levels = around.sum(axis=1) / np.maximum(measured, 1)
    return Harmonics(spectrum[number * n_turns], levels, measured, white)


def levelled(sums: Doubles, counts: Doubles) -> tuple[Doubles, float]:
    """Subtract the baseline of a series: linear interpolation between the medians of the turns.

    At the harmonics of the period the baseline has almost no power: the pulse is preserved, and no
    drift is folded into one.

    :param sums: sums of samples of variance 1, shape (n_turns, n_bins)
    :param counts: number of samples in each sum, shape (n_turns, n_bins)
    :return: sums divided by the mean count, shape (n_turns * n_bins,); power of white noise in it
    """
    n_bins = sums.shape[1]
    there = counts > 0
    full = there.any(axis=1)
    if not full.any():
        return np.zeros(sums.size), 0.0
    averages = np.where(there[full], sums[full] / np.maximum(counts[full], 1), np.nan)
    middles = (np.flatnonzero(full) + 0.5) * n_bins - 0.5
    baseline = np.interp(np.arange(sums.size), middles, np.nanmedian(averages, axis=1))
    mean = float(counts[there].mean())
    series = (sums.ravel() - baseline * counts.ravel()) / mean
    return series, float(counts.sum()) / mean**2


def clipped(series: Doubles) -> Doubles:
    """Clip a series at 5 robust standard deviations: an outlier contributes to every period.

    :param series: of median 0, shape (n,)
    """
    reach = _CLIP * 1.4826 * float(np.median(np.abs(series)))
    return np.clip(series, -reach, reach) if reach > 0 else series


def log_erlang(total: float, number: int) -> float:
    """Return the logarithm of the probability that a sum of exponential variables reaches a value.

    Q(number, total) = exp(-total) sum(total^i / i!, i < number).

    :param number: number of exponential variables of mean 1
    """
    if total <= 0:
        return 0.0
    terms = [term * math.log(total) - math.lgamma(term + 1) for term in range(number)]
    highest = max(terms)
    return min(0.0, highest - total + math.log(sum(math.exp(term - highest) for term in terms)))
