"""Sensitivity of a beam from a drift scan over a source of known flux density.

The power off the source is proportional to the SEFD, and on the source to the SEFD plus the flux
density S. So a deflection of r times the power off the source means SEFD = S / r, without further
calibration, if the samples are proportional to power, with the receiver's zero point.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from darc.config.records import Struct
from darc.science.arrays import Doubles, Mask

_FWHM = 2 * math.sqrt(2 * math.log(2))
_SEARCH_CENTRES, _SEARCH_WIDTHS = 96, 20
_ROUNDS = 12
_CLIP = 4.0
_ROBUST = 1.4826


class Passage(Struct, frozen=True):
    """Passage of a source: a Gaussian on a linear baseline.

    :param centre: s
    :param fwhm: s
    :param deflection: at the centre, in units of the power off the source there
    :param error: standard deviation of the deflection
    """

    centre: float
    fwhm: float
    deflection: float
    error: float

    @property
    def significance(self) -> float:
        """Deflection in units of its error."""
        return self.deflection / self.error if self.error > 0 else math.inf

    def shape(self, times: Doubles) -> Doubles:
        """Return the Gaussian at the given times, 1 at its centre.

        :param times: s, shape (n,)
        """
        return _gaussian(times, self.centre, self.fwhm / _FWHM)


def flux_density(
    frequencies: npt.ArrayLike,
    coefficients: Sequence[float],
    *,
    years: float = 0.0,
    change: float = 0.0,
) -> Doubles:
    """Return the flux density of a calibrator, 10^(a0 + a1 x + a2 x^2 ...), x = log10(f / GHz).

    :param frequencies: MHz
    :param coefficients: a0, a1, ...: log10 of the flux density in Jy
    :param years: since the epoch of the coefficients
    :param change: percent per year
    :return: Jy, in the shape of `frequencies`
    """
    logs = np.log10(np.asarray(frequencies, dtype=np.float64) / 1e3)
    total = np.zeros_like(logs)
    for coefficient in reversed(coefficients):
        total = total * logs + coefficient
    return np.asarray(10.0**total * (1 + change / 100) ** years, dtype=np.float64)


def clean_series(powers: Doubles) -> tuple[Doubles, Mask]:
    """Return the relative power of the band against time, without channels with interference.

    A channel is excluded if its differences from one time to the next are larger than those of
    most. The median over the channels is insensitive to single bursts.

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
    """Fit a Gaussian on a linear baseline, without outliers (interference).

    :param times: s, ascending, shape (n,), n at least 8
    :param series: power, shape (n,)
    :raises ValueError: n is less than 8, or the power off the source is not positive
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
        # As long as the shape is inaccurate, the source itself deviates from the curve.
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
    """Return each channel's deflection in units of its power off the source, for a known shape.

    :param times: s, shape (n_times,)
    :param powers: shape (n_times, n_channels)
    :param passage: the fit to the whole band
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
    kept: Mask,
    centre: float,
    width: float,
    step: float,
    part: float,
) -> tuple[float, float, Mask]:
    """Do one Gauss-Newton step, and exclude outliers from the next.

    :param part: of the source's height; smaller residuals are no outliers
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
    """Return the sum of squares, and baseline, slope and height, for a given Gaussian shape."""
    basis = np.stack([np.ones(len(x)), x - 0.5, _gaussian(x, centre, width)], axis=1)
    solution = np.linalg.lstsq(basis, series, rcond=None)[0]
    return float(((series - basis @ solution) ** 2).sum()), solution.astype(np.float64)


def _no_spikes(series: Doubles) -> Mask:
    """Mask of samples that are near the median of the five around them."""
    padded = np.pad(series, 2, mode="reflect")
    around = np.median(np.lib.stride_tricks.sliding_window_view(padded, 5), axis=1)
    # On a slope, most samples are the median of those around: differences give the noise.
    spread = _ROBUST * float(np.median(np.abs(np.diff(series))))
    kept: Mask = np.abs(series - around) <= 2 * _CLIP * spread
    return kept if kept.sum() >= 6 else np.ones(len(series), bool)


def _near(residuals: Doubles, kept: Mask) -> Mask:
    middle = float(np.median(residuals[kept]))
    spread = _ROBUST * float(np.median(np.abs(residuals[kept] - middle)))
    if spread <= 0:
        return np.ones(len(residuals), bool)
    near: Mask = np.abs(residuals - middle) <= _CLIP * spread
    return near


def _gaussian(x: Doubles, centre: float, sigma: float) -> Doubles:
    shape: Doubles = np.exp(-0.5 * ((x - centre) / sigma) ** 2)
    return shape
