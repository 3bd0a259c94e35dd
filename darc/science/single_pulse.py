"""Single-pulse search: trial DMs, dedispersion by a tree of subbands, boxcars.

For files that no real-time search has processed. Rows are channels, the lowest frequency first,
each with its samples in time.

The step of the trial DMs changes the delay across the band by the root of the sum of squares of the
sampling time and the intra-channel smearing; where that smearing is longer than two samples, data
are downsampled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from darc.config.records import Struct, astuple
from darc.science.arrays import Doubles, Ints, Shorts
from darc.science.boxcar_search import boxcar_steps, find_strongest, local_noise
from darc.science.dedispersion import Band
from darc.science.dedispersion_tree import SubbandSums, Tree
from darc.science.dispersion import DISPERSION_CONSTANT
from darc.science.isolated import find_outliers, take_isolated
from darc.science.pulse_measurement import Pulse, PulseNoise, SearchedChannels
from darc.science.reused_memory import ReusedMemory
from darc.science.search_levels import LEVELS

#: Maximum number of trials: more would take days.
MAX_TRIALS = 100_000

#: Trials whose subbands are summed together: more need more memory, fewer read the data more often.
_TRIALS = 256
#: Trials of which one stands for the noise of all, unless more share their subbands.
_NOISE_TRIALS = 40
#: Length of a block of the noise in units of the longest pulse, and minimum (samples).
_NOISE_BLOCK, _LEAST_BLOCK = 16, 1024
#: Pulses that miss the lowest S/N by this part of it in the shared sums are measured, too. Maximum
#: number that are measured of the trials whose subbands are summed together: the strongest.
_LOSS, _MOST_MEASURED = 0.15, 64


class SearchStage(Struct, frozen=True, eq=False):
    """Trial DMs that are searched at the same time resolution.

    :param factor: downsampling factor
    :param dms: ascending, pc cm-3, shape (n,)
    """

    factor: int
    dms: Doubles


def dm_stages(band: Band, tsamp: float, low: float, high: float) -> list[SearchStage]:
    """Return the trial DMs of a range, by downsampling factor.

    :param tsamp: sampling time of the data, s
    :param low: lowest DM, pc cm-3
    :param high: highest DM, pc cm-3
    :raises ValueError: the range is invalid, or needs more than MAX_TRIALS
    """
    if not 0 <= low <= high < math.inf:
        raise ValueError(f"no DM to search from {low:g} to {high:g} pc cm-3")
    per_dm = DISPERSION_CONSTANT * (band.f_lowest**-2 - band.f_high**-2)
    trials: dict[int, list[float]] = {}
    dm, count = low, 0
    while dm <= high:
        smearing = band.smearing(dm)
        factor = 1 << max(0, math.floor(math.log2(max(smearing / tsamp / 2, 1))))
        trials.setdefault(factor, []).append(dm)
        dm += math.hypot(factor * tsamp, smearing) / per_dm
        count += 1
        if count > MAX_TRIALS:
            raise ValueError(
                f"more than {MAX_TRIALS} trial DMs from {low:g} to {high:g} pc cm-3:"
                f" samples of {tsamp:g} s, {per_dm:g} s of delay across the band per unit"
            )
    return [SearchStage(factor, np.array(dms)) for factor, dms in sorted(trials.items())]


class FoundPulses(Struct, frozen=True, eq=False):
    """Pulses, shape (n,) each.

    :param dm: pc cm-3
    :param start: first sample of the boxcar
    :param width: samples
    """

    dm: Doubles
    start: Ints
    width: Ints
    snr: Doubles


def find_pulses(
    rows: Shorts,
    late: Doubles,
    dms: Doubles,
    n_out: int,
    widths: Ints,
    snr_min: float,
    thresholds: Doubles | None = None,
    smearing: Doubles | None = None,
    memory: tuple[ReusedMemory, ReusedMemory] | None = None,
) -> FoundPulses:
    """Search for pulses at several trial DMs.

    The strongest of each neighbourhood is measured anew (:mod:`darc.science.pulse_measurement`).

    :param rows: levels of channels of unit variance and zero baseline
        (:mod:`darc.science.search_levels`), shape (n, m); m may exceed n_out by the largest delay.
        Low outliers are set to 0 in place
    :param late: delay of each channel per DM, samples per pc cm-3, descending, shape (n,)
    :param dms: ascending, pc cm-3, shape (n_dms,)
    :param n_out: number of samples in which a pulse may start
    :param widths: boxcar widths, samples
    :param snr_min: lowest S/N returned, inclusive
    :param thresholds: outliers of a channel above this are replaced unless they belong to a pulse
        (:mod:`darc.science.isolated`), standard deviations, shape (n,); None: no outliers are
        replaced
    :param smearing: intra-channel smearing per DM, samples per pc cm-3, shape (n,); None: there is
        none
    :param memory: of an earlier call, to be used again
    :return: the strongest pulse of each trial and cell
    """
    length = rows.shape[1]
    tree, reach = Tree.of(late), n_out + int(widths.max())
    block = max(_LEAST_BLOCK, _NOISE_BLOCK * int(widths.max()))
    steps = boxcar_steps(widths)
    # Samples with less than half of the channels are not searched.
    half = np.rint(dms * np.median(late)).astype(np.int64)
    valid = np.clip(length - half, 0, reach)
    outliers = None
    if thresholds is None:
        np.clip(rows, -tree.highest, tree.highest, out=rows)
    else:
        outliers = find_outliers(rows, thresholds, tree.highest)
    smearing = np.zeros(len(late)) if smearing is None else smearing
    limits = np.zeros(len(late)) if thresholds is None else thresholds
    channels = SearchedChannels(rows, late, smearing, outliers, limits)
    scale = 1 << tree.shift
    found: list[FoundPulses] = []
    memory = memory or (ReusedMemory(), ReusedMemory())
    for begin in range(0, len(dms), _TRIALS):
        noise_until = 0
        chunk = slice(begin, begin + _TRIALS)
        subbands = SubbandSums(rows, tree, dms[chunk], reach, memory)
        if thresholds is not None and outliers is not None:
            take_isolated(
                rows,
                outliers.channels,
                outliers.places,
                subbands.tracks(),
                thresholds,
                subbands.sums,
                *subbands.places(),
                LEVELS,
                LEVELS / scale,
            )
        noises: list[tuple[Doubles, Doubles]] = []
        several: list[_Strongest] = []
        for group in range(len(subbands.groups)):
            if subbands.groups[group][0] >= noise_until:
                middle, series = subbands.middle_series(group)
                means, sigmas = local_noise(series, int(valid[chunk][middle]), widths, block)
                noises.append((scale * means, scale * sigmas))
                noise_until = subbands.groups[group][0] + _NOISE_TRIALS
            for first, sums in subbands.series(group):
                here = valid[begin + first : begin + first + len(sums)]
                limit = (1 - _LOSS) * snr_min
                strongest = find_strongest(sums, here, widths, steps, n_out, means, sigmas, limit)
                trial = strongest[0] + begin + first
                noise = np.full(len(trial), len(noises) - 1)
                several.append(_Strongest(noise, trial, *strongest[1:]))
        joined = _Strongest(*_joined(several))
        found.append(_measured(joined, channels, noises, dms, valid, widths, snr_min))
    return FoundPulses(*_joined(found))


def _joined(several: Sequence[Struct]) -> list[npt.NDArray[Any]]:
    """Concatenate each field of some structs of arrays."""
    return [np.concatenate(columns) for columns in zip(*map(astuple, several), strict=True)]


class _Strongest(Struct, frozen=True, eq=False):
    """What the shared sums have, shape (n,) each.

    :param noise: index of the noise
    :param trial: index of the DM
    :param start: first sample of the boxcar
    :param width: samples
    """

    noise: Ints
    trial: Ints
    start: Ints
    width: Ints
    snr: Doubles


def _measured(
    found: _Strongest,
    channels: SearchedChannels,
    noises: list[tuple[Doubles, Doubles]],
    dms: Doubles,
    valid: Ints,
    widths: Ints,
    snr_min: float,
) -> FoundPulses:
    """Measure the strongest of each neighbourhood, and return all that are strong enough.

    :param noises: mean and deviation of boxcars, see :func:`local_noise`
    :param valid: number of samples to use of each trial, shape (n_dms,)
    """
    dm, start = dms[found.trial], found.start.copy()
    width, snr = found.width.copy(), found.snr.copy()
    for number in _peaks(dm, start, width, snr, float(channels.late[0])):
        length = int(valid[found.trial[number]])
        before = Pulse(
            float(dm[number]), int(start[number]), int(width[number]), float(snr[number])
        )
        noise = _noise_there(noises[found.noise[number]], widths, before, length)
        pulse = channels.measure(before, noise, dms, length)
        if pulse.snr > before.snr:
            dm[number], start[number] = pulse.dm, pulse.start
            width[number], snr[number] = pulse.width, pulse.snr
    some = snr >= snr_min
    return FoundPulses(dm[some], start[some], width[some], snr[some])


def _peaks(dm: Doubles, start: Ints, width: Ints, snr: Doubles, across: float) -> list[int]:
    """Return the strongest pulse of each neighbourhood.

    A pulse is found at DMs beside its own, too, earlier or later by up to the change of the delay.

    :param across: delay across the band per DM, samples per pc cm-3
    """
    peaks: list[int] = []
    left = np.argsort(-snr, kind="stable")
    while len(left) and len(peaks) < _MOST_MEASURED:
        peak = int(left[0])
        peaks.append(peak)
        near = width[left] + width[peak] + across * np.abs(dm[left] - dm[peak])
        left = left[np.abs(start[left] - start[peak]) > near]
    return peaks


def _noise_there(
    noise: tuple[Doubles, Doubles], widths: Ints, pulse: Pulse, valid: int
) -> PulseNoise:
    """Return the noise of the block of a pulse.

    :param noise: mean and deviation of boxcars, see :func:`local_noise`
    :param valid: number of samples of the series
    """
    means, sigmas = noise
    n_blocks = means.shape[1]
    block = min(pulse.start * n_blocks // (valid - pulse.width + 1), n_blocks - 1)
    some = sigmas[:, block] > 0
    mean = float(means[widths == pulse.width, block][0]) / pulse.width
    return PulseNoise(mean, widths[some], sigmas[some, block] / np.sqrt(widths[some]))
