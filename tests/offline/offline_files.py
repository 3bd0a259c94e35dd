"""Filterbank files with a pulsar, or with a source that drifts through the beam."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from darc.data_files.filterbank_header import FilterbankHeader
from darc.data_files.filterbank_writer import FilterbankWriter
from darc.science.dispersion import DISPERSION_CONSTANT
from darc.science.folding import PhaseModel

HEADER = FilterbankHeader(
    nchans=32, nbits=8, tsamp=1e-3, fch1=1500.0, foff=-4.0, tstart=58543.0, source_name="made up"
)
UNIX_START = (58543 - 40587) * 86400.0
LEVEL, NOISE = 100.0, 10.0


def write_pulsar(
    path: Path,
    model: PhaseModel,
    *,
    dm: float,
    duration: float,
    height: float,
    width: float = 0.05,
    header: FilterbankHeader = HEADER,
) -> None:
    """A pulsar whose pulse is a top hat from phase 0 on.

    :param height: in standard deviations of a sample of a channel
    :param width: turns
    """
    random = np.random.default_rng(1)
    frequencies = header.frequencies
    top = frequencies.max() + header.channel_width / 2
    delays = DISPERSION_CONSTANT * dm * (frequencies**-2 - top**-2)
    n_samples = int(duration / header.tsamp)
    with FilterbankWriter(path, header) as writer:
        for begin in range(0, n_samples, 10000):
            times = (np.arange(begin, min(begin + 10000, n_samples)) + 0.5) * header.tsamp
            data = random.normal(LEVEL, NOISE, (len(times), header.nchans))
            for channel, delay in enumerate(delays):
                phases = model.turns(times - delay) % 1.0
                data[phases < width, channel] += height * NOISE
            writer.append(np.clip(np.rint(data), 0, 255))


def write_drift(
    path: Path,
    *,
    ratio: float,
    centre: float,
    fwhm: float,
    duration: float,
    bursts: int = 0,
    header: FilterbankHeader = HEADER,
) -> None:
    """A source that passes; its power is `ratio` times that off it at the centre."""
    random = np.random.default_rng(2)
    n_samples = int(duration / header.tsamp)
    times = (np.arange(n_samples) + 0.5) * header.tsamp
    level = 40 * (1 + ratio * np.exp(-4 * np.log(2) * ((times - centre) / fwhm) ** 2))
    data = random.normal(level[:, np.newaxis], 6, (n_samples, header.nchans))
    data[:, 3] += 40 * (random.random(n_samples) < 0.2)  # a channel of interference
    for begin in random.integers(0, n_samples, bursts):
        data[begin : begin + 300] += 100
    with FilterbankWriter(path, header) as writer:
        writer.append(np.clip(np.rint(data), 0, 255))
