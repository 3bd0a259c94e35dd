"""Drift scans: a source of known flux density passes through a beam, and its sensitivity is seen.

The power off the source is proportional to the SEFD, and on it to the SEFD plus the flux density S.
So a deflection of r times the power off the source means SEFD = S / r, with no other calibration;
provided that the samples are proportional to power: their zero has to be the receiver's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

_FWHM = 2 * math.sqrt(2 * math.log(2))
_SEARCH_CENTRES, _SEARCH_WIDTHS = 96, 20
_ROUNDS = 12
_CLIP = 4.0
_ROBUST = 1.4826


@dataclass(frozen=True, slots=True)
class Passage:
    """A Gaussian on a straight baseline.

    :param centre: s; fwhm: s
    :param deflection: at the centre, in units of the power off the source there
    :param error: of the deflection, standard deviation
    """

    centre: float
    fwhm: float
    deflection: float
    error: float

    @property
    def significance(self) -> float:
        """The deflection in units of its error."""
        return self.deflection / self.error if self.error > 0 else math.inf

    def shape(self, times: Doubles) -> Doubles:
        """The Gaussian, 1 at its centre."""
        return _gaussian(times, self.centre, self.fwhm / _FWHM)


def flux_density(
    frequencies: npt.ArrayLike,
    coefficients: Sequence[float],
    *,
    years: float = 0.0,
    change: float = 0.0,
) -> Doubles:
    """Flux density of a calibrator.

    :param frequencies: MHz
    :param coefficients: of log10 S (Jy) in powers of log10 of the frequency in GHz
    :param years: since the epoch of the coefficients
    :param change: percent per year
    :return: Jy, in the frequencies' shape
    """
    logs = np.log10(np.asarray(frequencies, dtype=np.float64) / 1e3)
    total = np.zeros_like(logs)
    for coefficient in reversed(coefficients):
        total = total * logs + coefficient
    return np.asarray(10.0**total * (1 + change / 100) ** years, dtype=np.float64)


def clean_series(powers: Doubles) -> tuple[Doubles, npt.NDArray[np.bool_]]:
    """Relative power of the band against time, without channels full of interference.

    A channel is left out where its differences from one time to the next are larger than those of
    most; then the median over the channels is taken, which single bursts do not move.

    :param powers: shape (n_times, n_channels)
    :return: shape (n_times,), about 1 off the source; and the channels used, shape (n_channels,)
    :raises ValueError: no channel is usable
    """
    levels = np.median(powers, axis=0)
    good = np.isfinite(levels) & (levels > 0) & np.isfinite(powers).all(axis=0)
    if not good.any():
        raise ValueError("no channel has power that changes")
    relative = powers / np.where(good, levels, 1.0)
    if len(powers) > 2:
        jumps = np.median(np.abs(np.diff(relative, axis=0)), axis=0)
        typical = float(np.median(jumps[good]))
        spread = _ROBUST * float(np.median(np.abs(jumps[good] - typical)))
        good &= jumps <= typical + _CLIP * max(spread, 0.1 * typical)
    return np.asarray(np.median(relative[:, good], axis=1)), good


def fit_passage(times: Doubles, series: Doubles) -> Passage:
    """Fit a Gaussian on a straight baseline; samples far off (interference) count for nothing.

    :param times: s, ascending, shape (n,), n at least 8; likewise the series
    :raises ValueError: there are fewer, or what is off the source is no power
    """
    if len(times) < 8:
        raise ValueError(f"{len(times)} times; at least 8 are needed")
    span = float(times[-1] - times[0])
    step = span / (len(times) - 1)
    x = (times - times[0]) / span
    kept = smooth = _no_spikes(series)
    centres = np.linspace(0, 1, _SEARCH_CENTRES)
    widths = np.geomspace(1.5 * step / span / _FWHM, 0.5 / _FWHM * 2, _SEARCH_WIDTHS)
    best = (math.inf, 0.5, 0.1)
    for width in widths:
        for centre in centres:
            error, solution = _linear(x[kept], series[kept], centre, width)
            if error < best[0] and solution[2] > 0:
                best = error, float(centre), float(width)
    centre, width = best[1:]
    solution = np.zeros(3)
    for number in range(_ROUNDS):
        # While the shape is not right yet, the source itself is far from the curve.
        part = 0.5 ** (number + 1)
        centre, width, kept = _improve(x, series, kept, centre, width, step / span, part)
        kept = kept & smooth
    error, solution = _linear(x[kept], series[kept], centre, width)
    base = float(solution[0] + solution[1] * (centre - 0.5))
    if not base > 0:
        raise ValueError(f"power off the source of {base:.3g}")
    shape = _gaussian(x[kept], centre, width)
    noise = math.sqrt(error / max(int(kept.sum()) - 5, 1))
    weight = float(((shape - shape.mean()) ** 2).sum())
    sigma = noise / math.sqrt(weight) if weight > 0 else math.inf
    return Passage(
        float(times[0]) + centre * span,
        width * _FWHM * span,
        float(solution[2]) / base,
        sigma / base,
    )


def deflections(times: Doubles, powers: Doubles, passage: Passage) -> Doubles:
    """Deflection of each channel in units of its power off the source, the shape being known.

    :param powers: shape (n_times, n_channels)
    :return: shape (n_channels,); NaN where there is no power
    """
    x = (times - times[0]) / max(float(times[-1] - times[0]), 1e-12)
    shape = passage.shape(times)
    centre = (passage.centre - float(times[0])) / max(float(times[-1] - times[0]), 1e-12)
    found = np.full(powers.shape[1], np.nan)
    for channel in range(powers.shape[1]):
        series = powers[:, channel]
        if not np.isfinite(series).all():
            continue
        kept = _no_spikes(series)
        basis = np.stack([np.ones(len(x)), x - 0.5, shape], axis=1)
        for _ in range(3):
            if kept.sum() < 6:
                break
            solution = np.linalg.lstsq(basis[kept], series[kept], rcond=None)[0]
            kept = _near(series - basis @ solution, kept)
            base = solution[0] + solution[1] * (centre - 0.5)
            found[channel] = solution[2] / base if base > 0 else np.nan
    return found


def _improve(
    x: Doubles,
    series: Doubles,
    kept: npt.NDArray[np.bool_],
    centre: float,
    width: float,
    step: float,
    part: float,
) -> tuple[float, float, npt.NDArray[np.bool_]]:
    """One step of Gauss and Newton, and what is far from the curve is left out of the next.

    :param part: of the source's height; what is closer to the curve is not far
    """
    _, solution = _linear(x[kept], series[kept], centre, width)
    shape = _gaussian(x, centre, width)
    by_centre = solution[2] * shape * (x - centre) / width**2
    by_width = solution[2] * shape * (x - centre) ** 2 / width**3
    basis = np.stack([np.ones(len(x)), x - 0.5, shape, by_centre, by_width], axis=1)
    residuals = series - basis[:, :3] @ solution
    kept = _near(residuals, kept) | (np.abs(residuals) <= part * abs(float(solution[2])))
    if kept.sum() < 6:
        return centre, width, np.ones(len(x), bool)
    change = np.linalg.lstsq(basis[kept], residuals[kept], rcond=None)[0]
    centre = float(np.clip(centre + np.clip(change[3], -width, width), -0.5, 1.5))
    width = float(np.clip(width + np.clip(change[4], -width / 2, width / 2), step / 2, 2.0))
    return centre, width, kept


def _linear(x: Doubles, series: Doubles, centre: float, width: float) -> tuple[float, Doubles]:
    """Sum of squares, and baseline, slope and height of the best Gaussian of some shape."""
    basis = np.stack([np.ones(len(x)), x - 0.5, _gaussian(x, centre, width)], axis=1)
    solution = np.linalg.lstsq(basis, series, rcond=None)[0]
    return float(((series - basis @ solution) ** 2).sum()), solution.astype(np.float64)


def _no_spikes(series: Doubles) -> npt.NDArray[np.bool_]:
    """Samples that do not stick out of the five around them."""
    padded = np.pad(series, 2, mode="reflect")
    around = np.median(np.lib.stride_tricks.sliding_window_view(padded, 5), axis=1)
    # Most samples of a slope are the median of those around.
    spread = _ROBUST * float(np.median(np.abs(np.diff(series))))
    kept: npt.NDArray[np.bool_] = np.abs(series - around) <= 2 * _CLIP * spread
    return kept if kept.sum() >= 6 else np.ones(len(series), bool)


def _near(residuals: Doubles, kept: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    middle = float(np.median(residuals[kept]))
    spread = _ROBUST * float(np.median(np.abs(residuals[kept] - middle)))
    if spread <= 0:
        return np.ones(len(residuals), bool)
    near: npt.NDArray[np.bool_] = np.abs(residuals - middle) <= _CLIP * spread
    return near


def _gaussian(x: Doubles, centre: float, sigma: float) -> Doubles:
    shape: Doubles = np.exp(-0.5 * ((x - centre) / sigma) ** 2)
    return shape
