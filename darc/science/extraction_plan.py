"""Which stretch of data a pulse needs, and at which resolution it is worked on.

Source: the project's specification, processing.md (worker, step 2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from darc.science.dedispersion import Band
from darc.science.dispersion import dm_halfrange

CleanType = Literal["isolated", "time", "frequency", "both", "perchannel", "none"]

#: Dispersion within a channel smears over at least so many downsampled samples, if over any.
_SAMPLES_PER_SMEARING = 4


class OutsideDataError(ValueError):
    """The pulse, or most of it, is not in the data."""


@dataclass(frozen=True, slots=True)
class ExtractionSettings:
    """How to extract; section `processor.extractor` of the configuration.

    :param ntime: bins in time; likewise nfreq and ndm, in frequency and DM
    :param dm_halfrange: pc cm-3, to which the pulse's width and DM add; for the band of ARTS, and
        in others so much that the delay across the band is the same
    :param threshold_time: standard deviations; likewise threshold_freq
    :param n_iter_time: how often at most; likewise n_iter_freq
    :param bin_size: channels over which the bandpass is averaged
    :raises ValueError: there is no such cleaning, or a number is out of range
    """

    ntime: int
    nfreq: int
    ndm: int
    dm_halfrange: float
    clean_type: CleanType
    threshold_time: float  # for single channels, too
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


@dataclass(frozen=True, slots=True, eq=False)
class ExtractionPlan:
    """A stretch of data and what is made of it.

    :param tsamp: of the data, s
    :param dm: of the pulse, pc cm-3
    :param arrival: sample in which it arrives at the centre of the highest channel
    :param start: first sample of the stretch, with which the candidate's first bin begins, too
    :param count: samples of the stretch
    :param pre: downsampling before dedispersion
    :param post: downsampling after it
    :param dms: trials, pc cm-3, shape (ndm,)
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
    dms: npt.NDArray[np.float64]

    @property
    def end(self) -> int:
        """One behind the last sample: so many have to be on disk."""
        return self.start + self.count

    @property
    def bin_samples(self) -> int:
        """Samples of the data in a bin of the candidate."""
        return self.pre * self.post

    def within(self, n_samples: int) -> ExtractionPlan:
        """The same in a file that ends early: the stretch is moved, and what is missing cut off.

        It is moved so far at most that the pulse comes to lie in the last bin but one.

        :param n_samples: of the file
        :raises OutsideDataError: the pulse arrives behind the file's end
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
    """Say which stretch of data a pulse needs.

    It is centred on the arrival, unless the file begins after that, and holds `ntime` bins for
    every trial DM. The pulse's DM is in the middle of the trials, unless these begin at 0.

    :param tsamp: of the data, s
    :param dm: of the trigger, pc cm-3
    :param width: of the trigger, samples
    :param time: start of the trigger's bin, at the centre of the highest channel, s since the
        file's beginning
    :raises ValueError: there is no such pulse
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
