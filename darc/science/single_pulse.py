"""Single-pulse search: trial DMs, dedispersion by subbands, boxcars.

Simple and not fast; for files that no real-time search has processed. Rows are channels, the lowest
frequency first, each with its samples in time.

The step of the trial DMs changes the delay across the band by the root of the sum of squares of the
sampling time and the intra-channel smearing; where that smearing is longer than two samples, data
are downsampled. Trials that are close to each other share sums over subbands, with a residual delay
within a subband of at most half a sample.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darc.science.compiled import compiled
from darc.science.dedispersion import Band, add_dedispersed
from darc.science.dispersion import DISPERSION_CONSTANT
from darc.science.downsample import channel_groups
from darc.science.isolated import find_outliers, take_isolated

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Maximum number of trials: more would take days.
MAX_TRIALS = 100_000

_SUBBANDS = 64
#: Cell size (samples): only the strongest pulse of a cell is returned.
_CELL = 32
#: Minimum number of smoothed samples for an estimate of the noise.
_LEAST_SAMPLES = 64
#: In data of fewer widths, the noise of a boxcar is uncertain: it is at least that of the narrowest
#: one, scaled as white noise.
_FEW = 64
#: Length of a block of the noise in units of the longest pulse, and minimum (samples); number of
#: blocks on either side that it is measured in; maximum of boxcars measured in a block.
_NOISE_BLOCK, _LEAST_BLOCK, _BLOCKS_BESIDE, _MOST_SAMPLES = 16, 1024, 6, 2048
#: Ratio of sigma after and before clipping at 3 sigma.
_CLIPPED = 0.98
_MAD = 1.4826


@dataclass(frozen=True, slots=True, eq=False)
class SearchStage:
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


def pulse_widths(longest: int) -> Ints:
    """Return the boxcar widths, samples: 1, 2, 3, 4, 6, 8, 12, ..., not above `longest`."""
    powers = 1 << np.arange(24)
    widths = np.unique(np.concatenate((powers, 3 * powers)))
    return widths[widths <= max(1, longest)]


def _pairs(edges: Ints) -> list[tuple[int, int]]:
    plain = edges.tolist()
    return list(itertools.pairwise(plain))


@dataclass(frozen=True, slots=True, eq=False)
class FoundPulses:
    """Pulses, shape (n,) each.

    :param trial: index of the DM
    :param start: first sample of the boxcar
    :param width: samples
    :param snr: S/N
    """

    trial: Ints
    start: Ints
    width: Ints
    snr: Doubles


def find_pulses(
    rows: Floats,
    late: Doubles,
    dms: Doubles,
    n_out: int,
    widths: Ints,
    snr_min: float,
    thresholds: Doubles | None = None,
) -> FoundPulses:
    """Search for pulses at several trial DMs.

    :param rows: channels of unit variance and zero baseline (:mod:`darc.science.baseline`), shape
        (n, m); m may exceed n_out by the largest delay. Low outliers are set to 0 in place
    :param late: delay of each channel per DM, samples per pc cm-3, descending, shape (n,)
    :param dms: ascending, pc cm-3, shape (n_dms,)
    :param n_out: number of samples in which a pulse may start
    :param widths: boxcar widths, samples
    :param snr_min: lowest S/N returned, inclusive
    :param thresholds: outliers of a channel above this are replaced unless they belong to a pulse
        (:mod:`darc.science.isolated`), standard deviations, shape (n,); None: no outliers are
        replaced
    :return: the strongest pulse of each trial and cell
    """
    n_rows, length = rows.shape
    edges = channel_groups(n_rows, min(n_rows, _SUBBANDS))
    tops = late[edges[1:] - 1]
    reach = n_out + int(widths.max())
    block = max(_LEAST_BLOCK, _NOISE_BLOCK * int(widths.max()))
    found = []
    outliers = None if thresholds is None else find_outliers(rows, thresholds)
    group_of, inner_of = np.repeat(np.arange(len(tops)), np.diff(edges)), np.zeros(n_rows, np.int64)
    for first, end in _groups(dms, late[edges[:-1]] - tops):
        middle = float(dms[first:end].mean())
        shifts = np.rint(np.outer(dms[first:end], tops)).astype(np.int64)
        subbands = np.zeros((len(tops), reach + int(shifts.max())), dtype=np.float32)
        for number, (begin, stop) in enumerate(_pairs(edges)):
            inner = np.rint(middle * (late[begin:stop] - tops[number])).astype(np.int64)
            inner_of[begin:stop] = inner
            add_dedispersed(rows[begin:stop], inner[np.newaxis], subbands[number : number + 1])
        if outliers is not None and thresholds is not None:
            track = np.rint(middle * late).astype(np.int64)
            take_isolated(
                rows,
                outliers.channels,
                outliers.places,
                track,
                thresholds,
                subbands,
                group_of,
                inner_of,
            )
        series = np.zeros((end - first, reach), dtype=np.float32)
        add_dedispersed(subbands, shifts, series)
        # Samples with less than half of the channels are not searched.
        half = np.rint(dms[first:end] * np.median(late)).astype(np.int64)
        valid = np.clip(length - half, 0, reach)
        middle_one = (end - first) // 2
        means, sigmas = _local_noise(series[middle_one], int(valid[middle_one]), widths, block)
        starts, at_width, snrs = _strongest(series, valid, widths, n_out, means, sigmas)
        trial, cell = np.nonzero(snrs >= snr_min)
        found.append(
            FoundPulses(
                trial + first, starts[trial, cell], at_width[trial, cell], snrs[trial, cell]
            )
        )
    return FoundPulses(
        *(
            np.concatenate([getattr(one, name) for one in found])
            for name in ("trial", "start", "width", "snr")
        )
    )


def _groups(dms: Doubles, within: Doubles) -> list[tuple[int, int]]:
    """Group trials whose delays within a subband differ by at most one sample."""
    widest = float(within.max())
    groups, first = [], 0
    for number in range(1, len(dms) + 1):
        if number == len(dms) or (dms[number] - dms[first]) * widest > 1:
            groups.append((first, number))
            first = number
    return groups


@compiled
def _local_noise(series: Floats, valid: int, widths: Ints, block: int) -> tuple[Doubles, Doubles]:
    """Measure the noise of each boxcar width, local in time, without pulses.

    The mean is that of a block, since a baseline that was subtracted leaves a shallow and long dip
    around a bright pulse. The variance, about the mean of the block, is that of the middle half of
    the neighbouring blocks, as the ends of such a dip spoil some. Both are clipped, starting from
    median and MAD.

    :param series: dedispersed, shape (n,)
    :param valid: number of samples to use
    :param widths: ascending, samples
    :param block: length of a block, samples; the last may be up to twice as long
    :return: mean and standard deviation of the sums, shape (n_widths, n_blocks) each; NaN: too few
        samples
    """
    n_blocks = max(1, valid // block)
    means = np.full((widths.size, n_blocks), np.nan)
    sigmas = np.full((widths.size, n_blocks), np.nan)
    sums = np.zeros(valid + 1)
    for place in range(valid):
        sums[place + 1] = sums[place] + series[place]
    variances = np.zeros(n_blocks)
    for number in range(widths.size):
        width = widths[number]
        count = valid - width + 1
        if count < _LEAST_SAMPLES:
            break
        apart = max(1, width // 4, block // _MOST_SAMPLES)
        for which in range(n_blocks):
            first = which * count // n_blocks
            end = (which + 1) * count // n_blocks
            places = np.arange(first, end, apart)
            values = sums[places + width] - sums[places]
            mean = np.median(values)
            sigma = _MAD * np.median(np.abs(values - mean))
            if sigma == 0:  # few values that differ
                sigma = values.std()
            variance = 0.0
            for _ in range(2):
                total, square, inside = 0.0, 0.0, 0
                for value in values:
                    off = value - mean
                    if abs(off) <= 3 * sigma:
                        total += off
                        square += off * off
                        inside += 1
                mean += total / max(inside, 1)
                shifted = total / max(inside, 1)
                variance = max(square / max(inside, 1) - shifted * shifted, 0.0)
                sigma = np.sqrt(variance)
            means[number, which] = mean
            # The mean of few independent boxcars takes a part of their variance.
            variances[which] = variance / max(0.5, 1 - width / (end - first))
        for which in range(n_blocks):
            first, end = max(0, which - _BLOCKS_BESIDE), min(n_blocks, which + _BLOCKS_BESIDE + 1)
            some = np.sort(variances[first:end])
            quarter = some.size // 4
            sigma = np.sqrt(np.mean(some[quarter : some.size - quarter])) / _CLIPPED
            if number and (end - first) * count // n_blocks < _FEW * width:
                sigma = max(sigma, sigmas[0, which] * np.sqrt(width / widths[0]))
            sigmas[number, which] = sigma
    return means, sigmas


@compiled
def _strongest(
    series: Floats, valid: Ints, widths: Ints, n_out: int, means: Doubles, sigmas: Doubles
) -> tuple[Ints, Ints, Doubles]:
    """Find the strongest pulse of each cell.

    :param valid: number of samples to use of each trial, shape (n_dms,)
    :param means: noise, see `_local_noise`; likewise sigmas
    :return: start, width and S/N of each, shape (n_dms, n_cells)
    """
    n_dms, n = series.shape
    n_cells = (n_out + _CELL - 1) // _CELL
    n_blocks = means.shape[1]
    starts = np.zeros((n_dms, n_cells), np.int64)
    at_width = np.ones((n_dms, n_cells), np.int64)
    snrs = np.full((n_dms, n_cells), -np.inf)
    sums = np.zeros(n + 1)
    for trial in range(n_dms):
        length = min(n, valid[trial])
        for place in range(length):
            sums[place + 1] = sums[place] + series[trial, place]
        for number in range(widths.size):
            width = widths[number]
            count = length - width + 1
            if count < _LEAST_SAMPLES:
                break
            for cell in range(min(n_cells, (count + _CELL - 1) // _CELL)):
                first = cell * _CELL
                end = min(first + _CELL, count, n_out)
                which = min(first * n_blocks // count, n_blocks - 1)
                if not sigmas[number, which] > 0:
                    continue
                highest = -np.inf
                for place in range(first, end):
                    highest = max(highest, sums[place + width] - sums[place])
                snr = (highest - means[number, which]) / sigmas[number, which]
                if snr > snrs[trial, cell]:
                    snrs[trial, cell] = snr
                    at_width[trial, cell] = width
                    for place in range(first, end):
                        if sums[place + width] - sums[place] == highest:
                            starts[trial, cell] = place
                            break
    return starts, at_width, snrs
