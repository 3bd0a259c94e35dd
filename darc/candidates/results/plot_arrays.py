"""What of a candidate's arrays is drawn: bins, axes and limits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darc.model.processing_outcome import ProcessedCandidate

Floats = npt.NDArray[np.float32]

#: Part of an image's values below the darkest colour, and up to the brightest, %.
_LIMITS = (5, 99.9)


@dataclass(frozen=True, slots=True)
class PlotSizes:
    """Bins that are drawn, at most."""

    nfreq: int
    ntime: int
    ndm: int


@dataclass(frozen=True, slots=True, eq=False)
class PlotArrays:
    """What is drawn of a candidate.

    :param freq_time: NaN in channels without data, shape (nfreq, ntime)
    :param dm_time: S/N of each bin, about the median of all, shape (ndm, ntime)
    :param profile: S/N of each bin at the pulse's DM, about their median, shape (ntime,)
    :param times: edges of the time axis against the arrival time, ms
    :param dms: edges of the DM axis, pc cm-3
    """

    freq_time: Floats
    dm_time: Floats
    profile: Floats
    times: tuple[float, float]
    dms: tuple[float, float]

    @property
    def bin_centres(self) -> npt.NDArray[np.float64]:
        """Times of the profile, ms, shape (ntime,)."""
        begin, end = self.times
        n = len(self.profile)
        centres = begin + (np.arange(n) + 0.5) * ((end - begin) / n)
        return np.asarray(centres, dtype=np.float64)


def drawn(candidate: ProcessedCandidate, sizes: PlotSizes) -> PlotArrays:
    """Make what is drawn; what is not finite in arrays is taken for 0."""
    ntime = candidate.freq_time.shape[1]
    dms = candidate.dms
    bin_ms = candidate.measured.bin_length * 1e3
    begin = -(ntime // 2) * bin_ms
    step = float(dms[1] - dms[0]) if len(dms) > 1 else 1.0
    dm_time = np.nan_to_num(candidate.dm_time, posinf=0.0, neginf=0.0)
    profile = dm_time[int(np.argmin(np.abs(dms - candidate.pulse.dm)))][np.newaxis]
    n_profile = bins(ntime, sizes.ntime)
    # A sum of bins of unit noise, of unit noise again.
    profile = rebinned(profile, 1, sizes.ntime)[0] * np.float32((ntime / n_profile) ** 0.5)
    dm_time = rebinned(dm_time, sizes.ndm, sizes.ntime)
    return PlotArrays(
        _of_channels(candidate.freq_time, sizes),
        # The bins are sums about the medians of channels, which are not means: in data of few
        # levels the sums are far from 0 where there is nothing.
        dm_time - np.median(dm_time),
        profile - np.median(profile),
        (begin, begin + ntime * bin_ms),
        (float(dms[0]) - step / 2, float(dms[-1]) + step / 2),
    )


def _of_channels(freq_time: Floats, sizes: PlotSizes) -> Floats:
    """Frequency and time, where rows without data are NaN and not part of any mean."""
    there = np.isfinite(freq_time)
    data = np.where(there, freq_time, np.float32(0))
    # What is masked is 0 throughout, in files.
    used = np.any(data != 0, axis=1)
    shown = rebinned(data, sizes.nfreq, sizes.ntime)
    part = rebinned(np.asarray(used, dtype=np.float32)[:, np.newaxis], sizes.nfreq, 1)
    return np.divide(shown, part, out=np.full_like(shown, np.nan), where=part > 0)


def masked_text(arrays: PlotArrays) -> str:
    """What the grey channels are; empty: there are none."""
    return "grey: no data" if np.isnan(arrays.freq_time).any() else ""


def bins(have: int, want: int) -> int:
    """The most bins up to the number wanted that groups of the same size make."""
    return next(n for n in range(min(have, want), 0, -1) if have % n == 0)


def rebinned(array: Floats, rows: int, columns: int) -> Floats:
    """Means of groups: as many as are wanted, or the next lower number of groups of one size.

    :param array: shape (n, m)
    """
    n, m = bins(array.shape[0], rows), bins(array.shape[1], columns)
    if (n, m) == array.shape:
        return array
    means = array.reshape(n, array.shape[0] // n, m, -1).mean(axis=(1, 3))
    return np.asarray(means, dtype=np.float32)


def limits(image: Floats) -> tuple[float, float]:
    """Values of the darkest and of the brightest colour; the first is the lower.

    :param image: what is not finite does not count
    """
    known = image[np.isfinite(image)]
    low, high = map(float, np.percentile(known, _LIMITS)) if known.size else (0.0, 0.0)
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def profile_limits(profile: Floats) -> tuple[float, float]:
    """Of the axis of a profile, with room above and below."""
    low, high = float(profile.min()), float(profile.max())
    edge = 0.08 * (high - low) or 1.0
    return low - edge, high + edge
