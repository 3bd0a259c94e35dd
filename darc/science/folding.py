"""Folding: samples are added to phase bins of a pulsar's period, each channel at its own delay.

Nothing is shifted before: a sample's phase is that of its moment less the turns of its channel's
dispersion delay, so that data can come in pieces and no memory of earlier ones is needed.

What is kept are sums in units of a channel's standard deviation, and how many samples are in each:
a sum over the root of its count is noise of variance 1 where there is no pulse.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from numpy.polynomial import Chebyshev

from darc.science.compiled import compiled
from darc.science.downsample import channel_groups
from darc.science.moments import Moments

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

#: Phases are counted in parts of a turn, so many bits.
_BITS = 20
_TURN = 1 << _BITS
_MASK = _TURN - 1

#: A channel is left out whose variance is so many robust standard deviations from its neighbours'.
_OUTLYING = 6.0
#: Neighbours that a channel is compared with, on both sides together.
_NEIGHBOURS = 32
#: Smaller differences of variance are no interference (part of the variance).
_HARMLESS = 0.1


@dataclass(frozen=True, slots=True)
class PhaseModel:
    """Rotations of a pulsar as the telescope sees them.

    :param base: turns at a time since the first sample (s)
    :param df: Hz, added to it; likewise dfdot, Hz/s
    :param reference: the time at which these two add no turns, s
    """

    base: Chebyshev
    df: float = 0.0
    dfdot: float = 0.0
    reference: float = 0.0

    @classmethod
    def constant(cls, frequency: float) -> PhaseModel:
        """A frequency (Hz) that does not change."""
        return cls(Chebyshev([0.0, frequency], domain=[-1, 1], window=[-1, 1]))

    def turns(self, times: npt.ArrayLike) -> Doubles:
        """Turns since the first sample.

        :param times: s since the first sample
        """
        since = np.asarray(times, dtype=np.float64)
        base: Doubles = self.base(since)
        past = since - self.reference
        return base + self.df * past + self.dfdot / 2 * past**2

    def frequency(self, time: float) -> float:
        """Hz, at a time since the first sample (s)."""
        return float(self.base.deriv()(time)) + self.df + self.dfdot * (time - self.reference)

    def frequency_derivative(self, time: float) -> float:
        """Hz/s, at a time since the first sample (s)."""
        return float(self.base.deriv(2)(time)) + self.dfdot

    def corrected(self, df: float, dfdot: float, reference: float) -> PhaseModel:
        """The same with a correction that adds no turns at a time; one alone at a time.

        :param df: Hz, dfdot: Hz/s
        :param reference: s
        """
        if self.df or self.dfdot:
            # In terms of the new reference, less turns that are the same at all times.
            shift = reference - self.reference
            df, dfdot = df + self.df + self.dfdot * shift, dfdot + self.dfdot
        return replace(self, df=df, dfdot=dfdot, reference=reference)


@compiled
def add_folded(
    data: Moments,
    phases: Integers,
    offsets: Integers,
    sums: Doubles,
    counts: Integers,
    squares: Doubles,
) -> None:
    """Add samples to phase bins, in place; what is no finite number is left out.

    :param data: shape (n_samples, n_channels)
    :param phases: of each sample, parts of a turn, shape (n_samples,)
    :param offsets: subtracted from them for each channel, likewise, shape (n_channels,)
    :param sums: shape (n_channels, n_bins); likewise counts
    :param squares: of the samples, summed for each channel, shape (n_channels,)
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
    data: Moments,
    bins: Doubles,
    offsets: Doubles,
    channels: Doubles,
    sums: Doubles,
    counts: Doubles,
) -> None:
    """Add dedispersed samples to bins in time that are parts of turns, in place.

    :param data: shape (n_samples, n_channels); what is no finite number is left out
    :param bins: in which each sample is, shape (n_samples,); what is in none is left out
    :param offsets: subtracted from them for each channel, shape (n_channels,)
    :param channels: see `Folded`
    :param sums: shape (n_bins,); likewise counts
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


@dataclass(frozen=True, slots=True, eq=False)
class Folded:
    """A folded observation.

    :param sums: in standard deviations, shape (n_subints, n_subbands, n_bins), the lowest
        frequency first
    :param counts: samples in each, likewise
    :param times: middles of the sub-integrations, s since the first sample, shape (n_subints,)
    :param frequencies: centres of the subbands, MHz, shape (n_subbands,)
    :param part_used: of all channels and sub-integrations, 0 to 1
    :param channels: means over everything of the channels in the data's order, and what they are
        to be multiplied with for a variance of 1, 0 for one that is left out, shape (2, n_channels)
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
        """With the sub-integrations' profiles moved to later phases.

        :param turns: for each, shape (n_subints,)
        """
        sums = rotate(self.sums, turns[:, np.newaxis]).astype(np.float32)
        return replace(self, sums=sums)

    def shifted(self, turns: Doubles) -> Folded:
        """Likewise for the subbands' profiles, shape (n_subbands,)."""
        return replace(self, sums=rotate(self.sums, turns[np.newaxis]).astype(np.float32))


def rotate(profiles: npt.ArrayLike, turns: npt.ArrayLike) -> Doubles:
    """Move profiles to later phases, also by parts of a bin.

    :param profiles: shape (..., n_bins)
    :param turns: shape as of the profiles without the last axis, or one that fits
    """
    array = np.asarray(profiles, dtype=np.float64)
    n_bins = array.shape[-1]
    spectrum = np.fft.rfft(array)
    harmonics = np.arange(spectrum.shape[-1])
    angle = -2j * np.pi * harmonics * np.asarray(turns, dtype=np.float64)[..., np.newaxis]
    return np.fft.irfft(spectrum * np.exp(angle), n_bins)


def usable_channels(means: Doubles, variances: Doubles) -> npt.NDArray[np.bool_]:
    """Channels that are neither dead nor full of interference, by their variance.

    :param means: shape (n_channels,), neighbours side by side; likewise variances
    """
    alive = np.isfinite(means) & np.isfinite(variances) & (variances > 0)
    if alive.sum() < _NEIGHBOURS // 4:
        return alive
    logs = np.where(alive, np.log(np.where(alive, variances, 1.0)), np.nan)
    padded = np.pad(logs, _NEIGHBOURS // 2, mode="reflect") if len(logs) > _NEIGHBOURS else None
    if padded is None:
        around = np.full(len(logs), np.nanmedian(logs))
    else:
        windows = np.lib.stride_tricks.sliding_window_view(padded, _NEIGHBOURS + 1)
        known = np.isfinite(windows).any(axis=1)
        around = np.full(len(logs), np.nanmedian(logs))
        around[known] = np.nanmedian(windows[known], axis=1)
    residuals = np.where(alive, logs - around, 0.0)
    spread = 1.4826 * np.median(np.abs(residuals[alive]))
    good: npt.NDArray[np.bool_] = alive & (np.abs(residuals) <= max(_OUTLYING * spread, _HARMLESS))
    return good


@dataclass(slots=True, eq=False)
class Folder:
    """Folds data that come in pieces.

    :param model: of the rotations
    :param delays: of the channels, in the data's order, s, shape (n_channels,)
    :param frequencies: of the channels, likewise, MHz
    :param n_subbands: to which channels are added; not more than there are
    :raises ValueError: a number is not at least 1
    """

    model: PhaseModel
    delays: Doubles
    frequencies: Doubles
    n_bins: int
    n_subbands: int
    _sums: Doubles = field(init=False, repr=False)
    _counts: Integers = field(init=False, repr=False)
    _squares: Doubles = field(init=False, repr=False)
    _span: tuple[float, float] | None = field(init=False, default=None)
    _done: list[tuple[Floats, Floats, float, float]] = field(init=False, default_factory=list)
    _whole: Doubles = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.n_bins < 1 or self.n_subbands < 1:
            raise ValueError(f"{self.n_bins} bins, {self.n_subbands} subbands")
        n_channels = len(self.delays)
        self.n_subbands = min(self.n_subbands, n_channels)
        self._sums = np.zeros((n_channels, self.n_bins))
        self._counts = np.zeros((n_channels, self.n_bins), np.int64)
        self._squares = np.zeros(n_channels)
        self._whole = np.zeros((3, n_channels))

    def add(self, data: Moments, times: Doubles) -> None:
        """Add samples to the sub-integration that is open.

        :param data: shape (n_samples, n_channels)
        :param times: middles of the samples, s since the first sample of all, shape (n_samples,)
        """
        turns = self.model.turns(times)
        phases = np.floor((turns - np.floor(turns)) * _TURN).astype(np.int64)
        # The period changes too little within a block to move a channel's delay by a bin.
        frequency = self.model.frequency(float(times[len(times) // 2]))
        offsets = np.rint(self.delays * frequency * _TURN).astype(np.int64) & _MASK
        add_folded(data, phases, offsets, self._sums, self._counts, self._squares)
        begin = float(times[0]) if self._span is None else self._span[0]
        self._span = begin, float(times[-1])

    def close_subint(self) -> None:
        """End the sub-integration that is open; nothing is made of one without data."""
        if self._span is None:
            return
        seen = np.stack([self._counts.sum(axis=1), self._sums.sum(axis=1), self._squares])
        self._whole += seen
        order = np.argsort(self.frequencies, kind="stable")
        means, scale = _scales(seen, order)
        good = scale > 0
        sums = (self._sums - means[:, np.newaxis] * self._counts) * scale[:, np.newaxis]
        counts = self._counts * good[:, np.newaxis]
        starts = channel_groups(len(means), self.n_subbands)[:-1]
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
        """What was folded.

        :raises ValueError: nothing was
        """
        self.close_subint()
        if not self._done:
            raise ValueError("no data to fold")
        sums, counts, times, used = zip(*self._done, strict=True)
        starts = channel_groups(len(self.frequencies), self.n_subbands)
        ordered = np.sort(self.frequencies)
        centres = [ordered[a:b].mean() for a, b in itertools.pairwise(starts)]
        return Folded(
            np.stack(sums),
            np.stack(counts),
            np.array(times),
            np.array(centres),
            float(np.mean(used)),
            np.stack(_scales(self._whole, np.argsort(self.frequencies, kind="stable"))),
        )


def _scales(seen: Doubles, order: Integers) -> tuple[Doubles, Doubles]:
    """Means of channels, and what makes their variance 1; 0: they are not usable.

    :param seen: numbers of samples, their sums, and sums of their squares, shape (3, n_channels)
    :param order: of the channels by frequency
    """
    count = np.maximum(seen[0], 1)
    means = seen[1] / count
    variances = np.where(seen[0] > 0, seen[2] / count - means**2, 0.0)
    good = np.empty(len(means), bool)
    good[order] = usable_channels(means[order], variances[order])
    return means, np.where(good, 1 / np.sqrt(np.where(good, variances, 1.0)), 0.0)
