"""Whole searches by darc_process, of which the lists on disk are read: bursts, noise, samples."""

from __future__ import annotations

import itertools
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

import interference
import numpy as np
from cells import INSTRUMENTS, KINDS
from darc_side import Listed, Searched, search
from msgspec import Struct
from msgspec.structs import asdict
from oracle import (
    LEVELS,
    Doubles,
    Floats,
    Instrument,
    Random,
    boxcar_snr,
    dedispersed,
    read,
    write,
    write_many,
)

# -- bursts ----------------------------------------------------------------------------------------


class SearchedFile(Struct, frozen=True):
    """A file with a burst of each S/N, so many seconds apart."""

    instrument: str
    kind: str
    width: int
    snrs: tuple[float, ...]
    apart: float = 3.0


SEARCHED = (
    SearchedFile("64 channels 400-800", "flat", 1, (8, 12, 20, 40, 100, 300, 1000)),
    SearchedFile("64 channels 400-800", "flat", 10, (8, 12, 20, 40, 100, 300, 1000)),
    SearchedFile("64 channels 400-800", "quarter of the band", 5, (12, 20, 40, 100, 300)),
    SearchedFile("64 channels 400-800", "scattered", 5, (12, 20, 40, 100, 300)),
    SearchedFile("16 channels 1300-1400", "flat", 2, (12, 20, 40, 100, 300, 5000), 12.0),
    SearchedFile("ASKAP-like, 336 channels", "flat", 2, (12, 20, 60, 100, 300, 2000)),
    SearchedFile("ASKAP-like, 336 channels", "drifting", 5, (12, 20, 60, 100, 300, 2000)),
    SearchedFile("1 bit, 512 channels", "flat", 10, (12, 20, 60, 150)),
    SearchedFile("4-8 GHz, 256 channels", "flat", 30, (12, 40, 300, 5000), 1.5),
    SearchedFile("110-190 MHz, 800 channels", "flat", 10, (12, 40, 300, 5000), 10.0),
    SearchedFile("ARTS", "flat", 3, (20, 200, 2000), 2.0),
)


class Found(Struct, frozen=True):
    """A burst, and the line of the lists that is its own: 0 where there is none.

    :param clusters: lines of the list of clusters while it crosses the band; likewise kept
    """

    instrument: str
    kind: str
    width: int
    asked: float
    seen: float
    snr_searched: float
    snr: float
    dm_off: float  # in delay across the band per width of the best boxcar
    late: float  # of its start, s
    tsamp: float
    true_width: int
    found_width: int
    clusters: int
    kept: int

    @property
    def late_widths(self) -> float:
        return self.late / self.tsamp / self.true_width

    def plain(self) -> dict[str, object]:
        return asdict(self)


def searched_file(what: SearchedFile) -> list[Found]:
    """Make the file, search it, and look for each burst in the lists."""
    instrument = INSTRUMENTS[what.instrument]
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "bursts.fil"
        bursts = [(snr, what.width) for snr in what.snrs]
        truths = write_many(*(path, instrument, KINDS[what.kind].components, bursts, what.apart, 1))
        options = ("--dm-max", f"{2 * instrument.dm:g}", "--jobs", "1")
        lists = search(path, Path(directory) / "out", options)
    found = []
    for snr, truth in zip(what.snrs, truths, strict=True):
        start = truth.start * instrument.tsamp
        clusters, kept = (
            [one for one in some if abs(one.time - start) < what.apart / 2]
            for some in (lists.clusters, lists.kept)
        )
        near = max(0.02, 3 * truth.width * instrument.tsamp)
        mine = _strongest(kept, start, near, instrument)
        searched = _strongest(clusters, start, near, instrument)
        line = mine or searched
        found.append(
            Found(
                *(what.instrument, what.kind, what.width, snr, truth.seen),
                snr_searched=searched.snr if searched else 0.0,
                snr=mine.snr if mine else 0.0,
                dm_off=(line.dm - instrument.dm) * instrument.across(1.0) / truth.width
                if line
                else math.nan,
                late=line.time - start if line else math.nan,
                tsamp=instrument.tsamp,
                true_width=truth.width,
                found_width=line.width if line else 0,
                clusters=len(clusters),
                kept=len(kept),
            )
        )
    return found


def _strongest(
    lines: Sequence[Listed], start: float, near: float, instrument: Instrument
) -> Listed | None:
    """Of those whose DM and time are about the burst's: the delay across the band, too."""
    across = instrument.across(1.0) * instrument.tsamp
    some = [
        one
        for one in lines
        if abs(one.time - start) < near and abs(one.dm - instrument.dm) * across < 2 * near
    ]
    return max(some, key=lambda one: one.snr, default=None)


# -- noise -----------------------------------------------------------------------------------------

QUIET = Instrument("128 channels", 1220.0, 1520.0, 128, 5e-4, 8, 100.0)
LIMITS = (6.0, 7.0, 8.0, 10.0)
_DM_MAX, _SECONDS, _LONGEST = 500.0, 60.0, 100


def _red(n: int, knee: float, rng: Random) -> Doubles:
    """Noise of a spectrum of 1/f that is that of white noise of deviation 1 at the knee (Hz)."""
    f = np.fft.rfftfreq(n, QUIET.tsamp)
    f[0] = np.inf
    waves = rng.standard_normal((2, len(f))) * np.sqrt(n / 2)
    return np.asarray(np.fft.irfft((waves[0] + 1j * waves[1]) * np.sqrt(knee / f), n))


def white(rows: Floats, rng: Random) -> None:
    """Nothing but that."""


def red(rows: Floats, rng: Random) -> None:
    """1/f: of the receiver, in all channels alike, below 10 Hz in the sum; of each, below 0.1."""
    rows += (_red(rows.shape[1], 10.0, rng) / np.sqrt(len(rows))).astype(np.float32)
    for channel in range(len(rows)):
        rows[channel] += _red(rows.shape[1], 0.1, rng).astype(np.float32)


def with_interference(rows: Floats, rng: Random) -> None:
    """A kind for 6 s, then the next."""
    kinds = [kind for name, kind in interference.KINDS.items() if name != "nothing"]
    length = round(6.0 / QUIET.tsamp)
    for begin in range(0, rows.shape[1], length):
        kinds[rng.integers(len(kinds))](rows[:, begin : begin + length], QUIET.tsamp, rng)


NOISES = {one.__name__: one for one in (white, red, with_interference)}


class Noise(Struct, frozen=True):
    """What a search lists of a minute of noise.

    :param listed: S/N of the clusters; likewise those of them that are kept
    """

    noise: str
    seed: int
    seconds: float
    listed: tuple[float, ...]
    kept: tuple[float, ...]

    def plain(self) -> dict[str, object]:
        return asdict(self)


def searched_noise(which: tuple[str, int]) -> list[Noise]:
    """Search a minute of noise down to the lowest limit."""
    name, seed = which
    rng = np.random.default_rng([seed, *name.encode()])
    n = round(_SECONDS / QUIET.tsamp)
    rows = rng.standard_normal((QUIET.nchans, n), dtype=np.float32)
    NOISES[name](rows, rng)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "noise.fil"
        write(path, QUIET, LEVELS[8].numbers(rows), None)
        options = ("--dm-max", f"{_DM_MAX:g}", "--snr-min", f"{LIMITS[0]:g}", "--jobs", "1")
        lists = search(path, Path(directory) / "out", options)
    return [Noise(name, seed, _SECONDS, *_by_search(lists))]


def _by_search(lists: Searched) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """S/N of the search, of all clusters and of those that were kept."""
    kept = {
        min(
            (one for one in lists.clusters if abs(one.dm - line.dm) < 0.006),
            key=lambda one: abs(one.time - line.time),
        )
        for line in lists.kept
    }
    return tuple(one.snr for one in lists.clusters), tuple(one.snr for one in kept)


def expected_per_hour(limit: float) -> tuple[float, float]:
    """Of Gaussian noise, at least and at most: independent boxcars, and all, times Q(limit).

    Q(x) = erfc(x / sqrt 2) / 2. Trial DMs as the delay across the band goes by a sample or by the
    smearing within a channel; widths 1, 2, …, 8, 10, 12, 14, 16, 20, … 96 samples.
    """
    dm, n_dms = 20.0, 0
    while dm < _DM_MAX:
        smearing = float(np.median(QUIET.smearing(dm)))
        dm += math.hypot(1, smearing) / QUIET.across(1.0)
        n_dms += 1
    n = 3600 / QUIET.tsamp
    chance = math.erfc(limit / math.sqrt(2)) / 2
    every = {(part << power) // 4 for part, power in itertools.product((4, 5, 6, 7), range(7))}
    widths = [width for width in sorted(every) if width <= _LONGEST]
    independent = n_dms * sum(n / width for width in widths) * chance
    return independent, n_dms * n * len(widths) * chance


# -- real data -------------------------------------------------------------------------------------


class Sampled(Struct, frozen=True):
    """A line of the list of a real file, and what the oracle measures there.

    :param kept: "no": its S/N is that of the search
    :param oracle: S/N at the line's DM and width, of the boxcars that begin within a width of it
    :param oracle_dm0: likewise at DM 0
    """

    file: str
    said: str
    snr: float
    dm: float
    time: float
    width: int
    kept: str
    oracle: float
    oracle_dm0: float

    def plain(self) -> dict[str, object]:
        return asdict(self)


def measured_at(path: Path, line: Listed) -> tuple[float, float]:
    """S/N there, and at DM 0: against 2 s around it, channels each of median 0."""
    said, data = read(path)
    rows = data[:, 0].T.astype(np.float64)
    step, first = abs(said["foff"]), said["fch1"]
    if said["foff"] < 0:
        rows, first = rows[::-1], first - step * (said["nchans"] - 1)
    n, tsamp = said["nchans"], said["tsamp"]
    band = Instrument(
        *("", first - step / 2, first + step * (n - 0.5), n, tsamp, said["nbits"], line.dm)
    )
    rows = rows - np.median(rows, axis=1, keepdims=True)
    around, at = max(round(1.0 / tsamp), 30 * line.width), round(line.time / tsamp)
    begin, found = max(0, at - around), []
    for dm in (line.dm, 0.0):
        series = dedispersed(rows, np.rint(band.delays(dm)).astype(np.int64))
        snrs = boxcar_snr(series[begin : at + around], line.width)
        place = at - begin
        found.append(float(snrs[max(0, place - line.width) : place + line.width + 1].max()))
    return found[0], found[1]


def searched_sample(path: Path, most: int = 8) -> list[Sampled]:
    """Search a real file as darc_process does by default; the strongest of what it lists."""
    with tempfile.TemporaryDirectory() as directory:
        lists = search(path, Path(directory) / "out", ("--jobs", "1"))
    # A candidate has the DM of its cluster, and a time that was measured anew.
    lines = [(one, "yes") for one in lists.kept]
    lines += [
        (one, "no")
        for one in lists.clusters
        if not any(
            abs(one.dm - line.dm) < 0.006 and abs(one.time - line.time) < 0.5 for line, _ in lines
        )
    ]
    strongest = sorted(lines, key=lambda line: -line[0].snr)[:most]
    if not strongest:
        return [Sampled(path.name, lists.said, *(math.nan,) * 3, 0, "none", *(math.nan,) * 2)]
    return [
        Sampled(
            *(path.name, lists.said, one.snr, one.dm, one.time, one.width, kept),
            *measured_at(path, one),
        )
        for one, kept in strongest
    ]
