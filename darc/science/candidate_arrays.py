"""Arrays of candidates brought to one size and scale, and numbers of rows of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from darc.science.arrays import Doubles, Floats

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


def checked_candidate(array: npt.ArrayLike) -> Floats:
    values = np.asarray(array)
    if values.ndim != 2 or not values.size:
        raise ValueError(f"no candidate: an array of shape {values.shape}")
    return normalised(values)


def finite_features(features: dict[str, float]) -> dict[str, float]:
    values = np.nan_to_num(list(features.values()), nan=0.0, posinf=_LARGEST, neginf=-_LARGEST)
    return dict(zip(features, np.clip(values, -_LARGEST, _LARGEST).tolist(), strict=True))


def row_noise(rows: Doubles) -> Doubles:
    """Return the standard deviation of each row, from the median absolute deviation."""
    return _MAD * row_middles(np.abs(rows - row_middles(rows)[:, np.newaxis]))


def row_middles(rows: Doubles) -> Doubles:
    """Return the median of each row, or the upper of the middle two; faster than numpy's."""
    n: int = rows.shape[-1]
    return np.asarray(np.partition(rows, n // 2, axis=-1)[..., n // 2])


def mean_or_0(values: Doubles) -> float:
    return float(values.mean()) if len(values) else 0.0


def correlation(series: Doubles) -> float:
    """Return the correlation of neighbouring values."""
    values = series - series.mean()
    return float((values[1:] * values[:-1]).sum() / ((values**2).sum() + 1e-6))


def row_correlation(rows: Doubles) -> float:
    """Return the correlation of neighbouring rows."""
    values = rows - rows.mean(axis=1, keepdims=True)
    return float((values[1:] * values[:-1]).sum() / ((values**2).sum() + 1e-6))


def weighted_slope(values: npt.NDArray[np.generic], weights: Doubles) -> float:
    """Return the slope of a weighted linear fit."""
    place = np.arange(len(values), dtype=np.float64)
    total = weights.sum() + 1e-6
    place -= (weights * place).sum() / total
    about = values.astype(np.float64) - (weights * values.astype(np.float64)).sum() / total
    return float((weights * place * about).sum() / ((weights * place**2).sum() + 1e-6))
