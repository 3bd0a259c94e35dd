"""Pulses in real files, none of which was trained on: the Crab's brightest at Parkes, and those of
a pulsar in 2-bit data. Both are hard: `benchmarks.real_pulses`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.real_pulses import (
    ABOVE_CRAB,
    CRAB,
    PULSAR,
    THRESHOLD,
    crab,
    crab_in_its_quarter,
    outcome,
    pulsar_pulses,
)
from darc.model.processing_outcome import ClusterOutcome


@pytest.mark.parametrize("width", [1, 2, 3])
def test_the_crab_in_the_part_of_the_band_where_it_is(shared_data: Path, width: int) -> None:
    found = crab_in_its_quarter(shared_data / "filterbank" / CRAB, width)
    assert found.snr > 6
    assert found.probability > THRESHOLD


@pytest.mark.parametrize("width", [1, 2, 3])
def test_the_crab_with_the_rest_of_the_band_masked(
    shared_data: Path, tmp_path: Path, width: int
) -> None:
    mask = tmp_path / "mask.conf"
    mask.write_text("\n".join(map(str, ABOVE_CRAB)))
    found = outcome(shared_data / "filterbank" / CRAB, crab(width), tmp_path, mask)
    assert found.fate is ClusterOutcome.KEPT


def test_pulses_of_a_pulsar_whose_delay_is_less_than_their_width(
    shared_data: Path, tmp_path: Path
) -> None:
    """All are kept, though of some the S/N at DM 0 is as high within the noise."""
    path = shared_data / "filterbank" / PULSAR
    fates = [outcome(path, pulse, tmp_path).fate for pulse in pulsar_pulses(path)]
    assert len(fates) >= 20
    assert fates == [ClusterOutcome.KEPT] * len(fates)
