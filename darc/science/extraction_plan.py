"""Data window and resolution for the extraction of a candidate.

Source: the project's specification, processing.md (worker, step 2).
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np

from darc.config.records import Struct, replace
from darc.science.arrays import Doubles
from darc.science.dedispersion import Band
from darc.science.dispersion import dm_halfrange

CleanType = Literal["isolated", "time", "frequency", "both", "perchannel", "none"]

#: Minimum number of downsampled samples per intra-channel smearing time.
_SAMPLES_PER_SMEARING = 4


class OutsideDataError(ValueError):
    """The pulse, or most of it, is outside the data."""


class ExtractionSettings(Struct, frozen=True):
    """Settings of the extraction; section `processor.extractor` of the configuration.

    :param ntime: number of bins in time
    :param nfreq: number of bins in frequency
    :param ndm: number of trial DMs
    :param dm_halfrange: constant part of the half-range of trial DMs for the band of ARTS, pc cm-3;
        see :func:`darc.science.dispersion.dm_halfrange`
    :param clean_type: type of RFI mitigation
    :param threshold_time: threshold for samples, standard deviations
    :param n_iter_time: maximum number of iterations in time
    :param threshold_freq: threshold for channels, standard deviations
    :param n_iter_freq: maximum number of iterations in frequency
    :param bin_size: number of channels over which the bandpass is averaged
    :raises ValueError: `clean_type` is unknown, or a number is out of range
    """

    ntime: int
    nfreq: int
    ndm: int
    dm_halfrange: float
    clean_type: CleanType
    threshold_time: float  # also for clean_type isolated and perchannel
    n_iter_time: int
    threshold_freq: float
    n_iter_freq: int
    bin_size: int

    def __post_init__(self) -> None:
        if self.clean_type not in get_args(CleanType):
            allowed = ", ".join(get_args(CleanType))
            raise ValueError(f"clean_type: {self.clean_type!r}; allowed: {allowed}")
        for name in ("ntime", "nfreq", "ndm", "bin_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)}; allowed: at least 1")


class ExtractionPlan(Struct, frozen=True, eq=False):
    """Data window of a candidate, and the resolution at which it is processed.

    :param tsamp: sampling time of the data, s
    :param ntime: number of bins in time
    :param dm: DM of the pulse, pc cm-3
    :param arrival: sample of the pulse's arrival at the centre of the highest channel
    :param start: first sample of the window, and of the candidate's first bin
    :param count: number of samples of the window
    :param pre: downsampling factor before dedispersion
    :param post: downsampling factor after dedispersion
    :param dms: trial DMs, pc cm-3, shape (ndm,)
    """

    band: Band
    tsamp: float
    ntime: int
    dm: float
    arrival: int
    start: int
    count: int
    pre: int
    post: int
    dms: Doubles

    @property
    def end(self) -> int:
        """End of the window (exclusive): number of samples that must be on disk."""
        return self.start + self.count

    @property
    def bin_samples(self) -> int:
        """Samples of the data in one bin of the candidate."""
        return self.pre * self.post

    def within(self, n_samples: int) -> ExtractionPlan:
        """Return the plan for a file that ends early: the window is moved, then truncated.

        It is moved at most so far that the pulse is in the last bin but one.

        :param n_samples: number of samples of the file
        :raises OutsideDataError: the pulse arrives after the end of the file
        """
        if self.arrival >= n_samples:
            raise OutsideDataError(
                f"a pulse in sample {self.arrival} is behind the {n_samples} samples there are"
            )
        latest = self.arrival - (self.ntime - 2) * self.bin_samples
        start = max(0, min(self.start, max(n_samples - self.count, latest)))
        return replace(self, start=start, count=min(self.count, n_samples - start))


def plan_extraction(
    band: Band, tsamp: float, *, dm: float, width: int, time: float, settings: ExtractionSettings
) -> ExtractionPlan:
    """Plan the extraction of a pulse.

    The window is centred on the arrival time, unless that is too near to the file's start, and
    holds `ntime` bins at every trial DM. The pulse's DM is in the middle of the trials, unless
    these start at 0.

    :param tsamp: sampling time of the data, s
    :param dm: DM of the trigger, pc cm-3
    :param width: width of the trigger, samples
    :param time: start of the trigger's bin, at the centre of the highest channel, s since the
        file's first sample
    :raises ValueError: DM, width or time is out of range
    """
    if not (0 <= dm < math.inf and width >= 1 and 0 <= time < math.inf):
        raise ValueError(f"no pulse: DM {dm} pc cm-3, width {width} samples, at {time} s")
    pre = max(1, math.trunc(band.smearing(dm) / tsamp / _SAMPLES_PER_SMEARING))
    post = max(1, width // pre)
    f_low, f_high = float(band.frequencies[0]), float(band.frequencies[-1])
    halfrange = dm_halfrange(settings.dm_halfrange, width * tsamp, dm, f_low, f_high)
    step = 2 * halfrange / settings.ndm
    dms = max(0.0, dm - halfrange) + step * np.arange(settings.ndm, dtype=np.float64)
    arrival = round(time / tsamp)
    longest = int(band.shifts(dms[-1:], tsamp * pre).max())
    return ExtractionPlan(
        band=band,
        tsamp=tsamp,
        ntime=settings.ntime,
        dm=dm,
        arrival=arrival,
        start=max(0, arrival - settings.ntime // 2 * pre * post),
        count=pre * (settings.ntime * post + longest),
        pre=pre,
        post=post,
        dms=dms,
    )
