"""Radiometer equation against the figures of the specification (ARTS)."""

import numpy as np
import pytest

from darc.science.radiometer import array_gain, peak_flux_density, sefd


def test_arts():
    gain = array_gain(25.0, 0.60, 8)
    assert gain == pytest.approx(0.853, abs=5e-4)
    assert sefd(85.0, gain) == pytest.approx(99.6, abs=0.05)


def test_flux_density():
    # S/N 10, 99.6 Jy, 2 x 300 MHz x 1 ms: 996 / sqrt(6e5)
    flux = peak_flux_density(10.0, sefd=99.6, n_polarisations=2, bandwidth=300.0, width=1e-3)
    assert flux == pytest.approx(996 / 600_000**0.5)


def test_flux_density_of_arrays():
    flux = peak_flux_density(
        np.array([10.0, 20.0]),
        sefd=99.6,
        n_polarisations=2,
        bandwidth=300.0,
        width=np.array([1e-3, 4e-3]),
    )
    assert flux[0] == pytest.approx(flux[1])  # twice the S/N, four times as wide
