"""The DM at which a pulse is strongest."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.science.dm_search import best_dm, trial_snrs


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


@given(st.floats(-0.49, 0.49), st.floats(0.1, 3), st.floats(0.01, 5))
def test_between_trials(offset, curvature, step):
    places = np.arange(9)
    snrs = 20 - curvature * (places - 4 - offset) ** 2
    assert best_dm(100 + step * places, snrs) == pytest.approx(100 + step * (4 + offset), abs=1e-6)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=20))
def test_within_half_a_step_of_the_best_trial(snrs):
    best = int(np.argmax(snrs))
    found = best_dm(np.arange(len(snrs), dtype=np.float64), np.array(snrs))
    assert abs(found - best) <= 0.5 + 1e-9


def test_an_end_of_the_range():
    dms = np.array([1.0, 2.0, 3.0])
    assert best_dm(dms, np.array([9.0, 5.0, 1.0])) == 1
    assert best_dm(dms, np.array([1.0, 5.0, 9.0])) == 3
    assert best_dm(dms, np.zeros(3)) == 1
