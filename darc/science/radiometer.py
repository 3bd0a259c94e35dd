"""Gain, sensitivity and flux density of an array of dishes (instrument: conf/arts.yaml).

Source of the radiometer equation: Lorimer & Kramer 2005, Handbook of Pulsar Astronomy, appendix 1.
"""

from __future__ import annotations

import math

from darc.science.dispersion import FloatOrArray

#: J/K, exact in the SI.
BOLTZMANN = 1.380649e-23

#: W m-2 Hz-1.
JANSKY = 1e-26


def array_gain(diameter: float, efficiency: float, n_dishes: int) -> float:
    """Return the gain of coherently added dishes: of each, effective area / (2 k).

    :param diameter: diameter of a dish, m
    :param efficiency: aperture efficiency, 0 to 1
    :param n_dishes: number of dishes in use
    :return: K/Jy
    """
    effective_area = efficiency * math.pi * (diameter / 2) ** 2
    return n_dishes * effective_area * JANSKY / (2 * BOLTZMANN)


def sefd(system_temperature: float, gain: float) -> float:
    """Return the system-equivalent flux density.

    :param system_temperature: K
    :param gain: K/Jy
    :return: Jy
    """
    return system_temperature / gain


def peak_flux_density(
    snr: FloatOrArray, *, sefd: float, n_polarisations: int, bandwidth: float, width: FloatOrArray
) -> FloatOrArray:
    """Return the peak flux density of a pulse by the radiometer equation.

    S/N * SEFD / sqrt(n_polarisations * bandwidth * width), with the bandwidth in Hz.

    :param sefd: Jy
    :param n_polarisations: number of polarisations summed
    :param bandwidth: bandwidth of the whole band, MHz
    :param width: pulse width, s
    :return: Jy
    """
    flux_density: FloatOrArray = snr * sefd / (n_polarisations * bandwidth * 1e6 * width) ** 0.5
    return flux_density
