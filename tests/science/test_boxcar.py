"""Boxcars: S/N, width and place of a pulse."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from darc.science.boxcar import (
    best_boxcar,
    between_samples,
    boxcar_widths,
    clipped_noise,
    effective_length,
    filter_norm,
    smearing_kernel,
)

series_strategy = arrays(
    np.float32, st.integers(1, 60), elements=st.floats(-1e3, 1e3, width=32).map(round).map(float)
)


def slow_noise(values: list[float]) -> tuple[float, float]:
    kept = sorted(values)
    for _ in range(4):
        median, sigma = np.median(kept), np.std(kept)
        kept = [value for value in kept if abs(value - median) <= 3 * sigma * (1 + 1e-12)]
    return float(np.median(kept)), float(np.std(kept))


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.0, 30.0, -500.0]), min_size=1, max_size=60))
def test_noise_without_outliers(values):
    found = clipped_noise(np.array(values))
    assert found == pytest.approx(slow_noise(values), rel=1e-9, abs=1e-9)


def test_outliers_are_removed_four_times():
    # One goes each time, as it hides the next.
    outliers = [1e3, 1e5, 1e7, 1e9, 1e11]
    values = np.concatenate([np.tile([-1.0, 1.0], 500), outliers])
    _, sigma = clipped_noise(values)
    assert sigma == pytest.approx(np.std(values[:-4]))


@given(series_strategy, st.integers(1, 10), st.integers(1, 10))
def test_the_best_of_all(series, narrowest, more):
    widths = np.arange(narrowest, narrowest + more)
    widths = widths[widths <= len(series)]
    if not len(widths):
        return
    found = best_boxcar(series, widths)
    snrs = {}
    for width in widths.tolist():
        sums = [
            math.fsum(map(float, series[start : start + width]))
            for start in range(len(series) - width + 1)
        ]
        median, sigma = slow_noise(sums[:: max(1, width // 8)])
        for start, total in enumerate(sums):
            signal = total - median
            noise = 1.048 * sigma
            snrs[width, start] = signal / noise if noise else math.inf if signal > 0 else 0.0
    assert found.snr == pytest.approx(max(snrs.values()), rel=1e-4)
    assert snrs[found.width, found.start] == pytest.approx(found.snr, rel=1e-4)


@pytest.mark.parametrize("width", [1, 5, 40, 250])
@pytest.mark.parametrize("place", [0.0, 0.3, 1.0])
def test_a_pulse_in_noise(width, place):
    rng = np.random.default_rng(width)
    n = 64 * width
    start = round(place * (n - width))
    series = rng.standard_normal(n).astype(np.float32)
    series[start : start + width] += 30 / math.sqrt(width)
    found = best_boxcar(series, boxcar_widths(max(1, width // 2), 2 * width), noise=1.0)
    expected = series[start : start + width].sum() / math.sqrt(width)
    assert found.snr == pytest.approx(expected, rel=0.05)
    assert found.width == pytest.approx(width, rel=0.1)
    assert found.centre == pytest.approx(start + width / 2, abs=max(1, 0.1 * width))


def test_known_noise_is_used_and_scales_with_the_width():
    rng = np.random.default_rng(1)
    series = rng.standard_normal(640).astype(np.float32)
    series[300:310] += 5
    narrow = best_boxcar(series, np.array([10]), noise=1.0)
    scaled = best_boxcar(1000 * series, np.array([10]), noise=1000.0)
    smoothed = np.convolve(series, np.ones(10), "valid")
    expected = (smoothed.max() - clipped_noise(smoothed)[0]) / math.sqrt(10)
    assert narrow.snr == pytest.approx(expected, rel=1e-3)
    assert scaled.snr == pytest.approx(narrow.snr, rel=1e-5)


def test_more_noise_than_is_known_counts():
    rng = np.random.default_rng(2)
    wandering = 3 * np.repeat(rng.standard_normal(64), 10)
    series = (rng.standard_normal(640) + wandering).astype(np.float32)
    with_known = best_boxcar(series, np.array([10]), noise=1.0)
    assert with_known.snr == pytest.approx(best_boxcar(series, np.array([10])).snr, rel=0.1)
    assert with_known.snr < 4


@pytest.mark.parametrize("part", [0.25, 0.7])
def test_a_pulse_that_begins_within_a_sample(part):
    pulse = np.array([1 - part, part])
    series = np.random.default_rng(7).standard_normal(640).astype(np.float32)
    series[300:302] += (30 / np.linalg.norm(pulse) * pulse).astype(np.float32)
    matched = series[300:302] @ pulse / np.linalg.norm(pulse)
    kernels = between_samples(np.ones(1), 1)
    snrs = [best_boxcar(series, np.array([1, 2]), noise=1.0, kernel=k).snr for k in kernels]
    assert max(snrs) == pytest.approx(matched, rel=0.01)
    assert snrs[0] < 0.98 * matched
    assert len(between_samples(np.ones(1), 21)) == 1


@given(st.integers(1, 60))
def test_the_length_of_a_plain_boxcar_is_its_width(width):
    assert effective_length(width, np.ones(1)) == pytest.approx(width)


def test_a_smeared_boxcar_is_as_long_as_it_is_low():
    """One sample over ten: a tenth of the height."""
    assert effective_length(1, np.full(9, 1 / 9)) == pytest.approx(9)


@pytest.mark.parametrize("seed", range(20))
def test_white_noise_is_as_known(seed):
    series = np.random.default_rng(seed).standard_normal(64).astype(np.float32)
    found = best_boxcar(series, np.array([1]), noise=1.0)
    expected = (series.max() - clipped_noise(series.astype(np.float64))[0]) / 1.0
    assert found.snr == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("level", [0.0, 0.1, -1e6])
@pytest.mark.parametrize("noise", [None, 1.0])
def test_constant_data_has_no_signal(level, noise):
    found = best_boxcar(np.full(640, level, np.float32), boxcar_widths(5, 20), noise)
    assert found.snr == 0


def test_a_pulse_without_any_noise():
    series = np.zeros(640, np.float32)
    series[100:110] = 1
    assert best_boxcar(series, np.array([10])).snr == math.inf
    assert best_boxcar(series, np.array([10]), noise=0.5).snr == pytest.approx(10 / 0.5 / 10**0.5)


@given(st.integers(1, 2000), st.integers(1, 5000))
def test_widths(narrowest, widest):
    widths = boxcar_widths(narrowest, widest).tolist()
    assert widths[0] == narrowest
    assert widths[-1] == max(widest, narrowest)
    for width, following in pairwise(widths):
        assert width < following <= 1.04 * width + 1


def test_small_widths_are_all_tried():
    assert boxcar_widths(1, 10).tolist() == list(range(1, 11))


@pytest.mark.parametrize("widths", [[], [0], [11]])
def test_no_boxcar_that_fits(widths):
    with pytest.raises(ValueError, match=r"no boxcar of .* in a series of 10"):
        best_boxcar(np.zeros(10, np.float32), np.array(widths, dtype=np.int64))


@given(st.lists(st.floats(0, 9), min_size=1, max_size=5), st.integers(1, 12))
def test_smearing_kernels(smearing, width):
    kernel = smearing_kernel(np.array(smearing))
    assert len(kernel) % 2 == 1
    assert kernel.sum() == pytest.approx(1)
    assert kernel == pytest.approx(kernel[::-1])
    assert kernel.min() >= 0
    # As wide as boxes of these lengths, and of a sample where it is cut into samples.
    variance = (kernel * (np.arange(len(kernel)) - len(kernel) // 2) ** 2).sum()
    assert variance == pytest.approx((np.square(smearing) / 12).mean(), abs=0.25)
    convolved = np.convolve(np.ones(width), kernel)
    assert filter_norm(width, kernel) == pytest.approx(np.linalg.norm(convolved))


def test_without_smearing_a_kernel_changes_nothing():
    series = np.random.default_rng(3).standard_normal(200).astype(np.float32)
    widths = boxcar_widths(3, 12)
    plain = best_boxcar(series, widths, noise=1.0)
    found = best_boxcar(series, widths, noise=1.0, kernel=smearing_kernel(np.zeros(5)))
    assert (found.start, found.width) == (plain.start, plain.width)
    assert found.snr == pytest.approx(plain.snr, rel=1e-5)


def test_a_smeared_pulse_is_found_as_it_was_before():
    rng = np.random.default_rng(4)
    kernel = smearing_kernel(np.array([12.0]))
    pulse = np.convolve(np.ones(12), kernel)
    series = rng.standard_normal(640).astype(np.float32)
    series[300 : 300 + len(pulse)] += (40 / np.linalg.norm(pulse) * pulse).astype(np.float32)
    matched = series[300 : 300 + len(pulse)] @ pulse / np.linalg.norm(pulse)
    found = best_boxcar(series, boxcar_widths(4, 24), noise=1.0, kernel=kernel)
    assert found.snr == pytest.approx(matched, rel=0.02)
    assert found.width == pytest.approx(12, abs=2)
    assert found.centre == pytest.approx(300 + len(pulse) / 2, abs=1.5)
    assert best_boxcar(series, boxcar_widths(4, 24), noise=1.0).snr < 0.97 * matched
