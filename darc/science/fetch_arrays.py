"""Arrays of a candidate as FETCH was trained on them: 256 by 256, DMs from 0 to twice the DM.

FETCH (Agarwal et al. 2020, MNRAS 497, 1661) reads what `your` makes (`your.candidate.Candidate` and
`your_candmaker.py`): the pulse in the middle, time in bins of half its width, frequency in 256
parts of the band, the sum of the band at 256 DMs. It scales both itself, so units do not matter.

They are summed from the data as recorded, as `your` does, not from data that were cleaned: FETCH
has learnt what interference looks like. Three things differ from `your`, none of them inside the
pulse's track: samples come from where they are in the file, while `your` rolls the ends of its
stretch around; each channel is less its median; and fewer channels than 256 are repeated and not
interpolated. A part that is not in the file is 0, the channel's median, as there.
"""

from __future__ import annotations

import math

import numpy as np

from darc.config.records import Struct
from darc.science.arrays import Doubles, Floats, Mask, TimeMajor
from darc.science.dedispersion import Band, add_binned, add_dedispersed
from darc.science.downsample import downsample_time, group_means, samples_in_step
from darc.science.row_statistics import medians

#: Bins in time, parts of the band, and DMs.
SIZE = 256

#: Channels that are held as floats at a time.
_AT_A_TIME = 32


class FetchPlan(Struct, frozen=True):
    """Stretch of data and resolution of the arrays.

    :param tsamp: s
    :param dm: DM of the candidate, pc cm-3
    :param start: sample at the centre of the highest channel where bin 0 begins; below 0 near the
        file's start
    :param bin_samples: samples in a bin
    """

    band: Band
    tsamp: float
    dm: float
    start: int
    bin_samples: int

    @property
    def dms(self) -> Doubles:
        """Trial DMs, pc cm-3, shape (SIZE,); the candidate's is between the two in the middle."""
        return np.linspace(0.0, 2 * self.dm, SIZE)

    @property
    def count(self) -> int:
        """Samples of the stretch: the bins, and the delay across the band at the highest DM."""
        longest = self.band.shifts([2 * self.dm], self.tsamp)[0]
        return SIZE * self.bin_samples + int(longest.max())

    @property
    def middle(self) -> float:
        """Begin of the middle bin at the centre of the highest channel, s from the file's start."""
        return (self.start + SIZE // 2 * self.bin_samples) * self.tsamp


def plan_fetch(band: Band, tsamp: float, *, dm: float, width: int, centre: float) -> FetchPlan:
    """Plan the arrays of a pulse.

    :param tsamp: s
    :param dm: pc cm-3
    :param width: of the pulse, samples
    :param centre: of the pulse at the centre of the highest channel, s from the file's start
    """
    bin_samples = max(1, width // 2)
    # The begin of a bin is rounded down, so that a pulse of one sample is in the middle bin.
    start = math.floor(centre / tsamp + 1e-6) - SIZE // 2 * bin_samples
    return FetchPlan(band, tsamp, dm, start, bin_samples)


class FetchArrays(Struct, frozen=True, eq=False):
    """Arrays of a candidate; 0 is each channel's median.

    :param freq_time: shape (SIZE, SIZE), the highest frequency first: mean per bin
    :param dm_time: shape (SIZE, SIZE), DM 0 first: sum of the band, mean per bin
    """

    freq_time: Floats
    dm_time: Floats


def fetch_arrays(
    data: TimeMajor,
    begin: int,
    plan: FetchPlan,
    *,
    descending: bool,
    mask: Mask | None = None,
) -> FetchArrays:
    """Sum the arrays of a candidate.

    :param data: samples of the file that are in the plan's stretch, shape (n, n_channels)
    :param begin: sample of the file at which they begin
    :param descending: whether the first channel is the highest
    :param mask: channels to leave out, the lowest frequency first, shape (n_channels,)
    :raises ValueError: the data have another shape, or are not all in the stretch
    """
    n_channels, first = plan.band.n_channels, begin - plan.start
    if data.ndim != 2 or data.shape[1] != n_channels:
        raise ValueError(f"data of shape {data.shape}; wanted: (n, {n_channels})")
    if not 0 <= first <= first + len(data) <= plan.count:
        raise ValueError(
            f"samples {begin} to {begin + len(data)}; wanted: of {plan.start} to"
            f" {plan.start + plan.count}"
        )
    step = samples_in_step(plan.bin_samples)
    shifts = plan.band.shifts([plan.dm], plan.tsamp)[0]
    trial_shifts = plan.band.shifts(plan.dms, plan.tsamp * step)
    trials = np.zeros((SIZE, SIZE * plan.bin_samples // step), dtype=np.float32)
    sums = np.zeros((n_channels, SIZE))
    counts = np.zeros((n_channels, SIZE), dtype=np.int64)
    used = np.arange(n_channels) if mask is None else np.flatnonzero(~mask)
    for place in range(0, len(used) if len(data) else 0, _AT_A_TIME):
        channels = used[place : place + _AT_A_TIME]
        there = n_channels - 1 - channels if descending else channels
        rows = np.zeros((len(channels), plan.count), dtype=np.float32)
        samples = np.ascontiguousarray(data[:, there].T, dtype=np.float32)
        if data.dtype.kind == "f":
            np.nan_to_num(samples, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        samples -= medians(samples)[:, np.newaxis].astype(np.float32)
        rows[:, first : first + len(data)] = samples
        of_group = np.zeros((len(channels), SIZE)), np.zeros((len(channels), SIZE), np.int64)
        add_binned(rows, shifts[channels], plan.bin_samples, *of_group)
        sums[channels], counts[channels] = of_group
        add_dedispersed(
            downsample_time(rows, step), np.ascontiguousarray(trial_shifts[:, channels]), trials
        )
    freq_time, _ = group_means(sums, counts, SIZE)
    dm_time = trials.reshape(SIZE, SIZE, -1).mean(axis=2)
    return FetchArrays(np.ascontiguousarray(freq_time[::-1]), dm_time.astype(np.float32))
