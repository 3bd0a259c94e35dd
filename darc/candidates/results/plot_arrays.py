"""Preparation of a candidate's arrays for plots: bins, axes and limits."""

from __future__ import annotations

import numpy as np

from darc.config.records import Struct
from darc.config.settings import ProcessorVisualizer
from darc.model.processing_outcome import ProcessedCandidate
from darc.science.arrays import Doubles, Floats

#: Percentiles of an image's values for the darkest and the brightest colour.
_LIMITS = (5, 99.9)


class PlotArrays(Struct, frozen=True, eq=False):
    """Arrays and axes of a candidate's plots.

    :param freq_time: NaN in channels without data, shape (nfreq, ntime)
    :param dm_time: S/N of each bin, minus the median of all, shape (ndm, ntime)
    :param profile: S/N of each bin at the pulse's DM, minus their median, shape (ntime,)
    :param times: limits of the time axis, relative to the arrival time, ms
    :param dms: limits of the DM axis, pc cm-3
    """

    freq_time: Floats
    dm_time: Floats
    profile: Floats
    times: tuple[float, float]
    dms: tuple[float, float]

    @property
    def bin_centres(self) -> Doubles:
        """Centres of the profile's bins, ms, shape (ntime,)."""
        begin, end = self.times
        n = len(self.profile)
        centres = begin + (np.arange(n) + 0.5) * ((end - begin) / n)
        return np.asarray(centres, dtype=np.float64)


def drawn(candidate: ProcessedCandidate, settings: ProcessorVisualizer) -> PlotArrays:
    """Prepare a candidate's arrays; values that are not finite are set to 0.

    :param settings: have the largest numbers of bins
    """
    ntime = candidate.freq_time.shape[1]
    dms = candidate.dms
    bin_ms = candidate.measured.bin_length * 1e3
    begin = -(ntime // 2) * bin_ms
    step = float(dms[1] - dms[0]) if len(dms) > 1 else 1.0
    dm_time = np.nan_to_num(candidate.dm_time, posinf=0.0, neginf=0.0)
    profile = dm_time[int(np.argmin(np.abs(dms - candidate.pulse.dm)))][np.newaxis]
    n_profile = bins(ntime, settings.ntime)
    # Scaled to unit noise, as the sum of bins of unit noise.
    profile = rebinned(profile, 1, settings.ntime)[0] * np.float32((ntime / n_profile) ** 0.5)
    dm_time = rebinned(dm_time, settings.ndm, settings.ntime)
    return PlotArrays(
        _of_channels(candidate.freq_time, settings),
        # The bins are relative to medians of channels, which are not means: in data of few levels,
        # their sums are far from 0 without a pulse.
        dm_time - np.median(dm_time),
        profile - np.median(profile),
        (begin, begin + ntime * bin_ms),
        (float(dms[0]) - step / 2, float(dms[-1]) + step / 2),
    )


def _of_channels(freq_time: Floats, settings: ProcessorVisualizer) -> Floats:
    """Rebin frequency-time; rows without data become NaN and are excluded from means."""
    there = np.isfinite(freq_time)
    data = np.where(there, freq_time, np.float32(0))
    # In files, masked channels are 0.
    used = np.any(data != 0, axis=1)
    shown = rebinned(data, settings.nfreq, settings.ntime)
    part = rebinned(np.asarray(used, dtype=np.float32)[:, np.newaxis], settings.nfreq, 1)
    return np.divide(shown, part, out=np.full_like(shown, np.nan), where=part > 0)


def masked_text(arrays: PlotArrays) -> str:
    """Return the explanation of the grey channels; empty if there are none."""
    return "grey: no data" if np.isnan(arrays.freq_time).any() else ""


def bins(have: int, want: int) -> int:
    """Return the largest number of equal groups that is not above the number wanted."""
    return next(n for n in range(min(have, want), 0, -1) if have % n == 0)


def rebinned(array: Floats, rows: int, columns: int) -> Floats:
    """Average equal groups of bins, at most as many groups as wanted.

    :param array: shape (n, m)
    """
    n, m = bins(array.shape[0], rows), bins(array.shape[1], columns)
    if (n, m) == array.shape:
        return array
    means = array.reshape(n, array.shape[0] // n, m, -1).mean(axis=(1, 3))
    return np.asarray(means, dtype=np.float32)


def limits(image: Floats) -> tuple[float, float]:
    """Return the values of the darkest and of the brightest colour, in ascending order.

    :param image: values that are not finite are ignored
    """
    known = image[np.isfinite(image)]
    low, high = map(float, np.percentile(known, _LIMITS)) if known.size else (0.0, 0.0)
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def profile_limits(profile: Floats) -> tuple[float, float]:
    """Return the limits of a profile's axis, with margins.

    :param profile: shape (n,)
    """
    low, high = float(profile.min()), float(profile.max())
    edge = 0.08 * (high - low) or 1.0
    return low - edge, high + edge
