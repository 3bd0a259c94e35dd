"""The chance that noise looks periodic: against scipy, and against noise of known colour."""

from __future__ import annotations

import math

import numpy as np
import pytest

from darc.science.periodicity import Trials, clipped, harmonics, levelled, log_erlang
from darc.science.profile import profile_peak

N_FILES = 600


def coloured(random: np.random.Generator, n: int, slope: float, corner: float) -> np.ndarray:
    """Noise whose power is that of white noise and a power law, from a stretch that is longer."""
    frequencies = np.fft.rfftfreq(4 * n)
    frequencies[0] = frequencies[1]
    spectrum = np.fft.rfft(random.normal(size=4 * n))
    series = np.fft.irfft(spectrum * np.sqrt(1 + (corner / frequencies) ** slope), 4 * n)
    first = random.integers(0, 3 * n)
    return series[first : first + n]


def log_chance(series: np.ndarray, n_turns: int, trials: Trials | None = None) -> float:
    turns = series.reshape(n_turns, -1)
    flat, white = levelled(turns, np.ones_like(turns))
    return harmonics(clipped(flat), n_turns, white).log_chance(trials or Trials())


@pytest.mark.parametrize("number", [1, 2, 7, 32])
def test_sums_of_powers_are_as_likely_as_chi_squared_says(number: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    for total in (0.1, 1.0, 10.0, 100.0, 600.0):
        expected = stats.chi2.logsf(2 * total, 2 * number)
        assert log_erlang(total, number) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert log_erlang(0.0, number) == 0


@pytest.mark.parametrize(
    ("n_turns", "n_bins", "slope", "corner"),
    [
        (4, 64, 0, 0),
        (5, 8, 0, 0),
        (64, 16, 0, 0),
        (4, 16, 2, 0.3),
        (16, 64, 2, 0.1),
        (64, 16, 3, 0.05),
    ],
)
def test_noise_of_any_colour_is_as_likely_as_is_said(
    n_turns: int, n_bins: int, slope: float, corner: float
) -> None:
    """The chance is an upper limit, and where the noise is white not far above the truth."""
    random = np.random.default_rng(1)
    chances = []
    for _ in range(N_FILES):
        white = not slope
        n = n_turns * n_bins
        series = random.normal(size=n) if white else coloured(random, n, slope, corner)
        chances.append(log_chance(series, n_turns))
    below = np.exp(chances)[:, np.newaxis] < (0.3, 0.1, 0.01)
    expected = N_FILES * np.array([0.3, 0.1, 0.01])
    assert (below.sum(axis=0) <= expected + 3 * np.sqrt(expected)).all()
    if not slope:
        assert (below.sum(axis=0) >= 0.3 * expected)[:2].all()


def test_a_drift_of_the_level_is_not_folded_into_a_pulse() -> None:
    random = np.random.default_rng(2)
    times = np.linspace(0, 1, 32 * 64)
    for drift in (30 * times, 100 * times**2, 50 * (times > 0.4)):
        assert log_chance(random.normal(size=len(times)) + drift, 32) > math.log(0.01)


def test_few_strong_values_are_no_period_even_if_they_are_a_whole_number_of_turns_apart() -> None:
    series = np.random.default_rng(3).normal(size=64 * 32)
    series[[5, 5 + 32 * 20, 5 + 32 * 47]] += 300
    assert log_chance(series, 64) > math.log(1e-3)


@pytest.mark.parametrize("slope", [0.0, 2.0])
def test_a_pulse_is_significant_by_its_strength(slope: float) -> None:
    """Whatever its shape: of one bin, or a sine."""
    random = np.random.default_rng(4)
    noise = coloured(random, 64 * 32, slope, 0.001)
    narrow = np.zeros(32)
    narrow[3] = 1
    for shape in (narrow, np.sin(np.arange(32) / 32 * 2 * np.pi)):
        known = np.sqrt(64 * ((shape - shape.mean()) ** 2).sum())
        for snr, least, most in ((4.0, -14.0, 0.0), (15.0, -140.0, -30.0)):
            chance = log_chance(noise + np.tile(shape, 64) * snr / known, 64)
            assert least < chance <= most


def test_trials_multiply_the_chance() -> None:
    series = np.random.default_rng(5).normal(size=64 * 16) + np.tile(np.eye(16)[3], 64)
    one = log_chance(series, 64)
    assert log_chance(series, 64, Trials(drift=100.0)) - one >= math.log(401)
    assert log_chance(series, 64, Trials(drift=100.0)) - one <= math.log(400 * 32)
    assert log_chance(np.zeros(64), 4) == 0


@pytest.mark.parametrize("n_bins", [8, 9, 64])
def test_the_sn_of_noise_is_that_of_chance(n_bins: int) -> None:
    """Of 8 bins as of many: of so many boxcars, the highest is hardly above 5."""
    random = np.random.default_rng(6)
    assert max(profile_peak(random.normal(size=n_bins)).snr for _ in range(1000)) < 5.5


@pytest.mark.parametrize(("n_bins", "width"), [(8, 1), (64, 1), (64, 9), (7, 3)])
def test_the_sn_is_that_of_a_difference_of_means(n_bins: int, width: int) -> None:
    profile = np.zeros(n_bins)
    profile[(np.arange(width) - 1) % n_bins] = 10.0
    expected = 10 / np.sqrt(1 / width + 1 / (n_bins - width))
    peak = profile_peak(profile)
    assert (peak.first, peak.width) == (n_bins - 1, width)
    assert peak.snr == pytest.approx(expected)
    # White noise told by its harmonics, and noise of four times the power.
    assert profile_peak(profile, np.ones(n_bins // 2)).snr == pytest.approx(expected)
    assert profile_peak(profile, np.full(3, 4.0)).snr == pytest.approx(expected / 2)


def test_noise_of_low_frequencies_counts_more_for_wide_pulses() -> None:
    """Against profiles of that noise, made one by one."""
    random = np.random.default_rng(7)
    colour = np.array([30.0, 8.0, 3.0, *[1.0] * 29])
    spectra = random.normal(size=(20000, 32)) + 1j * random.normal(size=(20000, 32))
    full = np.concatenate([np.zeros((20000, 1)), spectra * np.sqrt(colour * 64 / 2)], axis=1)
    full[:, -1] = full[:, -1].real * np.sqrt(2)
    profiles = np.fft.irfft(full, 64)
    for width in (1, 9, 28):
        measured = profiles[:, :width].sum(axis=1).std()
        shape = np.zeros(64)
        shape[:width] = 1.0
        contrast = shape.sum() * (1 - width / 64)
        peak = profile_peak(shape, colour)
        assert peak.snr >= 0.97 * contrast / measured
        if peak.width == width:
            assert peak.snr == pytest.approx(contrast / measured, rel=0.03)
