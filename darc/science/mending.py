"""Removal of baseline and noise steps from channels, and replacement of missing data by noise.

The noise of a pulse is that on its own side of a step: beyond it, the noise differs if a receiver's
gain has changed, and in data of few bits wherever the baseline differs.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from darc.science.arrays import Doubles, Floats, Ints, Mask
from darc.science.isolated import clipped_mean
from darc.science.silent_data import forget_stuck

#: Baselines are clipped means: threshold (standard deviations) and number of iterations.
_CLIP, _N_CLIP = 3.0, 3
#: Noise beyond a step differs significantly if its variance does by this many standard errors.
_OTHER_NOISE = 6.0


def mend(
    rows: Floats,
    highest: float,
    unusable: Mask,
    cuts: Doubles,
    reach: float,
    random: np.random.Generator,
) -> Mask:
    """Remove baseline steps, and replace missing data by noise, in place.

    Rows with neither are not changed.

    :param rows: finite, shape (n, m)
    :param highest: see :func:`darc.science.silent_data.forget_stuck`
    :param unusable: samples to replace, shape (m,)
    :param cuts: see :func:`darc.science.baseline.find_jumps`
    :param reach: see :func:`darc.science.time_major.never_outlying`
    :param random: generator of the noise, independent for each channel
    :return: whether a row has any data, shape (n,)
    """
    is_stuck = forget_stuck(rows, highest)
    if not (is_stuck or len(cuts) or unusable.any()):
        return np.ones(len(rows), np.bool_)
    rows[:, unusable] = np.nan
    missing = np.isnan(rows)
    left: Mask = np.asarray(~missing.all(axis=1))
    parts = _parts_of(cuts, rows.shape[1])
    for number in np.flatnonzero(left).tolist():
        row, absent = rows[number], missing[number]
        middle = _middle_of(row, reach)
        for part in parts:
            if len(cuts) and not absent[part].all():
                row[part] += middle - _middle_of(row[part], reach)
            if absent[part].any():
                fresh = random.standard_normal(int(absent[part].sum()), dtype=np.float32)
                noise = _noise_of(row[part], reach) or _noise_of(row, reach)
                row[part][absent[part]] = middle + noise * fresh
    return left


def even_out_noise(rows: Floats, cuts: Doubles, places: Ints, reach: float) -> None:
    """Scale rows to the noise at the pulse on both sides of a step, in place.

    The noise differs where a receiver's gain has changed, and in data of few bits wherever the
    baseline has.

    :param rows: finite, shape (n, m)
    :param cuts: see :func:`darc.science.baseline.find_jumps`
    :param places: start of the pulse in each row, samples, shape (n,)
    :param reach: see :func:`darc.science.time_major.never_outlying`
    """
    if not len(cuts):
        return
    parts = _parts_of(cuts, rows.shape[1])
    noises = np.array([[_noise_of(row[part], reach) for part in parts] for row in rows])
    lengths = np.array([part.stop - part.start for part in parts])
    own = np.searchsorted([part.start for part in parts[1:]], places, side="right")
    # The relative error of a variance from n differences of neighbours is sqrt(3 / n).
    clearly = _OTHER_NOISE * np.sqrt(3 / np.minimum(lengths, lengths[own, np.newaxis])) / 2
    for number, place in enumerate(own.tolist()):
        noise = noises[number, place]
        for other, part in enumerate(parts):
            there = noises[number, other]
            if min(noise, there) > 0 and abs(np.log(there / noise)) > clearly[number, other]:
                middle = _middle_of(rows[number, part], reach)
                rows[number, part] = middle + (rows[number, part] - middle) * (noise / there)


def _parts_of(cuts: Doubles, n_samples: int) -> list[slice]:
    """Ranges of samples between cuts."""
    edges = [0, *np.ceil(cuts).astype(np.int64).tolist(), n_samples]
    return [slice(begin, end) for begin, end in itertools.pairwise(edges) if begin < end]


def _noise_of(values: Floats, reach: float) -> float:
    """Standard deviation from differences of neighbouring samples, clipped."""
    return clipped_mean(np.diff(values), _CLIP, _N_CLIP, reach)[1] / math.sqrt(2)


def _middle_of(values: Floats, reach: float) -> np.float32:
    """Clipped mean: in data of few bits, the median differs much from it."""
    return np.float32(clipped_mean(values, _CLIP, _N_CLIP, reach)[0])
