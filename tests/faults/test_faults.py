"""The promises put to the proof: whatever is killed, stopped or removed, the books balance."""

from __future__ import annotations

import pytest
from faults.fault_plan import draw
from faults.fault_runner import run_all

RUNS = 4


@pytest.mark.timeout(600)
@pytest.mark.flaky(reruns=0)
@pytest.mark.parametrize("first_seed", [1, 11])
def test_nothing_is_lost_or_doubled_whatever_dies(first_seed: int) -> None:
    said: list[str] = []
    failed = run_all(first_seed, RUNS, say=said.append)
    assert not failed, "\n".join(said)


def test_a_seed_draws_the_same_faults_again() -> None:
    assert draw(42, 4.0) == draw(42, 4.0)
    assert draw(42, 4.0) != draw(43, 4.0)
