"""Drift scans: deflections and flux densities."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darc.science.drift_scan import clean_series, deflections, fit_passage, flux_density


@settings(max_examples=15)
@given(
    centre=st.floats(60, 240),
    fwhm=st.floats(20, 100),
    ratio=st.floats(0.01, 3),
    seed=st.integers(0, 10_000),
)
def test_the_deflection_of_a_passage_is_found(
    centre: float, fwhm: float, ratio: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    times = np.arange(300) + 0.5
    shape = np.exp(-4 * np.log(2) * ((times - centre) / fwhm) ** 2)
    powers = random.uniform(20, 80, 64) * (1 + ratio * shape)[:, np.newaxis]
    powers *= 1 + 1e-3 * random.normal(size=powers.shape)
    powers[np.arange(10, 290, 90)] *= 2.5  # bursts of interference
    powers[:, 5] *= random.uniform(1, 3, 300)
    series, good = clean_series(powers)
    assert not good[5]
    passage = fit_passage(times, series)
    assert passage.deflection == pytest.approx(ratio, rel=0.02, abs=5e-4)
    assert passage.centre == pytest.approx(centre, abs=0.5 + 0.02 * fwhm)
    by_channel = deflections(times, powers, passage)
    assert np.median(by_channel[good]) == pytest.approx(ratio, rel=0.03, abs=1e-3)


def test_flux_densities_of_calibrators() -> None:
    """3C286 as Perley & Butler 2013 and 2017 have it at 1465 MHz: 14.7 Jy."""
    found = flux_density([1465.0], (1.2481, -0.4507, -0.1798, 0.0357))
    assert found[0] == pytest.approx(14.75, rel=0.01)
    later = flux_density([1000.0], (2.0,), years=10, change=-1)
    assert later[0] == pytest.approx(100 * 0.99**10)
