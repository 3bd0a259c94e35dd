"""Early decisions against those of the longest wait: the benchmark's comparison, smaller."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import early_decisions
from benchmarks.early_decisions import INTERVAL
from simulator.player import read_recorded

SETTLE_TIMES = 0.03, 0.1, INTERVAL


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_nothing_is_missing_of_bursts_that_slow_and_late_instances_write(tmp_path: Path) -> None:
    files = early_decisions.generated(60, beams=2)
    rows = early_decisions.run(
        tmp_path, files, SETTLE_TIMES, source="DEMO", pointing=(192.859, 27.128)
    )
    assert [kind for _, kind, _ in rows[:3]] == ["IQUV", "LOFAR", "packets"]
    for settle, kind, result in rows:
        assert result.missing == 0, (settle, kind)
        assert result.same + len(result.changed) > 20, (settle, kind)
        if settle == INTERVAL:
            assert (len(result.changed), result.additional) == (0, 0)


def test_the_recorded_pulses_are_the_same_ones(tmp_path: Path, shared_data: Path) -> None:
    recorded = [read_recorded(path) for path in sorted((shared_data / "amber").glob("CB00_*"))]
    rows = early_decisions.run(
        tmp_path, [recorded], SETTLE_TIMES, source="B0531+21", pointing=(83.633, 22.0145)
    )
    for _, kind, result in rows:
        assert (result.same > 0) == (kind == "IQUV")
        assert (result.changed, result.missing, result.additional) == ([], 0, 0)
