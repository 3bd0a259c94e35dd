"""Measurement of the pulses that a search has found, from the channels they were found in.

The search rounds delays three times, looks at trial DMs that are one sample or one smearing apart,
and at boxcars of few widths that start with a sample. That costs a pulse up to a fifth of its S/N.
What it finds is few: it is summed channel by channel, at DMs between the trials, and compared with
boxcars that are smeared like the pulse (:mod:`darc.science.boxcar`), of all widths, which start at
fractions of a sample, too.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from darc.config.records import Struct
from darc.science.arrays import Doubles, Ints, Shorts
from darc.science.boxcar import between_samples, boxcar_widths, filter_norm, smearing_kernel
from darc.science.compiled import compiled
from darc.science.dedispersion_tree import sum_shifted
from darc.science.isolated import Outliers, take_isolated
from darc.science.search_levels import LEVELS

#: Widths that are compared, in units of that found; maximum in units of the widest of the search,
#: as the noise of wider ones is not known.
_NARROWER, _WIDER, _WIDEST = 0.5, 2.0, 1.25
#: DMs on either side reach to a change of the delay across the band by this many widths; steps of
#: it, at least the second (samples).
_REACH, _STEP, _LEAST_STEP = 0.5, 0.125, 0.25


class Pulse(Struct, frozen=True):
    """A pulse.

    :param dm: pc cm-3
    :param start: first sample of the best boxcar
    :param width: of the best boxcar, samples
    """

    dm: float
    start: int
    width: int
    snr: float


class PulseNoise(Struct, frozen=True, eq=False):
    """Noise of the sum of all channels where a pulse is, levels.

    :param mean: of a sample
    :param widths: ascending, samples, shape (n,)
    :param sigmas: of boxcars of these widths, divided by the root of the width, shape (n,)
    """

    mean: float
    widths: Ints
    sigmas: Doubles

    def sigma(self, width: int) -> float:
        """Return the deviation of a filter of unit norm that is about as wide."""
        return float(np.interp(width, self.widths, self.sigmas))


class SearchedChannels(Struct, frozen=True, eq=False):
    """Channels in which pulses were found.

    :param rows: levels (:mod:`darc.science.search_levels`), shape (n, m)
    :param late: delay of each channel per DM, samples per pc cm-3, descending, shape (n,)
    :param smearing: intra-channel smearing per DM, samples per pc cm-3, shape (n,)
    :param outliers: of the rows; None: they are not replaced
    :param thresholds: of outliers, standard deviations, shape (n,)
    """

    rows: Shorts
    late: Doubles
    smearing: Doubles
    outliers: Outliers | None
    thresholds: Doubles

    def measure(self, found: Pulse, noise: PulseNoise, trials: Doubles, valid: int) -> Pulse:
        """Measure a pulse.

        :param noise: where it was found
        :param trials: of the search, ascending, pc cm-3
        :param valid: number of samples to use at its DM
        :return: at the best DM; its boxcar is the best one that is not smeared
        """
        kernel = smearing_kernel(found.dm * self.smearing)
        dms = _dms_beside(found, trials, float(self.late[0] - self.late[-1]))
        shifts = _shifts(found.dm, self.late)
        moved = _shifts(dms[:, np.newaxis], self.late) - shifts
        beside = math.ceil(_WIDER * found.width) + len(kernel) + int(np.abs(moved).max())
        first = max(0, found.start - beside)
        end = min(valid, found.start + found.width + beside)
        series = self._series(shifts + first, moved, end - first).astype(np.float64)
        series -= noise.mean
        smeared = len(kernel) // 2 * 2
        # Narrower boxcars than the search's may not have Gaussian noise.
        low = max(math.floor(_NARROWER * found.width), int(noise.widths[0]))
        high = math.ceil(min(_WIDER * found.width, _WIDEST * float(noise.widths[-1])))
        widths = boxcar_widths(max(1, low - smeared), high)
        best, snr = 0, -math.inf
        for one in between_samples(kernel, found.width):
            norms = [filter_norm(width, one) * noise.sigma(width) for width in widths.tolist()]
            which, _, _, ratio = _best(_convolved(series, one), widths, norms)
            if ratio > snr:
                best, snr = which, ratio
        # What it is said to be is what can be searched: limits of widths are those of a search.
        widths = boxcar_widths(low, min(high, int(noise.widths[-1])))
        norms = [math.sqrt(width) * noise.sigma(width) for width in widths.tolist()]
        _, start, width, plain = _best(series[best : best + 1], widths, norms)
        return Pulse(float(dms[best]), first + start, width, max(snr, plain))

    def _series(self, starts: Ints, moved: Ints, length: int) -> npt.NDArray[np.int32]:
        """Sum all channels.

        :param starts: first sample of each channel at the pulse's DM, shape (n,)
        :param moved: further shifts of each DM, samples, shape (n_dms, n)
        :param length: of each series, samples
        :return: shape (n_dms, length)
        """
        beside = int(np.abs(moved).max())
        starts = starts - beside
        window = np.empty((len(starts), length + 2 * beside), np.int16)
        _cut(self.rows, starts, window)
        if self.outliers is not None:
            take_isolated(
                self.rows,
                self.outliers.channels,
                self.outliers.places,
                starts[np.newaxis],
                self.thresholds,
                window[np.newaxis],
                np.arange(len(starts)),
                starts[np.newaxis],
                LEVELS,
                LEVELS,
            )
        series = np.empty((len(moved), length), np.int32)
        sum_shifted(window, moved + beside, series)
        return series


def _shifts(dm: float | Doubles, late: Doubles) -> Ints:
    shifts: Ints = np.rint(dm * late).astype(np.int64)
    return shifts


def _dms_beside(found: Pulse, trials: Doubles, across: float) -> Doubles:
    """Return DMs around a pulse's, within those of the search, pc cm-3.

    :param across: delay across the band per DM, samples per pc cm-3
    """
    if not across > 0 or len(trials) < 2:
        return np.array([found.dm])
    number = int(np.searchsorted(trials, found.dm))
    beside = trials[max(0, number - 1) : number + 2]
    reach = max(_REACH * found.width / across, float(np.diff(beside).max()))
    step = max(_STEP * found.width, _LEAST_STEP) / across
    steps = step * np.arange(1, math.ceil(reach / step) + 1)
    dms = np.concatenate((found.dm - steps[::-1], [found.dm], found.dm + steps))
    inside: Doubles = dms[(dms >= trials[0]) & (dms <= trials[-1])]
    return inside


def _convolved(series: Doubles, kernel: Doubles) -> Doubles:
    """Convolve each series with a kernel of odd length."""
    if len(kernel) == 1:
        return series
    half, length = len(kernel) // 2, series.shape[1]
    return np.stack([np.convolve(row, kernel)[half : half + length] for row in series])


def _best(series: Doubles, widths: Ints, norms: list[float]) -> tuple[int, int, int, float]:
    """Find the boxcar of highest S/N.

    :param series: shape (n, m)
    :param widths: samples; those longer than a series are ignored
    :param norms: deviation of the boxcar of each width
    :return: which series, first sample, width, S/N
    """
    sums = np.zeros((len(series), series.shape[1] + 1))
    np.cumsum(series, axis=1, out=sums[:, 1:])
    best = 0, 0, 1, -math.inf
    for width, norm in zip(widths.tolist(), norms, strict=True):
        if width > series.shape[1]:
            break
        boxes = sums[:, width:] - sums[:, : sums.shape[1] - width]
        place = int(boxes.argmax())
        snr = float(boxes.flat[place]) / norm
        if snr > best[3]:
            best = *divmod(place, boxes.shape[1]), width, snr
    return best


@compiled
def _cut(rows: Shorts, starts: Ints, out: Shorts) -> None:
    """Copy a stretch of each channel; 0 outside the data.

    :param rows: shape (n, m)
    :param starts: first sample of each channel, shape (n,)
    :param out: overwritten, shape (n, k)
    """
    for number in range(rows.shape[0]):
        start = starts[number]
        first = min(max(0, -start), out.shape[1])
        end = max(first, min(out.shape[1], rows.shape[1] - start))
        out[number, :first] = 0
        for place in range(first, end):
            out[number, place] = rows[number, start + place]
        out[number, end:] = 0
