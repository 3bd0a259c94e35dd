"""Whether a series of data is periodic: the chance that noise, white or red, looks like it.

The series is laid out in turns of the period that is asked about, and its Fourier transform has the
harmonics of that period at every n-th frequency. What lies between are foldings at wrong periods
that are close by: their mean power is the noise at a harmonic, whatever the noise's colour
(P: power at harmonic k; L: mean of M powers around it). Of noise, P / L follows the distribution of
Fisher and Snedecor with 2 and 2 M degrees of freedom, so that

    e = M log(1 + P / (L M))    is exponentially distributed with mean 1,

and the sum of m harmonics is Erlang's, with the chance Q(m, x) = exp(-x) sum(x^i / i!, i < m).
That harmonics are summed, as many as stand out the most, is the H test's idea (de Jager,
Raubenheimer & Swanepoel 1989, A&A 221, 180), for noise whose level has to be measured; that chances
are combined by their logarithms, Fisher's. A single strong line that is none of a pulsar's counts
by its logarithm only.

What was tried beside (other periods, derivatives, DMs, numbers of harmonics) multiplies the chance
(Lorimer & Kramer 2005, Handbook of Pulsar Astronomy, section 6.1.4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]

#: With a smaller chance, it is no noise: of so many files of noise, one is taken for a pulsar.
FALSE_ALARM = 1e-3
#: Harmonics that are looked at, and how many of them are summed.
MAX_HARMONICS = 32
_SUMS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
#: Wrong periods to each side of a harmonic, in turns more or less over the whole.
_AROUND = 32
#: Those closest may hold some of the pulsar, where there are enough others.
_GUARD, _LEAST_FOR_GUARD = 2, 8
#: The colour of noise is smoothed over harmonics up to this part of their number away.
_SMOOTHED = 4
#: Single values count for so many standard deviations at most: a strong one is in every period.
_CLIP = 5.0
#: Trials that are needed to lose little of harmonic 1, for each turn that is looked through.
_PER_TURN = 4.0


@dataclass(frozen=True, slots=True)
class Trials:
    """What was looked through beside one period, in turns of phase.

    :param drift: over the whole length: of frequencies, the range times the length
    :param curve: likewise of their derivative, the middle against both ends
    :param dm: across the band: of DMs, the range
    """

    drift: float = 0.0
    curve: float = 0.0
    dm: float = 0.0

    def plus(self, other: Trials) -> Trials:
        """With what was looked through beside."""
        return Trials(self.drift + other.drift, self.curve + other.curve, self.dm + other.dm)

    def count(self, harmonics: int) -> float:
        """How many different ones that were, to the highest harmonic that is summed."""
        ranges = (self.drift, self.curve, self.dm)
        return math.prod(1 + _PER_TURN * harmonics * turns for turns in ranges)


@dataclass(frozen=True, slots=True, eq=False)
class Harmonics:
    """Harmonics of a period in a series, and the noise at them.

    :param amplitudes: of harmonics 1, 2 and so on, shape (n,)
    :param levels: powers that noise has there, shape (n,); those measured from wrong periods
    :param measured: how many of these, shape (n,)
    :param white: power of noise that is white and as strong as that of the channels
    """

    amplitudes: Complexes
    levels: Doubles
    measured: Doubles
    white: float

    def plus(self, other: Harmonics) -> Harmonics:
        """With those of another stretch of the data, at the same phase."""
        return Harmonics(
            self.amplitudes + other.amplitudes,
            self.levels + other.levels,
            self.measured + other.measured,
            self.white + other.white,
        )

    @property
    def colour(self) -> Doubles:
        """Power of the noise in units of white noise's, shape (n,).

        Smoothed over harmonics: of few turns, each level is uncertain. At least 1, or what the
        higher half of harmonics has where the channels' variance is not that of noise alone.
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
        """Natural logarithm of the chance that noise has what was found in it; 0: certain."""
        usable = (self.levels > 0) & (self.measured > 0)
        ratios = np.zeros(len(self.levels))
        np.divide(np.abs(self.amplitudes) ** 2, self.levels, out=ratios, where=usable)
        many = np.maximum(self.measured, 1.0)
        evidence = np.cumsum(np.where(usable, many * np.log1p(ratios / many), 0.0))
        sums = [number for number in _SUMS if number <= min(len(evidence), MAX_HARMONICS)]
        chances = [
            log_erlang(float(evidence[number - 1]), number) + math.log(trials.count(number))
            for number in sums
        ]
        return min(0.0, min(chances, default=0.0) + math.log(max(len(sums), 1)))


def harmonics(series: Doubles, n_turns: int, white: float = 0.0) -> Harmonics:
    """Harmonics of a series, and the noise around each.

    :param series: laid out in turns, without gaps, shape (n_turns * n_bins,)
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
    # The last frequency of an even number of samples has a distribution of its own.
    there = places <= (len(series) - 1) // 2
    around = np.where(there, powers[np.minimum(places, len(powers) - 1)], 0.0)
    measured = there.sum(axis=1, dtype=np.float64)
    levels = around.sum(axis=1) / np.maximum(measured, 1)
    return Harmonics(spectrum[number * n_turns], levels, measured, white)


def levelled(sums: Doubles, counts: Doubles) -> tuple[Doubles, float]:
    """A series without its baseline, which goes straight from one turn's median to the next's.

    At the period's own harmonics the baseline holds next to nothing, so that nothing is taken off
    a pulse, and no drift is folded into one.

    :param sums: of samples with a variance of 1, shape (n_turns, n_bins); likewise counts
    :return: sums over the mean count, shape (n_turns * n_bins,); power that white noise has in it
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
    """A series of which single values that stand out count for little: they are in every period."""
    reach = _CLIP * 1.4826 * float(np.median(np.abs(series)))
    return np.clip(series, -reach, reach) if reach > 0 else series


def log_erlang(total: float, number: int) -> float:
    """Logarithm of the chance that so many exponential numbers (mean 1) sum to so much or more."""
    if total <= 0:
        return 0.0
    terms = [term * math.log(total) - math.lgamma(term + 1) for term in range(number)]
    highest = max(terms)
    return min(0.0, highest - total + math.log(sum(math.exp(term - highest) for term in terms)))
