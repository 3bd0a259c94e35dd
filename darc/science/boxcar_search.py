"""Boxcars of many widths over dedispersed series: their noise, and the pulses above it.

Series are integers. Where the running sum of a block stays within 16 bits, so do all boxcars, and
twice as many are compared at a time (SIMD) as of 32 bits.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from darc.science.arrays import Doubles, Ints, Series, Shorts
from darc.science.compiled import compiled

#: Cell size (samples): only the strongest pulse of a cell is returned.
CELL = 32
#: Minimum number of smoothed samples for an estimate of the noise.
_LEAST_SAMPLES = 64
#: In data of fewer widths, the noise of a boxcar is uncertain: it is at least that of the narrowest
#: one, scaled as white noise.
_FEW = 64
#: Number of blocks on either side that the noise of a block is measured in; maximum of boxcars
#: measured in a block.
_BLOCKS_BESIDE, _MOST_SAMPLES = 6, 1024
#: Boxcars of a block whose median and MAD are where clipping begins.
_TO_BEGIN = 256
#: Ratio of sigma after and before clipping at 3 sigma.
_CLIPPED = 0.98
_MAD = 1.4826
#: Boxcars begin this many times per width, if they are long, and at least so often (samples).
_PER_WIDTH, _MOST_APART = 32, 16
#: Samples that are searched at a time, so that they stay in the processor's cache: a multiple of
#: `CELL` and `_MOST_APART`. Boxcars of which the highest is compared with the limit.
_BLOCK, _PIECE = 8192, 1024
#: Range of 16 bits.
_SHORT = 32767


def pulse_widths(longest: int) -> Ints:
    """Return the boxcar widths, samples: 1, 2, 3, ..., 8, 10, 12, 14, 16, 20, ..., to `longest`."""
    powers = 1 << np.arange(24)
    widths = np.unique(np.concatenate([(powers * part) // 4 for part in (4, 5, 6, 7)]))
    return widths[widths <= max(1, longest)]


def boxcar_steps(widths: Ints) -> Ints:
    """Return how far apart the boxcars of each width begin, samples: powers of two.

    :param widths: ascending, shape (n,)
    """
    apart = np.clip(widths // _PER_WIDTH, 1, _MOST_APART)
    steps = 1 << np.floor(np.log2(apart)).astype(np.int64)
    # Sums at every second sample are made of those before: no step is smaller again.
    return np.minimum.accumulate(np.where(widths % steps, 1, steps)[::-1])[::-1].copy()


@compiled
def local_noise(series: Series, valid: int, widths: Ints, block: int) -> tuple[Doubles, Doubles]:
    """Measure the noise of each boxcar width, local in time, without pulses.

    The mean is that of a block, since a baseline that was subtracted leaves a shallow and long dip
    around a bright pulse. The variance, about the mean of the block, is that of the middle half of
    the neighbouring blocks, as the ends of such a dip spoil some. Both are clipped, starting from
    median and MAD.

    :param series: dedispersed, shape (n,)
    :param valid: number of samples to use
    :param widths: ascending, samples
    :param block: length of a block, samples; the last may be up to twice as long
    :return: mean and standard deviation of the sums, shape (n_widths, n_blocks) each; 0: too few
        samples
    """
    n_blocks = max(1, valid // block)
    means = np.zeros((widths.size, n_blocks))
    sigmas = np.zeros((widths.size, n_blocks))
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
            some = values[:: max(1, values.size // _TO_BEGIN)]
            mean = np.median(some)
            sigma = _MAD * np.median(np.abs(some - mean))
            if sigma == 0:  # few values that differ
                sigma = values.std()
            variance = 0.0
            for _ in range(2):
                total, square, inside = 0.0, 0.0, 0
                for place in range(values.size):
                    off = values[place] - mean
                    kept = abs(off) <= 3 * sigma
                    off = off if kept else 0.0
                    total += off
                    square += off * off
                    inside += kept
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
def find_strongest(
    series: Series,
    valid: Ints,
    widths: Ints,
    steps: Ints,
    n_out: int,
    means: Doubles,
    sigmas: Doubles,
    snr_min: float,
) -> tuple[Ints, Ints, Ints, Doubles]:
    """Find the strongest pulse of each trial and cell.

    :param series: shape (n_dms, n)
    :param valid: number of samples to use of each trial, shape (n_dms,)
    :param widths: ascending, samples, shape (n_widths,)
    :param steps: see :func:`boxcar_steps`
    :param n_out: number of samples in which a pulse may start
    :param means: noise, see :func:`local_noise`; likewise sigmas
    :param snr_min: lowest S/N, inclusive
    :return: trial, start, width and S/N, shape (n_pulses,) each
    """
    n_dms, n = series.shape
    n_cells = (n_out + CELL - 1) // CELL
    found_trial, found_start = np.empty(0, np.int64), np.empty(0, np.int64)
    found_width, found_snr = np.empty(0, np.int64), np.empty(0)
    cells = np.zeros((3, n_cells))  # of each cell: S/N, start and width
    sums = np.empty(_BLOCK + widths[-1] + 1, np.int32)
    short_sums = np.empty(sums.size, np.int16)
    for trial in range(n_dms):
        length = min(n, valid[trial])
        cells[:] = 0
        any_found = False
        for begin in range(0, min(n_out, length), _BLOCK):
            size = min(length - begin, _BLOCK + widths[-1])
            _add_up(series[trial, begin : begin + size], sums)
            end = min(begin + _BLOCK, n_out)
            ladder, noise = (widths, steps), (means, sigmas)
            if _shorten(sums[: size + 1], short_sums):
                any_found |= _search_block(
                    short_sums[: size + 1], begin, end, length, ladder, noise, snr_min, cells
                )
            else:
                any_found |= _search_block(
                    sums[: size + 1], begin, end, length, ladder, noise, snr_min, cells
                )
        if any_found:
            some = np.flatnonzero(cells[0])
            found_trial = np.concatenate((found_trial, np.full(some.size, trial)))
            found_snr = np.concatenate((found_snr, cells[0, some]))
            found_start = np.concatenate((found_start, cells[1, some].astype(np.int64)))
            found_width = np.concatenate((found_width, cells[2, some].astype(np.int64)))
    return found_trial, found_start, found_width, found_snr


@compiled
def _search_block(
    sums: Series,
    begin: int,
    last: int,
    length: int,
    ladder: tuple[Ints, Ints],
    noise: tuple[Doubles, Doubles],
    snr_min: float,
    cells: Doubles,
) -> bool:
    """Look for pulses in a block.

    :param sums: of all samples of the block before each; changed in place
    :param begin: first sample
    :param last: end of the samples in which a pulse may start
    :param length: number of samples of the series
    :param ladder: widths and steps
    :param noise: mean and deviation, see :func:`local_noise`
    :param cells: see `_search_cells`
    :return: whether there is any
    """
    (widths, steps), (means, sigmas) = ladder, noise
    apart, kept, found = 1, sums.size, False
    for number in range(widths.size):
        width = widths[number]
        count = length - width + 1
        if count < _LEAST_SAMPLES:
            break
        while apart < steps[number]:  # keep the sums at every second sample
            apart *= 2
            kept = (kept + 1) // 2
            for place in range(kept):
                sums[place] = sums[2 * place]
        end = min(last, count)
        for first in range(begin, end, _PIECE * apart):
            stop = min(first + _PIECE * apart, end)
            limit = _limit(means, sigmas, number, first, stop, count, snr_min)
            at, n_boxes = (first - begin) // apart, (stop - first + apart - 1) // apart
            if _highest(sums, at, n_boxes, width // apart) >= limit:
                boxes = sums, begin, apart, width
                here = means[number], sigmas[number]
                _search_cells(boxes, first, stop, here, count, snr_min, cells)
                found = True
    return found


@compiled
def _limit(
    means: Doubles, sigmas: Doubles, number: int, first: int, end: int, count: int, snr_min: float
) -> float:
    """Return the lowest boxcar that is strong enough anywhere in a piece; infinite: none is.

    :param means: noise, see :func:`local_noise`; likewise sigmas
    :param number: of the width
    :param first: first start of a boxcar in the piece, and its end
    :param count: number of boxcars in all blocks of the noise
    """
    limit, n_blocks = np.inf, means.shape[1]
    last = min((end - 1) * n_blocks // count, n_blocks - 1)
    for which in range(min(first * n_blocks // count, last), last + 1):
        if sigmas[number, which] > 0:
            limit = min(limit, means[number, which] + snr_min * sigmas[number, which])
    return limit


@compiled
def _search_cells(
    boxes: tuple[Series, int, int, int],
    first: int,
    end: int,
    noise: tuple[Doubles, Doubles],
    count: int,
    snr_min: float,
    cells: Doubles,
) -> None:
    """Look for boxcars that are strong enough in the cells of a piece.

    :param boxes: sums, the sample of the first, samples between two, and width of the boxcars
    :param first: first start of a boxcar in the piece, and its end
    :param noise: mean and deviation in blocks
    :param count: number of boxcars in all blocks of the noise
    :param cells: S/N, start and width of the strongest pulse of each cell, shape (3, n_cells);
        changed in place
    """
    sums, begin, apart, width = boxes
    means, sigmas = noise
    n_blocks = means.size
    for cell in range(first // CELL, (end + CELL - 1) // CELL):
        which = min(cell * CELL * n_blocks // count, n_blocks - 1)
        if not sigmas[which] > 0:
            continue
        off = (cell * CELL - begin) // apart
        n_boxes = (min((cell + 1) * CELL, end) - cell * CELL + apart - 1) // apart
        highest = _highest(sums, off, n_boxes, width // apart)
        snr = (highest - means[which]) / sigmas[which]
        if snr >= snr_min and snr > cells[0, cell]:
            place = off
            while sums[place + width // apart] - sums[place] != highest:
                place += 1
            cells[0, cell], cells[1, cell], cells[2, cell] = snr, begin + place * apart, width


@compiled
def _highest(sums: Series, first: int, count: int, width: int) -> int:
    """Return the highest of several boxcars.

    :param sums: sums of all samples before each
    :param first: first sample of the first boxcar
    :param count: number of boxcars, at least 1
    """
    early, late = sums[first : first + count], sums[first + width : first + width + count]
    highest = sums.dtype.type(late[0] - early[0])
    for place in range(1, count):
        # Of the sums' type, else wider ones would be compared.
        value = sums.dtype.type(late[place] - early[place])
        highest = value if value > highest else highest
    return int(highest)


@compiled
def _shorten(sums: npt.NDArray[np.int32], short: Shorts) -> bool:
    """Write sums as 16 bits, less the same for all; return whether they fit.

    :param sums: shape (n,)
    :param short: overwritten, shape (n,) or longer
    """
    low, high = np.int32(0), np.int32(0)
    for place in range(sums.size):
        low, high = min(low, sums[place]), max(high, sums[place])
    if np.int64(high) - np.int64(low) > _SHORT:
        return False
    for place in range(sums.size):
        short[place] = np.int16(sums[place] - low)
    return True


@compiled
def _add_up(values: Series, sums: npt.NDArray[np.int32]) -> None:
    """Write the sums of all values before each, shape (n + 1,) or longer.

    Four parts are added up at once: one addition need not wait for another.
    """
    part = values.size // 4
    a = b = c = d = np.int32(0)
    sums[0] = 0
    for place in range(part):
        a = np.int32(a + values[place])
        b = np.int32(b + values[part + place])
        c = np.int32(c + values[2 * part + place])
        d = np.int32(d + values[3 * part + place])
        sums[place + 1] = a
        sums[part + place + 1] = b
        sums[2 * part + place + 1] = c
        sums[3 * part + place + 1] = d
    b, c = np.int32(a + b), np.int32(a + b + c)
    for place in range(part):
        sums[part + place + 1] += a
    for place in range(part):
        sums[2 * part + place + 1] += b
    for place in range(part):
        sums[3 * part + place + 1] += c
    d = np.int32(d + c)
    for place in range(4 * part, values.size):
        d = np.int32(d + values[place])
        sums[place + 1] = d
