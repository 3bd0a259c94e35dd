"""Noise of the single-pulse search, beside plain numpy."""

from __future__ import annotations

import numpy as np
import pytest

from darc.science.boxcar_search import pulse_widths
from darc.science.search_levels import LEVELS
from darc.science.single_pulse import find_pulses

CHANNELS, LENGTH, WIDTH = 32, 40_000, 8
NO_DELAY = np.zeros(CHANNELS)


def levels(rows: np.ndarray) -> np.ndarray:
    """As the search has them."""
    return np.rint(LEVELS * rows).astype(np.int16)


def found_at(rows: np.ndarray, place: int, longest: int = 32) -> tuple[float, int]:
    """S/N and width of the strongest pulse near a sample, without dispersion."""
    found = find_pulses(levels(rows), NO_DELAY, np.zeros(1), LENGTH, pulse_widths(longest), 5.0)
    near = np.abs(found.start - place) < 64
    if not near.any():
        return 0.0, 0
    best = np.flatnonzero(near)[np.argmax(found.snr[near])]
    return float(found.snr[best]), int(found.width[best])


def noise(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((CHANNELS, LENGTH))


def boxcar_snr(rows: np.ndarray, place: int, begin: int, end: int) -> float:
    """S/N of the boxcar there, against the deviation of such boxcars from `begin` to `end`."""
    series = rows.sum(axis=0)
    boxes = np.convolve(series, np.ones(WIDTH), "valid")
    some = np.delete(boxes[begin:end], np.arange(place - 20, place + 20) - begin)
    return float((boxes[place] - some.mean()) / some.std())


@pytest.mark.parametrize(("place", "begin", "end"), [(8_000, 0, 15_000), (32_000, 25_000, 39_000)])
def test_the_noise_is_that_of_the_pulse_s_own_time(place: int, begin: int, end: int) -> None:
    rows = noise()
    rows[:, LENGTH // 2 :] *= 3
    rows[:, place : place + WIDTH] += 20 / np.sqrt(CHANNELS * WIDTH) * (3 if place > 20_000 else 1)
    snr, width = found_at(rows, place)
    assert snr == pytest.approx(boxcar_snr(rows, place, begin, end), rel=0.06)
    assert width == WIDTH


@pytest.mark.parametrize("depth", [0.5, 2.0])
def test_a_dip_around_a_pulse_costs_it_nothing(depth: float) -> None:
    """A baseline that follows a bright pulse is too high around it."""
    rows, place = noise(), 20_000
    rows[:, place : place + WIDTH] += 60 / np.sqrt(CHANNELS * WIDTH)
    before, _ = found_at(rows, place)
    rows[:, place - 1_500 : place + 1_500] -= depth / np.sqrt(CHANNELS * WIDTH)
    after, _ = found_at(rows, place)
    assert after == pytest.approx(before, rel=0.03)


@pytest.mark.parametrize("longest", [32, 300])
def test_noise_is_not_found(longest: int) -> None:
    rows = noise(2)
    found = find_pulses(levels(rows), NO_DELAY, np.zeros(1), LENGTH, pulse_widths(longest), 5.5)
    assert not len(found.snr)


#: Delay across the band of 512 samples in the middle of the trials, which are a sample apart.
LATE = np.linspace(1.0, 0.0, CHANNELS) ** 2 * 5.12
DMS = (512 + np.arange(-20, 20)) / 5.12


def found_with(rows: np.ndarray, snr_min: float) -> tuple[np.ndarray, np.ndarray]:
    """S/N and DM."""
    found = find_pulses(levels(rows), LATE, DMS, LENGTH - 1_000, pulse_widths(32), snr_min)
    return found.snr, found.dm


def test_a_pulse_too_weak_in_the_shared_sums_is_found_by_its_own() -> None:
    """Of one sample, between two trials."""
    dm = (DMS[20] + DMS[21]) / 2
    rows = noise(5)
    for row, late in zip(rows, np.rint(dm * LATE).astype(int).tolist(), strict=True):
        row[20_000 + late] += 15 / np.sqrt(CHANNELS)
    snrs, dms = found_with(rows, 5.5)
    ordered = np.sort(snrs)
    assert ordered[-1] > 1.03 * ordered[-2]
    assert abs(dms[snrs.argmax()] - dm) * LATE[0] < 0.6
    snrs, _ = found_with(rows, 0.999 * ordered[-1])
    assert snrs.tolist() == pytest.approx([ordered[-1]])


def test_what_is_found_does_not_depend_on_how_many_are_measured() -> None:
    rows, places = noise(6), np.arange(200, LENGTH - 2_000, 300)
    for row, late in zip(rows, np.rint(DMS[20] * LATE).astype(int).tolist(), strict=True):
        for place in places.tolist():
            row[place + late : place + late + 4] += 14 / np.sqrt(4 * CHANNELS)
    assert len(places) > 100
    found = find_pulses(levels(rows), LATE, DMS, LENGTH - 1_000, pulse_widths(32), 8.0)
    for place in places.tolist():
        assert np.abs(found.start - place).min() <= 8
