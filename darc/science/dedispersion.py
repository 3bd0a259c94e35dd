"""Incoherent dedispersion: channels are shifted by their dispersion delays and summed.

Rows are channels, the lowest frequency first, each with its samples in time. Only the requested
samples are computed, for all trial DMs while a channel is in the processor's cache: at a DM of 1000
pc cm-3, the 64 bins of a candidate are a twentieth of the window that their dispersion needs, and
summing them for 64 trials takes a fifteenth of the time of an extraction. Therefore every trial is
summed directly, without the errors of algorithms that share sums between trials.

Shifts do not wrap around: samples outside the data are left out, and `coverage` returns how much of
the band contributes to each sample.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from darc.config.records import Struct
from darc.model.arrival import reference_frequency
from darc.science.arrays import Doubles, Floats, Ints
from darc.science.compiled import compiled
from darc.science.dispersion import DISPERSION_CONSTANT

#: Limit of shifts, beyond the length of any data; it avoids integer overflow.
_NEVER = 2.0**40

#: Tolerance for rounding errors, relative to the sum of all weights.
_ROUNDING = 1e-9


class Band(Struct, frozen=True):
    """Frequency band of channels of equal width.

    :param f_lowest: centre of the lowest channel, MHz
    :param channel_width: MHz
    """

    f_lowest: float
    channel_width: float
    n_channels: int

    @property
    def frequencies(self) -> Doubles:
        """Centres of the channels, the lowest first, shape (n_channels,), MHz."""
        return self.f_lowest + self.channel_width * np.arange(self.n_channels, dtype=np.float64)

    @property
    def f_centre(self) -> float:
        """Centre of the band (MHz)."""
        return self.f_lowest + self.channel_width * (self.n_channels - 1) / 2

    @property
    def f_low(self) -> float:
        """Lower edge of the band (MHz)."""
        return self.f_lowest - self.channel_width / 2

    @property
    def f_high(self) -> float:
        """Upper edge of the band (MHz)."""
        return self.f_lowest + self.channel_width * (self.n_channels - 0.5)

    @property
    def f_reference(self) -> float:
        """Centre of the highest channel, to which arrival times refer (MHz)."""
        return reference_frequency(self.f_lowest, self.channel_width, self.n_channels)

    def delays(self, dms: npt.ArrayLike) -> Doubles:
        """Return the delays of the channels' centres relative to the highest channel.

        DISPERSION_CONSTANT * dm * (f^-2 - f_reference^-2), with f in MHz.

        :param dms: pc cm-3, shape (n_dms,)
        :return: s, shape (n_dms, n_channels)
        """
        per_dm = DISPERSION_CONSTANT * (self.frequencies**-2 - self.f_reference**-2)
        return np.asarray(dms, dtype=np.float64)[:, np.newaxis] * per_dm

    def shifts(self, dms: npt.ArrayLike, tsamp: float) -> Ints:
        """Return the delays rounded to the nearest sample.

        :param dms: pc cm-3, shape (n_dms,)
        :param tsamp: s
        :return: samples, shape (n_dms, n_channels)
        """
        return np.rint(np.minimum(self.delays(dms) / tsamp, _NEVER)).astype(np.int64)

    def smearing(self, dm: float) -> float:
        """Return the intra-channel dispersion smearing at the centre of the band (s).

        2 * DISPERSION_CONSTANT * dm * channel_width / f_centre^3.

        :param dm: pc cm-3
        """
        return 2 * DISPERSION_CONSTANT * dm * self.channel_width / self.f_centre**3

    def channel_smearing(self, dm: float) -> Doubles:
        """Return the intra-channel dispersion smearing of each channel, s, shape (n_channels,).

        :param dm: pc cm-3
        """
        per_dm = 2 * DISPERSION_CONSTANT * self.channel_width / self.frequencies**3
        return np.asarray(dm * per_dm)


@compiled
def add_dedispersed(rows: Floats, shifts: Ints, series: Floats) -> None:
    """Add shifted channels to the sums of several trial DMs, in place.

    Sample t of a trial's sum receives sample t + shift of each channel, where that exists.

    :param rows: shape (n, m)
    :param shifts: samples, shape (n_dms, n)
    :param series: sums, shape (n_dms, n_out)
    """
    n_dms, n_out = series.shape
    length = rows.shape[1]
    for channel in range(rows.shape[0]):
        row = rows[channel]
        for trial in range(n_dms):
            shift = shifts[trial, channel]
            first, end = max(0, -shift), min(n_out, length - shift)
            if first < end:
                out, there = series[trial, first:end], row[first + shift : end + shift]
                for place in range(end - first):
                    out[place] += there[place]


@compiled
def add_binned(
    rows: Floats,
    shifts: Ints,
    factor: int,
    sums: Doubles,
    counts: Ints,
) -> None:
    """Add shifted channels to bins in time, separately for each channel, in place.

    :param rows: shape (n, m)
    :param shifts: samples, shape (n,)
    :param factor: samples in a bin
    :param sums: shape (n, n_bins)
    :param counts: number of samples in each sum, shape (n, n_bins)
    """
    length = rows.shape[1]
    for channel in range(rows.shape[0]):
        shift = shifts[channel]
        for place in range(sums.shape[1]):
            first = max(0, place * factor + shift)
            end = min(length, (place + 1) * factor + shift)
            if first < end:
                total = np.float32(0)
                for part in range(first, end):
                    total += rows[channel, part]
                sums[channel, place] += total
                counts[channel, place] += end - first


def coverage(shifts: Ints, weights: Doubles, length: int, n_out: int) -> Doubles:
    """Return the sum of the weights of the channels that contribute to each dedispersed sample.

    :param shifts: samples, shape (n_dms, n)
    :param weights: weights of the channels, shape (n,)
    :param length: length of the channels, samples
    :param n_out: number of dedispersed samples
    :return: shape (n_dms, n_out)
    """
    first = np.clip(-shifts, 0, n_out)
    end = np.clip(length - shifts, first, n_out)
    if not first.any() and (end == n_out).all():
        return np.full((len(shifts), n_out), weights.sum())
    # Each channel contributes from one sample to another.
    n_dms, n_places = len(shifts), n_out + 1
    trials = np.arange(n_dms)[:, np.newaxis] * n_places
    spread = np.broadcast_to(weights, shifts.shape).ravel()
    coming = np.bincount((trials + first).ravel(), spread, n_dms * n_places)
    going = np.bincount((trials + end).ravel(), spread, n_dms * n_places)
    changes = (coming - going).reshape(n_dms, n_places)
    # A small remainder is a rounding error, not a weight.
    total = np.cumsum(changes, axis=1)[:, :n_out]
    return np.where(total > _ROUNDING * weights.sum(), total, 0.0)
