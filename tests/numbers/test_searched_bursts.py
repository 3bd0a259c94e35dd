"""The search alone, where it is at its limits: the longest pulses, and data of few bits."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import pytest
import tables
from darc_side import found_by_search
from msgspec import Struct
from oracle import Component, Instrument, write_many

#: As long as the search looks for: 50 ms.
LONG = Instrument("long", 1200.0, 1500.0, 256, 5e-4, 8, 250.0)
#: Coarse and fine in time, smeared within channels by less than a sample and by eight.
MEASURED = (
    Instrument("fine", 1200.0, 1500.0, 512, 1.28e-4, 8, 37.0),
    Instrument("smeared", 1220.0, 1520.0, 256, 2.56e-4, 8, 430.0),
    Instrument("high", 4000.0, 8000.0, 256, 6.4e-5, 8, 700.0),
)
#: S/N of the search, as a part of the matched filter's: within these, each, and the median.
WITHIN, MEDIAN_WITHIN = 0.1, 0.03
#: Levels in sigma above the usual one, at which few bits are nearly all ones, or nearly all zeros.
LEVELS_OF_BITS = [(bits, level) for bits in (1, 2, 4) for level in (-2.0, 0.0, 2.0)]


class Ratios(Struct, frozen=True):
    """S/N of the search over that in the file, of bursts above S/N 10, and what else it finds."""

    bursts: list[float]
    others: int


def searched(
    path: Path,
    instrument: Instrument,
    bursts: list[tuple[float, int]],
    apart: float,
    level: float = 0.0,
) -> Ratios:
    truths = write_many(path, instrument, (Component(),), bursts, apart, 1, level)
    dms = (instrument.dm - 8, instrument.dm + 8)
    found = found_by_search(path, dms, 6.0)
    ratios = []
    for truth in truths:
        at, near = truth.start * instrument.tsamp, max(0.02, 3 * truth.width * instrument.tsamp)
        best = max((one.snr for one in found if abs(one.time - at) < near), default=0.0)
        found = [one for one in found if abs(one.time - at) > 0.4]
        if truth.seen > tables.BRIGHT:
            ratios.append(best / truth.seen)
    return Ratios(ratios, sum(one.snr > 8 for one in found))


def test_the_longest_pulses_are_found_as_strong_as_they_are(tmp_path: Path) -> None:
    bursts = [(60.0, 100), (20.0, 50), (20.0, 100), (12.0, 100), (300.0, 100), (60.7, 50)]
    found = searched(tmp_path / "long.fil", LONG, bursts, 2.5)
    assert len(found.bursts) >= 5
    assert min(found.bursts) >= tables.LEAST
    assert abs(median(found.bursts) - 1) <= tables.NEAR
    assert not found.others


@pytest.mark.parametrize("instrument", MEASURED, ids=lambda one: one.name)
def test_bursts_of_any_width_have_the_matched_filter_s_snr(
    tmp_path: Path, instrument: Instrument
) -> None:
    bursts = [(25.0, width) for width in (1, 2, 3, 5, 9, 17, 40, 90, 250)]
    found = searched(tmp_path / "any.fil", instrument, bursts, 1.0)
    assert len(found.bursts) == len(bursts)
    assert max(abs(ratio - 1) for ratio in found.bursts) <= WITHIN
    assert abs(median(found.bursts) - 1) <= MEDIAN_WITHIN


@pytest.mark.parametrize(("bits", "level"), LEVELS_OF_BITS)
def test_few_bits_are_searched_at_any_level(tmp_path: Path, bits: int, level: float) -> None:
    instrument = Instrument("few bits", 1200.0, 1500.0, 128, 2.5e-4, bits, 250.0)
    bursts = [(60.0, 64), (60.0, 24), (150.0, 100)]
    found = searched(tmp_path / "bits.fil", instrument, bursts, 1.5, level)
    assert found.bursts
    assert min(found.bursts) >= tables.LEAST
    assert not found.others


def test_few_ones_are_no_candidates(tmp_path: Path) -> None:
    """A one in 50 samples of the whole band."""
    instrument = Instrument("few ones", 1200.0, 1500.0, 16, 2.5e-4, 1, 250.0)
    found = searched(tmp_path / "ones.fil", instrument, [(10.0, 200)], 3.0, -3.0)
    assert not found.others
