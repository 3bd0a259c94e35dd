"""Search for an unknown period: trial DMs, Fourier transforms, harmonics summed.

Source: Lorimer & Kramer 2005, Handbook of Pulsar Astronomy, section 6.1. Meant for a bright pulsar
that nobody has named, in minutes of data; not a survey's search (no acceleration).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darc.science.dedispersion import Band, add_dedispersed
from darc.science.folding import Doubles, Floats
from darc.science.profile import Peak, normalised, profile_peak

#: Harmonics that are summed.
_SUMS = (1, 2, 4, 8, 16)
#: Slower rotation cannot be told from drifts of the receiver (Hz).
MIN_FREQUENCY = 0.1
#: Trial DMs at most.
MAX_TRIALS = 256
#: The fundamental may have been taken for a harmonic, or the other way round.
_RATIOS = (1.0, 1 / 2, 1 / 3, 1 / 4, 2.0, 3.0)
_KEPT = 8


@dataclass(frozen=True, slots=True)
class Periodicity:
    """A period that was found.

    :param frequency: Hz
    :param dm: pc cm-3
    :param snr: of the folded profile
    """

    frequency: float
    dm: float
    snr: float


def trial_dms(band: Band, resolution: float, dm_max: float) -> Doubles:
    """DMs between which a pulse is smeared by two samples at most, unless they are too many.

    :param resolution: of the data, s
    :param dm_max: pc cm-3
    """
    per_dm = float(band.delays([1.0])[0].max())
    step = max(4 * resolution / per_dm if per_dm > 0 else dm_max, dm_max / MAX_TRIALS, 1e-3)
    return np.arange(0.0, dm_max + step, step)


def search_period(
    rows: Floats, band: Band, tsamp: float, dms: Doubles, *, max_frequency: float
) -> Periodicity | None:
    """The most significant period over some trial DMs; None: the data are too short.

    :param rows: channels, the lowest frequency first, mean 0 and variance 1, shape (n, n_samples)
    :param tsamp: s
    :param max_frequency: Hz
    """
    shifts = band.shifts(dms, tsamp)
    n_out = rows.shape[1] - int(shifts.max())
    if n_out * tsamp * min(max_frequency, 0.5 / tsamp) < 16:
        return None
    found: list[tuple[float, float, float]] = []
    for dm, shift in zip(dms, shifts, strict=True):
        series = np.zeros((1, n_out), np.float32)
        add_dedispersed(rows, shift[np.newaxis], series)
        significance, frequency = _strongest(series[0], tsamp, max_frequency)
        found.append((significance, frequency, float(dm)))
    found.sort(reverse=True)
    best: Periodicity | None = None
    for _, frequency, dm in found[:_KEPT]:
        series = np.zeros((1, n_out), np.float32)
        add_dedispersed(rows, band.shifts([dm], tsamp), series)
        for ratio in _RATIOS:
            tried = frequency * ratio
            if not MIN_FREQUENCY <= tried <= min(max_frequency, 0.25 / tsamp):
                continue
            snr = _folded(series[0], tsamp, tried).snr
            if best is None or snr > best.snr:
                best = Periodicity(tried, dm, snr)
    return best


def _strongest(series: Floats, tsamp: float, max_frequency: float) -> tuple[float, float]:
    """Significance (-log of the chance of noise) and frequency (Hz) of the strongest signal."""
    length = len(series) * tsamp
    powers = whitened(np.abs(np.fft.rfft(series - series.mean())) ** 2)
    best = (0.0, 0.0)
    for n_harmonics in _SUMS:
        # At the resolution of the highest harmonic.
        first = math.ceil(MIN_FREQUENCY * length * n_harmonics)
        last = min(len(powers) - 1, int(max_frequency * length * n_harmonics))
        if last <= first:
            continue
        places = np.arange(first, last + 1)
        total = np.zeros(len(places))
        for harmonic in range(1, n_harmonics + 1):
            total += powers[np.rint(places * (harmonic / n_harmonics)).astype(np.int64)]
        number = int(np.argmax(total))
        significance = _log_chance(float(total[number]), n_harmonics) - math.log(len(places))
        if significance > best[0]:
            best = significance, float(places[number]) / n_harmonics / length
    return best


def whitened(powers: npt.NDArray[np.floating[npt.NBitBase]]) -> Doubles:
    """Powers in units of the noise around, which is stronger at low frequencies.

    :param powers: shape (n,)
    """
    flat = np.ones(len(powers))
    begin = 1
    flat[0] = 0.0
    while begin < len(powers):
        end = min(len(powers), begin + max(8, min(begin, 512)))
        # The median of exponentially distributed numbers is log 2 times their mean.
        level = float(np.median(powers[begin:end])) / math.log(2)
        flat[begin:end] = powers[begin:end] / level if level > 0 else 0.0
        begin = end
    return flat


def _log_chance(total: float, number: int) -> float:
    """-log of the chance that so many powers of noise sum up to so much (Erlang distribution)."""
    terms = [term * math.log(total) - math.lgamma(term + 1) for term in range(number) if total > 0]
    if not terms:
        return 0.0
    highest = max(terms)
    return total - highest - math.log(sum(math.exp(term - highest) for term in terms))


def _folded(series: Floats, tsamp: float, frequency: float) -> Peak:
    """The peak of a series folded at a frequency, or at one close by."""
    n_bins = int(max(8, min(64, 1 / (frequency * tsamp))))
    times = (np.arange(len(series)) + 0.5) * tsamp
    best = Peak(0.0, 1, 0)
    # The Fourier transform tells the frequency to within half a step.
    for offset in np.linspace(-0.75, 0.75, 13):
        turns = times * (frequency + offset / times[-1] / 2)
        places = np.minimum(((turns % 1.0) * n_bins).astype(np.int64), n_bins - 1)
        sums = np.bincount(places, series - series.mean(), n_bins)
        peak = profile_peak(normalised(sums, np.bincount(places, minlength=n_bins)))
        if peak.snr > best.snr:
            best = peak
    return best
