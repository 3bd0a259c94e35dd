"""Examples: synthetic bursts and interference, made into candidates by the regular extraction.

Data are quantised, with a bandpass and dead channels, and cleaned with the default settings. What
instruments they are of: `training.population`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from darc.config.records import Struct, replace
from darc.science.dedispersion import add_dedispersed
from darc.science.extraction import Extraction, extract
from darc.science.extraction_features import extraction_features
from darc.science.extraction_plan import ExtractionPlan, ExtractionSettings, plan_extraction
from darc.science.rfi_cleaning import replace_outliers
from darc.science.row_statistics import medians
from simulator.observed_interference import OBSERVED_KINDS
from simulator.synthetic_interference import KINDS, Interference, log_uniform
from training.drawn_bursts import BURSTS, best_sum, drawn_burst
from training.drawn_instruments import FULL_SIZE, LEAST_DELAY, SMALL, DrawnInstrument

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

#: Fraction of the pieces of interference whose candidates may be at an edge of the data, and
#: attempts after which any may: how near the edge is says nothing.
_AT_EDGE, _ATTEMPTS = 0.15, 3

#: Maximum delay across the band at which impulses of DM 0 are searched for, in largest widths.
_LOW_DELAY = 2.0

ALL_KINDS: Mapping[str, Interference] = MappingProxyType({**KINDS, **OBSERVED_KINDS})

#: Types of interference: synthetic ones, and impulses found at a low DM.
INTERFERENCE = (*ALL_KINDS, "low_dm")

#: Bits → ranges of the noise of a sample and of the band's baseline, quantisation steps.
_STEPS = {
    8: ((4, 20), (80, 140)),
    4: ((1.5, 3), (6, 8)),
    2: ((0.7, 1.2), (1.2, 1.7)),
    1: ((0.7, 1.2), (0.3, 0.7)),
}


class Example(Struct, frozen=True, eq=False):
    """Candidate, and its origin.

    :param kind: one of BURSTS or INTERFERENCE
    :param freq_time: shape (nfreq, ntime)
    :param dm_time: shape (ndm, ntime)
    :param measured: `darc.science.extraction_features`
    :param snr: as extracted (`snr_best`)
    :param true_snr: S/N of a burst by the best boxcar in data without quantisation or cleaning; 0
        for interference
    :param dm: DM of the trigger, pc cm-3
    :param width: length of a bin, samples of the data
    :param delay: across the band at that DM, in units of the width that the search found
    """

    is_burst: bool
    kind: str
    freq_time: Floats
    dm_time: Floats
    measured: Mapping[str, float]
    snr: float
    true_snr: float
    dm: float
    width: int
    delay: float


def burst(
    rng: Random,
    kind: str,
    instrument: DrawnInstrument = SMALL,
    *,
    largest_snr: float = 1000.0,
    least_delay: float = LEAST_DELAY,
    largest_delay: float = np.inf,
) -> Example:
    """Generate bursts until one is extracted.

    DM in the instrument's range, from 50 pc cm-3 for ARTS; width from 1 sample to the instrument's
    largest; S/N 7 to 100, in a tenth of the cases 100 to 1000.

    :param largest_snr: largest S/N, if less
    :param least_delay: least delay across the band, in units of the width
    :param largest_delay: largest, likewise
    """
    lowest = max(50.0, instrument.dm_min) if instrument in (SMALL, FULL_SIZE) else instrument.dm_min
    while True:
        dm = log_uniform(rng, lowest, instrument.dm_max)
        width = max(1, round(log_uniform(rng, 1, instrument.widest)))
        seen_width = instrument.smeared(width, dm)
        if seen_width > instrument.widest:
            continue
        if not least_delay <= instrument.delay_in_widths(dm, seen_width) <= largest_delay:
            continue
        found_width = min(instrument.widest, max(1, round(seen_width * log_uniform(rng, 0.6, 1.7))))
        plan = _found_near(rng, dm, seen_width, found_width, instrument)
        if kind == "at_edge":
            plan = _at_edge(rng, plan)
        if plan.count * plan.band.n_channels > instrument.largest:
            continue
        signal = drawn_burst(rng, kind, dm, width, plan)
        height = best_sum(signal, dm, seen_width, plan)
        if not height > 0:
            continue
        true_snr = log_uniform(rng, 7, 100) if rng.random() < 0.9 else log_uniform(rng, 100, 1000)
        if largest_snr < 1000:
            true_snr = log_uniform(rng, 7, largest_snr)
        signal *= np.float32(true_snr * np.sqrt(plan.band.n_channels) / height)
        rows = rng.standard_normal(signal.shape, dtype=np.float32)
        if kind == "with_interference" or (kind == "at_edge" and rng.random() < 0.5):
            name = rng.choice(["narrow_band_steady", "narrow_band_periodic", "narrow_band_bursts"])
            KINDS[str(name)](rows, plan.tsamp, rng)
        rows += signal
        found = _extracted(quantised(rows, rng, instrument.bits), plan)
        if found is not None:
            delay = instrument.delay_in_widths(plan.dm, found_width)
            return _example(kind, found, plan, true_snr, delay)


def interference(rng: Random, kind: str, instrument: DrawnInstrument = SMALL) -> list[Example]:
    """Generate interference until a candidate is found in it and extracted.

    The strongest are preferred at first: otherwise most would be as weak as noise peaks.

    :return: one to four candidates of the same data, at different DMs
    """
    band, tsamp = instrument.band, instrument.tsamp
    largest = instrument.largest_search / band.n_channels
    wanted = log_uniform(rng, _SNR_MIN, 15) if kind != "noise" else _SNR_MIN
    noise = rng.standard_normal((band.n_channels, round(largest / 2)), dtype=np.float32)
    at_edge = rng.random() < _AT_EDGE
    attempt = 0
    while True:
        attempt += 1
        n_samples = round(log_uniform(rng, largest / 8, largest / 2))
        # The same noise with its channels in another order is as good as other noise, and quicker.
        rows = noise[rng.permutation(band.n_channels), -n_samples:]
        added = str(rng.choice(["impulses", "radar"])) if kind == "low_dm" else kind
        ALL_KINDS[added](rows, tsamp, rng)
        data = quantised(rows, rng, instrument.bits)
        highest = min(instrument.dm_max, 0.7 * n_samples * tsamp / instrument.delay)
        lowest = min(instrument.dm_min, 0.5 * highest)
        dms = np.exp(rng.uniform(np.log(lowest), np.log(highest), 12))
        if kind == "low_dm":
            low = _LOW_DELAY * instrument.widest * tsamp / instrument.delay
            dms = np.exp(rng.uniform(np.log(lowest), np.log(np.clip(low, lowest, highest)), 6))
        made = []
        for dm, found_width, time in _search(data, dms, instrument, cleaned=rng.random() < 0.5)[:4]:
            # Searches have other widths than this one.
            width = max(1, round(found_width * log_uniform(rng, 0.7, 1.4)))
            whole = plan_extraction(band, tsamp, dm=dm, width=width, time=time, settings=SETTINGS)
            plan = whole.within(n_samples)
            complete = 0 < plan.start == whole.start and plan.count == whole.count
            if not (complete or at_edge or attempt > _ATTEMPTS):
                continue
            found = _extracted(data[plan.start : plan.end], plan)
            if found is not None:
                delay = instrument.delay_in_widths(dm, width)
                made.append(_example(kind, found, plan, 0.0, delay))
        if max((example.snr for example in made), default=0.0) >= wanted:
            return made
        wanted = max(_SNR_MIN, 0.7 * wanted)


def examples(seed: int, numbers: range, full_size: float = 0.03) -> Iterator[Example]:
    """Yield examples of ARTS, a reproducible series: bursts at even numbers, interference at odd
    ones.

    An odd number gives up to four.

    :param seed: seed of the series
    :param numbers: numbers in the series
    :param full_size: fraction that has the full size of ARTS; the others are a sixteenth of it
    """
    for number in numbers:
        rng = np.random.default_rng([seed, number])
        instrument = FULL_SIZE if rng.random() < full_size else SMALL
        yield from piece(rng, number, instrument)


def piece(rng: Random, number: int, instrument: DrawnInstrument) -> Iterator[Example]:
    """Yield the example of a burst, or those of a piece of interference.

    :param number: the type is the next one of its list for every second number, bursts at even ones
    """
    if number % 2 == 0:
        yield burst(rng, BURSTS[number // 2 % len(BURSTS)], instrument)
    else:
        yield from interference(rng, INTERFERENCE[number // 2 % len(INTERFERENCE)], instrument)


def quantised(rows: Floats, rng: Random, bits: int = 8) -> Bytes:
    """Quantise data like a backend.

    :param rows: in units of noise, shape (n_channels, n_samples); changed in place
    :param bits: bits per sample: 8, 4, 2 or 1
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


def _found_near(
    rng: Random, dm: float, width: int, found_width: int, instrument: DrawnInstrument
) -> ExtractionPlan:
    """Plan the extraction of a burst as found by a search, with an error of its DM.

    :param width: smeared width of the burst, samples
    :param found_width: that the search found, samples
    """
    found_dm = dm + rng.uniform(-0.5, 0.5) * instrument.dm_error(width)
    return plan_extraction(
        instrument.band,
        instrument.tsamp,
        dm=max(instrument.dm_min, found_dm),
        width=found_width,
        time=1000.0,
        settings=SETTINGS,
    )


def _at_edge(rng: Random, plan: ExtractionPlan) -> ExtractionPlan:
    """Return the plan for data that begin shortly before the burst, or end while it arrives."""
    half = plan.ntime // 2 * plan.bin_samples
    if rng.random() < 0.3:
        earlier = round(rng.uniform(0.05, 1) * half)
        return replace(plan, start=plan.arrival - earlier)
    return plan.within(plan.arrival + max(1, round(rng.uniform(0.05, 0.95) * (plan.count - half))))


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
        snr, start, width = _best_boxcar(series[0], instrument.widest)
        if _SNR_MIN <= snr < np.inf:
            found.append((snr, (dm, width, start * instrument.tsamp)))
    return [pulse for _, pulse in sorted(found, reverse=True)]


def _best_boxcar(series: Floats, widest: int) -> tuple[float, int, int]:
    """Return S/N, start and width of the strongest boxcar, each in units of its own width's noise.

    `darc.science.boxcar` does it with more care for the noise, and takes ten times as long.
    """
    sums = np.concatenate(([0.0], np.cumsum(series, dtype=np.float64)))
    best = (0.0, 0, 1)
    for width in (1, 2, 5, 10, 25, 50, 100, 250):
        if width > min(widest, len(series) // 8):
            break
        values = sums[width:] - sums[:-width]
        some = values[::width] if len(values) < 4000 * width else values[:: len(values) // 4000]
        middle = float(np.median(some))
        noise = 1.4826 * float(np.median(np.abs(some - middle)))
        start = int(np.argmax(values))
        if noise > 0 and (snr := (float(values[start]) - middle) / noise) > best[0]:
            best = (snr, start, width)
    return best


def _extracted(data: Bytes, plan: ExtractionPlan) -> Extraction | None:
    """Extract a candidate; None if it fails the thresholds before the classifier."""
    found = None
    with suppress(ValueError):  # less than half of the band is in the data
        found = extract(data, plan, SETTINGS, descending=False)
    if found is None or not np.isfinite(found.snr_best) or found.snr_best < _SNR_MIN:
        return None
    return found if found.snr_dm0 - found.snr < _SNR_DM0_MORE else None


def _example(
    kind: str, found: Extraction, plan: ExtractionPlan, true_snr: float, delay: float
) -> Example:
    return Example(
        is_burst=true_snr > 0,
        kind=kind,
        freq_time=found.freq_time,
        dm_time=found.dm_time,
        measured=extraction_features(found, plan),
        snr=found.snr_best,
        true_snr=true_snr,
        dm=plan.dm,
        width=plan.bin_samples,
        delay=delay,
    )
