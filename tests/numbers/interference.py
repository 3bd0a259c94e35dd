"""Interference, made here and not by DARC: each kind adds itself to noise of unit deviation.

Rows are channels, the lowest frequency first; no data is `NO_DATA`. Strengths are drawn from wide
ranges, so that some pieces are too weak for anything.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from oracle import NO_DATA, Doubles, Floats, Random

Kind = Callable[[Floats, float, Random], None]


def between(rng: Random, low: float, high: float) -> float:
    """Evenly in its logarithm."""
    return float(low * (high / low) ** rng.random())


def _channels(rows: Floats, rng: Random, low: float, high: float) -> slice:
    n = len(rows)
    count = max(1, round(n * between(rng, low, high)))
    first = int(rng.integers(0, n - count + 1))
    return slice(first, first + count)


def _samples(tsamp: float, rng: Random, low: float, high: float) -> int:
    return max(1, round(between(rng, low, high) / tsamp))


def _spectrum(n: int, rng: Random) -> Floats:
    """Smooth: a constant and three waves, none below 0."""
    place, shape = np.linspace(0, np.pi, n), np.ones(n)
    for number in range(1, 4):
        shape += rng.uniform(-0.6, 0.6) * np.cos(number * place + rng.uniform(0, 6.28))
    return np.maximum(shape, 0.05).astype(np.float32)


def _pulse(n: int, begin: float, lasts: int, rng: Random) -> Doubles:
    """A rise of any steepness and a fall, or a box, over n samples."""
    t = np.arange(n) - begin
    if rng.random() < 0.5:
        return ((t >= 0) & (t < lasts)).astype(float)
    rise = max(0.3, 0.2 * lasts * rng.random())
    falls = np.exp(-np.maximum(t, 0) / lasts)
    return np.asarray(np.where(t < 0, np.exp(np.minimum(t, 0) / rise), falls))


def carriers(rows: Floats, tsamp: float, rng: Random) -> None:
    """Transmitters that are always there, and whose power fades in and out."""
    n = rows.shape[1]
    for _ in range(rng.integers(1, 5)):
        some = _channels(rows, rng, 0.004, 0.1)
        steps = rng.standard_normal(max(3, n // _samples(tsamp, rng, 5e-3, 0.3)))
        fading = np.interp(np.linspace(0, 1, n), np.linspace(0, 1, len(steps)), steps)
        rows[some] += (between(rng, 0.5, 8) * np.exp(0.5 * fading)).astype(np.float32)


def switched(rows: Floats, tsamp: float, rng: Random) -> None:
    """Transmitters that go on and off, by a clock or not."""
    n = rows.shape[1]
    for _ in range(rng.integers(1, 12)):
        some, height = _channels(rows, rng, 0.004, 0.12), between(rng, 0.7, 15)
        if rng.random() < 0.4:
            period = _samples(tsamp, rng, 2e-3, 0.3)
            on = (np.arange(n) + rng.integers(period)) % period < rng.uniform(0.1, 0.5) * period
        else:
            lasts = _samples(tsamp, rng, 5e-4, 0.1)
            on = np.abs(np.arange(n) - rng.uniform(0, n)) < lasts / 2
        rows[some] += np.float32(height) * on


def impulses(rows: Floats, tsamp: float, rng: Random) -> None:
    """Sparks and lightning: all frequencies at once."""
    n = rows.shape[1]
    for _ in range(rng.integers(1, 5)):
        shape = _pulse(n, rng.uniform(0, n), _samples(tsamp, rng, 1e-4, 0.05), rng)
        spectrum = between(rng, 0.3, 8) * _spectrum(len(rows), rng)
        rows += spectrum[:, np.newaxis].astype(np.float32) * shape.astype(np.float32)


def radar(rows: Floats, tsamp: float, rng: Random) -> None:
    """The same pulse again and again, in a part of the band."""
    n = rows.shape[1]
    some = _channels(rows, rng, 0.1, 1.0)
    lasts = _samples(tsamp, rng, 4e-4, 0.01)
    period = max(3 * lasts, _samples(tsamp, rng, 5e-3, 0.5))
    on = (np.arange(n) + rng.integers(period)) % period < lasts
    spectrum = between(rng, 0.3, 5) * _spectrum(len(rows[some]), rng)
    rows[some] += spectrum[:, np.newaxis].astype(np.float32) * on


def sweeps(rows: Floats, tsamp: float, rng: Random) -> None:
    """A line in time and frequency: radar altimeters, local oscillators; mostly upwards."""
    n_channels, n = rows.shape
    for _ in range(rng.integers(1, 3)):
        crossing = _samples(tsamp, rng, 0.02, 1.5) * (1 if rng.random() < 0.7 else -1)
        lasts, height = _samples(tsamp, rng, 5e-4, 0.01), between(rng, 0.4, 6)
        begin = rng.uniform(0, n)
        for channel in range(n_channels):
            at = int(begin + crossing * (channel / n_channels - 0.5))
            rows[channel, max(at, 0) : max(at + lasts, 0)] += np.float32(height)


def levels(rows: Floats, tsamp: float, rng: Random) -> None:
    """The level of all channels steps, swings or hums."""
    n = rows.shape[1]
    t = np.arange(n) * tsamp
    some = _channels(rows, rng, 0.4, 1.0)
    which = rng.integers(3)
    if which == 0:
        change = np.where(np.arange(n) > rng.uniform(0, n), 1.0, 0.0) * rng.choice([-1, 1])
    elif which == 1:
        change = np.sin(2 * np.pi * (t / between(rng, 0.05, 2.0) + rng.random()))
    else:
        change = np.sin(2 * np.pi * 50 * t) ** 2
    spectrum = between(rng, 0.1, 2.5) * _spectrum(len(rows[some]), rng)
    rows[some] += spectrum[:, np.newaxis].astype(np.float32) * change.astype(np.float32)


def dropouts(rows: Floats, tsamp: float, rng: Random) -> None:
    """Packets are lost, of all channels or some; some recorders then begin at another level."""
    n = rows.shape[1]
    for _ in range(rng.integers(1, 8)):
        some = slice(None) if rng.random() < 0.5 else _channels(rows, rng, 0.06, 0.5)
        begin, lasts = int(rng.integers(0, n)), _samples(tsamp, rng, 5e-4, 0.1)
        if rng.random() < 0.5:
            t = np.arange(n - begin)
            settling = np.exp(-t / _samples(tsamp, rng, 1e-3, 0.05))
            rows[some, begin:] += (rng.choice([-1, 1]) * between(rng, 0.3, 3) * settling).astype(
                np.float32
            )
        rows[some, begin : begin + lasts] = NO_DATA


def overload(rows: Floats, tsamp: float, rng: Random) -> None:
    """Something near is stronger than the receiver can take; the gain comes back slowly."""
    n = rows.shape[1]
    for _ in range(rng.integers(1, 4)):
        begin, lasts = int(rng.integers(0, n)), _samples(tsamp, rng, 5e-4, 0.03)
        recovers = np.exp(-np.arange(n - begin) / _samples(tsamp, rng, 2e-3, 0.2))
        spectrum = _spectrum(len(rows), rng)
        rows[:, begin:] -= (between(rng, 0.2, 2) * spectrum)[:, np.newaxis] * recovers.astype(
            np.float32
        )
        rows[:, begin : begin + lasts] += (100 * spectrum)[:, np.newaxis]


def nothing(rows: Floats, tsamp: float, rng: Random) -> None:
    """Noise: what is found is its highest peak."""


#: By name; another kind is another function here.
KINDS: dict[str, Kind] = {
    one.__name__: one
    for one in (
        *(carriers, switched, impulses, radar, sweeps, levels, dropouts, overload, nothing),
    )
}
