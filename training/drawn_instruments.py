"""Instruments of the training data: ARTS, and one drawn from all that exist.

Ranges are those of backends in use, 16 to 4096 channels, 0.1 to 8 GHz, 10 us to 2 ms, 1 to 8 bits,
and bands from a twentieth of their centre frequency to those of ultra-wideband receivers (Parkes
has 704 to 4032 MHz).
"""

from __future__ import annotations

import numpy as np

from darc.config.records import Struct, replace
from darc.science.dedispersion import Band
from darc.science.dispersion import dm_error
from simulator.synthetic_interference import log_uniform

#: Drawn instruments have DMs in this range, pc cm-3.
_LEAST_DM, _LARGEST_DM = 3.0, 3000.0

#: Minimum ratio of the highest to the lowest DM of a drawn instrument.
_DM_RANGE = 3.0

#: Minimum ratio of the delay across the band to a burst's width: with less, its arrays are those of
#: an impulse at DM 0.
LEAST_DELAY = 0.5


class DrawnInstrument(Struct, frozen=True):
    """Instrument of the data.

    :param band: frequency band
    :param tsamp: s
    :param widest: largest width of a burst, samples
    :param largest: maximum number of samples of a burst's data, over all channels
    :param largest_search: of the data in which interference is searched for
    :param bits: bits per sample
    :param dm_min: lowest DM of a burst and of the search, pc cm-3
    :param dm_max: highest DM, pc cm-3
    """

    band: Band
    tsamp: float
    widest: int
    largest: float
    largest_search: float
    bits: int = 8
    dm_min: float = 20.0
    dm_max: float = 3000.0

    @property
    def delay(self) -> float:
        """Delay across the band, s per pc cm-3."""
        return float(self.band.delays([1.0]).max())

    def smeared(self, width: int, dm: float) -> int:
        """Return the width of a burst after intra-channel smearing at the band's centre, samples.

        :param width: before smearing, samples
        :param dm: pc cm-3
        """
        return round(float(np.hypot(width, self.band.smearing(dm) / self.tsamp)))

    def dm_error(self, width: int) -> float:
        """Return the DM whose delay across the band is the width plus 0.2 ms, pc cm-3.

        :param width: samples
        """
        low, high = self.band.frequencies[[0, -1]]
        return float(dm_error(width * self.tsamp + 2e-4, float(low), float(high)))

    def delay_in_widths(self, dm: float, width: int) -> float:
        """Return the delay across the band in units of a width.

        :param dm: pc cm-3
        :param width: samples
        """
        return dm * self.delay / (width * self.tsamp)


#: ARTS with a quarter of its channels and of its time resolution: 16 times as quick.
SMALL = DrawnInstrument(
    Band(f_lowest=1219.70092773 + 300 / 1536 * 1.5, channel_width=300 / 384, n_channels=384),
    tsamp=4 * 81.92e-6,
    widest=62,
    largest=6e6,
    largest_search=3e6,
)
FULL_SIZE = DrawnInstrument(
    Band(f_lowest=1219.70092773, channel_width=300 / 1536, n_channels=1536),
    tsamp=81.92e-6,
    widest=250,
    largest=3e7,
    largest_search=1.5e7,
)


def any_instrument(rng: np.random.Generator) -> DrawnInstrument:
    """Return a random instrument: 16 to 4096 channels, 0.1 to 8 GHz, 10 us to 2 ms, 1 to 8 bits.

    Excluded are those whose DMs have no range: smeared too much within a channel, or too long for
    an example, at a DM that is hardly above the lowest.
    """
    while True:
        n_channels = 2 ** int(rng.integers(4, 13))
        if rng.random() < 0.3:  # not all have a power of 2
            n_channels = max(16, round(n_channels * rng.uniform(0.5, 1)))
        centre = log_uniform(rng, 105, 7800)
        bandwidth = centre * log_uniform(rng, 0.05, 1.4)
        if centre - bandwidth / 2 < 100 or centre + bandwidth / 2 > 8000:
            continue
        channel_width = bandwidth / n_channels
        tsamp = log_uniform(rng, 1e-5, 2e-3)
        found = DrawnInstrument(
            band=Band(centre - channel_width * (n_channels - 1) / 2, channel_width, n_channels),
            tsamp=tsamp,
            widest=int(np.clip(round(0.03 / tsamp), 8, 250)),
            largest=1e7,
            largest_search=min(8e6, max(3e6, 3000.0 * n_channels)),
            bits=int(rng.choice([8, 8, 8, 8, 4, 4, 2, 2, 1])),
        )
        low, high = _dms(found)
        if high >= _DM_RANGE * low:
            return replace(found, dm_min=low, dm_max=high)


def _dms(instrument: DrawnInstrument) -> tuple[float, float]:
    """Return the lowest and highest DM of bursts.

    At the lowest, a burst of one sample has twice the least delay; at the highest, smearing is half
    of the largest width, and the data are half of the largest.
    """
    low = 2 * LEAST_DELAY * instrument.tsamp / instrument.delay
    smearing = instrument.band.smearing(1.0) / instrument.tsamp
    fitting = 0.5 * instrument.largest / instrument.band.n_channels - 150 * instrument.widest / 4
    high = min(
        _LARGEST_DM,
        0.5 * instrument.widest / smearing,
        fitting * instrument.tsamp / instrument.delay,
    )
    return max(_LEAST_DM, low), high
