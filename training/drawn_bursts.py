"""Synthetic bursts of many shapes, in data without noise."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from darc.science.dedispersion import Band, add_dedispersed
from darc.science.extraction_plan import ExtractionPlan
from simulator.synthetic_interference import log_uniform
from simulator.synthetic_pulse import synthetic_pulse

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Random = np.random.Generator

#: Types of bursts; a third of each is scattered, those of "scattered" more and all.
BURSTS = (
    "whole_band",
    "part_of_band",
    "scintillating",
    "two_components",
    "with_interference",
    "drifting",
    "scattered",
    "pulsar",
    "at_edge",
)

#: Period of a pulsar's pulses, in units of their width.
_PERIODS = (3.0, 60.0)


def drawn_burst(rng: Random, kind: str, dm: float, width: int, plan: ExtractionPlan) -> Floats:
    """Return a random burst without noise, not normalised, shape (n_channels, n_samples).

    :param kind: one of BURSTS
    :param dm: pc cm-3
    :param width: samples
    :param plan: window of the data; the burst arrives near its arrival
    """
    arrival = plan.arrival - plan.start + rng.uniform(-2, 2) * plan.bin_samples
    signal = np.zeros((plan.band.n_channels, plan.count), dtype=np.float32)
    for front, spectrum in _components(rng, kind, arrival, width, plan.band):
        pulse = synthetic_pulse(
            plan.band, plan.tsamp, dm=dm, width=width, arrival=front, n_samples=plan.count
        )
        signal += pulse * spectrum.astype(np.float32)[:, np.newaxis]
    if kind == "pulsar":
        _repeat(rng, signal, float(np.hypot(width, plan.band.smearing(dm) / plan.tsamp)))
    if kind == "scattered":
        _scatter(signal, plan.band, width * log_uniform(rng, 1, 6))
    elif rng.random() < 0.35:
        _scatter(signal, plan.band, width * log_uniform(rng, 0.1, 2))
    return signal


def best_sum(signal: Floats, dm: float, width: int, plan: ExtractionPlan) -> float:
    """Return the largest sum over channels and a boxcar, over the root of the boxcar's width.

    :param signal: of a burst without noise, shape (n_channels, n_samples)
    :param dm: pc cm-3
    :param width: smeared width of the burst, samples: boxcars are up to 6 times as long
    """
    series = np.zeros((1, plan.ntime * plan.bin_samples), dtype=np.float32)
    add_dedispersed(signal, plan.band.shifts([dm], plan.tsamp), series)
    widths = np.unique(np.geomspace(1, 6 * width + 8, 24).astype(np.int64))
    sums = np.concatenate(([0.0], np.cumsum(series[0], dtype=np.float64)))
    heights = [
        float((sums[w:] - sums[:-w]).max() / np.sqrt(w)) for w in widths.tolist() if w < len(sums)
    ]
    return max(heights)


def _components(
    rng: Random, kind: str, arrival: float, width: int, band: Band
) -> Iterator[tuple[float, Doubles]]:
    """Yield arrival (samples) and spectrum of each component."""
    if kind == "drifting":
        # As repeaters do: Hessels et al. 2019, ApJ 876, L23.
        count = int(rng.integers(3, 6))
        centres = rng.uniform(0.6, 1.0) - np.arange(count) * rng.uniform(0.05, 0.6 / count)
        size, apart = log_uniform(rng, 0.06, 0.25), rng.uniform(0.4, 1.5)
        place = np.linspace(0, 1, band.n_channels)
        for number, centre in enumerate(centres.tolist()):
            height = rng.uniform(0.4, 1)
            shape = height * np.exp(-0.5 * ((place - centre) / size) ** 2)
            yield arrival + width * apart * (number - (count - 1) / 2), np.asarray(shape)
        return
    first = _burst_spectrum(rng, kind, band)
    yield arrival, first
    if kind == "two_components":
        later = arrival + width * rng.uniform(0.8, 2.5)
        drift = round(band.n_channels * rng.uniform(0, 0.3))
        yield later, rng.uniform(0.3, 1) * _moved_down(first, drift)


def _repeat(rng: Random, signal: Floats, width: float) -> None:
    """Add a pulsar's other pulses, in place; the strongest of all is the one that is found.

    :param width: of a pulse, smeared, samples
    """
    pulse, n_samples = signal.copy(), signal.shape[1]
    period = width * log_uniform(rng, *_PERIODS)
    for number in range(1, min(40, int(n_samples / period)) + 1):
        away = round(number * period)
        earlier, later = rng.lognormal(-0.4, 0.5, 2).astype(np.float32)
        signal[:, : n_samples - away] += earlier * pulse[:, away:]
        signal[:, away:] += later * pulse[:, : n_samples - away]


def _moved_down(spectrum: Doubles, n: int) -> Doubles:
    return np.concatenate([spectrum[n:], np.full(n, spectrum[-1])])


def _burst_spectrum(rng: Random, kind: str, band: Band) -> Doubles:
    spectrum = (band.frequencies / band.f_centre) ** rng.uniform(-4, 4)
    if kind in ("part_of_band", "two_components") or rng.random() < 0.1:
        away = np.abs(np.linspace(0, 1, band.n_channels) - rng.uniform(0.1, 0.9))
        if rng.random() < 0.6:
            spectrum *= np.exp(-0.5 * (away / log_uniform(rng, 0.07, 0.5)) ** 2)
        else:
            spectrum *= away <= max(log_uniform(rng, 0.06, 0.35), 1.5 / band.n_channels)
    if kind == "scintillating" or rng.random() < 0.1:
        # Of a scintillation bandwidth of 1 to 40 MHz, and no more than the band.
        size = max(1, round(min(log_uniform(rng, 1, 40) / band.channel_width, band.n_channels)))
        wave = rng.normal(size=(2, band.n_channels + 3 * size))
        kernel = np.hanning(3 * size + 2)[1:-1]
        smooth = [np.convolve(part, kernel, mode="valid")[: band.n_channels] for part in wave]
        scintillation = np.square(smooth[0]) + np.square(smooth[1])
        spectrum *= scintillation / scintillation.mean()
    return np.asarray(spectrum)


def _scatter(signal: Floats, band: Band, tau: float) -> None:
    """Convolve with exponential scattering tails, in place.

    :param tau: scattering time at the centre of the band, samples
    """
    for channel, row in enumerate(signal):
        # In very wide bands the lowest channels would be scattered over more than all data.
        late = min(tau * (band.frequencies[channel] / band.f_centre) ** -4.0, len(row) / 6)
        there = np.flatnonzero(row)
        if not len(there):
            continue
        tail = np.exp(-np.arange(int(6 * late) + 1) / late)
        first, end = there[0], there[-1] + 1
        smeared = np.convolve(row[first:end], tail / tail.sum())[: len(row) - first]
        row[first : first + len(smeared)] = smeared
