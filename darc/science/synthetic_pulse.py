"""A dispersed pulse as a filterbank would have it: to test with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from darc.science.dedispersion import Band
from darc.science.dispersion import DISPERSION_CONSTANT

Floats = npt.NDArray[np.float32]


def synthetic_pulse(
    band: Band, tsamp: float, *, dm: float, width: float, arrival: float, n_samples: int
) -> Floats:
    """A pulse of even height and spectrum, smeared within each channel and over each sample.

    :param tsamp: s
    :param dm: pc cm-3
    :param width: samples, above 0
    :param arrival: of its front at the top of the band, samples since the first one's start
    :param n_samples: of the data it is for; what is outside of them is cut off
    :return: 1 in a sample and channel that it fills, the lowest frequency first, shape
        (n_channels, n_samples)
    """
    edges = band.frequencies[:, np.newaxis] + band.channel_width * np.array([0.5, -0.5])
    late = dm * DISPERSION_CONSTANT * (edges**-2 - band.f_top**-2) / tsamp
    # What has no width at all is given a little: it divides.
    smearing = np.maximum(late[:, 1] - late[:, 0], 1e-3)
    fronts = arrival + late[:, 0]
    pulse = np.zeros((band.n_channels, n_samples), dtype=np.float32)
    for row, front, smear in zip(pulse, fronts.tolist(), smearing.tolist(), strict=True):
        first = int(np.clip(np.floor(front), 0, n_samples))
        end = int(np.clip(np.ceil(front + width + smear) + 1, first, n_samples))
        row[first:end] = _three_boxes(np.arange(first, end) + 1 - front, width, smear)
    return pulse


def _three_boxes(
    time: npt.NDArray[np.float64], width: float, smearing: float
) -> npt.NDArray[np.float64]:
    """Boxes of a pulse's width, of the smearing and of a sample, convolved; 1 where all overlap."""
    total = np.zeros_like(time)
    for sign_width, by_width in ((1, 0.0), (-1, width)):
        for sign_smearing, by_smearing in ((1, 0.0), (-1, smearing)):
            for sign_sample, by_sample in ((1, 0.0), (-1, 1.0)):
                since = np.maximum(time - by_width - by_smearing - by_sample, 0.0)
                total += sign_width * sign_smearing * sign_sample * since**2 / 2
    return total / smearing
