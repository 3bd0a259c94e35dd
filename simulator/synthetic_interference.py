"""Synthetic radio-frequency interference, for training and tests.

Every function adds a kind of interference to data in units of the channels' noise, in place: rows
are channels in ascending frequency, shape (n_channels, n_samples). Strengths have wide ranges, so
that some of it is too weak to be found, and some is removed by cleaning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Random = np.random.Generator
Interference = Callable[[Floats, float, Random], None]

#: What a sample without data is set to, units of noise: 8-bit data end there.
NO_DATA = -100.0


def log_uniform(rng: Random, low: float, high: float) -> float:
    """Draw a number from a log-uniform distribution."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def some_channels(rows: Floats, rng: Random, low: float, high: float) -> slice:
    """Return neighbouring channels: a fraction of the band from `low` to `high`, at least one."""
    n_channels = len(rows)
    count = min(n_channels, max(1, round(n_channels * log_uniform(rng, low, high))))
    first = int(rng.integers(0, n_channels - count + 1))
    return slice(first, first + count)


def spectrum_of(n_channels: int, rng: Random) -> Floats:
    """Return strength by channel, 0 to 1: flat, sloping, part of the band, or uneven."""
    place = np.linspace(-1, 1, n_channels)
    match rng.integers(4):
        case 0:
            shape = np.ones(n_channels)
        case 1:
            shape = 0.5 + 0.5 * rng.uniform(-1, 1) * place
        case 2:
            shape = np.exp(-(((place - rng.uniform(-1, 1)) / rng.uniform(0.1, 0.7)) ** 2))
        case _:
            shape = rng.exponential(1.0, n_channels)
    return np.asarray(shape / shape.max(), dtype=np.float32)


def _shape(length: int, rng: Random) -> Floats:
    """Return strength by time over `length` samples: box, bell, decay, or noise."""
    time = (np.arange(length) + 0.5) / length
    match rng.integers(4):
        case 0:
            shape = np.ones(length)
        case 1:
            shape = np.exp(-((4 * (time - 0.5)) ** 2))
        case 2:
            shape = np.exp(-4 * time)
        case _:
            shape = rng.exponential(1.0, length)
    return np.asarray(shape / shape.max(), dtype=np.float32)


def add_impulse(rows: Floats, begin: int, shape: Floats, spectrum: Floats) -> None:
    """Add an undispersed signal; the part outside of the data is cut off."""
    first, end = max(0, begin), min(rows.shape[1], begin + len(shape))
    if first < end:
        rows[:, first:end] += spectrum[:, np.newaxis] * shape[first - begin : end - begin]


def narrow_band_steady(rows: Floats, tsamp: float, rng: Random) -> None:
    """Carriers: some channels are noisier than others all the time, and wander together."""
    n_samples = rows.shape[1]
    for _ in range(rng.integers(1, 6)):
        some = some_channels(rows, rng, 0.003, 0.2)
        rows[some] *= np.float32(log_uniform(rng, 1, 3))
        knots = max(3, int(n_samples * tsamp / log_uniform(rng, 3e-3, 0.1)))
        wander = np.interp(
            np.linspace(0, 1, n_samples), np.linspace(0, 1, knots), rng.standard_t(3, knots)
        )
        rows[some] += (log_uniform(rng, 0.5, 6) * wander).astype(np.float32)


def narrow_band_periodic(rows: Floats, tsamp: float, rng: Random) -> None:
    """Some channels are switched on and off regularly."""
    time = np.arange(rows.shape[1])
    for _ in range(rng.integers(1, 4)):
        some = some_channels(rows, rng, 0.003, 0.15)
        period = log_uniform(rng, 1e-3, 0.3) / tsamp
        on = (time / period + rng.random()) % 1 < rng.uniform(0.05, 0.6)
        rows[some] += np.float32(log_uniform(rng, 0.5, 10)) * on.astype(np.float32)


def narrow_band_bursts(rows: Floats, tsamp: float, rng: Random) -> None:
    """Some channels transmit now and then."""
    for _ in range(rng.integers(1, 20)):
        some = some_channels(rows, rng, 0.003, 0.15)
        length = max(1, round(log_uniform(rng, 3e-4, 0.05) / tsamp))
        begin = int(rng.integers(-length, rows.shape[1]))
        count = len(rows[some])
        strength = np.full(count, log_uniform(rng, 1, 20), dtype=np.float32)
        add_impulse(rows[some], begin, _shape(length, rng), strength)


def impulses(rows: Floats, tsamp: float, rng: Random) -> None:
    """Impulses at DM 0: lightning, electric fences, relays."""
    for _ in range(rng.integers(1, 6)):
        length = max(1, round(log_uniform(rng, 1e-4, 0.05) / tsamp))
        strength = np.float32(log_uniform(rng, 0.2, 8))
        begin = int(rng.integers(-length, rows.shape[1]))
        add_impulse(rows, begin, _shape(length, rng), strength * spectrum_of(len(rows), rng))


def radar(rows: Floats, tsamp: float, rng: Random) -> None:
    """Impulses at DM 0 at regular times, in a part of the band."""
    length = max(1, round(log_uniform(rng, 3e-4, 0.02) / tsamp))
    period = max(2.0 * length, log_uniform(rng, 2e-3, 0.5) / tsamp)
    shape, strength = _shape(length, rng), log_uniform(rng, 0.2, 4)
    spectrum = np.float32(strength) * spectrum_of(len(rows), rng)
    for begin in np.arange(-period * rng.random(), rows.shape[1], period):
        add_impulse(rows, int(begin), shape, spectrum)


def sweeps(rows: Floats, tsamp: float, rng: Random) -> None:
    """Signals whose frequency changes, up or down, but not as by dispersion.

    A straight line down differs from dispersion by 8 % of its length at most; where that is less
    than twice the signal's duration, it goes up.
    """
    n_channels, n_samples = rows.shape
    for _ in range(rng.integers(1, 4)):
        some = some_channels(rows, rng, 0.2, 1.0)
        shape = _shape(max(1, round(log_uniform(rng, 3e-4, 0.02) / tsamp)), rng)
        crossing = log_uniform(rng, 0.03, 2.0) / tsamp  # samples to cross the band
        place = np.linspace(0, 1, n_channels) ** rng.choice([1.0, 1.0, 0.5, 2.0])
        up = rng.random() < 0.5 or 0.08 * crossing < 2 * len(shape)
        late = (1 if up else -1) * crossing * place
        begin = rng.uniform(0, n_samples) - late[(some.start + some.stop) // 2]
        strength = np.full(1, log_uniform(rng, 0.3, 5), dtype=np.float32)
        for channel in range(some.start, some.stop):
            at = int(begin + late[channel])
            add_impulse(rows[channel : channel + 1], at, shape, strength)


def baseline(rows: Floats, tsamp: float, rng: Random) -> None:
    """The level jumps, or swings, in all channels or many."""
    n_samples = rows.shape[1]
    time = np.arange(n_samples)
    some = some_channels(rows, rng, 0.3, 1.0)
    spectrum = np.float32(log_uniform(rng, 0.1, 2)) * spectrum_of(len(rows[some]), rng)
    change = np.zeros(n_samples)
    if rng.random() < 0.6:
        for _ in range(rng.integers(1, 4)):
            since = time - rng.uniform(0, n_samples)
            lasting = log_uniform(rng, 0.01, 10) / tsamp
            after = np.exp(-np.maximum(since, 0) / lasting) * (since > 0)
            change += rng.choice([-1.0, 1.0]) * after
    else:
        period = log_uniform(rng, 0.01, 0.6) / tsamp
        change = np.sin(2 * np.pi * (time / period + rng.random()))
    rows[some] += spectrum[:, np.newaxis] * change.astype(np.float32)


def dropouts(rows: Floats, tsamp: float, rng: Random) -> None:
    """Packets are lost: nothing for a while in all channels, or some; the level then settles."""
    for _ in range(rng.integers(1, 12)):
        some = slice(None) if rng.random() < 0.5 else some_channels(rows, rng, 0.05, 0.6)
        length = max(1, round(log_uniform(rng, 3e-4, 0.1) / tsamp))
        begin = int(rng.integers(0, rows.shape[1]))
        if rng.random() < 0.7:
            settling = max(1, round(log_uniform(rng, 3e-4, 0.05) / tsamp))
            after = np.exp(-np.arange(4 * settling) / settling).astype(np.float32)
            strength = rng.choice([-1.0, 1.0, 1.0]) * log_uniform(rng, 0.3, 4)
            level = np.full(len(rows[some]), strength, dtype=np.float32)
            add_impulse(rows[some], begin + length, after, level)
        rows[some, begin : begin + length] = NO_DATA


def saturation(rows: Floats, tsamp: float, rng: Random) -> None:
    """A transmitter beyond what the receiver takes: the data are full, then the level is off."""
    for _ in range(rng.integers(1, 4)):
        length = max(1, round(log_uniform(rng, 3e-4, 0.03) / tsamp))
        begin = int(rng.integers(-length, rows.shape[1]))
        spectrum = spectrum_of(len(rows), rng)
        recovery = max(1, round(log_uniform(rng, 1e-3, 0.2) / tsamp))
        after = np.exp(-np.arange(4 * recovery) / recovery).astype(np.float32)
        add_impulse(rows, begin, _shape(length, rng), np.float32(100) * spectrum)
        level = rng.choice([-1.0, 1.0]) * log_uniform(rng, 0.2, 2)
        add_impulse(rows, begin + length, after, np.float32(level) * np.sqrt(spectrum))


def noise(rows: Floats, tsamp: float, rng: Random) -> None:
    """Add nothing: detections are peaks of the noise."""


#: By name.
KINDS: Mapping[str, Interference] = MappingProxyType(
    {
        function.__name__: function
        for function in (
            narrow_band_steady,
            narrow_band_periodic,
            narrow_band_bursts,
            impulses,
            radar,
            sweeps,
            baseline,
            dropouts,
            saturation,
            noise,
        )
    }
)
