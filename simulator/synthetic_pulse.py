"""A synthetic dispersed pulse in filterbank data, for tests.

A pulse is constant in time, smeared within each channel and over each sample, and scattered: the
convolution of boxes of its width, of the smearing and of a sample, and an exponential. It is
computed exactly, independent of how the data are split into blocks.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from darc.config.records import Struct
from darc.science.compiled import compiled
from darc.science.dedispersion import Band
from darc.science.dispersion import DISPERSION_CONSTANT

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Smallest width (samples), as it is a divisor.
_LEAST = 1e-3

#: Scattering times after which a tail is cut off: a thousandth of it is left.
_TAIL = 7.0

#: Scattering goes with this power of the frequency.
_SCATTERING_INDEX = -4.0


class DispersedPulse(Struct, frozen=True, eq=False):
    """A pulse, in the samples of each channel that it covers.

    :param firsts: first of them, shape (n_channels,), the lowest frequency first
    :param shape: 1 in a sample that it fills, shape (n_channels, longest)
    """

    firsts: Ints
    shape: Floats


def dispersed_pulse(
    band: Band, tsamp: float, *, dm: float, width: float, arrival: float, scattering: float = 0.0
) -> DispersedPulse:
    """Return a pulse of constant height and flat spectrum.

    :param tsamp: s
    :param dm: pc cm-3
    :param width: samples, above 0
    :param arrival: of its front at the centre of the highest channel, samples
    :param scattering: time in which it falls to 1/e at the band's centre, samples
    """
    edges = band.frequencies[:, np.newaxis] + band.channel_width * np.array([0.5, -0.5])
    late = dm * DISPERSION_CONSTANT * (edges**-2 - band.f_reference**-2) / tsamp
    smearing = np.maximum(late[:, 1] - late[:, 0], _LEAST)
    tail = scattering * (band.frequencies / band.f_centre) ** _SCATTERING_INDEX
    fronts = arrival + late[:, 0]
    firsts = np.floor(fronts)
    longest = int(np.ceil(width + float((smearing + _TAIL * tail).max()))) + 2
    time = (firsts - fronts)[:, np.newaxis] + np.arange(1, longest + 1)
    total = np.zeros_like(time)
    for sign_width, by_width in ((1, 0.0), (-1, width)):
        for sign_smearing, by_smearing in ((1, np.zeros_like(smearing)), (-1, smearing)):
            for sign_sample, by_sample in ((1, 0.0), (-1, 1.0)):
                since = time - (by_width + by_sample) - by_smearing[:, np.newaxis]
                sign = sign_width * sign_smearing * sign_sample
                total += sign * _integrated(np.maximum(since, 0.0), tail[:, np.newaxis])
    shape = (total / smearing[:, np.newaxis]).astype(np.float32)
    return DispersedPulse(firsts.astype(np.int64), shape)


def _integrated(time: Doubles, tail: Doubles) -> Doubles:
    """Three steps of boxes, t^2 / 2, convolved with an exponential of unit area."""
    if not tail.any():
        return time**2 / 2
    return time**2 / 2 - tail * time - tail**2 * np.expm1(-time / tail)


def synthetic_pulse(
    band: Band,
    tsamp: float,
    *,
    dm: float,
    width: float,
    arrival: float,
    n_samples: int,
    scattering: float = 0.0,
) -> Floats:
    """Return a pulse as an array of data; see `dispersed_pulse`.

    :param arrival: samples since the first one's start
    :param n_samples: of the data it is for; what is outside of them is cut off
    :return: 1 in a sample and channel that it fills, the lowest frequency first, shape
        (n_channels, n_samples)
    """
    pulse = dispersed_pulse(band, tsamp, dm=dm, width=width, arrival=arrival, scattering=scattering)
    block = np.zeros((band.n_channels, n_samples), dtype=np.float32)
    everywhere = np.ones(band.n_channels, dtype=np.float32)
    add_pulse(block.T, 0, np.arange(band.n_channels), pulse.firsts, pulse.shape, everywhere)
    return block


@compiled
def add_pulse(
    block: Floats, begin: int, columns: Ints, firsts: Ints, shape: Floats, strengths: Floats
) -> None:
    """Add the part of a `DispersedPulse` within a block of data, in place.

    :param block: shape (n_samples, n_columns)
    :param begin: number of the block's first sample
    :param columns: where each of the pulse's channels is, shape (n_channels,)
    :param strengths: of the pulse in each channel, shape (n_channels,)
    """
    n_samples, longest = block.shape[0], shape.shape[1]
    for channel in range(firsts.size):
        strength, column = strengths[channel], columns[channel]
        ahead = firsts[channel] - begin
        if strength != 0:
            for place in range(max(0, -ahead), min(longest, n_samples - ahead)):
                block[ahead + place, column] += strength * shape[channel, place]


def dedispersed_profile(
    pulse: DispersedPulse, shifts: Ints, weights: Doubles
) -> tuple[int, Doubles]:
    """Return the sum of a pulse over channels.

    :param shifts: by which a channel is late, samples, shape (n_channels,)
    :param weights: of the channels, likewise
    :return: number of the profile's first sample, and the profile
    """
    starts = pulse.firsts - shifts
    first, longest = int(starts.min()), pulse.shape.shape[1]
    profile = np.zeros(int(starts.max()) - first + longest)
    for start, row, weight in zip((starts - first).tolist(), pulse.shape, weights, strict=True):
        profile[start : start + longest] += weight * row
    return first, profile


def ideal_boxcar(profile: Doubles) -> tuple[int, int, float]:
    """Return the boxcar with the highest S/N for a profile.

    :param profile: without noise, shape (n,)
    :return: its start and width (samples), and its S/N in noise of 1
    """
    sums = np.concatenate(([0.0], np.cumsum(profile)))
    best = (0, 1, -np.inf)
    for width in range(1, len(profile) + 1):
        seen = (sums[width:] - sums[:-width]) / np.sqrt(width)
        start = int(seen.argmax())
        if seen[start] > best[2]:
            best = (start, width, float(seen[start]))
    return best
