"""Simulated filterbank data: noise, known bursts, and interference.

The noise comes from a block of random numbers that is generated once (64 MB): each `CHUNK` of
samples of a TAB is a part of it at a random position, which is fast. So the noise repeats itself,
at different places in each TAB and irregularly. All data depend only on the seed and the index of
a sample, not on the blocks that are read.

A burst's S/N is that of a matched filter on the sum of all channels, dedispersed at its DM, in the
beam where it is brightest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from darc.config.records import Struct, replace
from darc.data_files.filterbank_header import FilterbankHeader
from darc.science.compiled import compiled
from darc.science.dedispersion import Band
from darc.science.synthesised_beam import SynthesisedBeams
from simulator.bursts import AmberSearch, Burst
from simulator.interference import Interference
from simulator.synthetic_pulse import (
    DispersedPulse,
    add_pulse,
    dedispersed_profile,
    dispersed_pulse,
    ideal_boxcar,
)

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Samples = npt.NDArray[Any]

#: Consecutive time samples from one position in the random numbers.
CHUNK = 1024

#: Largest number of random numbers, and smallest number of chunks.
_NUMBERS, _LEAST_CHUNKS = 1 << 24, 4

#: Length of a batch of AMBER, whatever the sampling (s).
_BATCH_S = 1.024

#: Mean and standard deviation of the noise, by bits per sample.
_LEVELS = {
    1: (0.5, 1.0),
    2: (1.5, 1.0),
    4: (7.5, 2.5),
    8: (100.0, 10.0),
    16: (10_000.0, 500.0),
    32: (100.0, 10.0),
}


class SimulatedInstrument(Struct, frozen=True, kw_only=True):
    """A simulated instrument: its data and its beams.

    :param header: header of each file, with one IF
    :param n_tabs: number of TABs, each with a file
    :param sbs: table of SBs, shape (n_sbs, n_subbands); None: TABs are searched
    :param bandpass: whether the gain varies with the channel, and falls off at the band's edges;
        ignored with less than 8 bits
    """

    header: FilterbankHeader
    n_tabs: int = 1
    sbs: SynthesisedBeams | None = None
    bandpass: bool = True

    def __post_init__(self) -> None:
        if self.header.nifs != 1 or self.header.signed:
            raise ValueError("the header must have one IF and unsigned samples")
        if self.sbs is not None and self.sbs.max() >= self.n_tabs:
            raise ValueError(f"TAB {self.sbs.max()} in the table of SBs; there are {self.n_tabs}")

    @property
    def band(self) -> Band:
        """Channels in ascending frequency."""
        return Band(self.header.f_lowest, self.header.channel_width, self.header.nchans)

    @property
    def n_beams(self) -> int:
        """Number of searched beams: SBs or TABs."""
        return self.n_tabs if self.sbs is None else len(self.sbs)

    def search(self, search: AmberSearch | None = None) -> AmberSearch:
        """Return the parameters of a search of this instrument's data."""
        band = self.band
        return replace(
            search or AmberSearch(),
            tsamp=self.header.tsamp,
            batch_samples=max(1, round(_BATCH_S / self.header.tsamp)),
            freq_centre=band.f_centre,
            bandwidth=band.channel_width * band.n_channels,
            n_channels=band.n_channels,
            beams=self.n_beams,
            beam_period=1 if self.sbs is None else self.n_tabs,
        )


class _Placed(Struct, frozen=True, eq=False):
    """A burst in the data, with its strength per TAB and channel, in ascending frequency."""

    pulse: DispersedPulse
    strengths: Floats  # units of noise, shape (n_tabs, n_channels)

    def reaches(self, begin: int, end: int) -> bool:
        firsts = self.pulse.firsts
        return bool(firsts.min() < end and firsts.max() + self.pulse.shape.shape[1] > begin)


class Filterbanks:
    """Data of an observation, in blocks per TAB.

    :ivar searched: the bursts as detected by a search with boxcars, for matching trigger files
    """

    def __init__(
        self,
        instrument: SimulatedInstrument,
        bursts: Sequence[Burst],
        interference: Sequence[Interference] = (),
        *,
        seed: int,
        search: AmberSearch | None = None,
    ) -> None:
        """Prepare noise, bursts and interference.

        :param search: parameters of the search, which give the S/N in neighbouring beams
        :raises ValueError: a burst is in a beam that does not exist
        """
        self.instrument = instrument
        self._seed, self._interference = seed, interference
        header, band = instrument.header, instrument.band
        n_channels = header.nchans
        mean, sigma = _LEVELS[header.nbits]
        flat = not instrument.bandpass or header.nbits < 8
        gain = np.ones(n_channels) if flat else _bandpass(n_channels)
        #: By column of the file.
        self._mean = (mean * gain).astype(np.float32)
        self._sigma = (sigma * gain).astype(np.float32)
        self._columns = np.arange(n_channels)[:: -1 if header.descending else 1]
        self._highest = 0 if header.nbits == 32 else (1 << header.nbits) - 1
        self._dtype = np.dtype({16: "<u2", 32: "<f4"}.get(header.nbits, "u1"))
        rng = np.random.default_rng(seed)
        length = max(_NUMBERS // n_channels, _LEAST_CHUNKS * CHUNK)
        self._noise = rng.standard_normal((length, n_channels), dtype=np.float32)
        self._ready = np.empty((length, n_channels), dtype=self._dtype)
        _digitise(self._noise, self._mean, self._sigma, self._highest, self._ready)
        # Compensate the S/N that few bits take from a weak signal.
        lost = _digital_efficiency(mean, sigma, header.nbits)
        falling = instrument.search(search)
        self._placed, self.searched = [], []
        for burst in bursts:
            arrival = burst.time_s / header.tsamp
            pulse = dispersed_pulse(
                band,
                header.tsamp,
                dm=burst.dm,
                width=burst.width_samples,
                arrival=arrival,
                scattering=burst.scattering_s / header.tsamp,
            )
            weights = gain[self._columns]
            shifts = band.shifts([burst.dm], header.tsamp)[0]
            first, profile = dedispersed_profile(pulse, shifts, weights / np.linalg.norm(weights))
            amplitude = burst.snr / float(np.linalg.norm(profile))
            strengths = amplitude / lost * _by_channel(instrument, burst.beam, falling)
            self._placed.append(_Placed(pulse, strengths.astype(np.float32)))
            start, width, snr = ideal_boxcar(profile)
            self.searched.append(
                replace(
                    burst,
                    time_s=max(first + start, 0) * header.tsamp,
                    width_samples=width,
                    snr=amplitude * snr,
                )
            )

    def block(self, tab: int, begin: int, end: int) -> Samples:
        """Return samples `begin` to `end` of a TAB.

        :return: samples as in the file, shape (end - begin, nchans)
        """
        header, count = self.instrument.header, end - begin
        pieces = self._pieces(tab, begin, end)
        signal = self._signal(tab, begin, end)
        block = np.empty((count, header.nchans), dtype=self._dtype)
        done = 0
        for first, length in pieces:
            part = slice(done, done + length)
            if signal is None:
                block[part] = self._ready[first : first + length]
            else:
                signal[part] += self._noise[first : first + length]
            done += length
        if signal is not None:
            _digitise(signal, self._mean, self._sigma, self._highest, block)
        return block

    def _pieces(self, tab: int, begin: int, end: int) -> list[tuple[int, int]]:
        """Return the positions of the noise of samples: first random number in time, and count."""
        pieces = []
        while begin < end:
            number, inside = divmod(begin, CHUNK)
            rng = np.random.default_rng((self._seed, tab, number))
            place = int(rng.integers(len(self._noise) - CHUNK + 1))
            length = min(CHUNK - inside, end - begin)
            pieces.append((place + inside, length))
            begin += length
        return pieces

    def _signal(self, tab: int, begin: int, end: int) -> Floats | None:
        """Return bursts and interference, in units of the noise; None if there are none."""
        header = self.instrument.header
        signal = np.zeros((0, 0), dtype=np.float32)
        shape = (end - begin, header.nchans)
        for placed in self._placed:
            if placed.reaches(begin, end) and placed.strengths[tab].any():
                signal = signal if signal.size else np.zeros(shape, dtype=np.float32)
                pulse, strengths = placed.pulse, placed.strengths[tab]
                add_pulse(signal, begin, self._columns, pulse.firsts, pulse.shape, strengths)
        for one in self._interference:
            there = one.in_samples(begin, end - begin, header.tsamp)
            if there.any():
                signal = signal if signal.size else np.zeros(shape, dtype=np.float32)
                columns = (header.frequencies >= one.f_low) & (header.frequencies <= one.f_high)
                signal[np.ix_(there, columns)] += np.float32(one.strength)
        return signal if signal.size else None


def _bandpass(n_channels: int) -> Doubles:
    """Return the gain by channel, about 1: uneven, and half at the band's edges."""
    place = np.linspace(-1, 1, n_channels)
    return (1 - 0.5 * place**8) * (1 + 0.1 * np.sin(9 * place) + 0.05 * np.cos(31 * place))


@compiled
def _digitise(values: Floats, mean: Floats, sigma: Floats, highest: int, samples: Samples) -> None:
    """Convert values in units of noise to samples, from 0 to `highest`; 0: floats."""
    for row in range(values.shape[0]):
        for column in range(values.shape[1]):
            level = mean[column] + sigma[column] * values[row, column]
            if highest > 0:
                level = np.rint(min(max(level, np.float32(0)), np.float32(highest)))
            samples[row, column] = level


def _digital_efficiency(mean: float, sigma: float, nbits: int) -> float:
    """Return the fraction of a weak signal's S/N that is left after digitisation."""
    if nbits > 4:
        return 1.0
    places = ((np.arange((1 << nbits) - 1) + 0.5 - mean) / sigma).tolist()
    density = sum(math.exp(-(place**2) / 2) for place in places) / math.sqrt(2 * math.pi)
    below = np.array([0.0, *(math.erfc(-place / math.sqrt(2)) / 2 for place in places), 1.0])
    share = np.diff(below)
    levels = np.arange(len(share))
    variance = float(share @ levels**2 - (share @ levels) ** 2)
    return density / math.sqrt(variance)


def _by_channel(instrument: SimulatedInstrument, beam: int, search: AmberSearch) -> Doubles:
    """Return the strength of a burst in each TAB and channel, relative to its beam.

    With SBs it is set in the TABs and subbands of its SB; then in the other subbands of
    neighbouring SBs, such that they reach their S/N. Other SBs that share TABs detect some of it,
    too.

    :return: shape (n_tabs, n_channels), the lowest frequency first
    :raises ValueError: there is no such beam
    """
    if not 0 <= beam < instrument.n_beams:
        raise ValueError(f"a burst in beam {beam}; there are {instrument.n_beams}")
    n_channels = instrument.header.nchans
    if instrument.sbs is None:
        away = np.abs(np.arange(instrument.n_tabs) - beam)
        return np.repeat(search.beam_falloff ** away[:, np.newaxis], n_channels, axis=1)
    period, sbs = search.beam_period, instrument.sbs
    n_subbands = sbs.shape[1]
    set_to = np.full((instrument.n_tabs, n_subbands), np.nan)
    family = range(beam % period, len(sbs), period)
    for one in sorted(family, key=lambda other: abs(other - beam)):
        cells = set_to[sbs[one], np.arange(n_subbands)]
        free = np.isnan(cells)
        if free.any():
            wanted = search.beam_falloff ** (abs(one - beam) // period) * n_subbands
            missing = max(0.0, wanted - float(np.nansum(cells))) / int(free.sum())
            set_to[sbs[one][free], np.flatnonzero(free)] = min(missing, 1.0)
    subbands = np.searchsorted(
        np.arange(1, n_subbands) * n_channels // n_subbands, np.arange(n_channels), side="right"
    )
    strengths: Doubles = np.nan_to_num(set_to)[:, subbands]
    return strengths


def filterbank_paths(directory: Path, cb: int, n_tabs: int) -> list[Path]:
    """Return the paths of a CB's filterbank files; a single TAB may have either name.

    :param n_tabs: number of TABs of the observation
    """
    single = directory / f"CB{cb:02d}.fil"
    tabs = [directory / f"CB{cb:02d}_{tab:02d}.fil" for tab in range(n_tabs)]
    return tabs if n_tabs > 1 or (tabs[0].exists() and not single.exists()) else [single]
