"""Extraction of a candidate's arrays and numbers from the data window around a pulse.

Channels are processed in groups that fit into the processor's cache; each is cleaned, downsampled
and added to all sums that need it, without a copy of the window. Source: the project's
specification, processing.md (worker, step 2).

Every trial DM is summed directly. If a bin of the candidate has 32 samples or more, the trials (but
not the candidate itself) are summed in steps of at most a sixteenth of a bin, to which their shifts
are rounded.

The specified S/N is that of boxcars at the trigger's DM (`snr`). This DM is one of a search's
trials, and intra-channel smearing changes the pulse's shape. `snr_best` therefore also includes DMs
around it, spaced closely for the pulse's width, boxcars with the same smearing that start at any
fraction of a sample, and a correction for the loss by clipping. docs/accuracy.md compares both with
the ideal matched filter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from darc.config.records import Struct, replace
from darc.science.arrays import Doubles, Floats, Ints, Mask, TimeMajor
from darc.science.best_dm import best_dm, trial_snrs
from darc.science.boxcar import (
    Boxcar,
    best_boxcar,
    between_samples,
    boxcar_widths,
    effective_length,
    smearing_kernel,
)
from darc.science.cleaned_channels import CleanedChannels
from darc.science.cleaning_loss import snr_before_cleaning
from darc.science.dedispersion import Band, add_binned, add_dedispersed, coverage
from darc.science.downsample import downsample_time, group_means, samples_in_step
from darc.science.extraction_plan import (
    ExtractionPlan,
    ExtractionSettings,
    OutsideDataError,
    plan_extraction,
)
from darc.science.isolated import clipped_mean
from darc.science.row_statistics import medians, noise_variances
from darc.science.time_major import never_outlying

#: Widest boxcar of the specified S/N (downsampled samples).
_WIDEST = 250

#: The median of integers may be off by half a level. If the standard deviation of the noise is less
#: than _COARSE levels, a clipped mean is used instead (threshold in standard deviations,
#: iterations).
_COARSE, _CLIP, _N_CLIP = 2.0, 3.0, 3


#: DMs around the pulse's at which S/N is measured: range in steps of the trials, maximum number per
#: step, and difference of the delay across the band from one to the next, in bins.
_STEPS_AROUND, _PARTS_OF_STEP, _BINS_APART = 1.5, 8, 0.25

#: If trials are closer than that, those within this difference of the delay across the band (bins)
#: are used: the trials of a search may be that far apart.
_BINS_AROUND = 0.5

#: Index of the sum at DM 0; index 0 is at the pulse's DM.
_AT_DM_0 = 1

#: Minimum fraction of the band in a valid sum over channels.
_LEAST_COVERAGE = 0.5


class Extraction(Struct, frozen=True, eq=False):
    """Arrays and numbers of a candidate; its peak is in bin ntime // 2.

    Where there are no data, arrays are 0 and not valid.

    :param freq_time: at the pulse's DM, minus each channel's median, in the data's units; the
        lowest frequency first, shape (nfreq, ntime)
    :param freq_time_valid: where there are data, shape (nfreq, ntime)
    :param dm_time: sum of the band in units of its noise, shape (ndm, ntime)
    :param dm_time_valid: where at least half of the band has data, shape (ndm, ntime)
    :param profile: sum of the band in units of its noise at the pulse's DM, shape (ntime,)
    :param dms: trial DMs, pc cm-3, shape (ndm,)
    :param bin_length: s
    :param snr: of the best boxcar at the pulse's DM
    :param snr_best: of the best boxcar at or near the pulse's DM, plain or smeared like the pulse,
        corrected for the loss by clipping of each channel
    :param snr_dm0: as `snr`, at DM 0 in the same bins
    :param width: width of the boxcar of `snr`, samples of the data
    :param time: start of the bin that holds that boxcar's centre, at the centre of the highest
        channel; s since the file's first sample
    :param centre: that centre itself, s likewise
    :param best_dm: DM from the S/N of all trials, pc cm-3
    """

    freq_time: Floats
    freq_time_valid: Mask
    dm_time: Floats
    dm_time_valid: Mask
    profile: Floats
    dms: Doubles
    bin_length: float
    snr: float
    snr_best: float
    snr_dm0: float
    width: int
    time: float
    centre: float
    best_dm: float


def extract(
    data: TimeMajor,
    plan: ExtractionPlan,
    settings: ExtractionSettings,
    *,
    descending: bool,
    mask: Mask | None = None,
) -> Extraction:
    """Extract a candidate from its data window.

    :param data: the window of the plan, shape (count, n_channels)
    :param plan: window and resolution
    :param settings: RFI mitigation and array sizes
    :param descending: whether the first channel is the highest
    :param mask: channels to exclude, the lowest frequency first, shape (n_channels,)
    :raises OutsideDataError: less than half of the pulse's band is in the data
    :raises ValueError: the data or the mask has another shape, or no channel is usable
    """
    n_channels = plan.band.n_channels
    if data.shape != (plan.count, n_channels):
        raise ValueError(f"data of shape {data.shape}; wanted: {(plan.count, n_channels)}")
    if mask is not None and mask.shape != (n_channels,):
        raise ValueError(f"a mask of shape {mask.shape} for {n_channels} channels")
    sums = _Sums(plan, never_outlying(data))
    for channels, rows in CleanedChannels(data, plan, settings, descending, mask).rows():
        sums.add(channels, downsample_time(rows, plan.pre))
    return _finish(sums, settings)


def prepare(dtype: npt.DTypeLike, settings: ExtractionSettings) -> None:
    """Compile the functions that `extract` needs for a sample type, or load them from the cache.

    Otherwise the first candidate is delayed: by seconds, or by 0.1 s with a cache.

    :param dtype: type of the samples
    """
    # Few channels with a large delay, with an impulse and a drift: all cleaning steps run.
    band = Band(f_lowest=1000.0, channel_width=1.0, n_channels=16)
    small = plan_extraction(band, 1e-3, dm=1000.0, width=2, time=0.0, settings=settings)
    data = np.zeros((small.count, band.n_channels), dtype=dtype)
    data[:, 1:] = np.arange(small.count)[:, np.newaxis] % 2
    extract(data, replace(small, pre=2, post=1), settings, descending=False)
    data[:, 1:] += np.linspace(0, 99, small.count)[:, np.newaxis].astype(dtype)
    extract(data, small, settings, descending=False)


class _Sums:
    """Sums over channels."""

    def __init__(self, plan: ExtractionPlan, reach: float) -> None:
        self.plan = plan
        self.reach = reach
        self.length = plan.count // plan.pre
        n_out = plan.ntime * plan.post
        tsamp = plan.tsamp * plan.pre
        self.step = samples_in_step(plan.post)
        # The pulse's DM, DM 0, and the DMs around the pulse's.
        self.shifts = plan.band.shifts([plan.dm, 0.0, *_around(plan)], tsamp)
        self.series = np.zeros((len(self.shifts), n_out), dtype=np.float32)
        self.trial_shifts = plan.band.shifts(plan.dms, tsamp * self.step)
        self.trials = np.zeros((len(plan.dms), n_out // self.step), dtype=np.float32)
        n_channels = plan.band.n_channels
        self.binned = np.zeros((n_channels, plan.ntime))
        self.counts = np.zeros((n_channels, plan.ntime), dtype=np.int64)
        self.used = np.zeros(n_channels, dtype=np.bool_)
        self.variances = np.zeros(n_channels)

    def add(self, channels: Ints, rows: Floats) -> None:
        """Add a group of channels.

        :param channels: their indices, shape (n,)
        :param rows: their samples, downsampled, shape (n, length); changed in place
        """
        if not rows.size:
            return
        self.used[channels] = True
        # The noise is measured outside the pulse.
        post = self.plan.post
        begins = (self.plan.arrival - self.plan.start) // self.plan.pre + self.shifts[0, channels]
        self.variances[channels] = noise_variances(rows, begins - 2 * post, begins + 6 * post)
        rows -= self._levels(channels, rows)[:, np.newaxis].astype(np.float32)
        add_dedispersed(rows, self.shifts[:, channels], self.series)
        steps = downsample_time(rows, self.step)
        add_dedispersed(steps, self.trial_shifts[:, channels], self.trials)
        sums, counts = self.binned[channels], self.counts[channels]
        add_binned(rows, self.shifts[0, channels], self.plan.post, sums, counts)
        self.binned[channels], self.counts[channels] = sums, counts

    def _levels(self, channels: Ints, rows: Floats) -> Doubles:
        levels = medians(rows)
        if self.reach > 0:
            for number in np.flatnonzero(self.variances[channels] * self.plan.pre < _COARSE**2):
                levels[number], _ = clipped_mean(rows[number], _CLIP, _N_CLIP, self.reach)
        return levels

    def in_units_of_noise(self, series: Floats, shifts: Ints, step: int) -> tuple[Floats, Mask]:
        """Return sums over the band in units of their noise.

        :param series: sums over channels, shape (n_dms, n)
        :param shifts: shifts of the channels, steps, shape (n_dms, n_channels)
        :param step: samples in a step
        :return: the sums in units of their noise, and whether enough of the band contributes, shape
            (n_dms, n) each
        """
        length, n_out = self.length // step, series.shape[1]
        used = self.used.astype(np.float64)
        there = coverage(shifts, used, length, n_out)
        valid = there >= _LEAST_COVERAGE * used.sum()
        variance = coverage(shifts, self.variances / step, length, n_out)
        usable = valid & (variance > 0)
        scale = np.where(usable, 1 / np.sqrt(np.where(usable, variance, 1.0)), 0.0)
        return (series * scale).astype(np.float32), valid


def _around(plan: ExtractionPlan) -> list[float]:
    """Return DMs around the pulse's for `snr_best` (pc cm-3); none if trials are close enough."""
    across_band = _bins_apart(plan)
    if across_band <= _BINS_APART:
        return []
    step = float(plan.dms[1] - plan.dms[0])
    parts = min(math.ceil(across_band / _BINS_APART), _PARTS_OF_STEP)
    reach = math.ceil(parts * _STEPS_AROUND)
    dms = (plan.dm + step / parts * number for number in range(-reach, reach + 1) if number)
    return [dm for dm in dms if dm >= 0]


def _near(plan: ExtractionPlan) -> Ints:
    """Return the trials around the pulse's DM for `snr_best`, if they are close enough."""
    across_band = _bins_apart(plan)
    if not 0 < across_band <= _BINS_APART:
        return np.empty(0, np.int64)
    steps_off = np.abs(plan.dms - plan.dm) / (plan.dms[1] - plan.dms[0])
    return np.flatnonzero(steps_off * across_band <= _BINS_AROUND)


def _bins_apart(plan: ExtractionPlan) -> float:
    """Return the difference of the delay across the band between two trials, in bins."""
    if len(plan.dms) < 2:
        return 0.0
    delays = plan.band.delays(plan.dms[:2])
    return float(np.ptp(delays[1] - delays[0])) / (plan.tsamp * plan.bin_samples)


def _finish(sums: _Sums, settings: ExtractionSettings) -> Extraction:
    plan, post = sums.plan, sums.plan.post
    if not sums.used.any():
        raise ValueError("no channel is left: all are masked, full of interference, or empty")
    series, valid = sums.in_units_of_noise(sums.series, sums.shifts, 1)
    if not valid[0].any():
        raise OutsideDataError(
            f"less than half of the band is in the data at DM {plan.dm} pc cm-3: "
            f"{plan.count} samples from {plan.start}"
        )
    boxcar = _boxcar(series[0], valid[0], post)
    kernel = _smearing(sums, plan.pre)
    place = _strongest(series, valid, post, kernel)
    snr_best = max(
        boxcar.snr,
        _best_snr(sums, settings, series[0], valid[0], [None]),
        _best_snr(sums, settings, series[place], valid[place], between_samples(kernel, post)),
    )
    peak = int(boxcar.centre // post)
    roll = plan.ntime // 2 - peak
    trials, trials_valid = sums.in_units_of_noise(sums.trials, sums.trial_shifts, sums.step)
    narrow = max(1, post // 2 - len(kernel) // 2)
    widths = np.unique(np.array([narrow, post // 2, post, 2 * post, boxcar.width]) // sums.step)
    kernel = _smearing(sums, plan.pre * sums.step)
    snrs = trial_snrs(trials, trials_valid, widths[widths > 0], kernel)
    near = _near(plan)
    if len(near):
        place = near[np.argmax(snrs[near])]
        series_there, valid_there = trials[place], trials_valid[place]
        found = _best_snr(sums, settings, series_there, valid_there, [None, kernel], sums.step)
        snr_best = max(snr_best, found)
    freq_time, freq_time_valid = group_means(sums.binned, sums.counts, settings.nfreq)
    per_bin = post // sums.step
    profile, _ = _in_bins(series[:1], valid[:1], post)
    dm_time, dm_time_valid = _in_bins(trials, trials_valid, per_bin)
    return Extraction(
        freq_time=np.roll(freq_time, roll, axis=1),
        freq_time_valid=np.roll(freq_time_valid, roll, axis=1),
        dm_time=np.roll(dm_time, roll, axis=1),
        dm_time_valid=np.roll(dm_time_valid, roll, axis=1),
        profile=np.roll(profile[0], roll),
        dms=plan.dms,
        bin_length=plan.bin_samples * plan.tsamp,
        snr=boxcar.snr,
        snr_best=snr_best,
        snr_dm0=_boxcar(series[_AT_DM_0], valid[_AT_DM_0], post).snr,
        width=boxcar.width * plan.pre,
        time=(plan.start + peak * plan.bin_samples) * plan.tsamp,
        centre=(plan.start + boxcar.centre * plan.pre) * plan.tsamp,
        best_dm=best_dm(plan.dms, snrs),
    )


def _best_snr(
    sums: _Sums,
    settings: ExtractionSettings,
    series: Floats,
    valid: Mask,
    kernels: Sequence[Doubles | None],
    step: int = 1,
) -> float:
    """Return the S/N corrected for the loss by clipping, for the best kernel.

    :param step: downsampled samples per sample of the series
    """
    found = -math.inf
    for kernel in kernels:
        post = sums.plan.post // step
        boxcar = _boxcar(series, valid, post, kernel, 2 * post)
        snr = boxcar.snr
        if settings.clean_type == "perchannel" and settings.n_iter_time > 0:
            length = effective_length(boxcar.width, np.ones(1) if kernel is None else kernel)
            n_samples = length * step * sums.plan.pre * np.count_nonzero(sums.used)
            snr = snr_before_cleaning(snr, n_samples, settings.threshold_time)
        found = max(found, snr)
    return found


def _smearing(sums: _Sums, samples: int) -> Doubles:
    """Return the kernel of intra-channel smearing for the sum of all channels.

    :param samples: samples of the data per sample of the kernel
    """
    plan = sums.plan
    smearing = plan.band.channel_smearing(plan.dm)[sums.used]
    return smearing_kernel(smearing / (plan.tsamp * samples))


def _strongest(series: Floats, valid: Mask, post: int, kernel: Doubles) -> int:
    """Return the index of the DM of highest S/N, except DM 0."""
    numbers = np.flatnonzero(np.arange(len(series)) != _AT_DM_0)
    snrs = trial_snrs(series[numbers], valid[numbers], _widths(post, kernel, 2 * post), kernel)
    return int(numbers[np.argmax(snrs)])


def _widths(post: int, kernel: Doubles | None, widest: int) -> Ints:
    """Return boxcar widths from half to twice `post`; narrower ones with a kernel."""
    narrowest = post // 2 - (len(kernel) // 2 if kernel is not None else 0)
    return boxcar_widths(min(max(1, narrowest), widest), min(2 * post, widest))


def _boxcar(
    series: Floats,
    valid: Mask,
    post: int,
    kernel: Doubles | None = None,
    widest: int = _WIDEST,
) -> Boxcar:
    """Return the best boxcar in the valid samples: all, or all but some at the end."""
    n_valid = int(np.count_nonzero(valid))
    widths = np.minimum(_widths(post, kernel, widest), n_valid)
    return best_boxcar(series[:n_valid], widths, noise=1.0, kernel=kernel)


def _in_bins(series: Floats, valid: Mask, factor: int) -> tuple[Floats, Mask]:
    """Sum series of unit noise to bins of unit noise; a bin is valid if all its samples are."""
    n_dms = len(series)
    bins = series.reshape(n_dms, -1, factor).sum(axis=2) / np.float32(np.sqrt(factor))
    all_valid = np.logical_and.reduce(valid.reshape(n_dms, -1, factor), axis=2)
    bins[~all_valid] = 0
    return bins, all_valid
