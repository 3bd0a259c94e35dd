"""Plausible range of each physical quantity, the same wherever a value enters the system.

A value outside its range is treated as an error.
"""

from __future__ import annotations

from darc.config.typed import Range


class Bounds(Range, frozen=True):
    """A range with a lower and an upper limit."""

    high: float


DM = Bounds(0, 100_000)  # pc cm-3
SNR = Bounds(0, 100_000)
DOWNSAMPLING = Bounds(1, 1_000_000)  # width in samples
BEAM = Bounds(0, 1_000_000)  # of any kind

START = Bounds(631_152_000, 7_258_118_400)  # Unix s: 1990 to 2200
DURATION = Bounds(1e-12, 8_640_000)  # s, up to 100 days
TIME = Bounds(0, 8_640_000)  # s since an observation's start

COUNT = Bounds(1, 1_000_000)
FREQUENCY = Bounds(1, 1_000_000)  # MHz
#: What a receiver on the ground has (MHz), UTR-2 the lowest; below that GHz were meant.
RECEIVED = Bounds(8, 1_000_000)
BANDWIDTH = Bounds(1e-3, 1_000_000)  # MHz
TSAMP = Bounds(1e-9, 10)  # s

# Quantities derived from those above.
WIDTH = Bounds(0, 1e10)  # ms
ARRIVAL = Bounds(
    START.low - 1e9, 7_258_118_400 + 1e9
)  # Unix s; the delay of a DM is up to 13 years
DERIVED = Bounds(0, 1e30)  # a flux density, a gain, the error of a DM
