"""Values of an instrument that no receiver has, such as those in another unit than is wanted.

Limits are wide: from decametre arrays (UTR-2, LOFAR's low band) to receivers of 50 GHz and above,
cylinders and incoherent sums of dishes, images every 0.1 s.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from darc.config import ranges
from darc.config.typed import Contradiction

if TYPE_CHECKING:
    from darc.config.instrument import Instrument

#: Upper edge of a band by its lower edge: LOFAR's low band has 9.
MOST_OCTAVE = 20.0
#: Bandwidth by frequency: a subband of LOFAR has twice that.
LEAST_FRACTION = 4e-4
#: Length of a sample by that of 1 / channel width. Raw spectra have 1, overlapping ones less.
LEAST_PRODUCT = 0.1
#: A batch of the search (s): it is a part of a gulp or a buffer of raw data, some seconds long.
LONGEST_BATCH = 600.0
#: Sampling time of the data by that of their search, which adds samples, and divides none.
MOST_COARSER = 100.0
#: Receivers on a roof have horns of 0.2 m, FAST has 500 m, RATAN-600 600 m.
SMALLEST_DISH, LARGEST_DISH = 0.1, 1000.0  # m
LEAST_RADIUS, MOST_RADIUS = 6.3e6, 6.4e6  # of the Earth's surface (m)


def implausible(instrument: Instrument) -> Iterator[Contradiction]:
    """Yield what is wrong with values that no receiver has, or that do not fit each other."""
    yield from _band(instrument)
    yield from _sampling(instrument)
    yield from _subbands(instrument)
    diameter, radius = instrument.dish_diameter, math.hypot(*instrument.position)
    if not SMALLEST_DISH <= diameter <= LARGEST_DISH:
        allowed = f"m, from {SMALLEST_DISH:g} to {LARGEST_DISH:g}"
        yield Contradiction("dish_diameter", f"{diameter:g} m is no dish", allowed)
    if not LEAST_RADIUS <= radius <= MOST_RADIUS:
        place = ", ".join(f"{one:.10g}" for one in instrument.position)
        what = f"[{place}] is {radius:.7g} m from the Earth's centre, not on its surface"
        allowed = "ITRF x, y, z in m; not longitude, latitude and height, and not km"
        yield Contradiction("position", what, allowed)


def _band(instrument: Instrument) -> Iterator[Contradiction]:
    lowest, width, channel = instrument.min_freq, instrument.bandwidth, instrument.channel_width
    if lowest < ranges.RECEIVED.low:
        yield _in_ghz("min_freq", lowest)
    elif instrument.f_low <= 0 or instrument.f_high > MOST_OCTAVE * instrument.f_low:
        what = f"{width:g} MHz from {lowest:g} MHz on is no band of a receiver"
        allowed = f"MHz, as min_freq; the upper edge at most {MOST_OCTAVE:g} times the lower one"
        yield Contradiction("bandwidth", what, allowed)
    in_ghz = f"MHz, as {1e3 * width:g} for {width:g} GHz"
    if width < LEAST_FRACTION * instrument.f_centre:
        what = f"{width:g} MHz at {lowest:g} MHz is no band of a receiver"
        yield Contradiction("bandwidth", what, in_ghz)
    elif instrument.tsamp * channel * 1e6 < LEAST_PRODUCT:
        what = (
            f"{width:g} MHz in {instrument.nchan} channels of {1e6 * channel:g} Hz cannot be"
            f" sampled every {instrument.tsamp:g} s (tsamp)"
        )
        allowed = f"{in_ghz}; a sample takes about 1 / channel width or longer"
        yield Contradiction("bandwidth", what, allowed)


def _in_ghz(key: str, value: float) -> Contradiction:
    """Return what is wrong with a frequency below all receivers."""
    allowed = f"MHz, from {ranges.RECEIVED.low:g}, as {1e3 * value:.10g} for {value:.10g} GHz"
    return Contradiction(key, f"{value:.10g} MHz is below the band of any receiver", allowed)


def _sampling(instrument: Instrument) -> Iterator[Contradiction]:
    tsamp = instrument.tsamp
    batch = tsamp * instrument.batch_length_samples
    if batch > LONGEST_BATCH:
        what = (
            f"{tsamp:g} s: a batch of {instrument.batch_length_samples} samples takes {batch:g} s"
        )
        allowed = (
            f"s, not ms, as {tsamp / 1e3:g} for {tsamp:g} ms; a batch (batch_length_samples) of at"
            f" most {LONGEST_BATCH:g} s"
        )
        yield Contradiction("tsamp", what, allowed)
    data = instrument.data_tsamp
    if data is not None and data > MOST_COARSER * tsamp:
        what = f"{data:g} s, where the search has {tsamp:g} s (tsamp)"
        allowed = f"s, not ms, as {data / 1e3:g} for {data:g} ms"
        yield Contradiction("data_tsamp", what, allowed)


def _subbands(instrument: Instrument) -> Iterator[Contradiction]:
    """Yield what is wrong with synthesised beams, where there are any."""
    if instrument.n_sbs == 1:
        return
    n_subbands, nchan = instrument.n_subbands, instrument.nchan
    if nchan % n_subbands:
        what = f"{n_subbands} subbands of {nchan} channels (nchan)"
        yield Contradiction("n_subbands", what, "a divisor of nchan; n_sbs: 1 without them")
    if instrument.sb_table is None:
        for key, frequency in (
            ("sb_band_low", instrument.sb_band_low),
            ("sb_reference_freq", instrument.sb_reference_freq),
        ):
            if frequency < ranges.RECEIVED.low:
                yield _in_ghz(key, frequency)
