"""Pulse profiles: S/N, and corrections of period and DM that maximise it.

The search over period and period derivative is that of prepfold (Ransom 2001): profiles of
sub-integrations are rotated relative to each other. It maximises the H statistic (de Jager,
Raubenheimer & Swanepoel 1989, A&A 221, 180), which needs no pulse shape.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from darc.config.records import Struct
from darc.science.arrays import Doubles
from darc.science.compiled import compiled
from darc.science.dispersion import DISPERSION_CONSTANT
from darc.science.folding import Folded, rotate

Complexes = npt.NDArray[np.complex128]

#: Maximum number of harmonics.
MAX_HARMONICS = 32
#: Maximum pulse width, in periods.
_WIDEST = 0.5


class Peak(Struct, frozen=True):
    """Pulse of a profile.

    :param width: bins
    :param first: first bin
    """

    snr: float
    width: int
    first: int


def profile_peak(profile: npt.ArrayLike, colour: Doubles | None = None) -> Peak:
    """Return the boxcar of highest S/N, with circular boundaries.

    S/N is the mean of the bins in the boxcar less that of all others, over the standard deviation
    of this difference: sqrt(1 / w + 1 / (n - w)) for w of n bins with white noise of variance 1.
    The noise is not measured in the profile, of which a pulse or chance may leave few bins.

    :param profile: bins, of variance 1 if the noise is white, shape (n_bins,)
    :param colour: noise power at the profile's harmonics relative to white noise, from harmonic 1
        on, shape (n,); None: white noise
    :return: S/N 0 if the profile is constant or not finite, or has fewer than 4 bins
    """
    bins = np.asarray(profile, dtype=np.float64)
    n_bins = len(bins)
    if n_bins < 4 or not np.isfinite(bins).all() or np.ptp(bins) == 0:
        return Peak(0.0, 1, 0)
    widths = sorted({round(1.25**step) for step in range(40)})
    widths = [width for width in widths if width <= max(1, int(n_bins * _WIDEST))]
    around = np.concatenate([[0.0], np.cumsum(np.tile(bins - bins.mean(), 2))])
    best = Peak(-np.inf, 1, 0)
    for width in widths:
        sums = around[width : width + n_bins] - around[:n_bins]
        first = int(np.argmax(sums))
        snr = float(sums[first]) / math.sqrt(_boxcar_variance(width, n_bins, colour))
        if snr > best.snr:
            best = Peak(snr, width, first)
    return best


def _boxcar_variance(width: int, n_bins: int, colour: Doubles | None) -> float:
    """Return the variance of the sum of `width` bins of noise with zero mean over all bins."""
    if colour is None or not len(colour):
        return width * (n_bins - width) / n_bins
    harmonics = np.arange(1, n_bins // 2 + 1)
    angle = np.pi * harmonics / n_bins
    powers = (np.sin(angle * width) / np.sin(angle)) ** 2
    # Each represents two frequencies, except the Nyquist frequency.
    powers *= np.where(2 * harmonics == n_bins, 1, 2) / n_bins
    return float(powers @ colour[np.minimum(harmonics, len(colour)) - 1])


@compiled
def h_statistics(
    spectra: Complexes, variance: float, times: Doubles, drifts: Doubles, curves: Doubles
) -> Doubles:
    """Return the H statistic of the sum of rotated profiles, for each trial.

    H = max over m of (Z_m^2 - 4 m + 4), where Z_m^2 is the normalised power of m harmonics. A
    profile at time x is rotated by drift * x + curve * x^2 turns.

    :param spectra: harmonics of the profiles, from harmonic 1 on, shape (n_profiles, n_harmonics)
    :param variance: variance of a harmonic of the sum for noise alone
    :param times: times of the profiles, in units of the observation's length, from -0.5 to 0.5,
        shape (n_profiles,)
    :param drifts: turns per length, shape (n,)
    :param curves: turns per length squared, shape (m,)
    :return: shape (n, m)
    """
    n_profiles, n_harmonics = spectra.shape
    found = np.empty((drifts.size, curves.size))
    total = np.empty(n_harmonics, np.complex128)
    for number in range(drifts.size):
        for place in range(curves.size):
            total[:] = 0
            for profile in range(n_profiles):
                x = times[profile]
                angle = -2 * np.pi * (drifts[number] * x + curves[place] * x * x)
                turn = complex(np.cos(angle), np.sin(angle))
                factor = turn
                for harmonic in range(n_harmonics):
                    total[harmonic] += spectra[profile, harmonic] * factor
                    factor *= turn
            power, best = 0.0, 0.0
            for harmonic in range(n_harmonics):
                value = total[harmonic]
                power += 2 * (value.real * value.real + value.imag * value.imag) / variance
                best = max(best, power - 4.0 * harmonic)
            found[number, place] = best
    return found


class Drift(Struct, frozen=True, eq=False):
    """Correction of frequency and its derivative that maximises the H statistic.

    :param df: Hz, to be added at the reference time
    :param dfdot: Hz/s, to be added
    :param reference: reference time, s
    :param h: H statistic
    :param turns: rotation of the sub-integrations, shape (n_subints,)
    """

    df: float
    dfdot: float
    reference: float
    h: float
    turns: Doubles


def search_drift(
    sums: Doubles,
    counts: Doubles,
    times: Doubles,
    *,
    max_drift: float,
    max_curve: float,
    step: float,
) -> Drift:
    """Search for the correction of the frequency and its derivative.

    :param sums: profiles of the sub-integrations, shape (n_subints, n_bins)
    :param counts: number of samples in each bin, shape (n_subints, n_bins)
    :param times: s, shape (n_subints,)
    :param max_drift: maximum drift between the first and the last, of either sign, turns
    :param max_curve: maximum deviation of the middle relative to the ends, of either sign, turns
    :param step: step of the drift, turns
    """
    n_bins = sums.shape[1]
    span = float(times[-1] - times[0]) if len(times) > 1 else 0.0
    reference = float(times[0] + times[-1]) / 2
    x = (times - reference) / span if span else np.zeros(len(times))
    n_harmonics = max(1, min(MAX_HARMONICS, n_bins // 2))
    spectra = np.fft.rfft(sums)[:, 1 : n_harmonics + 1]
    drifts = _trials(max_drift if span else 0.0, step)
    # A curve of c turns per length squared deviates by c / 4 turns between middle and ends.
    curves = _trials(4 * max_curve if span else 0.0, 4 * step)
    variance = max(float(counts.sum()), 1.0)
    found = h_statistics(np.ascontiguousarray(spectra), variance, x, drifts, curves)
    number, place = np.unravel_index(int(np.argmax(found)), found.shape)
    drift, curve = float(drifts[number]), float(curves[place])
    turns = drift * x + curve * x**2
    df = drift / span if span else 0.0
    dfdot = 2 * curve / span**2 if span else 0.0
    return Drift(df, dfdot, reference, float(found[number, place]), turns)


def _trials(largest: float, step: float) -> Doubles:
    """Return values from -largest to largest, including 0."""
    count = int(np.ceil(largest / step - 1e-9))
    return np.asarray(np.arange(-count, count + 1) * step, dtype=np.float64)


def dm_turns(frequencies: Doubles, f_reference: float, dm: float, frequency: float) -> Doubles:
    """Return the rotation of the subbands' profiles to earlier phases for a higher DM.

    :param frequencies: frequencies of the subbands, MHz, shape (n,)
    :param f_reference: reference frequency of the delays, MHz
    :param dm: difference of DM, pc cm-3
    :param frequency: rotation frequency of the pulsar, Hz
    :return: turns, shape (n,)
    """
    delays = DISPERSION_CONSTANT * dm * (frequencies**-2.0 - f_reference**-2.0)
    return np.asarray(delays * frequency, dtype=np.float64)


def dm_curve(
    folded: Folded,
    f_reference: float,
    frequency: float,
    offsets: Doubles,
    colour: Doubles | None = None,
) -> Doubles:
    """Return the S/N of the profile at other DMs than that of folding.

    :param f_reference: reference frequency of the delays, MHz
    :param frequency: rotation frequency of the pulsar, Hz
    :param offsets: offsets of the DM, pc cm-3, shape (n,)
    :param colour: see `profile_peak`
    :return: shape (n,)
    """
    sums = folded.sums.sum(axis=0, dtype=np.float64)
    counts = folded.counts.sum(axis=(0, 1), dtype=np.float64)
    found = np.empty(len(offsets))
    for number, offset in enumerate(offsets):
        turns = -dm_turns(folded.frequencies, f_reference, float(offset), frequency)
        profile = normalised(rotate(sums, turns).sum(axis=0), counts)
        found[number] = profile_peak(profile, colour).snr
    return found


def best_dm_offset(folded: Folded, f_reference: float, frequency: float, offsets: Doubles) -> float:
    """Return the DM offset of the sharpest pulse, by the H statistic, which has no steps.

    :param f_reference: reference frequency of the delays, MHz
    :param frequency: rotation frequency of the pulsar, Hz
    :param offsets: evenly spaced trials, pc cm-3, shape (n,), n at least 1
    :return: pc cm-3; interpolated by a parabola
    """
    sums = folded.sums.sum(axis=0, dtype=np.float64)
    n_harmonics = max(1, min(MAX_HARMONICS, sums.shape[1] // 2 - 1))
    spectra = np.fft.rfft(sums)[:, 1 : n_harmonics + 1]
    harmonics = np.arange(1, n_harmonics + 1)
    variance = max(float(folded.counts.sum()), 1.0)
    powers = np.empty((len(offsets), n_harmonics))
    for number, offset in enumerate(offsets):
        turns = dm_turns(folded.frequencies, f_reference, float(offset), frequency)
        turned = spectra * np.exp(2j * np.pi * turns[:, np.newaxis] * harmonics)
        powers[number] = 2 * np.abs(turned.sum(axis=0)) ** 2 / variance
    h = np.cumsum(powers, axis=1) - 4.0 * (harmonics - 1)
    curve = h[:, int(np.argmax(h.max(axis=0)))]
    best = int(np.argmax(curve))
    if not 0 < best < len(offsets) - 1:
        return float(offsets[best])
    low, top, high = curve[best - 1 : best + 2]
    bend = low - 2 * top + high
    part = (low - high) / (2 * bend) if bend < 0 else 0.0
    return float(offsets[best] + part * (offsets[1] - offsets[0]))


def normalised(sums: npt.ArrayLike, counts: npt.ArrayLike) -> Doubles:
    """Return sums in units of their noise, sums / sqrt(counts); 0 where there are no samples."""
    number = np.asarray(counts, dtype=np.float64)
    total = np.asarray(sums, dtype=np.float64)
    return np.where(number > 0, total / np.sqrt(np.maximum(number, 1)), 0.0)
