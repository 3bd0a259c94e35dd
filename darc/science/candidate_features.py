"""Features that distinguish a burst from interference, measured on a candidate's arrays.

Arrays may have any size of at least one value; they are resampled to `FREQ_TIME_SHAPE` and
`DM_TIME_SHAPE`. Constant rows, such as those without data, are ignored. No feature depends on the
arrays' units or zero point; all are finite.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

FREQ_TIME_SHAPE = (32, 64)
DM_TIME_SHAPE = (64, 64)

#: Boxcar widths for the profile, bins.
_WIDTHS = (1, 2, 3, 4, 6, 8, 12)

#: Maximum distance of a pulse from the middle, bins.
_NEAR = 4

#: Slopes: bins from one end of the band to the other.
_SLOPES = np.array([-32, -22, -15, -10, -7, -5, -3, -2, -1, 0, 1, 2, 3, 5, 7, 10, 15, 22, 32])

#: Features are clipped to this range.
_LARGEST = 1e4

#: Ratio of the standard deviation to the median absolute deviation, for Gaussian noise.
_MAD = 1.4826


def normalised(array: npt.ArrayLike) -> Floats:
    """Return the array minus its median, in units of its standard deviation.

    Values that are not finite, and all values of a constant array, become 0.

    :param array: any shape
    :return: same shape
    """
    values = np.array(array, dtype=np.float64)
    finite = np.isfinite(values)
    values[~finite] = 0
    if not finite.any():
        return values.astype(np.float32)
    # Scaled first, as the squares of large numbers overflow.
    values /= max(float(np.abs(values).max()), np.finfo(np.float64).tiny)
    values[finite] -= np.median(values[finite])
    spread = float(values[finite].std())
    values[finite] *= 1 / spread if spread > 1e-7 else 0.0
    return values.astype(np.float32)


def resampled(array: npt.NDArray[np.floating], shape: tuple[int, int]) -> Doubles:
    """Average neighbouring values, or repeat them if there are fewer than wanted.

    :param array: shape (n, m), at least one value
    :param shape: shape of the result
    """
    values = np.asarray(array, dtype=np.float64)
    for axis, wanted in enumerate(shape):
        n = values.shape[axis]
        if n == wanted:
            continue
        edges = np.arange(wanted + 1) * n // wanted
        starts = np.minimum(edges[:-1], n - 1)
        counts = np.maximum(np.diff(edges), 1)
        total = np.add.reduceat(values, starts, axis=axis)
        values = total / (counts[:, np.newaxis] if axis == 0 else counts)
    return values


def freq_time_features(array: npt.ArrayLike) -> dict[str, float]:
    """Measure the features of a candidate in frequency and time.

    :param array: the lowest frequency first, shape (nfreq, ntime), the pulse in bin ntime // 2
    :raises ValueError: the array is not two-dimensional, or empty
    """
    rows = resampled(_checked(array), FREQ_TIME_SHAPE)
    spreads = rows.std(axis=1)
    used = spreads > 1e-6
    n_used = int(np.count_nonzero(used))
    if n_used < 4:
        return dict.fromkeys(FREQ_TIME_NAMES, 0.0)
    places = np.flatnonzero(used)
    rows = rows[used] - _middle(rows[used])[:, np.newaxis]
    n_time = rows.shape[1]
    profile = rows.mean(axis=0)
    first, width = _boxcar(profile)
    on = np.zeros(n_time, dtype=np.bool_)
    on[first : first + width] = True
    off = ~_widened(on, max(2, width))
    noise = _noise(rows[:, off])
    floor = 0.1 * float(_middle(noise)) + 1e-6
    scaled = rows / np.maximum(noise, floor)[:, np.newaxis]
    # S/N of the pulse in each channel.
    spectrum = scaled[:, on].sum(axis=1) / np.sqrt(width)
    root_n = np.sqrt(n_used)
    snr = float(spectrum.sum() / root_n)
    rank = np.sort(spectrum)[::-1]
    strong = np.maximum(spectrum, 0)
    total = float(strong.sum()) + 1e-6
    tenth, quarter = max(1, n_used // 10), max(1, n_used // 4)
    band = [float(p.sum() / np.sqrt(len(p))) for p in np.array_split(spectrum, 4)]
    halves = [float(p.sum() / np.sqrt(len(p))) for p in np.array_split(spectrum, 2)]
    excess = spectrum - spectrum.mean()
    power = float((excess**2).sum()) + 1e-6
    series = scaled.sum(axis=0) / root_n
    outside = series[off] - _middle(series[off])
    smooth = np.convolve(series - _middle(series[off]), np.ones(width) / np.sqrt(width), "same")
    slopes = _slope_snrs(scaled, places, width, first)
    middle = len(_SLOPES) // 2
    best_slope = int(np.argmax(slopes))
    raw_noise = _noise(profile[np.newaxis, off])[0] + 1e-6
    before, after = series[:first], series[first + width :]
    off_rows = scaled[:, off]
    features = {
        "snr": snr,
        "snr_raw": float(profile[on].sum() / np.sqrt(width) / raw_noise),
        "log_width": float(np.log2(width)),
        "offset": abs(first + width / 2 - n_time / 2 - 0.5),
        "used": n_used / len(spreads),
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
        "median_channel": float(_middle(spectrum)),
        "skewness": float((excess**3).mean() / (power / n_used) ** 1.5),
        "kurtosis": float((excess**4).mean() / (power / n_used) ** 2),
        "smoothness_1": float((excess[1:] * excess[:-1]).sum() / power),
        "smoothness_2": float((excess[2:] * excess[:-2]).sum() / power),
        "excess_variance": power / n_used,
        "quarter_min": min(band),
        "quarter_second": sorted(band)[1],
        "quarter_max_share": max(band) / (abs(snr) + 1),
        "half_min_share": min(halves) / (abs(snr) + 1),
        "off_noise": float(_noise(outside[np.newaxis])[0]),
        "off_std": float(outside.std()),
        "off_correlation": _correlation(outside),
        "second_peak": float(_second(smooth, first, width)),
        "second_peak_share": float(_second(smooth, first, width)) / (abs(snr) + 1),
        "lowest_share": float(-smooth.min()) / (abs(snr) + 1),
        "lowest": float(-smooth.min()),
        "step": abs(_mean(before) - _mean(after)),
        "step_near": abs(_mean(before[-2 * width - 2 :]) - _mean(after[: 2 * width + 2])),
        "shoulder": (_mean(before[-width - 1 :]) + _mean(after[: width + 1]))
        * np.sqrt(width)
        / (abs(snr) + 1),
        "half_peak": float(np.mean(smooth > 0.5 * smooth[on].max())),
        "slope_gain": float(slopes.max() - slopes[middle]),
        "slope_ratio": float(slopes.max() / (abs(slopes[middle]) + 1)),
        "slope": float(abs(_SLOPES[best_slope])),
        # A signal at DM 0 is now early at low frequencies: a positive slope.
        "slope_sign": float(slopes[middle + 1 :].max() - slopes[:middle].max()),
        "slope_up": float(slopes[middle + 1 : middle + 6].max()) / (abs(slopes[middle]) + 1),
        "slope_down": float(slopes[middle - 5 : middle].max()) / (abs(slopes[middle]) + 1),
        "slope_side": float(slopes[[middle - 3, middle + 3]].max() / (abs(slopes[middle]) + 1)),
        "slope_far": float(slopes[[middle - 6, middle + 6]].max() / (abs(slopes[middle]) + 1)),
        "noise_spread": float(np.log1p(noise.max() / (float(_middle(noise)) + 1e-6))),
        "off_kurtosis": float((off_rows**4).mean() / ((off_rows**2).mean() ** 2 + 1e-6)),
        "off_largest": float(off_rows.max()),
        "channel_correlation": _row_correlation(off_rows),
        "drift": _drift(scaled, on, strong),
    }
    return _finite(features)


def dm_time_features(array: npt.ArrayLike) -> dict[str, float]:
    """Measure the features of a candidate in DM and time.

    :param array: shape (ndm, ntime), the pulse in bin ntime // 2, DMs in either order; the pulse's
        DM is in the middle, or, if the trials start at DM 0, anywhere
    :raises ValueError: the array is not two-dimensional, or empty
    """
    rows = resampled(_checked(array), DM_TIME_SHAPE)
    used = rows.std(axis=1) > 1e-6
    if np.count_nonzero(used) < 4:
        return dict.fromkeys(DM_TIME_NAMES, 0.0)
    n_dms, n_time = rows.shape
    rows = rows - _middle(rows)[:, np.newaxis]
    near = slice(n_time // 2 - _NEAR, n_time // 2 + _NEAR + 1)
    noise = float(_noise(np.concatenate([rows[:, :16], rows[:, -16:]], axis=1).reshape(1, -1))[0])
    rows /= noise + 1e-6
    # The signal is shared by neighbouring trials: their mean preserves it.
    smooth = (rows[:-2] + rows[1:-1] + rows[2:]) / 3
    curve = smooth[:, near].max(axis=1)
    peak_row = int(np.argmax(curve))
    peak = float(curve[peak_row])
    peak_bin = near.start + int(np.argmax(smooth[peak_row, near]))
    at = np.arange(len(curve)) - peak_row

    def around(distance: int) -> float:
        there = curve[np.isin(abs(at), (distance, distance + 1))]
        return _mean(there) / (abs(peak) + 1)

    weights = np.maximum(curve - 0.3 * peak, 0)
    weights /= weights.sum() + 1e-6
    centre = float((weights * np.arange(len(curve))).sum())
    far = smooth.copy()
    far[max(0, peak_row - 16) : peak_row + 17, peak_bin - 8 : peak_bin + 9] = -np.inf
    arrivals = np.argmax(smooth, axis=1)
    steps = np.diff(smooth[:, 8:-8].max(axis=1))
    left, right = rows[:, : n_time // 2 - 6], rows[:, n_time // 2 + 7 :]
    ends = np.concatenate([curve[:4], curve[-4:]])
    column = rows[:, peak_bin]
    row = rows[min(peak_row + 1, n_dms - 1)]
    middle = curve[len(curve) // 2 - 1 : len(curve) // 2 + 2].max()
    features = {
        "peak": peak,
        "peak_row": abs(peak_row - len(curve) / 2) / len(curve),
        "middle_share": float(middle) / (abs(peak) + 1),
        **{f"share_{distance}": around(distance) for distance in (2, 4, 8, 12, 16, 24)},
        "ends_max": float(ends.max()) / (abs(peak) + 1),
        "ends_first": _mean(curve[:4]) / (abs(peak) + 1),
        "ends_last": _mean(curve[-4:]) / (abs(peak) + 1),
        "above_half": float(np.mean(curve > 0.5 * peak)),
        "centre": abs(centre - len(curve) / 2) / len(curve),
        "spread": float(np.sqrt((weights * (np.arange(len(curve)) - centre) ** 2).sum())),
        "elsewhere": float(far.max()) if np.isfinite(far.max()) else peak,
        "elsewhere_share": float(far.max()) / (abs(peak) + 1) if np.isfinite(far.max()) else 1.0,
        "lowest_share": float(-smooth.min()) / (abs(peak) + 1),
        "off_std": float(np.concatenate([left, right], axis=1).std()),
        "off_correlation": _row_correlation(left[::8]) + _row_correlation(right[::8]),
        "off_time_correlation": 0.5 * (_correlation(left.mean(axis=0)) + _correlation(row[:26])),
        "arrival_slope": abs(_slope(arrivals, np.maximum(smooth.max(axis=1), 0))),
        "roughness": float(np.abs(steps).mean()) / (abs(peak) + 1),
        "column_correlation": _correlation(column),
        "bow_tie": _bow_tie(smooth, peak_row, peak_bin),
        "width": float(np.mean(row > 0.5 * peak)),
        "sides": abs(_mean(row[: n_time // 2 - 6]) - _mean(row[n_time // 2 + 7 :])),
    }
    return _finite(features)


def _checked(array: npt.ArrayLike) -> Floats:
    values = np.asarray(array)
    if values.ndim != 2 or not values.size:
        raise ValueError(f"no candidate: an array of shape {values.shape}")
    return normalised(values)


def _finite(features: dict[str, float]) -> dict[str, float]:
    values = np.nan_to_num(list(features.values()), nan=0.0, posinf=_LARGEST, neginf=-_LARGEST)
    return dict(zip(features, np.clip(values, -_LARGEST, _LARGEST).tolist(), strict=True))


def _boxcar(profile: Doubles) -> tuple[int, int]:
    """Return first bin and width of the strongest boxcar near the middle."""
    middle = len(profile) // 2
    sums = np.concatenate(([0.0], np.cumsum(profile - _middle(profile))))
    best, found = -np.inf, (middle, 1)
    for width in _WIDTHS:
        first = np.arange(middle - _NEAR - width // 2, middle + _NEAR - width // 2 + 1)
        values = (sums[first + width] - sums[first]) / np.sqrt(width)
        number = int(np.argmax(values))
        if values[number] > best:
            best, found = float(values[number]), (int(first[number]), width)
    return found


def _widened(on: npt.NDArray[np.bool_], by: int) -> npt.NDArray[np.bool_]:
    where = np.flatnonzero(on)
    wide = on.copy()
    wide[max(0, where[0] - by) : where[-1] + 1 + by] = True
    return wide


def _noise(rows: Doubles) -> Doubles:
    """Return the standard deviation of each row, from the median absolute deviation."""
    return _MAD * _middle(np.abs(rows - _middle(rows)[:, np.newaxis]))


def _middle(rows: Doubles) -> Doubles:
    """Return the median of each row, or the upper of the middle two; faster than numpy's."""
    n: int = rows.shape[-1]
    return np.asarray(np.partition(rows, n // 2, axis=-1)[..., n // 2])


def _mean(values: Doubles) -> float:
    return float(values.mean()) if len(values) else 0.0


def _correlation(series: Doubles) -> float:
    """Return the correlation of neighbouring values."""
    values = series - series.mean()
    return float((values[1:] * values[:-1]).sum() / ((values**2).sum() + 1e-6))


def _row_correlation(rows: Doubles) -> float:
    """Return the correlation of neighbouring rows."""
    values = rows - rows.mean(axis=1, keepdims=True)
    return float((values[1:] * values[:-1]).sum() / ((values**2).sum() + 1e-6))


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


def _drift(scaled: Doubles, on: npt.NDArray[np.bool_], weights: Doubles) -> float:
    """Return the drift of the pulse's time across the band, in bins from end to end."""
    there = np.flatnonzero(_widened(on, 6))
    positive = np.maximum(scaled[:, there], 0) ** 2
    times = (positive * there).sum(axis=1) / (positive.sum(axis=1) + 1e-6)
    return _slope(times, weights) * len(weights)


def _slope(values: npt.NDArray[np.generic], weights: Doubles) -> float:
    """Return the slope of a weighted linear fit."""
    place = np.arange(len(values), dtype=np.float64)
    total = weights.sum() + 1e-6
    place -= (weights * place).sum() / total
    about = values.astype(np.float64) - (weights * values.astype(np.float64)).sum() / total
    return float((weights * place * about).sum() / ((weights * place**2).sum() + 1e-6))


def _bow_tie(smooth: Doubles, peak_row: int, peak_bin: int) -> float:
    """Return the width in time 10 rows from the pulse's DM, relative to that at its DM."""
    window = smooth[:, max(0, peak_bin - 16) : peak_bin + 17]

    def wide(row: Doubles) -> float:
        positive = np.maximum(row, 0)
        return float(positive.sum() ** 2 / ((positive**2).sum() + 1e-6))

    own = wide(window[peak_row])
    others = [wide(window[r]) for r in (peak_row - 10, peak_row + 10) if 0 <= r < len(window)]
    return (float(np.mean(others)) if others else own) / (own + 1e-6)


#: Names of the features, in the order of `freq_time_features` and `dm_time_features`.
_EXAMPLE = np.random.default_rng(0).normal(size=(64, 64))
FREQ_TIME_NAMES: tuple[str, ...] = tuple(freq_time_features(_EXAMPLE))
DM_TIME_NAMES: tuple[str, ...] = tuple(dm_time_features(_EXAMPLE))
