"""Selection among the triggers of one burst in several beams (docs/triggers.md)."""

from __future__ import annotations

import math
from collections.abc import Sequence

#: Name of a trigger that is not of a known source.
CANDIDATE = "candidate"

#: Name ('pulsar', 'frb' or 'candidate') and S/N.
Named = tuple[str, float]


def highest_snr(triggers: Sequence[Named]) -> int:
    """Return the index of the trigger of highest S/N (VOEvent); of equal ones, the first.

    :raises ValueError: ``triggers`` is empty
    """
    return max(range(len(triggers)), key=lambda index: _strength(triggers[index]))


def known_then_highest_snr(triggers: Sequence[Named]) -> int:
    """Return the index of the trigger for LOFAR: known sources first, then highest S/N.

    Of equal ones, the first.

    :raises ValueError: ``triggers`` is empty
    """
    return max(
        range(len(triggers)),
        key=lambda index: (triggers[index][0] != CANDIDATE, _strength(triggers[index])),
    )


def _strength(trigger: Named) -> float:
    # NaN compares as false: as the first element it would win.
    return -math.inf if math.isnan(trigger[1]) else trigger[1]
