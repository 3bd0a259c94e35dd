"""Folding: samples are added to phase bins of a pulsar's period, with each channel's delay.

The data are not shifted: a sample's phase is that of its time less the turns of its channel's
dispersion delay. So data can be processed in blocks, without memory of earlier ones.

Profiles are sums in units of a channel's standard deviation, with the number of samples in each: a
sum over the square root of its count has variance 1 where there is no pulse.
"""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
from numpy.polynomial import Chebyshev

from darc.config.records import Struct, replace
from darc.science.arrays import Doubles, Floats, Ints, Mask, TimeMajor
from darc.science.compiled import compiled
from darc.science.downsample import channel_groups

#: Phases are integers, in units of 2^-_BITS turns.
_BITS = 20
_TURN = 1 << _BITS
_MASK = _TURN - 1

#: Channels are excluded if their log variance deviates by this many robust standard deviations from
#: that of their neighbours.
_OUTLYING = 6.0
#: Number of neighbours that a channel is compared with, on both sides together.
_NEIGHBOURS = 32
#: Smaller differences of variance are ignored (relative).
_HARMLESS = 0.1


class PhaseModel(Struct, frozen=True):
    """Rotational phase of a pulsar at the telescope.

    :param base: turns as a function of time since the first sample (s)
    :param df: correction of the frequency, Hz
    :param dfdot: correction of the frequency derivative, Hz/s
    :param reference: time at which the corrections add no turns, s
    """

    base: Chebyshev
    df: float = 0.0
    dfdot: float = 0.0
    reference: float = 0.0

    @classmethod
    def constant(cls, frequency: float) -> PhaseModel:
        """Return the model of a constant frequency.

        :param frequency: Hz
        """
        return cls(Chebyshev([0.0, frequency], domain=[-1, 1], window=[-1, 1]))

    def turns(self, times: npt.ArrayLike) -> Doubles:
        """Return the turns since the first sample: base + df t + dfdot t^2 / 2, t from `reference`.

        :param times: s since the first sample
        :return: turns, shape of `times`
        """
        since = np.asarray(times, dtype=np.float64)
        base: Doubles = self.base(since)
        past = since - self.reference
        return base + self.df * past + self.dfdot / 2 * past**2

    def frequency(self, time: float) -> float:
        """Return the rotation frequency, Hz.

        :param time: s since the first sample
        """
        return float(self.base.deriv()(time)) + self.df + self.dfdot * (time - self.reference)

    def frequency_derivative(self) -> float:
        """Return the derivative of the rotation frequency at the first sample, Hz/s."""
        return float(self.base.deriv(2)(0.0)) + self.dfdot

    def corrected(self, df: float, dfdot: float, reference: float) -> PhaseModel:
        """Return the model with a further correction, which adds no turns at its reference time.

        Earlier corrections are expressed at the new reference time, without their constant phase.

        :param df: Hz
        :param dfdot: Hz/s
        :param reference: s
        """
        if self.df or self.dfdot:
            # At the new reference time, less a constant phase.
            shift = reference - self.reference
            df, dfdot = df + self.df + self.dfdot * shift, dfdot + self.dfdot
        return replace(self, df=df, dfdot=dfdot, reference=reference)


@compiled
def add_folded(
    data: TimeMajor,
    phases: Ints,
    offsets: Ints,
    sums: Doubles,
    counts: Ints,
    squares: Doubles,
) -> None:
    """Add samples to phase bins, in place; values that are not finite are ignored.

    :param data: shape (n_samples, n_channels)
    :param phases: phase of each sample, units of 2^-20 turns, shape (n_samples,)
    :param offsets: subtracted from the phases for each channel, same units, shape (n_channels,)
    :param sums: shape (n_channels, n_bins)
    :param counts: number of samples in each bin, shape (n_channels, n_bins)
    :param squares: sum of squares of each channel, shape (n_channels,)
    """
    n_samples, n_channels = data.shape
    n_bins = sums.shape[1]
    for sample in range(n_samples):
        phase = phases[sample]
        for channel in range(n_channels):
            value = np.float64(data[sample, channel])
            if np.isfinite(value):
                place = (((phase - offsets[channel]) & _MASK) * n_bins) >> _BITS
                sums[channel, place] += value
                counts[channel, place] += 1
                squares[channel] += value * value


@compiled
def add_in_turns(
    data: TimeMajor,
    bins: Doubles,
    offsets: Doubles,
    channels: Doubles,
    sums: Doubles,
    counts: Doubles,
) -> None:
    """Add dedispersed samples to time bins that are fractions of turns, in place.

    :param data: shape (n_samples, n_channels); values that are not finite are ignored
    :param bins: bin of each sample, shape (n_samples,); samples outside all bins are ignored
    :param offsets: subtracted from the bins for each channel, bins, shape (n_channels,)
    :param channels: see `Folded`
    :param sums: shape (n_bins,)
    :param counts: number of samples in each bin, shape (n_bins,)
    """
    n_samples, n_channels = data.shape
    for sample in range(n_samples):
        at = bins[sample]
        for channel in range(n_channels):
            weight = channels[1, channel]
            place = int(np.floor(at - offsets[channel]))
            if weight > 0 and 0 <= place < sums.size:
                value = (np.float64(data[sample, channel]) - channels[0, channel]) * weight
                if np.isfinite(value):
                    sums[place] += value
                    counts[place] += 1


class Folded(Struct, frozen=True, eq=False):
    """Folded observation.

    :param sums: in standard deviations, shape (n_subints, n_subbands, n_bins), the lowest frequency
        first
    :param counts: number of samples in each sum, same shape
    :param times: middles of the sub-integrations, s since the first sample, shape (n_subints,)
    :param frequencies: centres of the subbands, MHz, shape (n_subbands,)
    :param part_used: fraction of channels and sub-integrations used, 0 to 1
    :param channels: mean of each channel in the data's order, and the factor to a variance of 1, 0
        for an excluded channel, shape (2, n_channels)
    """

    sums: Floats
    counts: Floats
    times: Doubles
    frequencies: Doubles
    part_used: float
    channels: Doubles

    @property
    def by_time(self) -> tuple[Doubles, Doubles]:
        """Sums and counts over the band, shape (n_subints, n_bins) each."""
        return self.sums.sum(axis=1, dtype=np.float64), self.counts.sum(axis=1, dtype=np.float64)

    def turned(self, turns: Doubles) -> Folded:
        """Return the data with the sub-integrations' profiles rotated to later phases.

        :param turns: rotations, shape (n_subints,)
        """
        sums = rotate(self.sums, turns[:, np.newaxis]).astype(np.float32)
        return replace(self, sums=sums)


def rotate(profiles: npt.ArrayLike, turns: npt.ArrayLike) -> Doubles:
    """Rotate profiles to later phases, also by fractions of a bin (Fourier shift theorem).

    :param profiles: shape (..., n_bins)
    :param turns: rotations, broadcast to the shape of the profiles without the last axis
    """
    array = np.asarray(profiles, dtype=np.float64)
    n_bins = array.shape[-1]
    spectrum = np.fft.rfft(array)
    harmonics = np.arange(spectrum.shape[-1])
    angle = -2j * np.pi * harmonics * np.asarray(turns, dtype=np.float64)[..., np.newaxis]
    return np.fft.irfft(spectrum * np.exp(angle), n_bins)


def usable_channels(means: Doubles, variances: Doubles) -> Mask:
    """Return a mask of channels that are neither dead nor full of interference, by their variance.

    :param means: shape (n_channels,), in order of frequency
    :param variances: shape (n_channels,)
    """
    alive = np.isfinite(means) & np.isfinite(variances) & (variances > 0)
    if alive.sum() < _NEIGHBOURS // 4:
        return alive
    logs = np.where(alive, np.log(np.where(alive, variances, 1.0)), np.nan)
    around = np.full(len(logs), np.nanmedian(logs))
    if len(logs) > _NEIGHBOURS:
        padded = np.pad(logs, _NEIGHBOURS // 2, mode="reflect")
        windows = np.lib.stride_tricks.sliding_window_view(padded, _NEIGHBOURS + 1)
        known = np.isfinite(windows).any(axis=1)
        around[known] = np.nanmedian(windows[known], axis=1)
    residuals = np.where(alive, logs - around, 0.0)
    spread = 1.4826 * np.median(np.abs(residuals[alive]))
    good: Mask = alive & (np.abs(residuals) <= max(_OUTLYING * spread, _HARMLESS))
    return good


class Folder:
    """Folding of data in blocks.

    :param delays: dispersion delays of the channels, in the data's order, s, shape (n_channels,)
    :param frequencies: frequencies of the channels, in the data's order, MHz, shape (n_channels,)
    :param n_bins: number of phase bins
    :param n_subbands: number of subbands, limited to the number of channels
    :raises ValueError: `n_bins` or `n_subbands` is less than 1
    """

    def __init__(
        self, model: PhaseModel, delays: Doubles, frequencies: Doubles, n_bins: int, n_subbands: int
    ) -> None:
        if n_bins < 1 or n_subbands < 1:
            raise ValueError(f"{n_bins} bins, {n_subbands} subbands")
        n_channels = len(delays)
        self._model = model
        self._delays = delays
        self._frequencies = frequencies
        self._n_subbands = min(n_subbands, n_channels)
        self._sums = np.zeros((n_channels, n_bins))
        self._counts = np.zeros((n_channels, n_bins), np.int64)
        self._squares = np.zeros(n_channels)
        self._whole = np.zeros((3, n_channels))
        self._span: tuple[float, float] | None = None
        self._done: list[tuple[Floats, Floats, float, float]] = []

    def add(self, data: TimeMajor, times: Doubles) -> None:
        """Add samples to the current sub-integration.

        :param data: shape (n_samples, n_channels)
        :param times: middles of the samples, s since the very first sample, shape (n_samples,)
        """
        turns = self._model.turns(times)
        phases = np.floor((turns - np.floor(turns)) * _TURN).astype(np.int64)
        # The change of the period within a block moves a channel's delay by much less than a bin.
        frequency = self._model.frequency(float(times[len(times) // 2]))
        offsets = np.rint(self._delays * frequency * _TURN).astype(np.int64) & _MASK
        add_folded(data, phases, offsets, self._sums, self._counts, self._squares)
        begin = float(times[0]) if self._span is None else self._span[0]
        self._span = begin, float(times[-1])

    def close_subint(self) -> None:
        """Finish the current sub-integration, if it has data."""
        if self._span is None:
            return
        seen = np.stack([self._counts.sum(axis=1), self._sums.sum(axis=1), self._squares])
        self._whole += seen
        order = np.argsort(self._frequencies, kind="stable")
        means, scale = _scales(seen, order)
        good = scale > 0
        sums = (self._sums - means[:, np.newaxis] * self._counts) * scale[:, np.newaxis]
        counts = self._counts * good[:, np.newaxis]
        starts = channel_groups(len(means), self._n_subbands)[:-1]
        self._done.append(
            (
                np.add.reduceat(sums[order], starts).astype(np.float32),
                np.add.reduceat(counts[order], starts).astype(np.float32),
                (self._span[0] + self._span[1]) / 2,
                float(good.mean()),
            )
        )
        self._sums[:] = 0
        self._counts[:] = 0
        self._squares[:] = 0
        self._span = None

    def result(self) -> Folded:
        """Return the folded data, including the current sub-integration.

        :raises ValueError: no data were added
        """
        self.close_subint()
        if not self._done:
            raise ValueError("no data to fold")
        sums, counts, times, used = zip(*self._done, strict=True)
        starts = channel_groups(len(self._frequencies), self._n_subbands)
        ordered = np.sort(self._frequencies)
        centres = [ordered[a:b].mean() for a, b in itertools.pairwise(starts)]
        return Folded(
            np.stack(sums),
            np.stack(counts),
            np.array(times),
            np.array(centres),
            float(np.mean(used)),
            np.stack(_scales(self._whole, np.argsort(self._frequencies, kind="stable"))),
        )


def _scales(seen: Doubles, order: Ints) -> tuple[Doubles, Doubles]:
    """Return the means of channels and the factors to a variance of 1; 0: not usable.

    :param seen: number, sum, and sum of squares of the samples, shape (3, n_channels)
    :param order: order of the channels by frequency
    """
    count = np.maximum(seen[0], 1)
    means = seen[1] / count
    variances = np.where(seen[0] > 0, seen[2] / count - means**2, 0.0)
    good = np.empty(len(means), bool)
    good[order] = usable_channels(means[order], variances[order])
    return means, np.where(good, 1 / np.sqrt(np.where(good, variances, 1.0)), 0.0)
