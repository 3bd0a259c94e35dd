"""Filterbank files of noise, with and without interference, and with a pulsar on demand.

Plain numpy, from the formulas and from SIGPROC's manual; nothing of the package is imported, so
that what is measured on these files has an oracle that is not its own.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt
from msgspec import Struct

#: s, MHz^2 pc^-1 cm^3 (Handbook of Pulsar Astronomy, section 4.1.1: 4.148808e3)
DISPERSION = 4.148808e3

KINDS = ("white", "red", "red by channel", "impulses", "hum", "switching", "zeros", "steps")

Doubles = npt.NDArray[np.float64]


class Pulsar(Struct, frozen=True):
    """A pulsar to be put into noise.

    :param period: s
    :param width: of a Gaussian pulse (its deviation), turns
    :param snr: of the folded profile, by the filter that matches it
    """

    period: float
    dm: float
    width: float
    snr: float


class NoiseFile(Struct, frozen=True):
    """What a file of noise is like.

    :param kind: one of KINDS
    :param tsamp: s
    :param low: edge of the band, MHz; likewise high
    :param bits: 1, 2, 4, 8 or 32
    """

    seed: int
    kind: str
    n_samples: int
    n_channels: int
    tsamp: float
    low: float
    high: float
    bits: int

    @property
    def length(self) -> float:
        """Seconds."""
        return self.n_samples * self.tsamp

    @property
    def frequencies(self) -> Doubles:
        """Centres of the channels, MHz, the highest first."""
        width = (self.high - self.low) / self.n_channels
        return self.high - width * (np.arange(self.n_channels) + 0.5)


def a_noise_file(seed: int) -> NoiseFile:
    """One of a mix of kinds, lengths, samplings, channels and bits.

    What is periodic (hum, switching) is interference only by its DM, which one channel has not.
    """
    random = np.random.default_rng((seed, 1))
    kind = KINDS[seed % len(KINDS)]
    n_channels = int(random.choice([1, 8, 16, 32, 64, 128]))
    if kind in ("hum", "switching"):
        n_channels = max(n_channels, 8)
    n_samples = int(2 ** random.uniform(9, 15 if n_channels <= 32 else 13.5))
    low, high = ((1250, 1550), (400, 430), (700, 900), (4000, 5000))[random.integers(4)]
    return NoiseFile(
        seed=seed,
        kind=kind,
        n_samples=n_samples,
        n_channels=n_channels,
        tsamp=float(10 ** random.uniform(-4.2, -2)),
        low=low,
        high=high,
        bits=int(random.choice([8, 8, 8, 2, 4, 32] if n_channels > 1 else [8, 32])),
    )


def noise(what: NoiseFile, pulsar: Pulsar | None = None) -> Doubles:
    """Noise in units of a channel's deviation, shape (n_samples, n_channels)."""
    random = np.random.default_rng((what.seed, 2))
    n, channels = what.n_samples, what.n_channels
    data = random.normal(size=(n, channels))
    times = (np.arange(n) + 0.5) * what.tsamp
    response = random.uniform(0.3, 1.0, channels)
    if what.kind == "red":
        data += _red(random, n)[:, np.newaxis] * response
    elif what.kind == "red by channel":
        for channel in range(channels):
            data[:, channel] += _red(random, n)
    elif what.kind == "impulses":
        for _ in range(random.integers(1, 20)):
            first, width = random.integers(n), int(2 ** random.uniform(0, 6))
            data[first : first + width] += response * 10 ** random.uniform(0, 2)
    elif what.kind == "hum":
        frequency = random.choice([50.0, 100.0, 60.0]) * random.normal(1, 1e-4)
        wave = np.sin(2 * np.pi * frequency * times + random.uniform(0, 7))
        data += (wave * 10 ** random.uniform(-1.5, 0))[:, np.newaxis] * response
    elif what.kind == "switching":
        for channel in random.integers(0, channels, 1 + channels // 16):
            period = what.length * 10 ** random.uniform(-2, 0)
            on = (times / period + random.uniform()) % 1 < random.uniform(0.1, 0.9)
            data[:, channel] += on * 10 ** random.uniform(0, 1.5)
    elif what.kind == "steps":
        for _ in range(random.integers(1, 5)):
            data[random.integers(n) :] += response * random.normal(0, 2)
        data *= 1 + 0.2 * np.sin(2 * np.pi * times / what.length * random.uniform(0.2, 3))[:, None]
    if pulsar is not None:
        data += _pulses(what, times, pulsar)
    return data


def _red(random: np.random.Generator, n: int) -> Doubles:
    """Noise whose power falls with frequency, and is that of white noise at a corner."""
    length = 4 * n  # of a longer stretch, as no receiver's noise returns to where it was
    frequencies = np.fft.rfftfreq(length)
    frequencies[0] = frequencies[1]
    corner, slope = 10 ** random.uniform(-3, -1), random.uniform(0.8, 3.0)
    spectrum = np.fft.rfft(random.normal(size=length)) * (corner / frequencies) ** (slope / 2)
    first = random.integers(0, length - n)
    return np.fft.irfft(spectrum, length)[first : first + n]


def _pulses(what: NoiseFile, times: Doubles, pulsar: Pulsar) -> Doubles:
    """A pulsar's pulses, dispersed."""
    delays = DISPERSION * pulsar.dm * (what.frequencies**-2 - what.high**-2)
    phases = (times[:, np.newaxis] - delays) / pulsar.period % 1.0
    shape = np.exp(-0.5 * ((phases - 0.5) / pulsar.width) ** 2)
    # The filter that matches: S/N is the root of the sum of squares, less the mean.
    norm = np.sqrt(((shape - shape.mean(axis=0)) ** 2).sum())
    return shape * pulsar.snr / norm


def write(what: NoiseFile, path: Path, pulsar: Pulsar | None = None) -> None:
    """Write a file, the highest frequency first."""
    data = noise(what, pulsar)
    if what.bits == 32:
        raw = (100 + 10 * data).astype("<f4")
    else:
        highest = 2**what.bits - 1
        scale = {2: 1.0, 4: 3.0, 8: 16.0}[what.bits]
        raw = np.clip(np.rint(highest / 2 + scale * data), 0, highest).astype(np.uint8)
    if what.kind == "zeros":
        random = np.random.default_rng((what.seed, 3))
        for _ in range(random.integers(1, 4)):
            first = random.integers(what.n_samples)
            raw[first : first + int(what.n_samples * 10 ** random.uniform(-3, -0.7))] = 0
    with path.open("wb") as file:
        file.write(_header(what))
        if what.bits in (2, 4):
            parts = raw.reshape(len(raw), -1, 8 // what.bits)
            shifts = np.arange(0, 8, what.bits, dtype=np.uint8)
            raw = np.bitwise_or.reduce(parts << shifts, axis=2)
        file.write(raw.tobytes())


def _header(what: NoiseFile) -> bytes:
    def text(word: str) -> bytes:
        return struct.pack("<i", len(word)) + word.encode()

    whole = {"data_type": 1, "nchans": what.n_channels, "nbits": what.bits, "nifs": 1}
    real = {
        "tsamp": what.tsamp,
        "fch1": float(what.frequencies[0]),
        "foff": (what.low - what.high) / what.n_channels,
        "tstart": 60000.0,
    }
    parts = [text("HEADER_START"), text("source_name"), text("noise")]
    parts += [text(key) + struct.pack("<i", value) for key, value in whole.items()]
    parts += [text(key) + struct.pack("<d", value) for key, value in real.items()]
    return b"".join([*parts, text("HEADER_END")])
