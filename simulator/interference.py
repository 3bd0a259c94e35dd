"""Interference in simulated filterbank data: carriers, and single or periodic impulses at DM 0."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from darc.config.records import Struct
from darc.science.dedispersion import Band


class Interference(Struct, frozen=True, kw_only=True):
    """Terrestrial signal, simultaneous in its channels and in all TABs.

    :param time_s: start, s since the start of the data
    :param duration_s: duration, s
    :param strength: strength per sample, units of its noise
    :param f_low: lowest frequency, MHz
    :param f_high: highest frequency, MHz
    :param period_s: period of repetition, s
    :param repeats: number of occurrences
    """

    time_s: float
    duration_s: float
    strength: float
    f_low: float = 0.0
    f_high: float = math.inf
    period_s: float = math.inf
    repeats: int = 1

    def in_samples(self, first: int, count: int, tsamp: float) -> npt.NDArray[np.bool_]:
        """Return whether the signal is present in samples; shape (count,)."""
        since = np.arange(first, first + count) * tsamp - self.time_s
        if self.repeats > 1:
            number = np.clip(np.floor(since / self.period_s), 0, self.repeats - 1)
            since -= number * self.period_s
        return (since >= 0) & (since < self.duration_s)


def random_interference(
    duration: float, band: Band, seed: int, *, per_minute: float = 6.0
) -> list[Interference]:
    """Draw carriers, impulses of the whole band, and periodic impulses."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(rng.poisson(per_minute * duration / 60)):
        f_low = float(rng.choice(band.frequencies))
        match rng.integers(3):
            case 0:
                one = Interference(
                    time_s=rng.uniform(0, duration),
                    duration_s=rng.uniform(0.1, 0.2 * duration),
                    strength=rng.uniform(0.5, 5),
                    f_low=f_low,
                    f_high=f_low + band.channel_width * int(rng.integers(1, 20)),
                )
            case 1:
                one = Interference(
                    time_s=rng.uniform(0, duration),
                    duration_s=rng.uniform(1e-4, 2e-2),
                    strength=rng.uniform(0.1, 1),
                )
            case _:
                one = Interference(
                    time_s=rng.uniform(0, duration / 2),
                    duration_s=rng.uniform(1e-4, 5e-3),
                    strength=rng.uniform(0.3, 3),
                    f_low=f_low,
                    f_high=f_low + band.channel_width * band.n_channels / 8,
                    period_s=rng.uniform(0.02, 0.5),
                    repeats=int(rng.integers(2, 50)),
                )
        found.append(one)
    return found
