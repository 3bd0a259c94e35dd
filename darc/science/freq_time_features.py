"""Features of a candidate in frequency and time, in groups.

A group is a function: what it is to tell, and where that is from. docs/classifier.md has a table.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from darc.config.records import Struct
from darc.science.arrays import Doubles, Mask
from darc.science.candidate_arrays import (
    checked_candidate,
    correlation,
    finite_features,
    mean_or_0,
    resampled,
    row_correlation,
    row_middles,
    row_noise,
    weighted_slope,
)

FREQ_TIME_SHAPE = (32, 64)

#: Boxcar widths for the profile, bins.
_WIDTHS = (1, 2, 3, 4, 6, 8, 12)

#: Maximum distance of a pulse from the middle, bins.
_NEAR = 4

#: Slopes: bins from one end of the band to the other.
_SLOPES = np.array([-32, -22, -15, -10, -7, -5, -3, -2, -1, 0, 1, 2, 3, 5, 7, 10, 15, 22, 32])


class _Pulse(Struct, frozen=True, eq=False):
    """What the groups share.

    :param n_rows: number of channels, constant ones included
    :param places: indices of the others, shape (n_used,)
    :param profile: mean over them, in the array's units, shape (ntime,)
    :param first: first bin of the pulse
    :param width: of the pulse, bins
    :param on: the pulse's bins, shape (ntime,)
    :param off: bins away from it, shape (ntime,)
    :param noise: of each channel, shape (n_used,)
    :param scaled: channels in units of their noise, shape (n_used, ntime)
    :param spectrum: S/N of the pulse in each channel, shape (n_used,)
    :param strong: the spectrum without what is below 0
    :param series: sum of the scaled channels in units of its noise, shape (ntime,)
    :param snr: S/N of the pulse
    """

    n_rows: int
    places: npt.NDArray[np.intp]
    profile: Doubles
    first: int
    width: int
    on: Mask
    off: Mask
    noise: Doubles
    scaled: Doubles
    spectrum: Doubles
    strong: Doubles
    series: Doubles
    snr: float


def freq_time_features(array: npt.ArrayLike) -> dict[str, float]:
    """Measure the features of a candidate in frequency and time.

    :param array: the lowest frequency first, shape (nfreq, ntime), the pulse in bin ntime // 2
    :raises ValueError: the array is not two-dimensional, or empty
    """
    pulse = _pulse(resampled(checked_candidate(array), FREQ_TIME_SHAPE))
    if pulse is None:
        return dict.fromkeys(FREQ_TIME_NAMES, 0.0)
    groups = _groups(pulse).values()
    return finite_features({name: value for group in groups for name, value in group.items()})


def _groups(pulse: _Pulse) -> dict[str, dict[str, float]]:
    return {
        "strength": _strength(pulse),
        "spectrum": _spectrum_of_pulse(pulse),
        "beside": _beside(pulse),
        "slant": _slant(pulse),
        "channel noise": _channel_noise(pulse),
        "drift": {"drift": _drift(pulse.scaled, pulse.on, pulse.strong)},
    }


def _pulse(rows: Doubles) -> _Pulse | None:
    """Find the pulse in an array; None if it has too few channels that are not constant."""
    used = rows.std(axis=1) > 1e-6
    n_used = int(np.count_nonzero(used))
    if n_used < 4:
        return None
    n_rows = len(rows)
    rows = rows[used] - row_middles(rows[used])[:, np.newaxis]
    profile = rows.mean(axis=0)
    first, width = _boxcar(profile)
    on = np.zeros(rows.shape[1], dtype=np.bool_)
    on[first : first + width] = True
    off = ~_widened(on, max(2, width))
    noise = row_noise(rows[:, off])
    floor = 0.1 * float(row_middles(noise)) + 1e-6
    scaled = rows / np.maximum(noise, floor)[:, np.newaxis]
    spectrum = scaled[:, on].sum(axis=1) / np.sqrt(width)
    return _Pulse(
        n_rows=n_rows,
        places=np.flatnonzero(used),
        profile=profile,
        first=first,
        width=width,
        on=on,
        off=off,
        noise=noise,
        scaled=scaled,
        spectrum=spectrum,
        strong=np.maximum(spectrum, 0),
        series=scaled.sum(axis=0) / np.sqrt(n_used),
        snr=float(spectrum.sum() / np.sqrt(n_used)),
    )


def _strength(pulse: _Pulse) -> dict[str, float]:
    """S/N and width of the strongest boxcar, and how far from the trigger it is.

    Boxcars as matched filters: Cordes & McLaughlin 2003, ApJ 596, 1142.
    """
    off = pulse.profile[np.newaxis, pulse.off]
    raw_noise = row_noise(off)[0] + 1e-6
    middle = len(pulse.profile) / 2
    return {
        "snr": pulse.snr,
        "snr_raw": float(pulse.profile[pulse.on].sum() / np.sqrt(pulse.width) / raw_noise),
        "log_width": float(np.log2(pulse.width)),
        "offset": abs(pulse.first + pulse.width / 2 - middle - 0.5),
    }


def _spectrum_of_pulse(pulse: _Pulse) -> dict[str, float]:
    """How many channels have the signal, and how smoothly: a burst is in many or in neighbours.

    The variance over channels is the modulation index by which Spitler et al. 2012, ApJ 748, 73
    tell narrow-band interference; the participation ratio is that of Bell & Dean 1970, Discuss.
    Faraday Soc. 50, 55; without the strongest channels, and by part of the band: reasoning.
    """
    spectrum, strong, snr = pulse.spectrum, pulse.strong, pulse.snr
    n_used = len(spectrum)
    rank = np.sort(spectrum)[::-1]
    total = float(strong.sum()) + 1e-6
    tenth, quarter = max(1, n_used // 10), max(1, n_used // 4)
    band = [float(p.sum() / np.sqrt(len(p))) for p in np.array_split(spectrum, 4)]
    halves = [float(p.sum() / np.sqrt(len(p))) for p in np.array_split(spectrum, 2)]
    excess = spectrum - spectrum.mean()
    power = float((excess**2).sum()) + 1e-6
    return {
        "used": n_used / pulse.n_rows,
        "positive": float(np.mean(spectrum > 0)),
        "above_1": float(np.mean(spectrum > 1)),
        "above_half_mean": float(np.mean(spectrum > 0.5 * spectrum.mean())),
        "largest": float(rank[0]),
        "smallest": float(rank[-1]),
        "largest_share": float(strong.max()) / total,
        "top_tenth_share": float(np.sort(strong)[-tenth:].sum()) / total,
        "snr_without_tenth": float(rank[tenth:].sum() / np.sqrt(n_used - tenth)),
        "snr_without_quarter": float(rank[quarter:].sum() / np.sqrt(n_used - quarter)),
        "participation": float(strong.sum() ** 2 / (n_used * (strong**2).sum() + 1e-6)),
        "median_channel": float(row_middles(spectrum)),
        "skewness": float((excess**3).mean() / (power / n_used) ** 1.5),
        "kurtosis": float((excess**4).mean() / (power / n_used) ** 2),
        "smoothness_1": float((excess[1:] * excess[:-1]).sum() / power),
        "smoothness_2": float((excess[2:] * excess[:-2]).sum() / power),
        "excess_variance": power / n_used,
        "quarter_min": min(band),
        "quarter_second": sorted(band)[1],
        "quarter_max_share": max(band) / (abs(snr) + 1),
        "half_min_share": min(halves) / (abs(snr) + 1),
    }


def _beside(pulse: _Pulse) -> dict[str, float]:
    """What else is in the profile: other peaks, dips, steps and waves.

    Baselines, lost packets and periodic signals are seldom alone; of a burst all that is beside it
    is noise: reasoning.
    """
    series, on, off, snr = pulse.series, pulse.on, pulse.off, pulse.snr
    first, width = pulse.first, pulse.width
    level = row_middles(series[off])
    outside = series[off] - level
    smooth = np.convolve(series - level, np.ones(width) / np.sqrt(width), "same")
    before, after = series[:first], series[first + width :]
    second = float(_second(smooth, first, width))
    return {
        "off_noise": float(row_noise(outside[np.newaxis])[0]),
        "off_std": float(outside.std()),
        "off_correlation": correlation(outside),
        "second_peak": second,
        "second_peak_share": second / (abs(snr) + 1),
        "lowest_share": float(-smooth.min()) / (abs(snr) + 1),
        "lowest": float(-smooth.min()),
        "step": abs(mean_or_0(before) - mean_or_0(after)),
        "step_near": abs(mean_or_0(before[-2 * width - 2 :]) - mean_or_0(after[: 2 * width + 2])),
        "shoulder": (mean_or_0(before[-width - 1 :]) + mean_or_0(after[: width + 1]))
        * np.sqrt(width)
        / (abs(snr) + 1),
        "half_peak": float(np.mean(smooth > 0.5 * smooth[on].max())),
    }


def _slant(pulse: _Pulse) -> dict[str, float]:
    """How much stronger the pulse is along a line through frequency and time.

    A signal of no dispersion is slanted at another DM: the reason for the zero-DM filter of
    Eatough, Keane & Lyne 2009, MNRAS 395, 410; so is a sweep.
    """
    slopes = _slope_snrs(pulse.scaled, pulse.places, pulse.width, pulse.first)
    middle = len(_SLOPES) // 2
    best_slope = int(np.argmax(slopes))
    return {
        "slope_gain": float(slopes.max() - slopes[middle]),
        "slope_ratio": float(slopes.max() / (abs(slopes[middle]) + 1)),
        "slope": float(abs(_SLOPES[best_slope])),
        # A signal at DM 0 is now early at low frequencies: a positive slope.
        "slope_sign": float(slopes[middle + 1 :].max() - slopes[:middle].max()),
        "slope_up": float(slopes[middle + 1 : middle + 6].max()) / (abs(slopes[middle]) + 1),
        "slope_down": float(slopes[middle - 5 : middle].max()) / (abs(slopes[middle]) + 1),
        "slope_side": float(slopes[[middle - 3, middle + 3]].max() / (abs(slopes[middle]) + 1)),
        "slope_far": float(slopes[[middle - 6, middle + 6]].max() / (abs(slopes[middle]) + 1)),
    }


def _channel_noise(pulse: _Pulse) -> dict[str, float]:
    """Whether channels away from the pulse are noise: alike, Gaussian and independent.

    Kurtosis as of Nita & Gary 2010, MNRAS 406, L60; neighbours that vary together: reasoning.
    """
    off_rows = pulse.scaled[:, pulse.off]
    middle = float(row_middles(pulse.noise)) + 1e-6
    return {
        "noise_spread": float(np.log1p(pulse.noise.max() / middle)),
        "off_kurtosis": float((off_rows**4).mean() / ((off_rows**2).mean() ** 2 + 1e-6)),
        "off_largest": float(off_rows.max()),
        "channel_correlation": row_correlation(off_rows),
    }


def _boxcar(profile: Doubles) -> tuple[int, int]:
    """Return first bin and width of the strongest boxcar near the middle."""
    middle = len(profile) // 2
    sums = np.concatenate(([0.0], np.cumsum(profile - row_middles(profile))))
    best, found = -np.inf, (middle, 1)
    for width in _WIDTHS:
        first = np.arange(middle - _NEAR - width // 2, middle + _NEAR - width // 2 + 1)
        values = (sums[first + width] - sums[first]) / np.sqrt(width)
        number = int(np.argmax(values))
        if values[number] > best:
            best, found = float(values[number]), (int(first[number]), width)
    return found


def _widened(on: Mask, by: int) -> Mask:
    where = np.flatnonzero(on)
    wide = on.copy()
    wide[max(0, where[0] - by) : where[-1] + 1 + by] = True
    return wide


def _second(smooth: Doubles, first: int, width: int) -> float:
    """Return the highest value outside the pulse."""
    near = slice(max(0, first - width - 2), first + 2 * width + 2)
    outside = np.delete(smooth, np.arange(len(smooth))[near])
    return float(outside.max()) if len(outside) else 0.0


def _slope_snrs(scaled: Doubles, places: npt.NDArray[np.intp], width: int, first: int) -> Doubles:
    """Return the S/N of the pulse for each slope, with the channels shifted accordingly.

    A slanted pulse is narrower than it appears: a width of two bins is tried, too.

    :param places: indices of the channels in the band
    """
    n_rows, n_time = scaled.shape
    fraction = places / FREQ_TIME_SHAPE[0] - 0.5
    shifts = np.rint(_SLOPES[:, np.newaxis] * fraction).astype(np.int64)
    sums = np.cumsum(np.pad(scaled, ((0, 0), (1, 0))), axis=1).ravel()
    row = (np.arange(n_rows) * (n_time + 1))[np.newaxis, :, np.newaxis]
    best = np.full(len(_SLOPES), -np.inf)
    for narrow in {width, min(width, 2)}:
        starts = first + (width - narrow) // 2 + np.arange(-3, 4)
        at = np.clip(starts + shifts[:, :, np.newaxis], 0, n_time - narrow) + row
        values = (sums[at + narrow] - sums[at]).sum(axis=1).max(axis=1)
        best = np.maximum(best, values / np.sqrt(narrow * n_rows))
    return best


def _drift(scaled: Doubles, on: Mask, weights: Doubles) -> float:
    """Return the drift of the pulse's time across the band, in bins from end to end.

    Parts of repeaters' bursts drift down by a few bins (Hessels et al. 2019, ApJ 876, L23), a line
    at another DM by many.
    """
    there = np.flatnonzero(_widened(on, 6))
    positive = np.maximum(scaled[:, there], 0) ** 2
    times = (positive * there).sum(axis=1) / (positive.sum(axis=1) + 1e-6)
    return weighted_slope(times, weights) * len(weights)


def _names() -> dict[str, tuple[str, ...]]:
    pulse = _pulse(np.random.default_rng(0).normal(size=FREQ_TIME_SHAPE))
    return {group: tuple(features) for group, features in _groups(pulse).items()} if pulse else {}


#: Names of the features of each group, in the order of `freq_time_features`.
FREQ_TIME_GROUPS = _names()
FREQ_TIME_NAMES: tuple[str, ...] = tuple(n for names in FREQ_TIME_GROUPS.values() for n in names)
