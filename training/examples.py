"""Synthetic bursts and interference, made into candidates by the regular extraction.

Data are quantised, with a bandpass and dead channels, and cleaned with the default settings. Half
of the examples are of a small instrument, ARTS with a quarter of its channels and of its samples;
some have its full size, if their data window is not too large; the others are of random
instruments.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import numpy.typing as npt

from darc.config.records import Struct
from darc.science.boxcar import best_boxcar
from darc.science.dedispersion import Band, add_dedispersed
from darc.science.dispersion import dm_error
from darc.science.extraction import Extraction, extract
from darc.science.extraction_plan import ExtractionPlan, ExtractionSettings, plan_extraction
from darc.science.rfi_cleaning import replace_outliers
from darc.science.row_statistics import medians
from simulator.synthetic_interference import KINDS, log_uniform
from simulator.synthetic_pulse import synthetic_pulse

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
Random = np.random.Generator

#: Default configuration.
SETTINGS = ExtractionSettings(
    ntime=64,
    nfreq=64,
    ndm=64,
    dm_halfrange=10,
    clean_type="isolated",
    threshold_time=3.25,
    n_iter_time=3,
    threshold_freq=2.75,
    n_iter_freq=3,
    bin_size=32,
)
_SNR_MIN, _SNR_DM0_MORE = 5.0, 3.0

#: Types of bursts; each may be scattered.
BURSTS = ("whole_band", "part_of_band", "scintillating", "two_components", "with_interference")

#: Types of interference: synthetic ones, and impulses found at a low DM.
INTERFERENCE = (*KINDS, "low_dm")


class DrawnInstrument(Struct, frozen=True):
    """Instrument of the data.

    :param band: frequency band
    :param tsamp: s
    :param widest: largest width of a burst, samples
    :param largest: maximum number of samples of an example, over all channels
    :param bits: bits per sample
    """

    band: Band
    tsamp: float
    widest: int
    largest: float
    bits: int = 8

    def smeared(self, width: int, dm: float) -> int:
        """Return the width of a burst after intra-channel smearing at the band's centre, samples.

        :param width: before smearing, samples
        :param dm: pc cm-3
        """
        return round(float(np.hypot(width, self.band.smearing(dm) / self.tsamp)))

    def dm_error(self, width: int) -> float:
        """Return the DM whose delay across the band is the width plus 0.2 ms, pc cm-3.

        :param width: samples
        """
        low, high = self.band.frequencies[[0, -1]]
        return float(dm_error(width * self.tsamp + 2e-4, float(low), float(high)))


SMALL = DrawnInstrument(
    Band(f_lowest=1219.70092773 + 300 / 1536 * 1.5, channel_width=300 / 384, n_channels=384),
    tsamp=4 * 81.92e-6,
    widest=62,
    largest=6e6,
)
FULL_SIZE = DrawnInstrument(
    Band(f_lowest=1219.70092773, channel_width=300 / 1536, n_channels=1536),
    tsamp=81.92e-6,
    widest=250,
    largest=3e7,
)

#: Bits → ranges of the noise of a sample and of the band's baseline, quantisation steps.
_STEPS = {
    8: ((4, 20), (80, 140)),
    4: ((1.5, 3), (6, 8)),
    2: ((0.7, 1.2), (1.2, 1.7)),
}


def any_instrument(rng: Random) -> DrawnInstrument:
    """Return a random instrument: 16 to 1024 channels, 0.15 to 8 GHz, 0.05 to 2 ms, 2 to 8 bits.

    Excluded are those in which a burst of DM 50 is smeared too much within a channel, or is too
    long for an example.
    """
    while True:
        n_channels = 2 ** int(rng.integers(4, 11))
        centre = log_uniform(rng, 150, 7500)
        channel_width = centre * log_uniform(rng, 0.1, 0.65) / n_channels
        band = Band(centre - channel_width * (n_channels - 1) / 2, channel_width, n_channels)
        tsamp = log_uniform(rng, 5e-5, 2e-3)
        widest = int(np.clip(round(0.03 / tsamp), 8, 250))
        bits = int(rng.choice([8, 8, 8, 4, 2]))
        found = DrawnInstrument(band, tsamp, widest, SMALL.largest, bits)
        samples = float(band.delays([50.0]).max()) / tsamp * n_channels
        if found.smeared(1, 50) <= widest / 2 and samples <= 0.04 * found.largest:
            return found


class Example(Struct, frozen=True, eq=False):
    """Candidate, and its origin.

    :param kind: one of BURSTS or INTERFERENCE
    :param freq_time: shape (nfreq, ntime)
    :param dm_time: shape (ndm, ntime)
    :param snr: as extracted (`snr_best`)
    :param true_snr: S/N of a burst by the best boxcar in data without quantisation or cleaning; 0
        for interference
    :param dm: DM of the trigger, pc cm-3
    :param width: length of a bin, samples of the data
    """

    is_burst: bool
    kind: str
    freq_time: Floats
    dm_time: Floats
    snr: float
    true_snr: float
    dm: float
    width: int


def burst(rng: Random, kind: str, instrument: DrawnInstrument = SMALL) -> Example:
    """Generate bursts until one is extracted.

    DM 50 to 3000 pc cm-3, width from 1 sample to the instrument's largest, S/N 7 to 50, in a fifth
    of the cases 50 to 1000.
    """
    while True:
        dm = log_uniform(rng, 50, 3000)
        width = max(1, round(log_uniform(rng, 1, instrument.widest)))
        seen_width = instrument.smeared(width, dm)
        if seen_width > instrument.widest:
            continue
        plan = _found_near(rng, dm, seen_width, instrument)
        if plan.count * plan.band.n_channels > instrument.largest:
            continue
        signal = _burst(rng, kind, dm, width, plan)
        series = np.zeros((1, plan.ntime * plan.bin_samples), dtype=np.float32)
        add_dedispersed(signal, plan.band.shifts([dm], plan.tsamp), series)
        widths = np.unique(np.geomspace(1, 6 * seen_width + 8, 24).astype(np.int64))
        sums = np.concatenate(([0.0], np.cumsum(series[0], dtype=np.float64)))
        height = max(float((sums[w:] - sums[:-w]).max()) / np.sqrt(w) for w in widths.tolist())
        true_snr = log_uniform(rng, 7, 50) if rng.random() < 0.8 else log_uniform(rng, 50, 1000)
        signal *= np.float32(true_snr * np.sqrt(plan.band.n_channels) / height)
        rows = rng.standard_normal(signal.shape, dtype=np.float32)
        if kind == "with_interference":
            name = rng.choice(["narrow_band_steady", "narrow_band_periodic", "narrow_band_bursts"])
            KINDS[str(name)](rows, plan.tsamp, rng)
        rows += signal
        found = _extracted(quantised(rows, rng, instrument.bits), plan)
        if found is not None:
            return _example(kind, found, plan, true_snr)


def interference(rng: Random, kind: str, instrument: DrawnInstrument = SMALL) -> list[Example]:
    """Generate interference until a candidate is found in it and extracted.

    The strongest are preferred at first: otherwise most would be as weak as noise peaks.

    :return: one to four candidates of the same data, at different DMs
    """
    band, tsamp = instrument.band, instrument.tsamp
    largest = instrument.largest / band.n_channels
    wanted = log_uniform(rng, _SNR_MIN, 15) if kind != "noise" else _SNR_MIN
    while True:
        n_samples = round(log_uniform(rng, largest / 16, largest / 3))
        rows = rng.standard_normal((band.n_channels, n_samples), dtype=np.float32)
        KINDS["impulses" if kind == "low_dm" else kind](rows, tsamp, rng)
        data = quantised(rows, rng, instrument.bits)
        highest = min(3000.0, 0.7 * n_samples * tsamp / float(band.delays([1.0]).max()))
        dms = np.exp(rng.uniform(np.log(20), np.log(highest), 12))
        if kind == "low_dm":
            dms = rng.uniform(20, min(100.0, highest), 4)
        made = []
        for dm, width, time in _search(data, dms, instrument, cleaned=rng.random() < 0.5)[:4]:
            plan = plan_extraction(band, tsamp, dm=dm, width=width, time=time, settings=SETTINGS)
            plan = plan.within(n_samples)
            found = _extracted(data[plan.start : plan.end], plan)
            if found is not None:
                made.append(_example(kind, found, plan, 0.0))
        if max((example.snr for example in made), default=0.0) >= wanted:
            return made
        wanted = max(_SNR_MIN, 0.8 * wanted)


def examples(
    seed: int, numbers: range, full_size: float = 0.03, others: float = 0.5
) -> Iterator[Example]:
    """Yield examples of a reproducible series: bursts at even numbers, interference at odd ones.

    An odd number gives up to four.

    :param seed: seed of the series
    :param numbers: numbers in the series
    :param full_size: fraction that has the full size of ARTS
    :param others: fraction that is of random instruments
    """
    for number in numbers:
        rng = np.random.default_rng([seed, number])
        which = rng.random()
        instrument = FULL_SIZE if which < full_size else SMALL
        if which >= 1 - others:
            instrument = any_instrument(rng)
        if number % 2 == 0:
            yield burst(rng, BURSTS[number // 2 % len(BURSTS)], instrument)
        else:
            kind = INTERFERENCE[number // 2 % len(INTERFERENCE)]
            yield from interference(rng, kind, instrument)


def quantised(rows: Floats, rng: Random, bits: int = 8) -> Bytes:
    """Quantise data like a backend.

    :param rows: in units of noise, shape (n_channels, n_samples); changed in place
    :param bits: bits per sample: 8, 4 or 2
    :return: shape (n_samples, n_channels)
    """
    n_channels = len(rows)
    place = np.linspace(-1, 1, n_channels)
    bandpass = 1 - rng.uniform(0, 0.5) * np.abs(place) ** 4 + rng.normal(0, 0.05, n_channels)
    steps, levels = _STEPS[bits]
    noise = log_uniform(rng, *steps) * np.clip(bandpass, 0.2, None)
    level = rng.uniform(*levels) * np.clip(bandpass, 0.5, None)
    rows *= noise[:, np.newaxis].astype(np.float32)
    rows += level[:, np.newaxis].astype(np.float32)
    rows[rng.random(n_channels) < rng.uniform(0, 0.05)] = 0
    np.clip(np.rint(rows, out=rows), 0, 2**bits - 1, out=rows)
    return np.ascontiguousarray(rows.astype(np.uint8).T)


def _found_near(rng: Random, dm: float, width: int, instrument: DrawnInstrument) -> ExtractionPlan:
    """Plan the extraction of a burst as found by a search, with errors of DM and width."""
    found_dm = max(20.0, dm + rng.uniform(-0.5, 0.5) * instrument.dm_error(width))
    found_width = min(instrument.widest, max(1, round(width * log_uniform(rng, 0.6, 1.7))))
    return plan_extraction(
        instrument.band,
        instrument.tsamp,
        dm=found_dm,
        width=found_width,
        time=1000.0,
        settings=SETTINGS,
    )


def _burst(rng: Random, kind: str, dm: float, width: int, plan: ExtractionPlan) -> Floats:
    """Return a random burst without noise, not normalised, shape (n_channels, n_samples)."""
    arrival = plan.arrival - plan.start + rng.uniform(-2, 2) * plan.bin_samples
    parts = [(arrival, _burst_spectrum(rng, kind, plan.band))]
    if kind == "two_components":
        later = arrival + width * rng.uniform(0.8, 2.5)
        drift = round(plan.band.n_channels * rng.uniform(0, 0.3))
        parts.append((later, rng.uniform(0.3, 1) * _moved_down(parts[0][1], drift)))
    signal = np.zeros((plan.band.n_channels, plan.count), dtype=np.float32)
    for front, spectrum in parts:
        pulse = synthetic_pulse(
            plan.band, plan.tsamp, dm=dm, width=width, arrival=front, n_samples=plan.count
        )
        signal += pulse * spectrum.astype(np.float32)[:, np.newaxis]
    if rng.random() < 0.35:
        _scatter(signal, plan.band, width * log_uniform(rng, 0.1, 2))
    return signal


def _moved_down(spectrum: npt.NDArray[np.float64], n: int) -> npt.NDArray[np.float64]:
    return np.concatenate([spectrum[n:], np.full(n, spectrum[-1])])


def _burst_spectrum(rng: Random, kind: str, band: Band) -> npt.NDArray[np.float64]:
    spectrum = (band.frequencies / band.f_centre) ** rng.uniform(-4, 4)
    if kind in ("part_of_band", "two_components") or rng.random() < 0.1:
        away = np.abs(np.linspace(0, 1, band.n_channels) - rng.uniform(0.1, 0.9))
        if rng.random() < 0.6:
            spectrum *= np.exp(-0.5 * (away / log_uniform(rng, 0.07, 0.5)) ** 2)
        else:
            spectrum *= away <= max(log_uniform(rng, 0.06, 0.35), 1.5 / band.n_channels)
    if kind == "scintillating" or rng.random() < 0.1:
        size = max(1, round(log_uniform(rng, 1, 40) / band.channel_width))
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
        late = tau * (band.frequencies[channel] / band.f_centre) ** -4.0
        there = np.flatnonzero(row)
        if not len(there):
            continue
        tail = np.exp(-np.arange(int(6 * late) + 1) / late)
        first, end = there[0], there[-1] + 1
        smeared = np.convolve(row[first:end], tail / tail.sum())[: len(row) - first]
        row[first : first + len(smeared)] = smeared


def _search(
    data: Bytes, dms: npt.NDArray[np.float64], instrument: DrawnInstrument, *, cleaned: bool
) -> list[tuple[float, int, float]]:
    """Return DM, width and time of the best boxcar of each trial DM, the strongest first."""
    rows = np.ascontiguousarray(data.T).astype(np.float32)
    if cleaned:
        replace_outliers(rows, SETTINGS.threshold_time, SETTINGS.n_iter_time)
    rows -= medians(rows)[:, np.newaxis].astype(np.float32)
    shifts = instrument.band.shifts(dms, instrument.tsamp)
    found = []
    for dm, shift in zip(dms.tolist(), shifts, strict=True):
        series = np.zeros((1, len(data) - int(shift.max())), dtype=np.float32)
        add_dedispersed(rows, shift[np.newaxis], series)
        widths = np.array([w for w in (1, 2, 5, 10, 25, 50, 100, 250) if w <= instrument.widest])
        boxcar = best_boxcar(series[0], widths)
        if _SNR_MIN <= boxcar.snr < np.inf:
            time = boxcar.start * instrument.tsamp
            found.append((boxcar.snr, (dm, boxcar.width, time)))
    return [pulse for _, pulse in sorted(found, reverse=True)]


def _extracted(data: Bytes, plan: ExtractionPlan) -> Extraction | None:
    """Extract a candidate; None if it fails the thresholds before the classifier."""
    found = None
    with suppress(ValueError):  # less than half of the band is in the data
        found = extract(data, plan, SETTINGS, descending=False)
    if found is None or not np.isfinite(found.snr_best) or found.snr_best < _SNR_MIN:
        return None
    return found if found.snr_dm0 - found.snr < _SNR_DM0_MORE else None


def _example(kind: str, found: Extraction, plan: ExtractionPlan, true_snr: float) -> Example:
    return Example(
        is_burst=true_snr > 0,
        kind=kind,
        freq_time=found.freq_time,
        dm_time=found.dm_time,
        snr=found.snr_best,
        true_snr=true_snr,
        dm=plan.dm,
        width=plan.bin_samples,
    )
