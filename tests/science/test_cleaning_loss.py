"""What cleaning takes of a pulse, against the cleaning itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.science.cleaning_loss import snr_before_cleaning
from darc.science.rfi_cleaning import replace_outliers

THRESHOLD = 3.25
N_CHANNELS, N_SAMPLES, N_PULSES = 1500, 4000, 20


@pytest.mark.parametrize("lifted", [0.05, 0.5, 1.0, 1.5, 1.9])
def test_it_is_what_cleaning_takes(lifted: float) -> None:
    """On the mean of several pulses, as noise is 1 in each."""
    rng = np.random.default_rng(round(100 * lifted))
    rows = rng.standard_normal((N_CHANNELS, N_SAMPLES), dtype=np.float32)
    pulses = np.arange(N_SAMPLES) % (N_SAMPLES // N_PULSES) == 100
    rows[:, pulses] += lifted
    replace_outliers(rows, THRESHOLD, 3)
    noise = float(rows[:, ~pulses].std()) * np.sqrt(N_CHANNELS)
    seen = float(rows[:, pulses].sum(axis=0).mean()) / noise
    expected = lifted * np.sqrt(N_CHANNELS)
    found = snr_before_cleaning(seen, N_CHANNELS, THRESHOLD)
    assert found == pytest.approx(expected, rel=0.015, abs=3 / np.sqrt(N_PULSES))
    if lifted >= 1:
        assert seen < 0.96 * expected


@given(st.floats(0.1, 1e4), st.floats(1, 1e6), st.floats(3, 10))
def test_it_adds_a_little_and_never_without_bounds(snr: float, n: float, threshold: float) -> None:
    found = snr_before_cleaning(snr, n, threshold)
    assert snr * (1 - 1e-6) <= found <= 1.3 * snr
    assert found <= snr_before_cleaning(snr * 1.01, n, threshold) * (1 + 1e-6)


@pytest.mark.parametrize(("snr", "n_samples"), [(-1.0, 10.0), (0.0, 10.0), (5.0, 0.0)])
def test_what_is_no_pulse_stays(snr: float, n_samples: float) -> None:
    assert snr_before_cleaning(snr, n_samples, THRESHOLD) == snr
