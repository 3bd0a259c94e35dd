"""Pulses measured channel by channel, beside plain numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from darc.science.isolated import find_outliers
from darc.science.pulse_measurement import Pulse, PulseNoise, SearchedChannels
from darc.science.search_levels import LEVELS

CHANNELS, AT = 64, 900
#: Samples per pc cm-3, and trial DMs a sample apart.
LATE = 4150 * (np.linspace(1200, 1500, CHANNELS) ** -2.0 - 1500**-2.0) / 2.56e-4
TRIALS = 50 + np.arange(40) / LATE[0]
NO_SMEARING = np.zeros(CHANNELS)
LENGTH = 2000 + int(TRIALS[-1] * LATE[0])
#: White noise of the sum of channels.
WIDTHS = np.array([1, 2, 400])
WHITE = PulseNoise(0.0, WIDTHS, np.full(3, LEVELS * np.sqrt(CHANNELS)))


def with_pulse(dm: float, width: int, snr: float, at: int = AT) -> np.ndarray:
    """A pulse of that S/N in every channel alike, without noise, standard deviations."""
    rows = np.zeros((CHANNELS, LENGTH))
    for row, late in zip(rows, np.rint(dm * LATE).astype(int).tolist(), strict=True):
        row[at + late : at + late + width] = snr / np.sqrt(CHANNELS * width)
    return rows


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((CHANNELS, LENGTH))


def channels(rows: np.ndarray, threshold: float | None = None) -> SearchedChannels:
    levels, thresholds = np.rint(LEVELS * rows).astype(np.int16), np.full(CHANNELS, threshold or 0)
    outliers = None if threshold is None else find_outliers(levels, thresholds.astype(float))
    return SearchedChannels(levels, LATE, NO_SMEARING, outliers, thresholds.astype(float))


def as_searched(dm: float, width: int, snr: float, at: int = AT) -> Pulse:
    """At the nearest trial, with the nearest width that is a power of two."""
    trial = float(TRIALS[np.argmin(np.abs(TRIALS - dm))])
    return Pulse(trial, at, 1 << round(np.log2(width)), snr)


def plain_snr(rows: np.ndarray, pulse: Pulse) -> float:
    """S/N of the boxcar there, of all channels."""
    total = 0.0
    for row, late in zip(rows, np.rint(pulse.dm * LATE).astype(int).tolist(), strict=True):
        total += row[pulse.start + late : pulse.start + late + pulse.width].sum()
    return total / float(np.sqrt(CHANNELS * pulse.width))


@given(
    place=st.floats(1.0, 38.0),
    width=st.integers(1, 250),
    off=st.integers(-2, 2),
    side=st.integers(0, 1),
)
@example(place=11.875, width=1, off=0, side=0)  # where it costs most
@example(place=30.8125, width=3, off=0, side=0)
def test_a_pulse_between_trials_and_widths_has_its_own_snr(
    place: float, width: int, off: int, side: int
) -> None:
    """Found at the trial below it, or at that above."""
    dm = float(TRIALS[0] + place / LATE[0])
    trial = float(TRIALS[int(place) + side])
    found = Pulse(trial, AT + off, as_searched(dm, width, 15.0).width, 15.0)
    rows = np.rint(LEVELS * with_pulse(dm, width, 20.0)) / LEVELS
    expected = plain_snr(rows, Pulse(dm, AT, width, 0.0))
    pulse = channels(rows).measure(found, WHITE, TRIALS, 2000)
    # The best DM is off by half a step, in the lowest channel: half of that on average, and a few
    # of the channels are rounded otherwise.
    off_samples = max(found.width / 8, 0.25) / 2
    assert pulse.snr == pytest.approx(expected, rel=max(0.03, (off_samples / 2 + 0.05) / width))
    assert TRIALS[0] <= pulse.dm <= TRIALS[-1]
    assert abs(pulse.dm - dm) * LATE[0] <= 1 + width / 16
    assert abs(pulse.start - AT) <= 1 + width / 16
    assert abs(pulse.width - width) <= 1 + width / 16


@given(seed=st.integers(0, 1000), width=st.sampled_from([1, 3, 20, 100]))
def test_the_boxcar_is_numpy_s_and_what_is_smeared_is_no_weaker(seed: int, width: int) -> None:
    rows = noise(seed) + with_pulse(TRIALS[20], width, 12.0)
    searched, found = channels(rows), as_searched(TRIALS[20], width, 10.0)
    pulse, rows = searched.measure(found, WHITE, TRIALS, 2000), searched.rows / LEVELS
    plain = plain_snr(rows, pulse)
    assert plain * (1 - 1e-9) <= pulse.snr <= 1.15 * plain
    assert pulse.snr >= plain_snr(rows, found) * (1 - 1e-9)


def test_a_smeared_pulse_is_compared_with_one_that_is_smeared_alike() -> None:
    """The matched filter of a trapezium: a boxcar has 0.95 of it."""
    shape = np.convolve(np.ones(20), np.ones(12)) / 12
    rows = np.zeros((CHANNELS, LENGTH))
    for row, late in zip(rows, np.rint(TRIALS[20] * LATE).astype(int).tolist(), strict=True):
        row[AT + late : AT + late + len(shape)] = 20 * shape / np.linalg.norm(shape)
    rows /= np.sqrt(CHANNELS)
    found = Pulse(float(TRIALS[20]), AT + 5, 20, 18.0)
    plain = channels(rows).measure(found, WHITE, TRIALS, 2000)
    smeared = channels(rows)
    smeared = SearchedChannels(
        smeared.rows, LATE, np.full(CHANNELS, 12 / TRIALS[20]), None, NO_SMEARING
    )
    pulse = smeared.measure(found, WHITE, TRIALS, 2000)
    assert plain.snr < 19.6
    assert pulse.snr == pytest.approx(20.0, rel=0.01)
    assert (pulse.start, pulse.width) == (plain.start, plain.width)


def test_the_noise_is_that_of_the_width() -> None:
    """Boxcars of slow noise have more of it: a wide one is no stronger than it is."""
    red = PulseNoise(3.0, np.array([1, 16, 64]), LEVELS * np.sqrt(CHANNELS) * np.array([1, 2, 4]))
    rows = with_pulse(TRIALS[20], 16, 20.0) + 3.0 / CHANNELS / LEVELS
    pulse = channels(rows).measure(as_searched(TRIALS[20], 16, 9.0), red, TRIALS, 2000)
    assert pulse.snr == pytest.approx(10.0, rel=0.15)


def test_interference_in_a_channel_is_no_part_of_a_pulse() -> None:
    dm, width = float(TRIALS[20]), 4
    clean = noise(3) + with_pulse(dm, width, 15.0)
    disturbed = clean.copy()
    disturbed[10, AT + round(dm * LATE[10])] += 60
    found = as_searched(dm, width, 15.0)
    alone = channels(clean, 4.25).measure(found, WHITE, TRIALS, 2000)
    with_it = channels(disturbed, 4.25).measure(found, WHITE, TRIALS, 2000)
    assert with_it.snr == pytest.approx(alone.snr, rel=0.05)
    assert channels(disturbed).measure(found, WHITE, TRIALS, 2000).snr > 1.2 * alone.snr


@pytest.mark.parametrize(("at", "valid"), [(0, 2000), (3, 2000), (1990, 2000), (1996, 2000)])
def test_pulses_at_the_ends_of_the_data(at: int, valid: int) -> None:
    rows = with_pulse(TRIALS[20], 4, 20.0, at)
    found = as_searched(TRIALS[20], 4, 18.0, at)
    pulse = channels(rows).measure(found, WHITE, TRIALS, valid)
    assert pulse.snr == pytest.approx(20.0, rel=0.02)
    assert (pulse.start, pulse.width) == (at, 4)


def test_no_width_is_found_that_the_search_has_no_noise_of() -> None:
    """A slow change of the baseline is no pulse; few bits have no Gaussian noise in narrow ones."""
    noise = PulseNoise(0.0, np.array([8, 16]), WHITE.sigmas[:2])
    for width in (3, 200):
        rows = with_pulse(TRIALS[20], width, 20.0)
        pulse = channels(rows).measure(Pulse(TRIALS[20], AT, 12, 9.0), noise, TRIALS, 2000)
        assert 8 <= pulse.width <= 16


def test_of_one_trial_the_dm_is_kept() -> None:
    dm = float(TRIALS[20])
    pulse = channels(with_pulse(dm, 3, 20.0)).measure(
        as_searched(dm, 3, 15.0), WHITE, np.array([dm]), 2000
    )
    assert (pulse.dm, pulse.start, pulse.width) == (dm, AT, 3)
    assert pulse.snr == pytest.approx(20.0, rel=0.02)
