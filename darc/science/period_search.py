"""Search for an unknown period: trial DMs, Fourier transforms, harmonic summing.

Source: Lorimer & Kramer 2005, Handbook of Pulsar Astronomy, section 6.1. Intended for a bright
unknown pulsar in minutes of data; not a survey's search (no acceleration).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from darc.config.records import Struct
from darc.science.arrays import Doubles, Floats
from darc.science.dedispersion import Band, add_dedispersed
from darc.science.periodicity import Trials, clipped, harmonics, levelled, log_erlang

#: Numbers of harmonics that are summed.
_SUMS = (1, 2, 4, 8, 16)
#: Lowest frequency (Hz): slower rotation is indistinguishable from drifts of the receiver.
MIN_FREQUENCY = 0.1
#: Maximum number of trial DMs.
MAX_TRIALS = 256
#: A harmonic may have been detected instead of the fundamental, or vice versa: ratios to try.
_RATIOS = (1.0, 1 / 2, 1 / 3, 1 / 4, 2.0, 3.0)
_KEPT = 8
#: Frequencies kept per trial DM.
_PEAKS = 4
#: Minimum number of rotations.
_LEAST_TURNS = 4
_MAX_BINS, _MIN_BINS = 64, 4
#: Minimum loss of evidence at DM 0 of a dispersed signal, absolute and relative: interference loses
#: none.
_DISPERSED, _DISPERSED_PART = 6.0, 0.06


class Periodicity(Struct, frozen=True):
    """Period that was found.

    :param frequency: Hz
    :param dm: pc cm-3
    :param log_chance: natural logarithm of the false-alarm probability at one period
    """

    frequency: float
    dm: float
    log_chance: float


def trial_dms(band: Band, resolution: float, dm_max: float) -> Doubles:
    """Return trial DMs between which a pulse is smeared by at most two samples.

    The step is larger if there would be more than MAX_TRIALS trials.

    :param resolution: sampling time of the data, s
    :param dm_max: pc cm-3
    :return: pc cm-3, from 0 on
    """
    per_dm = float(band.delays([1.0])[0].max())
    step = max(4 * resolution / per_dm if per_dm > 0 else dm_max, dm_max / MAX_TRIALS, 1e-3)
    return np.arange(0.0, dm_max + step, step)


class _Peak(Struct, frozen=True):
    """Frequency in the Fourier transform of a series.

    :param evidence: -log of the false-alarm probability over all frequencies
    :param frequency: Hz
    :param dm: pc cm-3
    :param undispersed: evidence at DM 0
    """

    evidence: float
    frequency: float
    dm: float
    undispersed: float

    @property
    def dispersed(self) -> bool:
        """Whether it is significantly weaker at DM 0, unlike interference."""
        lost = self.evidence - self.undispersed
        return lost > max(_DISPERSED, _DISPERSED_PART * self.evidence)


def search_period(
    rows: Floats, band: Band, tsamp: float, dms: Doubles, *, max_frequency: float, limit: float
) -> Periodicity | None:
    """Return the most significant period over several trial DMs; None if there is none.

    A period that is as strong at DM 0 is interference, or a pulsar whose DM this band does not
    resolve: it is returned only if nothing else is significant.

    :param rows: channels, the lowest frequency first, mean 0 and variance 1, shape (n, n_samples)
    :param tsamp: s
    :param dms: trial DMs, pc cm-3
    :param max_frequency: Hz
    :param limit: logarithm of the false-alarm probability at one period below which a period is
        significant
    :return: None if the data are too short, or no frequency is found
    """
    shifts = band.shifts(dms, tsamp)
    n_out = rows.shape[1] - int(shifts.max())
    if n_out * tsamp * min(max_frequency, 0.5 / tsamp) < 16:
        return None
    at_zero = _harmonic_sums(_series(rows, band, 0.0, tsamp, n_out), tsamp, max_frequency)
    found: list[_Peak] = []
    for dm in dms.tolist():
        sums = _harmonic_sums(_series(rows, band, dm, tsamp, n_out), tsamp, max_frequency)
        found += _strongest(sums, at_zero if dm else None, dm, n_out * tsamp)
    best: Periodicity | None = None
    for dispersed in (True, False):
        for peak in _distinct([one for one in found if one.dispersed == dispersed], n_out * tsamp):
            series = _series(rows, band, peak.dm, tsamp, n_out)
            for ratio in _RATIOS:
                tried = peak.frequency * ratio
                if not MIN_FREQUENCY <= tried <= min(max_frequency, 0.25 / tsamp):
                    continue
                one = _at_frequency(series, tsamp, tried, peak.dm)
                if one and (best is None or one.log_chance < best.log_chance):
                    best = one
        if best is not None and best.log_chance < limit:
            break
    return best


def _distinct(peaks: list[_Peak], length: float) -> list[_Peak]:
    """Return the strongest peaks of different frequencies.

    :param length: s
    """
    kept: list[_Peak] = []
    for peak in sorted(peaks, key=lambda one: one.evidence, reverse=True):
        near = (abs(peak.frequency - one.frequency) * length < 2 for one in kept)
        if len(kept) < _KEPT and not any(near):
            kept.append(peak)
    return kept


def search_dm(
    rows: Floats, band: Band, tsamp: float, dms: Doubles, frequency: float
) -> Periodicity | None:
    """Return the DM at which a known period is most significant; None if the data are too short.

    :param rows: channels, the lowest frequency first, mean 0 and variance 1, shape (n, n_samples)
    :param tsamp: s
    :param dms: trial DMs, pc cm-3
    :param frequency: Hz
    """
    n_out = rows.shape[1] - int(band.shifts(dms, tsamp).max())
    found = [
        _at_frequency(_series(rows, band, dm, tsamp, n_out), tsamp, frequency, dm)
        for dm in dms.tolist()
    ]
    return min((one for one in found if one), key=lambda one: one.log_chance, default=None)


def _series(rows: Floats, band: Band, dm: float, tsamp: float, n_out: int) -> Floats:
    series = np.zeros((1, max(n_out, 0)), np.float32)
    add_dedispersed(rows, band.shifts([dm], tsamp), series)
    found: Floats = series[0]
    return found


def _harmonic_sums(
    series: Floats, tsamp: float, max_frequency: float
) -> dict[int, tuple[int, Doubles]]:
    """Return the first frequency and the summed powers, for each number of harmonics."""
    length = len(series) * tsamp
    powers = whitened(np.abs(np.fft.rfft(series - series.mean())) ** 2)
    sums = {}
    for n_harmonics in _SUMS:
        # Frequencies in steps of 1 / n_harmonics, the resolution of the highest harmonic.
        first = math.ceil(max(MIN_FREQUENCY * length, _LEAST_TURNS) * n_harmonics)
        last = min(len(powers) - 1, int(max_frequency * length * n_harmonics))
        if last <= first:
            continue
        places = np.arange(first, last + 1)
        total = np.zeros(len(places))
        for harmonic in range(1, n_harmonics + 1):
            total += powers[np.rint(places * (harmonic / n_harmonics)).astype(np.int64)]
        sums[n_harmonics] = first, total
    return sums


def _strongest(
    sums: dict[int, tuple[int, Doubles]],
    at_zero: dict[int, tuple[int, Doubles]] | None,
    dm: float,
    length: float,
) -> list[_Peak]:
    """Return the strongest frequencies of a series.

    :param at_zero: sums at DM 0; None: `sums` are those
    :param length: s
    """
    found = []
    for n_harmonics, (first, total) in sums.items():
        for number in np.argsort(total)[: -_PEAKS - 1 : -1].tolist():
            evidence = -log_erlang(float(total[number]), n_harmonics) - math.log(len(total))
            undispersed = evidence
            if at_zero is not None:
                around = at_zero[n_harmonics][1][max(0, number - 1) : number + 2]
                undispersed = -log_erlang(float(around.max()), n_harmonics) - math.log(len(total))
            frequency = (first + number) / n_harmonics / length
            found.append(_Peak(evidence, frequency, dm, undispersed))
    found.sort(key=lambda peak: (peak.dispersed, peak.evidence), reverse=True)
    return found[:_PEAKS]


def whitened(powers: npt.NDArray[np.floating[npt.NBitBase]]) -> Doubles:
    """Normalise powers by the noise around them, which is stronger at low frequencies.

    :param powers: shape (n,)
    :return: shape (n,), of mean 1 for noise; 0 at frequency 0
    """
    levels, centres = [], []
    begin = 1
    while begin < len(powers):
        end = min(len(powers), begin + max(8, min(begin, 512)))
        # The median of an exponential distribution is log 2 times its mean.
        level = float(np.median(powers[begin:end])) / math.log(2)
        if level > 0:
            levels.append(math.log(level))
            centres.append(math.log((begin + end - 1) / 2))
        begin = end
    flat = np.zeros(len(powers))
    if not levels:
        return flat
    places = np.log(np.arange(1, len(powers)))
    level_at = np.interp(places, centres, levels)
    if len(levels) > 1:
        slope = (levels[1] - levels[0]) / (centres[1] - centres[0])
        level_at = np.where(
            places < centres[0], levels[0] + min(slope, 0.0) * (places - centres[0]), level_at
        )
    flat[1:] = powers[1:] / np.exp(level_at)
    return flat


def _at_frequency(series: Floats, tsamp: float, frequency: float, dm: float) -> Periodicity | None:
    """Return the significance of a period or one close by; None: too short, or under-sampled."""
    length = len(series) * tsamp
    n_bins = int(min(_MAX_BINS, 1 / (frequency * tsamp)))
    if length * frequency < _LEAST_TURNS or n_bins < _MIN_BINS:
        return None
    times = (np.arange(len(series)) + 0.5) * tsamp
    best_power, best = -1.0, frequency
    # The Fourier transform determines the frequency to half a step.
    for tried in frequency + np.linspace(-0.75, 0.75, 13) / length / 2:
        places = ((times * tried % 1.0) * n_bins).astype(np.int64)
        spectrum = np.fft.rfft(np.bincount(places, series, n_bins)[:n_bins])
        power = float((np.abs(spectrum[1:]) ** 2).sum())
        if power > best_power:
            best_power, best = power, float(tried)
    n_turns = int(length * best)
    places = (times * best * n_bins).astype(np.int64)
    places = places[places < n_turns * n_bins]
    shape = n_turns, n_bins
    size = n_turns * n_bins
    sums: Doubles = np.asarray(np.bincount(places, series[: len(places)], size), np.float64)
    counts: Doubles = np.asarray(np.bincount(places, minlength=size), np.float64)
    flat, _ = levelled(sums.reshape(shape), counts.reshape(shape))
    return Periodicity(best, dm, harmonics(clipped(flat), n_turns).log_chance(Trials()))
