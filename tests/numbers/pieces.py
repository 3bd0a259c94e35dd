"""Pieces of interference alone: how many of them DARC keeps, by kind and by cleaning.

A piece is 3 s of 128 channels. A trigger is where the highest boxcar of eight trial DMs is, by a
plain search that knows nothing of interference, but takes level and noise in each second anew. What
is found nowhere is made anew.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from darc_side import CLEANINGS, Trigger, measure
from interference import KINDS
from msgspec import Struct
from msgspec.structs import asdict
from oracle import LEVELS, Floats, Instrument, Random, boxcar_snr, dedispersed, write

SMALL = Instrument("128 channels", 1220.0, 1520.0, 128, 5e-4, 8, 100.0)
N = 6144
_WIDTHS = (1, 2, 4, 8, 16, 32, 64)
_N_DMS, _DM_RANGE = 8, (20.0, 1000.0)
#: A search lists nothing below.
_LEAST = 8.0
#: Samples.
_BLOCK = 2048
_ATTEMPTS = 20

Numbers = npt.NDArray[Any]


class Piece(Struct, frozen=True):
    """What became of a piece by one cleaning."""

    kind: str
    seed: int
    cleaning: str
    found: float  # S/N of the trigger
    snr: float
    fate: str

    def plain(self) -> dict[str, object]:
        return asdict(self)


def trigger_of(rows: Floats, rng: Random) -> tuple[float, Trigger]:
    """The highest boxcar of some trial DMs, and its S/N."""
    dms = _DM_RANGE[0] * (_DM_RANGE[1] / _DM_RANGE[0]) ** rng.random(_N_DMS)
    best, found = -np.inf, Trigger(0.0, 0.0, 1)
    for dm in dms.tolist():
        series = dedispersed(rows, np.rint(SMALL.delays(dm)).astype(np.int64))
        for begin, width in itertools.product(range(0, len(series) - _BLOCK // 2, _BLOCK), _WIDTHS):
            snrs = boxcar_snr(series[begin : begin + _BLOCK], width)
            at = int(snrs.argmax())
            if best < snrs[at] < np.inf:
                best, found = float(snrs[at]), Trigger(dm, (begin + at) * SMALL.tsamp, width)
    return best, found


def _made(kind: str, seed: int) -> tuple[Numbers, float, Trigger]:
    for attempt in range(_ATTEMPTS):
        rng = np.random.default_rng([seed, attempt, *kind.encode()])
        rows = rng.standard_normal((SMALL.nchans, N), dtype=np.float32)
        KINDS[kind](rows, SMALL.tsamp, rng)
        numbers = LEVELS[8].numbers(rows)
        best, trigger = trigger_of(numbers.astype(np.float32), rng)
        if best >= _LEAST or kind == "nothing":
            break
    return numbers, best, trigger


def measured_piece(kind: str, seed: int, cleanings: tuple[str, ...] = CLEANINGS) -> Iterator[Piece]:
    """Make a piece and have it extracted with each cleaning."""
    numbers, best, trigger = _made(kind, seed)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "piece.fil"
        write(path, SMALL, numbers, None)
        for cleaning in cleanings:
            found = measure(path, SMALL.tsamp, trigger, cleaning)
            yield Piece(kind, seed, cleaning, best, found.snr, found.fate)
