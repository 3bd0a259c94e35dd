"""Channels of a data window, in groups, after mitigation of interference."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from darc.science.arrays import Floats, Ints, Mask, TimeMajor
from darc.science.baseline import LevelWindow, find_jumps
from darc.science.baseline_drift import without_drift
from darc.science.extraction_plan import ExtractionPlan, ExtractionSettings
from darc.science.isolated import (
    can_tell_impulses,
    channel_noise,
    find_impulses,
    replace_isolated,
)
from darc.science.mending import even_out_noise, mend
from darc.science.rfi_cleaning import (
    interference_in_frequency,
    interference_in_time,
    replace_missing,
    replace_outliers,
    replace_times,
)
from darc.science.silent_data import silent_moments
from darc.science.time_major import channel_rows, mean_series, mean_spectrum, never_outlying

#: Channels in a group: 16 of 12,750 samples are 0.8 MB.
_AT_A_TIME = 16
#: Approximate number of samples for the noise in the comparison of channels.
_FOR_NOISE = 1024


class CleanedChannels:
    """Usable channels of a data window, cleaned according to the settings.

    :param data: shape (n_samples, n_channels)
    :param plan: data window and pulse
    :param settings: type and thresholds of the RFI mitigation
    :param descending: whether the first channel is the highest
    :param mask: channels to exclude, the lowest frequency first, shape (n_channels,); None: none
    """

    def __init__(
        self,
        data: TimeMajor,
        plan: ExtractionPlan,
        settings: ExtractionSettings,
        descending: bool,
        mask: Mask | None,
    ) -> None:
        n_channels = data.shape[1]
        self._settings = settings
        self._data = _closed(data)
        self._never_outlying = never_outlying(data)
        self._channels = np.arange(n_channels) if mask is None else np.flatnonzero(~mask)
        self._columns = n_channels - 1 - self._channels if descending else self._channels
        self._times = self._times_without()
        if settings.clean_type in ("frequency", "both"):
            self._leave_out_channels(n_channels)
        self._silent = silent_moments(self._data, self._columns)
        if self._silent.all():  # constant data
            self._silent[:] = False
        self._means = mean_series(self._data, self._columns)
        if data.dtype.kind == "f":
            self._highest = float(np.max(data, initial=0, where=np.isfinite(data)))
        else:
            self._highest = float(data.max())
        self._shifts = plan.band.shifts([plan.dm], plan.tsamp)[0, self._channels]
        self._length = plan.ntime * plan.bin_samples
        if settings.clean_type == "isolated":
            self._prepare_comparison(plan)
        window = LevelWindow.beside(plan.bin_samples)
        self._cuts, jumps = find_jumps(self._series(), window, self._data, self._columns)
        self._unusable = self._silent | jumps
        self._places = plan.arrival - plan.start + self._shifts

    def _times_without(self) -> Mask | None:
        settings = self._settings
        if settings.clean_type not in ("time", "both"):
            return None
        series = mean_series(self._data, self._columns)
        return interference_in_time(series, settings.threshold_time, settings.n_iter_time)

    def _leave_out_channels(self, n_channels: int) -> None:
        settings, channels = self._settings, self._channels
        times = np.zeros(len(self._data), np.bool_) if self._times is None else self._times
        bandpass = np.full(n_channels, np.nan)
        bandpass[channels] = mean_spectrum(self._data, self._columns, times)
        bad = interference_in_frequency(
            bandpass, settings.threshold_freq, settings.n_iter_freq, settings.bin_size
        )[channels]
        self._channels, self._columns = channels[~bad], self._columns[~bad]

    def _series(self) -> Floats:
        """Mean of the band; NaN where no data were recorded."""
        return np.where(self._silent, np.nan, self._means).astype(np.float32)

    def _prepare_comparison(self, plan: ExtractionPlan) -> None:
        """Subtract drifts, measure the noise along the pulse's track, and flag impulses."""
        width, columns = plan.bin_samples, self._columns
        begins = plan.arrival - plan.start + self._shifts - 2 * width
        flat = without_drift(self._series(), self._data, columns, self._silent, begins, 8 * width)
        if flat is not self._data:
            self._data = _closed(flat)
            self._means = mean_series(self._data, columns)
        stride = max(1, len(self._data) // _FOR_NOISE)
        threshold = self._settings.threshold_time
        self._noise = channel_noise(self._data, columns, threshold, stride, self._never_outlying)
        delays = plan.band.delays([plan.dm])[0, self._channels]
        if can_tell_impulses(delays, width * plan.tsamp + plan.band.smearing(plan.dm)):
            self._silent |= find_impulses(self._data, columns, self._noise, self._series())

    def rows(self) -> Iterator[tuple[Ints, Floats]]:
        """Yield groups of channels: their numbers, and their cleaned samples, shape (n, count)."""
        settings, reach = self._settings, self._never_outlying
        random = np.random.default_rng(len(self._data))  # reproducible
        for begin in range(0, len(self._channels), _AT_A_TIME):
            numbers = np.arange(begin, min(begin + _AT_A_TIME, len(self._channels)))
            rows = channel_rows(self._data, self._columns[numbers])
            if self._data.dtype.kind == "f":
                usable = replace_missing(rows)
                numbers, rows = numbers[usable], rows[usable]
            left = mend(rows, self._highest, self._unusable, self._cuts, reach, random)
            numbers, rows = numbers[left], rows[left]
            if self._times is not None:
                replace_times(rows, self._times)
            if settings.clean_type == "perchannel":
                replace_outliers(rows, settings.threshold_time, settings.n_iter_time)
            elif settings.clean_type == "isolated":
                replace_isolated(
                    rows,
                    numbers,
                    self._data,
                    self._columns,
                    self._noise,
                    self._shifts,
                    self._length,
                    settings.threshold_time,
                    settings.n_iter_time,
                    reach,
                )
            even_out_noise(rows, self._cuts, self._places[numbers], reach)
            yield self._channels[numbers], rows


def _closed(data: TimeMajor) -> TimeMajor:
    """Return a read-only view, so that functions are compiled for one type of array only."""
    data = data.view()
    data.setflags(write=False)
    return data
