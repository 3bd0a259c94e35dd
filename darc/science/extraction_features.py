"""Features of a candidate that its extraction knows, and its arrays do not tell.

How far from DM 0 it is: dispersion is told from an impulse by the S/N at both DMs, and by how they
should differ at this delay across the band. How far from the edges of the data it is, too: what is
missing there says nothing about the signal.
"""

from __future__ import annotations

import math

import numpy as np

from darc.science.candidate_arrays import finite_features
from darc.science.extraction import Extraction
from darc.science.extraction_plan import ExtractionPlan

#: Range of the logarithm (base 2) of a delay in widths.
_SHORT, _LONG = -6.0, 12.0

#: Largest difference of S/N, of their squares, and of delays.
_SURE = 200.0

#: Names of the features of each group, in the order of `extraction_features`.
EXTRACTION_GROUPS: dict[str, tuple[str, ...]] = {
    "size": ("log_samples", "snr", "snr_best"),
    "delay": (
        "log_delay",
        "best_log_delay",
        "delay_off_best",
        "lowest_log_delay",
        "place_in_dms",
    ),
    "DM 0": (
        "dm0_share",
        "dm0_less",
        "dm0_likelihood",
        "dm0_too_much",
        "dm0_less_than_impulse",
    ),
    "edges": ("there", "there_at_pulse", "seam"),
}
EXTRACTION_NAMES = tuple(name for names in EXTRACTION_GROUPS.values() for name in names)


def extraction_features(found: Extraction, plan: ExtractionPlan) -> dict[str, float]:
    """Measure the features, in the order of EXTRACTION_NAMES; all are finite."""
    # Delays are those across the band, in units of the width.
    per_dm = float(np.ptp(plan.band.delays([1.0]))) / (found.width * plan.tsamp)
    delay, off = plan.dm * per_dm, abs(found.best_dm - plan.dm) * per_dm
    lowest, highest = float(found.dms[0]), float(found.dms[-1])
    snr, at_dm0, falls_to = found.snr, found.snr_dm0, snr_fraction(delay)
    peak = (found.time / plan.tsamp - plan.start) / plan.bin_samples
    values = (
        math.log2(found.width),
        snr,
        found.snr_best,
        _log(delay),
        _log(found.best_dm * per_dm),
        min(off, _SURE),
        _log(lowest * per_dm),
        (plan.dm - lowest) / (highest - lowest) if highest > lowest else 0.5,
        at_dm0 / (abs(snr) + 1),
        _limited(snr - at_dm0),
        # Logarithm of how much likelier this DM is, in Gaussian noise.
        _limited((snr * abs(snr) - at_dm0 * abs(at_dm0)) / 2),
        # What a burst would have there, and what an impulse of DM 0 would have here.
        _limited(at_dm0 - falls_to * snr),
        _limited(snr - falls_to * at_dm0),
        float(found.freq_time_valid.mean()),
        float(found.freq_time_valid[:, plan.ntime // 2].mean()),
        # The peak was rolled into the middle, and the window's ends meet somewhere.
        min(peak, plan.ntime - 1 - peak) / plan.ntime,
    )
    return finite_features(dict(zip(EXTRACTION_NAMES, values, strict=True)))


def snr_fraction(delay: float) -> float:
    """Return to what fraction the S/N of the best boxcar falls at a wrong DM.

    The pulse keeps its fluence, S/N goes with the root of its width, and the delay adds to that in
    quadrature.

    :param delay: across the band, of the difference in DM, in units of the width
    """
    return math.pow(1 + delay**2, -0.25)


def _limited(value: float) -> float:
    return float(np.clip(value, -_SURE, _SURE))


def _log(delay: float) -> float:
    return float(np.clip(math.log2(delay), _SHORT, _LONG)) if delay > 0 else _SHORT
