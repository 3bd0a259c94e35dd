"""Which of the triggers of one pulse to act on: it shows in several beams (docs/triggers.md)."""

from __future__ import annotations

import math
from collections.abc import Sequence

#: Name of what is no known source.
CANDIDATE = "candidate"

#: Name ('pulsar', 'frb' or 'candidate') and S/N.
Named = tuple[str, float]


def highest_snr(triggers: Sequence[Named]) -> int:
    """Index of the trigger of highest S/N (VOEvent); the first of equals.

    :raises ValueError: there is none
    """
    return max(range(len(triggers)), key=lambda index: _strength(triggers[index]))


def known_then_highest_snr(triggers: Sequence[Named]) -> int:
    """Index of the strongest trigger of a known source, else of all (LOFAR); the first of equals.

    :raises ValueError: there is none
    """
    return max(
        range(len(triggers)),
        key=lambda index: (triggers[index][0] != CANDIDATE, _strength(triggers[index])),
    )


def _strength(trigger: Named) -> float:
    # NaN has no order: without this, one that comes first would win.
    return -math.inf if math.isnan(trigger[1]) else trigger[1]
