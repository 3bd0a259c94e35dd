"""Signal-to-noise ratio of a pulse from boxcars of many widths.

S/N is (peak - median) / noise of the series smoothed by a boxcar. If nothing else is known, the
noise is 1.048 sigma, where median and sigma are those after removing values beyond 3 sigma, four
times. Candidates use the known noise as follows (docs/processing.md, S/N).

The 64 bins of a candidate hold so few independent values that sigma, and S/N with it, scatters by 7
% at the pulse's width, and more at larger widths. If the noise of a single sample is known, from
all samples of the channels, it is used instead. If sigma is larger than its scatter explains,
interference or an unstable baseline adds noise that the channels alone do not show, and sigma is
used.

A boxcar loses up to 6 % of the S/N of a pulse that intra-channel smearing has turned into a
triangle or a trapezium. As the smearing is known, the boxcar can be convolved with it
(`smearing_kernel`): the resulting matched filter gives the width of the pulse before smearing.
"""

from __future__ import annotations

import math

import numpy as np

from darc.config.records import Struct
from darc.science.arrays import Doubles, Floats, Ints

#: Number of smoothed samples per boxcar width from which the noise is estimated.
_PER_WIDTH = 8

#: Ratio of sigma before and after clipping.
_CLIPPED = 1.048
_CLIP, _N_CLIP = 3.0, 4

#: Sigma is used where it exceeds the known noise by this many of its standard errors: with rising
#: weight, and fully from twice as many.
_SIGNIFICANT = 3.5

#: Minimum length, in widths, for an estimate of the noise from one side of the pulse.
_LEAST_SIDE = 8

#: Up to this boxcar width, fractions of a sample are tried for the start of the pulse.
_WIDE, _PARTS_OF_SAMPLE = 20, (0.25, 0.5, 0.75)

#: Minimum smearing (samples), to avoid division by zero.
_NARROW = 1e-6

#: Ratio of neighbouring widths, before rounding: a width between them loses less than 2 %.
_STEP = 1.04


class Boxcar(Struct, frozen=True):
    """Boxcar of highest S/N.

    :param start: first sample
    :param width: samples
    """

    snr: float
    start: int
    width: int

    @property
    def centre(self) -> float:
        """Centre, samples; for a boxcar of one sample, half a sample after its start."""
        return self.start + self.width / 2


def boxcar_widths(narrowest: int, widest: int) -> Ints:
    """Return the boxcar widths to try: all small ones, then 4 % apart.

    :param narrowest: samples, at least 1
    :param widest: samples; if less than `narrowest`, only that is returned
    """
    widest = max(widest, narrowest)
    steps = math.ceil(math.log(widest / narrowest) / math.log(_STEP)) if widest > narrowest else 0
    widths = np.rint(narrowest * _STEP ** np.arange(steps + 1)).astype(np.int64)
    return np.unique(np.append(np.minimum(widths, widest), widest))


def smearing_kernel(smearing: Doubles) -> Doubles:
    """Return the mean of the boxcars by which channels are smeared.

    :param smearing: smearing of each channel, samples, shape (n,)
    :return: symmetric, of unit sum and odd length
    """
    half = np.maximum(smearing, _NARROW) / 2
    reach = math.ceil(float(half.max()) - 0.5)
    lengths, edges = 2 * half[:, np.newaxis], np.arange(-reach, reach + 2) - 0.5
    within = np.clip(edges / lengths + 0.5, 0.0, 1.0)
    kernel: Doubles = np.diff(within.mean(axis=0))
    return kernel


def between_samples(kernel: Doubles, width: int) -> list[Doubles]:
    """Return kernels for pulses that start at several fractions of a sample, where that matters.

    A boxcar of few samples loses up to 8 % of the S/N of a pulse that starts in the middle of a
    sample.

    :param kernel: of unit sum and odd length; the first one returned
    :param width: width of the boxcars, samples
    :return: also of unit sum and odd length, but not symmetric
    """
    if width > _WIDE:
        return [kernel]
    parts = [(0.0, 1 - part, part) for part in _PARTS_OF_SAMPLE]
    return [kernel, *(np.convolve(kernel, part) for part in parts)]


def best_boxcar(
    series: Floats,
    widths: Ints,
    noise: float | None = None,
    kernel: Doubles | None = None,
) -> Boxcar:
    """Return the boxcar of highest S/N.

    :param series: finite, shape (n,)
    :param widths: samples; those longer than the series are ignored
    :param noise: standard deviation of a single sample, if known
    :param kernel: kernel that the boxcar is convolved with, of unit sum and odd length
    :return: without any noise, the S/N is infinite or, for constant data, 0
    :raises ValueError: no width is between 1 and the series' length
    """
    fitting = widths[(widths >= 1) & (widths <= len(series))]
    if not len(fitting):
        raise ValueError(f"no boxcar of {widths.tolist()} samples in a series of {len(series)}")
    if kernel is not None:
        first = len(kernel) // 2
        series = np.convolve(series, kernel)[first : first + len(series)].astype(np.float32)
    # Differences of 64-bit sums of 32-bit floats are accurate enough.
    sums = np.concatenate(([0.0], np.cumsum(series, dtype=np.float64)))
    best = Boxcar(-math.inf, 0, 1)
    for width in fitting.tolist():
        smoothed = sums[width:] - sums[:-width]
        start = int(np.argmax(smoothed))
        snr = _snr(smoothed, start, width, noise, kernel)
        if snr > best.snr:
            best = Boxcar(snr, start, width)
    return best


def _snr(
    smoothed: Doubles, start: int, width: int, noise: float | None, kernel: Doubles | None
) -> float:
    """Return the S/N of a smoothed sample; see :func:`best_boxcar`."""
    # Neighbours are strongly correlated: eight samples per width suffice.
    apart = max(1, width // _PER_WIDTH)
    median, sigma = clipped_noise(smoothed[::apart])
    peak = float(smoothed[start])
    if noise is None:
        return _ratio(peak - median, _CLIPPED * sigma)
    known = noise * (math.sqrt(width) if kernel is None else filter_norm(width, kernel))
    reach = width if kernel is None else width + len(kernel) // 2
    level = _weighed(_CLIPPED * sigma, known, reach, len(smoothed) + width - 1)
    if level > known:
        # Scattering raises one side of a pulse: the quieter side is used.
        for side in (smoothed[: max(0, start - width)], smoothed[start + 2 * width :]):
            if len(side) >= _LEAST_SIDE * width:
                beside, sigma = clipped_noise(side[::apart])
                quieter = _weighed(_CLIPPED * sigma, known, reach, len(side) + width - 1)
                if quieter < level:
                    median, level = beside, quieter
    return _ratio(peak - median, level)


def filter_norm(width: int, kernel: Doubles) -> float:
    """Return the root of the sum of squares of a boxcar convolved with a kernel.

    :param width: width of the boxcar, samples
    :param kernel: of unit sum
    """
    return float(np.linalg.norm(_convolved(width, kernel)))


def effective_length(width: int, kernel: Doubles) -> float:
    """Return the length of a plain boxcar that is equivalent in amplitude to a convolved one.

    (sum f^2)^3 / (sum f^3)^2 for the filter f; the width of the boxcar for a kernel of one sample.

    :param width: width of the boxcar, samples
    :param kernel: kernel that it is convolved with
    :return: samples
    """
    filtered = _convolved(width, kernel)
    return float(np.sum(filtered**2) ** 3 / np.sum(filtered**3) ** 2)


def _convolved(width: int, kernel: Doubles) -> Doubles:
    sums = np.concatenate(([0.0], np.cumsum(kernel)))
    places = np.arange(1, width + len(kernel))
    convolved: Doubles = sums[np.minimum(places, len(kernel))] - sums[np.maximum(places - width, 0)]
    return convolved


def _weighed(measured: float, known: float, width: int, length: int) -> float:
    """Return the noise of smoothed samples: known, or measured if that is significantly larger."""
    # Equivalent number of independent values, by the uncertainty of the variance.
    independent = max(3 * length * width / (2 * width**2 + 1), 1.0)
    excess = (measured / _CLIPPED - known) * math.sqrt(2 * independent)
    if excess <= _SIGNIFICANT * known:
        return known
    weight = min(excess / (_SIGNIFICANT * known) - 1, 1.0) if known > 0 else 1.0
    return known + weight * (measured - known)


def clipped_noise(values: Doubles) -> tuple[float, float]:
    """Return median and standard deviation after removing values beyond 3 sigma, four times.

    :param values: finite, shape (n,), n at least 1
    """
    kept = np.sort(values)
    for _ in range(_N_CLIP):
        median, reach = _median(kept), _CLIP * float(kept.std())
        first = np.searchsorted(kept, median - reach, side="left")
        end = np.searchsorted(kept, median + reach, side="right")
        if end - first == len(kept):
            break
        kept = kept[first:end]
    return _median(kept), float(kept.std())


def _median(ordered: Doubles) -> float:
    middle = len(ordered) // 2
    return float(ordered[middle] + ordered[~middle]) / 2


def _ratio(signal: float, noise: float) -> float:
    if noise > 0:
        return signal / noise
    return math.inf if signal > 0 else 0.0
