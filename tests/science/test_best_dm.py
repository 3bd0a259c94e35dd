"""The DM at which a pulse is strongest."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.science.best_dm import best_dm, trial_snrs
from darc.science.boxcar import smearing_kernel


@given(st.integers(1, 5), st.integers(1, 30), st.integers(0, 2**32))
def test_the_best_boxcar_of_each_trial(n_dms, n, seed):
    rng = np.random.default_rng(seed)
    series = rng.normal(0, 1, (n_dms, n)).astype(np.float32)
    valid = rng.random((n_dms, n)) < 0.9
    widths = np.array([1, 3, 40])
    found = trial_snrs(series, valid, widths)
    for trial in range(n_dms):
        counted = np.where(valid[trial], series[trial], 0)
        snrs = [
            counted[start : start + width].sum() / math.sqrt(width)
            for width in widths.tolist()
            for start in range(n - width + 1)
        ]
        assert found[trial] == pytest.approx(max([0, *snrs]), abs=1e-5)


@given(st.floats(-2, 2), st.floats(0.1, 1), st.floats(0.01, 5))
def test_between_trials(offset, curvature, step):
    places = np.arange(17)
    snrs = 20 - curvature * (places - 8 - offset) ** 2
    found = best_dm(100 + step * places, snrs)
    assert found == pytest.approx(100 + step * (8 + offset), abs=0.02 * step)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=20), st.integers(-5, 5))
def test_always_within_the_trials(snrs, first):
    dms = first + np.arange(len(snrs), dtype=np.float64)
    assert first - 1e-9 <= best_dm(dms, np.array(snrs)) <= dms[-1] + 1e-9


def test_an_end_of_the_range():
    dms = np.array([1.0, 2.0, 3.0])
    assert best_dm(dms, np.array([90.0, 50.0, 10.0])) == pytest.approx(1, abs=0.1)
    assert best_dm(dms, np.array([10.0, 50.0, 90.0])) == pytest.approx(3, abs=0.1)
    assert best_dm(dms, np.zeros(3)) == 2


def test_the_mean_is_better_than_the_peak_where_there_is_a_cusp():
    """Boxes in noise: their S/N against place has a cusp."""
    rng = np.random.default_rng(1)
    errors, width, snr = [], 40, 10.0
    for _ in range(300):
        noise = rng.normal(0, 1, 400)
        noise[180 : 180 + width] += snr / width**0.5
        sums = np.concatenate(([0.0], np.cumsum(noise)))
        snrs = (sums[width:] - sums[:-width]) / width**0.5
        places = np.arange(len(snrs), dtype=np.float64)
        errors.append((snrs.argmax() - 180, best_dm(places, snrs) - 180))
    peak, mean = np.sqrt(np.mean(np.square(errors), axis=0))
    assert mean < 0.9 * peak


def test_a_smeared_boxcar_in_a_smeared_pulse():
    """As much as the matched filter finds, where a plain boxcar finds 6 % less."""
    kernel = smearing_kernel(np.array([9.0]))
    shape = np.convolve(np.ones(9), kernel)
    series = np.zeros((1, 60), np.float32)
    series[0, 20 : 20 + len(shape)] = shape
    valid, widths = np.ones((1, 60), np.bool_), np.arange(1, 20)
    norm = np.linalg.norm(shape)
    assert trial_snrs(series, valid, widths, kernel)[0] == pytest.approx(norm)
    assert trial_snrs(series, valid, widths)[0] < 0.95 * norm
