"""Bursts in noise as filterbank files, and what a matched filter measures of them.

Nothing of DARC is imported: what is compared with it shares no line with it. Units: MHz, s,
pc cm-3; data in units of the noise of one channel's sample (sigma) before they are quantised.

A burst is a top-hat of `width` samples in time, at each frequency f later by

    t(f) = K DM (f**-2 - f_top**-2),    K = e**2 / (2 pi m_e c) = 4.148806e3 MHz2 pc-1 cm3 s,

f_top the upper edge of the band. A channel from f - df/2 to f + df/2 sees the mean over its width,
a top-hat convolved with another of t(f - df/2) - t(f + df/2); scattering convolves it with
exp(-t / tau) / tau, tau ~ f**-4; a sample is the mean over its length. With the step's response
1 - exp(-t / tau) integrated twice,

    P(t) = t**2 / 2 - tau t + tau**2 (1 - exp(-t / tau))   (t > 0; else 0),

the integral over time of what a channel sees of a top-hat of width w smeared by s is
(P(t) - P(t - w) - P(t - s) + P(t - w - s)) / s, and a sample is a difference of two of these.

S/N of a signal h(c, t) in white noise of deviation sigma in N channels, with the sum of the band
p(t) = sum_c h(c, t + t(c)):

    matched filter, all that is known     sqrt(sum_ct h**2) / sigma
    matched filter of the band            sqrt(sum_t p**2) / (sigma sqrt(N))
    boxcar of w samples                   max_s sum_(s <= t < s + w) p / (sigma sqrt(w N)),  best w

t(c) rounded to samples. "The matched filter" is that of the band here: it is what any sum over
channels can reach. `seen` is its output for the noise that is in the file,
sum_t p(t) x(t) / (sigma sqrt(N) sqrt(sum_t p**2)), x(t) the sum of the channels.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from msgspec import Struct
from msgspec.structs import replace

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Random = np.random.Generator

K = 4.148806e3
#: What a receiver gives of no data at all; in the file it is 0.
NO_DATA = -np.inf


class Instrument(Struct, frozen=True):
    """What data are of; `low` and `high` are the edges of the band.

    :param dm: of its bursts
    """

    name: str
    low: float
    high: float
    nchans: int
    tsamp: float
    nbits: int
    dm: float
    descending: bool = True

    @property
    def width(self) -> float:
        return (self.high - self.low) / self.nchans

    @property
    def frequencies(self) -> Doubles:
        """Centres of the channels, the lowest first."""
        return self.low + self.width * (np.arange(self.nchans) + 0.5)

    def delays(self, dm: float) -> Doubles:
        """Of the channels' centres against the upper edge of the band, samples."""
        return np.asarray(K * dm * (self.frequencies**-2 - self.high**-2) / self.tsamp)

    def smearing(self, dm: float) -> Doubles:
        """Within each channel, samples."""
        f, half = self.frequencies, self.width / 2
        smearing: Doubles = K * dm * ((f - half) ** -2 - (f + half) ** -2) / self.tsamp
        return smearing

    def across(self, dm: float) -> float:
        """Delay across the band, samples."""
        return K * dm * (self.low**-2 - self.high**-2) / self.tsamp


# -- a burst ---------------------------------------------------------------------------------------


class Component(Struct, frozen=True):
    """A part of a burst: the same in all of its channels.

    :param part: of the band, from 0 (lowest) to 1
    :param late: widths
    :param scattering: tau at the middle of the band, widths
    """

    part: tuple[float, float] = (0.0, 1.0)
    late: float = 0.0
    scattering: float = 0.0


def _twice_integrated(t: Doubles, tau: Doubles) -> Doubles:
    t = np.maximum(t, 0.0)
    tau = np.maximum(tau, 1e-9)
    return np.asarray(t**2 / 2 - tau * t - tau**2 * np.expm1(-t / tau))


class Template(Struct, frozen=True, eq=False):
    """A burst without noise, of matched-filter S/N 1: one row per channel, dedispersed.

    :param index: sample of the file for each of its values, shape (nchans, n)
    :param values: sigma, shape (nchans, n)
    """

    index: Ints
    values: Doubles


def template(
    instrument: Instrument, components: tuple[Component, ...], width: float, arrival: float
) -> Template:
    """Make a burst.

    :param width: samples
    :param arrival: of its leading edge at the top of the band, sample
    """
    dm, f = instrument.dm, instrument.frequencies
    smearing = np.maximum(instrument.smearing(dm), 1e-3)
    shifts = np.rint(instrument.delays(dm)).astype(np.int64)
    # At the upper edge of each channel.
    earliest = K * dm * ((f + instrument.width / 2) ** -2 - instrument.high**-2) / instrument.tsamp
    tails = max(one.scattering for one in components) * width * (f / f.mean()) ** -4
    lasts = width * (1 + max(one.late for one in components))
    # From the earliest sample to where less than 1e-3 of the tail is left.
    first = math.floor(arrival - smearing.max()) - 1
    n = math.ceil(lasts + 2 * smearing.max() + 7 * tails.max()) + 4
    edges = (first + np.arange(n + 1))[np.newaxis] + shifts[:, np.newaxis].astype(np.float64)
    values = np.zeros((len(f), n))
    place = (np.arange(len(f)) + 0.5) / len(f)
    for one in components:
        inside = (place >= one.part[0]) & (place < one.part[1])
        begin = arrival + one.late * width + earliest[inside]
        t, s = edges[inside] - begin[:, np.newaxis], smearing[inside][:, np.newaxis]
        tau = (one.scattering * width * (f / f.mean()) ** -4)[inside][:, np.newaxis]
        so_far = (
            _twice_integrated(t, tau)
            - _twice_integrated(t - width, tau)
            - _twice_integrated(t - s, tau)
            + _twice_integrated(t - width - s, tau)
        ) / s
        values[inside] += np.diff(so_far, axis=1)
    values *= math.sqrt(len(f)) / np.linalg.norm(values.sum(axis=0))
    index = first + np.arange(n)[np.newaxis] + shifts[:, np.newaxis]
    return Template(index, values)


# -- quantisation ----------------------------------------------------------------------------------


class Levels(Struct, frozen=True):
    """How values in units of sigma become numbers of so many bits: clip(round(mean + sigma x)).

    :param mean: and `sigma`, of the noise
    """

    nbits: int
    mean: float
    sigma: float

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype({16: "<u2", 32: "<f4"}.get(self.nbits, "u1"))

    def numbers(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        out: Floats = np.multiply(values, np.float32(self.sigma), dtype=np.float32)
        out += np.float32(self.mean)
        if self.nbits < 32:
            np.rint(out, out=out)
        out[out == NO_DATA] = 0
        if self.nbits < 32:
            np.clip(out, 0, 2**self.nbits - 1, out=out)
        return out.astype(self.dtype)

    def expected(self, values: Doubles) -> Doubles:
        """Mean of the numbers of these values in noise, over what it is without, in sigmas.

        The mean number is sum_(k >= 1) P(number >= k), each a normal distribution's integral.
        """
        if self.nbits == 32:
            return values
        if self.nbits == 16:
            return np.minimum(values, (2**16 - 1 - self.mean) / self.sigma)
        at, mean, sigma = _table(self)
        return np.asarray((np.interp(values, at, mean) - np.interp(0.0, at, mean)) / sigma)

    def in_sigmas(self, numbers: npt.NDArray[Any]) -> Doubles:
        """Numbers over their mean in noise alone, in units of its deviation."""
        mean = self.mean
        if self.nbits < 16:
            at, means, _ = _table(self)
            mean = float(np.interp(0.0, at, means))
        return np.asarray((numbers - mean) / self.quantised_sigma, dtype=np.float64)

    @property
    def quantised_sigma(self) -> float:
        """Deviation of the numbers of noise alone."""
        return self.sigma if self.nbits >= 16 else _table(self)[2]


@cache
def _table(levels: Levels) -> tuple[Doubles, Doubles, float]:
    thresholds = np.arange(1, 2**levels.nbits) - 0.5
    top = (thresholds[-1] - levels.mean) / levels.sigma
    at = np.linspace(-0.5, top + 5, 800)
    above = np.vectorize(lambda x: 0.5 * math.erfc(x / math.sqrt(2)))
    chances = above((thresholds[:, np.newaxis] - levels.mean) / levels.sigma - at)
    alone = above((thresholds - levels.mean) / levels.sigma)
    # E[k**2] = sum_(k >= 1) (2 k - 1) P(number >= k)
    squares = ((2 * np.arange(1, 2**levels.nbits) - 1) * alone).sum()
    return at, chances.sum(axis=0), math.sqrt(squares - alone.sum() ** 2)


#: Noise has room for what bursts add; of 8 bits, there is "saturated", too.
LEVELS = {
    1: Levels(1, 0.5, 1.0),
    2: Levels(2, 1.3, 1.0),
    4: Levels(4, 5.0, 2.0),
    8: Levels(8, 64.0, 8.0),
    16: Levels(16, 1000.0, 12.0),
    32: Levels(32, 1000.0, 10.0),
}
SATURATED = Levels(8, 165.0, 30.0)


# -- a file ----------------------------------------------------------------------------------------


def header(instrument: Instrument, nifs: int = 1) -> bytes:
    """Of a SIGPROC filterbank: words are lengths (int32) and letters, then the value."""

    def word(text: str) -> bytes:
        return struct.pack("<i", len(text)) + text.encode()

    step = instrument.width
    first = instrument.high - step / 2 if instrument.descending else instrument.low + step / 2
    ints = {"telescope_id": 0, "machine_id": 0, "data_type": 1, "nbeams": 1, "ibeam": 0}
    ints |= {"nchans": instrument.nchans, "nbits": instrument.nbits, "nifs": nifs}
    doubles = {"tstart": 60000.0, "tsamp": instrument.tsamp, "fch1": first}
    doubles |= {"foff": -step if instrument.descending else step}
    return b"".join(
        [
            word("HEADER_START"),
            word("source_name") + word("made"),
            *(word(key) + struct.pack("<i", number) for key, number in ints.items()),
            *(word(key) + struct.pack("<d", number) for key, number in doubles.items()),
            word("HEADER_END"),
        ]
    )


def write(
    path: Path, instrument: Instrument, rows: npt.NDArray[Any], second: npt.NDArray[Any] | None
) -> None:
    """Write numbers, shape (nchans, n), the lowest frequency first; `second`, another IF."""
    with path.open("wb") as file:
        file.write(header(instrument, 1 if second is None else 2))
        block = max(1, 2**22 // len(rows))
        for begin in range(0, rows.shape[1], block):
            ifs = [one[:, begin : begin + block] for one in (rows, second) if one is not None]
            _write_block(file, instrument, ifs)


def _write_block(file: BinaryIO, instrument: Instrument, ifs: list[npt.NDArray[Any]]) -> None:
    order = slice(None, None, -1) if instrument.descending else slice(None)
    samples = np.stack([one[order].T for one in ifs], axis=1)
    if instrument.nbits < 8:  # the first channel is in the lowest bits
        per_byte = 8 // instrument.nbits
        parts = samples.reshape(-1, per_byte).astype(np.uint8)
        packed = np.zeros(len(parts), np.uint8)
        for number in range(per_byte):
            packed |= parts[:, number] << (number * instrument.nbits)
        samples = packed
    file.write(samples.tobytes())


# -- a burst in noise ------------------------------------------------------------------------------


class Receiver(Struct, frozen=True, eq=False):
    """What a receiver does to all channels: gain (mean + sigma (level + x)) is recorded of x.

    :param gain: shape (n,); likewise `level`, sigma
    """

    gain: Doubles
    level: Doubles


class Truth(Struct, frozen=True):
    """What is in a file; see above for the three S/N and `seen`.

    :param width: of the best boxcar, samples; likewise start and centre, at the top of the band
    """

    everything: float
    matched: float
    boxcar: float
    seen: float
    width: int
    start: int

    @property
    def centre(self) -> float:
        return self.start + self.width / 2


def best_boxcar(profile: Doubles) -> tuple[float, int, int]:
    """Sum over the root of its width, of the best boxcar; its start and width."""
    sums = np.concatenate(([0.0], np.cumsum(profile)))
    n = len(profile)
    widths = np.unique(np.rint(np.geomspace(1, n, 80)).astype(int))
    found = []
    for width in widths.tolist():
        heights = (sums[width:] - sums[: n + 1 - width]) / math.sqrt(width)
        found.append((float(heights.max()), int(heights.argmax()), width))
    return max(found)


class Scene:
    """Noise with a place for a burst, at which it can be put at any S/N: the noise is the same.

    :param disturb: changes the noise in place, or says what the receiver does
    :param nifs: 2: the burst is in the second of two polarisations
    """

    def __init__(
        self,
        instrument: Instrument,
        components: tuple[Component, ...],
        width: int,
        *,
        seed: int,
        disturb: Callable[[Floats, Instrument, Random, int], Receiver | None] | None = None,
        levels: Levels | None = None,
        nifs: int = 1,
    ) -> None:
        rng = np.random.default_rng(seed)
        self.instrument, self.levels = instrument, levels or LEVELS[instrument.nbits]
        smeared = width + float(np.median(instrument.smearing(instrument.dm)))
        lasts = smeared * (1 + max(one.late + one.scattering for one in components))
        beside = max(2048, math.ceil(40 * lasts))
        self.arrival = beside + rng.random()
        self.template = template(instrument, components, width, self.arrival)
        n = 2 * beside + math.ceil(1.1 * instrument.across(instrument.dm) + 2 * lasts)
        n = max(n, int(self.template.index.max()) + 1)
        rows = rng.standard_normal((instrument.nchans, n), dtype=np.float32)
        channels = np.arange(instrument.nchans)[:, np.newaxis]
        self._place = (channels, self.template.index)
        self._noise = rows[self._place]
        receiver = disturb(rows, instrument, rng, int(self.arrival)) if disturb else None
        receiver = receiver or Receiver(np.ones(n), np.zeros(n))
        rows += receiver.level.astype(np.float32)
        self._disturbed = rows[self._place]
        self._gain = receiver.gain
        self.rows = self._numbers(rows, self._gain[np.newaxis])
        gain = float(np.median(receiver.gain[self.template.index]))
        level = float(np.median(receiver.level[self.template.index]))
        mean, sigma = self.levels.mean, self.levels.sigma
        #: Where the burst is, gain and level change how it is rounded and cut off.
        self._local = replace(self.levels, mean=gain * (mean + level * sigma), sigma=gain * sigma)
        self._second = None
        if nifs == 2:
            self._second = self.levels.numbers(rng.standard_normal(rows.shape, dtype=np.float32))
            self._noise_of_second = self.levels.in_sigmas(self._second[self._place])

    def _numbers(self, values: npt.NDArray[Any], gain: Doubles) -> npt.NDArray[Any]:
        if (gain == 1).all():
            return self.levels.numbers(values)
        mean, sigma = self.levels.mean, self.levels.sigma
        # gain (mean + sigma x) = mean + sigma x'
        return self.levels.numbers((gain * (mean + sigma * values) - mean) / sigma)

    def write(self, path: Path, snr: float) -> Truth:
        """Write the file with a burst of this S/N (matched filter of the band, not quantised)."""
        ifs = 1 if self._second is None else 2
        burst = snr * self.template.values * math.sqrt(ifs)
        gain = self._gain[self.template.index]
        self.rows[self._place] = self._numbers(self._disturbed + burst, gain)
        write(path, self.instrument, self.rows, self._second)
        return self.truth(snr)

    def truth(self, snr: float) -> Truth:
        """What the file has, of a burst of this S/N."""
        ifs = 1 if self._second is None else 2
        burst = snr * self.template.values * math.sqrt(ifs)
        signal = self._local.expected(burst) / math.sqrt(ifs)
        clean = self._local.in_sigmas(self._local.numbers(self._noise + burst))
        if self._second is not None:
            clean = (clean + self._noise_of_second) / math.sqrt(2)
        return truth_of(self.instrument, self.template, signal, clean)


def truth_of(instrument: Instrument, burst: Template, signal: Doubles, numbers: Doubles) -> Truth:
    """What there is to be measured.

    :param burst: where the signal is
    :param signal: sigma, without noise
    :param numbers: as in the file, without what disturbs it, sigma
    """
    root = math.sqrt(len(signal))
    profile, series = signal.sum(axis=0) / root, numbers.sum(axis=0) / root
    boxcar, start, width = best_boxcar(profile)
    norm = float(np.linalg.norm(profile))
    shift = round(float(instrument.delays(instrument.dm)[0]))
    return Truth(
        everything=float(np.linalg.norm(signal)),
        matched=norm,
        boxcar=boxcar,
        seen=float(series @ profile) / norm,
        width=width,
        start=start + int(burst.index[0, 0]) - shift,
    )


def write_many(
    path: Path,
    instrument: Instrument,
    components: tuple[Component, ...],
    bursts: Sequence[tuple[float, int]],
    apart: float,
    seed: int,
    level: float = 0.0,
) -> list[Truth]:
    """Write a file with several bursts, so many seconds apart, of which each is (S/N, width).

    :param level: of the noise, sigma above the usual
    """
    rng, levels = np.random.default_rng(seed), LEVELS[instrument.nbits]
    levels = replace(levels, mean=levels.mean + level * levels.sigma)
    gap = round(apart / instrument.tsamp)
    n = (len(bursts) + 1) * gap + math.ceil(1.2 * instrument.across(instrument.dm))
    rows = rng.standard_normal((instrument.nchans, n), dtype=np.float32)
    channels, found = np.arange(instrument.nchans)[:, np.newaxis], []
    for number, (snr, width) in enumerate(bursts, 1):
        burst = template(instrument, components, width, number * gap + rng.random())
        rows[channels, burst.index] += snr * burst.values
        numbers = levels.in_sigmas(levels.numbers(rows[channels, burst.index]))
        signal = levels.expected(snr * burst.values)
        found.append(truth_of(instrument, burst, signal, numbers))
    write(path, instrument, levels.numbers(rows), None)
    return found


# -- measurement of a file -------------------------------------------------------------------------


def read(path: Path) -> tuple[dict[str, Any], npt.NDArray[Any]]:
    """Header and data of a filterbank, shape (n, nifs, nchans)."""
    raw = path.read_bytes()
    end = raw.index(b"HEADER_END") + 10
    kinds = {"tsamp": "d", "fch1": "d", "foff": "d", "nchans": "i", "nbits": "i", "nifs": "i"}
    said: dict[str, Any] = {"nifs": 1}
    for key, kind in kinds.items():
        if (at := raw[:end].find(struct.pack("<i", len(key)) + key.encode())) >= 0:
            said[key] = struct.unpack_from("<" + kind, raw, at + 4 + len(key))[0]
    nbits, size = said["nbits"], said["nifs"] * said["nchans"]
    count = len(raw[end:]) * 8 // (size * nbits)
    body = raw[end : end + count * size * nbits // 8]
    if nbits >= 8:
        data = np.frombuffer(body, {8: "u1", 16: "<u2", 32: "<f4"}[nbits])
    else:
        places = nbits * np.arange(8 // nbits, dtype=np.uint8)
        data = (np.frombuffer(body, "u1")[:, np.newaxis] >> places) & (2**nbits - 1)
    data = data.reshape(count, said["nifs"], said["nchans"])
    return said, data


def dedispersed(rows: npt.NDArray[Any], shifts: Ints) -> Doubles:
    """Sum of channels, shape (nchans, n), each taken so many samples later."""
    n = rows.shape[1] - int(shifts.max())
    series = np.zeros(max(n, 0))
    for row, shift in zip(rows, shifts.tolist(), strict=True):
        series += row[shift : shift + len(series)]
    return series


def boxcar_snr(series: Doubles, width: int, apart: int | None = None) -> Doubles:
    """S/N of each boxcar of a width: over the median of all, in units of 1.4826 times the MAD."""
    sums = np.concatenate(([0.0], np.cumsum(series)))
    boxes = sums[width:] - sums[:-width]
    some = boxes[:: apart or max(1, width // 2)]
    middle = np.median(some)
    mad = 1.4826 * np.median(np.abs(some - middle))
    return np.asarray((boxes - middle) / mad)
