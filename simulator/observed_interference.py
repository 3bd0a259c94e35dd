"""More kinds of synthetic interference: what files of telescopes show beside the common kinds.

As in `simulator.synthetic_interference`, every function adds a kind to data in units of the
channels' noise, in place, shape (n_channels, n_samples). Where a kind is from:

- ``aircraft``: distance measuring equipment and transponders (pairs of pulses of 3.5 us, 12 us
  apart, 960 to 1215 MHz) in the main beam for seconds: Fisher et al. 2005, AJ 129, 2940;
- ``chirped_radar``: linear sweeps, repeated, as radars with pulse compression send them;
- ``common_level``: all channels' level wanders together, as the sum over channels of a Parkes file
  of 4 bits does, whose deviation is 2.5 times that of independent channels;
- ``receiver_stops``: an ASKAP file has data for ten samples, and zeros until its end;
- ``repeated_blocks``: a recorder that lost a packet writes the buffer's old content again;
- ``unstable_channels``: a VLA and a Parkes file have channels of a kurtosis of 30 to 200, and
  others whose noise changes from block to block.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from simulator.synthetic_interference import (
    NO_DATA,
    Floats,
    Interference,
    Random,
    add_impulse,
    log_uniform,
    some_channels,
    spectrum_of,
)


def aircraft(rows: Floats, tsamp: float, rng: Random) -> None:
    """Pairs of strong pulses in a few channels, for as long as an aeroplane is in the beam."""
    n_samples = rows.shape[1]
    time = np.arange(n_samples)
    for _ in range(rng.integers(1, 4)):
        some = some_channels(rows, rng, 0.005, 0.25)
        lasting = log_uniform(rng, 0.05, 3) / tsamp
        beam = np.exp(-0.5 * ((time - rng.uniform(0, n_samples)) / lasting) ** 2)
        # Of a pulse that is shorter than a sample, a sample holds as many as there are.
        per_sample = log_uniform(rng, 30, 3000) * tsamp
        pulses = rng.poisson(per_sample, n_samples) * rng.exponential(1.0, n_samples)
        strength = log_uniform(rng, 1, 50) / max(1.0, np.sqrt(per_sample))
        rows[some] += (strength * beam * pulses).astype(np.float32)


def chirped_radar(rows: Floats, tsamp: float, rng: Random) -> None:
    """Short sweeps through a part of the band, at regular times, up or down."""
    n_samples = rows.shape[1]
    some = some_channels(rows, rng, 0.1, 1.0)
    crossing = log_uniform(rng, 1e-3, 0.1) / tsamp * rng.choice([-1, 1])
    length = max(1, round(abs(crossing) * log_uniform(rng, 0.05, 1)))
    period = max(2.0 * (length + abs(crossing)), log_uniform(rng, 0.02, 1.0) / tsamp)
    shape = np.full(length, log_uniform(rng, 0.3, 5), dtype=np.float32)
    late = crossing * np.linspace(-0.5, 0.5, some.stop - some.start)
    flat = np.ones(1, dtype=np.float32)
    for begin in np.arange(-period * rng.random(), n_samples, period):
        for channel, delay in enumerate(late.tolist()):
            at = some.start + channel
            add_impulse(rows[at : at + 1], int(begin + delay), shape, flat)


def common_level(rows: Floats, tsamp: float, rng: Random) -> None:
    """The level of all channels wanders together, as a random walk that comes back."""
    n_samples = rows.shape[1]
    memory = log_uniform(rng, 1e-3, 1.0) / tsamp
    knots = max(3, int(n_samples / max(1.0, memory / 4)))
    walk = np.convolve(rng.standard_t(4, knots + 15), np.exp(-np.arange(16) / 4), mode="valid")
    series = np.interp(np.linspace(0, 1, n_samples), np.linspace(0, 1, knots), walk / walk.std())
    # In units of the noise of the sum over channels.
    strength = log_uniform(rng, 0.5, 10) / np.sqrt(len(rows))
    rows += (strength * spectrum_of(len(rows), rng))[:, np.newaxis] * series.astype(np.float32)


def receiver_stops(rows: Floats, tsamp: float, rng: Random) -> None:
    """Nothing from some time on, or until then, with a level that settles before or after."""
    n_samples = rows.shape[1]
    place = int(n_samples * rng.uniform(0.05, 0.95))
    settling = max(1, round(log_uniform(rng, 1e-3, 0.3) / tsamp))
    level = np.float32(rng.choice([-1.0, 1.0]) * log_uniform(rng, 0.1, 5))
    after = np.exp(-np.arange(4 * settling) / settling).astype(np.float32)
    spectrum = level * spectrum_of(len(rows), rng)
    if rng.random() < 0.5:
        add_impulse(rows, place - len(after), after[::-1].copy(), spectrum)
        rows[:, place:] = NO_DATA
    else:
        add_impulse(rows, place, after, spectrum)
        rows[:, :place] = NO_DATA


def repeated_blocks(rows: Floats, tsamp: float, rng: Random) -> None:
    """Blocks that are those before, of all channels or some; one of them has an impulse."""
    n_samples = rows.shape[1]
    length = int(np.clip(round(log_uniform(rng, 5e-4, 0.05) / tsamp), 1, n_samples // 4))
    shape = np.full(max(1, length // int(rng.integers(1, 8))), 1.0, dtype=np.float32)
    for _ in range(rng.integers(2, 10)):
        some = slice(None) if rng.random() < 0.5 else some_channels(rows, rng, 0.1, 0.7)
        begin = int(rng.integers(length, n_samples - length))
        if rng.random() < 0.5:
            at = begin - length + int(rng.integers(0, length))
            strength = np.float32(log_uniform(rng, 0.1, 2))
            add_impulse(rows[some], at, shape, strength * spectrum_of(len(rows[some]), rng))
        rows[some, begin : begin + length] = rows[some, begin - length : begin].copy()


def unstable_channels(rows: Floats, tsamp: float, rng: Random) -> None:
    """Channels whose noise changes from block to block, or has rare large values."""
    n_samples = rows.shape[1]
    for _ in range(rng.integers(1, 8)):
        some = some_channels(rows, rng, 0.003, 0.1)
        if rng.random() < 0.5:
            block = max(2, round(log_uniform(rng, 2e-3, 0.3) / tsamp))
            gains = np.exp(rng.normal(0, 0.7, n_samples // block + 1))
            rows[some] *= np.repeat(gains, block)[:n_samples].astype(np.float32)
        else:
            rare = rng.random(n_samples) < log_uniform(rng, 1e-4, 0.05)
            values = log_uniform(rng, 3, 60) * rng.exponential(1.0, n_samples)
            rows[some] += np.where(rare, values, 0.0).astype(np.float32)


#: By name.
OBSERVED_KINDS: Mapping[str, Interference] = MappingProxyType(
    {
        function.__name__: function
        for function in (
            aircraft,
            chirped_radar,
            common_level,
            receiver_stops,
            repeated_blocks,
            unstable_channels,
        )
    }
)
