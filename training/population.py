"""A population of instruments, in folds that are trained on, calibrated with, and tested on.

An instrument is its number in the population of a seed, and all its data belong to one fold: what
is reported of test instruments is of instruments that neither training nor calibration has seen.
ARTS is in all folds, with other data in each.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from darc.config.records import Struct
from training.drawn_bursts import BURSTS
from training.drawn_instruments import LEAST_DELAY, SMALL, DrawnInstrument, any_instrument
from training.examples import INTERFERENCE, Example, burst, examples, interference

#: Number of folds.
N_FOLDS = 5
#: Fold of the instruments that the shipped classifier is tested on.
TEST_FOLD = 4

#: Pieces of data of a drawn instrument: bursts, and interference.
N_BURSTS, N_INTERFERENCE = 6, 7
#: Pieces of data of ARTS per drawn instrument, half of them bursts.
N_OF_ARTS = 4

#: More bursts of a drawn instrument, whose delay across the band is few widths, as that of wide
#: pulses of pulsars; and more that are faint, of drawn instruments and of ARTS, as most are.
N_LOW_DELAY, _LOW_DELAY = 4, 4.0
#: More impulses of DM 0 that are found at as little delay; more faint pulses of pulsars, of as
#: little delay where that can be; and more bursts at an edge of the data.
N_LOW_DM, N_PULSAR, N_AT_EDGE = 2, 2, 2
N_FAINT, _FAINT = 4, 14.0
#: More bursts and pulses of pulsars of no more delay than their width, and more impulses that look
#: like these.
N_WITHIN, N_IMPULSES, _WITHIN = 4, 2, 1.0
#: More bursts of any S/N, which are quick to make: of a drawn instrument, and of the ARTS with it.
N_MORE, N_MORE_OF_ARTS = 4, 6

#: Number of the first piece of those, and of the last kind of them.
_FIRST_SPECIAL = N_BURSTS + N_INTERFERENCE + N_LOW_DELAY + N_FAINT + N_MORE
_FIRST_WITHIN = _FIRST_SPECIAL + N_LOW_DM + N_PULSAR + N_AT_EDGE

#: Instruments and their data are drawn independently.
_OF_INSTRUMENT, _OF_PIECE, _OF_ARTS = 2, 3, 4


class InstrumentClass(Struct, frozen=True):
    """What an instrument is reported under.

    :param frequency: decade, roughly, of the centre of the band
    :param channels: range of their number
    :param bits: bits per sample
    :param sampling: range of the sampling time
    :param bandwidth: range of the bandwidth over the centre
    """

    frequency: str
    channels: str
    bits: str
    sampling: str
    bandwidth: str


def fold_of(instrument: int) -> int:
    """Return the fold that an instrument belongs to.

    :param instrument: its number
    """
    return instrument % N_FOLDS


def instrument_of(seed: int, number: int) -> DrawnInstrument:
    """Return an instrument of the population.

    :param seed: of the population
    """
    return any_instrument(np.random.default_rng([seed, _OF_INSTRUMENT, number]))


def class_of(instrument: DrawnInstrument) -> InstrumentClass:
    """Return what an instrument is reported under."""
    band = instrument.band
    return InstrumentClass(
        frequency=_range(band.f_centre / 1e3, (0.1, 0.3, 1.0, 3.0, 8.0), "GHz"),
        channels=_range(band.n_channels, (16, 64, 256, 1024, 4096), "channels"),
        bits=f"{instrument.bits} bits" if instrument.bits > 1 else "1 bit",
        sampling=_range(instrument.tsamp * 1e3, (0.01, 0.1, 0.5, 2.0), "ms"),
        bandwidth=_range(
            band.n_channels * band.channel_width / band.f_centre, (0.05, 0.2, 0.6, 1.4), "of f"
        ),
    )


def _range(value: float, edges: tuple[float, ...], unit: str) -> str:
    """Return the range between two edges that a value is in; the ends belong to the outer ones."""
    index = int(np.clip(np.searchsorted(edges, value, side="right"), 1, len(edges) - 1))
    return f"{edges[index - 1]:g} to {edges[index]:g} {unit}"


def examples_of_instrument(seed: int, number: int) -> Iterator[tuple[int, Example]]:
    """Yield the examples of an instrument, each with the number of its piece of data.

    Types take turns over the instruments of a fold, so that each fold has all of them.

    :param seed: of the population
    :param number: of the instrument
    """
    instrument = instrument_of(seed, number)
    for piece in range(N_BURSTS + N_INTERFERENCE):
        rng = np.random.default_rng([seed, _OF_PIECE, number, piece])
        if piece < N_BURSTS:
            yield piece, burst(rng, BURSTS[(number + piece) % len(BURSTS)], instrument)
            continue
        # The step has no factor in common with the number of types.
        kind = INTERFERENCE[
            (number * N_INTERFERENCE + number // 10 + piece - N_BURSTS) % len(INTERFERENCE)
        ]
        for example in interference(rng, kind, instrument):
            yield piece, example
    yield from _more_bursts(seed, number)
    yield from _special(seed, number)
    yield from _within(seed, number)


def _more_bursts(seed: int, number: int) -> Iterator[tuple[int, Example]]:
    """Yield bursts of little delay, faint ones, and others, of an instrument."""
    instrument = instrument_of(seed, number)
    for extra in range(N_LOW_DELAY + N_FAINT + N_MORE):
        piece = N_BURSTS + N_INTERFERENCE + extra
        rng = np.random.default_rng([seed, _OF_PIECE, number, piece])
        kind = BURSTS[(4 * number + extra) % len(BURSTS)]
        if extra >= N_LOW_DELAY + N_FAINT:
            yield piece, burst(rng, kind, instrument)
        elif extra >= N_LOW_DELAY:
            yield piece, burst(rng, kind, instrument, largest_snr=_FAINT)
        elif _has_delay(instrument, _LOW_DELAY):
            yield piece, burst(rng, kind, instrument, largest_delay=_LOW_DELAY)


def _special(seed: int, number: int) -> Iterator[tuple[int, Example]]:
    """Yield impulses at low DMs, pulses of pulsars, and bursts at edges, of an instrument."""
    instrument = instrument_of(seed, number)
    for extra in range(N_LOW_DM + N_PULSAR + N_AT_EDGE):
        piece = _FIRST_SPECIAL + extra
        rng = np.random.default_rng([seed, _OF_PIECE, number, piece])
        if extra < N_LOW_DM:
            for example in interference(rng, "low_dm", instrument):
                yield piece, example
        elif extra < N_LOW_DM + N_PULSAR:
            delay = _LOW_DELAY if _has_delay(instrument, _LOW_DELAY) else np.inf
            made = burst(rng, "pulsar", instrument, largest_snr=_FAINT, largest_delay=delay)
            yield piece, made
        else:
            yield piece, burst(rng, "at_edge", instrument)


def _within(seed: int, number: int) -> Iterator[tuple[int, Example]]:
    """Yield bursts of no more delay than their width, and impulses, of an instrument."""
    instrument = instrument_of(seed, number)
    for extra in range(N_WITHIN + N_IMPULSES):
        piece = _FIRST_WITHIN + extra
        rng = np.random.default_rng([seed, _OF_PIECE, number, piece])
        if extra >= N_WITHIN:
            for example in interference(rng, "low_dm", instrument):
                yield piece, example
        elif _has_delay(instrument, _WITHIN):
            pulsar = extra % 2 == 0
            yield (
                piece,
                burst(
                    rng,
                    "pulsar" if pulsar else BURSTS[(2 * number + extra // 2) % len(BURSTS)],
                    instrument,
                    largest_snr=_FAINT if pulsar else 1000.0,
                    least_delay=LEAST_DELAY / 2,
                    largest_delay=_WITHIN,
                ),
            )


def _has_delay(instrument: DrawnInstrument, delay: float) -> bool:
    """Whether the delay can be as little as half of that, in widths: of some, it is many even at
    the lowest DM.
    """
    return instrument.delay_in_widths(instrument.dm_min, instrument.widest) < delay / 2


def examples_of_arts(seed: int, number: int) -> Iterator[tuple[int, Example]]:
    """Yield examples of ARTS that belong to the same fold as an instrument.

    :param seed: of the population
    :param number: of the instrument
    """
    first = number * N_OF_ARTS
    for piece in range(N_OF_ARTS):
        for example in examples(seed, range(first + piece, first + piece + 1)):
            yield piece, example
    yield from _more_of_arts(seed, number)


def _more_of_arts(seed: int, number: int) -> Iterator[tuple[int, Example]]:
    """Yield faint bursts of ARTS, and others."""
    for extra in range(N_FAINT + N_MORE_OF_ARTS):
        piece = N_OF_ARTS + extra
        rng = np.random.default_rng([seed, _OF_ARTS, number, piece])
        kind = BURSTS[(4 * number + extra) % len(BURSTS)]
        largest_snr = _FAINT if extra < N_FAINT else 1000.0
        yield piece, burst(rng, kind, SMALL, largest_snr=largest_snr)
