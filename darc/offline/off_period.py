"""Signal of a file at a period, and the noise at wrong periods close by."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from darc.config.records import Struct
from darc.data_files.data_file import DataFile
from darc.offline.file_stream import blocks, n_samples
from darc.science.arrays import Doubles
from darc.science.folding import Folded, PhaseModel, add_in_turns
from darc.science.periodicity import Harmonics, clipped, harmonics, levelled

#: Maximum number of bins of a Fourier transform.
_MOST_BINS = 1 << 21
#: Number of times at which turns are computed, to find the samples of a range.
_MARKS = 4097


class PeriodicSignal(Struct, frozen=True, eq=False):
    """Signal of a file at a period.

    :param profile: of all complete turns, in units of the standard deviation of white noise, shape
        (n_bins,)
    :param colour: noise spectrum, see :func:`darc.science.profile.profile_peak`
    :param found: harmonics for the false-alarm probability
    """

    profile: Doubles
    colour: Doubles
    found: Harmonics


def at_period(
    file: DataFile, model: PhaseModel, dm: float, folded: Folded, n_bins: int
) -> PeriodicSignal | None:
    """Dedisperse a file, arrange it in turns of a period, and measure signal and noise.

    :param model: phase model of the period
    :param dm: pc cm-3
    :param folded: the file folded at that period, for means and variances of its channels
    :param n_bins: bins per turn
    :return: None if there is no complete turn
    """
    delays = file.delays(dm)
    profile, white = np.zeros(n_bins), 0.0
    found: Harmonics | None = None
    plain: Harmonics | None = None
    for first, n_turns in _stretches(file, model, n_bins):
        sums, counts = np.zeros(n_turns * n_bins), np.zeros(n_turns * n_bins)
        offsets = delays * model.frequency(_time_of(file, model, first)) * n_bins
        late = float(offsets.max()) / n_bins
        for begin, data in blocks(file, *_samples(file, model, first, first + n_turns + late)):
            numbers = begin + np.arange(len(data), dtype=np.float64)
            turns = model.turns((numbers + 0.5) * file.header.tsamp) - first
            add_in_turns(data, turns * n_bins, offsets, folded.channels, sums, counts)
        shape = (n_turns, n_bins)
        series, power = levelled(sums.reshape(shape), counts.reshape(shape))
        white += power
        profile += series.reshape(shape).sum(axis=0)
        part = harmonics(series, n_turns, power)
        plain = part if plain is None else plain.plus(part)
        part = harmonics(clipped(series), n_turns, power)
        found = part if found is None else found.plus(part)
    if plain is None or found is None:
        return None
    # Phases are counted from the model's phase 0, not from the first sample.
    deviation = math.sqrt(white / n_bins) if white > 0 else 1.0
    return PeriodicSignal(profile / deviation, plain.colour, found)


def _stretches(file: DataFile, model: PhaseModel, n_bins: int) -> Iterator[tuple[float, int]]:
    """Yield ranges of complete turns of equal length: the first turn, and the number."""
    length = n_samples(file) * file.header.tsamp
    begin, end = (math.ceil(float(model.turns(0.0))), float(model.turns(length)))
    total = math.floor(end - begin)
    n_stretches = max(1, math.ceil(total * n_bins / _MOST_BINS))
    n_turns = total // n_stretches
    if n_turns < 1:
        return
    for number in range(n_stretches):
        yield float(begin + number * n_turns), n_turns


def _marks(file: DataFile, model: PhaseModel) -> tuple[Doubles, Doubles]:
    times = np.linspace(0, n_samples(file) * file.header.tsamp, _MARKS)
    return times, model.turns(times)


def _time_of(file: DataFile, model: PhaseModel, turn: float) -> float:
    times, turns = _marks(file, model)
    return float(np.interp(turn, turns, times))


def _samples(file: DataFile, model: PhaseModel, begin: float, end: float) -> tuple[int, int]:
    """Return the range of samples of several turns, with a margin."""
    times, turns = _marks(file, model)
    spare = 2 * float(times[1])
    first, last = np.interp([begin, end], turns, times)
    tsamp = file.header.tsamp
    return max(0, int((first - spare) / tsamp)), min(
        n_samples(file), math.ceil((last + spare) / tsamp)
    )
