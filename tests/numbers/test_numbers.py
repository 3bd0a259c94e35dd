"""The fast part of `make numbers`: what astronomers were promised, in every format.

S/N within 5 % of the matched filter's (median), never less than 0.85 of it above S/N 10, and rising
with it from 7 to 5000; arrival within a bin, DM within what a width allows; kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import median

import pytest
import tables
from bursts import Cell, measured_series
from cells import INSTRUMENTS, SNRS, Series
from searches import SearchedFile, searched_file

#: S/N from which on a burst has to be kept.
CLEAR = 15.0
#: What is more than the matched filter's by this is not there.
MOST = 1.15
#: Large ones: flat bursts alone, of every other S/N, and triggers that are off.
HEAVY = ("ARTS", "CHIME-like, 1024 channels", "4096 channels 1000-2000")
#: A shorter lever for the DM.
PART = "quarter of the band"
#: Beside flat bursts: kind and width (samples).
OTHERS = {
    "64 channels 400-800": [(PART, 5), ("saturated", 3)],
    "16 channels 1300-1400": [("scattered", 3)],
    "ASKAP-like, 336 channels": [("drifting", 30), ("one of two polarisations", 3)],
    "110-190 MHz, 800 channels": [("beside zeros", 5)],
    "4-8 GHz, 256 channels": [("after a step of 2 sigma", 30)],
    "4 bits, 128 channels": [(PART, 3)],
    "2 bits, 96 channels": [
        ("gain drifts by 30 % in 10 s", 30),
        ("after a step of 2 sigma", 80),
        ("before a step of 2 sigma", 10),
    ],
    "1 bit, 512 channels": [("after a step of 2 sigma", 80), ("before a step of 2 sigma", 30)],
}
#: Bins. Half a step of DM moves where the band as a whole is strongest.
MOST_LATE = {"right": 1.0, "off": 1.5}
#: A boxcar at the true DM is no measure of these: parts that arrive later at lower frequencies.
SKEWED = ("drifting",)


def cells_of(name: str) -> Iterator[Cell]:
    number = list(INSTRUMENTS).index(name)
    flat = Series(name, "flat", (1, 2, 3, 10)[number % 4], seed=number)
    if name in HEAVY:
        yield from measured_series(flat, SNRS[::2], ("off",))
        return
    yield from measured_series(flat)
    for kind, width in OTHERS.get(name, []):
        other = Series(name, kind, width, seed=number)
        yield from measured_series(other, SNRS[1::2], ("off",))


def problems_of(cell: Cell) -> list[str]:
    found = []
    if cell.matched > tables.BRIGHT and not cell.ratio >= tables.LEAST:
        found.append(f"S/N {cell.snr_best:.1f}, {cell.ratio:.3f} of the matched filter's")
    if cell.matched > CLEAR:
        if cell.kind not in SKEWED and cell.ratio > MOST:
            found.append(f"S/N {cell.snr_best:.1f}, {cell.ratio:.3f} of the matched filter's")
        if cell.fate != "kept":
            found.append(f"{cell.fate} {cell.reason}")
        if not abs(cell.late) <= MOST_LATE[cell.trigger]:
            found.append(f"{cell.late:.2f} bins late")
        width = 4 if cell.kind == PART else 1
        if cell.kind not in SKEWED and not abs(cell.dm_off) <= max(width, 0.6 * cell.dm_step):
            found.append(f"DM off by {cell.dm_off:.2f} widths of delay")
    return found


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", INSTRUMENTS)
def test_bursts_are_measured_as_by_a_matched_filter(name: str) -> None:
    cells = list(cells_of(name))
    problems = [f"{one.name}: {text}" for one in cells for text in problems_of(one)]
    for before, after in tables.falls(cells):
        problems.append(
            f"{after.name}: S/N {after.snr_best:.1f}, less than {before.snr_best:.1f} before"
        )
    ratios = [
        cell.ratio for cell in cells if cell.matched > tables.BRIGHT and cell.kind not in SKEWED
    ]
    middle = median(-math.inf if math.isnan(ratio) else ratio for ratio in ratios)
    if abs(middle - 1) > tables.NEAR:
        problems.append(f"the median is {middle:.3f} of the matched filter's")
    assert not problems, "\n" + "\n".join(problems)


@pytest.mark.timeout(300)
def test_a_search_lists_every_burst_with_its_numbers() -> None:
    what = SearchedFile("64 channels 400-800", "flat", 3, (12, 20, 40, 100, 500))
    problems = []
    for one in searched_file(what):
        if not one.kept:
            problems.append(f"S/N {one.asked:g}: not kept; {one.clusters} clusters")
        elif not one.snr >= tables.LEAST * one.seen:
            problems.append(f"S/N {one.asked:g}: {one.snr:.1f} listed, {one.seen:.1f} in the file")
    assert not problems, "\n" + "\n".join(problems)
