"""Signal-to-noise ratio of a pulse by boxcars of many widths.

S/N is (peak - median) / noise of the series smoothed by a boxcar. Where nothing else is known, the
noise is 1.048 sigma; median and sigma are those after removing what is more than 3 sigma off, four
times. Candidates are listed with the known noise, as below (docs/processing.md, S/N).

A candidate's 64 bins hold so few independent values that sigma, and S/N with it, scatters by 7 % at
the pulse's width, and more at larger ones. Where the noise of a single sample is known, from all
samples of the channels, that is used. But as far as sigma is larger than its scatter explains,
there is something that the channels alone do not show, interference or a wandering baseline, and
sigma counts.

A boxcar loses up to 6 % on a pulse that dispersion within channels has made a triangle or a
trapezium. The smearing is known, so the boxcar can be convolved with it (`smearing_kernel`): what
that finds is the pulse as it was before, by the filter that matches what became of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

#: Smoothed samples that the noise is taken from, in each width of the boxcar.
_PER_WIDTH = 8

#: Sigma is this much larger than what is left of it after clipping.
_CLIPPED = 1.048
_CLIP, _N_CLIP = 3.0, 4

#: Sigma begins to count where it is larger than the known noise by so many of its own standard
#: errors, and counts in full from twice as many.
_SIGNIFICANT = 3.5

#: The noise of one side alone is taken if it is so many widths long.
_LEAST_SIDE = 8

#: Where in a sample a pulse begins matters up to so many samples; it is tried there.
_WIDE, _PARTS_OF_SAMPLE = 20, (0.25, 0.5, 0.75)

#: What has no length at all is given a little: it divides (samples).
_NARROW = 1e-6

#: Neighbouring widths differ by this factor, rounded: a width between them loses less than 2 %.
_STEP = 1.04


@dataclass(frozen=True, slots=True)
class Boxcar:
    """The boxcar of highest S/N.

    :param start: first sample in it
    :param width: samples
    """

    snr: float
    start: int
    width: int

    @property
    def centre(self) -> float:
        """Samples; a boxcar of one sample is centred half a sample after its start."""
        return self.start + self.width / 2


def boxcar_widths(narrowest: int, widest: int) -> Ints:
    """Widths to try: all where they are small, then 4 % apart.

    :param narrowest: samples, at least 1
    :param widest: samples; at least `narrowest` is tried
    """
    widest = max(widest, narrowest)
    steps = math.ceil(math.log(widest / narrowest) / math.log(_STEP)) if widest > narrowest else 0
    widths = np.rint(narrowest * _STEP ** np.arange(steps + 1)).astype(np.int64)
    return np.unique(np.append(np.minimum(widths, widest), widest))


def smearing_kernel(smearing: Doubles) -> Doubles:
    """What becomes of a sample in the sum of channels that are smeared, each by another length.

    :param smearing: samples, shape (n,)
    :return: symmetric, of unit sum and odd length
    """
    half = np.maximum(smearing, _NARROW) / 2
    reach = math.ceil(float(half.max()) - 0.5)
    lengths, edges = 2 * half[:, np.newaxis], np.arange(-reach, reach + 2) - 0.5
    within = np.clip(edges / lengths + 0.5, 0.0, 1.0)
    kernel: Doubles = np.diff(within.mean(axis=0))
    return kernel


def between_samples(kernel: Doubles, width: int) -> list[Doubles]:
    """Kernels that find what begins anywhere within a sample, as far as that matters.

    A boxcar of few samples loses up to 8 % on a pulse that begins in the middle of one.

    :param kernel: of unit sum and odd length; it comes first
    :param width: of the boxcars, samples
    :return: likewise of unit sum and odd length, but not symmetric
    """
    if width > _WIDE:
        return [kernel]
    parts = [(0.0, 1 - part, part) for part in _PARTS_OF_SAMPLE]
    return [kernel, *(np.convolve(kernel, part) for part in parts)]


def best_boxcar(
    series: npt.NDArray[np.float32],
    widths: Ints,
    noise: float | None = None,
    kernel: Doubles | None = None,
) -> Boxcar:
    """Find the boxcar of highest S/N.

    :param series: finite, shape (n,)
    :param widths: samples; those longer than the series are left out
    :param noise: standard deviation of a single sample, if it is known
    :param kernel: that the boxcar is convolved with, of unit sum and odd length
    :return: where there is no noise at all, the S/N is infinite or, in constant data, 0
    :raises ValueError: no width is from 1 to the series' length
    """
    fitting = widths[(widths >= 1) & (widths <= len(series))]
    if not len(fitting):
        raise ValueError(f"no boxcar of {widths.tolist()} samples in a series of {len(series)}")
    if kernel is not None:
        first = len(kernel) // 2
        series = np.convolve(series, kernel)[first : first + len(series)].astype(np.float32)
    # In 64 bits the sums of 32-bit floats are exact enough to take differences of.
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
    """S/N of a smoothed sample; see :func:`best_boxcar`."""
    # Neighbours share most of their samples: an eighth of them says as much.
    apart = max(1, width // _PER_WIDTH)
    median, sigma = clipped_noise(smoothed[::apart])
    peak = float(smoothed[start])
    if noise is None:
        return _ratio(peak - median, _CLIPPED * sigma)
    known = noise * (math.sqrt(width) if kernel is None else filter_norm(width, kernel))
    reach = width if kernel is None else width + len(kernel) // 2
    level = _weighed(_CLIPPED * sigma, known, reach, len(smoothed) + width - 1)
    if level > known:
        # A scattered pulse is its own neighbour: the quieter side counts.
        for side in (smoothed[: max(0, start - width)], smoothed[start + 2 * width :]):
            if len(side) >= _LEAST_SIDE * width:
                beside, sigma = clipped_noise(side[::apart])
                quieter = _weighed(_CLIPPED * sigma, known, reach, len(side) + width - 1)
                if quieter < level:
                    median, level = beside, quieter
    return _ratio(peak - median, level)


def filter_norm(width: int, kernel: Doubles) -> float:
    """Root of the sum of squares of a boxcar that is convolved with a kernel."""
    return float(np.linalg.norm(_convolved(width, kernel)))


def effective_length(width: int, kernel: Doubles) -> float:
    """Samples of a plain boxcar whose S/N comes from values as high as those of a convolved one."""
    filtered = _convolved(width, kernel)
    return float(np.sum(filtered**2) ** 3 / np.sum(filtered**3) ** 2)


def _convolved(width: int, kernel: Doubles) -> Doubles:
    sums = np.concatenate(([0.0], np.cumsum(kernel)))
    places = np.arange(1, width + len(kernel))
    convolved: Doubles = sums[np.minimum(places, len(kernel))] - sums[np.maximum(places - width, 0)]
    return convolved


def _weighed(measured: float, known: float, width: int, length: int) -> float:
    """Noise of smoothed samples: the known one, or that measured if it is clearly larger."""
    # So many independent values have a variance as uncertain as that of the smoothed samples.
    independent = max(3 * length * width / (2 * width**2 + 1), 1.0)
    excess = (measured / _CLIPPED - known) * math.sqrt(2 * independent)
    if excess <= _SIGNIFICANT * known:
        return known
    weight = min(excess / (_SIGNIFICANT * known) - 1, 1.0) if known > 0 else 1.0
    return known + weight * (measured - known)


def clipped_noise(values: Doubles) -> tuple[float, float]:
    """Median and standard deviation after removing what is over 3 sigma off, four times.

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
